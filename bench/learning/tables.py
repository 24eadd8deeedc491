"""Summaries as sheets of text, and a sheet as a rich table or as Markdown. Adds no figure of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table

from bench.documents import between, line, rich_table
from bench.learning.play import Dearest
from bench.learning.summary import Estimate, Results, Summary, figure

MARKS: Final = "\n\n<!-- learning:start -->\n<!-- learning:end -->\n"
# Beginnings of headings of columns that the document leaves out.
WIDE: Final = ("seeds", "whole run against", "utility against", "the same", "worst case", "us to choose")
PLAIN: Final = ("first 500", "last third")  # headings of columns whose intervals the document leaves out
# A setting at the end of a policy's name; of several settings the document shows the best.
SETTING: Final = re.compile(r", [a-z]+ [\d.]+$")
MOST_ARMS: Final = 6  # in the table of fixed arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of text: the first column is a name, the others are figures. note : what a reader must know."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_sheet(
    title: str,
    note: str,
    rows: Sequence[Summary],
    *,
    fixed: float | None,
    dearest: Sequence[Dearest] = (),
    reference: str,
    families: Mapping[str, str],
) -> Sheet:
    """Best first, behind the best fixed arm and the dearest of every case.

    families : group of each policy; banditd's are marked. Without a pair the difference is empty.
    """
    ordered = sorted(rows, key=lambda row: -row.headroom["all"].mean)
    lines = [
        (
            _named(row.policy, families),
            str(row.seeds),
            *(_estimate(row.headroom[phase]) for phase in ("all", "first_500", "last_third")),
            "" if row.against is None else _estimate(row.against["all"], signed=True),
            with_sign(row.gap["all"].mean),
            _estimate(row.gap["last_third"], signed=True),
            f"{with_sign(row.worst_case[1])} ({row.worst_case[0]})",
            f"{_microseconds(row.choose_us)} / {_microseconds(row.update_us)}",
        )
        for row in ordered
    ]
    if fixed is not None:
        shown = plain(fixed)
        lines.insert(0, ("*best fixed arm, known in hindsight*", "", shown, shown, shown, "", "0", "0", "", ""))
    known = [(one.headroom, one.gap) for one in dearest if one.headroom is not None]
    if known:
        headroom, gap = (float(value) for value in np.mean(known, axis=0))
        shown, lost = plain(headroom), with_sign(gap)
        lines.insert(1, ("*always the dearest arm*", "", shown, shown, shown, "", lost, lost, "", ""))
    headings = (
        "policy",
        "seeds",
        "headroom, whole run",
        "first 500",
        "last third",
        f"whole run against {reference}",
        "utility against the best fixed arm",
        "the same, last third",
        "worst case of that",
        "us to choose / update",
    )
    return Sheet(title=title, note=note, headings=headings, rows=tuple(lines))


def case_sheet(
    title: str,
    note: str,
    results: Results,
    cases: Sequence[str],
    policies: Sequence[str],
    dearest: Mapping[str, Dearest],
) -> Sheet:
    """Headroom of the whole run, one line per case, one column per policy; the best of a line in bold.

    dearest : of each case, the single model that needs no hindsight.
    """
    lines = []
    for case in cases:
        means = [_case_mean(results, case, policy) for policy in policies]
        fixed = [
            result["fixed_headroom"]
            for (name, policy, _), result in results.items()
            if name == case and policy in policies and result["fixed_headroom"] is not None
        ]
        known = [mean for mean in means if np.isfinite(mean)]
        if not known:
            continue
        cells = [
            "" if not np.isfinite(mean) else f"**{plain(mean)}**" if mean >= max(known) else plain(mean)
            for mean in means
        ]
        single = dearest[case].headroom
        best = plain(float(str(fixed[0]))) if fixed else ""
        lines.append((case, best, "" if single is None else plain(single), *cells))
    headings = ("case", "best fixed arm", "always the dearest", *policies)
    return Sheet(title=title, note=note, headings=headings, rows=tuple(lines))


def fixed_sheet(title: str, note: str, arms: Mapping[str, Mapping[str, float | None]]) -> Sheet:
    """arms : headroom of each constant policy by case, best first."""
    lines = []
    for case, scores in arms.items():
        known = [f"{arm} {plain(score)}" for arm, score in scores.items() if score is not None]
        shown = known if len(known) <= MOST_ARMS else [*known[: MOST_ARMS - 2], "...", known[-1]]
        lines.append((case, str(len(scores)), "; ".join(shown)))
    return Sheet(title=title, note=note, headings=("case", "arms", "headroom of always that arm"), rows=tuple(lines))


def as_rich(sheet: Sheet) -> Table:
    rows = [[cell.replace("*", "") for cell in row] for row in sheet.rows]
    return rich_table(sheet.title, sheet.headings, rows, caption=sheet.note)


def as_markdown(sheet: Sheet) -> str:
    """Without the columns that the terminal and the JSON alone have, and a policy in its best setting alone."""
    kept = [number for number, heading in enumerate(sheet.headings) if not heading.startswith(WIDE)]
    lines = [f"### {sheet.title}", "", sheet.note, ""]
    lines += [line(sheet.headings, kept), "|---" + "|---:" * (len(kept) - 1) + "|"]
    best: dict[str, list[str]] = {}
    for row in sheet.rows:
        best.setdefault(SETTING.sub("", row[0]), _without_intervals(row, sheet.headings))
    return "\n".join([*lines, *(line(row, kept) for row in best.values())])


def _without_intervals(row: Sequence[str], headings: Sequence[str]) -> list[str]:
    return [
        cell.partition(" ± ")[0] if heading in PLAIN else cell for cell, heading in zip(row, headings, strict=True)
    ]


def write_sections(path: Path, sections: Sequence[str]) -> None:
    """Replace the sections (each begins with ``### title``) between the two marks; others there are kept."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    if "<!-- learning:start -->" not in old:
        old = old.rstrip() + MARKS
    before, inside, after = between(old, "learning")
    kept = {_heading(f"### {part}"): f"### {part}".rstrip() for part in inside.split("### ")[1:]}
    kept.update({_heading(section): section.rstrip() for section in sections})
    body = "\n\n".join(kept.values())
    path.write_text(f"{before}\n\n{body}\n\n{after}", encoding="utf-8")


def _heading(section: str) -> str:
    return section.split("\n", 1)[0]


def _named(policy: str, families: Mapping[str, str]) -> str:
    family = families.get(policy)
    if family == "ceiling":
        return f"*{policy}*"
    return f"**{policy}**" if family in {"banditd", "condition"} else policy


def _case_mean(results: Results, case: str, policy: str) -> float:
    values = [
        figure(result, "headroom", "all")
        for (name, played, _), result in results.items()
        if name == case and played == policy
    ]
    return float(np.mean(values)) if values else float("nan")


def _estimate(one: Estimate, *, signed: bool = False) -> str:
    mean = with_sign(one.mean) if signed else plain(one.mean)
    return mean if one.half is None else f"{mean} ± {plain(one.half)}"


def plain(value: float) -> str:
    """Three digits, as tables show them."""
    return _short(f"{value:.3f}")


def with_sign(value: float) -> str:
    """The same with a sign."""
    return _short(f"{value:+.3f}")


def _short(number: str) -> str:
    """Without the zero that a number below one begins with, and with a true minus sign."""
    sign, digits = (number[0], number[1:]) if number[0] in "+-" else ("", number)
    return sign.replace("-", "−") + (digits[1:] if digits.startswith("0.") else digits)


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
