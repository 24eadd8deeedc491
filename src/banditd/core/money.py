"""Budgets as values: the rule, the accounts it is kept on, and what each decision charges.

A budget counts on an *account*: one for all decisions of a policy, one per API key, or one per value of a tag.
Budgets per hour, day or month open new accounts in every window. The charged sum holds the estimate of every decision
from the moment it is routed, and its real cost once usage is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

CHEAPEST: Final = "cheapest"
REJECT: Final = "reject"
ALL: Final = "all"
TAG_PREFIX: Final = "tag:"
# Sums of dollars carry rounding errors; a smaller excess does not exceed a limit.
ROUNDING_USD: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """One budget of a policy.

    usd : dollars per decision on average, or per calendar hour, day or month in UTC; positive.
    of : ``all`` decisions together, ``key``: every API key its own, ``tag:NAME``: every value of that tag its own.
    at_stop : what happens when it is used up: ``cheapest`` arm, ``reject`` (429 with Retry-After), or an arm's name.
    """

    name: str
    usd: float
    per: str = "decision"
    of: str = ALL
    at_stop: str = CHEAPEST

    @property
    def is_rate(self) -> bool:
        """Whether it limits the mean per decision, rather than the sum per window."""
        return self.per == "decision"

    def granted_usd(self, decisions: int) -> float:
        """Dollars granted so far: per decision times the number of decisions (>= 0), or the whole window's."""
        return self.usd * (decisions if self.is_rate else 1)

    def account_of(self, *, key_name: str | None, tags: object) -> str | None:
        """Name of the account that a query is charged to, or None if the budget does not apply to it.

        tags : mapping of the query's tags. A budget per key or per tag does not apply to a query without that key or
        tag.
        """
        if self.of == ALL:
            return ALL
        if self.of == "key":
            return key_name
        value = tags.get(self.of.removeprefix(TAG_PREFIX)) if hasattr(tags, "get") else None
        return None if value is None else str(value)


class AccountKey(NamedTuple):
    """``window_at_us`` is the start of the window, 0 for a budget per decision."""

    policy: str
    budget: str
    account: str
    window_at_us: int


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """The balance of an account; the same for all replicas.

    decisions : number of decisions charged to it.
    charged_usd : spent, estimates included.
    owed_usd : for a budget per decision: spent minus planned; negative when money was saved.
    opened_at_us : time of its first decision.
    """

    decisions: int = 0
    charged_usd: float = 0.0
    owed_usd: float = 0.0
    opened_at_us: int = 0

    def corrected(self, usd: float) -> AccountTotals:
        """The totals after ``usd`` more (or, if negative, less) was charged: the real cost of an answer minus its
        estimate.
        """
        return AccountTotals(self.decisions, self.charged_usd + usd, self.owed_usd + usd, self.opened_at_us)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a decision charges to an account when it is committed.

    usd : its predicted cost.
    planned_usd : what the budget grants per decision (0 for a budget with a window).
    credit_usd : most that may be saved up.
    limit_usd : the sum that must not be exceeded; None: charge regardless of the balance.
    """

    key: AccountKey
    usd: float
    planned_usd: float = 0.0
    credit_usd: float = 0.0
    limit_usd: float | None = None

    def exceeds(self, before: AccountTotals | None) -> bool:
        """Whether the charge would exceed the account's limit.

        before : the account's totals, or None for a new account.
        """
        if self.limit_usd is None or self.usd <= 0.0:  # what costs nothing exceeds nothing
            return False
        charged = 0.0 if before is None else before.charged_usd
        return charged + self.usd > self.limit_usd + ROUNDING_USD

    def on(self, before: AccountTotals | None, at_us: int) -> AccountTotals:
        """The account's totals after this charge, for a decision made at ``at_us``."""
        before = before or AccountTotals(opened_at_us=at_us)
        return AccountTotals(
            decisions=before.decisions + 1,
            charged_usd=before.charged_usd + self.usd,
            owed_usd=max(before.owed_usd, -self.credit_usd) + self.usd - self.planned_usd,
            opened_at_us=before.opened_at_us,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A manual correction by an operator: dollars added to an account (or, if negative, taken off), with a reason.

    correction_id : the same id is applied only once.
    key_name : API key of the request, None without API keys.
    """

    correction_id: str
    key: AccountKey
    usd: float
    reason: str
    key_name: str | None
    created_at_us: int
