"""Manual corrections: an operator adds dollars to a budget's account, or takes some off; kept with who, when and
why.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from banditd.budget.windows import window_of
from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.money import ALL, AccountKey, Correction
from banditd.ports import Clock, CorrectionStore
from banditd.services.money.budgets import BudgetBook


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionInput:
    """The requested correction.

    usd : added to the charged sum; negative takes off.
    correction_id : None: a new one.
    """

    policy: str
    budget: str
    account: str | None
    usd: float
    reason: str
    correction_id: str | None = None
    key_name: str | None = None


class BudgetCorrections:
    """Corrects accounts of the present window."""

    def __init__(self, *, books: Mapping[str, BudgetBook], store: CorrectionStore, clock: Clock) -> None:
        self._books = books
        self._store = store
        self._clock = clock

    async def correct(self, requested: CorrectionInput) -> dict[str, object]:
        """Correct an account, once per correction id.

        Raises
        ------
        NotFoundError : no such policy or budget.
        ConflictError : the id was used for another correction.
        InvalidInputError : no account is named for a budget per key or tag, or the charged sum would become negative.
        """
        book = self._books.get(requested.policy)
        if book is None:
            raise NotFoundError(f"no such policy: {requested.policy}", code="POLICY_UNKNOWN", field="/policy")
        rule = next((rule for rule in book.rules if rule.name == requested.budget), None)
        if rule is None:
            known = ", ".join(rule.name for rule in book.rules) or "none"
            raise NotFoundError(
                f"policy {requested.policy} has no budget {requested.budget}; its budgets: {known}",
                code="BUDGET_UNKNOWN",
            )
        account = requested.account or (ALL if rule.of == ALL else None)
        if account is None or (rule.of == ALL and account != ALL):
            message = f"the budget {rule.name} is kept per {rule.of}: name the account, or leave it out for 'all'"
            raise InvalidInputError(message, field="/account")
        now_us = self._clock.now_us()
        correction = Correction(
            correction_id=requested.correction_id or str(uuid.uuid4()),
            key=AccountKey(requested.policy, rule.name, account, window_of(rule.per, now_us)[0]),
            usd=requested.usd,
            reason=requested.reason,
            key_name=requested.key_name,
            created_at_us=now_us,
        )
        duplicate, totals = await self._store.correct(correction)
        book.adopt({correction.key: totals})
        return {
            "correction_id": correction.correction_id,
            "duplicate": duplicate,
            "policy": requested.policy,
            "budget": rule.name,
            "account": account,
            "usd": requested.usd,
            "charged_usd": totals.charged_usd,
            "remaining_usd": None if rule.is_rate else rule.usd - totals.charged_usd,
        }
