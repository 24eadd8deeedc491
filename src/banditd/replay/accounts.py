"""Accounts of budgets in memory, for a replay: what the database does in the daemon, without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from banditd.core.money import AccountKey, AccountTotals, Charge
from banditd.ports import GuardedOutcome, PromisedOutcome, RatedOutcome, UsageOutcome


class MemoryAccounts:
    """``ports.BudgetStore`` over a dictionary, and the charging that a commit does."""

    def __init__(self) -> None:
        self._totals: dict[AccountKey, AccountTotals] = {}

    async def load(self, policy: str) -> str | None:
        """Nothing is kept from one replay to the next."""
        return None

    async def save(self, policy: str, state: str, at_us: int) -> None:
        """Nothing is kept from one replay to the next."""

    async def accounts(self, keys: Sequence[AccountKey]) -> Mapping[AccountKey, AccountTotals]:
        return {key: self._totals[key] for key in keys if key in self._totals}

    async def dearest(
        self, policy: str, budget: str, window_at_us: int, limit: int
    ) -> list[tuple[AccountKey, AccountTotals]]:
        found = [(key, totals) for key, totals in self._totals.items() if key[:2] == (policy, budget)]
        return sorted(found, key=lambda pair: -pair[1].charged_usd)[:limit]

    def charge(self, charges: Sequence[Charge], at_us: int) -> dict[AccountKey, AccountTotals]:
        """What stands on the accounts once a decision, made then, is charged to them."""
        for charge in charges:
            self._totals[charge.key] = charge.on(self._totals.get(charge.key), at_us)
        return {charge.key: self._totals[charge.key] for charge in charges}

    def correct(self, charges: Sequence[Charge], cost_usd: float) -> dict[AccountKey, AccountTotals]:
        """What stands on them once the real cost of that decision is known."""
        for charge in charges:
            self._totals[charge.key] = self._totals[charge.key].corrected(cost_usd - charge.usd)
        return {charge.key: self._totals[charge.key] for charge in charges}

    def clear(self) -> None:
        """A new period begins: nothing is spent."""
        self._totals.clear()


class NoOutcomes:
    """``ports.RecentOutcomes`` of a log that is not kept."""

    async def usage(self, policy: str, schema_hash: str, limit: int, of_each_arm: int) -> Sequence[UsageOutcome]:
        return ()

    async def guarded(self, policy: str, limit: int) -> Sequence[GuardedOutcome]:
        return ()

    async def rated(self, policy: str, limit: int, *, before_id: str | None = None) -> Sequence[RatedOutcome]:
        return ()

    async def promised(
        self, policy: str, schema_hash: str, limit: int, *, release_id: str | None = None
    ) -> Sequence[PromisedOutcome]:
        return ()

    async def promised_since(self, policy: str, decision_id: str, limit: int) -> int:
        return 0
