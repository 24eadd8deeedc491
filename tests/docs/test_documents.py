"""The documents agree with the code: settings, metrics, errors, quoted figures, pictures."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from banditd import client
from banditd.cli.constraints import check_examples
from banditd.cli.reference import reference, sections
from banditd.client.errors import refusal
from banditd.obs.metrics import Metrics
from banditd.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
CONFIGS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"<!-- config -->\n```yaml\n(.*?)```", page.read_text(), re.DOTALL))
]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# ------------------------------------------------------------------ configuration


def test_the_configuration_reference_is_what_the_settings_say() -> None:
    assert read("configuration.md") == reference(), "settings have changed: run 'make docs'"


def test_the_reference_names_every_setting_once_in_its_section() -> None:
    text = reference()
    parts = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    known = list(sections(Settings))
    assert list(parts) == [title for title, _ in known]
    told: dict[type, str] = {}
    for title, model in known:
        if told.setdefault(model, title) != title:
            assert parts[title].startswith(f"\nAs [{told[model]}](#")
            continue
        for name in (field.alias or name for name, field in model.model_fields.items()):
            below = any(other.startswith(f"{title}.{name}") for other in parts)
            assert parts[title].count(f"* `{name}` (") == 1 or below, f"{title}.{name}"
    assert {"server.api_keys[]", "policies.NAME.reward.sources.NAME", "policies.NAME.arms[].price"} <= set(parts)


def test_every_variable_of_the_reference_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page says: ``server.port`` is ``BANDITD_SERVER__PORT``, where neither NAME nor [] is in between."""
    rows = [
        (value, f"BANDITD_{title}__{name}".replace(".", "__").upper())
        for title, table in re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", reference(), re.MULTILINE | re.DOTALL)
        for name, value in re.findall(r"^\* `(\w+)` \(`(.+?)`", table, re.MULTILINE)
        if not re.search(r"NAME|\[\]", title)
    ]
    assert len(rows) > 50
    assert ("8484", "BANDITD_SERVER__PORT") in rows
    default = Settings()
    for value, variable in rows:
        if value != "null":
            monkeypatch.setenv(variable, value.strip('"'))
    assert load_settings(None) == default
    monkeypatch.setenv("BANDITD_SERVER__PORT", "1")
    assert load_settings(None) != default


