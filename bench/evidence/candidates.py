"""Logs of banditd's own learner on sets whose every score is known, and what evaluations say of candidates there.

Rows are drawn with replacement and played at cost weight .1 and a floor of 5 %; then each candidate is evaluated from
the log alone, by the classes that the daemon runs, beginning with the sums of the log's end. The truth is the mean
over the same decisions of what both rules would have drawn times the scores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited

from banditd.bandit.policies.base import PolicySettings  # noqa: E402
from banditd.core.candidate import Candidate  # noqa: E402
from banditd.core.evaluation import INCUMBENT, Question  # noqa: E402
from banditd.core.types import Arm, Contribution, FloatArray  # noqa: E402
from banditd.ope.difference import FEWEST_ANYTIME, Compared, DifferenceSums, difference_terms  # noqa: E402
from banditd.ports import StoredLearning, StoredSegment  # noqa: E402
from banditd.ports.evaluations import Coverage, LoggedDecision  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.replay.dataset import ReplayData, load_dataset  # noqa: E402
from banditd.replay.decider import InProcessDecider, Row, Terms  # noqa: E402
from banditd.replay.prices import OUTPUT_TOKENS, Tariff  # noqa: E402
from banditd.services.candidates.applying import apply_candidate  # noqa: E402
from banditd.services.candidates.decided_again import Rule  # noqa: E402
from banditd.services.candidates.knowledge import Knowledge  # noqa: E402
from banditd.services.candidates.verdict import Evidence, finding_of  # noqa: E402
from banditd.services.candidates.walk import LogWalk  # noqa: E402
from banditd.services.policy import PolicyConfig, PolicyRuntime  # noqa: E402
from bench.evidence.shadow import line, shadow_cost  # noqa: E402

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
POOLS: Final = (("zeroeval3", "api9"), ("ulab_nim9", None), ("paretobandit4", None))
POLICY: Final = "bench"
COST_WEIGHT: Final = 0.1
FLOOR: Final = 0.05
DECISIONS: Final = 3000
LOOKS: Final = 100
MARGIN: Final = 0.01
COVERS, MISSES, WRONG = 0.93, 0.05, 0.02
SECOND_US: Final = 1_000_000
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
WITHOUT_MAIN: Final = "without its main arm"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCase:
    """One candidate on one log. covers, half_width : at the last look. missed : at some look of ``anytime``."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Log:
    """What a learner has left. scores : of the decisions, in order."""

    runtime: PolicyRuntime
    decider: InProcessDecider
    rows: Sequence[LoggedDecision]
    scores: FloatArray
    stored: StoredLearning


def cases(seeds: int, progress: Progress, *, decisions: int = DECISIONS, folder: Path = DATA) -> list[CandidateCase]:
    """Every candidate on every log of every set."""
    found = []
    for name, pool in POOLS:
        data = load_dataset(folder / name, pool)
        built = build_contexts(data.prompts, with_facts=False)
        for seed in range(seeds):
            log = asyncio.run(_played(data, built, seed, decisions))
            for candidate, settings in CANDIDATES.items():
                found.append(asyncio.run(_evaluated(log, data.name, seed, candidate, settings, None)))
                progress(1)
            shares = np.array([[row.arm == arm.arm for arm in log.runtime.arms] for row in log.rows]).mean(0)
            main = log.runtime.arms[int(shares.argmax())].arm
            found.append(asyncio.run(_evaluated(log, data.name, seed, WITHOUT_MAIN, {}, main)))
            progress(1)
    return found


def number_of_cases(seeds: int) -> int:
    """How many ``cases`` makes."""
    return len(POOLS) * seeds * (len(CANDIDATES) + 1)


