"""Logs of banditd's own learner on sets whose every score is known, and what evaluations say of candidates there.

Rows are drawn with replacement and played at cost weight .1 and a floor of 5 %, and once more under a promise of 95 %
at the floor of config.yaml; then each candidate is evaluated from the log alone, by the classes that the daemon runs,
beginning with the sums of the log's end. The truth is the mean over the same decisions of what both rules would have
drawn times the scores. Candidates that promise otherwise are also played for themselves on the same rows: what they
earn and cost then, less what the log did, stands beside what was found of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited

from banditd.core.candidate import Candidate  # noqa: E402
from banditd.core.evaluation import INCUMBENT, Question  # noqa: E402
from banditd.core.types import FloatArray  # noqa: E402
from banditd.ope.difference import FEWEST_ANYTIME, Compared, DifferenceSums, difference_terms  # noqa: E402
from banditd.ports.evaluations import Coverage, LoggedDecision  # noqa: E402
from banditd.replay.dataset import load_dataset  # noqa: E402
from banditd.services.candidates.applying import apply_candidate  # noqa: E402
from banditd.services.candidates.course import Earlier, begin_courses, promises_otherwise  # noqa: E402
from banditd.services.candidates.decided_again import Rule  # noqa: E402
from banditd.services.candidates.knowledge import Knowledge  # noqa: E402
from banditd.services.candidates.verdict import Evidence, finding_of  # noqa: E402
from banditd.services.candidates.walk import LogWalk, Window  # noqa: E402
from bench.documents import Bound  # noqa: E402
from bench.evidence.candidate_logs import POLICY, SECOND_US, Log, contexts_of, played  # noqa: E402
from bench.evidence.shadow import line, shadow_cost  # noqa: E402

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
POOLS: Final = (("zeroeval3", "api9"), ("ulab_nim9", None), ("paretobandit4", None))
DECISIONS: Final = 3000
LOOKS: Final = 100
MARGIN: Final = 0.01
COVERS, MISSES, WRONG = 0.93, 0.05, 0.02
KEEP: Final = 0.95
CANDIDATES: Final[Mapping[str, Mapping[str, object]]] = {
    "the same": {},
    "cost weight 0": {"cost_weight": 0.0},
    "cost weight .05": {"cost_weight": 0.05},
    "cost weight .2": {"cost_weight": 0.2},
    "cost weight .3": {"cost_weight": 0.3},
    "linucb": {"kind": "linucb"},
    "squarecb": {"kind": "squarecb"},
    "floor .005": {"exploration_floor": 0.005},
}
PROMISES: Final[Mapping[str, Mapping[str, object]]] = {
    "keep .95, the same": {"promise": {"keep": 0.95}},
    "keep .93": {"promise": {"keep": 0.93}},
    "keep .90": {"promise": {"keep": 0.9}},
    "keep .98": {"promise": {"keep": 0.98}},
    "reference share .02": {"promise": {"reference_share": 0.02}},
    "no promise, cost weight .1": {"promise": None, "cost_weight": 0.1},
    "keep .95, floor .02": {"exploration_floor": 0.02},
}
"""Of a log under a promise of ``KEEP``."""
PLAYED: Final = {"keep .93": 0.93, "keep .90": 0.9, "keep .98": 0.98}
SAME: Final = frozenset({"the same", "keep .95, the same"})
WITHOUT_MAIN: Final = "without its main arm"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCase:
    """One candidate on one log. covers, half_width : at the last look. missed : at some look of ``anytime``.

    replay_differs : mean distance of what the policy is found to draw from what was logged. found : what the
    candidate is found to earn and cost more, in reward and as a share of the policy's cost; played : what it does.
    """

    data: str
    seed: int
    candidate: str
    truth: float
    estimate: float
    covers: bool
    half_width: float
    worth_share: float
    missed: bool
    anytime_width: float
    phase: str
    replay_differs: float = 0.0
    found: tuple[float, float] | None = None
    played: tuple[float, float] | None = None


@dataclass(slots=True)
class _Noted:
    """Block by block: terms, and the true difference of each decision."""

    terms: list[FloatArray] = field(default_factory=list)
    truth: list[FloatArray] = field(default_factory=list)


class _KnownWalk(LogWalk):
    """A walk that also notes the truth. scores : float64 (n, K) by the number that ends a decision's id."""

    def __init__(self, *given: Any, scores: FloatArray, **named: Any) -> None:
        super().__init__(*given, **named)
        self.noted = _Noted()
        self._known = scores

    def _compared(self, block: Sequence[LoggedDecision]) -> Compared:
        found = super()._compared(block)
        rows = [int(row.decision_id) for row in block]
        self.noted.terms.append(difference_terms(found))
        self.noted.truth.append(((found.wanted - found.other) * self._known[rows]).sum(1))
        return found


