from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.load import Load
from bench.table import Row, as_json, as_text, write_markdown


def _row(value: float, **more) -> Row:
    return Row(section="s", name=f"n{value}", value=value, unit="ms", **more)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (_row(1.0), None),
        (_row(1.0, target=1.0), True),
        (_row(1.01, target=1.0), False),
        (_row(12.0, target=12.0, most=False), True),
        (_row(11.9, target=12.0, most=False), False),
        (_row(float("nan"), target=1.0), False),
    ],
)
def test_a_target_is_met_or_missed_or_absent(row: Row, met: bool | None) -> None:
    assert row.met is met
    assert as_json([row])[0]["met"] is met


def test_the_text_names_what_was_missed() -> None:
    shown = as_text([_row(1.0, target=2.0), _row(9.0, target=2.0, note="because of the disk")])
    assert "1 targets met, 1 missed: n9.0" in shown
    assert "because of the disk" in shown


def test_writing_replaces_the_tables_and_keeps_the_words_around_them(tmp_path: Path) -> None:
    file = tmp_path / "b.md"
    write_markdown([_row(1.0)], file, "first")
    file.write_text("Words before.\n" + file.read_text(encoding="utf-8") + "Words after.\n", encoding="utf-8")
    write_markdown([_row(2.0, target=1.0, note="the disk"), _row(3.0, target=4.0, note="unread")], file, "second")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("Words before.")
    assert text.endswith("Words after.\n")
    assert "first" not in text
    assert "* n2.0: 2 ms (the disk); ≤1: NO\n" in text
    assert "* n3.0: 3 ms; ≤4\n" in text
    assert "unread" not in text


def test_where_every_detail_is_within_its_target_the_nearest_is_named(tmp_path: Path) -> None:
    file = tmp_path / "b.md"
    rows = [_row(value, target=300.0, detail=True) for value in (20.0, 120.0, 60.0)]
    write_markdown(rows, file, "header")
    none = "* none: 3 are within their targets; nearest is n120.0: 120 ms; ≤300"
    assert none in file.read_text(encoding="utf-8").splitlines()
    write_markdown([*rows, _row(400.0, target=300.0, detail=True)], file, "header")
    assert "\n* n400.0: 400 ms; ≤300: NO\n" in file.read_text(encoding="utf-8")


def test_what_several_subjects_have_in_common_is_a_table(tmp_path: Path) -> None:
    def row(name: str, value: float, **more) -> Row:
        return dataclasses.replace(_row(value, **more), name=name)

    file = tmp_path / "b.md"
    rows = [
        row("ours: throughput", 10.0, target=20.0, most=False, note="busy"),
        row("ours: median", 2.0),
        row("theirs: throughput", 5.0),
        row("theirs: median", 3.0),
        row("theirs: alone", 4.0),
    ]
    write_markdown(rows, file, "header")
    table = ["|  | throughput, ms | median, ms |", "|---|---:|---:|"]
    table += ["| ours | 10 (busy); ≥20: NO | 2 |", "| theirs | 5 | 3 |", "", "* theirs: alone: 4 ms", ""]
    assert "\n".join(table) in file.read_text(encoding="utf-8")


def test_load_counts_per_second() -> None:
    assert Load(requests=50, seconds=2.0, p50_ms=1, p99_ms=2, bad=0, lost=0).per_s == 25.0


def test_measuring_one_section_again_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "b.md"
    other = dataclasses.replace(_row(7.0), section="another")
    write_markdown([_row(1.0), other], file, "first run")
    write_markdown([_row(2.0)], file, "second run")
    text = file.read_text(encoding="utf-8")
    assert "n7.0" in text
    assert "n1.0" not in text
    assert text.count("first run") == text.count("second run") == 1
