"""``python -m bench.worlds``: made-up pools of arms, as real sets do not hold them. Where does the learner get stuck?

The replay sets are pools whose arms are close and whose dearer arms are a little better. These are not: one good arm
among equals, the dearest arm the worst, arms that change places. Queries are the simulator's, rewards 0 or 1.
Figures are mean rewards less that of the best fixed arm, known in hindsight: above 0 is a gain by contexts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from banditd.bandit.policies.base import ArmPrior, PolicySettings  # noqa: E402
from banditd.bandit.policies.exploration import draw as draw_arm  # noqa: E402
from banditd.bandit.policies.exploration import least_shares  # noqa: E402
from banditd.bandit.state import PolicyState  # noqa: E402
from banditd.core.contexts import Contexts  # noqa: E402
from banditd.core.types import BoolArray, Context, FeatureSchema, FloatArray, IntArray  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.simulate.families import FAMILIES, draw  # noqa: E402
from bench.documents import rich_table  # noqa: E402


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """mean : probability of reward 1, float64 (n, K). cost_usd : expected, float64 (K,); 0 for all when unknown.

    rewarded : whose reward comes at all, bool (n,), the same for every learner.
    """

    schema: FeatureSchema
    contexts: list[Context]
    mean: FloatArray
    cost_usd: FloatArray
    rewarded: BoolArray

    @property
    def best_fixed(self) -> FloatArray:
        """Mean reward of the best fixed arm, over all queries and over the last third: float64 (2,)."""
        return np.array([self.mean.mean(axis=0).max(), self.mean[-len(self.mean) // 3 :].mean(axis=0).max()])


@lru_cache(maxsize=4)
def _queries(seed: int, n: int) -> tuple[FeatureSchema, list[Context], IntArray]:
    """Contexts, and the family of each."""
    rng = random.Random(seed)
    prompts = [draw(rng) for _ in range(n)]
    schema, contexts = build_contexts([prompt.text for prompt in prompts], with_facts=False)
    names = list(FAMILIES)
    return schema, contexts, np.array([names.index(prompt.family) for prompt in prompts], dtype=np.intp)


def _same(*levels: float) -> Callable[[IntArray, np.random.Generator], FloatArray]:
    return lambda family, _: np.tile(levels, (len(family), 1))


def _random(arms: int, least: float, most: float) -> Callable[[IntArray, np.random.Generator], FloatArray]:
    return lambda family, rng: np.tile(rng.uniform(least, most, arms), (len(family), 1))


def _by_family(family: IntArray, rng: np.random.Generator) -> FloatArray:
    levels: FloatArray = rng.uniform(0.3, 0.8, (len(FAMILIES), 6))[family]
    return levels


def _specialists(family: IntArray, _: np.random.Generator) -> FloatArray:
    mean = np.full((len(family), 5), 0.4)
    mean[:, 0] = 0.6
    for arm in range(1, 5):
        mean[family // 2 == arm - 1, arm] = 0.85
    return mean


def _moving(family: IntArray, rng: np.random.Generator) -> FloatArray:
    there = np.linspace(0.0, 1.0, len(family))[:, None]
    moved: FloatArray = (1.0 - there) * rng.uniform(0.3, 0.8, 4) + there * rng.uniform(0.3, 0.8, 4)
    return moved


LEVELS: Final = {
    "two arms, .70 and .73": _same(0.70, 0.73),
    "two arms, .3 and .8": _same(0.3, 0.8),
    "30 arms, .3 to .8": _random(30, 0.3, 0.8),
    "8 arms, .005 to .05": _random(8, 0.005, 0.05),
    "8 arms, .93 to .995": _random(8, 0.93, 0.995),
    "six arms of .6, one of .7": _same(*(0.6,) * 6, 0.7),
    "eleven arms of .3, one of .9": _same(*(0.3,) * 11, 0.9),
    "another best arm in every family": _by_family,
    "a generalist and four specialists": _specialists,
    "arms that change places": _moving,
    "the dearest of six the best, .5 to .8": _same(*np.linspace(0.5, 0.8, 6)),
    "the dearest of six the worst, .8 to .5": _same(*np.linspace(0.8, 0.5, 6)),
}
PRICED: Final = ("the dearest",)  # worlds whose arms have prices, a thousandfold apart


def make(name: str, seed: int, n: int, rewarded: float = 1.0) -> World:
    schema, contexts, family = _queries(seed, n)
    mean = LEVELS[name](family, np.random.default_rng([seed, 0]))
    k = mean.shape[1]
    cost = np.geomspace(1e-5, 1e-2, k) if name.startswith(PRICED) else np.zeros(k)
    told = np.random.default_rng([seed, 3]).random(n) < rewarded
    return World(schema=schema, contexts=contexts, mean=mean, cost_usd=cost, rewarded=told)


def learned(world: World, seed: int, settings: PolicySettings, *, tier: str | None = None) -> FloatArray:
    """Expected reward of each query under banditd's policy, from a cold start: float64 (n,). Money costs nothing."""
    n, k = world.mean.shape
    names = [f"arm-{i}" for i in range(k)]
    priors = [
        ArmPrior(name, cost_usd=float(cost) or None, quality_tier=tier)
        for name, cost in zip(names, world.cost_usd, strict=True)
    ]
    state = PolicyState(schema=world.schema, settings=settings, arms=priors)
    drawn, rewards = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2]).random(n)
    everyone, free, earned = np.ones((1, k), dtype=bool), np.zeros((1, k)), np.empty(n)
    cost = world.cost_usd[None, :]
    for t, context in enumerate(world.contexts):
        snapshot = state.snapshot()
        floors = least_shares(cost, everyone, settings.floor, snapshot.probe_share)
        scores = snapshot.scores(Contexts.of([context]), penalty=free, allowed=everyone, floors=floors)
        arm = int(draw_arm(scores.probability, drawn.random(1))[0])
        earned[t] = world.mean[t, arm]
        if not world.rewarded[t]:
            continue
        state.fold(
            arm=names[arm], epoch=snapshot.epoch, x=context.x, weight=1.0, reward=float(rewards[t] < earned[t])
        )
        if state.tune_due():
            state.adopt(state.tuning().run())
    return earned


