"""What ``banditd serve`` says at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from banditd.cli.options import is_at_home, read_settings
from banditd.cli.serve import _announce
from banditd.daemon.names import database_shown, database_url
from banditd.settings.home import shipped_configuration

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


@pytest.mark.parametrize("what", ["file", "database", "variable", "policies", "option", "kept"])
def test_what_is_configured_or_was_begun_in_the_working_directory_goes_on(
    empty: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, overrides = None, {}
    if what == "file":
        (empty / "config.yaml").write_text("server: {port: 1}\n", encoding="utf-8")
    elif what == "variable":
        monkeypatch.setenv("banditd_database__url", "sqlite:///other.db")
    elif what == "policies":
        monkeypatch.setenv("BANDITD_POLICIES", '{"default": {}}')
    elif what == "option":
        given = empty / "mine.yaml"
        given.write_text("{}", encoding="utf-8")
    elif what == "database":
        overrides = {"database.url": "sqlite:///other.db"}
    else:
        (empty / "var").mkdir()
        (empty / "var" / "banditd.db").touch()
    assert not is_at_home(given, overrides)
    settings = read_settings(given, overrides)
    assert database_url(settings) in {"sqlite:///var/banditd.db", "sqlite:///other.db"}
    assert not any(section.arms for section in settings.policies.values())


def test_a_start_says_where_it_serves_what_it_uses_and_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    _announce("the database var/banditd.db", "http://127.0.0.1:9000")
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "serves on http://127.0.0.1:9000 with the database var/banditd.db; next" in line
    assert "--url http://127.0.0.1:9000" in line


def test_a_password_is_not_announced(empty: Path) -> None:
    settings = read_settings(None, {"database.url": "postgresql://me:swordfish@db:5433/log?password=tuna"})
    assert database_shown(settings) == "the database postgresql+psycopg://me:***@db:5433/log"
