"""``python -m bench.promise.tagged``: what the company's own task tag is worth as context, under a promise.

The made-up company (``company.py``) plays cold, with the kind of every query as a tag and without. Beside what the
policy spends stands what a coin between two arms and the best table by task would have spent at the same quality, and
a rule by hand at the promised one on every task, all with every true mean known.
``--thumbs 0.033`` is a company whose users rate one answer in thirty, and nobody else does.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from functools import partial

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from scipy.optimize import linprog  # noqa: E402

from banditd.core.types import FloatArray, IntArray  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.replay.engine import play_seed  # noqa: E402
from banditd.replay.feedback import FeedbackSource  # noqa: E402
from banditd.replay.plan import Plan  # noqa: E402
from banditd.replay.promise import baseline_arm, mixture  # noqa: E402
from bench.documents import rich_table  # noqa: E402
from bench.promise import company  # noqa: E402
from bench.promise.play import by_task  # noqa: E402

PART = 1000  # queries of a row of the table
TAG = "task"


@dataclass(frozen=True, slots=True)
class Part:
    """Of some queries, as shares of the baseline's.

    coin, table : least cost of a coin between two arms and of a table by task at this quality, known in hindsight.
    rule : cost of the cheapest arm per task that keeps the promise on it, by hand, with every mean known.
    """

    quality: float
    cost: float
    coin: float
    table: float
    rule: float

    def figures(self) -> FloatArray:
        return np.array([self.quality, self.cost, self.coin, self.table, self.rule])


def play(
    seed: int, *, keep: float, queries: int, tagged: bool, thumbs: float | None = None, part: int = PART
) -> list[Part]:
    """A cold pass, ``part`` queries at a time, and all of it. thumbs : share of the answers that get one, alone."""
    plan = company.plan(keep, "dearest", seed, queries)
    if thumbs is not None:
        feedback = (FeedbackSource(kind="thumb", rate=thumbs),)
        plan = replace(plan, options=replace(plan.options, feedback=feedback))
    kinds = [{TAG: str(kind)} for kind in plan.data.category.tolist()]
    schema, contexts = build_contexts(
        plan.data.prompts, with_facts=False, context_tags=(TAG,) if tagged else (), tags=kinds if tagged else ()
    )
    run = play_seed(plan, schema, contexts, seed)
    pieces = [slice(start, start + part) for start in range(0, queries, part)]
    return [_part(plan, run.rows[piece], run.chosen[piece]) for piece in (*pieces, slice(0, queries))]


def _part(plan: Plan, rows: IntArray, chosen: IntArray) -> Part:
    data, b = plan.data, baseline_arm(plan)
    quality = float(data.score[rows, chosen].sum() / data.score[rows, b].sum())
    cost = float(data.cost_usd[rows, chosen].sum() / data.cost_usd[rows, b].sum())
    # A coin or a table at the policy's own quality, not at the one that was promised.
    coin = mixture(replace(plan, options=replace(plan.options, keep=quality)), rows, b)
    rule = by_task(replace(plan, scored=rows), b)
    return Part(quality, cost, float("nan") if coin is None else coin, table_cost(plan, rows, quality), rule)


def table_cost(plan: Plan, rows: IntArray, quality: float) -> float:
    """Least cost share of a table of shares by task and arm that earns ``quality`` of the baseline on ``rows``."""
    data, b = plan.data, baseline_arm(plan)
    kinds = np.unique(data.category[rows])
    earned = np.array([data.score[rows[data.category[rows] == kind]].sum(axis=0) for kind in kinds])
    spent = np.array([data.cost_usd[rows[data.category[rows] == kind]].sum(axis=0) for kind in kinds])
    one_each = np.kron(np.eye(len(kinds)), np.ones(earned.shape[1]))
    # A policy may by chance earn what no table does; the best table is then what there is to compare.
    wanted = min(quality * earned[:, b].sum(), earned.max(axis=1).sum())
    found = linprog(
        spent.ravel() / spent[:, b].sum(),
        A_ub=-earned.ravel()[None] / earned[:, b].sum(),
        b_ub=[-wanted / earned[:, b].sum() + 1e-9],
        A_eq=one_each,
        b_eq=np.ones(len(kinds)),
    )
    return float(found.fun)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.promise.tagged", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--queries", type=int, default=3 * PART)
    parser.add_argument("--part", type=int, default=PART, help="queries of a row of the table")
    parser.add_argument("--keep", type=float, default=0.95)
    parser.add_argument("--thumbs", type=float, metavar="SHARE", help="of the answers get a thumb, and nothing else")
    given = parser.parse_args()
    rated = "" if given.thumbs is None else f", thumbs on {given.thumbs:.1%}"
    title = (
        f"The company, keep {given.keep:g}{rated}, {given.seeds} seeds, ± a standard error: shares of the dearest arm"
    )
    heads = ("context", "queries", "quality", "cost", "coin", "cost less coin", "rule by hand", "best table")
    table = rich_table(title, heads, [])
    one = partial(play, keep=given.keep, queries=given.queries, thumbs=given.thumbs, part=given.part)
    for tagged in (False, True):
        runs = [one(given.first_seed + number, tagged=tagged) for number in range(given.seeds)]
        for index, parts in enumerate(zip(*runs, strict=True)):
            begin, end = index * given.part, min((index + 1) * given.part, given.queries)
            which = "all" if index == len(runs[0]) - 1 else f"{begin + 1:,} to {end:,}"
            values = np.array([part.figures() for part in parts])
            quality, cost, coin, best, rule = values.T
            shown = [_estimate(one) for one in (quality, cost, coin, cost - coin, rule, best)]
            table.add_row("with its tag" if tagged else "text alone", which, *shown)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _estimate(values: FloatArray) -> str:
    mean = f"{values.mean():.3f}"
    return mean if values.size < 2 else f"{mean} ± {values.std(ddof=1) / np.sqrt(values.size):.3f}"


if __name__ == "__main__":
    main()
