"""Figures of scenario traces: rewards, shares, detection and adoption, against full information. Plays nothing.

*Full information* is the best policy that knows the true mean reward and cost of every arm in every task category of
a phase and holds the same budget on average (``budget.pacer.solve_price``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.pacer import solve_price
from banditd.core.types import BoolArray, FloatArray, IntArray
from bench.scenario_streams import Trace

WINDOW: Final = 50  # decisions over which adoption is seen
LAST: Final = 200  # decisions that a final share is taken over
ADOPTABLE: Final = 0.02  # share of full information below which half of it is no adoption
PUBLISHED_WINDOW: Final = 100  # ParetoBandit's: share of 10 % over this many, held for 50 decisions
PUBLISHED_SHARE: Final = 0.10
PUBLISHED_HOLD: Final = 50
UNTIL: Final = " after"  # in the names of figures that count decisions until something happens; None there is never

Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class Informed:
    """Of full information on some rows. reward : its mean. share : of the watched arm."""

    reward: float
    share: float


def trace_figures(trace: Trace, category: IntArray, budget_usd: float | None, watched_name: str) -> Figures:
    """Every figure of one pass.

    Parameters
    ----------
    category : intp, one per row of the data. watched_name : of the arm whose share counts.
    """
    stream = trace.stream
    figures: Figures = {}
    scored = stream.rows[stream.warmup :]
    on_watched = trace.chosen == stream.watched
    for name, part in stream.phases.items():
        at = slice(part.start + stream.warmup, part.stop + stream.warmup)
        labels, score, cost = category[scored[part]], stream.score[at].copy(), stream.cost_usd[at]
        off = [arm for start, (arm, enabled) in stream.switches.items() if start == at.start and not enabled]
        score[:, off] = -np.inf
        means, costs = category_means(score, labels), category_means(cost, labels)
        best = full_information(means, costs, score, budget_usd, stream.watched)
        figures[f"{name} reward"] = float(trace.reward[part].mean())
        figures[f"{name} full information"] = best.reward
        figures[f"{name} cost/budget"] = (
            None if budget_usd is None else float(trace.cost_usd[part].mean() / budget_usd)
        )
        figures[f"{name} share"] = float(on_watched[part].mean())
        figures[f"{name} share, full information"] = best.share
        worse = dominated_rows(means, costs, stream.watched, free=budget_usd is None)
        figures[f"{name} share where another is clearly better"] = float((on_watched[part] & worse).mean())
    if len(stream.phases) == 3:
        figures |= _recovery(trace, watched_name)
    else:
        figures |= _adoption(trace, figures)
    return figures


def category_means(values: FloatArray, category: IntArray) -> FloatArray:
    """Every row's mean over the rows of its category: float64 (n, K)."""
    means = np.empty_like(values)
    for label in np.unique(category):
        rows = category == label
        means[rows] = values[rows].mean(axis=0)
    return means


def full_information(
    means: FloatArray, costs: FloatArray, score: FloatArray, budget_usd: float | None, watched: int
) -> Informed:
    """The best table of arms by category within a budget. All float64 (n, K)."""
    low, high, low_share = (0.0, 0.0, 1.0) if budget_usd is None else solve_price(means, costs, budget_usd)
    reward = share = 0.0
    for price, part in ((low, low_share), (high, 1.0 - low_share)):
        arm = (means - price * costs).argmax(axis=1)
        reward += part * float(score[np.arange(arm.size), arm].mean())
        share += part * float((arm == watched).mean())
    return Informed(reward, share)


def dominated_rows(means: FloatArray, costs: FloatArray, watched: int, *, free: bool) -> BoolArray:
    """Rows on which another arm is clearly the better choice: as good or better, and no dearer unless ``free``."""
    better = means >= means[:, [watched]]
    if not free:
        better &= costs <= costs[:, [watched]]
    better[:, watched] = False
    dominated: BoolArray = better.sum(axis=1) > 0
    return dominated


