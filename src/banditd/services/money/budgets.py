"""One policy's budgets in this process: which ones apply to a query, what a dollar is worth, what may be spent.

The authoritative totals are in the database and raised by the commit of each decision. Here they are at most one
commit old, plus the charges that are being committed. The prices of a dollar are this process' own. This module only
reads from storage.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from banditd.budget.pacer import Pacer
from banditd.budget.windows import window_before, window_of
from banditd.core.money import ALL, AccountKey, AccountTotals, BudgetRule, Charge
from banditd.core.types import FloatArray, IntArray, Query
from banditd.deciding.account import LEAST_TARGET_USD, Account
from banditd.deciding.decide import Case, Decided
from banditd.deciding.money import price_per_usd
from banditd.deciding.view import RouteView
from banditd.ports import BudgetStore, RecentOutcomes
from banditd.services.money.guard import PolicyGuard

# There may be many accounts of keys and tags; this many are kept in memory, with their prices.
ACCOUNTS_KEPT: Final = 2000


class _Remembered(NamedTuple):
    """A decision that a pacer remembers, without prices: its arms and their predicted tokens."""

    arms: tuple[str, ...]
    input_tokens: float
    output_tokens: FloatArray


class BudgetBook:
    """Every budget of a policy.

    rules : with distinct names. store : holds the accounts. recent : what the guard judges by.
    """

    def __init__(
        self,
        policy: str,
        rules: Sequence[BudgetRule],
        store: BudgetStore,
        recent: RecentOutcomes,
    ) -> None:
        self.policy = policy
        self.rules = tuple(rules)
        self._store = store
        self._accounts: OrderedDict[AccountKey, Account] = OrderedDict()
        # By budget and owner, the account of the latest window, so that nothing has to search all accounts.
        self._newest: dict[tuple[str, str], Account] = {}
        self._restored: dict[tuple[str, str], str] = {}
        self._view: RouteView | None = None
        self._prices: dict[str, tuple[float, float, float]] = {}
        self.guard = PolicyGuard(policy, recent)

    # -------------------------------------------------------------- opening

    async def open(self) -> None:
        """Read the saved prices and the accounts of all decisions."""
        state = await self._store.load(self.policy)
        saved = json.loads(state).get("pacers", {}) if state else {}
        self._restored = {(str(budget), ALL): json.dumps(pacer) for budget, pacer in saved.items()}

    async def accounts(self, query: Query, now_us: int) -> tuple[Account, ...]:
        """The accounts that a query is charged to; unknown ones are read first."""
        if not self.rules:
            return ()
        keys = self._keys(query, now_us)
        held = {key: self._accounts[key] for _, key in keys if key in self._accounts}
        missing = [pair for pair in keys if pair[1] not in held]
        if missing:
            await self._read(missing, now_us)
            for key, account in held.items():  # they may have been evicted while others were read
                if key not in self._accounts:
                    self._keep(account)
        accounts = []
        for _, key in keys:
            self._accounts.move_to_end(key)
            accounts.append(self._accounts[key])
        while len(self._accounts) > max(ACCOUNTS_KEPT, len(accounts)):
            self._drop(next(iter(self._accounts)))
        return tuple(accounts)

    def _keep(self, account: Account) -> None:
        self._accounts[account.key] = account
        self._newest[account.owner] = account

    def _drop(self, key: AccountKey) -> None:
        account = self._accounts.pop(key)
        if self._newest.get(account.owner) is account:
            del self._newest[account.owner]

    def _keys(self, query: Query, now_us: int) -> list[tuple[BudgetRule, AccountKey]]:
        found = []
        for rule in self.rules:
            account = rule.account_of(key_name=query.key_name, tags=query.tags)
            if account is not None:
                window_at_us, _ = window_of(rule.per, now_us)
                found.append((rule, AccountKey(self.policy, rule.name, account, window_at_us)))
        return found

    async def _read(self, missing: Sequence[tuple[BudgetRule, AccountKey]], now_us: int) -> None:
        before = {
            key: key._replace(window_at_us=window_before(rule.per, key.window_at_us))
            for rule, key in missing
            if not rule.is_rate
        }
        totals = await self._store.accounts([*(key for _, key in missing), *before.values()])
        for rule, key in missing:
            if key in self._accounts:  # another query was faster
                continue
            earlier = totals.get(before[key]) if key in before else None
            account = Account(
                rule=rule,
                key=key,
                ends_at_us=window_of(rule.per, now_us)[1],
                decisions_before=0 if earlier is None else earlier.decisions,
                totals=AccountTotals(),
                pacer=self._pacer(rule, key),
            )
            account.adopt(totals.get(key, AccountTotals()))
            account.retarget(now_us)
            self._keep(account)

    def _pacer(self, rule: BudgetRule, key: AccountKey) -> Pacer:
        """A pacer that continues the prices of the previous window, or of before a restart."""
        other = self._newest.get((rule.name, key.account))
        if other is not None:
            other.pacer.open_account()
            return other.pacer
        usd = rule.usd if rule.is_rate else LEAST_TARGET_USD
        pacer = Pacer.restore(usd, self._restored.pop((rule.name, key.account), None))
        if rule.is_rate:
            pacer.retarget(usd)
        return pacer

    # -------------------------------------------------------------- a decision

    def mixture(
        self, accounts: Sequence[Account], names: tuple[str, ...], arms: IntArray, cost_usd: FloatArray
    ) -> FloatArray | None:
        """The fixed-arm mixture that the strictest of the budgets would buy, over ``arms``: float64, shape (n,).

        Only logged; nothing is drawn from it. None if not known yet. cost_usd : of these arms, (n,).
        """
        return self.guard.fixed(names, arms, cost_usd, min(account.pacer.target_usd for account in accounts))

    def charge(self, view: RouteView, case: Case, decided: Decided, row: int, now_us: int) -> tuple[Charge, ...]:
        """Reserve the estimate of a decision just drawn, until its commit; returns what the commit charges.

        The prices learn what decisions come, including arms that budgets excluded (``Pacer.observe``).

        case : with its accounts. row : of the case in ``decided``, which belongs to ``view``.
        """
        if not case.accounts:
            return ()
        names, eligible = view.snapshot.arms, decided.eligible[row].nonzero()[0]
        mean, cost_usd = decided.scores.mean[row, eligible], decided.priced.cost_usd[row, eligible]
        probability = decided.draw.probability[row, eligible]  # 0 for arms that budgets excluded
        key = _Remembered(
            tuple(names[i] for i in eligible.tolist()),
            case.input_tokens,
            decided.priced.output_tokens[row, eligible],
        )
        for account in case.accounts:
            account.pacer.observe(mean, cost_usd, probability=probability, key=key)
        self.guard.observe(names, eligible, mean, cost_usd)
        stopped = [name for name, _ in decided.admissions[row].stopped]
        return self.reserve(
            case.accounts, float(decided.priced.cost_usd[row, decided.draw.index[row]]), stopped, now_us
        )

    def follow_prices(self, view: RouteView) -> None:
        """Recompute the costs of remembered decisions if prices have changed; called with every decision."""
        before_arms, self._view = None if self._view is None else self._view.arms, view
        if view.arms is before_arms:
            return
        prices = {
            arm.arm: (view.usd_per_request[i], view.usd_per_token_in[i], view.usd_per_token_out[i])
            for i, arm in enumerate(view.arms)
        }
        before, self._prices = self._prices, {**self._prices, **prices}
        # Leave out recipes: their expected cost changes every few plays without any price having changed.
        models = {arm.arm for arm in view.arms if arm.recipe is None}
        if any(prices[arm] != before[arm] for arm in models & before.keys()):
            for account in self._accounts.values():
                account.pacer.reprice(self._cost_again)
            self.guard.forget()

    def _cost_again(self, key: object) -> FloatArray:
        assert isinstance(key, _Remembered)  # noqa: S101  (made by ``observe``)
        request, inward, outward = np.array([self._prices[arm] for arm in key.arms]).T
        cost: FloatArray = request + inward * key.input_tokens + outward * key.output_tokens
        return cost

    def reserve(
        self, accounts: Sequence[Account], cost_usd: float, stopped: Collection[str], now_us: int
    ) -> tuple[Charge, ...]:
        """Reserve the estimate of a decision just drawn, until its commit; returns what the commit charges.

        stopped : names of used-up budgets that continue with their arm of last resort.
        """
        charges = []
        for account in accounts:
            rule = account.rule
            account.count(cost_usd, now_us)
            holds = not rule.is_rate and rule.name not in stopped
            charges.append(
                Charge(
                    key=account.key,
                    usd=cost_usd,
                    planned_usd=rule.usd if rule.is_rate else 0.0,
                    credit_usd=account.pacer.credit_usd if rule.is_rate else 0.0,
                    limit_usd=rule.usd if holds else None,
                )
            )
        return tuple(charges)

    def release(self, charges: Iterable[Charge]) -> None:
        """The decision is committed, or never will be: end its reservation."""
        for charge in charges:
            account = self._accounts.get(charge.key)
            if account is not None:
                account.pending_usd = max(0.0, account.pending_usd - charge.usd)

    def adopt(self, totals: Mapping[AccountKey, AccountTotals]) -> None:
        """Adopt totals that a commit or a read of the database returned."""
        for key, found in totals.items():
            account = self._accounts.get(key)
            if account is not None:
                account.adopt(found)

    # -------------------------------------------------------------- around it

    async def refresh(self, now_us: int) -> None:
        """Read the accounts again: other replicas spend, and usage reports correct estimates."""
        live = []
        for key, account in list(self._accounts.items()):
            if not account.ends_at_us or account.ends_at_us > now_us:
                live.append(key)
            elif self._newest.get(account.owner) is not account:  # a later window's account has taken over
                del self._accounts[key]
        if self._view is not None:
            await self.guard.refresh(self._view.snapshot.version)
        if live:
            self.adopt(await self._store.accounts(live))

    async def save(self, now_us: int) -> None:
        """Save the prices of the accounts of all decisions, for a restart."""
        pacers = {account.rule.name: json.loads(account.pacer.to_json()) for account in self.of_all_decisions()}
        if pacers:
            await self._store.save(self.policy, json.dumps({"pacers": pacers}), now_us)

    def known(self, key: AccountKey) -> Account | None:
        """The account, if this process has used it."""
        return self._accounts.get(key)

    def general_price_per_usd(self) -> float:
        """The highest price among the accounts of all decisions, for reports."""
        return price_per_usd(self.of_all_decisions())

    def of_all_decisions(self) -> list[Account]:
        """The accounts of budgets over all decisions (not per key or tag), of the latest windows."""
        found = (self._newest.get((rule.name, ALL)) for rule in self.rules)
        return [account for account in found if account is not None]
