"""A budget's account as one process sees it: the last committed totals plus its own charges that are not committed
yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from banditd.budget.pacer import Pacer
from banditd.budget.windows import planned_usd
from banditd.core.errors import BudgetExhaustedError
from banditd.core.money import ALL, AccountKey, AccountTotals, BudgetRule

LEAST_TARGET_USD: Final = 1e-12
# Sums of dollars carry rounding errors.
ROUNDING_USD: Final = 1e-9
_RETARGET_EVERY: Final = 10


@dataclass(slots=True)
class Account:
    """A budget's account as one process sees it.

    pending_usd : charged by decisions that are drawn but not known to be committed.
    alike : batch size up to which its queries were recently decided as they would have been one by one.
    """

    rule: BudgetRule
    key: AccountKey
    ends_at_us: int  # 0: never
    decisions_before: int
    totals: AccountTotals
    pacer: Pacer
    pending_usd: float = 0.0
    decisions: int = 0  # of this process, since the target was set
    alike: int = 1

    @property
    def owner(self) -> tuple[str, str]:
        """Budget and account name, without the window."""
        return self.rule.name, self.key.account

    def left_usd(self) -> float:
        """Dollars left in the window; infinite for a budget per decision."""
        return math.inf if self.rule.is_rate else self.rule.usd - self.totals.charged_usd - self.pending_usd

    def adopt(self, totals: AccountTotals) -> None:
        """Replace the totals by the database's, which include other replicas' charges."""
        self.totals = totals
        if self.rule.is_rate:
            self.pacer.owe(totals.owed_usd + self.pending_usd - self.pacer.owed_usd)

    @property
    def at_once(self) -> int:
        """How many of its queries are worth deciding as one batch."""
        if self.rule.is_rate:
            return self.alike
        return min(self.alike, _RETARGET_EVERY - self.decisions % _RETARGET_EVERY)

    def tried(self, queries: int, alike: int) -> None:
        """Record a batch of ``queries``, of which ``alike`` came out as they would have one by one."""
        if alike < queries:
            self.alike = max(1, alike)
        elif queries >= self.alike:
            self.alike = 2 * queries

    def count(self, cost_usd: float, now_us: int) -> None:
        """Reserve the estimated cost of a decision that was just drawn, and update the price of a dollar."""
        self.pending_usd += cost_usd
        self.decisions += 1
        if self.decisions % _RETARGET_EVERY == 0:
            self.retarget(now_us)
        self.pacer.reserve(cost_usd)

    def retarget(self, now_us: int) -> None:
        """Spread what is left of the window over the decisions that are still expected."""
        if self.rule.is_rate:
            return
        target = planned_usd(
            left_usd=self.left_usd(),
            now_us=now_us,
            start_us=self.key.window_at_us,
            end_us=self.ends_at_us,
            decisions=self.totals.decisions,
            opened_at_us=self.totals.opened_at_us,
            decisions_before=self.decisions_before,
        )
        self.pacer.retarget(max(target, LEAST_TARGET_USD))


def exhausted(account: Account, now_us: int, cheapest_usd: float | None = None) -> BudgetExhaustedError:
    """The error of a budget whose rule is to reject: used up, or too little left for this decision.

    cheapest_usd : predicted cost of the cheapest arm that could have answered, if known.
    """
    rule = account.rule
    whose = "" if account.key.account == ALL else f" of {account.key.account}"
    budget = f"the budget {rule.name}{whose} of {rule.usd:g} dollars per {rule.per}"
    retry_after_s = max(1.0, (account.ends_at_us - now_us) / 1e6)
    if account.totals.charged_usd >= rule.usd - ROUNDING_USD:
        return BudgetExhaustedError(
            f"{budget} is used up; raise it, or try again when its window ends", retry_after_s=retry_after_s
        )
    price = "" if cheapest_usd is None else f", and the cheapest arm is predicted to cost {cheapest_usd:g}"
    return BudgetExhaustedError(
        f"{budget} has too little left for this decision: {account.totals.charged_usd:g} dollars are charged and "
        f"{account.pending_usd:g} are reserved for pending decisions{price}. Raise it, allow a cheaper arm, or "
        "try again when its window ends",
        retry_after_s=retry_after_s,
        code="BUDGET_SHORT",
    )