def beta_thompson(world: World, seed: int) -> FloatArray:
    """Thompson sampling without contexts, from Beta(1, 1)."""
    n, k = world.mean.shape
    drawn, rewards = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2]).random(n)
    counts, earned = np.ones((2, k)), np.empty(n)
    for t in range(n):
        arm = int(drawn.beta(*counts).argmax())
        earned[t] = world.mean[t, arm]
        counts[int(rewards[t] >= earned[t]), arm] += world.rewarded[t]
    return earned


DIRECTED: Final = PolicySettings()
SAMPLED: Final = PolicySettings(options={"exploration": "sampled"})
LEARNERS: Final[dict[str, Callable[[World, int], FloatArray]]] = {
    "thompson": lambda world, seed: learned(world, seed, DIRECTED),
    "every arm of one tier": lambda world, seed: learned(world, seed, DIRECTED, tier="standard"),
    "sampled": lambda world, seed: learned(world, seed, SAMPLED),
    "Beta-Thompson": beta_thompson,
}


def measure(name: str, seeds: int, n: int, rewarded: float = 1.0) -> dict[str, object]:
    """Per learner means over seeds of (all queries, last third), less the best fixed arm's.

    Beside them uniform play, and always the dearest arm where arms have prices (None elsewhere).
    """
    content: dict[str, object] = {"world": name}
    worlds = [make(name, seed, n, rewarded) for seed in range(seeds)]
    for learner, play in LEARNERS.items():
        runs = [(play(world, seed), world.best_fixed) for seed, world in enumerate(worlds)]
        gaps = np.array([[run.mean(), run[-n // 3 :].mean()] - best for run, best in runs])
        mean, last_third = gaps.mean(axis=0)
        content[learner] = {"all": mean, "last_third": last_third, "worst": gaps[:, 0].min()}
    content["uniform"] = float(np.mean([world.mean.mean() - world.best_fixed[0] for world in worlds]))
    single = [world.mean[:, world.cost_usd.argmax()].mean() - world.best_fixed[0] for world in worlds]
    content["dearest"] = float(np.mean(single)) if name.startswith(PRICED) else None
    return content


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.worlds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--reward-rate", type=float, default=1.0, help="share of the queries whose reward comes")
    parser.add_argument("--world", action="append", default=[], help="what its name begins with; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    names = [name for name in LEVELS if not given.world or name.startswith(tuple(given.world))]
    console = Console(stderr=True)
    content = [measure(name, given.seeds, given.queries, given.reward_rate) for name in track(names, console=console)]
    if given.json:
        print(json.dumps(content, indent=2, default=float))
        return
    size = f"{given.queries} queries, {given.reward_rate:.0%} rewarded, {given.seeds} seeds"
    heads = ("world", *LEARNERS, "uniform", "always the dearest")
    table = rich_table(f"{size}: all / last third / worst seed", heads, [])
    for row in content:
        cells = [" / ".join(f"{value:+.3f}" for value in row[learner].values()) for learner in LEARNERS]  # type: ignore[attr-defined]
        constant = ["" if row[one] is None else f"{row[one]:+.3f}" for one in ("uniform", "dearest")]
        table.add_row(str(row["world"]), *cells, *constant)
    Console(width=None if Console().is_terminal else 160).print(table)


if __name__ == "__main__":
    main()
