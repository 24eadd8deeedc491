"""What the daemon does besides answering: default rewards, silent usage, roll-ups, retention, integrity, budgets.

Each function is one run of one job; when and on which replica it runs is ``jobs/``' business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from banditd.budget.windows import window_of
from banditd.core.errors import InvariantError
from banditd.core.money import ALL, AccountKey, AccountTotals
from banditd.obs.metrics import Metrics
from banditd.ports import (
    BudgetStore,
    Clock,
    JobStore,
    LearningStore,
    Maintenance,
    ReportReader,
    RewardLog,
)
from banditd.services.learning.folding import contribution_of, other_contributions_of
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
BATCH = 500
# The stretch over which /metrics reports exploration.
GAUGE_WINDOW_S = 3600
# Decisions commit a little after their time stamp; looking back this far misses none of them.
OVERLAP_US = 600 * 1_000_000
CLOCK_SLACK_US = 60 * 1_000_000  # a clock that was set back by less than this was only corrected
DAY_US = 86_400 * 1_000_000


class Defaults(Protocol):
    async def default(self, policy: str, decision_ids: list[str], value: float) -> int: ...


class Exploration(Protocol):
    async def stats(self, policy: str, window_s: int | None) -> Mapping[str, Any]:
        """``GET /v1/stats``; over the policy's life for ``window_s`` None."""

    async def savings(self, policy: str) -> Mapping[str, Any]:
        """``GET /v1/savings`` over the policy's life."""

    async def exploration(self, policy: str, window_s: int) -> tuple[float | None, float | None]:
        """(share of decisions that were not greedy, mean entropy in nats) over the last ``window_s``."""


