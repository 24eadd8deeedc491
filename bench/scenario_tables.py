"""Scenario figures as rich tables, as Markdown and as a plot, each beside what was published of ParetoBandit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from banditd.core.types import FloatArray
from bench.documents import line, rich_table
from bench.scenario_streams import PHASE
from bench.scenario_targets import Result, Verdict, figure_text, judge

# Figure -> case -> what ParetoBandit 0.1.1 published (20 seeds, arXiv 2604.00136 and its repository's result files).
_LEVELS = ("tight", "moderate", "loose", "unconstrained")


def _k(arms: int, *values: float | str) -> dict[str, str]:
    return {f"K={arms}, {level}": str(value) for level, value in zip(_LEVELS, values, strict=False)}


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "degradation": {
        "normal reward": _k(3, ".863", ".885", ".910", ".9245"),
        "degraded reward": _k(3, ".800", ".795", ".794", ".9263"),
        "recovered reward": _k(3, ".818", ".863", ".898", ".9251"),
        "degraded share": _k(3, "33 %", "50 %", "69 %"),
        "recovery ratio": _k(3, ".948", ".975", ".986"),
    },
    "new-good-arm": {
        "onboarding reward": _k(4, ".866", ".899", ".918", ".929"),
        "adopted after (published)": _k(4, "142", "121", "121", "121"),
        "final share": _k(4, "4.4 %", "7.8 %", "10.2 %", "7.3 %"),
    },
    "new-bad-arm": {
        "onboarding reward": _k(4, ".871", ".895", ".913", ".925"),
        "onboarding share": _k(4, *["1.1 %"] * 4),
        "final share": _k(4, *["0 %"] * 4),
    },
    "new-dear-arm": {
        "onboarding reward": _k(4, ".832", ".868", ".904", ".929"),
        "onboarding cost/budget": _k(4, "1.3", "1.07"),
    },
}
TARGETS_TITLE = "Targets"
TITLES = {
    "degradation": "An arm degrades silently (reward forced to .75 in phase 2) and recovers; phases of 608 decisions",
    "degradation-scaled": "The same with its scores scaled to a mean of .75, so that noise and pattern stay",
    "new-good-arm": "A new good and cheap arm (gemini-2.5-flash) joins three",
    "new-bad-arm": "A new bad arm: half the rewards at the same cost",
    "new-dear-arm": "A new dear arm: the same rewards at ten times the cost",
    "arm-disappears": "An arm is switched off in phase 2 and on again in phase 3",
    "covariate-shift": "Covariate shift: source order (one task after the other) against the same rows shuffled",
}

# What the document leaves out: that something happened in all seeds, and intervals.
_LEFT_OUT = re.compile(r" \((\d+) of \1 seeds\)| ± [\d.]+")
# What the document shows of each scenario; the terminal and the JSON have every figure.
WRITTEN: Mapping[str, Sequence[str]] = {
    "degradation": (
        "degraded reward", "degraded full information", "degraded share", "degraded share, full information",
        "recovery ratio", "found after", "recovered after",
    ),
    "new-good-arm": ("onboarding reward", "onboarding full information", "final share", "adopted after (published)"),
}  # fmt: skip


def rows_of(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows) of one scenario: a row per figure, a column per case."""
    cases = [result.case for result in results]
    published = PUBLISHED.get(results[0].scenario, {})
    rows = []
    for name in dict.fromkeys(name for result in results for name in result.figures):
        cells = [figure_text(name, result.figures.get(name)) for result in results]
        if all(cell == "-" for cell in cells):
            continue
        known = published.get(name, {})
        rows.append(
            [name, *(f"{c} ({known[case]})" if case in known else c for c, case in zip(cells, cases, strict=True))]
        )
    return ["", *cases], rows


