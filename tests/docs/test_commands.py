"""Every ``banditd`` command that a document shows is one that the command line takes, with its options and values.

Those in blocks marked ``run`` are executed besides (``test_readme.py``). Of the others the real parser says whether
they are understood: nothing is called, and files need not be there.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest

from banditd.cli import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "docs" / "llms.txt",
    ROOT / "examples" / "README.md",
]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^ {4}\S.*(?:\n {4}.*)*", re.MULTILINE)
_SPAN = re.compile(r"`((?:[A-Z_]+=\S+ )*banditd [a-z][^`]*)`")
_COMMAND = re.compile(r"(?:^|[|(;&]|--) *(?:[A-Z_]+=\S+ )*banditd (?=[a-z-])", re.MULTILINE)
_END = re.compile(r" +#|[|)>;&\n]")
_LEFT_OUT = re.compile(r"\.\.\.|…")


def shown() -> list[object]:
    """Of blocks, whole; of a line of text also parts: ``banditd import csv`` names a command."""
    found: dict[tuple[str, str], bool] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [block for language, block in _BLOCK.findall(text) if language in {"", "bash", "sh"}]
        for block in [*blocks, *map(textwrap.dedent, _INDENTED.findall(_BLOCK.sub("", text)))]:
            joined = block.replace("\\\n", " ")
            for start in _COMMAND.finditer(joined):
                found[page.name, _END.split(_without_quoted(joined[start.end() :]), maxsplit=1)[0]] = True
        for span in _SPAN.findall(_BLOCK.sub("", text)):
            line = " ".join(span.partition("banditd ")[2].split())
            found.setdefault((page.name, _END.split(line, maxsplit=1)[0]), False)
    return [pytest.param(line, whole, id=f"{page}: {line}") for (page, line), whole in found.items()]


def _without_quoted(text: str) -> str:
    """What is quoted may hold what ends a command."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", lambda one: re.sub(r"[#|)>;&\n]", "_", one[0]), text)


@pytest.mark.parametrize(("line", "whole"), shown())
def test_a_command_that_is_shown_is_understood(line: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Command, "invoke", lambda _command, _context: None)
    for kind in (click.Path, click.File):
        monkeypatch.setattr(kind, "convert", lambda _kind, value, _parameter, _context: Path(value))
    words = shlex.split(line)
    if _LEFT_OUT.search(line):
        words, whole = [word for word in words if not _LEFT_OUT.search(word)], False
    # Where a word stands for a number, it is one.
    numbers = ["1" if word.isupper() else word for word in words]
    for one, is_last in ((words, words == numbers), (numbers, True)):
        try:
            commands.main(one, prog_name="banditd", standalone_mode=False)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            assert not whole, "something that it needs is missing"
        except click.BadParameter:
            if is_last:
                raise
            continue
        return


def test_every_kind_of_command_is_found() -> None:
    lines = [parameter.values[0] for parameter in shown()]  # type: ignore[attr-defined]
    assert len(lines) > 100
    assert {"migrate --partition", "apply config.yaml --yes --delete", "mcp --url http://127.0.0.1:8484"} <= set(
        lines
    )
