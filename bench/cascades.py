"""``python -m bench.cascades``: what recipes, chains and steps bring beside routing without, on the same shuffles.

Each case is played from a cold start with the same seeds: with the models of a pool alone, and with the recipes that
their costs propose, with chains, whose costly signals are paid for, or with the step of a task as context. In some
there is nothing to be gained. Utility = score - L x cost / cost of the dearest model. Needs the replay data
(``BANDITD_DATA``, default ``../shared/data``).
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

from rich.console import Console  # noqa: E402 - after the threads are limited
from rich.progress import Progress, TaskID  # noqa: E402
from rich.table import Table  # noqa: E402

from banditd.replay.engine import run  # noqa: E402
from banditd.replay.options import ReplayOptions  # noqa: E402
from bench.documents import rich_table  # noqa: E402
from bench.gains import gain_of  # noqa: E402
from bench.steps import STEPS, StepCase, measure_steps, step_table  # noqa: E402

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


@dataclass(frozen=True, slots=True)
class ChainCase:
    """least : what ``part`` of the run must gain at least. off_by : decisions after which the guard must have gone
    back to routing, in every seed; None where it need not.
    """

    data: str
    pool: str
    cost_weight: float
    part: str
    least: float
    off_by: int | None = None

    @property
    def name(self) -> str:
        return f"{self.pool}, L = {self.cost_weight:g}"


CHAINS: Final = (
    ChainCase("rational9", "mixed4", 0.1, "last_third", 0.005),
    ChainCase("rational9", "mixed4", 0.3, "all", -0.003),
    ChainCase("rational9", "ladder3", 0.1, "all", -0.003, off_by=2000),
    ChainCase("zeroeval_signals", "ladder4", 0.1, "all", -0.003),
    ChainCase("zeroeval_signals", "mixed6", 0.3, "all", -0.003),
)


def measure_chains(
    case: ChainCase, seeds: int, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """A case with chains; the report has routing on the same shuffles beside it."""
    options = ReplayOptions(
        directory=DATA / case.data,
        pool=case.pool,
        cost_weight=case.cost_weight,
        cascade=True,
        seeds=seeds,
        limit=limit,
    )
    content = run(options, progress).content
    found: dict[str, Any] = content["cascade"]  # type: ignore[assignment]
    late = [one["off_since"] is None or one["off_since"] > (case.off_by or 0) for one in found["guard"]]
    return {
        "case": case.name,
        "with_chains": content["utility"],
        **{name: found[name] for name in ("routing", "gain", "references", "calls", "guard")},
        "part": case.part,
        "least_gain": case.least,
        "off_by": case.off_by,
        "met": found["gain"][case.part]["mean"] >= case.least and (case.off_by is None or not any(late)),
    }


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
    gains = {part: gain_of(plain, cooked, part) for part in ("utility", "last_third")}
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


def as_table(rows: list[dict[str, Any]], seeds: int) -> Table:
    heads = ("case", "routing", "with recipes", "gain", "at least", "met", "best fixed", "routed, all told")
    table = rich_table(
        f"Recipes beside routing without, {seeds} seeds on the same shuffles: whole run / last third", heads, []
    )
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


def chain_table(rows: list[dict[str, Any]], seeds: int) -> Table:
    heads = ("case", "routing", "with chains", "gain", "at least", "met", "calls", "guard", "in hindsight")
    table = rich_table(
        f"Chains beside routing without, {seeds} seeds on the same shuffles: whole run / last third", heads, []
    )
    for row in rows:
        gain, references, part = row["gain"], row["references"], row["part"]
        off = [one["off_since"] or 0 for one in row["guard"] if one["state"] != "on"]
        parts = ("all", "last_third")
        table.add_row(
            row["case"],
            *(f"{row[name]['mean']:.4f} / {row[name]['last_third']:.4f}" for name in ("routing", "with_chains")),
            " / ".join(f"{gain[name]['mean']:+.4f} ± {gain[name]['standard_error'] or 0.0:.4f}" for name in parts),
            f"{row['least_gain']:+.3f}" + (" (last third)" if part == "last_third" else ""),
            "yes" if row["met"] else "NO",
            " / ".join(f"{row['calls']['mean'][name]:.2f}" for name in parts),
            f"{len(off)} off" + (f" (since {max(off)})" if off else ""),
            " > ".join(f"{references[name] or math.nan:.4f}" for name in ("routed", "stop", "joint", "oracle")),
        )
    table.caption = "guard: seeds that ended without chains; in hindsight: routed > stop > joint > oracle cascade"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cascades", description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--only", action="append", default=[], metavar="POOL", help="may be repeated")
    parser.add_argument("--kind", choices=("recipes", "chains", "steps"), help="only these")
    parser.add_argument("--limit", type=int, help="rows of each case, for a look")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"There is no replay data at {DATA}: set BANDITD_DATA to its folder.")
    every: dict[str, tuple[Case | ChainCase | StepCase, ...]] = {"recipes": CASES, "chains": CHAINS, "steps": STEPS}
    kinds = tuple(every) if given.kind is None else (given.kind,)
    cases = [case for kind in kinds for case in every[kind] if not given.only or case.pool in given.only]
    if not cases:
        sys.exit(f"No such pool; pools: {', '.join(sorted({case.pool for kind in kinds for case in every[kind]}))}.")
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    with Progress(console=Console(stderr=True)) as bar:
        for case in cases:
            task = bar.add_task(case.name, total=None)

            def show(done: int, total: int, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            if isinstance(case, ChainCase):
                rows["chains"].append(measure_chains(case, given.seeds, given.limit, show))
            elif isinstance(case, StepCase):
                rows["steps"].append(measure_steps(case, DATA, given.seeds, given.limit, show))
            else:
                rows["recipes"].append(measure(case, given.seeds, given.limit, show))
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    console = Console(width=None if Console().is_terminal else 200)
    for kind, table in (("recipes", as_table), ("chains", chain_table), ("steps", step_table)):
        if rows.get(kind):
            console.print(table(rows[kind], given.seeds))


if __name__ == "__main__":
    main()
