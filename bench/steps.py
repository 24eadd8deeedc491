"""Steps of a task as context: what the name of a step is worth to routing, and what one that says nothing costs.

The category of a prompt stands for the step of an agent that always asks for the same; a name drawn at random from
ten for one that says nothing. Each is played on the same shuffles as routing without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from banditd.replay.contexts import build_contexts
from banditd.replay.engine import play_seed
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan, make_plan
from banditd.replay.report import make_report
from bench.documents import rich_table
from bench.gains import gain_of

STEP: Final = "step"
NAMES: Final = 10
"""Of the step that says nothing."""


@dataclass(frozen=True, slots=True)
class StepCase:
    """last_third : utility that routing with the category must reach there. loss : most that the other may cost."""

    data: str
    pool: str
    cost_weight: float
    last_third: float
    loss: float = 0.003

    @property
    def name(self) -> str:
        return f"{self.pool}, L = {self.cost_weight:g}"


STEPS: Final = (
    StepCase("rational9", "mixed4", 0.1, 0.788),
    StepCase("zeroeval_signals", "ladder4", 0.1, 0.880),
)


def measure_steps(
    case: StepCase, folder: Path, seeds: int, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """The three plays of a case, and the differences to routing without, seed by seed."""
    options = ReplayOptions(
        directory=folder / case.data, pool=case.pool, cost_weight=case.cost_weight, seeds=seeds, limit=limit
    )
    plan = make_plan(options)
    n = len(plan.data.prompts)
    drawn = np.random.default_rng(17).integers(NAMES, size=n)
    steps: dict[str, Sequence[Mapping[str, str]]] = {
        "routing": (),
        "category": [{STEP: row["category"]} for row in plan.data.tags(("category",))],
        "useless": [{STEP: f"step-{value}"} for value in drawn.tolist()],
    }
    found = {}
    for turn, (kind, tags) in enumerate(steps.items()):
        found[kind] = _played(plan, tags, lambda done, turn=turn: progress(turn * seeds + done, 3 * seeds))
    gains = {kind: gain_of(found["routing"], found[kind], "utility") for kind in ("category", "useless")}
    late = {kind: gain_of(found["routing"], found[kind], "last_third") for kind in ("category", "useless")}
    reached = found["category"]["utility"]["last_third"]
    return {
        "case": case.name,
        **{kind: content["utility"] for kind, content in found.items()},
        "gain": gains,
        "gain_last_third": late,
        "least_last_third": case.last_third,
        "most_loss": case.loss,
        "met": reached >= case.last_third and gains["useless"]["mean"] >= -case.loss,
    }


def _played(plan: Plan, tags: Sequence[Mapping[str, str]], progress: Callable[[int], None]) -> dict[str, Any]:
    schema, contexts = build_contexts(
        plan.data.prompts, with_facts=False, context_tags=(STEP,) if tags else (), tags=tags
    )
    runs = []
    for seed in range(plan.options.seeds):
        runs.append(play_seed(plan, schema, contexts, seed))
        progress(seed + 1)
    return make_report(plan, runs, None).content


def step_table(rows: list[dict[str, Any]], seeds: int) -> Table:
    heads = (
        "case",
        "routing",
        "with the category",
        "gain",
        "last third at least",
        "useless step",
        "at least",
        "met",
    )
    table = rich_table(f"Steps as context beside routing without, {seeds} seeds: whole run / last third", heads, [])
    for row in rows:
        gains = {
            kind: f"{row['gain'][kind]['mean']:+.4f} ± {row['gain'][kind]['standard_error'] or 0.0:.4f} / "
            f"{row['gain_last_third'][kind]['mean']:+.4f}"
            for kind in ("category", "useless")
        }
        table.add_row(
            row["case"],
            *(f"{row[kind]['mean']:.4f} / {row[kind]['last_third']:.4f}" for kind in ("routing", "category")),
            gains["category"],
            f"{row['least_last_third']:.3f}",
            gains["useless"],
            f"{-row['most_loss']:+.3f}",
            "yes" if row["met"] else "NO",
        )
    return table
