"""The graduation report: the result of an arm's onboarding quota, and a recommendation.

Granting the quota is in ``policy.is_onboarding``. ``assess`` is pure; the service collects what it needs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.quadrature import win_probabilities
from banditd.core.types import Arm, ArmUsage, FloatArray, IntArray
from banditd.deciding.view import RouteView, is_onboarding
from banditd.ope.fixed import Z
from banditd.ports import ReportReader
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.reports.contrast import combination
from banditd.services.reports.summaries import Row

CONTENDS_FROM: Final = 0.05  # an arm with at least this probability of being the best may still prove to be it
FEWEST_REWARDS: Final = 5  # with fewer, the report would judge the prior, not the arm


@dataclass(frozen=True, slots=True)
class Estimate:
    """Posterior mean and 95 % interval of an expected reward, or of a difference of two."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, moments: tuple[float, float]) -> Estimate:
        mean, half = moments[0], Z * math.sqrt(moments[1])
        return cls(mean, mean - half, mean + half)

    def fields(self) -> dict[str, object]:
        return {"mean": self.mean, "interval": [self.low, self.high]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A new arm on the traffic so far.

    reward : expected if it had answered everything.
    incumbents : the same for the other enabled arms without a quota left, mixed as they share each cluster's traffic.
    difference : between the two.
    clusters : number of known clusters.
    leads : clusters in which its utility is the highest of the enabled arms.
    contends : clusters in which it leads, or is the best with a probability above ``CONTENDS_FROM``.
    """

    reward: Estimate
    incumbents: Estimate
    difference: Estimate
    clusters: int
    leads: int
    contends: int


def assess(
    view: RouteView, index: int, *, contexts: FloatArray, decisions: FloatArray, mix: IntArray, penalty: FloatArray
) -> Assessment | None:
    """Assess one arm on the clusters' mean contexts.

    Parameters
    ----------
    index : of the arm in the view. contexts : float64 (n_clusters, n_features).
    decisions : float64 (n_clusters, n_arms), how many of each cluster's queries each arm has answered.
    mix : indices of the incumbents. penalty : float64 (n_arms,), utility that cost takes away.

    Returns
    -------
    None without traffic or incumbents.
    """
    seen = np.flatnonzero(decisions.sum(axis=1) > 0)
    if seen.size == 0 or mix.size == 0:
        return None
    weights = decisions[seen].sum(axis=1) / decisions[seen].sum()
    new, old = np.zeros((2, len(view.arms), contexts.shape[1]))
    new[index] = weights @ contexts[seen]
    old[mix] = (weights[:, None] * _shares(decisions[np.ix_(seen, mix)])).T @ contexts[seen]
    posterior = view.snapshot.posterior
    allowed = np.zeros((seen.size, len(view.arms)), dtype=bool)
    allowed[:, [*view.enabled, index]] = True
    moments = posterior.moments(contexts[seen], np.broadcast_to(penalty, allowed.shape), allowed)
    wins = win_probabilities(moments.utility, np.sqrt(moments.contrast), allowed)
    leading = np.where(allowed, moments.utility, -np.inf).argmax(1) == index
    return Assessment(
        reward=Estimate.of(combination(posterior, new)),
        incumbents=Estimate.of(combination(posterior, old)),
        difference=Estimate.of(combination(posterior, new - old)),
        clusters=int(seen.size),
        leads=int(leading.sum()),
        contends=int((leading | (wins[:, index] > CONTENDS_FROM)).sum()),
    )


def _shares(decisions: FloatArray) -> FloatArray:
    """The arms' shares in each cluster: float64 (n_clusters, n), rows sum to 1; overall shares if a cluster has
    none.
    """
    overall = decisions.sum(axis=0)
    overall = overall / overall.sum() if overall.sum() > 0 else np.full(overall.shape, 1.0 / overall.size)
    totals = decisions.sum(axis=1, keepdims=True)
    shares: FloatArray = np.where(totals > 0, decisions / np.where(totals > 0, totals, 1.0), overall)
    return shares


def state_of(*, quota_left: bool, rewards: int, found: Assessment | None) -> str:
    """``onboarding`` until the quota is used and rewards tell, then ``graduated`` or ``not_adopted``."""
    if quota_left or rewards < FEWEST_REWARDS or found is None:
        return "onboarding"
    return "graduated" if found.contends else "not_adopted"


def recommendation(
    arm: Arm, used: ArmUsage, *, state: str, quota_left: bool, rewards: int, found: Assessment | None
) -> str:
    """One sentence: what to do now."""
    if state == "onboarding" and not arm.enabled:
        return "Enable it to go on with its onboarding, or delete it."
    if used.errors and used.errors >= used.decisions and not rewards:
        return "Look at its calls: all have failed. Is its upstream, key and upstream_model right? Else delete it."
    if quota_left:
        money = f" and ${used.cost_usd:.4f} of ${arm.onboarding_usd:.4f}" if arm.onboarding_usd else ""
        return f"Wait: {used.decisions} of {arm.onboarding_decisions} decisions{money} of its quota are used."
    if state == "onboarding" or found is None:
        return f"Wait for rewards: {rewards} of its {used.decisions} decisions are rewarded, too few to judge."
    gap = found.difference
    against = f"{gap.mean:+z.3f} against the incumbents, 95 % {gap.low:+z.3f} to {gap.high:+z.3f}"
    if found.leads:
        return f"Keep it: it is the best choice in {found.leads} of {found.clusters} clusters ({against})."
    if state == "graduated":
        where = f"{found.contends} of {found.clusters} clusters"
        return f"Keep it for now: it may be the best choice in {where}, exploration will tell ({against})."
    if gap.high < 0.0:
        return f"Disable or delete it: it is worse than the incumbents and the best choice nowhere ({against})."
    return f"Disable it, or get it cheaper: at its cost it is the best choice nowhere ({against})."


class OnboardingReports:
    """Graduation reports of a policy's later added arms."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        budgets: Mapping[str, BudgetBook],
        reader: ReportReader,
    ) -> None:
        self._runtimes = runtimes
        self._budgets = budgets
        self._reader = reader

    async def reports(
        self, policy: str, arms: Sequence[Arm], usage: Mapping[str, ArmUsage], of: str | None = None
    ) -> Mapping[str, Mapping[str, object]]:
        """By arm, for those (or only ``of``) that had a quota; empty if there are none."""
        first = min((arm.created_at_us for arm in arms), default=0)
        granted = [arm for arm in arms if arm.onboarding_decisions and arm.created_at_us > first]
        runtime = self._runtimes[policy]
        wanted = [arm for arm in granted if of in {None, arm.arm}]
        if not wanted or not runtime.ready:
            return {}
        rows = await self._reader.contexts(policy)
        contexts = runtime.cluster_contexts
        left = {arm.arm for arm in granted if is_onboarding(arm, usage.get(arm.arm), first)}
        names = [arm.arm for arm in wanted]
        # Milliseconds of linear algebra on immutable values, so in a thread.
        found = await asyncio.to_thread(self._assessments, runtime, names, left, contexts, rows)
        return {
            arm.arm: _report(arm, usage.get(arm.arm) or ArmUsage(arm=arm.arm), arm.arm in left, rows, found)
            for arm in wanted
        }

    def _assessments(
        self,
        runtime: PolicyRuntime,
        names: Sequence[str],
        left: set[str],
        contexts: FloatArray | None,
        rows: Sequence[Row],
    ) -> dict[str, Assessment | None]:
        view = runtime.view
        if contexts is None:
            return {}
        decisions = np.zeros((contexts.shape[0], len(view.arms)))
        for row in rows:
            cluster, index = int(row["cluster"]), view.index.get(str(row["arm"]))
            if index is not None and 0 <= cluster < contexts.shape[0]:
                decisions[cluster, index] = float(row["decisions"])
        penalty = self._penalty(runtime, view)
        old = [int(i) for i in view.enabled if view.arms[int(i)].arm not in left]
        return {
            name: assess(
                view,
                view.index[name],
                contexts=contexts,
                decisions=decisions,
                mix=np.array([i for i in old if i != view.index[name]], dtype=np.intp),
                penalty=penalty,
            )
            for name in names
            if name in view.index
        }

    def _penalty(self, runtime: PolicyRuntime, view: RouteView) -> FloatArray:
        """Utility that cost takes away on a typical query, per arm of the view."""
        per_usd = runtime.config.cost_weight / view.cost_scale_usd if view.cost_scale_usd > 0 else 0.0
        per_usd += self._budgets[runtime.name].general_price_per_usd()
        return per_usd * view.cost_usd(view.typical_input_tokens, view.output_tokens)


def _report(
    arm: Arm, used: ArmUsage, quota_left: bool, rows: Sequence[Row], found: Mapping[str, Assessment | None]
) -> dict[str, object]:
    rewards = sum(int(row["rewards"]) for row in rows if row["arm"] == arm.arm)
    judged = found.get(arm.arm)
    state = state_of(quota_left=quota_left, rewards=rewards, found=judged)
    return {
        "state": state,
        "rewards": rewards,
        "reward": None if judged is None else judged.reward.fields(),
        "incumbents": None if judged is None else judged.incumbents.fields(),
        "difference": None if judged is None else judged.difference.fields(),
        "clusters": None
        if judged is None
        else {
            "seen": judged.clusters,
            "leads": judged.leads,
            "contends": judged.contends,
            "contends_share": judged.contends / judged.clusters,
        },
        "recommendation": recommendation(
            arm, used, state=state, quota_left=quota_left, rewards=rewards, found=judged
        ),
    }
