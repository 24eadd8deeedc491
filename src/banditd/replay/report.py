"""The record of a replay: its JSON, which is a contract, and the learning curves. Nothing is played here.

Utility is score minus price x the arm's known mean cost (with a cost weight), or the score itself (with a budget).
The reference ``fixed_mixture_at_cost`` spends what the policy spent, or the budget if that is more; ``fixed_mixture``
spends the budget. Under a budget the headroom score is between the cheapest arm and that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from banditd.bandit.posterior.prior import Prior
from banditd.core.types import FloatArray, IntArray
from banditd.replay.arena import arena_figures
from banditd.replay.cascade_report import cascade_report
from banditd.replay.off_policy import off_policy
from banditd.replay.plan import Plan, SeedRun
from banditd.replay.promise import promise_report
from banditd.replay.recipe_report import recipe_report
from banditd.replay.references import (
    References,
    budget_headroom,
    column_means,
    known_mean,
    mixture_utility,
    phases,
    references,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Running mean of utility: ``decisions`` (m,), ``policy`` (seeds, m), and each reference (m,)."""

    decisions: IntArray
    policy: FloatArray
    references: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayReport:
    """``content`` is the JSON of the contract. prior : what seed 0 has learned, where the options ask for it."""

    content: dict[str, object]
    curve: Curve
    prior: Prior | None = None

    def to_json(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False) + "\n"

    def write_json(self, path: Path) -> None:
        path.write_text(self.to_json(), encoding="utf-8")


def make_report(plan: Plan, runs: Sequence[SeedRun], x: FloatArray | None = None) -> ReplayReport:
    """Compare the runs with the references, each on the rows that it was scored on.

    x : contexts of all rows, float64 (n, d), for references of a promise and of recipes; None where not known.
    """
    data = plan.data
    utility = data.score - plan.penalty
    refs = _references_by_run(plan, utility, runs)
    per_seed = [_seed_summary(plan, ref, run) for ref, run in zip(refs, runs, strict=True)]
    values = np.array([float(str(one["utility"])) for one in per_seed if one["utility"] is not None])
    spend = float(np.mean([float(str(one["cost"])) for one in per_seed]))
    budget = plan.options.budget_usd
    content: dict[str, object] = {
        "dataset": data.name,
        "pool": plan.options.pool or "all",
        "arms": list(data.arms),
        "policy": plan.options.policy,
        "objective": plan.options.objective(),
        "rows": int(runs[0].rows.size),
        "seeds": len(runs),
        "utility": {
            "mean": known_mean(values),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "first_500": _mean_of(per_seed, "first_500"),
            "last_third": _mean_of(per_seed, "last_third"),
        },
        "reward": {"mean": _mean_of(per_seed, "reward")},
        "cost": {"mean": spend, "over_budget": None if budget is None else spend / budget},
        "arena_score": arena_figures(
            data.score, data.cost_usd, [(run.rows, run.chosen, plan.spent_usd(run)) for run in runs]
        ),
        "budget": None if budget is None else _held(plan, runs, per_seed, budget),
        "promise": promise_report(plan, runs, x),
        "references": _reference_means(plan, refs, runs, max(spend, budget or 0.0)),
        "headroom_score": {name: _mean_headroom(per_seed, name) for name in ("all", "first_500", "last_third")},
        "microseconds_per_decision": {
            "choose": _mean_known([run.choose_us for run in runs]),
            "update": _mean_known([run.update_us for run in runs]),
        },
        "off_policy": off_policy(data.score, data.arms, [(run.rows, run.chosen, run.probability) for run in runs]),
        "max_shares": share_report(plan, runs),
        "recipes": recipe_report(plan, utility, runs, x),
        "cascade": cascade_report(plan, runs, x),
        "conditions": plan.options.conditions(),
        "probes": _probes(plan, runs),
        "per_seed": per_seed,
        "notes": [*data.notes, *_prior_notes(plan)],
    }
    return ReplayReport(content=content, curve=_curve(plan, refs, runs), prior=runs[0].prior)


def _probes(plan: Plan, runs: Sequence[SeedRun]) -> dict[str, object] | None:
    """The share of the rows with every arm's score reported, and how many rewards of other arms a seed had."""
    if not plan.options.probes:
        return None
    return {"share": plan.options.probes, "rewards": float(np.mean([run.probe_rewards for run in runs]))}


def _prior_notes(plan: Plan) -> list[str]:
    prior = plan.options.prior
    unknown = [] if prior is None else sorted(set(prior.arms) - set(plan.data.arms))
    return [f"the prior's arms {', '.join(unknown)} are not in this pool and were left out"] if unknown else []


def _references_by_run(plan: Plan, utility: FloatArray, runs: Sequence[SeedRun]) -> list[References]:
    """Those of every run's own rows; without ``warmup_rows`` all runs have the same."""
    n, category = plan.data.n_rows, plan.data.category

    def of(rows: IntArray) -> References:
        return _on_all_rows(references(utility[rows], category[rows]), rows, n)

    if not plan.options.warmup_rows:
        return [of(plan.scored)] * len(runs)
    return [of(np.sort(run.rows)) for run in runs]


def _reference_means(
    plan: Plan, refs: Sequence[References], runs: Sequence[SeedRun], spend_usd: float
) -> dict[str, object]:
    """Means over the runs; the best fixed arm is that of most runs."""
    data = plan.data
    rows = [np.sort(run.rows) for run in runs]
    best = Counter(ref.best_arm for ref in refs).most_common(1)[0][0]
    pairs = list(zip(refs, rows, strict=True))
    return {
        "uniform": _mean_known([known_mean(ref.uniform_rows[r]) for ref, r in pairs]),
        "best_fixed": {
            "arm": data.arms[best],
            "utility": _mean_known([known_mean(ref.fixed_rows[r]) for ref, r in pairs]),
        },
        "best_per_category": _mean_known([known_mean(ref.category_rows[r]) for ref, r in pairs]),
        "oracle": _mean_known([known_mean(ref.oracle_rows[r]) for ref, r in pairs]),
        "fixed_mixture_at_cost": _mixture_mean(plan, rows, spend_usd),
    }


