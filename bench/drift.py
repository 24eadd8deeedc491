"""``python -m bench.drift``: how far do queries seem to move, in steady traffic and from task to task?

The statistic of ``bandit/changes/drift.py`` on the contexts of every replay set: shuffled, in source order (one task
after another), and shuffled with every query sent several times on end, as turns of a conversation are alike.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from banditd.bandit.changes.drift import QueryDrift  # noqa: E402
from banditd.core.types import FloatArray  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.replay.dataset import load_dataset  # noqa: E402
from bench.documents import rich_table  # noqa: E402
from bench.learning.cases import CASES, data_folder  # noqa: E402

TURNS: Final = (3, 8)
SETTLED: Final = 600  # contexts after which figures of a stream are taken


def measure(contexts: FloatArray, order: Iterable[int]) -> dict[str, float]:
    """Over a stream: the highest and the median drift, and the share of the time in which queries count as moved.

    contexts : float64, shape (n, n_features). order : rows of it, more than ``SETTLED``.
    """
    drift = QueryDrift(contexts.shape[1])
    seen = []
    for row in order:
        drift.add(contexts[row])
        seen.append((drift.height, drift.moved))
    heights, moved = np.array(seen[SETTLED:], dtype=float).T
    return {"highest": float(heights.max()), "median": float(np.median(heights)), "moved": float(moved.mean())}


def streams(n: int, seed: int) -> dict[str, list[int]]:
    """Orders of ``n`` rows, by name."""
    shuffled = np.random.default_rng(seed).permutation(n)
    repeated = {f"shuffled, {k} times on end": np.repeat(shuffled, k)[:n].tolist() for k in TURNS}
    return {"shuffled": shuffled.tolist(), **repeated, "source order": list(range(n))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument("--rows", type=int, default=6000, help="of each set at most (default 6000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    content = []
    for name in track(sorted({case.dataset for case in CASES}), console=Console(stderr=True), description="sets"):
        prompts = load_dataset(data_folder() / name, "all").prompts[: given.rows]
        _, made = build_contexts(prompts, with_facts=False)
        contexts = np.stack([context.x for context in made])
        for order, rows in streams(len(contexts), given.seed).items():
            content.append({"set": name, "order": order, **measure(contexts, rows)})
    if given.json:
        print(json.dumps(content, indent=2))
        return
    heads = ("set", "order", "highest", "median", "counts as moved")
    table = rich_table(
        "Drift of the queries (1 by chance, other queries from 4 on)", heads, [], left={"set", "order"}
    )
    for one in content:
        share = f"{100 * one['moved']:.0f} %"
        table.add_row(one["set"], one["order"], f"{one['highest']:.1f}", f"{one['median']:.1f}", share)
    Console().print(table)


if __name__ == "__main__":
    main()