def cases(seeds: int, progress: Progress, *, decisions: int = DECISIONS, folder: Path = DATA) -> list[CandidateCase]:
    """Every candidate on every log of every set."""
    found = []
    for name, pool in POOLS:
        data = load_dataset(folder / name, pool)
        built = contexts_of(data)
        for seed in range(seeds):
            log = asyncio.run(played(data, built, seed, decisions))
            for candidate, settings in CANDIDATES.items():
                found.append(asyncio.run(_evaluated(log, data.name, seed, candidate, settings, None)))
                progress(1)
            shares = np.array([[row.arm == arm.arm for arm in log.runtime.arms] for row in log.rows]).mean(0)
            main = log.runtime.arms[int(shares.argmax())].arm
            found.append(asyncio.run(_evaluated(log, data.name, seed, WITHOUT_MAIN, {}, main)))
            progress(1)
            log = asyncio.run(played(data, built, seed, decisions, KEEP))
            for candidate, settings in PROMISES.items():
                one = asyncio.run(_evaluated(log, data.name, seed, candidate, settings, None))
                if candidate in PLAYED:
                    other = asyncio.run(played(data, built, seed, decisions, PLAYED[candidate]))
                    one = replace(one, played=_more(other.earned, log.earned))
                found.append(one)
                progress(1)
    return found


def number_of_cases(seeds: int) -> int:
    """How many ``cases`` makes."""
    return len(POOLS) * seeds * (len(CANDIDATES) + 1 + len(PROMISES))


async def _evaluated(
    log: Log, data: str, seed: int, name: str, settings: Mapping[str, object], without: str | None
) -> CandidateCase:
    arms = {} if without is None else {without: {"enabled": False}}
    candidate = Candidate(candidate_id="0", policy=POLICY, name=name, settings=settings, arms=arms)
    applied = apply_candidate(log.runtime, candidate)
    knowledge = Knowledge(
        schema=log.runtime.builder.schema, settings=log.runtime.config.settings, other=applied.config.settings,
        arms=log.decider.state.arms, stored=log.stored, rows=log.rows,
    )  # fmt: skip
    window = Window(until_us=len(log.rows) * SECOND_US)
    if promises_otherwise(log.runtime, applied):
        all_rated = Earlier(rated=len(log.rows), decisions=len(log.rows))
        courses = begin_courses(log.runtime, applied, all_rated, log.decider.state.snapshot())
        window = replace(window, courses=courses)
    walk = _KnownWalk(
        log.runtime, Rule(config=applied.config, arms=applied.arms), log.rows, knowledge, against=INCUMBENT,
        window=window, scores=log.scores,
    )  # fmt: skip
    async for _ in walk.run():
        pass
    assert knowledge.restored
    counted = dict.fromkeys((arm.arm for arm in log.runtime.arms), 1)
    evidence = Evidence(
        question=Question(candidate=candidate, margin=MARGIN),
        disabled=frozenset(() if without is None else (without,)),
        coverage=Coverage(decisions=counted, rated=counted),
    )
    terms, truth = np.concatenate(walk.noted.terms), np.concatenate(walk.noted.truth)
    sums, last = walk.found.sums, walk.found.sums.interval("fixed")
    return CandidateCase(
        data=data, seed=seed, candidate=name, truth=float(truth.mean()), estimate=last.estimate,
        covers=_holds(last, float(truth.mean())), half_width=(last.high - last.low) / 2.0,
        worth_share=sums.worth / max(sums.rated, 1), missed=_missed(terms, truth),
        anytime_width=sums.half_width("anytime"), phase=finding_of(walk.found, evidence).phase,
        replay_differs=sums.mean("distance"),
        found=_more(*((sums.mean(f"{side}value"), sums.mean(f"{side}cost_usd")) for side in ("", "other_"))),
    )  # fmt: skip


def _more(candidate: tuple[float, float], policy: tuple[float, float]) -> tuple[float, float]:
    """What a candidate earns more, and costs more as a share of the policy's cost."""
    return candidate[0] - policy[0], candidate[1] / policy[1] - 1.0


def _missed(terms: FloatArray, truth: FloatArray) -> bool:
    """Whether the interval that may be watched does not hold the truth at some look."""
    summed, true = terms.cumsum(0), truth.cumsum()
    for n in range(FEWEST_ANYTIME, len(truth) + 1, LOOKS):
        if not _holds(DifferenceSums(summed[n - 1]).interval("anytime"), float(true[n - 1]) / n):
            return True
    return False