@pytest.mark.parametrize("block", CONFIGS)
def test_configurations_that_are_shown_can_be_used(block: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(block, encoding="utf-8")
    settings = load_settings(path)
    assert settings.policies["default"].arms
    check_examples("default", settings.policies["default"].constraints, settings.encoder.model)
    assert yaml.safe_load(block)


def test_parts_of_a_configuration_that_are_shown_are_valid(tmp_path: Path) -> None:
    path, tried = tmp_path / "shown.yaml", 0
    for page in PAGES:
        for block in re.findall(r"(?<!-->\n)```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            part = yaml.safe_load(block)
            if set(part) == {"arms"}:
                part = {"policies": {"default": part}}
            # The others are of other programs, prices alone, and what a judge that was shown before has besides.
            if set(part) <= set(Settings.model_fields) - {"judges"}:
                path.write_text(yaml.safe_dump(part), encoding="utf-8")
                load_settings(path)
                tried += 1
    assert tried >= 5


# ------------------------------------------------------------------ metrics, client


def exposed() -> set[str]:
    """Names of all metrics of ours, counters with their _total."""
    lines = re.findall(r"^# TYPE (banditd_\w+) (\w+)", Metrics().render().decode(), re.MULTILINE)
    return {name for name, _ in lines if not name.endswith("_created")}


# A package, and fields of requests of the gateway's clients and of a proxy's hook.
NO_METRICS = {
    "banditd_client", "banditd_reference", "banditd_decision_id", "banditd_hook", "banditd_arm", "banditd_task_id",
    "banditd_step", "banditd_parent_decision_id",
}  # fmt: skip


def test_every_metric_is_in_the_operations_document_and_nothing_else() -> None:
    table = read("operations.md").partition("### Metrics")[2].partition("## Alarms")[0]
    assert set(re.findall(r"`(banditd_\w+)`", table)) == exposed()
    for page in PAGES:
        named = set(re.findall(r"\b(banditd_[a-z]\w+)", page.read_text(encoding="utf-8")))
        ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
        assert ours <= exposed() | NO_METRICS, page.name


def test_the_client_document_says_which_status_is_which_error() -> None:
    rows = re.findall(r"^\| (`\w+Error`.*?) \| (.*?) \|$", read("client.md"), re.MULTILINE)
    named = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    public = {name for name in client.__all__ if name.endswith("Error")} - {"BanditdError", "RefusedError"}
    assert named == public
    for names, statuses in rows:
        for status in re.findall(r"\b\d{3}\b", statuses):
            assert type(refusal(int(status), {})).__name__ == re.findall(r"`(\w+)`", names)[0]


# ------------------------------------------------------------------ quoted figures, pictures


def test_figures_of_the_comparison_are_those_of_the_bench() -> None:
    """A row of docs/comparison.md is found in docs/benchmarks.md with the same numbers."""
    section = read("benchmarks.md").partition("### Learning: mean over")[2].partition("\n### ")[0]
    bench = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 3:
            bench[_policy(cells[0])] = [re.sub(r"± .*", "", cell).strip() for cell in cells[1:4]]
    table = read("comparison.md").partition("| policy, as its authors ship it |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) >= 8
    for line in rows:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        figures = [re.sub(r"± .*", "", cell).strip() for cell in cells[1:4]]
        assert bench[_policy(cells[0])] == figures, f"docs/comparison.md quotes other figures than the bench: {line}"


def _policy(cell: str) -> str:
    name = re.sub(r"\(3 seeds\)|[*]", "", cell).strip()
    return {"banditd, default": "thompson"}.get(name, name)


@pytest.mark.parametrize("path", sorted(DOCS.glob("img/*.svg")), ids=lambda path: path.name)
def test_pictures_are_small_whole_and_readable_without_seeing(path: Path) -> None:
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own file
    space = "{http://www.w3.org/2000/svg}"
    assert path.stat().st_size < 8192
    assert root.find(f"{space}title") is not None
    assert root.find(f"{space}desc") is not None
    assert "href" not in path.read_text(encoding="utf-8")
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    for text in root.iter(f"{space}text"):
        small = text.attrib.get("class") == "n"
        half = (2.8 if small else 3.7) * len(text.text or "")  # half of what its letters take at this size
        assert half <= float(text.attrib["x"]) <= width - half, text.text
        assert 0 <= float(text.attrib["y"]) <= height


# ------------------------------------------------------------------ architecture


def _defined(tree: ast.Module) -> set[str]:
    """Functions, classes and methods (``Class.method``) of a module."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            members = [m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {node.name, *(f"{node.name}.{member.name}" for member in members)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


def test_every_place_that_the_architecture_names_is_there() -> None:
    text = read("architecture.md")
    package = ROOT / "src" / "banditd"
    places = re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", text)
    assert len(places) > 40
    for path, name in places:
        assert (package / path).is_file(), path
        if name:
            assert name in _defined(ast.parse((package / path).read_text(encoding="utf-8"))), f"{path}: {name}"
    for folder in re.findall(r"`((?:\w+/)+)`", text):
        assert (package / folder).is_dir(), folder
    # The numbered table of the walk of a query is what the text promises.
    assert re.findall(r"^\| (\d+) \| `\w+/[\w/]+\.py: ", text, re.MULTILINE) == [str(n) for n in range(1, 13)]
    assert "a reader needs twelve files" in text


# ------------------------------------------------------------------ words


def _identifiers() -> set[str]:
    """Every name in the code, whole."""
    found = set()
    for path in sorted((ROOT / "src" / "banditd").rglob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type == tokenize.NAME:
                found.add(token.string)
    return found


def _words_of(identifier: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower().split("_")


def test_every_word_of_the_glossary_is_a_name_in_the_code() -> None:
    table = read("concepts.md").split("## Words", 1)[1].split("\n## ", 1)[0]
    terms = re.findall(r"^\* \*([\w ]+)\*: ", table, re.MULTILINE)
    assert len(terms) > 30
    assert len(terms) == len(set(terms))
    used = {word for name in _identifiers() if not name.startswith("_") for word in _words_of(name)}
    unknown = [term for term in terms if not all({word, word + "s"} & used for word in term.split())]
    assert not unknown


# Words that have had their day, or stand for something else now: none of them is part of a name in the code.
RETIRED = {
    "said", "told", "asked", "lately", "excuse", "ledger", "regime", "regimes", "stretch", "stretches",
}  # fmt: skip
RETIRED_NAMES = {"_again", "ArmGuards"}


def test_retired_words_are_in_no_name() -> None:
    names = _identifiers() | {path.stem for path in (ROOT / "src" / "banditd").rglob("*.py")}
    assert not names & RETIRED_NAMES
    old = {name for name in names if set(_words_of(name)) & RETIRED}
    assert not old


def test_drift_is_of_queries_alone() -> None:
    """What an inverse has lost is its error."""
    for path in (ROOT / "src" / "banditd" / "bandit").rglob("*.py"):
        defined = {name.split(".")[-1] for name in _defined(ast.parse(path.read_text(encoding="utf-8")))}
        assert not {name for name in defined if "drift" in _words_of(name)} - {"QueryDrift"}, path