def _recovery(trace: Trace, watched_name: str) -> Figures:
    stream = trace.stream
    parts = list(stream.phases.values())
    rewards = [float(trace.reward[part].mean()) for part in parts]
    figures: Figures = {"recovery ratio": rewards[2] / rewards[0]}
    silent = not stream.switches  # otherwise there is nothing to be found
    if silent:
        figures |= {"found after": None, "recovered after": None}
    alarms = 0
    for event in trace.events:
        at = event.folded - stream.warmup  # every decision is rewarded
        wanted = silent and event.arm == watched_name and event.direction == "down"
        if wanted and event.kind == "changed" and parts[1].start < at <= parts[2].start:
            figures["found after"] = figures["found after"] or float(at - parts[1].start)
        elif wanted and event.kind == "recovered" and at > parts[2].start:
            figures["recovered after"] = figures["recovered after"] or float(at - parts[2].start)
        elif event.kind == "changed":
            alarms += 1
    found = figures.get("found after")
    if found is not None:
        rest = slice(parts[1].start + int(found), parts[1].stop)
        figures["share once found"] = float((trace.chosen[rest] == stream.watched).mean())
    figures["other alarms"] = float(alarms)
    return figures


def _adoption(trace: Trace, figures: Figures) -> Figures:
    """Decisions until adoption, by two definitions; None where it never came, no entry where it is not wanted.

    ``adopted after``: the share over the last ``WINDOW`` decisions reaches half of the share that full information
    gives the arm (wanted if that is at least 2 %). ``adopted after (published)``: ParetoBandit's definition.
    """
    on = (trace.chosen == trace.stream.watched).astype(float)
    wanted = figures["onboarding share, full information"] or 0.0
    held = np.convolve(running_share(on, PUBLISHED_WINDOW) >= PUBLISHED_SHARE, np.ones(PUBLISHED_HOLD), "valid")
    sustained = np.flatnonzero(held >= PUBLISHED_HOLD)
    adopted: Figures = {"final share": float(on[-LAST:].mean())}
    if wanted >= ADOPTABLE:
        reached = np.flatnonzero(running_share(on, WINDOW) >= wanted / 2.0)
        adopted["adopted after"] = float(reached[0] + 1) if reached.size else None
    adopted["adopted after (published)"] = float(sustained[0] + 1) if sustained.size else None
    return adopted


def running_share(on: FloatArray, window: int) -> FloatArray:
    """Share over the last ``window`` decisions, counted over the whole window from the start: float64 (n,)."""
    total = np.cumsum(on)
    total[window:] -= total[:-window].copy()
    result: FloatArray = total / window
    return result


def summary(figures: Sequence[Figures]) -> dict[str, dict[str, float | int | None]]:
    """Per figure its mean over seeds, half the width of the 95 % interval and the median, and how many seeds have it.

    ``seeds`` have the figure, ``of`` name it. Where a figure counts decisions until something happens (``UNTIL`` in
    its name), None is never: an infinite number, which median and mean count. They are None where that makes them so.
    """
    result: dict[str, dict[str, float | int | None]] = {}
    for name in dict.fromkeys(key for one in figures for key in one):
        named = [one[name] for one in figures if name in one]
        values = np.array([value for value in named if value is not None])
        seeds = int(values.size)
        if UNTIL in name:
            values = np.append(values, np.full(len(named) - seeds, np.inf))
        finite = bool(np.isfinite(values).all())
        spread = 1.96 * values.std(ddof=1) / np.sqrt(seeds) if finite and seeds > 1 else None
        median = float(np.median(values)) if values.size else np.inf
        result[name] = {
            "mean": float(values.mean()) if finite and seeds else None,
            "half_width": None if spread is None else float(spread),
            "median": median if np.isfinite(median) else None,
            "seeds": seeds,
            "of": len(named),
        }
    return result