def _held(
    plan: Plan, runs: Sequence[SeedRun], per_seed: Sequence[dict[str, object]], budget_usd: float
) -> dict[str, object]:
    """What the budget would have bought without contexts, and how it was held in the worst seed."""
    rows = [np.sort(run.rows) for run in runs]
    return {
        "fixed_mixture": _mixture_mean(plan, rows, budget_usd),
        "worst_over_budget": max(float(str(one["over_budget"])) for one in per_seed),
    }


def _mixture_mean(plan: Plan, rows: Sequence[IntArray], spend_usd: float) -> float:
    data = plan.data
    return float(np.mean([mixture_utility(data.score[r], data.cost_usd[r], spend_usd, plan.price) for r in rows]))


def _headroom(plan: Plan, refs: References, got: FloatArray, rows: IntArray) -> float | None:
    """Between references that respect the objective: cost weights are in the utility, budgets are not."""
    budget = plan.options.budget_usd
    if budget is None:
        return refs.headroom(got, rows)
    return budget_headroom(got, plan.data.score[rows], plan.data.cost_usd[rows], budget)


def _seed_summary(plan: Plan, refs: References, run: SeedRun) -> dict[str, object]:
    got = plan.earned(run)
    score = plan.data.score[run.rows, run.chosen]
    cost = float(plan.spent_usd(run).mean())
    parts = dict(phases(run.rows.size))
    return {
        "seed": run.seed,
        "utility": known_mean(got),
        "first_500": known_mean(got[parts["first_500"]]),
        "last_third": known_mean(got[parts["last_third"]]),
        "reward": known_mean(score),
        "cost": cost,
        "over_budget": None if plan.options.budget_usd is None else cost / plan.options.budget_usd,
        "headroom_score": {name: _headroom(plan, refs, got[part], run.rows[part]) for name, part in parts.items()},
        "pulls": {
            arm: int(count)
            for arm, count in zip(plan.data.arms, np.bincount(run.chosen, minlength=len(plan.data.arms)), strict=True)
        },
        "rewards": run.rewards,
        "probe_rewards": run.probe_rewards,
        "choose_us": run.choose_us,
        "update_us": run.update_us,
    }


def _on_all_rows(refs: References, rows: IntArray, n: int) -> References:
    """The same references, indexed by row of the data instead of by position among the scored."""

    def spread(values: FloatArray) -> FloatArray:
        full = np.full(n, np.nan)
        full[rows] = values
        return full

    return References(
        uniform_rows=spread(refs.uniform_rows),
        category_rows=spread(refs.category_rows),
        fixed_rows=spread(refs.fixed_rows),
        oracle_rows=spread(refs.oracle_rows),
        best_arm=refs.best_arm,
    )


def _curve(plan: Plan, refs: Sequence[References], runs: Sequence[SeedRun]) -> Curve:
    n = runs[0].rows.size
    at = np.unique(np.linspace(1, n, min(n, 300)).astype(np.intp))
    policy = np.stack([_running_mean(plan.earned(run))[at - 1] for run in runs])
    lines = {
        "uniform": [ref.uniform_rows for ref in refs],
        "best fixed arm": [ref.fixed_rows for ref in refs],
        "best arm per category": [ref.category_rows for ref in refs],
    }
    means = {
        name: np.mean([_running_mean(line[run.rows])[at - 1] for line, run in zip(of, runs, strict=True)], axis=0)
        for name, of in lines.items()
    }
    return Curve(decisions=at, policy=policy, references=means)


def _running_mean(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    counts = np.maximum(np.cumsum(known), 1)
    result: FloatArray = np.cumsum(np.where(known, values, 0.0)) / counts
    return result


def _mean_of(per_seed: Sequence[dict[str, object]], key: str) -> float | None:
    values = [float(str(one[key])) for one in per_seed if one[key] is not None]
    return float(np.mean(values)) if values else None


def _mean_headroom(per_seed: Sequence[dict[str, object]], phase: str) -> float | None:
    scores = [one["headroom_score"] for one in per_seed]
    values = [score[phase] for score in scores if isinstance(score, dict) and score[phase] is not None]
    return float(np.mean(values)) if values else None


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def share_report(plan: Plan, runs: Sequence[SeedRun]) -> list[dict[str, object]] | None:
    """By capped arm: its share of the decisions, and the utility of as many of its calls at random.

    None without caps. The coin's other side is the best of the other arms, known in advance.
    """
    if not plan.options.max_shares:
        return None
    return [_of(plan, runs, arm, cap) for arm, cap in plan.options.max_shares.items()]


def _of(plan: Plan, runs: Sequence[SeedRun], arm: str, cap: float) -> dict[str, object]:
    place = plan.data.arms.index(arm)
    share = {
        name: float(np.mean([(run.chosen[part] == place).mean() for run in runs]))
        for name, part in phases(runs[0].rows.size)
    }
    coins = []
    for run in runs:
        utility = column_means((plan.data.score - plan.penalty)[run.rows])
        called = float((run.chosen == place).mean())
        coins.append(called * utility[place] + (1.0 - called) * np.delete(utility, place).max())
    return {"arm": arm, "max_share": cap, "share": share, "coin": float(np.mean(coins))}
