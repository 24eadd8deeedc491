"""The documents say what is true: README's examples run, links lead somewhere, versions agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from banditd import __version__
from banditd.cli.process import own_daemon

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "docs" / "llms.txt"])
_EXAMPLE = re.compile(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
_TARGET = re.compile(r"`make ([a-z]+)")
EXAMPLES = [
    pytest.param(kind, code, id=f"{path.name}-{kind}-{number}")
    for path in DOCUMENTS
    for number, (kind, code) in enumerate(_EXAMPLE.findall(path.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("readme")
    with own_daemon(database=f"sqlite:///{folder}/readme.db", config=ROOT / "config.yaml") as address:
        yield address


def test_the_readme_shows_both_walks() -> None:
    kinds = {kind for kind, _ in _EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert kinds == {"curl", "python", "bash"}


@pytest.mark.parametrize(("kind", "code"), EXAMPLES)
def test_examples_run_as_they_are_written(kind: str, code: str, url: str, tmp_path: Path) -> None:
    if kind == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    code = code.replace("http://127.0.0.1:8484", url)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euo", "pipefail", "-c", code]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "BANDITD_URL": url, "PATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if kind == "curl":
        assert '"decision_id"' in done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    broken = [link for link in _LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_named_make_targets_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(_TARGET.findall(path.read_text(encoding="utf-8"))) <= known


def test_every_curl_that_is_shown_names_the_type_of_its_body() -> None:
    """curl declares a form unless it is asked otherwise, and a form is refused."""
    calls = re.compile(r"\bcurl (?:[^`\n]|\n(?=[^`\n])|(?<=\\)\n)*")
    shown = [(path.name, call) for path in DOCUMENTS for call in calls.findall(path.read_text(encoding="utf-8"))]
    with_body = [(name, call) for name, call in shown if re.search(r" (-d|--data)\b|--json", call)]
    assert with_body
    assert [one for one in with_body if "application/json" not in one[1] and "--json" not in one[1]] == []


def test_the_newest_changelog_entry_is_this_version() -> None:
    versions = re.findall(r"^## \[(\d[^]]*)]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == __version__


def test_every_decision_record_has_its_parts() -> None:
    wanted = ["Status", "Context", "Options", "Decision", "Consequences", "How we would notice that it was wrong"]
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{n:04d}" for n in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == wanted, record.name
        assert 20 <= text.count("\n") <= 60, record.name


def test_every_command_is_in_the_changelog_or_the_readme() -> None:
    from banditd.cli import commands

    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md"))
    assert [name for name in commands.commands if name not in text] == []


def test_every_package_of_the_project_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(p for extra in project["optional-dependencies"].values() for p in extra)]
    names = {_normal(re.split(r"[\[<>=;! ]", requirement)[0]) for requirement in wanted}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {_normal(line.split("==")[0]) for line in lines if "==" in line}
    assert names - pins == set()
    assert "torch==2.13.0" in lines


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
