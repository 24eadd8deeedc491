"""The figures as tables: on the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from rich.table import Table

from bench.documents import rich_table
from bench.promise.cases import Case
from bench.promise.musts import Found, Must
from bench.promise.play import Figures, Hindsight

CASES: Final = "Promises"
MUSTS: Final = "What it must reach"
MIXLLM: Final = (0.9725, 0.2418)  # share of GPT-4's quality, at this share of its cost: arXiv 2502.18482, offline
_HEADS: Final = (
    "pool; keep, rewards", "quality", "first 500", "last third", "cost", "100", "500", "last third",
    "baseline", "held", "one arm", "coin", "by task", "weight",
)  # fmt: skip
_NOTE: Final = (
    "Shares of the baseline's on the same rows: quality as mean (worst seed), cost of all, of the first 100 and 500 "
    "and of the last third. baseline: its share of the traffic, last third. The last four are hindsight: the least "
    "cost at that quality of one arm, of a coin toss between two, of an arm per task by hand, of a linear model with "
    "the best price."
)
# Places of the columns that the document leaves out: parts of the run beside the last third, and two references.
_LEFT_OUT: Final = frozenset({2, 3, 5, 6, 8, 12})


def promise_rows(found: Found, hindsight: Mapping[Case, Hindsight]) -> list[list[str]]:
    """A row per case, aligned with the heads."""
    rows = []
    for case, runs in found.items():
        best = hindsight[case]
        held = [run.held for run in runs]
        rows.append(
            [
                case.shown(),
                *(_with_worst(runs, name) for name in ("quality", "quality_500", "quality_last")),
                *(_mean(runs, name) for name in ("cost", "cost_100", "cost_500", "cost_last", "baseline_last")),
                " ".join(f"{held.count(one)} {one}" for one in ("yes", "no", "unknown") if one in held),
                *(_number(value) for value in (best.one, best.coin, best.by_task, best.weight)),
            ]
        )
    return rows


def must_rows(musts: Sequence[Must]) -> list[list[str]]:
    return [
        [
            must.what,
            _number(must.value),
            f"{'>=' if must.least else '<='} {_number(must.bound)}",
            "" if must.aim is None else _number(must.aim),
            "met" if must.met else "MISSED",
        ]
        for must in musts
    ]


def sheets(
    found: Found, hindsight: Mapping[Case, Hindsight], musts: Sequence[Must], mixllm: Mapping[str, Hindsight]
) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    """(title, heads, rows) of every table."""
    quality, cost = MIXLLM
    line = [["MixLLM, as published, on its own data", "", "", "", _number(cost)]]
    line += [
        [pool, *(_number(value) for value in (one.one, one.coin, one.by_task, one.weight))]
        for pool, one in mixllm.items()
    ]
    title = f"Beside MixLLM: cost share at {quality:.2%} of the dearest arm's quality, in hindsight"
    return [
        (CASES, _HEADS, promise_rows(found, hindsight)),
        (title, ("pool", "one arm", "coin", "by task", "weight"), line),
        (MUSTS, ("", "measured", "must", "aim", ""), must_rows(musts)),
    ]


def content(
    found: Found, hindsight: Mapping[Case, Hindsight], musts: Sequence[Must], mixllm: Mapping[str, Hindsight]
) -> dict[str, object]:
    """As JSON."""
    return {
        "cases": [
            {
                "pool": case.pool, "baseline": case.baseline, "keep": case.keep, "reward_rate": case.rate,
                "hindsight": hindsight[case].fields(), "seeds": [run.fields() for run in runs],
            }
            for case, runs in found.items()
        ],
        "mixllm": {
            "quality": MIXLLM[0], "cost": MIXLLM[1], "pools": {name: one.fields() for name, one in mixllm.items()}
        },
        "musts": [must.fields() for must in musts],
    }  # fmt: skip


def as_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return rich_table(title, heads, rows, caption=_NOTE if heads is _HEADS else None)


def markdown(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Without the columns that the terminal and the JSON alone have."""
    left_out = _LEFT_OUT if heads is _HEADS else frozenset({3, 4}) if title == MUSTS else frozenset()

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell for number, cell in enumerate(cells) if number not in left_out) + " |"

    lines = [f"### {title}", "", line(heads), "|" + "---|" * (len(heads) - len(left_out))]
    return "\n".join([*lines, *(line(row) for row in rows)])


def _with_worst(runs: Sequence[Figures], name: str) -> str:
    return f"{_mean(runs, name)} ({_over(runs, name, min)})"


def _mean(runs: Sequence[Figures], name: str) -> str:
    return _number(float(np.mean([getattr(run, name) for run in runs])))


def _over(runs: Sequence[Figures], name: str, pick: Callable[[list[float]], float]) -> str:
    return _number(pick([getattr(run, name) for run in runs]))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
