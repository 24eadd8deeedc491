"""Every figure of a bench and the sheets that show it: on the terminal, as JSON, in the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.learning.cases import Case
from bench.learning.play import Dearest, dearest_arm, fixed_arms
from bench.learning.plots import plot_curves
from bench.learning.policies import REFERENCE, PolicySpec
from bench.learning.prepared import plan_of
from bench.learning.standing import left_out_sheet, standing_sheet
from bench.learning.summary import Results, Summary, best_fixed, summarise
from bench.learning.tables import Sheet, as_markdown, as_rich, case_sheet, fixed_sheet, summary_sheet, write_sections

# Titles of what the terminal and the JSON alone have end so.
_OF_CASES: Final = ("case by case", "one by one", "fixed arms", "other pools")
SHOWN: Final = 6  # policies in the table by case and in the curves
_READ: Final = (
    "Headroom: 0 is uniform play, 1 the best arm per task category, known in advance; means over cases, ± 95 % over "
    "seeds (shuffles, the same for all, and the policy's draws). All begin cold, and every row is scored."
)
# What does not hold for every row of the table; told where such a row is in it.
_PRIORS: Final = "With priors: the first 10 % are played at random, or told of every arm, and not scored."
_SOURCE: Final = (
    "One task after another: rows in the order of the source, so that the interval is over the policy's draws alone."
)
_CEILINGS: Final = "Ceilings know what no router can, or are scored without their exploration."
# In names of policies that the document leaves out.
_LEFT_OUT: Final = ("one task after another", "randomised first", "at its highest mean", "scales known in advance")
_UNPRICED: Final = "Arms without a known price count as free: {}."


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """content : for JSON. sheets : for people. curves : (file name, cases, policies) of each figure."""

    content: dict[str, object]
    sheets: tuple[Sheet, ...]
    header: str
    results: Results
    curves: tuple[tuple[str, tuple[Case, ...], tuple[str, ...]], ...]

    def show(self, console: Console) -> None:
        for sheet in self.sheets:
            console.print(as_rich(sheet))

    def write(self, document: Path) -> None:
        """Tables of means between the marks of the document, figures into ``img/`` beside it."""
        sections = [as_markdown(_shorter(sheet)) for sheet in self.sheets if not sheet.title.endswith(_OF_CASES)]
        for number, (name, cases, policies) in enumerate(self.curves):
            plot_curves(document.parent / "img" / name, self.results, cases, policies)
            title = "Learning curves" if number == 0 else "Learning curves, other pools"
            sections.append(f"### {title}\n\n![{title}](img/{name})")
        write_sections(document, sections)


def _shorter(sheet: Sheet) -> Sheet:
    """Without the rows that the terminal and the JSON alone have."""
    rows = tuple(row for row in sheet.rows if not any(name in row[0] for name in _LEFT_OUT))
    return replace(sheet, note=sheet.note.replace(f" {_SOURCE}", ""), rows=rows)


def make_report(results: Results, cases: Sequence[Case], policies: Sequence[PolicySpec], header: str) -> Report:
    """Sheets of the cases that were played, the 16 and the others apart."""
    sheets: list[Sheet] = []
    curves = []
    content: dict[str, object] = {"header": header, "reference": REFERENCE}
    families = {spec.name: spec.group for spec in policies}
    for counted, title, by_case, file in (
        (True, "Learning: mean over {} cases", "Learning: case by case", "learning-curves.png"),
        (
            False,
            "Learning: mean over {} other pools",
            "Learning: other pools, one by one",
            "learning-curves-other.png",
        ),
    ):
        group = [case for case in cases if case.counted == counted]
        names = [case.name for case in group]
        rows = _summaries(results, names, policies)
        if not rows:
            continue
        arms, dearest = _constants(group)
        fixed = best_fixed(results, _whole(rows, policies), names)
        note = " ".join([header, _READ, *_exceptions(rows, policies), *_unpriced(group)])
        sheets.append(
            summary_sheet(
                title.format(len(names)),
                note,
                rows,
                fixed=fixed,
                dearest=list(dearest.values()),
                reference=REFERENCE,
                families=families,
            )
        )
        leaders = _leaders(rows, families)
        sheets.append(case_sheet(by_case, f"{header} Headroom score, whole run.", results, names, leaders, dearest))
        sheets.extend(_standing(by_case, header, results, group, dearest))
        curves.append((file, tuple(group), tuple(leaders)))
        sheets.append(fixed_sheet(f"{by_case}, fixed arms", f"{header} Known in hindsight.", arms))
        key = "counted" if counted else "other"
        content[key] = {"cases": names, "best_fixed": fixed, "policies": rows, "fixed_arms": arms, "dearest": dearest}
    content["passes"] = [
        {"case": case, "policy": policy, "seed": seed, **result} for (case, policy, seed), result in results.items()
    ]
    return Report(content=content, sheets=tuple(sheets), header=header, results=results, curves=tuple(curves))


def _constants(group: Sequence[Case]) -> tuple[dict[str, dict[str, float | None]], dict[str, Dearest]]:
    """By case: the headroom of every constant policy, and the dearest arm's."""
    arms, dearest = {}, {}
    for case in group:
        plan = plan_of(case)
        arms[case.name], dearest[case.name] = fixed_arms(plan), dearest_arm(plan)
    return arms, dearest


