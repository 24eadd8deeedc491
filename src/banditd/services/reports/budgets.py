"""The state of a policy's budgets, for people. Read-only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from banditd.budget.windows import window_of
from banditd.core.errors import NotFoundError
from banditd.core.money import ALL, AccountKey, AccountTotals, BudgetRule
from banditd.core.times import iso_time
from banditd.ports import BudgetStore, Clock
from banditd.services.money.budgets import BudgetBook

ACCOUNTS_SHOWN: Final = 50


class BudgetReports:
    """Reports every budget with its most heavily charged accounts."""

    def __init__(self, *, books: Mapping[str, BudgetBook], store: BudgetStore, clock: Clock) -> None:
        self._books = books
        self._store = store
        self._clock = clock

    async def budgets(self, policy: str) -> dict[str, object]:
        """Every budget of a policy with its accounts of the present window. Raises NotFoundError."""
        book = self._books.get(policy)
        if book is None:
            raise NotFoundError(
                f"no such policy: {policy}; this daemon serves {', '.join(self._books)}",
                code="POLICY_UNKNOWN",
                field="policy",
            )
        now_us = self._clock.now_us()
        rows: list[dict[str, object]] = []
        for rule in book.rules:
            start_us, end_us = window_of(rule.per, now_us)
            found = list(await self._store.dearest(policy, rule.name, start_us, ACCOUNTS_SHOWN))
            if not found and rule.of == ALL:
                found = [(AccountKey(policy, rule.name, ALL, start_us), AccountTotals())]
            rows += [_row(book, rule, key, totals, end_us) for key, totals in found]
        return {"policy": policy, "budgets": rows, "guard": _guard(book)}


def _guard(book: BudgetBook) -> dict[str, object] | None:
    if not book.rules:
        return None
    found = book.guard.advantage
    known = found is not None and math.isfinite(found[1])
    return {
        "share": 1.0,
        "alarm": book.guard.alarm,
        "advantage": found[0] if found is not None and known else None,
        "standard_error": found[1] if found is not None and known else None,
    }


def _row(
    book: BudgetBook, rule: BudgetRule, key: AccountKey, totals: AccountTotals, end_us: int
) -> dict[str, object]:
    account = book.known(key)
    left_usd = None if rule.is_rate else rule.usd - totals.charged_usd
    return {
        "policy": key.policy,
        "name": rule.name,
        "per": rule.per,
        "of": rule.of,
        "account": key.account,
        "limit_usd": rule.usd,
        "decisions": totals.decisions,
        "charged_usd": totals.charged_usd,
        "charged_usd_per_decision": totals.charged_usd / totals.decisions if totals.decisions else None,
        "remaining_usd": left_usd,
        "window_ends_at": iso_time(end_us) if end_us else None,
        "price_per_usd": None if account is None else account.pacer.price_per_usd,
        "at_stop": None if rule.is_rate else rule.at_stop,
        "stopped": left_usd is not None and left_usd <= 0.0,
    }
