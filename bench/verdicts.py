"""``make bench-verdicts``: do the intervals of "always X" hold what they say, and what does a reference arm buy?

Rows are drawn with replacement from sets in which every arm answered, and played by the daemon's own decision and
learner at cost weight .1; so the truth of every arm is known on the very decisions made. Three logs each: the floor
as it is shipped, a floor of 5 %, and 5 % of the traffic for the dearest arm as the reference, until the difference is
known to .02.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited

from banditd.bandit.policies.base import PolicySettings  # noqa: E402
from banditd.bandit.posterior.posterior import Posterior  # noqa: E402
from banditd.cli.show import print_table  # noqa: E402
from banditd.core.types import Context, FeatureSchema, FloatArray, IntArray  # noqa: E402
from banditd.deciding.decide import Case, Decided  # noqa: E402
from banditd.deciding.keeper import Keeper, PromiseRule  # noqa: E402
from banditd.deciding.pledge import Pledge  # noqa: E402
from banditd.ope.fixed import FixedArmSums, fixed_arm_terms  # noqa: E402
from banditd.ope.reference import RatedDecision, Verdict  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.replay.dataset import ReplayData, load_dataset  # noqa: E402
from banditd.replay.decider import InProcessDecider, Row, Terms  # noqa: E402
from banditd.replay.prices import Tariff  # noqa: E402
from banditd.replay.promise import Promised  # noqa: E402
from banditd.services.reports.verdicts import difference_of, verdict_on_routing  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
POOLS: Final = (("zeroeval3", "api9"), ("ulab_nim9", None), ("paretobandit4", None))
COST_WEIGHT: Final = 0.1
LOOKS: Final = (300, 1000, 3000, 10_000)
BINS: Final = (5.0, 20.0, 50.0, 200.0, math.inf)
KISH: Final = 200.0  # of the gate that went before
COVERS, WRONG, UTILITY = 0.93, 0.02, 0.005
WIDTHS: Final = {3000: 0.05, 10_000: 0.025}
_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Log:
    """How a log is made. floor : of all arms together, None as shipped. reference : the dearest arm has a share."""

    name: str
    floor: float | None = None
    reference: bool = False


LOGS: Final = (Log("shipped"), Log("floor .05", floor=0.05), Log("reference .05", reference=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCase:
    """One arm at one look of one run. Differences are ours minus the arm's, on the decisions so far."""

    data: str
    log: str
    seed: int
    n: int
    arm: str
    reference: bool
    worth: float
    half_width: float
    truth: float
    covers: bool | None
    verdict: str | None
    before_covers: bool | None
    """Of the interval that went before; None where its gate said nothing."""

    @property
    def wrong(self) -> bool:
        return (self.verdict == "better" and self.truth < 0.0) or (self.verdict == "worse" and self.truth > 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """One run as a whole. share : of the reference at its end."""

    data: str
    log: str
    seed: int
    n: int
    utility: float
    share: float


class Recorder:
    """Stands where a promise does: notes the vectors; the daemon's keeper gives the reference arm its share."""

    def __init__(self, n_arms: int, n_features: int, reference: int | None) -> None:
        self._keeper = Keeper(PromiseRule(), n_arms=n_arms, n_features=n_features, baseline=reference or 0)
        self._reference = reference
        self.last: Promised | None = None

    @property
    def share(self) -> float:
        return 0.0 if self._reference is None else self._keeper.reference_share

    @property
    def pledge(self) -> Pledge | None:
        return None if self._reference is None else Pledge(self._reference, 0.0, 1.0 - self.share)

    def observe(self, _case: Case, decided: Decided, _posterior: Posterior) -> Promised:
        self.last = Promised(decided.scores.mean[0], decided.draw.probability[0], int(decided.draw.index[0]))
        return self.last

    def learn(self, promised: Promised, reward: float) -> None:
        if self._reference is None:
            return
        at = self._reference
        mean, probability = float(promised.mean[at]), float(promised.probability[at])
        predicted = float(promised.mean[promised.index])
        self._keeper.learn(RatedDecision(reward, predicted, mean, probability, promised.index == at))

    def verdict(self) -> Verdict:
        return self._keeper.verdict()


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A set, encoded once."""

    name: str
    data: ReplayData
    schema: FeatureSchema
    contexts: list[Context]

    @classmethod
    def load(cls, name: str, pool: str | None) -> Pool:
        data = load_dataset(DATA / name, pool)
        return cls(name, data, *build_contexts(data.prompts, with_facts=False))


def play(pool: Pool, log: Log, seed: int, n: int) -> tuple[list[ArmCase], RunFigures]:
    """One run of ``n`` decisions from a cold start."""
    data = pool.data
    rows = np.random.default_rng([seed, 7]).integers(data.n_rows, size=n)
    dearest = int(data.cost_usd.mean(axis=0).argmax())
    settings = PolicySettings()
    settings = settings if log.floor is None else replace(settings, floor=log.floor)
    recorder = Recorder(len(data.arms), pool.schema.n_features, dearest if log.reference else None)
    decider = InProcessDecider(
        schema=pool.schema, settings=settings, arms=data.arms, contexts=pool.contexts, seed=seed,
        tariff=Tariff.of_means(data.cost_usd.mean(axis=0), data.n_rows),
        terms=Terms(cost_weight=COST_WEIGHT, promise=recorder),  # type: ignore[arg-type]  # the part a decider uses
    )  # fmt: skip
    return asyncio.run(_play(pool, log, seed, rows, decider, recorder, dearest))


async def _play(
    pool: Pool, log: Log, seed: int, rows: IntArray, decider: InProcessDecider, recorder: Recorder, dearest: int
) -> tuple[list[ArmCase], RunFigures]:
    data, n_arms = pool.data, len(pool.data.arms)
    sums, before = np.zeros((n_arms, 7)), np.zeros((n_arms, 4))
    cases: list[ArmCase] = []
    earned = utility = 0.0
    scale = float(data.cost_usd.mean(axis=0).max())
    for position, row in enumerate(rows.tolist()):
        served = await decider.decide(Row(row, data.prompts[row]))
        reward, cost = float(data.score[row, served.arm]), float(data.cost_usd[row, served.arm])
        made = recorder.last
        assert made is not None
        for arm in range(n_arms):
            mean, probability = float(made.mean[arm]), float(made.probability[arm])
            terms = fixed_arm_terms(mean, probability, reward, drawn=arm == served.arm)
            sums[arm] += terms
            weight = 1.0 / probability if arm == served.arm else 0.0
            before[arm] += (terms[4], terms[4] * terms[4], weight, weight * weight)
        earned += reward
        # Expected under the vector drawn from: what the draw adds is noise.
        utility += float(made.probability @ (data.score[row] - COST_WEIGHT * data.cost_usd[row] / scale))
        await decider.reward(served, reward=reward, cost_usd=cost)
        if position + 1 in LOOKS:
            n = position + 1
            ours = earned / n
            truth = ours - data.score[rows[:n]].mean(axis=0)
            cases += [
                _case(pool, log, seed, n, arm, sums[arm], before[arm], float(truth[arm]), dearest)
                for arm in range(n_arms)
            ]
    await decider.close()
    figures = RunFigures(
        data=pool.name, log=log.name, seed=seed, n=len(rows), utility=utility / len(rows), share=recorder.share
    )
    return cases, figures


def _case(
    pool: Pool,
    log: Log,
    seed: int,
    n: int,
    arm: int,
    terms: FloatArray,
    before: FloatArray,
    truth: float,
    dearest: int,
) -> ArmCase:
    rated, unsupported, drawn, *floats = terms.tolist()
    sums = FixedArmSums(int(rated), int(unsupported), int(drawn), *floats)
    difference = difference_of(sums)
    interval = None if difference is None else difference.interval
    gain, square, weight, weight2 = before.tolist()
    mean, kish = gain / n, weight * weight / weight2 if weight2 > 0.0 else 0.0
    wald = _Z * math.sqrt(max(square / n - mean * mean, 0.0) / max(n - 1, 1))
    return ArmCase(
        data=pool.name, log=log.name, seed=seed, n=n, arm=pool.data.arms[arm], reference=arm == dearest,
        worth=sums.worth, half_width=sums.half_width, truth=truth,
        covers=None if interval is None else interval[0] - 1e-9 <= truth <= interval[1] + 1e-9,
        verdict=verdict_on_routing(difference),
        before_covers=None if kish < KISH else abs(truth + mean) <= wald,
    )  # fmt: skip


# ---------------------------------------------------------------- figures


def share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else math.nan


def bin_of(worth: float) -> str:
    low = 0.0
    for high in BINS:
        if worth < high:
            return f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        low = high
    raise AssertionError


def figures(cases: Sequence[ArmCase], runs: Sequence[RunFigures]) -> dict[str, object]:
    """Everything that is judged, as plain JSON values."""
    known = [one for one in cases if one.covers is not None]
    gated = [one for one in cases if one.before_covers is not None]
    bins = {}
    for name in dict.fromkeys(bin_of(edge - 1e-9 if math.isfinite(edge) else 1e9) for edge in BINS):
        mine = [one for one in known if bin_of(one.worth) == name]
        old = [one.before_covers is True for one in gated if bin_of(one.worth) == name]
        halves = [one.half_width for one in mine]
        bins[name] = {
            "cases": len(mine), "covers": share([one.covers is True for one in mine]) if mine else None,
            "half_width": float(np.median(halves)) if halves else None,
            "before_cases": len(old), "before_covers": share(old) if old else None,
        }  # fmt: skip
    return {
        "arm_cases": len(cases),
        "without_interval": len(cases) - len(known),
        "covers": share([one.covers is True for one in known]),
        "wrong_sign": share([one.wrong for one in cases]),
        "decided": share([one.verdict in {"better", "worse", "as good"} for one in cases]),
        "before": {"cases": len(gated), "covers": share([one.before_covers is True for one in gated])},
        "by_worth": bins,
        "reference": _reference(cases),
        "utility_loss": _utility(runs),
        "taper": {
            f"{one.data}, seed {one.seed}, n = {one.n}": one.share for one in runs if one.log == "reference .05"
        },
    }


def _reference(cases: Sequence[ArmCase]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for data in dict.fromkeys(one.data for one in cases):
        for n in LOOKS:
            mine = [one for one in cases if (one.data, one.n, one.reference) == (data, n, True)]
            with_share = [one for one in mine if one.log == "reference .05"]
            without = [one for one in mine if one.log == "floor .05"]
            if not with_share:
                continue
            rows.append(
                {
                    "data": data, "n": n, "runs": len(with_share),
                    "worth": float(np.median([one.worth for one in with_share])),
                    "half_width": float(np.median([one.half_width for one in with_share])),
                    "largest_half_width": float(max(one.half_width for one in with_share)),
                    "covers": share([one.covers is True for one in with_share]),
                    "worth_without": float(np.median([one.worth for one in without])) if without else None,
                }
            )  # fmt: skip
    return rows


def _utility(runs: Sequence[RunFigures]) -> dict[str, float]:
    """What a reference share costs in utility against the shipped floor, by set, over runs of the same seed and n."""
    found = {}
    for data in dict.fromkeys(one.data for one in runs):
        plain = {(one.seed, one.n): one.utility for one in runs if (one.data, one.log) == (data, "shipped")}
        pairs = [
            plain[one.seed, one.n] - one.utility
            for one in runs
            if (one.data, one.log) == (data, "reference .05") and (one.seed, one.n) in plain
        ]
        found[data] = float(np.mean(pairs)) if pairs else math.nan
    return found


def misses(found: dict[str, object]) -> list[str]:
    """What was to be reached and was not."""
    wrong = []
    if found["covers"] < COVERS:  # type: ignore[operator]  # our own figures
        wrong.append(f"intervals cover {found['covers']:.3f}, not {COVERS}")
    for name, one in found["by_worth"].items():  # type: ignore[attr-defined]
        if one["cases"] and one["covers"] < COVERS:
            wrong.append(f"worth {name}: intervals of {one['cases']} cases cover {one['covers']:.3f}, not {COVERS}")
    if found["wrong_sign"] > WRONG:  # type: ignore[operator]
        wrong.append(f"verdicts of the wrong sign: {found['wrong_sign']:.3f}, above {WRONG}")
    for n, most in WIDTHS.items():
        wrong += [
            f"{one['data']}, n = {n}: the reference's half-width is {one['half_width']:.4f}, above {most}"
            for one in found["reference"]  # type: ignore[attr-defined]
            if one["n"] == n and one["half_width"] > most
        ]
    for data, loss in found["utility_loss"].items():  # type: ignore[attr-defined]
        if loss > UTILITY:
            wrong.append(f"{data}: the reference costs {loss:.4f} of utility, above {UTILITY}")
    return wrong


def show(found: dict[str, object]) -> None:
    print_table(
        f"{found['arm_cases']} arm-cases: 95 % intervals of routing against always one arm",
        ("worth in uniform answers", "cases", "covers", "median half-width", "gate that was: cases", "covers"),
        [
            (name, one["cases"], one["covers"], one["half_width"], one["before_cases"], one["before_covers"])
            for name, one in found["by_worth"].items()  # type: ignore[attr-defined]
        ] + [("all", found["arm_cases"], found["covers"], None, found["before"]["cases"], found["before"]["covers"])],  # type: ignore[index]
    )  # fmt: skip
    print_table(
        "verdicts", ("", ""),
        [("of the wrong sign", found["wrong_sign"]), ("that decide", found["decided"]),
         ("without an interval (cases)", found["without_interval"])],
    )  # fmt: skip
    print_table(
        "the dearest arm as reference, 5 % until known to .02",
        ("set", "n", "runs", "worth", "with a floor of 5 %", "half-width", "largest", "covers"),
        [
            (one["data"], one["n"], one["runs"], one["worth"], one["worth_without"], one["half_width"],
             one["largest_half_width"], one["covers"])
            for one in found["reference"]  # type: ignore[attr-defined]
        ],
    )  # fmt: skip
    print_table("utility that the reference costs", ("set", "loss"), list(found["utility_loss"].items()))  # type: ignore[attr-defined]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=4, help="runs of each set and log")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--long", type=int, default=1, help="of them so many go on to 10,000 decisions")
    parser.add_argument("--decisions", type=int, default=3000, help="of the other runs")
    parser.add_argument("--json", action="store_true", help="figures as JSON on standard output")
    given = parser.parse_args(arguments)
    os.nice(10)
    cases, runs, started = [], [], time.monotonic()
    for name, pool_name in POOLS:
        pool = Pool.load(name, pool_name)
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            n = LOOKS[-1] if seed - given.first_seed < given.long else given.decisions
            for log in LOGS:
                if n > given.decisions and log.name == "floor .05":
                    mine, figure = play(pool, log, seed, given.decisions)
                else:
                    mine, figure = play(pool, log, seed, n)
                cases += mine
                runs.append(figure)
                print(f"{name} {log.name} seed {seed}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    found = figures(cases, runs)
    missed = misses(found)
    if given.json:
        found |= {"missed": missed, "cases": [asdict(one) for one in cases]}
        json.dump(found, sys.stdout, indent=1, default=str)
    else:
        show(found)
        print("\n".join(missed) or "all targets are met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
