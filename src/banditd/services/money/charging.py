"""Charges a batch of decisions to budgets, in order, and logs the fixed-arm mixture with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Final

from banditd.bandit.policies.exploration import apply_floors
from banditd.core.money import AccountKey
from banditd.core.types import Blend
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided, Situation
from banditd.deciding.money import decides_alike
from banditd.services.columns import Columns
from banditd.services.money.budgets import BudgetBook

_NO_BUDGETS: Final[Columns] = {
    "charges": repeat(()), "mixture": repeat(None), "unaffordable_usd": repeat(MappingProxyType({})),
}  # fmt: skip


def charged_columns(
    book: BudgetBook, situation: Situation, decided: Decided, cases: Sequence[Case]
) -> tuple[Columns, Sequence[bool]]:
    """The columns that budgets add to each decision, and which decisions hold.

    A decision that earlier charges would have changed does not hold, nor do later ones on any of its accounts.

    cases : those of ``decided.rows``. Dry runs are not charged.
    """
    if not book.rules:
        return _NO_BUDGETS, [True] * len(cases)
    names = situation.view.snapshot.arms
    kept, charges, mixture, unaffordable_usd = [], [], [], []
    spent: set[AccountKey] = set()
    left_out: set[AccountKey] = set()
    for row, case in enumerate(cases):
        keys, admission = [account.key for account in case.accounts], decided.admissions[row]
        alike = spent.isdisjoint(keys) or decides_alike(case.accounts, admission.terms)
        holds = alike and left_out.isdisjoint(keys)
        (spent if holds else left_out).update(keys)
        durable = holds and not case.query.dry_run
        kept.append(holds)
        charges.append(book.charge(situation.view, case, decided, row, situation.now_us) if durable else ())
        mixture.append(_mixture(book, situation, decided, row, case) if holds else None)
        cost_usd = decided.priced.cost_usd[row]
        unaffordable_usd.append({names[i]: float(cost_usd[i]) for i in admission.excluded})
    return {"charges": charges, "mixture": mixture, "unaffordable_usd": unaffordable_usd}, kept


def _mixture(book: BudgetBook, situation: Situation, decided: Decided, row: int, case: Case) -> Blend | None:
    """The fixed-arm mixture to log with the policy's own vector, with the minimum shares of both."""
    if not case.accounts or decided.draw.reason[row] != "policy":
        return None
    view, arms = situation.view, decided.draw.arms[row].nonzero()[0]
    fixed = book.mixture(case.accounts, view.snapshot.arms, arms, decided.priced.cost_usd[row, arms])
    return None if fixed is None else Blend(1.0, apply_floors(fixed[None, :], view.min_share[None, arms])[0])


def note_tried(wave: Iterable[tuple[Sequence[Account], bool]]) -> None:
    """Tell accounts how many of their queries were decided as one batch, and for how many the decision holds.

    wave : for each query its accounts, and whether its decision holds.
    """
    accounts: dict[AccountKey, Account] = {}
    tried, alike = Counter[AccountKey](), Counter[AccountKey]()
    for charged, holds in wave:
        for account in charged:
            accounts[account.key] = account
            tried[account.key] += 1
            alike[account.key] += holds
    for key, account in accounts.items():
        account.tried(tried[key], alike[key])