class MaintenanceService:
    """The jobs' bodies."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, BudgetBook],
        accounts: BudgetStore,
        rewards: RewardLog,
        defaults: Defaults,
        learning: LearningStore,
        maintenance: Maintenance,
        reports: ReportReader,
        jobs: JobStore,
        clock: Clock,
        metrics: Metrics,
        exploration: Exploration,
        ask_refit: Callable[[list[str]], None],
        retention_days: float,
        idempotency_s: float,
        usage_window_s: float,
        integrity_sample: int,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._accounts = accounts
        self._rewards = rewards
        self._defaults = defaults
        self._learning = learning
        self._maintenance = maintenance
        self._reports = reports
        self._jobs = jobs
        self._clock = clock
        self._metrics = metrics
        self._exploration = exploration
        self._ask_refit = ask_refit
        self._retention_us = int(retention_days * DAY_US)
        self._idempotency_us = int(idempotency_s * 1e6)
        self._usage_window_us = int(usage_window_s * 1e6)
        self._integrity_sample = integrity_sample
        self._checked_to: dict[str, str | None] = {}

    async def default_rewards(self) -> None:
        """Give decisions whose window closed without a reward their policy's default, where there is one."""
        now_us = self._clock.now_us()
        for name, runtime in self._runtimes.items():
            await self._give_defaults(name, runtime.config.rewards.default_reward, now_us)

    async def _give_defaults(self, policy: str, value: float | None, now_us: int) -> None:
        cursor = f"default_rewards:{policy}"
        reached_us = await self._jobs.cursor(cursor)
        if value is None:
            if reached_us:
                await self._jobs.set_cursor(cursor, 0)
            return
        if not reached_us:
            # A default set just now is for windows that close from now on, not for the whole log: the cursor begins
            # where even the look back does not reach before this moment.
            await self._jobs.set_cursor(cursor, now_us + OVERLAP_US)
            return
        if reached_us > now_us + OVERLAP_US + CLOCK_SLACK_US:
            # A clock that was ahead set it, and gave every default that was due by now; looking back finds the rest.
            logger.warning("job.cursor_from_the_future", extra={"cursor": cursor})
            reached_us = now_us
        while True:
            due = await self._rewards.unrewarded(policy, reached_us - OVERLAP_US, now_us, BATCH)
            given = await self._defaults.default(policy, [d.decision_id for d in due], value) if due else 0
            # Those just defaulted are unrewarded no longer, so the same stretch gives the next ones.
            if len(due) < BATCH or not given:
                break
        await self._jobs.set_cursor(cursor, max(now_us, reached_us))

    async def usage_silence(self) -> None:
        """Settle decisions whose usage never came at their predicted cost, and those never activated at nothing.

        The time to report usage begins when a decision serves: a deferred one with its activation.
        """
        until_us = self._clock.now_us() - self._usage_window_us
        for name in self._runtimes:
            cursor = f"usage_silence:{name}"
            # Not beyond now: a clock that was ahead may have set it.
            since_us = max(0, min(await self._jobs.cursor(cursor), until_us) - OVERLAP_US)
            while True:
                silent = await self._rewards.silent_usage(name, since_us, until_us, BATCH)
                ids = [decision_id for decision_id, _, _ in silent]
                charged = await self._rewards.charge_estimate(ids, self._clock.now_us()) if ids else 0
                if len(silent) < BATCH or not charged:
                    break
            while abandoned := await self._rewards.abandoned(name, since_us, until_us, BATCH):
                await self._rewards.release(abandoned, self._clock.now_us())
            await self._jobs.set_cursor(cursor, until_us)

    async def compact_rollups(self) -> None:
        """Merge old roll-up buckets."""
        await self._maintenance.compact_rollups(self._clock.now_us())

    async def retention(self) -> None:
        """Delete request keys and decisions older than configured; statistics and roll-ups stay."""
        kept_from_us = self._clock.now_us() - self._idempotency_us
        while await self._maintenance.forget_keys(before_us=kept_from_us, limit=BATCH) == BATCH:
            pass
        if not self._retention_us:
            return
        before_us = self._clock.now_us() - self._retention_us
        pruned = BATCH
        while pruned == BATCH:
            pruned = await self._maintenance.prune(before_us=before_us, limit=BATCH)

    async def refit(self) -> None:
        """Refit the evidence of every policy, however slow its traffic."""
        self._ask_refit(list(self._runtimes))

    async def integrity(self) -> None:
        """Recompute a sample of contributions from their rewards; a difference is a bug and an alarm.

        The rows of the log are read one stretch after the other, so that after some runs each was looked at.

        Raises
        ------
        InvariantError : a stored contribution is not what its rewards give, or a row of the log is damaged.
        """
        for name, runtime in self._runtimes.items():
            damaged, self._checked_to[name] = await self._learning.check_rows(
                name, self._checked_to.get(name) or "", self._integrity_sample
            )
            if damaged:
                raise InvariantError(
                    f"policy {name}: the rows of {len(damaged)} decisions are damaged, first {damaged[0]}; "
                    "run 'banditd rebuild'"
                )
            sample = await self._learning.sample_contributions(name, self._integrity_sample)
            wrong = [
                item.decision_id
                for item in sample
                # Queued decisions may lag, those of another feature schema wait for a learner of theirs.
                if not item.queue_ids
                and item.damage is None
                and item.schema_hash == runtime.builder.schema.hash
                and (contribution_of(item), other_contributions_of(item))
                != (item.contribution, item.other_contributions)
            ]
            if wrong:
                raise InvariantError(
                    f"policy {name}: {len(wrong)} of {len(sample)} sampled decisions are not in the statistics "
                    f"as their rewards say, first {wrong[0]}; run 'banditd rebuild'"
                )

    async def keep_budgets(self) -> None:
        """Look at what other replicas have spent, and keep this one's prices for a restart."""
        now_us = self._clock.now_us()
        for book in self._books.values():
            if book.rules:
                await book.refresh(now_us)
                await book.save(now_us)

    async def observe(self) -> None:
        """Bring the gauges of /metrics up to date."""
        self._metrics.set_rows(await self._reports.totals())
        log_bytes = self._maintenance.log_bytes()
        if log_bytes is not None:
            self._metrics.wal_bytes.set(log_bytes)
        schemas = {name: runtime.builder.schema.hash for name, runtime in self._runtimes.items()}
        self._metrics.pending_decisions.set(await self._learning.queue_depth(schemas))
        now_us = self._clock.now_us()
        for name, runtime in self._runtimes.items():
            age_s = (now_us - runtime.published_at_us) / 1e6
            self._metrics.snapshot_age.labels(name).set(age_s)
            ratio, entropy = await self._exploration.exploration(name, GAUGE_WINDOW_S)
            self._metrics.show(self._metrics.exploration_ratio, ratio, name)
            self._metrics.show(self._metrics.selection_entropy, entropy, name)
            life = await self._exploration.stats(name, None)
            means = {row["arm"]: row["mean_reward"] for row in life["arms"]}
            self._metrics.set_arms(name, {arm.arm: (arm.enabled, means.get(arm.arm)) for arm in runtime.arms})
            mixture = life["savings"]["mixture"]
            gap = mixture["reward_difference"] if mixture["reason"] is None else None
            self._metrics.show(self._metrics.baseline_gap, gap["mean"] if gap else None, name)
            self._metrics.show_savings(name, await self._exploration.savings(name))
        for name, book in self._books.items():
            await self._observe_budgets(name, book, now_us)

    async def _observe_budgets(self, policy: str, book: BudgetBook, now_us: int) -> None:
        for account in book.of_all_decisions():
            price = account.pacer.price_per_usd
            self._metrics.pacer_lambda.labels(policy, account.rule.name).set(price)
        for rule in book.rules:
            if rule.of != ALL:
                continue
            # Of the present window: one that ended says nothing of today, and other replicas may have begun this one.
            key = AccountKey(policy, rule.name, ALL, window_of(rule.per, now_us)[0])
            seen = book.known(key)
            totals = seen.totals if seen else (await self._accounts.accounts([key])).get(key, AccountTotals())
            granted_usd = rule.granted_usd(totals.decisions)
            ratio = totals.charged_usd / granted_usd if granted_usd > 0.0 else None
            self._metrics.show(self._metrics.budget_charged, totals.charged_usd, policy, rule.name)
            self._metrics.show(self._metrics.budget_spend_ratio, ratio, policy, rule.name)