def _standing(
    title: str, header: str, results: Results, group: Sequence[Case], dearest: dict[str, Dearest]
) -> list[Sheet]:
    """Against what is simplest, and with each set left out; nothing where the reference was not played."""
    sets = {case.name: case.dataset for case in group if any(key[:2] == (case.name, REFERENCE) for key in results)}
    if not sets:
        return []
    beside = standing_sheet(
        f"{title}, beside what is simplest", header, results, list(sets), reference=REFERENCE, dearest=dearest
    )
    without = left_out_sheet(f"{title}, with a set left out", header, results, sets, reference=REFERENCE)
    return [beside] if without is None else [beside, without]


def _summaries(results: Results, names: Sequence[str], policies: Sequence[PolicySpec]) -> list[Summary]:
    if not names:
        return []
    return summarise(
        results,
        [spec.name for spec in policies],
        names,
        reference=REFERENCE,
        unpaired=[spec.name for spec in policies if spec.first_tenth or spec.in_source_order],
    )


def _exceptions(rows: Sequence[Summary], policies: Sequence[PolicySpec]) -> list[str]:
    """What is otherwise in some rows of the table."""
    shown = [spec for spec in policies if spec.name in {row.policy for row in rows}]
    return [
        text
        for text, holds in (
            (_PRIORS, any(spec.first_tenth for spec in shown)),
            (_SOURCE, any(spec.in_source_order for spec in shown)),
            (_CEILINGS, any(spec.group == "ceiling" for spec in shown)),
        )
        if holds
    ]


def _unpriced(cases: Sequence[Case]) -> list[str]:
    """Where money counts and arms have no price: it makes them look better than they are."""
    found = {
        f"{len(missing)} of {len(data.arms)} in {case.name}": None
        for case in cases
        if case.cost_weight > 0.0
        for data in [plan_of(case).data]
        if (missing := [note for note in data.notes if note.endswith("its cost counts as zero")])
    }
    return [_UNPRICED.format(", ".join(found))] if found else []


def _whole(rows: Sequence[Summary], policies: Sequence[PolicySpec]) -> str:
    """A policy that is scored on all rows."""
    partial = {spec.name for spec in policies if spec.first_tenth or spec.in_source_order}
    return next((row.policy for row in rows if row.policy not in partial), rows[0].policy)


def _leaders(rows: Sequence[Summary], families: dict[str, str]) -> list[str]:
    """The reference first, then the best peers."""
    ordered = sorted(rows, key=lambda row: -row.headroom["all"].mean)
    found = [row.policy for row in ordered if families[row.policy] == "peer"]
    mine = [row.policy for row in ordered if families[row.policy] == "banditd"]
    first = [REFERENCE] if REFERENCE in mine else mine[:1]
    return [*first, *found][:SHOWN]
