"""What the dashboard shows beyond the reports: the map of recent queries, the policy's choices, what was learned.

Read-only. Each answer reads a bounded number of rows, however long the log is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.changes.change import ALARM
from banditd.budget.frontier import fixed_mixture_at_cost
from banditd.core.errors import NotFoundError
from banditd.core.times import iso_time
from banditd.core.types import Context, FloatArray, Query
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.view import RouteView
from banditd.ports import Clock, ReportReader
from banditd.ports.dashboard import DashboardReader
from banditd.services.eligibility import SoftExclusions
from banditd.services.learning.changes import evidence_of_changes
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.reports.contrast import combination
from banditd.services.reports.onboarding import Estimate
from banditd.services.reports.rows import reward_of
from banditd.services.reports.saved import alone_usd, as_routed, saved_against
from banditd.services.reports.summaries import add_up
from banditd.services.reports.upstreams import upstream_report

SETTLED: Final = 10_000  # most decisions read for the figures of upstreams
SCALE_POINTS: Final = 120  # points of the curve of prior scales; a screen cannot show more


@dataclass(frozen=True, slots=True)
class _Traffic:
    """Decisions so far, float64 (n_clusters, n_arms), and the clusters' mean contexts (n_clusters, n_features)."""

    decisions: FloatArray
    contexts: FloatArray

    @property
    def seen(self) -> list[int]:
        return [int(c) for c in np.flatnonzero(self.decisions.sum(axis=1) > 0)]


class DashboardReads:
    """The dashboard's own endpoints."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        budgets: Mapping[str, BudgetBook],
        guards: Mapping[str, SoftExclusions],
        reader: DashboardReader,
        reports: ReportReader,
        clock: Clock,
    ) -> None:
        self._runtimes = runtimes
        self._budgets = budgets
        self._guards = guards
        self._reader = reader
        self._reports = reports
        self._clock = clock
        self._choices: dict[str, tuple[RouteView, list[dict[str, object]]]] = {}

    async def map(self, policy: str, limit: int) -> dict[str, object]:
        """The last ``limit`` decisions, on the plane of the first two components of their embeddings.

        Raises
        ------
        NotFoundError : this daemon does not serve the policy.
        """
        schema = self._runtime(policy).builder.schema
        embedding = next((group for group in schema.groups if group.name == "embedding"), None)
        plane = None if embedding is None or embedding.size < 2 else slice(embedding.start, embedding.start + 2)
        rows = [] if plane is None else await self._reader.recent_contexts(policy, schema.hash, limit)
        points = [
            {
                "decision_id": row.decision_id,
                "at": iso_time(row.created_at_us),
                "arm": row.arm,
                "cluster": row.cluster,
                "explored": row.explored,
                "reward": row.reward,
                "position": row.x[plane].tolist(),
            }
            for row in rows
            if row.degraded is None and row.x.size == schema.n_features
        ]
        return {"policy": policy, "points": points}

    async def upstreams(self, policy: str, window_s: float) -> dict[str, object]:
        """Upstream calls for the decisions of the last ``window_s`` seconds, by upstream and by arm.

        Raises
        ------
        NotFoundError : this daemon does not serve the policy.
        """
        arms = {arm.arm: arm.upstream for arm in self._runtime(policy).arms}
        since_us = self._clock.now_us() - round(window_s * 1e6)
        recent = await self._reader.recent_calls(policy, since_us, SETTLED)
        report = await asyncio.to_thread(upstream_report, recent, arms)
        return {"policy": policy, "window_s": window_s, "truncated": recent.truncated, **report}

    async def choices(self, policy: str) -> dict[str, object]:
        """What the policy would do with each known cluster's mean query. Raises NotFoundError."""
        runtime = self._runtime(policy)
        view = runtime.view
        traffic = await self._traffic(runtime, view)
        if traffic is None or not view.enabled.size:
            return {"policy": policy, "policy_version": view.snapshot.version, "clusters": []}
        found = self._choices.get(policy)
        if found is None or found[0] is not view:
            # Milliseconds of linear algebra on immutable values: in a thread, once per snapshot.
            found = view, await asyncio.to_thread(self._choose, runtime, view, traffic)
            self._choices[policy] = found
        return {"policy": policy, "policy_version": view.snapshot.version, "clusters": found[1]}

    async def learning(self, policy: str) -> dict[str, object]:
        """What was learned: comparison with fixed arms and their mixture, prior scales over time, change detection.

        Raises
        ------
        NotFoundError : this daemon does not serve the policy.
        """
        runtime = self._runtime(policy)
        view = runtime.view
        totals = await self._reports.arm_totals(policy, None)
        traffic = await self._traffic(runtime, view)
        scales = await self._reader.scale_history(policy, runtime.builder.schema.hash, SCALE_POINTS)
        total = add_up(totals)
        expected = None if traffic is None else await asyncio.to_thread(_expectations, view, traffic)
        by_arm = {str(row["arm"]): row for row in totals}
        rows = [by_arm.get(arm.arm, {}) for arm in view.arms]
        saved = [saved_against(arm.arm, row, total) for arm, row in zip(view.arms, rows, strict=True)]
        spend, _ = as_routed(saved, total)
        costs = [alone_usd(one, row) for one, row in zip(saved, rows, strict=True)]
        return {
            "policy": policy,
            "policy_version": view.snapshot.version,
            **reward_of(total).fields(),
            "cost_usd": spend,
            **_against(view, costs, expected, spend),
            "scales": [
                {"version": row.version, "at": iso_time(row.created_at_us), "shared": row.shared, "own": row.own}
                for row in scales
            ],
            "alarm_nats": ALARM,
            "watch": [
                {"arm": arm, "evidence_nats": nats, "rewards": int(rewards)}
                for arm, (nats, rewards) in evidence_of_changes(runtime.learned).items()
            ],
        }

    # ------------------------------------------------------------ inside

    def _runtime(self, policy: str) -> PolicyRuntime:
        runtime = self._runtimes.get(policy)
        if runtime is None or not runtime.ready:
            raise NotFoundError(
                f"no such policy is served: {policy}; there are {', '.join(self._runtimes)}",
                code="POLICY_UNKNOWN",
                field="policy",
            )
        return runtime

    async def _traffic(self, runtime: PolicyRuntime, view: RouteView) -> _Traffic | None:
        """The traffic over the arms of ``view``, which may have changed by the time the rows are read."""
        contexts = runtime.cluster_contexts
        if contexts is None:
            return None
        rows = await self._reports.contexts(runtime.name)
        decisions = np.zeros((contexts.shape[0], len(view.arms)))
        for row in rows:
            cluster, index = int(row["cluster"]), view.index.get(str(row["arm"]))
            if index is not None and 0 <= cluster < contexts.shape[0]:
                decisions[cluster, index] = float(row["decisions"])
        return _Traffic(decisions, contexts)

    def _choose(self, runtime: PolicyRuntime, view: RouteView, traffic: _Traffic) -> list[dict[str, object]]:
        """What routing would decide for an unconstrained query with the mean context of each known cluster."""
        query, config = Query(policy=runtime.name), runtime.config
        cases = [
            Case(
                query=query,
                context=Context(x=traffic.contexts[cluster], cluster=cluster),
                input_tokens=view.typical_input_tokens,
            )
            for cluster in traffic.seen
        ]
        if not cases:
            return []
        situation = Situation(
            view=view,
            now_us=0,
            exploration_floor=config.settings.floor,
            cost_weight=config.cost_weight,
            price_per_usd=self._budgets[runtime.name].general_price_per_usd(),
            resources=config.resources,
        )
        self._guards[runtime.name].caps.price(cases, view)
        decided = decide(situation, cases, np.zeros(len(cases)))
        return [_choice(view, decided, row, traffic.seen[case]) for row, case in enumerate(decided.rows.tolist())]


