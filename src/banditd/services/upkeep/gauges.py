"""Updates the gauges of /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from banditd.budget.windows import window_of
from banditd.core.money import ALL, AccountKey, AccountTotals
from banditd.obs.metrics import Metrics
from banditd.ports import BudgetStore, Clock, LearningStore, Maintenance, ReportReader
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime

_WINDOW_S: Final = 3600  # over which exploration is reported


class Exploration(Protocol):
    async def stats(self, policy: str, window_s: int | None) -> Mapping[str, Any]:
        """``GET /v1/stats``; over the policy's life for ``window_s`` None."""

    async def savings(self, policy: str) -> Mapping[str, Any]:
        """``GET /v1/savings`` over the policy's life."""

    async def exploration(self, policy: str, window_s: int) -> tuple[float | None, float | None]:
        """(share of decisions that were not greedy, mean entropy in nats) over the last ``window_s``."""


class BudgetGauges:
    """The gauges of the budgets."""

    def __init__(
        self, *, books: Mapping[str, BudgetBook], accounts: BudgetStore, clock: Clock, metrics: Metrics
    ) -> None:
        self._books = books
        self._accounts = accounts
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Update them."""
        now_us = self._clock.now_us()
        for name, book in self._books.items():
            await self._observe(name, book, now_us)

    async def _observe(self, policy: str, book: BudgetBook, now_us: int) -> None:
        for account in book.of_all_decisions():
            price = account.pacer.price_per_usd
            self._metrics.pacer_lambda.labels(policy, account.rule.name).set(price)
        for rule in book.rules:
            if rule.of != ALL:
                continue
            # The present window's account, which another replica may have opened; an ended one is out of date.
            key = AccountKey(policy, rule.name, ALL, window_of(rule.per, now_us)[0])
            seen = book.known(key)
            totals = seen.totals if seen else (await self._accounts.accounts([key])).get(key, AccountTotals())
            granted_usd = rule.granted_usd(totals.decisions)
            ratio = totals.charged_usd / granted_usd if granted_usd > 0.0 else None
            self._metrics.show(self._metrics.budget_charged, totals.charged_usd, policy, rule.name)
            self._metrics.show(self._metrics.budget_spend_ratio, ratio, policy, rule.name)


class Gauges:
    """The gauges of the daemon, its policies and their budgets."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        totals: ReportReader,
        maintenance: Maintenance,
        learning: LearningStore,
        exploration: Exploration,
        budgets: BudgetGauges,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runtimes = runtimes
        self._totals = totals
        self._maintenance = maintenance
        self._learning = learning
        self._exploration = exploration
        self._budgets = budgets
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Read the present values and set them."""
        self._metrics.set_rows(await self._totals.totals())
        log_bytes = self._maintenance.log_bytes()
        if log_bytes is not None:
            self._metrics.wal_bytes.set(log_bytes)
        schemas = {name: runtime.builder.schema.hash for name, runtime in self._runtimes.items()}
        self._metrics.pending_decisions.set(await self._learning.queue_depth(schemas))
        now_us = self._clock.now_us()
        for name, runtime in self._runtimes.items():
            age_s = (now_us - runtime.published_at_us) / 1e6
            self._metrics.snapshot_age.labels(name).set(age_s)
            ratio, entropy = await self._exploration.exploration(name, _WINDOW_S)
            self._metrics.show(self._metrics.exploration_ratio, ratio, name)
            self._metrics.show(self._metrics.selection_entropy, entropy, name)
            life = await self._exploration.stats(name, None)
            means = {row["arm"]: row["mean_reward"] for row in life["arms"]}
            self._metrics.set_arms(name, {arm.arm: (arm.enabled, means.get(arm.arm)) for arm in runtime.arms})
            mixture = life["savings"]["mixture"]
            gap = mixture["reward_difference"] if mixture["reason"] is None else None
            self._metrics.show(self._metrics.baseline_gap, gap["mean"] if gap else None, name)
            self._metrics.show_savings(name, await self._exploration.savings(name))
        await self._budgets.run()
