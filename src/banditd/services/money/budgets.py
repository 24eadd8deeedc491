"""The budgets of one policy in this process: which apply to a query, what a dollar is worth, what may be spent.

The truth of what was spent is the accounts in the database, which the commit of a decision raises; here they are a
commit old at most, plus what is on its way there. The prices are this process' own. No storage here but reading.
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

# Accounts of keys and tags are many; of these many the prices are kept here.
ACCOUNTS_KEPT: Final = 2000


class _Remembered(NamedTuple):
    """A decision that a pacer keeps, without its prices: its arms, and their predicted tokens."""

    arms: tuple[str, ...]
    input_tokens: float
    output_tokens: FloatArray


class BudgetBook:
    """Every budget of a policy.

    rules : with distinct names. store : where the accounts are. recent : what the guard judges by.
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
        # Of every budget and owner the account of the window seen last: nothing here walks through them all.
        self._newest: dict[tuple[str, str], Account] = {}
        self._restored: dict[tuple[str, str], str] = {}
        self._view: RouteView | None = None
        self._prices: dict[str, tuple[float, float, float]] = {}
        self.guard = PolicyGuard(policy, recent)

    # -------------------------------------------------------------- opening

    async def open(self) -> None:
        """Read the prices that were saved and the accounts of all decisions."""
        state = await self._store.load(self.policy)
        saved = json.loads(state).get("pacers", {}) if state else {}
        self._restored = {(str(budget), ALL): json.dumps(pacer) for budget, pacer in saved.items()}

    async def accounts(self, query: Query, now_us: int) -> tuple[Account, ...]:
        """The accounts that a query is charged to; those not seen yet are read first."""
        if not self.rules:
            return ()
        keys = self._keys(query, now_us)
        held = {key: self._accounts[key] for _, key in keys if key in self._accounts}
        missing = [pair for pair in keys if pair[1] not in held]
        if missing:
            await self._read(missing, now_us)
            for key, account in held.items():  # others may have pushed it out meanwhile
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
        """Continues the prices of the window before, or those of before a restart."""
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

        For the record: nothing is drawn from it. None before it is known. cost_usd : of these arms, (n,).
        """
        return self.guard.fixed(names, arms, cost_usd, min(account.pacer.target_usd for account in accounts))

    def charge(self, view: RouteView, case: Case, decided: Decided, row: int, now_us: int) -> tuple[Charge, ...]:
        """Take note of a decision just drawn and hold its estimate until its commit; gives what the commit charges.

        The prices learn what kind of decisions come, arms that money took away among them (``Pacer.observe``).

        case : with its accounts. row : of the case in ``decided``, whose ``view`` it is.
        """
        if not case.accounts:
            return ()
        names, eligible = view.snapshot.arms, decided.eligible[row].nonzero()[0]
        mean, cost_usd = decided.scores.mean[row, eligible], decided.priced.cost_usd[row, eligible]
        probability = decided.draw.probability[row, eligible]  # 0 for those taken away
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
        """Put remembered decisions at the prices of today where they are others; called with every decision."""
        before_arms, self._view = None if self._view is None else self._view.arms, view
        if view.arms is before_arms:
            return
        prices = {
            arm.arm: (view.usd_per_request[i], view.usd_per_token_in[i], view.usd_per_token_out[i])
            for i, arm in enumerate(view.arms)
        }
        before, self._prices = self._prices, {**self._prices, **prices}
        # What a recipe is expected to cost moves with every few plays: no price has changed by that.
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
        """Hold the estimate of a decision just drawn until its commit; gives what the commit charges.

        stopped : names of budgets that are used up and go on with their arm of last resort.
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
        """The decision is committed, or will never be: what stands in the database tells from now on."""
        for charge in charges:
            account = self._accounts.get(charge.key)
            if account is not None:
                account.pending_usd = max(0.0, account.pending_usd - charge.usd)

    def adopt(self, totals: Mapping[AccountKey, AccountTotals]) -> None:
        """Take over what a commit, or a look at the database, has found."""
        for key, found in totals.items():
            account = self._accounts.get(key)
            if account is not None:
                account.adopt(found)

    # -------------------------------------------------------------- around it

    async def refresh(self, now_us: int) -> None:
        """Look at the accounts again: other replicas spend, and usage corrects estimates."""
        live = []
        for key, account in list(self._accounts.items()):
            if not account.ends_at_us or account.ends_at_us > now_us:
                live.append(key)
            elif self._newest.get(account.owner) is not account:  # its owner has a later one, with its prices
                del self._accounts[key]
        if self._view is not None:
            await self.guard.refresh(self._view.snapshot.version)
        if live:
            self.adopt(await self._store.accounts(live))

    async def save(self, now_us: int) -> None:
        """Keep the prices of the accounts of all decisions for a restart."""
        pacers = {account.rule.name: json.loads(account.pacer.to_json()) for account in self.of_all_decisions()}
        if pacers:
            await self._store.save(self.policy, json.dumps({"pacers": pacers}), now_us)

    def known(self, key: AccountKey) -> Account | None:
        """An account that this process has seen."""
        return self._accounts.get(key)

    def general_price_per_usd(self) -> float:
        """The dearest price among the accounts of all decisions, for reports."""
        return price_per_usd(self.of_all_decisions())

    def of_all_decisions(self) -> list[Account]:
        """The accounts that are not of one key or tag, of the windows seen last."""
        found = (self._newest.get((rule.name, ALL)) for rule in self.rules)
        return [account for account in found if account is not None]
