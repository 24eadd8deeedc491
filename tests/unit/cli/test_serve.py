"""What ``banditd serve`` says at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from banditd.cli.options import is_shipped, read_settings
from banditd.cli.serve import _announce
from banditd.daemon.names import database_shown, database_url
from banditd.settings import load_settings
from banditd.settings.home import kept_database_url, shipped_configuration

ANNOUNCE = "from banditd.cli.serve import _announce; _announce('a', 'http://127.0.0.1:1')"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_start_that_cannot_be_announced_is_a_start_all_the_same() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", ANNOUNCE], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without anything, and a data directory that may be written to."""
    for name in ("BANDITD_CONFIG", "BANDITD_DATABASE__URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return working


@pytest.mark.skipif(sys.platform != "linux", reason="the data directory is another one there")
def test_without_any_configuration_the_shipped_one_holds_over_the_users_own_database(empty: Path) -> None:
    settings = read_settings(None)
    assert database_url(settings) == f"sqlite:///{empty.parent}/data/banditd/banditd.db"
    shipped = read_settings(shipped_configuration())
    assert settings.policies == shipped.policies
    assert database_url(shipped) == "sqlite:///var/banditd.db"


@pytest.mark.parametrize(
    ("variable", "value", "option", "kept", "database"),
    [
        ("banditd_database__url", "sqlite:///other.db", None, False, "sqlite:///other.db"),
        ("BANDITD_DATABASE", '{"url": "sqlite:///other.db"}', None, False, "sqlite:///other.db"),
        ("BANDITD_DATABASE__URL", "sqlite:///other.db", "sqlite:///mine.db", True, "sqlite:///mine.db"),
        ("BANDITD_DATABASE__READERS", "3", None, False, None),
        ("BANDITD_POLICIES__DEFAULT__ROLLOUT", "1.0", None, False, None),
        ("BANDITD_SERVER__PORT", "8484", None, True, "sqlite:///var/banditd.db"),
        ("BANDITD_SERVER__PORT", "8484", "sqlite:///mine.db", False, "sqlite:///mine.db"),
    ],
)
def test_no_variable_option_or_database_changes_which_configuration_is_read(
    empty: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, option: str | None, kept: bool,
    database: str | None,
) -> None:  # fmt: skip
    """database : the one that holds; None for the user's own."""
    monkeypatch.setenv(variable, value)
    if kept:
        (empty / "var").mkdir()
        (empty / "var" / "banditd.db").touch()
    settings = read_settings(None, {"database.url": option})
    assert is_shipped(None)
    assert settings.policies == load_settings(shipped_configuration()).policies
    assert settings.policies["default"].arms
    assert database_url(settings) == (database or kept_database_url())


@pytest.mark.parametrize("found", [True, False])
def test_a_file_that_is_given_or_found_is_the_configuration(empty: Path, found: bool) -> None:
    file = empty / ("config.yaml" if found else "mine.yaml")
    file.write_text("server: {port: 1}\n", encoding="utf-8")
    given = None if found else file
    settings = read_settings(given)
    assert not is_shipped(given)
    assert (settings.server.port, settings.policies["default"].arms) == (1, ())
    assert database_url(settings) == "sqlite:///var/banditd.db"


def test_a_start_says_where_it_serves_what_it_uses_and_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    _announce("the database var/banditd.db", "http://127.0.0.1:9000")
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "serves on http://127.0.0.1:9000 with the database var/banditd.db; next" in line
    assert "--url http://127.0.0.1:9000" in line


def test_a_password_is_not_announced(empty: Path) -> None:
    settings = read_settings(None, {"database.url": "postgresql://me:swordfish@db:5433/log?password=tuna"})
    assert database_shown(settings) == "the database postgresql+psycopg://me:***@db:5433/log"
