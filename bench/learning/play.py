"""One pass of one policy over one case, and its figures. The loop is that of ``banditd replay``."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from banditd.core.types import FloatArray, IntArray
from banditd.replay.engine import play
from banditd.replay.plan import Plan
from banditd.replay.references import column_means, known_mean, phases, references
from bench.learning.policies import PolicySpec
from bench.learning.prepared import Prepared

VERSION: Final = 1  # of the figures below: a new one makes every cached result stale
POINTS: Final = 40  # of a learning curve


def play_once(prepared: Prepared, spec: PolicySpec, seed: int) -> dict[str, object]:
    """Figures of one pass.

    headroom : score 0 uniform, 1 best arm per category, for all rows, the first 500 and the last third.
    gap : mean utility minus that of the best fixed arm in hindsight, over all rows and the last third.
    curve : that difference summed up after each of 40 equal parts of the run.
    """
    plan = prepared.with_options(
        reward_delay=spec.reward_delay, first_tenth=spec.first_tenth, in_source_order=spec.in_source_order
    )
    started = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        run = asyncio.run(play(plan, spec.decider(prepared, seed), seed, lambda _played: None))
    seconds = perf_counter() - started
    utility = plan.data.score - plan.penalty
    return {
        **figures(utility, plan.data.category, run.rows, run.chosen),
        "rows": int(run.rows.size),
        "choose_us": run.choose_us,
        "update_us": run.update_us,
        "seconds": round(seconds, 2),
    }


def figures(utility: FloatArray, category: IntArray, rows: IntArray, chosen: IntArray) -> dict[str, object]:
    """Headroom, gap and curve of the arms ``chosen`` on ``rows``, against references on those very rows.

    utility : float64 (n, K) with NaN where a score is missing; category : intp (n,).
    """
    played = utility[rows]
    refs = references(played, category[rows])
    got = played[np.arange(rows.size), chosen]
    gap = got - refs.fixed_rows
    positions = np.arange(rows.size)
    return {
        "headroom": {name: refs.headroom(got[part], positions[part]) for name, part in phases(rows.size)},
        "fixed_headroom": refs.headroom(refs.fixed_rows, positions),
        "gap": {name: _difference(got[part], refs.fixed_rows[part]) for name, part in phases(rows.size)},
        "curve": [round(float(value), 4) for value in _summed(gap)],
    }


def fixed_arms(plan: Plan) -> dict[str, float | None]:
    """Headroom score of every constant policy, best first. Nothing is played for it."""
    utility = plan.data.score - plan.penalty
    refs = references(utility, plan.data.category)
    everywhere = np.arange(plan.data.n_rows)
    scores = {arm: refs.headroom(utility[:, k], everywhere) for k, arm in enumerate(plan.data.arms)}
    return dict(sorted(scores.items(), key=lambda one: -np.inf if one[1] is None else one[1], reverse=True))


@dataclass(frozen=True, slots=True)
class Dearest:
    """Always the arm whose mean cost is highest: what is there before anything is learned.

    headroom : None where the references coincide. gap : utility less that of the best fixed arm in hindsight, <= 0.
    """

    arm: str
    headroom: float | None
    gap: float


def dearest_arm(plan: Plan) -> Dearest:
    """The single model of who pays for the best that money buys. Nothing is played for it."""
    utility = plan.data.score - plan.penalty
    refs = references(utility, plan.data.category)
    k = int(plan.data.cost_usd.mean(axis=0).argmax())
    means = column_means(utility)
    headroom = refs.headroom(utility[:, k], np.arange(plan.data.n_rows))
    return Dearest(plan.data.arms[k], headroom, float(means[k] - means.max()))


def _difference(got: FloatArray, fixed: FloatArray) -> float | None:
    mine, its = known_mean(got), known_mean(fixed)
    return None if mine is None or its is None else mine - its


def _summed(gap: FloatArray) -> FloatArray:
    total = np.cumsum(np.where(np.isfinite(gap), gap, 0.0))
    ends = np.linspace(0, gap.size, POINTS + 1).astype(np.intp)[1:] - 1
    result: FloatArray = total[np.maximum(ends, 0)]
    return result
