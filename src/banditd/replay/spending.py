"""A replay's budget: the daemon's own book of budgets and model of amounts, over accounts in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from banditd.budget.amounts import Amounts
from banditd.core.money import AccountKey, AccountTotals, BudgetRule, Charge
from banditd.core.types import Arm, Context, FeatureSchema, Price, Query
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided
from banditd.deciding.view import RouteView
from banditd.ports import GuardedOutcome, PromisedOutcome, RatedOutcome, UsageOutcome
from banditd.services.money.amounts import REPORTS_OF_EACH_ARM, REPORTS_USED, fit_amounts, fit_is_due
from banditd.services.money.budgets import BudgetBook

_QUERY = Query(policy="replay")


@dataclass(frozen=True, slots=True)
class Charged:
    """A decision that was charged: when, and what."""

    at_us: int
    charges: tuple[Charge, ...]


class Spending:
    """One budget per decision. Time is counted in decisions. ``amounts`` : the models as fitted last."""

    def __init__(self, budget_usd: float, schema: FeatureSchema) -> None:
        self._store = MemoryAccounts()
        rule = BudgetRule(name="replay", usd=budget_usd)
        self._book = BudgetBook(_QUERY.policy, [rule], self._store, NoOutcomes())
        self._schema = schema
        self._now_us = 0
        self._newest: deque[UsageOutcome] = deque(maxlen=REPORTS_USED)
        self._of_arm: dict[str, deque[UsageOutcome]] = {}  # older than those, a few of each arm
        self._reports = self._fitted = 0
        self._prices: dict[str, list[tuple[int, Price]]] = {}
        self.amounts: Amounts | None = None

    async def accounts(self, view: RouteView) -> tuple[Account, ...]:
        """What a decision by this view is charged to."""
        self._follow(view)
        return await self._book.accounts(_QUERY, self._now_us)

    def charge(self, view: RouteView, case: Case, decided: Decided) -> Charged:
        """Charge a decision that was just drawn, as the daemon does."""
        return self._commit(self._book.charge(view, case, decided, 0, self._now_us))

    async def charge_elsewhere(self, view: RouteView, arm: int, context: Context, input_tokens: float) -> Charged:
        """Charge a decision for the arm at that place of the view that was made elsewhere."""
        accounts = await self.accounts(view)
        cost_usd = view.cost_usd(input_tokens, view.expected_output_tokens(context.x[None, :]))[0, arm]
        return self._commit(self._book.reserve(accounts, float(cost_usd), (), self._now_us))

    def _follow(self, view: RouteView) -> None:
        self._book.follow_prices(view)
        for arm in view.arms:
            history = self._prices.setdefault(arm.arm, [])
            if not history or history[-1][1] != arm.price:
                history.append((self._now_us, arm.price))

    def _commit(self, charges: tuple[Charge, ...]) -> Charged:
        charged = Charged(self._now_us, charges)
        totals = self._store.charge(charges, self._now_us)
        self._book.release(charges)
        self._book.adopt(totals)
        self._now_us += 1
        return charged

    def settle(
        self,
        charged: Charged,
        served: Arm,
        arms: Sequence[Arm],
        context: Context,
        input_tokens: float,
        cost_usd: float,
    ) -> bool:
        """Usage is reported: what the answer cost. True when the models of amounts have been fitted again."""
        self._book.adopt(self._store.correct(charged.charges, cost_usd))
        self._note(
            UsageOutcome(
                arm=served.arm,
                x=context.x,
                decided_at_us=charged.at_us,
                input_tokens=round(input_tokens),
                output_tokens=None,
                cost_usd=cost_usd,
                latency_ms=None,
            )
        )
        self._reports += 1
        if not fit_is_due(self._reports, self._fitted):
            return False
        self._fitted = self._reports
        outcomes = [one for older in self._of_arm.values() for one in older] + list(self._newest)
        self.amounts = fit_amounts(outcomes, arms, self._schema, self._prices)
        return True

    def _note(self, outcome: UsageOutcome) -> None:
        if len(self._newest) == REPORTS_USED:
            oldest = self._newest[0]
            self._of_arm.setdefault(oldest.arm, deque(maxlen=REPORTS_OF_EACH_ARM)).append(oldest)
        self._newest.append(outcome)

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
