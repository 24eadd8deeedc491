"""Rows of the report: a figure, its target, and whether it is met; printed, as JSON, or as Markdown."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.documents import between, line

EMPTY = "# Benchmarks\n\n<!-- bench:start -->\n<!-- bench:end -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    target, aim : None for a figure that is only shown. most : the value must be at most the target (else at least).
    name : "subject: measure", where several subjects are measured alike: the document has a table of those.
    note : what holds a missed figure, or what it was compared with; of a met one not in the document.
    detail : printed and in the JSON; in the document only where its target is missed.
    """

    section: str
    name: str
    value: float
    unit: str
    target: float | None = None
    aim: float | None = None
    most: bool = True
    note: str = ""
    detail: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return bool(self.value <= self.target if self.most else self.value >= self.target)


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    return [{**asdict(row), "met": row.met} for row in rows]


def as_text(rows: list[Row]) -> str:
    lines: list[str] = []
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", section, f"  {'':<52}{'measured':>14}{'target':>14}{'aim':>10}  met"]
        lines.append(
            f"  {row.name:<52}{_value(row):>14}{_bound(row, row.target):>14}{_bound(row, row.aim):>10}  {_met(row)}"
        )
        if row.note:
            lines.append(f"      {row.note}")
    missed = [row.name for row in rows if row.met is False]
    lines += ["", f"{sum(row.met is True for row in rows)} targets met, {len(missed)} missed" + _list(missed)]
    return "\n".join(lines)


def write_markdown(rows: list[Row], path: Path, header: str) -> None:
    """Replace the sections measured between the two marks of the file; what else stands there is kept.

    Each section says under which header it was measured, since a part may be measured again alone. Aims, and details
    that met their targets, are left out.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else EMPTY
    before, inside, after = between(old, "bench")
    sections = {part.split("\n", 1)[0]: part.rstrip() for part in inside.split("### ")[1:]}
    for section in dict.fromkeys(row.section for row in rows):
        mine = [row for row in rows if row.section == section]
        shown = [row for row in mine if not (row.detail and row.met is not False)]
        sections[section] = "\n".join([section, "", header, "", *(_markdown(shown) or _nearest(mine))])
    body = "\n\n".join(f"### {part}" for part in sections.values())
    path.write_text(f"{before}\n\n{body}\n\n{after}", encoding="utf-8")


def _markdown(rows: list[Row]) -> list[str]:
    """A table of the measures that several subjects have, if there are two such; a list of all else."""
    columns: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        subject, _, measure = row.name.rpartition(": ")
        columns.setdefault((measure, row.unit), {})[subject] = row
    shared = {column: of for column, of in columns.items() if len(of) > 1 and "" not in of}
    if len(shared) < 2:
        shared = {}
    tabled = {row.name for of in shared.values() for row in of.values()}
    listed = [f"* {row.name}: {_value(row)}{_noted(row)}{_wanted(row)}" for row in rows if row.name not in tabled]
    if not shared:
        return listed
    heads = ["", *(f"{measure}, {unit}" if unit else measure for measure, unit in shared)]
    subjects = dict.fromkeys(subject for of in shared.values() for subject in of)
    lines = [line([subject, *(_cell(of.get(subject)) for of in shared.values())]) for subject in subjects]
    table = [line(heads), "|---" + "|---:" * len(shared) + "|", *lines]
    return [*table, "", *listed] if listed else table


def _nearest(rows: list[Row]) -> list[str]:
    """In place of details that all met their targets, the one that is nearest to missing its own."""
    bounds = [(row, row.target) for row in rows if row.target is not None]
    if not bounds:
        return []
    row, _ = max(bounds, key=lambda pair: pair[0].value / pair[1] if pair[0].most else pair[1] / pair[0].value)
    return [f"* none: {len(bounds)} are within their targets; nearest is {row.name}: {_value(row)}{_wanted(row)}"]


def _cell(row: Row | None) -> str:
    return "" if row is None else f"{number(row.value)}{_noted(row)}{_wanted(row)}"


def _noted(row: Row) -> str:
    return f" ({row.note})" if row.note and not row.met else ""


def number(value: float) -> str:
    if math.isnan(value):
        return "?"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _value(row: Row) -> str:
    return f"{number(row.value)} {row.unit}".strip()


def _bound(row: Row, bound: float | None) -> str:
    return "" if bound is None else f"{'<=' if row.most else '>='} {number(bound)}"


def _wanted(row: Row) -> str:
    """The target as the document shows it, with NO where it was missed; nothing without one."""
    if row.target is None:
        return ""
    return f"; {'≤' if row.most else '≥'}{number(row.target)}{'' if row.met else ': NO'}"


def _met(row: Row) -> str:
    return {True: "yes", False: "NO", None: ""}[row.met]


def _list(names: list[str]) -> str:
    return (": " + "; ".join(names)) if names else ""
