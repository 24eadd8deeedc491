"""A replay's budget: the daemon's own book of budgets, over accounts in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from banditd.core.money import AccountKey, AccountTotals, BudgetRule, Charge
from banditd.core.types import Context, Query
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided
from banditd.deciding.view import RouteView
from banditd.ports import GuardedOutcome, PromisedOutcome, RatedOutcome, UsageOutcome
from banditd.services.money.budgets import BudgetBook

_QUERY = Query(policy="replay")
Charges = tuple[Charge, ...]


class Spending:
    """One budget per decision. Time is counted in decisions."""

    def __init__(self, budget_usd: float) -> None:
        self._store = MemoryAccounts()
        rule = BudgetRule(name="replay", usd=budget_usd)
        self._book = BudgetBook(_QUERY.policy, [rule], self._store, NoOutcomes())

    async def accounts(self, view: RouteView, now_us: int) -> tuple[Account, ...]:
        """What a decision by this view is charged to."""
        self._book.follow_prices(view)
        return await self._book.accounts(_QUERY, now_us)

    def charge(self, view: RouteView, case: Case, decided: Decided, now_us: int) -> Charges:
        """Charge a decision that was just drawn, as the daemon does."""
        return self._commit(self._book.charge(view, case, decided, 0, now_us), now_us)

    async def charge_elsewhere(
        self, view: RouteView, arm: int, context: Context, input_tokens: float, now_us: int
    ) -> Charges:
        """Charge a decision for the arm at that place of the view that was made elsewhere."""
        accounts = await self.accounts(view, now_us)
        cost_usd = view.cost_usd(input_tokens, view.expected_output_tokens(context.x[None, :]))[0, arm]
        return self._commit(self._book.reserve(accounts, float(cost_usd), (), now_us), now_us)

    def _commit(self, charges: Charges, now_us: int) -> Charges:
        totals = self._store.charge(charges, now_us)
        self._book.release(charges)
        self._book.adopt(totals)
        return charges

    def settle(self, charges: Charges, cost_usd: float) -> None:
        """Usage is reported: what the answer cost."""
        self._book.adopt(self._store.correct(charges, cost_usd))

    def begin(self) -> None:
        """What is spent from now on counts."""
        self._store.clear()
        for account in self._book.of_all_decisions():
            account.pacer.open_account()
            account.adopt(AccountTotals())


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
