"""Statistics, contexts, time series, the decision log, policies. Read-only.

Everything is answered from roll-ups whose size does not grow with the number of decisions; only the decision log
itself is read, by pages. The arithmetic is in ``summaries``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from banditd.bandit.changes.arm_changes import ChangeEvent
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.errors import NotFoundError
from banditd.core.pace import paced_map
from banditd.core.times import iso_time
from banditd.core.types import MICROSECONDS_PER_SECOND, Arm
from banditd.ope.fixed import FIXED_ARM_SUMS
from banditd.ports import ArmStore, Clock, DecisionFilter, DecisionLog, LearningStore, ReportReader
from banditd.services.learning.changes import changes_of
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.reports import PromiseReports
from banditd.services.reports.discrepancy import cell_deviation
from banditd.services.reports.headlines import read_headlines, read_pace
from banditd.services.reports.period import period_of, period_row, steps_of
from banditd.services.reports.rows import (
    ARM_SUMS,
    STEP_SUMS,
    arm_rows,
    clear_winner,
    context_arm,
    posterior_cells,
    public_change,
    public_decision,
    public_snapshot,
    reward_of,
    selection_entropy,
    step_row,
)
from banditd.services.reports.savings import Reference, savings
from banditd.services.reports.summaries import CONVERGENCE_SUMS, Row, add_up, convergence, histogram_percentile, ratio

_WEEK_S: Final = 604_800
_HOUR_S: Final = 3600
_SEARCHED: Final = 10_000
STATS_SUMS: Final = (*ARM_SUMS, "degraded", "entropy_sum", *FIXED_ARM_SUMS)
"""Columns of ``ReportReader.arm_totals`` that ``stats`` reads."""


class ReportService:
    """Every read-only answer of the API. runtimes : of the policies that are served.

    away : the arms of a policy that this process excludes at a moment, as ``Breakers.away``.
    """

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        reader: ReportReader,
        decisions: DecisionLog,
        learning: LearningStore,
        arms: ArmStore,
        clock: Clock,
        promises: PromiseReports,
        away: Callable[[str, int], Mapping[str, tuple[str, int]]],
    ) -> None:
        self._runtimes = runtimes
        self._reader = reader
        self._decisions = decisions
        self._learning = learning
        self._arms = arms
        self._clock = clock
        self._promises = promises
        self._away = away
        self.cluster_words = dict(enumerate(next(iter(runtimes.values())).builder.cluster_words)) if runtimes else {}

    def reading(self, reader: ReportReader) -> ReportService:
        """The same reports, from another reader."""
        other = copy.copy(self)
        other._reader = reader  # noqa: SLF001 - of the same class
        return other

    # ------------------------------------------------------------ statistics

    async def stats(self, policy: str, window_s: int | None) -> dict[str, object]:
        """A policy's figures, over its life or the last ``window_s`` seconds.

        Raises
        ------
        NotFoundError : no such policy.
        """
        arms = await self.arms_of(policy)
        since_us = None if window_s is None else self._clock.now_us() - window_s * MICROSECONDS_PER_SECOND
        rows = await self._reader.arm_totals(policy, since_us, sums=STATS_SUMS)
        total = add_up(rows)
        decisions = int(total.get("decisions", 0))
        reward = reward_of(total)
        pace = await read_pace(self._reader, policy, self._clock.now_us())
        present = [arm.arm for arm in arms if arm.enabled]
        changed, events = self._changes(policy)
        return {
            "policy": policy,
            "window_s": window_s,
            "since": None if since_us is None else iso_time(since_us),
            "decisions": decisions,
            "exploration_rate": ratio(total.get("explored", 0), decisions),
            "selection_entropy": selection_entropy(rows, total, arms),
            "degraded": int(total.get("degraded", 0)),
            **reward.fields(),
            "coverage": await self._coverage(policy, reward.rewards, decisions),
            "spend_usd": total.get("spend_usd", 0.0),
            "predicted_spend_usd": total.get("predicted_spend_usd", 0.0),
            "usage_reports": int(total.get("usage_reports", 0)),
            "arms": arm_rows(rows, arms, total, changed, self._away(policy, self._clock.now_us())),
            "savings": savings(rows, present, total, pace, self.reference_of(policy)),
            "changes": [public_change(event) for event in reversed(events)],
            "promise": self._promises.promise(policy) if policy in self._runtimes else None,
        }

    async def savings(
        self, policy: str, since_us: int | None = None, until_us: int | None = None, step_s: int | None = None
    ) -> dict[str, object]:
        """What was saved and lost against the baseline, over a policy's life or a period.

        step_s : also report every step of the period.

        Raises NotFoundError : no such policy. InvalidInputError : an empty period, too many steps.
        """
        await self.arms_of(policy)
        now_us, reference = self._clock.now_us(), self.reference_of(policy)
        periods = [(since_us, until_us), *steps_of(since_us, until_us, step_s, now_us)]
        whole, *parts = await read_headlines(self._reader, policy, reference, now_us, periods)
        steps = [period_row(*period) | found for period, found in zip(periods[1:], parts, strict=True)]
        return {
            "policy": policy,
            **period_row(since_us, until_us),
            **whole,
            "steps": None if step_s is None else steps,
            "groups": [],
        }

    async def arm_statistics(self, policy: str) -> Mapping[str, Mapping[str, object]]:
        """Each arm's row of ``stats`` over its life."""
        arms = await self._arms.arms(policy)
        rows = await self._reader.arm_totals(policy, None)
        changed, away = self._changes(policy)[0], self._away(policy, self._clock.now_us())
        return {str(row["arm"]): row for row in arm_rows(rows, arms, add_up(rows), changed, away)}

    async def exploration(self, policy: str, window_s: int) -> tuple[float | None, float | None]:
        """(share of decisions that were not greedy, mean entropy of the probability vectors in nats), for gauges."""
        since_us = self._clock.now_us() - window_s * MICROSECONDS_PER_SECOND
        total = add_up(await self._reader.arm_totals(policy, since_us, sums=("decisions", "explored", "entropy_sum")))
        decisions = total.get("decisions", 0.0)
        return ratio(total.get("explored", 0.0), decisions), ratio(total.get("entropy_sum", 0.0), decisions)

    async def contexts(self, policy: str) -> dict[str, object]:
        """For each cluster of queries: its words, and how every arm did there. Raises NotFoundError."""
        await self.arms_of(policy)
        by_cluster: dict[int, list[Row]] = {}
        for row in await self._reader.contexts(policy):
            by_cluster.setdefault(int(row["cluster"]), []).append(row)
        posterior = self._posterior(policy, by_cluster)
        clusters = [
            {
                "cluster": cluster,
                "words": list(self.cluster_words.get(cluster, ())),
                "decisions": sum(int(row["decisions"]) for row in rows),
                "best_arm": clear_winner(rows),
                "arms": [context_arm(row, posterior.get((cluster, str(row["arm"])))) for row in rows],
            }
            for cluster, rows in sorted(by_cluster.items())
        ]
        return {"policy": policy, "clusters": clusters}

    async def timeseries(
        self, policy: str, since_us: int | None, until_us: int | None, step_s: int
    ) -> dict[str, object]:
        """The columns of ``stats`` per step and arm; by default over the last day.

        Raises
        ------
        NotFoundError : no such policy. InvalidInputError : an empty period, or more than 2,000 steps.
        """
        await self.arms_of(policy)
        since_us, until_us = period_of(since_us, until_us, step_s, self._clock.now_us())
        rows = await self._reader.timeseries(
            policy, since_us=since_us, until_us=until_us, step_s=step_s, sums=STEP_SUMS
        )
        ordered = sorted(rows, key=lambda row: (float(row["bucket_at_us"]), str(row["arm"])))
        return {
            "policy": policy,
            "since": iso_time(since_us),
            "until": iso_time(until_us),
            "step_s": step_s,
            "steps": [{"at": iso_time(int(row["bucket_at_us"])), **step_row(row)} for row in ordered],
        }

    # ------------------------------------------------------------ decisions

    async def decisions(self, filters: DecisionFilter) -> dict[str, object]:
        """A page of the log, newest first.

        The filters by cluster, exploration, text and tag have no index: such a page searches at most ``_SEARCHED``
        decisions, and its cursor says how far it got, even if the page is short. Unreadable rows are listed in
        ``damaged``.
        """
        end = None
        if (filters.cluster, filters.explored, filters.text, filters.tag) != (None, None, None, None):
            end = await self._reader.search_end(filters, _SEARCHED)
        rows = await self._decisions.page(dataclasses.replace(filters, limit=filters.limit + 1, from_id=end))
        page = rows[: filters.limit]
        more = len(rows) > filters.limit
        return {
            "decisions": await paced_map(public_decision, [row for row in page if "damage" not in row]),
            "damaged": [
                {"decision_id": row["decision_id"], "reason": row["damage"]} for row in page if "damage" in row
            ],
            "next_before_id": page[-1]["decision_id"] if more else end,
        }

    async def decision(self, decision_id: str) -> dict[str, object]:
        """One decision whole. Raises NotFoundError."""
        row = await self._decisions.get(decision_id)
        if row is None:
            raise NotFoundError(f"no decision {decision_id}", code="DECISION_NOT_FOUND", field="/decision_id")
        return public_decision(row)

    # ------------------------------------------------------------ policies

    async def policies(self) -> dict[str, object]:
        """Every policy of this daemon with its version."""
        versions = await self._learning.versions()
        found = []
        for policy in await self._arms.policies():
            arms = await self._arms.arms(policy)
            snapshot = self._snapshot(policy)
            found.append(
                {
                    "policy": policy,
                    "kind": self._kind(policy),
                    "served": snapshot is not None,
                    "arms": len(arms),
                    "enabled_arms": sum(arm.enabled for arm in arms),
                    "policy_version": versions.get(policy, 0) if snapshot is None else snapshot.version,
                    "stored_version": versions.get(policy, 0),
                }
            )
        return {"policies": found}

    async def policy_report(self, policy: str) -> dict[str, object]:
        """A policy's state, whether it has converged, and its statistics. Raises NotFoundError."""
        stats = await self.stats(policy, None)
        arms = await self.arms_of(policy)
        rewards = {str(row["arm"]): int(row["rewards"]) for row in stats["arms"]}  # type: ignore[attr-defined]  # our own list
        now_us = self._clock.now_us()
        week_ago_us = now_us - _WEEK_S * MICROSECONDS_PER_SECOND
        steps = await self._reader.timeseries(
            policy, since_us=week_ago_us, until_us=now_us, step_s=_HOUR_S, sums=CONVERGENCE_SUMS
        )
        verdict = convergence(steps, {arm.arm: rewards.get(arm.arm, 0) for arm in arms if arm.enabled})
        snapshot = self._snapshot(policy)
        newest = await self._learning.snapshots(policy, 1)
        return {
            "policy": policy,
            "kind": self._kind(policy),
            "policy_version": None if snapshot is None else snapshot.version,
            "epoch": None if snapshot is None else snapshot.epoch,
            "converged": verdict.converged,
            "convergence": verdict.fields(),
            "learned": public_snapshot(newest[0]) if newest else None,
            "stats": stats,
        }

    async def snapshots(self, policy: str, limit: int) -> dict[str, object]:
        """Its snapshots, newest first. Raises NotFoundError."""
        await self.arms_of(policy)
        rows = await self._learning.snapshots(policy, limit)
        return {"policy": policy, "snapshots": [public_snapshot(row) for row in rows]}

    # ------------------------------------------------------------ inside

    async def arms_of(self, policy: str) -> list[Arm]:
        """A policy's arms. Raises NotFoundError for a policy that is neither served nor in the database."""
        if self._snapshot(policy) is None:
            known = await self._arms.policies()
            if policy not in known:
                raise NotFoundError(
                    f"no such policy: {policy}; there are {', '.join(known)}",
                    code="POLICY_UNKNOWN",
                    field="policy",
                )
        return await self._arms.arms(policy)

    def _snapshot(self, policy: str) -> Snapshot | None:
        runtime = self._runtimes.get(policy)
        return None if runtime is None else runtime.view.snapshot

    def _state(self, policy: str) -> PolicyState | None:
        runtime = self._runtimes.get(policy)
        return None if runtime is None else runtime.state

    def _kind(self, policy: str) -> str | None:
        runtime = self._runtimes.get(policy)
        return None if runtime is None else runtime.config.settings.kind

    def _changes(self, policy: str) -> tuple[Mapping[str, ChangeEvent], Sequence[ChangeEvent]]:
        """(arms that are not at their old level now, the last alarms and recoveries, oldest first)."""
        state = self._state(policy)
        return ({}, ()) if state is None else changes_of(state)

    def reference_of(self, policy: str) -> Reference:
        """The arm that routing is mainly compared with: the promise's baseline, else the dearest enabled one."""
        if policy not in self._runtimes:
            return Reference(None)
        arm, share, rule = self._promises.reference(policy)
        known = Reference(arm, share, missing=self._promises.missing(policy), billed=self._runtimes[policy].billed)
        return known if rule is None else dataclasses.replace(known, precision=rule.precision, keep=rule.keep)

    async def _coverage(self, policy: str, rewards: int, decisions: int) -> dict[str, object]:
        """How many decisions were rewarded in the period, and how late (delays: over the policy's life)."""
        bins = sorted(await self._reader.delays(policy))
        known = sum(count for _, count in bins)
        return {
            "share": ratio(rewards, decisions),
            "delay_p50_s": histogram_percentile(bins, 0.5),
            "delay_p90_s": histogram_percentile(bins, 0.9),
            "delay_p99_s": histogram_percentile(bins, 0.99),
            "reason": None if known else "not enough data: no reward yet",
        }

    def _posterior(
        self, policy: str, by_cluster: Mapping[int, Sequence[Row]]
    ) -> dict[tuple[int, str], tuple[float, float]]:
        """(cluster, arm) -> (mean, deviation) of its true mean reward, by the model including its discrepancy."""
        snapshot, state = self._snapshot(policy), self._state(policy)
        if snapshot is None or state is None or not snapshot.arms:
            return {}
        mean, deviation = snapshot.predict(state.cluster_contexts())
        cells = posterior_cells(by_cluster, snapshot.arms, state.cluster_sums(), mean.shape)
        deviation = cell_deviation(mean, deviation, snapshot.noise, cells)
        return {
            (cluster, arm): (float(mean[cluster, index]), float(deviation[cluster, index]))
            for cluster in range(mean.shape[0])
            for index, arm in enumerate(snapshot.arms)
        }
