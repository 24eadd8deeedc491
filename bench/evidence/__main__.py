"""Runs the simulations of judges, and says which bound is met."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from banditd.ope.preference import HIGH, LOW  # noqa: E402
from bench.evidence.judges import (  # noqa: E402 - after the threads are limited
    COVERAGE_CASES,
    FAVOUR_CASES,
    Coverage,
    Refusals,
    coverage,
    refusals,
)
from bench.evidence.preference import PREFERRED, Comparisons, comparisons  # noqa: E402

WRONG_SIDE: Final = 0.05
MEDIAN_PAIRS: Final = 90
COVERS: Final = 0.93
JUDGE_COVERS: Final = 0.0
REFUSED: Final = 0.95
COVERAGE_TIMES: Final = 2  # intervals are cheap to simulate
HONEST_REFUSED: Final = 0.05


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that must hold."""

    name: str
    value: float
    bound: str
    met: bool


def bounds(covered: list[Coverage], refused: list[Refusals], compared: list[Comparisons]) -> list[Bound]:
    """What must hold of the tables."""
    first = covered[0]
    found = [*_of_comparisons(compared)]
    found += [
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


def _of_comparisons(compared: list[Comparisons]) -> list[Bound]:
    found = []
    for one in compared:
        if one.preferred in {LOW, HIGH}:
            wrong = one.often if one.preferred == LOW else 1.0 - one.often
            name = f"preferred in {one.preferred:.2f}"
            found.append(Bound(f"{name}: wrong side", wrong, f"<= {WRONG_SIDE}", wrong <= WRONG_SIDE))
            met = one.median <= MEDIAN_PAIRS
            found.append(Bound(f"{name}: median", one.median, f"<= {MEDIAN_PAIRS}", met))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the tables. 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of each judge; intervals get twice as many (1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    looks = COVERAGE_TIMES * options.runs
    total = looks * len(COVERAGE_CASES) + options.runs * (len(FAVOUR_CASES) + len(PREFERRED))
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
    compared = [comparisons(preferred, options.runs, progress) for preferred in PREFERRED]
    checked = bounds(covered, refused, compared)
    if options.json:
        tables = {"coverage": covered, "refusals": refused, "comparisons": compared, "bounds": checked}
        print(json.dumps({name: [asdict(one) for one in rows] for name, rows in tables.items()}, indent=2))
    else:
        _print(covered, refused, compared, checked)
    return 0 if all(one.met for one in checked) else 1


def _print(
    covered: list[Coverage], refused: list[Refusals], compared: list[Comparisons], checked: list[Bound]
) -> None:
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
    print("\nIs one answer preferred in 10 % or in 20 %? Looked at after every comparison\n")
    print("| preferred in | often | median comparisons | 90 % |\n|---|---|---|---|")
    for pairs in compared:
        print(f"| {pairs.preferred:.2f} | {pairs.often:.3f} | {pairs.median} | {pairs.ninety} |")
    print()
    for bound in checked:
        print(f"{'met   ' if bound.met else 'MISSED'}  {bound.name}: {bound.value:.3f} (wanted {bound.bound})")


if __name__ == "__main__":
    sys.exit(main())
