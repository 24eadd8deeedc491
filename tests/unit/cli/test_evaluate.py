"""What ``banditd evaluate`` reads and writes beside the daemon."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from banditd.cli import commands
from banditd.cli.evaluate import junit_text, read_cases


@pytest.mark.parametrize(
    ("phase", "tag"), [("passed", None), ("failed", "failure"), ("inconclusive", "skipped"), ("error", "error")]
)
def test_a_junit_file_says_what_was_found(phase: str, tag: str | None) -> None:
    found = {
        "candidate": "a<b", "against": "incumbent", "policy": "default", "phase": phase, "reason": 'less & "more"',
        "settles": None if tag is None else "time",
    }  # fmt: skip
    suite = ET.fromstring(junit_text(found).encode())[0]  # noqa: S314 - our own
    assert suite.attrib["tests"] == "1"
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    assert {name: suite.attrib[name] for name in kinds} == {
        name: str(int(kind == tag)) for name, kind in kinds.items()
    }
    [case] = suite
    assert case.attrib["name"] == "a<b against incumbent"
    if tag is None:
        assert len(case) == 0
    else:
        assert (case[0].tag, case[0].attrib["message"]) == (tag, 'less & "more"; time')


def test_cases_are_read_from_a_sheet_or_from_lines(tmp_path: Path) -> None:
    sheet = tmp_path / "scores.csv"
    sheet.write_text("prompt,small,large\nhello,0.5,1\nwhy?,,0.25\n", encoding="utf-8")
    wanted = [
        {"input": "hello", "scores": {"small": 0.5, "large": 1.0}}, {"input": "why?", "scores": {"large": 0.25}},
    ]  # fmt: skip
    assert read_cases(sheet) == wanted
    lines = tmp_path / "cases.jsonl"
    lines.write_text(
        '{"input": "hello", "scores": {"small": 0.5, "large": 1.0}}\n\n'
        '{"prompt": "why?", "scores": {"large": 0.25}}\n',
        encoding="utf-8",
    )
    assert read_cases(lines) == wanted
    lines.write_text('\ufeff{"input": "one\u2028two", "scores": {"small": 1}}\r\n', encoding="utf-8")
    assert read_cases(lines) == [{"input": "one\u2028two", "scores": {"small": 1}}]
    for line in ("{", "[]", '{"input": "x"}', '{"scores": {}}'):
        lines.write_text(f'{{"input": "a", "scores": {{}}}}\n{line}\n', encoding="utf-8")
        with pytest.raises(click.UsageError, match="line 2"):
            read_cases(lines)


def test_what_is_no_finding_has_an_exit_code_of_its_own() -> None:
    for arguments in (
        ["evaluate"],
        ["evaluate", "x", "--margin", "2"],
        ["evaluate", "x", "--url", "http://127.0.0.1:1"],
    ):
        assert CliRunner().invoke(commands, arguments).exit_code == 3, arguments
