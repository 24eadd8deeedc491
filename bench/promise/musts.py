"""What a promise must reach, and whether it did: a row per bound, of the cases that were played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.promise.cases import COMPANY, FIRST_DAY, Case
from bench.promise.play import Figures, Hindsight

EARNS_LITTLE: Final = 0.6  # a baseline below this: the worst seed is allowed two of its own standard errors
# Cost share of the last third, dearest baseline, all rewards: (keep, pool) -> (must, aim).
LAST_THIRD: Final[dict[tuple[float, str], tuple[float, float | None]]] = {
    (0.98, "pareto4"): (0.12, 0.10),
    (0.98, "upside_down9"): (0.10, 0.07),
    (0.98, "mid10"): (0.50, 0.40),
    (0.98, "rational9"): (0.55, 0.45),
    (0.98, "api9"): (0.80, 0.70),
    (0.95, "api9"): (0.50, None),
    (0.95, "api12"): (0.12, None),
    (0.95, "pareto4"): (0.08, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Must:
    """value must be at least (``least``) or at most ``bound``; aim : where it would better be."""

    what: str
    value: float
    bound: float
    least: bool = False
    aim: float | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.bound - 1e-12 if self.least else self.value <= self.bound + 1e-12

    def fields(self) -> dict[str, object]:
        return {
            "what": self.what,
            "value": self.value,
            "bound": self.bound,
            "side": "least" if self.least else "most",
            "aim": self.aim,
            "met": self.met,
        }


Found = Mapping[Case, Sequence[Figures]]


def musts(found: Found, hindsight: Mapping[Case, Hindsight]) -> list[Must]:
    """Every bound about what was played: the cases' own, then those about all of them."""
    rows = [must for case, runs in found.items() for must in _of_case(case, runs, hindsight[case])]
    runs = [run for one in found.values() for run in one]
    intervals = [run.covers for run in runs if run.covers is not None]
    if runs:
        wrong = float(np.mean([run.wrong for run in runs]))
        rows.append(Must(what=f"held or broken said wrongly, of {len(runs)} runs", value=wrong, bound=0.05))
    if intervals:
        what = f"interval of the ratio covers the truth, of {len(intervals)} runs"
        rows.append(Must(what=what, value=float(np.mean(intervals)), bound=0.93, least=True))
    return rows


def _of_case(case: Case, runs: Sequence[Figures], hindsight: Hindsight) -> Iterator[Must]:
    keep, name = case.keep, case.shown()
    mean = float(np.mean([run.quality for run in runs]))
    yield Must(what=f"{name}: quality, mean of seeds", value=mean, bound=keep - 0.005, least=True)
    worst = min(runs, key=lambda run: run.quality + _allowed(run, 0.01, run.noise))
    bound = keep - _allowed(worst, 0.01, worst.noise)
    yield Must(what=f"{name}: quality, worst seed", value=worst.quality, bound=bound, least=True)
    early = min(runs, key=lambda run: run.quality_500 + _allowed(run, 0.03, run.noise_500))
    bound = keep - _allowed(early, 0.03, early.noise_500)
    yield Must(what=f"{name}: quality, first 500, worst seed", value=early.quality_500, bound=bound, least=True)
    most = 1.05 if case.baseline == "cheapest" else 1.02
    yield Must(what=f"{name}: cost, worst seed", value=max(run.cost for run in runs), bound=most)
    if case.pool == COMPANY and keep == 0.95 and hindsight.coin is not None:
        cost = float(np.mean([run.cost for run in runs]))
        yield Must(what=f"{name}: cost, beside the coin's + .02", value=cost, bound=hindsight.coin + 0.02)
    if case.pool == FIRST_DAY and keep == 0.95:
        early_cost = float(np.mean([run.cost_100 for run in runs]))
        yield Must(what=f"{name}: cost, first 100", value=early_cost, bound=0.7)
        least = min(run.quality_100 for run in runs)
        yield Must(what=f"{name}: quality, first 100, worst seed", value=least, bound=0.94, least=True)
        yield Must(what=f"{name}: cost, 2,000 queries", value=float(np.mean([run.cost for run in runs])), bound=0.3)
        yield Must(what=f"{name}: quality, 2,000 queries", value=mean, bound=0.97, least=True)
    if (keep, case.pool) in LAST_THIRD and case.baseline == "dearest" and case.rate == 1.0:
        most, aim = LAST_THIRD[keep, case.pool]
        cost = float(np.mean([run.cost_last for run in runs]))
        yield Must(what=f"{name}: cost, last third", value=cost, bound=most, aim=aim)


def _allowed(run: Figures, least: float, noise: float) -> float:
    """What the worst seed may lack of the promise."""
    return max(least, 2.0 * noise) if run.earns < EARNS_LITTLE else least
