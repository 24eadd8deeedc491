"""Every wait for the database ends, and what an answer says of an outcome is true."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bench.proxy import Proxy
from sqlalchemy import Connection, text

from banditd.core.errors import OutcomeUnknownError, StorageUnavailableError
from banditd.storage import Deadlines, dialect, transactions
from banditd.storage.engine import Database

QUICK = Deadlines(transaction_s=1.5, lock_s=1.0, silence_s=0.5, report_s=2.0)


@pytest.fixture
async def database(proxy: Proxy) -> AsyncIterator[Database]:
    async with Database(proxy.url, deadlines=QUICK) as opened:
        await opened.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
        yield opened
    assert opened.engine.pool.checkedout() == 0


def add(n: int) -> Any:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})
        return n

    return work


def numbers(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT n FROM t ORDER BY n")).scalars())


# ---------------------------------------------------------------- a network that swallows


async def test_connections_that_fell_silent_are_given_up_and_replaced(database: Database, proxy: Proxy) -> None:
    assert await database.read(numbers) == []
    proxy.black_hole()
    first = await asyncio.gather(
        database.write(add(1)), database.read(numbers), database.read(numbers), return_exceptions=True
    )
    assert all(isinstance(answer, StorageUnavailableError) or answer in (1, [], [1]) for answer in first)
    assert isinstance(database.write_failure, StorageUnavailableError)
    # One loss tells of all: everything goes by way of new connections now.
    assert await database.write(add(2)) == 2
    assert database.write_failure is None
    assert 2 in await database.read(numbers)


async def test_a_report_does_not_wait_for_a_silent_connection_as_long_as_it_may_take(proxy: Proxy) -> None:
    patient = Deadlines(transaction_s=3600.0, lock_s=1.0, silence_s=60.0, report_s=3600.0)
    async with Database(proxy.url, deadlines=patient) as database:
        one = text("SELECT 1")
        for report in (True, False):
            assert await database.read(lambda c: c.execute(one).scalar(), report=report) == 1
            proxy.black_hole()  # what is in the pool; new connections work
            assert await database.read(lambda c: c.execute(one).scalar(), report=report) == 1


async def test_work_that_has_begun_may_take_longer_than_its_beginning(database_url: str) -> None:
    brief = Deadlines(transaction_s=60.0, lock_s=0.2, silence_s=10.0, report_s=60.0)

    def slow(connection: Connection) -> int:
        time.sleep(0.6)  # three times as long as a connection may take to begin
        return int(connection.execute(text("SELECT 1")).scalar_one())

    async with Database(database_url, deadlines=brief) as database:
        assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
        assert await database.read(slow, report=True) == 1
        assert await database.read(slow) == 1


async def test_a_network_without_way_out_refuses_everything_in_time(database: Database, proxy: Proxy) -> None:
    proxy.black_hole(new=True)
    answers = await asyncio.gather(
        *(database.write(add(n)) for n in range(600)), *(database.read(numbers) for _ in range(20)),
        return_exceptions=True,
    )  # fmt: skip
    assert {type(answer) for answer in answers} <= {StorageUnavailableError, OutcomeUnknownError}
    proxy.heal()
    assert await database.write(add(1000)) == 1000


async def test_nobody_waits_behind_reports_that_fell_silent(proxy: Proxy) -> None:
    patient = Deadlines(transaction_s=60.0, lock_s=1.0, silence_s=0.5, report_s=3600.0)
    begun, silent = threading.Barrier(3, timeout=60.0), threading.Event()

    def report(connection: Connection) -> int:
        if not silent.is_set():
            begun.wait()
            silent.wait(timeout=60.0)
        return int(connection.execute(text("SELECT 1")).scalar_one())

    async with Database(proxy.url, deadlines=patient) as opened:
        reports = [asyncio.ensure_future(opened.read(report, report=True)) for _ in range(2)]
        await asyncio.to_thread(begun.wait)
        proxy.black_hole()  # nothing comes back to whoever is connected
        silent.set()
        assert await opened.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
        assert not any(one.done() for one in reports)
        proxy.black_hole(new=True)
        opened.hurry()  # and the end does not wait an hour for them either
        ends = await asyncio.gather(*reports, return_exceptions=True)
    assert {type(end) for end in ends} == {StorageUnavailableError}


async def test_the_end_asks_a_database_that_was_away_once_more(database: Database, proxy: Proxy) -> None:
    proxy.drop(refuse=True)
    with pytest.raises(StorageUnavailableError):
        await database.read(numbers)
    proxy.heal()
    database.hurry()
    assert await database.write(add(3)) == 3


async def test_closing_does_not_wait_for_a_silent_network(proxy: Proxy) -> None:
    async with Database(proxy.url, deadlines=QUICK) as opened:
        await opened.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
        proxy.black_hole(new=True)
        opened.hurry()
        late = [asyncio.ensure_future(opened.write(add(n))) for n in range(2000)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*late, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {StorageUnavailableError, OutcomeUnknownError}


async def test_a_server_that_refuses_connections_is_unavailable_and_then_well(
    database: Database, proxy: Proxy
) -> None:
    proxy.drop(refuse=True)
    with pytest.raises(StorageUnavailableError):
        await database.write(add(1))
    with pytest.raises(StorageUnavailableError):
        await database.read(numbers)
    proxy.heal()
    assert await database.write(add(2)) == 2
    assert await database.read(numbers) == [2]


# ---------------------------------------------------------------- a replica that holds a lock and is silent


@pytest.mark.parametrize("lock", ["row", "accounts"])
async def test_the_lock_of_a_frozen_replica_ends_by_itself(database: Database, postgres_url: str, lock: str) -> None:
    await database.write(add(1))
    holds, thaw = threading.Event(), threading.Event()

    def frozen(connection: Connection) -> None:
        if lock == "row":
            connection.execute(text("SELECT n FROM t WHERE n = 1 FOR UPDATE"))
        else:
            dialect.lock_accounts(connection)
        if not holds.is_set():  # when it is run again after its loss, it is not frozen any more
            holds.set()
            thaw.wait(30)

    def wanting(connection: Connection) -> str:
        if lock == "row":
            connection.execute(text("UPDATE t SET n = 2 WHERE n = 1"))
        else:
            dialect.lock_accounts(connection)
        return "done"

    deadlines = Deadlines(transaction_s=20.0, lock_s=10.0, silence_s=0.5)
    async with Database(postgres_url, deadlines=deadlines) as replica:
        task = asyncio.ensure_future(replica.write(frozen))
        await asyncio.to_thread(holds.wait, 10)
        async with Database(postgres_url, deadlines=deadlines) as other:
            # The frozen one is still frozen when the other one is through.
            assert await other.write(wanting) == "done"
        assert not task.done()
        thaw.set()
        await task


async def test_a_lock_that_is_held_in_earnest_is_waited_for_in_vain(database: Database, postgres_url: str) -> None:
    await database.write(add(1))
    async with Database(postgres_url) as other:
        holds, done = threading.Event(), threading.Event()

        def busy(connection: Connection) -> None:
            connection.execute(text("SELECT n FROM t WHERE n = 1 FOR UPDATE"))
            holds.set()
            while not done.wait(0.1):  # at work, and says so
                connection.execute(text("SELECT 1"))

        task = asyncio.ensure_future(other.write(busy))
        await asyncio.to_thread(holds.wait, 10)
        with pytest.raises(StorageUnavailableError, match="nothing was stored"):
            await database.write(lambda c: c.execute(text("UPDATE t SET n = 2 WHERE n = 1")) and None)
        done.set()
        await task
    assert await database.read(numbers) == [1]


# ---------------------------------------------------------------- COMMIT without an answer


async def test_a_commit_whose_answer_was_lost_is_looked_up(database: Database, proxy: Proxy) -> None:
    for n in range(10):
        proxy.cut_commits(1)
        assert await database.write(add(n)) == n
        assert proxy.cuts == n + 1
    assert await database.read(numbers) == list(range(10))


async def test_a_commit_that_never_arrived_is_done_again(database: Database, proxy: Proxy) -> None:
    calls = []

    def work(connection: Connection) -> int:
        calls.append(1)
        return int(add(7)(connection))

    proxy.cut_commits(1, before=True)
    assert await database.write(work) == 7
    assert len(calls) == 2
    assert await database.read(numbers) == [7]


async def test_a_group_whose_commit_was_lost_gets_its_answers(database: Database, proxy: Proxy) -> None:
    proxy.cut_commits(1)
    answers = await asyncio.gather(*(database.write(add(n)) for n in range(40)), return_exceptions=True)
    assert answers == list(range(40))
    assert await database.read(numbers) == list(range(40))


async def test_an_outcome_that_nobody_can_tell_is_named_so(
    database: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_arguments: Any) -> None:
        return None

    monkeypatch.setattr(transactions.dialect, "outcome", lost)
    proxy.cut_commits(1)
    with pytest.raises(OutcomeUnknownError, match="Idempotency-Key") as told:
        await database.write(add(1))
    assert told.value.code == "OUTCOME_UNKNOWN"
    assert told.value.retry_after_s > 0
    assert await database.read(numbers) == [1]  # so "nothing was stored" would have been false


async def test_a_commit_into_a_silent_network_is_settled_when_the_server_answers(
    database: Database, proxy: Proxy
) -> None:
    """COMMIT is swallowed; the server ends the silent transaction, and the write is done again."""

    def work(connection: Connection) -> int:
        add(1)(connection)
        proxy.black_hole()
        return 1

    with pytest.raises(StorageUnavailableError) as told:
        await asyncio.wait_for(database.write(work), 60)  # every try falls silent
    assert not isinstance(told.value, OutcomeUnknownError)
    assert await database.read(numbers) == []