def target_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows) of the targets: a row per target and scenario, a column per case; no rows without any."""
    verdicts = judge(results)
    cases = list(dict.fromkeys(verdict.case for verdict in verdicts))
    lines: dict[tuple[str, str], dict[str, Verdict]] = {}
    for verdict in verdicts:
        lines.setdefault((verdict.target.text, verdict.scenario), {})[verdict.case] = verdict
    rows = [
        [text, scenario, *(found[case].shown() if case in found else "-" for case in cases)]
        for (text, scenario), found in lines.items()
    ]
    return ["target", "scenario", *cases], rows


def rich_tables(results: Sequence[Result]) -> list[Table]:
    """The targets first, then a table per scenario; published figures in brackets."""
    return [_rich(title, heads, rows) for title, heads, rows in _tables(results)]


def markdown(results: Sequence[Result], header: str) -> str:
    """The targets, and of some scenarios the figures to read first, in the cases that were published."""
    shown = {TITLES[scenario]: figures for scenario, figures in WRITTEN.items()}
    written = [result for result in results if result.scenario in WRITTEN]
    targets = _target_lines(judge(written))
    parts = [header, *([f"### {TARGETS_TITLE}", targets] if targets else [])]
    for title, heads, found in _tables(written):
        rows = [row for row in found if row[0] in shown.get(title, ())]
        if not rows:
            continue
        kept = _columns(title, heads)
        lines = [f"### {title}", "", line(heads, kept), "|" + "---|" * len(kept)]
        parts.append(_LEFT_OUT.sub("", "\n".join([*lines, *(line(row, kept) for row in rows)])))
    return "\n\n".join(parts)


def _target_lines(verdicts: Sequence[Verdict]) -> str:
    """A line per target: in how many cases it is met, and every one in which it is not."""
    lines = []
    for text in dict.fromkeys(verdict.target.text for verdict in verdicts):
        judged = [verdict for verdict in verdicts if verdict.target.text == text and verdict.met is not None]
        missed = [
            f"{one.case}: {figure_text(one.target.figure, one.figure)}, NO" for one in judged if one.met is False
        ]
        lines.append(
            f"* {text}: {'; '.join([f'met in {len(judged) - len(missed)} of {len(judged)} cases', *missed])}"
        )
    return "\n".join(lines)


def _columns(title: str, heads: Sequence[str]) -> list[int]:
    """Places of the columns that the document shows: of a scenario the names, and the cases that were published."""
    scenario = next((name for name, known in TITLES.items() if known == title), "")
    published = {case for figures in PUBLISHED.get(scenario, {}).values() for case in figures}
    return [number for number, head in enumerate(heads) if not published or not head or head in published]


def as_json(results: Sequence[Result]) -> dict[str, object]:
    """Targets and figures; a median is null where no more than half of the seeds got there."""
    return {
        "targets": [verdict.content() for verdict in judge(results)],
        "scenarios": [{"scenario": one.scenario, "case": one.case, "figures": one.figures} for one in results],
    }


def _tables(results: Sequence[Result]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    heads, rows = target_rows(results)
    if rows:
        yield TARGETS_TITLE, heads, rows
    for scenario in dict.fromkeys(result.scenario for result in results):
        yield (TITLES[scenario], *rows_of([result for result in results if result.scenario == scenario]))


def _rich(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return rich_table(title, heads, rows, left={"", "target", "scenario"})


def plot_shares(shares: Mapping[tuple[str, str, int], FloatArray], path: Path) -> None:
    """The degraded arm's share of the last 50 decisions, mean over seeds, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pools = sorted({arms for name, _, arms in shares if name == "degradation"})
    figure = Figure(figsize=(6.0 * len(pools), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, arms in zip(np.atleast_1d(figure.subplots(1, len(pools), sharey=True)), pools, strict=True):
        for (name, budget, number), share in shares.items():
            if name == "degradation" and number == arms:
                axes.plot(np.arange(50, share.size), share[50:], label=budget)  # the window is full from there
        axes.axvspan(PHASE, 2 * PHASE, color="tab:red", alpha=0.08)
        axes.set_title(f"degraded in the shaded phase, {arms} arms")
        axes.set_xlabel("decisions")
    figure.axes[0].set_ylabel("share of the degraded arm, last 50 decisions")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)
