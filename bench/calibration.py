"""``python -m bench.calibration``: do the 95 % intervals that banditd reports hold the truth 95 times in 100?

Rows of a replay set are drawn with replacement and answered by arms drawn uniformly, so the set is the population
and its means are the truth. The rewards are folded and the scales fitted as the daemon does it, and the intervals
come from the functions that answer ``/v1/stats``, ``/v1/stats/contexts`` and the graduation report.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402

from banditd.bandit.policies.base import ArmPrior, PolicySettings  # noqa: E402
from banditd.bandit.state import PolicyState  # noqa: E402
from banditd.core.types import FeatureGroup, FeatureSchema, FloatArray, IntArray  # noqa: E402
from banditd.services.reports.contrast import combination  # noqa: E402
from banditd.services.reports.discrepancy import cell_deviation  # noqa: E402
from banditd.services.reports.onboarding import Estimate  # noqa: E402
from banditd.services.reports.rows import context_arm, posterior_cells, reward_of  # noqa: E402
from banditd.services.reports.summaries import Row  # noqa: E402
from bench.documents import rich_table  # noqa: E402

DATA: Final = Path(os.environ.get("BANDITD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
SETS: Final = (("ulab_nim9", None), ("bfcl2408", "mid10"), ("paretobandit4", None), ("mmlu_pro", "mid8"))
KINDS: Final = ("mean, overall", "mean, cluster", "posterior, overall", "posterior, cluster", "posterior, traffic")
DRAWS: Final = (500, 2000, 5000)
# A cluster of fewer rows has a truth that is little but the luck of those rows, drawn again and again.
FEWEST_ROWS: Final = 30


@dataclass(frozen=True, eq=False)
class World:
    """x : float64 (n, d). cluster : (n,). score : float64 (n, K), in [0, 1] or NaN."""

    name: str
    schema: FeatureSchema
    arms: tuple[str, ...]
    x: FloatArray
    cluster: IntArray
    score: FloatArray


@dataclass(frozen=True, slots=True)
class Interval:
    """One that was reported. cluster : None for all queries. rewards : behind it."""

    world: str
    kind: str
    arm: str
    cluster: int | None
    rewards: int
    low: float
    high: float
    truth: float

    @property
    def covers(self) -> bool:
        return self.low <= self.truth + 1e-9 and self.truth <= self.high + 1e-9


def stored_world(name: str, pool: str | None) -> World:
    """A replay set with the contexts of the shipped encoder. Raises InvalidInputError when it is absent."""
    from banditd.replay.contexts import build_contexts
    from banditd.replay.dataset import load_dataset

    data = load_dataset(DATA / name, pool)
    schema, contexts = build_contexts(data.prompts, with_facts=False)
    clusters = np.array([context.cluster for context in contexts], dtype=np.intp)
    return World(name, schema, data.arms, np.stack([context.x for context in contexts]), clusters, data.score)


def synthetic_world(seed: int, *, n_rows: int = 4000, n_arms: int = 5) -> World:
    """Arms that differ by cluster and feature, not quite linearly; half of them are scored 0 or 1."""
    generator = np.random.default_rng([seed, 7])
    n_clusters, n_embedding = 8, 6
    groups = (FeatureGroup("bias", 0, 1), FeatureGroup("embedding", 1, 7), FeatureGroup("cluster", 7, 15))
    cluster = generator.choice(n_clusters, size=n_rows, p=generator.dirichlet(np.full(n_clusters, 4.0)))
    centres = generator.normal(size=(n_clusters, n_embedding)) / np.sqrt(n_embedding)
    embedding = centres[cluster] + generator.normal(size=(n_rows, n_embedding)) / 3.0
    x = np.concatenate([np.ones((n_rows, 1)), embedding, np.eye(n_clusters)[cluster]], axis=1)
    slope = generator.normal(size=(n_embedding, 1)) * 0.6 + generator.normal(size=(n_embedding, n_arms)) * 0.4
    level = generator.normal(size=n_arms) * 0.4 + generator.normal(size=(n_clusters, n_arms)) * 0.5
    chance = 1.0 / (1.0 + np.exp(-(0.5 + embedding @ slope + level[cluster])))
    binary = (generator.random((n_rows, n_arms)) < chance).astype(np.float64)
    graded = np.clip(chance + 0.15 * generator.normal(size=(n_rows, n_arms)), 0.0, 1.0)
    score = np.where(np.arange(n_arms) % 2 == 0, binary, graded)
    names = tuple(f"f{i}" for i in range(15))
    schema = FeatureSchema(
        version=1, hash="calibration", groups=groups, names=names, encoder_id="none",
        embedding_dimension=n_embedding, n_clusters=n_clusters,
    )  # fmt: skip
    return World("synthetic", schema, tuple(f"arm{k}" for k in range(n_arms)), x, cluster, score)


def reported_intervals(world: World, *, seed: int, draws: int) -> list[Interval]:
    """Log ``draws`` decisions of uniform arms on rows with replacement, learn, and take every interval."""
    generator = np.random.default_rng([seed, draws])
    rows = generator.integers(world.score.shape[0], size=draws)
    chosen = generator.integers(len(world.arms), size=draws)
    rewards = world.score[rows, chosen]
    known = np.isfinite(rewards)
    rows, chosen, rewards = rows[known], chosen[known], rewards[known]
    state = PolicyState(schema=world.schema, settings=PolicySettings(), arms=[ArmPrior(a) for a in world.arms])
    for row, arm, reward in zip(rows.tolist(), chosen.tolist(), rewards.tolist(), strict=True):
        state.fold(arm=world.arms[arm], epoch=state.epoch, x=world.x[row], weight=1.0, reward=reward)
        if state.tune_due():
            state.adopt(state.tuning().run())
    return [
        *_overall(world, state, rows, chosen, rewards),
        *_by_cluster(world, state, world.cluster[rows], chosen, rewards),
    ]


def _row(arm: str, rewards: FloatArray) -> Row:
    """What the roll-ups keep of some rewards of weight 1."""
    sums = {"weight": float(rewards.size), "weighted_reward": float(rewards.sum())}
    counts = {"decisions": float(rewards.size), "rewards": float(rewards.size)}
    return {"arm": arm, **counts, **sums, "weighted_square": float((rewards**2).sum())}


def _overall(
    world: World, state: PolicyState, rows: IntArray, chosen: IntArray, rewards: FloatArray
) -> Iterable[Interval]:
    posterior = state.snapshot().posterior
    for k, arm in enumerate(world.arms):
        truth, own = float(np.nanmean(world.score[:, k])), rewards[chosen == k]
        plain = reward_of(_row(arm, own)).interval
        if plain is not None:
            yield Interval(world.name, KINDS[0], arm, None, own.size, *plain, truth)
        everything = np.zeros((len(world.arms), world.x.shape[1]))
        everything[k] = world.x[rows].mean(axis=0)
        found = Estimate.of(combination(posterior, everything))
        yield Interval(world.name, KINDS[2], arm, None, own.size, found.low, found.high, truth)
        # The graduation report speaks of the traffic so far, not of the population that it was drawn from.
        traffic = float(np.nanmean(world.score[rows, k]))
        yield Interval(world.name, KINDS[4], arm, None, own.size, found.low, found.high, traffic)


def _by_cluster(
    world: World, state: PolicyState, clusters: IntArray, chosen: IntArray, rewards: FloatArray
) -> Iterable[Interval]:
    """As ``GET /v1/stats/contexts`` has them: of arms that answered in the cluster."""
    snapshot = state.snapshot()
    table = {
        c: [_row(arm, rewards[(clusters == c) & (chosen == k)]) for k, arm in enumerate(world.arms)]
        for c in range(world.schema.n_clusters)
    }
    mean, deviation = snapshot.predict(state.cluster_contexts())
    cells = posterior_cells(table, snapshot.arms, state.cluster_sums(), mean.shape)
    deviation = cell_deviation(mean, deviation, snapshot.noise, cells)
    for c, line in table.items():
        inside = world.score[world.cluster == c]
        for k, (arm, row) in enumerate(zip(world.arms, line, strict=True)):
            if np.isfinite(inside[:, k]).sum() < FEWEST_ROWS or not row["rewards"]:
                continue
            shown, truth = context_arm(row, (float(mean[c, k]), float(deviation[c, k]))), np.nanmean(inside[:, k])
            for kind, interval in ((KINDS[1], shown["interval"]), (KINDS[3], shown["posterior_interval"])):
                if interval is None:
                    continue  # of too few rewards none is reported
                assert isinstance(interval, list)
                yield Interval(world.name, kind, arm, c, int(row["rewards"]), *interval, float(truth))


def coverage(intervals: Sequence[Interval]) -> float:
    return float(np.mean([one.covers for one in intervals]))


def summary(intervals: Sequence[Interval]) -> list[dict[str, object]]:
    """A line per set and kind, and per kind over all sets."""
    worlds = list(dict.fromkeys(one.world for one in intervals))
    lines: list[dict[str, object]] = []
    for name, members in [*((world, {world}) for world in worlds), ("all sets", set(worlds))]:
        for kind in KINDS:
            those = [one for one in intervals if one.kind == kind and one.world in members]
            width = float(np.mean([one.high - one.low for one in those]))
            count = len(those)
            lines.append({"set": name, "kind": kind, "intervals": count, "coverage": coverage(those), "width": width})
    return lines


def _table(lines: Sequence[dict[str, object]]) -> Table:
    heads = ("set", "interval", "number", "coverage", "mean width")
    table = rich_table(
        "Coverage of the reported 95 % intervals, uniform logging", heads, [], left={"set", "interval"}
    )
    for line in lines:
        table.add_row(
            str(line["set"]), str(line["kind"]), str(line["intervals"]),
            f"{line['coverage']:.3f}", f"{line['width']:.3f}", end_section=line["kind"] == KINDS[-1],
        )  # fmt: skip
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="logs of each length (default 4)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the seeds (default 0)")
    parser.add_argument("--draws", type=int, nargs="+", default=list(DRAWS), help="decisions of a log")
    parser.add_argument("--json", metavar="FILE", help="write the table and every interval")
    given = parser.parse_args(arguments)
    absent = [name for name, _ in SETS if not (DATA / name).is_dir()]
    if absent:
        parser.error(f"{DATA} has no {', '.join(absent)}: name the folder of the data in BANDITD_DATA.")
    intervals: list[Interval] = []
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("logs", total=(len(SETS) + 1) * given.seeds * len(given.draws))
        for world in (synthetic_world(0), *(stored_world(name, pool) for name, pool in SETS)):
            for seed in seeds:
                for draws in given.draws:
                    intervals += reported_intervals(world, seed=seed, draws=draws)
                    progress.advance(task)
    lines = summary(intervals)
    Console().print(_table(lines))
    if given.json:
        content = {"coverage": lines, "intervals": [asdict(one) for one in intervals]}
        Path(given.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
