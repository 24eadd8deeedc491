"""PostgreSQL crashes while a transaction runs: its number is given once more, and must not speak for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from bench.chaos.daemons import Postgres, own_postgres
from sqlalchemy import Connection, Engine

from banditd.storage import dialect


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with own_postgres() as running:
        yield running


@pytest.fixture
def engine(server: Postgres) -> Iterator[Engine]:
    url = dialect.normalise_url(server.database("power_cut"))
    made = dialect.make_engine(url, pool_size=2, busy_timeout_s=5.0)
    with made.connect() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE kept (name text)")
    yield made
    made.dispose()
    server.drop("power_cut")


def write(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"INSERT INTO kept VALUES ('{name}')")


def test_a_number_that_is_given_once_more_does_not_speak_for_the_lost_transaction(
    server: Postgres, engine: Engine
) -> None:
    for _ in range(20):  # until the crash comes before anything of the transaction has reached the disk
        lost = engine.connect()
        lost.begin()
        name = dialect.transaction_name(lost)
        assert name is not None
        write(lost, "lost")
        server.restart_at_once()
        engine.dispose()
        assert dialect.outcome(engine, name, time.monotonic() + 60) is False
        with engine.connect() as connection, connection.begin():
            other = dialect.transaction_name(connection)
            write(connection, "other")
        assert dialect.outcome(engine, name, time.monotonic() + 60) is not True
        assert other is not None
        if other.number == name.number:
            break
    else:
        raise AssertionError("no number was given twice")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM kept WHERE name = 'lost'").scalar() == 0


def test_without_a_crash_the_server_tells(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        done = dialect.transaction_name(connection)
        write(connection, "done")
    with engine.connect() as connection:
        transaction = connection.begin()
        undone = dialect.transaction_name(connection)
        transaction.rollback()
    assert done is not None
    assert undone is not None
    assert dialect.outcome(engine, done, time.monotonic() + 60) is True
    assert dialect.outcome(engine, undone, time.monotonic() + 60) is False