def _choice(view: RouteView, decided: Decided, row: int, cluster: int) -> dict[str, object]:
    mean, penalty, probability = decided.scores.mean[row], decided.priced.penalty[row], decided.draw.probability[row]
    columns = {
        "mean": mean,
        "deviation": decided.scores.deviation[row],
        "cost_usd": decided.priced.cost_usd[row],
        "penalty": penalty,
        "utility": mean - penalty,
        "probability": probability,
    }
    return {
        "cluster": cluster,
        "arm": view.arms[int(probability.argmax())].arm,
        "arms": [
            {"arm": view.arms[i].arm, **{name: float(column[i]) for name, column in columns.items()}}
            for i in view.enabled.tolist()
        ],
    }


def _expectations(view: RouteView, traffic: _Traffic) -> list[Estimate]:
    """Expected reward on all traffic so far, by the model: of every arm alone, and last of the traffic as routed."""
    seen = traffic.seen
    if not seen:
        return []
    decisions, contexts = traffic.decisions[seen], traffic.contexts[seen]
    weights = decisions.sum(axis=1) / decisions.sum()
    everything = weights @ contexts
    posterior = view.snapshot.posterior
    found = []
    for index in range(len(view.arms)):
        rows = np.zeros((len(view.arms), contexts.shape[1]))
        rows[index] = everything
        found.append(Estimate.of(combination(posterior, rows)))
    played = (decisions / decisions.sum()).T @ contexts
    return [*found, Estimate.of(combination(posterior, played))]


def _against(
    view: RouteView, costs: Sequence[float | None], expected: list[Estimate] | None, spend: float | None
) -> dict[str, object]:
    """The policy as routed, every fixed arm, and the best mix of fixed arms at the same cost."""
    fixed = [
        {"arm": arm.arm, "enabled": arm.enabled, "reward": estimate.fields(), "cost_usd": cost}
        for arm, cost, estimate in zip(view.arms, costs, expected or (), strict=False)
    ]
    return {
        "played": expected[-1].fields() if expected else None,
        "fixed": fixed,
        "mixture": _mixture(view, costs, expected, spend),
    }


def _mixture(
    view: RouteView, costs: Sequence[float | None], expected: list[Estimate] | None, spend: float | None
) -> dict[str, object] | None:
    able = [i for i, arm in enumerate(view.arms) if arm.enabled and costs[i] is not None]
    if not expected or spend is None or not able:
        return None
    mix = fixed_mixture_at_cost(
        np.array([expected[i].mean for i in able]), np.array([costs[i] for i in able], dtype=float), spend
    )
    first, second = (view.arms[able[i]].arm for i in (mix.first, mix.second))
    shares = {first: mix.share, second: 1.0 - mix.share} if first != second else {first: 1.0}
    return {"reward": mix.reward, "cost_usd": mix.cost_usd, "shares": shares}
