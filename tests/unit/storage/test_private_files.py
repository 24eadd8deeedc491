"""Database files that banditd makes are their owner's alone; what is there already keeps its mode."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from banditd.storage import dialect, migrate
from banditd.storage.archive import backup, copy_database, restore


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    former = os.umask(0o022)
    yield
    os.umask(former)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def quiet(_what: str, _done: int, _total: int | None) -> None:
    """Nobody watches."""


def test_the_database_its_folder_its_log_and_its_copies_are_their_owners(tmp_path: Path) -> None:
    place = tmp_path / "share" / "banditd" / "a.db"
    url = f"sqlite:///{place}"
    migrate(url)
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    with dialect.writing(engine).begin():
        beside = sorted(path for path in place.parent.iterdir() if path != place)
        assert [path.name for path in beside] == ["a.db-shm", "a.db-wal"]
        assert {mode(path) for path in (place, *beside)} == {0o600}
    engine.dispose()
    assert mode(place.parent) == 0o700
    copies = [tmp_path / "backup.db", tmp_path / "restored" / "b.db", tmp_path / "copied" / "c.db"]
    backup(url, copies[0], progress=quiet)
    restore(copies[0], f"sqlite:///{copies[1]}", progress=quiet)
    copy_database(url, f"sqlite:///{copies[2]}", progress=quiet)
    assert [mode(path) for path in copies] == [0o600] * 3
    assert [mode(path.parent) for path in copies[1:]] == [0o700] * 2


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    place, copy, link = tmp_path / "a.db", tmp_path / "backup.db", tmp_path / "link.db"
    for path in (place, copy):
        path.touch()
        path.chmod(0o640)
    tmp_path.chmod(0o750)
    migrate(f"sqlite:///{place}")
    backup(f"sqlite:///{place}", copy, overwrite=True, progress=quiet)
    assert [mode(path) for path in (place, copy, tmp_path)] == [0o640, 0o640, 0o750]
    link.symlink_to(tmp_path / "linked.db")  # to a file that is yet to be made
    migrate(f"sqlite:///{link}")
    assert mode(tmp_path / "linked.db") == 0o600
