"""Budgets as values: the rule, the account that it is kept on, and what a decision charges to it.

An *account* is what one budget counts on: one for all decisions of a policy, or one per API key, or one per value of
a tag; and for a budget per hour, day or month a new one in every window. Charged is what was spent so far: the
estimate of every decision from its routing on, the real cost once usage is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

CHEAPEST: Final = "cheapest"
REJECT: Final = "reject"
ALL: Final = "all"
TAG_PREFIX: Final = "tag:"
# Sums of dollars carry rounding errors; a limit is not missed by less.
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
        """Whether it holds a mean per decision and not a sum per window."""
        return self.per == "decision"

    def granted_usd(self, decisions: int) -> float:
        """What it grants so far: per decision times the decisions (>= 0), or the whole window's."""
        return self.usd * (decisions if self.is_rate else 1)

    def account_of(self, *, key_name: str | None, tags: object) -> str | None:
        """The account's name of a query, or None when the budget does not apply to it.

        tags : mapping of the query's tags. Without API keys, or without that tag, there is nobody to charge.
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
    """What stands on an account. All replicas see the same.

    decisions : routed on it. charged_usd : spent, estimates included. owed_usd : of a budget per decision, spent
    over planned, negative when money was saved. opened_at_us : its first decision.
    """

    decisions: int = 0
    charged_usd: float = 0.0
    owed_usd: float = 0.0
    opened_at_us: int = 0

    def corrected(self, usd: float) -> AccountTotals:
        """With so much more (or, negative, less) charged and owed: what an answer really cost, over its estimate."""
        return AccountTotals(self.decisions, self.charged_usd + usd, self.owed_usd + usd, self.opened_at_us)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a decision puts on an account when it is committed.

    usd : its predicted cost. planned_usd : what the budget grants a decision (0 for one with a window);
    credit_usd : most that may be saved up. limit_usd : the sum that must not be exceeded, or None: then it is
    charged whatever stands there.
    """

    key: AccountKey
    usd: float
    planned_usd: float = 0.0
    credit_usd: float = 0.0
    limit_usd: float | None = None

    def exceeds(self, before: AccountTotals | None) -> bool:
        """Whether the account's limit would be exceeded. before : what stands on it, None for nothing."""
        if self.limit_usd is None or self.usd <= 0.0:  # what costs nothing exceeds nothing
            return False
        charged = 0.0 if before is None else before.charged_usd
        return charged + self.usd > self.limit_usd + ROUNDING_USD

    def on(self, before: AccountTotals | None, at_us: int) -> AccountTotals:
        """What stands on the account once it is charged, by a decision made then."""
        before = before or AccountTotals(opened_at_us=at_us)
        return AccountTotals(
            decisions=before.decisions + 1,
            charged_usd=before.charged_usd + self.usd,
            owed_usd=max(before.owed_usd, -self.credit_usd) + self.usd - self.planned_usd,
            opened_at_us=before.opened_at_us,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What an operator puts on an account by hand (negative: takes off it), and why.

    correction_id : one id, one correction. key_name : of the API key that asked, None where there are no keys.
    """

    correction_id: str
    key: AccountKey
    usd: float
    reason: str
    key_name: str | None
    created_at_us: int