async def _played(data: ReplayData, built: Any, seed: int, n: int) -> _Log:
    schema, contexts = built
    order = np.random.default_rng([seed, 16]).integers(data.n_rows, size=n)
    settings = PolicySettings(floor=FLOOR)
    tariff = Tariff.of_means(data.cost_usd.mean(axis=0), data.n_rows)
    decider = InProcessDecider(
        schema=schema, settings=settings, arms=data.arms, contexts=contexts, seed=seed,
        tariff=tariff, terms=Terms(cost_weight=COST_WEIGHT),
    )  # fmt: skip
    rows: list[LoggedDecision] = []
    for number, row in enumerate(order.tolist()):
        epoch = decider.state.epoch
        served = await decider.decide(Row(row, data.prompts[row]))
        context, at_us = contexts[row], number * SECOND_US
        mean, _ = decider.state.snapshot().predict(context.x[None, :])
        reward = float(data.score[row, served.arm])
        assert served.probability is not None
        rows.append(LoggedDecision(
            decision_id=str(number), created_at_us=at_us, arm=data.arms[served.arm], reason="policy", arms=data.arms,
            probability=served.probability, mean=mean[0], price_per_usd=None, exclusions={},
            x=context.x.astype(np.float32), cluster=context.cluster, facts=context.facts, cost_weight=COST_WEIGHT,
            input_tokens=0, keep=None, baseline=None, promise={}, epoch=epoch, generations={},
            contribution=Contribution(data.arms[served.arm], epoch, 1.0, reward), rated_at_us=at_us + 1,
        ))  # fmt: skip
        await decider.reward(served, reward=reward, cost_usd=float(data.cost_usd[row, served.arm]))
    state = decider.state
    arms = tuple(
        Arm(policy=POLICY, arm=arm, upstream_model=arm, price=price, expected_output_tokens=OUTPUT_TOKENS)
        for arm, price in zip(data.arms, tariff.prices, strict=True)
    )
    stored = StoredLearning(
        version=1, epoch=state.epoch, hyperparameters=state.hyperparameters_json(), learner=state.learner_json(),
        segments=tuple(StoredSegment(arm=a, epoch=e, sums=s, version=1) for a, e, s in state.segments()),
    )  # fmt: skip
    return _Log(_runtime(settings, arms, schema), decider, rows, data.score[order], stored)


def _runtime(settings: PolicySettings, arms: tuple[Arm, ...], schema: Any) -> PolicyRuntime:
    config = PolicyConfig(name=POLICY, settings=settings, cost_weight=COST_WEIGHT)
    runtime = PolicyRuntime(config, SimpleNamespace(schema=schema))  # type: ignore[arg-type]  # no text is read
    runtime.arms = arms
    return runtime


async def _evaluated(
    log: _Log, data: str, seed: int, name: str, settings: Mapping[str, object], without: str | None
) -> CandidateCase:
    arms = {} if without is None else {without: {"enabled": False}}
    candidate = Candidate(candidate_id="0", policy=POLICY, name=name, settings=settings, arms=arms)
    applied = apply_candidate(log.runtime, candidate)
    knowledge = Knowledge(
        schema=log.runtime.builder.schema, settings=log.runtime.config.settings, other=applied.config.settings,
        arms=log.decider.state.arms, stored=log.stored, rows=log.rows,
    )  # fmt: skip
    walk = _KnownWalk(
        log.runtime, Rule(config=applied.config, arms=applied.arms), log.rows, knowledge, against=INCUMBENT,
        until_us=len(log.rows) * SECOND_US, scores=log.scores,
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
    )  # fmt: skip


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
    mine = [case for case in found if case.candidate not in {"the same", WITHOUT_MAIN}]
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
        if cost is not None:
            print(f"\n{line(cost)}")
    return 0 if all(one.met for one in bounds) else 1


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that must hold."""

    name: str
    value: float
    bound: str
    met: bool


def checked(found: Sequence[CandidateCase]) -> list[Bound]:
    """What must hold of the candidates."""
    covers, missed, wrong = pooled(found)
    same = [case.phase == "passed" and case.half_width <= MARGIN for case in found if case.candidate == "the same"]
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


if __name__ == "__main__":
    sys.exit(main())