def _holds(interval: Any, truth: float) -> bool:
    return bool(interval.low - 1e-9 <= truth <= interval.high + 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """A candidate over all logs. Shares but for the widths, which are medians."""

    candidate: str
    logs: int
    covers: float
    half_width: float
    ever_missed: float
    anytime_width: float
    worth_share: float
    passed: float
    failed: float
    inconclusive: float


def table(found: Sequence[CandidateCase]) -> list[CandidateRow]:
    """One row for each candidate."""
    rows = []
    for name in dict.fromkeys(case.candidate for case in found):
        mine = [case for case in found if case.candidate == name]
        phases = [case.phase for case in mine]
        rows.append(
            CandidateRow(
                candidate=name,
                logs=len(mine),
                covers=_mean([case.covers for case in mine]),
                half_width=float(np.median([case.half_width for case in mine])),
                ever_missed=_mean([case.missed for case in mine]),
                anytime_width=float(np.median([case.anytime_width for case in mine])),
                worth_share=float(np.median([case.worth_share for case in mine])),
                passed=phases.count("passed") / len(mine),
                failed=phases.count("failed") / len(mine),
                inconclusive=phases.count("inconclusive") / len(mine),
            )
        )
    return rows


def pooled(found: Sequence[CandidateCase]) -> tuple[float, float, float]:
    """(covers, ever missed, wrong verdicts) of the candidates that differ in settings alone."""
    mine = [case for case in found if case.candidate not in {*SAME, WITHOUT_MAIN}]
    wrong = [
        (case.phase == "passed" and case.truth < -MARGIN) or (case.phase == "failed" and case.truth > -MARGIN)
        for case in mine
    ]
    return _mean([case.covers for case in mine]), _mean([case.missed for case in mine]), _mean(wrong)


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else math.nan


def main(arguments: list[str] | None = None) -> int:
    """Print the table. 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.candidates", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="logs of each set (4)")
    parser.add_argument("--decisions", type=int, default=DECISIONS, help=f"of each log ({DECISIONS})")
    parser.add_argument("--shadow-rounds", type=int, default=5, help="of what shadows cost a query, each 6 s (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.decisions < FEWEST_ANYTIME:
        parser.error(f"--seeds is at least 1 and --decisions at least {FEWEST_ANYTIME}")
    total, done = number_of_cases(options.seeds), 0

    def progress(step: int) -> None:
        nonlocal done
        done += step
        print(f"{done} of {total} evaluations", file=sys.stderr, flush=True)

    found = cases(options.seeds, progress, decisions=options.decisions)
    rows, bounds = table(found), checked(found)
    cost = asyncio.run(shadow_cost(options.shadow_rounds)) if options.shadow_rounds else None
    if options.json:
        listed = {"cases": found, "candidates": rows, "bounds": bounds, "shadows": [] if cost is None else [cost]}
        print(json.dumps({name: [asdict(one) for one in of] for name, of in listed.items()}, indent=2))  # type: ignore[attr-defined]
    else:
        _print(rows, bounds, options.decisions)
        _print_played(found)
        if cost is not None:
            print(f"\n{line(cost)}")
    return 0 if all(one.met for one in bounds) else 1


def checked(found: Sequence[CandidateCase]) -> list[Bound]:
    """What must hold of the candidates."""
    covers, missed, wrong = pooled(found)
    same = [case.phase == "passed" and case.half_width <= MARGIN for case in found if case.candidate in SAME]
    without = [case.phase == "inconclusive" for case in found if case.candidate == WITHOUT_MAIN]
    return [
        Bound("intervals of settings' candidates hold the truth", covers, ">= 0.93", covers >= COVERS),
        Bound("the interval that may be watched misses it at some look", missed, "<= 0.05", missed <= MISSES),
        Bound("passed or failed, and it is not so", wrong, "<= 0.02", wrong <= WRONG),
        Bound("the same policy passes, its interval within the margin", _mean(same), "1", all(same)),
        Bound("without its main arm it is inconclusive", _mean(without), "1", all(without)),
    ]


def _print(rows: Sequence[CandidateRow], bounds: Sequence[Bound], decisions: int) -> None:
    print(
        f"Candidates from logs of {decisions:,} decisions, every one rated; margin {MARGIN:g}; widths are medians\n"
    )
    print("| candidate | logs | covers | half-width | ever missed | half-width, anytime | worth | passed | failed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one.candidate} | {one.logs} | {one.covers:.2f} | {one.half_width:.3f} | {one.ever_missed:.2f} "
            f"| {one.anytime_width:.3f} | {one.worth_share:.3f} | {one.passed:.2f} | {one.failed:.2f} |"
        )
    print()
    for bound in bounds:
        print(f"{'met   ' if bound.met else 'MISSED'}  {bound.name}: {bound.value:.3f} (wanted {bound.bound})")


def _print_played(found: Sequence[CandidateCase]) -> None:
    """What was found of candidates that promise otherwise, beside what they do where they decide."""
    print("\n| promise | set, seed | reward more: found | played | cost more: found | played | replay differs |")
    print("|---|---|---|---|---|---|---|")
    for case in found:
        if case.found is not None and case.played is not None:
            reward, cost = zip(case.found, case.played, strict=True)
            print(
                f"| {case.candidate} | {case.data} {case.seed} | {reward[0]:+.4f} | {reward[1]:+.4f} "
                f"| {cost[0]:+.0%} | {cost[1]:+.0%} | {case.replay_differs:.2f} |"
            )


if __name__ == "__main__":
    sys.exit(main())
