"""``python -m bench.cascades``: what recipes bring beside banditd's own routing on the same shuffles.

Each case is played twice from a cold start with the same seeds, once with the models of a pool alone and once with
the recipes that their costs propose; in some there is nothing to be gained. Utility = score - L x cost / cost of the
dearest model. Needs the replay data (``BANDITD_DATA``, default ``../shared/data``).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402

from banditd.replay import ReplayOptions, run  # noqa: E402

DATA: Final = Path(os.environ.get("BANDITD_DATA", "../shared/data"))


@dataclass(frozen=True, slots=True)
class Case:
    """least : what the whole run must gain at least; below zero where nothing is to be gained."""

    data: str
    pool: str
    cost_weight: float
    recipes: int
    least: float

    @property
    def name(self) -> str:
        return f"{self.pool} + {self.recipes}, L = {self.cost_weight:g}"


CASES: Final = (
    Case("zeroeval_signals", "ladder4", 0.1, 2, 0.016),
    Case("zeroeval_signals", "ladder4", 0.3, 2, 0.0),
    Case("zeroeval_signals", "api9", 0.1, 6, 0.0),
    Case("rational9", "mixed4", 0.05, 4, 0.0),
    Case("rational9", "mixed4", 0.3, 4, -0.003),
    Case("zeroeval_signals", "mixed6", 0.3, 6, -0.003),
    Case("rational9", "ladder3", 0.1, 1, -0.003),
)


def measure(case: Case, seeds: int, limit: int | None, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Both plays of a case and their differences seed by seed."""
    found = {}
    for turn, recipes in enumerate((None, f"auto:{case.recipes}")):
        options = ReplayOptions(
            directory=DATA / case.data,
            pool=case.pool,
            cost_weight=case.cost_weight,
            recipes=recipes,
            seeds=seeds,
            limit=limit,
        )
        found[recipes] = run(options, lambda done, total, turn=turn: progress(turn * total + done, 2 * total)).content
    plain, cooked = found.values()
    gains = {part: _gain(plain, cooked, part) for part in ("utility", "last_third")}
    return {
        "case": case.name,
        "routing": plain["utility"],
        "with_recipes": cooked["utility"],
        "gain": gains["utility"],
        "gain_last_third": gains["last_third"],
        "least_gain": case.least,
        "met": gains["utility"]["mean"] >= case.least,
        "references": cooked["recipes"]["references"],  # type: ignore[index]
        "arms": cooked["recipes"]["arms"],  # type: ignore[index]
    }


def _gain(plain: dict[str, Any], cooked: dict[str, Any], part: str) -> dict[str, Any]:
    difference = np.array([b[part] - a[part] for a, b in zip(plain["per_seed"], cooked["per_seed"], strict=True)])
    error = float(difference.std(ddof=1) / math.sqrt(difference.size)) if difference.size > 1 else None
    return {"mean": float(difference.mean()), "standard_error": error, "worst_seed": float(difference.min())}


def as_table(rows: list[dict[str, Any]], seeds: int) -> Table:
    table = Table(title=f"Recipes beside routing without, {seeds} seeds on the same shuffles: whole run / last third")
    for column in ("case", "routing", "with recipes", "gain", "at least", "met", "best fixed", "routed, all told"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for row in rows:
        gain, references = row["gain"], row["references"]
        table.add_row(
            row["case"],
            *(f"{row[name]['mean']:.4f} / {row[name]['last_third']:.4f}" for name in ("routing", "with_recipes")),
            f"{gain['mean']:+.4f} ± {gain['standard_error'] or 0.0:.4f} / {row['gain_last_third']['mean']:+.4f}",
            f"{row['least_gain']:+.3f}",
            "yes" if row["met"] else "NO",
            f"{references['best_fixed_model']['utility']:.4f} > {references['best_fixed']['utility']:.4f}",
            f"{references['routed_models']:.4f} > {references['routed']:.4f}",
        )
    table.caption = "a > b: of the models alone > of models and recipes, in hindsight and with full information"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cascades", description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--only", action="append", default=[], metavar="POOL", help="may be repeated")
    parser.add_argument("--limit", type=int, help="rows of each case, for a look")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"There is no replay data at {DATA}: set BANDITD_DATA to its folder.")
    cases = [case for case in CASES if not given.only or case.pool in given.only]
    if not cases:
        sys.exit(f"No such pool; pools: {', '.join(sorted({case.pool for case in CASES}))}.")
    rows = []
    with Progress(console=Console(stderr=True)) as bar:
        for case in cases:
            task = bar.add_task(case.name, total=None)
            rows.append(
                measure(
                    case,
                    given.seeds,
                    given.limit,
                    lambda done, total, task=task: bar.update(task, completed=done, total=total),  # type: ignore[misc]
                )
            )
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    Console(width=None if Console().is_terminal else 180).print(as_table(rows, given.seeds))


if __name__ == "__main__":
    main()
