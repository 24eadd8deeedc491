"""A replay's promise: what keeps it while rows are played, and what the report says of it.

References are hindsight: the least cost, as a share of the baseline's, at which keep x its quality can be reached
by one arm, by the best mix of two, and by a linear model of the contexts with the best price (5-fold, held out).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray
from banditd.deciding.decide import Case, Decided
from banditd.deciding.keeper import Keeper, PromiseRule
from banditd.deciding.pledge import Pledge
from banditd.ope.reference import RatedDecision, Verdict
from banditd.replay.plan import Plan, SeedRun
from banditd.replay.references import column_means

FOLDS: Final = 5
RIDGE: Final = 3.0
_PRICES: Final = np.concatenate([[0.0], np.geomspace(1e-4, 100.0, 80)])  # reward per mean cost of the baseline


@dataclass(frozen=True, slots=True, eq=False)
class Promised:
    """A decision under a promise, until its reward comes: float64 over the arms of the view."""

    mean: FloatArray
    probability: FloatArray
    index: int


class ReplayPromise:
    """The daemon's keeper over the rows of a replay. baseline : index among the view's arms."""

    def __init__(self, rule: PromiseRule, *, n_arms: int, n_features: int, baseline: int) -> None:
        self._keeper = Keeper(rule, n_arms=n_arms, n_features=n_features, baseline=baseline)

    @property
    def pledge(self) -> Pledge:
        return self._keeper.pledge()

    def observe(self, case: Case, decided: Decided, posterior: Posterior) -> Promised:
        """Note a decision that was just drawn; solves for new terms where they are due."""
        self._keeper.observe(
            case.context.x[None],
            cost_usd=decided.priced.cost_usd,
            eligible=decided.allowed,
            own=decided.scores.probability,
        )
        if self._keeper.due:
            self._keeper.solve(posterior)
        return Promised(decided.scores.mean[0], decided.draw.probability[0], int(decided.draw.index[0]))

    def learn(self, promised: Promised, reward: float) -> None:
        """The reward of a decision."""
        baseline = self._keeper.baseline
        self._keeper.learn(
            RatedDecision(
                reward=reward,
                predicted=float(promised.mean[promised.index]),
                baseline_predicted=float(promised.mean[baseline]),
                baseline_probability=float(promised.probability[baseline]),
                is_baseline=promised.index == baseline,
            )
        )

    def verdict(self) -> Verdict:
        return self._keeper.verdict()


def baseline_arm(plan: Plan) -> int:
    """What the promise of a plan is about: ``Plan.baseline_arm``."""
    return plan.baseline_arm()


def promise_report(plan: Plan, runs: Sequence[SeedRun], x: FloatArray | None) -> dict[str, object] | None:
    """The ``promise`` of the contract, None where none was made. x : contexts of all rows, where they are known."""
    keep = plan.options.keep
    if keep is None:
        return None
    baseline = baseline_arm(plan)
    per_seed = [_of_seed(plan, run, baseline) for run in runs]
    held = {one["held"] for one in per_seed}
    rows = [np.sort(run.rows) for run in runs]
    return {
        "keep": keep,
        "baseline": plan.data.arms[baseline],
        "quality_ratio": {
            "mean": _mean(per_seed, "quality_ratio"),
            "worst_seed": _least(per_seed, "quality_ratio"),
            "first_500_worst_seed": _least(per_seed, "quality_ratio_first_500"),
            "last_third": _mean(per_seed, "quality_ratio_last_third"),
        },
        "cost_share": {
            "mean": _mean(per_seed, "cost_share"),
            "first_100": _mean(per_seed, "cost_share_first_100"),
            "last_third": _mean(per_seed, "cost_share_last_third"),
        },
        "baseline_share": _mean(per_seed, "baseline_share"),
        "counted_as_free": list(plan.data.unpriced),
        "held": "no" if "no" in held else "yes" if held == {"yes"} else "unknown",
        "references": {
            "single": _mean_of([single(plan, r, baseline) for r in rows]),
            "mixture": _mean_of([mixture(plan, r, baseline) for r in rows]),
            "contextual": None if x is None else _mean_of([contextual(plan, r, baseline, x) for r in rows]),
        },
        "per_seed": per_seed,
    }


def _of_seed(plan: Plan, run: SeedRun, baseline: int) -> dict[str, object]:
    score, cost = plan.data.score[run.rows], plan.data.cost_usd[run.rows]
    n, row = run.rows.size, np.arange(run.rows.size)
    got, base = score[row, run.chosen], score[:, baseline]
    spent, base_usd = cost[row, run.chosen], cost[:, baseline]

    def ratio(earned: FloatArray, reference: FloatArray, part: slice) -> float | None:
        own, other = earned[part], reference[part]
        known = np.isfinite(own) & np.isfinite(other)
        total = float(other[known].sum())
        return float(own[known].sum()) / total if total > 0.0 else None

    last = slice(n - max(n // 3, 1), n)
    verdict = run.verdict
    return {
        "seed": run.seed,
        "quality_ratio": ratio(got, base, slice(0, n)),
        "quality_ratio_first_500": ratio(got, base, slice(0, 500)),
        "quality_ratio_last_third": ratio(got, base, last),
        "cost_share": ratio(spent, base_usd, slice(0, n)),
        "cost_share_first_100": ratio(spent, base_usd, slice(0, 100)),
        "cost_share_last_third": ratio(spent, base_usd, last),
        "baseline_share": float((run.chosen == baseline).mean()),
        "held": "unknown" if verdict is None else verdict.held(plan.options.keep or 1.0),
        "interval": _interval(verdict),
    }


def _interval(verdict: Verdict | None) -> list[float | None] | None:
    """[low, high] of the ratio, None without one; high is None where the baseline may be worth nothing."""
    if verdict is None or verdict.low is None or verdict.high is None:
        return None
    return [verdict.low, verdict.high if math.isfinite(verdict.high) else None]


def single(plan: Plan, rows: np.ndarray, baseline: int) -> float | None:
    """Cost share of the cheapest arm that reaches the quality by itself; None where the baseline has no score."""
    if not _is_scored(plan, rows, baseline):
        return None
    reward, cost = column_means(plan.data.score[rows]), plan.data.cost_usd[rows].mean(axis=0)
    good = reward >= (plan.options.keep or 1.0) * reward[baseline] - 1e-12
    return float(cost[good].min() / max(cost[baseline], 1e-300))


def mixture(plan: Plan, rows: np.ndarray, baseline: int) -> float | None:
    """Cost share of the cheapest mix of two arms that reaches the quality: a coin toss; None as in ``single``."""
    if not _is_scored(plan, rows, baseline):
        return None
    reward, cost = column_means(plan.data.score[rows]), plan.data.cost_usd[rows].mean(axis=0)
    target = (plan.options.keep or 1.0) * reward[baseline]
    return _cheapest(reward, cost, float(target)) / max(float(cost[baseline]), 1e-300)


def contextual(plan: Plan, rows: np.ndarray, baseline: int, x: FloatArray) -> float | None:
    """Cost share of a linear model of the contexts, price in hindsight, predictions held out; None with few rows."""
    score, cost = plan.data.score[rows], plan.data.cost_usd[rows]
    if rows.size < 10 * FOLDS or not _is_scored(plan, rows, baseline):
        return None
    fold = np.random.default_rng(0).permutation(rows.size) % FOLDS
    predicted = np.zeros(score.shape)
    for part in range(FOLDS):
        train, test = fold != part, fold == part
        for arm in range(score.shape[1]):
            known = train & np.isfinite(score[:, arm])
            features, centre = x[rows][known], float(score[known, arm].mean()) if known.any() else 0.0
            gram = features.T @ features + RIDGE * np.eye(x.shape[1])
            weights = np.linalg.solve(gram, features.T @ (score[known, arm] - centre))
            predicted[test, arm] = centre + x[rows][test] @ weights
    mean_cost = cost.mean(axis=0)
    reward, spent = [], []
    row = np.arange(rows.size)
    for price in (_PRICES / max(float(mean_cost[baseline]), 1e-300)).tolist():
        arms = (predicted - price * mean_cost).argmax(axis=1)
        earned = score[row, arms]
        reward.append(float(earned[np.isfinite(earned)].mean()) if np.isfinite(earned).any() else -math.inf)
        spent.append(float(cost[row, arms].mean()))
    base = score[:, baseline]
    target = (plan.options.keep or 1.0) * float(base[np.isfinite(base)].mean())
    reward.append(target / (plan.options.keep or 1.0))
    spent.append(float(mean_cost[baseline]))
    return _cheapest(np.array(reward), np.array(spent), target) / max(float(mean_cost[baseline]), 1e-300)


def _cheapest(reward: FloatArray, cost: FloatArray, target: float) -> float:
    """Least mean cost of a mix of two of the points with at least ``target`` reward; one of them reaches it."""
    able = np.isfinite(reward)  # not an arm that was never scored
    reward, cost = reward[able], cost[able]
    good = reward >= target - 1e-12
    best = float(cost[good].min())
    for i in np.flatnonzero(good).tolist():
        for j in np.flatnonzero(~good).tolist():
            share = (target - reward[j]) / (reward[i] - reward[j])
            best = min(best, float(share * cost[i] + (1.0 - share) * cost[j]))
    return best


def _is_scored(plan: Plan, rows: np.ndarray, baseline: int) -> bool:
    return bool(np.isfinite(plan.data.score[rows, baseline]).any())


def _known(per_seed: Sequence[dict[str, object]], key: str) -> list[float]:
    return [float(value) for one in per_seed if isinstance(value := one[key], int | float)]


def _least(per_seed: Sequence[dict[str, object]], key: str) -> float | None:
    return min(_known(per_seed, key), default=None)


def _mean(per_seed: Sequence[dict[str, object]], key: str) -> float | None:
    return _mean_of(_known(per_seed, key))


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
