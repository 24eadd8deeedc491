"""Results of many passes to one row per policy: means over cases, intervals over seeds. Nothing is played here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

Result = Mapping[str, object]
Results = Mapping[tuple[str, str, int], Result]  # (case, policy, seed)
PHASES: Final = ("all", "first_500", "last_third")
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """mean, and half the width of its 95 % interval over seeds (None with a single seed)."""

    mean: float
    half: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One policy over a group of cases.

    headroom : by phase. gap : utility minus the best fixed arm's in hindsight, ``all`` and ``last_third``.
    worst_case : the case with the lowest mean gap in the last third, and that gap.
    against : headroom minus the reference policy's on the same shuffles, by phase; None for itself, for another
    part of the rows, or without common seeds. Times are medians in microseconds, averaged over passes.
    """

    policy: str
    seeds: int
    cases: int
    headroom: Mapping[str, Estimate]
    gap: Mapping[str, Estimate]
    worst_case: tuple[str, float]
    against: Mapping[str, Estimate] | None
    choose_us: float | None
    update_us: float | None


def interval(values: Sequence[float]) -> Estimate:
    """Student's t interval of the mean of independent values.

    Raises
    ------
    ValueError : no value.
    """
    if not len(values):
        raise ValueError("An interval needs at least one value.")
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return Estimate(float(sample[0]), None)
    spread = float(sample.std(ddof=1)) / float(np.sqrt(sample.size))
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, sample.size - 1))
    return Estimate(float(sample.mean()), quantile * spread)


def figure(result: Result, kind: str, phase: str) -> float:
    """``headroom`` or ``gap`` of a phase; NaN where it is not defined."""
    group = result[kind]
    value = group.get(phase) if isinstance(group, Mapping) else None
    return float("nan") if value is None else float(value)


def per_seed(
    results: Results, policy: str, cases: Sequence[str], value: Callable[[Result], float]
) -> dict[int, float]:
    """Mean over the cases by seed, for the seeds that have every case; a case without the figure is left out."""
    seeds = {seed for case, name, seed in results if name == policy and case in cases}
    means: dict[int, float] = {}
    for seed in sorted(seeds):
        if all((case, policy, seed) in results for case in cases):
            values = np.array([value(results[case, policy, seed]) for case in cases])
            if np.isfinite(values).any():
                means[seed] = float(np.nanmean(values))
    return means


def summarise(
    results: Results, policies: Sequence[str], cases: Sequence[str], *, reference: str, unpaired: Sequence[str] = ()
) -> list[Summary]:
    """One row per policy that has at least one seed of every case.

    reference : whose passes on the same shuffles are subtracted. unpaired : policies scored on other rows.
    """
    rows: list[Summary] = []
    for policy in policies:
        by_phase = {phase: per_seed(results, policy, cases, _taking("headroom", phase)) for phase in PHASES}
        if not all(by_phase.values()):
            continue
        gaps = {phase: per_seed(results, policy, cases, _taking("gap", phase)) for phase in ("all", "last_third")}
        seeds = sorted(by_phase["all"])
        rows.append(
            Summary(
                policy=policy,
                seeds=len(seeds),
                cases=len(cases),
                headroom={phase: interval(list(values.values())) for phase, values in by_phase.items()},
                gap={phase: interval(list(values.values())) for phase, values in gaps.items()},
                worst_case=_worst(results, policy, cases, seeds),
                against=None
                if policy == reference or policy in unpaired
                else _paired(results, by_phase, cases, reference),
                choose_us=_time(results, policy, cases, seeds, "choose_us"),
                update_us=_time(results, policy, cases, seeds, "update_us"),
            )
        )
    return rows


def best_fixed(results: Results, policy: str, cases: Sequence[str]) -> float | None:
    """Headroom of the best fixed arm in hindsight, mean over cases, from the passes of a policy on all rows."""
    values = [
        float(str(result["fixed_headroom"]))
        for (case, name, seed), result in results.items()
        if name == policy and case in cases and seed == 0 and result["fixed_headroom"] is not None
    ]
    return float(np.mean(values)) if values else None


def _taking(kind: str, phase: str) -> Callable[[Result], float]:
    return lambda result: figure(result, kind, phase)


def _paired(
    results: Results, mine: Mapping[str, Mapping[int, float]], cases: Sequence[str], reference: str
) -> dict[str, Estimate] | None:
    differences: dict[str, Estimate] = {}
    for phase in PHASES:
        other = per_seed(results, reference, cases, _taking("headroom", phase))
        common = sorted(set(other) & set(mine[phase]))
        if not common:
            return None
        differences[phase] = interval([mine[phase][seed] - other[seed] for seed in common])
    return differences


def _worst(results: Results, policy: str, cases: Sequence[str], seeds: Sequence[int]) -> tuple[str, float]:
    means = {
        case: float(np.nanmean([figure(results[case, policy, seed], "gap", "last_third") for seed in seeds]))
        for case in cases
    }
    worst = min(means, key=means.__getitem__)
    return worst, means[worst]


def _time(results: Results, policy: str, cases: Sequence[str], seeds: Sequence[int], key: str) -> float | None:
    values = [results[case, policy, seed][key] for case in cases for seed in seeds]
    known = [float(str(value)) for value in values if value is not None]
    return float(np.mean(known)) if known else None
