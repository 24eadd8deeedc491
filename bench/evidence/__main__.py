"""Runs the simulations of judges and releases, and says which bound is met."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from banditd.ope.preference import HIGH, LOW  # noqa: E402
from bench.documents import Bound  # noqa: E402
from bench.evidence.drift import DriftFound, drift_cases, drift_found  # noqa: E402
from bench.evidence.judges import (  # noqa: E402 - after the threads are limited
    COVERAGE_CASES,
    FAVOUR_CASES,
    Coverage,
    Refusals,
    coverage,
    refusals,
)
from bench.evidence.preference import PREFERRED, Comparisons, comparisons  # noqa: E402
from bench.evidence.releases import (  # noqa: E402
    RELEASE_CASES,
    WINDOW_CASES,
    Alarms,
    WindowAlarms,
    alarms,
    unit_by_unit,
    window_alarms,
)

WRONG_SIDE: Final = 0.05
MEDIAN_PAIRS: Final = 90
COVERS: Final = 0.93
JUDGE_COVERS: Final = 0.0
REFUSED: Final = 0.95
COVERAGE_TIMES: Final = 2  # intervals are cheap to simulate
HONEST_REFUSED: Final = 0.05
FALSE_ALARMS: Final = 0.01
MOST_UNITS: Final = {
    "worse by .10": 300,
    "worse by .10, scores": 180,
    "worse by .05, differs on 30 %": 250,
}
UNIT_BY_UNIT: Final = "worse by .10"
UNIT_BY_UNIT_RUNS: Final = 20  # times fewer: each takes a second in a hundred
MONTHS: Final = 4
MOST_DAYS: Final = {"anchor": (500, 30), "golden set, 50 prompts": (50, 22)}
"""By watcher: at how many judged answers a day, and days until .3 points a day are found."""
QUIET_QUARTERS: Final = 0.01


def bounds(covered: list[Coverage], refused: list[Refusals]) -> list[Bound]:
    """What must hold of the tables."""
    first = covered[0]
    found = [
        Bound("PPI++ with 200 labels covers", first.powered, f">= {COVERS}", first.powered >= COVERS),
        Bound("the judge alone covers", first.judge_alone, f"<= {JUDGE_COVERS}", first.judge_alone <= JUDGE_COVERS),
    ]
    found += [
        Bound(f"PPI++ covers: {one.case}", one.powered, f">= {COVERS}", one.powered >= COVERS) for one in covered[1:]
    ]
    favour, *others = refused
    found.append(Bound(f"refused: {favour.case}", favour.refused, f">= {REFUSED}", favour.refused >= REFUSED))
    for case in others:
        if case.case.startswith("honest"):
            met = case.refused <= HONEST_REFUSED
            found.append(Bound(f"refused: {case.case}", case.refused, f"<= {HONEST_REFUSED}", met))
    return found


def comparison_bounds(compared: list[Comparisons]) -> list[Bound]:
    """What must hold of the sequential test between two answers."""
    found = []
    for one in compared:
        if one.preferred in {LOW, HIGH}:
            wrong = one.often if one.preferred == LOW else 1.0 - one.often
            name = f"preferred in {one.preferred:.2f}"
            found.append(Bound(f"{name}: wrong side", wrong, f"<= {WRONG_SIDE}", wrong <= WRONG_SIDE))
            met = one.median <= MEDIAN_PAIRS
            found.append(Bound(f"{name}: median", one.median, f"<= {MEDIAN_PAIRS}", met))
    return found


def release_bounds(released: list[Alarms]) -> list[Bound]:
    """What must hold of the releases."""
    found = []
    for one in released:
        if one.case in MOST_UNITS:
            most, median = MOST_UNITS[one.case], one.median_units
            value = float("inf") if median is None else float(median)
            found.append(Bound(f"units, {one.case}", value, f"<= {most}", value <= most))
        elif not one.case.startswith("worse"):
            met = one.alarms <= FALSE_ALARMS
            found.append(Bound(f"taken back, {one.case}", one.alarms, f"<= {FALSE_ALARMS}", met))
    return found


def drift_bounds(found: list[DriftFound]) -> list[Bound]:
    """What must hold of a slow loss, and of a quiet quarter."""
    checked = []
    for one in found:
        judged, most = MOST_DAYS.get(one.watcher, (0, 0))
        if one.judged_a_day != judged:
            continue
        days = float("inf") if one.days is None else float(one.days)
        checked.append(Bound(f"days, {one.watcher}, {judged} a day", days, f"<= {most}", days <= most))
        met = one.false_alarms <= QUIET_QUARTERS
        checked.append(Bound(f"quiet quarter, {one.watcher}", one.false_alarms, f"<= {QUIET_QUARTERS}", met))
    return checked


def main(arguments: list[str] | None = None) -> int:
    """Print the tables. 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of each case; intervals get twice as many (1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    looks = COVERAGE_TIMES * options.runs
    few = max(options.runs // UNIT_BY_UNIT_RUNS, 1)
    total = looks * len(COVERAGE_CASES) + options.runs * (len(FAVOUR_CASES) + len(RELEASE_CASES) + len(PREFERRED))
    drifting = drift_cases(options.runs)
    total += few + MONTHS * len(WINDOW_CASES) + sum(runs for *_, runs in drifting)
    done = 0

    def progress(step: int) -> None:
        nonlocal done
        done += step
        if sys.stderr.isatty():
            print(f"\r{done:,} of {total:,} simulations", end="" if done < total else "\n", file=sys.stderr)
        elif done % max(total // 20, 1) == 0:
            print(f"{done:,} of {total:,} simulations", file=sys.stderr, flush=True)

    covered = [coverage(case, looks, progress) for case in COVERAGE_CASES]
    refused = [refusals(case, options.runs, progress) for case in FAVOUR_CASES]
    released = [alarms(case, options.runs, progress) for case in RELEASE_CASES]
    one_by_one = next(case for case in RELEASE_CASES if case.name == UNIT_BY_UNIT)
    released.append(unit_by_unit(one_by_one, few, progress))
    windowed = [window_alarms(case, MONTHS, progress) for case in WINDOW_CASES]
    compared = [comparisons(preferred, options.runs, progress) for preferred in PREFERRED]
    drifted = [drift_found(*case, progress) for case in drifting]
    checked = bounds(covered, refused) + comparison_bounds(compared) + release_bounds(released)
    checked += drift_bounds(drifted)
    if options.json:
        tables = {
            "coverage": covered, "refusals": refused, "comparisons": compared, "releases": released,
            "windows": windowed, "drift": drifted, "bounds": checked,
        }  # fmt: skip
        print(json.dumps({name: [asdict(one) for one in rows] for name, rows in tables.items()}, indent=2))
    else:
        _print(covered, refused)
        _print_comparisons(compared)
        _print_releases(released, windowed)
        _print_drift(drifted)
        print()
        for bound in checked:
            print(f"{'met   ' if bound.met else 'MISSED'}  {bound.name}: {bound.value:.3f} (wanted {bound.bound})")
    return 0 if all(one.met for one in checked) else 1


def _print(covered: list[Coverage], refused: list[Refusals]) -> None:
    print("What people would say of all answers: 95 % intervals that hold it (and their half-width)\n")
    print("| case | labels | PPI++ | labels alone | judge alone |\n|---|---|---|---|---|")
    for one in covered:
        print(
            f"| {one.case} | {one.labels} | {one.powered:.3f} ({one.powered_half_width:.3f}) "
            f"| {one.people:.3f} ({one.people_half_width:.3f}) | {one.judge_alone:.3f} |"
        )
    print("\nJudges (sensitivity .9, specificity .8) that are refused, looked at after every label\n")
    print("| judge | labels | refused | median labels | right arm |\n|---|---|---|---|---|")
    for case in refused:
        median = "" if case.median_labels is None else f"{case.median_labels:,}"
        right = "" if case.right_arm is None else f"{case.right_arm:.2f}"
        print(f"| {case.case} | {case.labels:,} | {case.refused:.3f} | {median} | {right} |")


def _print_comparisons(compared: list[Comparisons]) -> None:
    print("\nIs one answer preferred in 10 % or in 20 %? Looked at after every comparison\n")
    print("| preferred in | often | median comparisons | 90 % |\n|---|---|---|---|")
    for one in compared:
        print(f"| {one.preferred:.2f} | {one.often:.3f} | {one.median} | {one.ninety} |")


def _print_releases(released: list[Alarms], windowed: list[WindowAlarms]) -> None:
    print("\nReleases (90 % pass, 10 % of the traffic, .02 tolerated) that are taken back within 4,000 rated units\n")
    print("| candidate | taken back | median units |\n|---|---|---|")
    for one in released:
        median = "" if one.median_units is None else f"{one.median_units:,}"
        print(f"| {one.case} | {one.alarms:.3f} | {median} |")
    print("\nThe 15-minute rule: false alarms in 30 days with an equal candidate, by what is taken for noise\n")
    print("| rated answers | in a window | deviation | 95 % | 95 % at its own count |\n|---|---|---|---|---|")
    for case in windowed:
        print(
            f"| {case.case} | {case.answers:g} | {case.deviation:,.0f} | {case.interval:,.0f} | {case.scaled:,.0f} |"
        )


def _print_drift(found: list[DriftFound]) -> None:
    print("\nA loss of .3 points a day from day 14 on, and quiet quarters; the traffic's mix moves days by .01\n")
    print("| watched by | judged a day | days until found | found | quiet quarters with an alarm |")
    print("|---|---|---|---|---|")
    for one in found:
        days = "" if one.days is None else f"{one.days}"
        print(f"| {one.watcher} | {one.judged_a_day:,} | {days} | {one.found:.2f} | {one.false_alarms:.3f} |")


if __name__ == "__main__":
    sys.exit(main())
