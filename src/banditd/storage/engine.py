"""The database: one writer thread with group commit, a few reader threads, as many for reports, one engine.

Every write that waits when the writer becomes free shares the next transaction. A loop that has more requests at
hand gathers their writes (at most GATHER_S) before it wakes the writer: a writer that woke for each would fight the
loop for the interpreter and pay a commit for each. An idle loop hands over at once. A write that fails takes nothing
with it: the group is rolled back and each member runs again alone. Answers travel to the event loop after the commit,
in one call per group. Knows no table.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Select

from banditd.core.errors import BanditdError, StorageUnavailableError
from banditd.storage import dialect, driver_errors
from banditd.storage.checkpoints import Checkpointer
from banditd.storage.transactions import WriteTransactions
from banditd.storage.watch import Deadlines, Watch

T = TypeVar("T")

GROUP_LIMIT: Final = 256
GATHER_S: Final = 0.003  # a busy loop gathers writes for no longer than this
QUEUE_LIMIT: Final = 20_000
ENDING_S: Final = 4.0  # longest work on a connection when the process ends; a frozen replica's lock ends sooner

Handler = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Does several like writes at once and answers each, in order. An answer that is a BanditdError refuses
that one write, which must then have written nothing; raising fails (and reruns) the group."""


class _Write(NamedTuple):
    handler: Handler
    payload: Any
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    at_s: float  # of time.monotonic, when it was handed in
    committing: Callable[[], None] | None = None  # to be called in its loop, before the COMMIT


def _each(connection: Connection, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in works]


class Database:
    """Reads and writes of one process on one database.

    Every wait has an end (``deadlines``). What has waited its time in the queue is refused, and stored nothing.

    Parameters
    ----------
    url : as in the configuration; see ``dialect.normalise_url``.
    deadlines : how long to wait for locks, connections and answers.
    readers : threads (and connections) for reads, and as many for reports: those may take a minute, and who learns or
    answers must not wait behind them.
    """

    def __init__(self, url: str, *, deadlines: Deadlines | None = None, readers: int = 2) -> None:
        self.url = dialect.normalise_url(url)
        self.deadlines = deadlines or Deadlines()
        self._watch = Watch()
        self._file = dialect.file_identity(self.url)
        self.engine = dialect.make_engine(
            self.url,
            pool_size=2 * readers + 2,
            busy_timeout_s=self.deadlines.lock_s,
            deadlines=self.deadlines,
            watch=self._watch,
            file=self._file,
        )
        self._reading = dialect.reading(self.engine)
        self._transactions = WriteTransactions(self.engine, self.deadlines, self._watch, self.check_file)
        self._queue: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._turns: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        self._waiting = 0  # writes without an answer
        self._checkpoints = Checkpointer(self.engine, self.log_bytes)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="banditd-read")
        self._reporters = ThreadPoolExecutor(readers, thread_name_prefix="banditd-report")
        self._thread = threading.Thread(target=self._serve, name="banditd-write", daemon=True)
        self._open = False
        self._ending = False
        self.write_failure: StorageUnavailableError | None = None
        """Why the last write failed, where the database was the reason; None after one that was committed."""
        self._unreachable = False  # as of the last transaction, read or write

    async def __aenter__(self) -> Database:
        self._open = True
        self._thread.start()
        self._checkpoints.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Commit everything that was handed in, then close."""
        self._open = False
        for loop in list(self._turns):
            self._hand_over(loop)
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._checkpoints.stop)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._reporters.shutdown)
        self.engine.dispose()
        self._watch.stop()

    def hurry(self) -> None:
        """The process ends: nobody waits long for an answer, and once there was none, nobody waits for it again."""
        self._unreachable = False  # what was so before may be over
        self._ending = self._transactions.ending = True
        self._watch.hurry(ENDING_S)

    def check_file(self) -> None:
        """Raise StorageUnavailableError where SQLite's file is no longer where it was."""
        if self._file is not None:
            self._file.check()

    def log_bytes(self) -> int | None:
        """Size of SQLite's write-ahead log; None on PostgreSQL."""
        return None if self._file is None else self._file.log_bytes()

    # ------------------------------------------------------------ for the stores

    async def write(self, work: Callable[[Connection], T | BanditdError]) -> T:
        """Run ``work`` in a write transaction; returns after the commit.

        ``work`` may run more than once. It refuses by returning (having written nothing) or raising a
        BanditdError, which is raised here.
        """
        result: T = await self.write_batched(_each, work)
        return result

    def write_batched(
        self,
        handler: Handler,
        payload: Any,
        *,
        at_once: bool = False,
        committing: Callable[[], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Like ``write``, but like writes that wait together are handed to ``handler`` in one call.

        at_once : the payload was gathered from many requests already, so nobody waits for more.
        committing : called in the loop while the disk is waited for. Earlier, loop and writer would take the
            interpreter from each other.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._open or self._waiting >= QUEUE_LIMIT:
            reason = "is behind with writing" if self._open else "is closed"
            future.set_exception(StorageUnavailableError(f"The database {reason}: nothing was stored."))
            return future
        turn = self._turns.get(loop)
        if turn is None:
            turn = self._turns[loop] = []
            if not at_once:
                loop.call_soon(self._gather, loop, 0, loop.time() + GATHER_S)
        turn.append(_Write(handler, payload, future, loop, time.monotonic(), committing))
        self._waiting += 1
        if at_once:
            self._hand_over(loop)
        return future

    def _gather(self, loop: asyncio.AbstractEventLoop, seen: int, until: float) -> None:
        """Hand over once a turn of the loop, which has polled its sockets again, brought nothing more."""
        here = len(self._turns.get(loop, ()))
        if seen < here < GROUP_LIMIT and loop.time() < until:
            loop.call_soon(self._gather, loop, here, until)
        else:
            self._hand_over(loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the writer everything that was gathered."""
        turn = self._turns.pop(loop, None)
        if turn:
            self._queue.put(turn)

    async def read(self, work: Callable[[Connection], T], *, report: bool = False) -> T:
        """Run ``work`` on one consistent state of the database. A ``report`` may take longer than a transaction."""
        if not self._open:
            raise StorageUnavailableError("The database is closed.")
        longest_s = self.deadlines.report_s if report else self.deadlines.transaction_s
        until_s = time.monotonic() + longest_s
        threads = self._reporters if report else self._readers
        return await asyncio.get_running_loop().run_in_executor(threads, self._read, work, until_s)

    async def finds(self, query: Select[Any]) -> bool:
        """Whether a query has a row: what looks costs no write transaction."""
        return await self.read(lambda connection: connection.execute(query.limit(1)).first() is not None)

    def _read(self, work: Callable[[Connection], T], until_s: float) -> T:
        for attempt in range(2):
            left_s = until_s - time.monotonic()
            if left_s <= 0.0 or (self._ending and self._unreachable):
                raise StorageUnavailableError("The database does not answer in time. Try again.")
            try:
                with self._watch.limit(left_s) as limit, self._reading.connect() as connection:
                    # A connection of the pool that fell silent shows when it begins, and is not waited for as long
                    # as the work may take: there is time left for another one.
                    limit.until_s = min(until_s, time.monotonic() + self.deadlines.lock_s)
                    with connection.begin():
                        limit.until_s = until_s
                        answer = work(connection)
            except Exception as error:
                # A connection of the pool may have died unnoticed; reading again is harmless.
                if attempt == 0 and (driver_errors.is_disconnect(error) or driver_errors.is_retryable(error)):
                    continue
                translated = driver_errors.translate(error)
                self._unreachable |= isinstance(translated, StorageUnavailableError)
                if translated is error:
                    raise
                raise translated from error
            else:
                self._unreachable = False
                return answer
        raise AssertionError("unreachable")

    # ------------------------------------------------------------ the writer thread

    def _serve(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            for start in range(0, len(group), GROUP_LIMIT):
                part = self._in_time(group[start : start + GROUP_LIMIT])
                self._deliver(part, self._commit(part))
                self._checkpoints.committed()
        self._transactions.drop()

    def _in_time(self, group: Sequence[_Write]) -> Sequence[_Write]:
        """Those that have not waited their time already; the others are refused, and have stored nothing."""
        since_s = time.monotonic() - self.deadlines.transaction_s
        hopeless = self._ending and self._unreachable
        if not hopeless and all(item.at_s >= since_s for item in group):
            return group
        late = [item for item in group if hopeless or item.at_s < since_s]
        error = StorageUnavailableError("The database does not answer in time: nothing was stored. Try again.")
        self._deliver(late, [error] * len(late))
        return [item for item in group if not hopeless and item.at_s >= since_s]

    def _next_group(self) -> tuple[list[_Write], bool]:
        """Everything that waits, and whether nothing more will come."""
        group: list[_Write] = []
        turn = self._queue.get()
        while turn is not None:
            group.extend(turn)
            if len(group) >= GROUP_LIMIT or self._queue.empty():
                return group, False
            turn = self._queue.get_nowait()
        return group, True

    def _commit(self, group: Sequence[_Write]) -> list[Any]:
        """The answers of the group, in order; an exception as an answer means that this write failed."""
        if not group:
            return []
        try:
            answers = self._transactions.run(lambda connection: _run(connection, group), lambda: _tell(group))
        except Exception as error:  # every failure is the answer of some write
            translated = driver_errors.translate(error)
            if isinstance(translated, StorageUnavailableError):
                self.write_failure, self._unreachable = translated, True
            if len(group) == 1 or isinstance(translated, StorageUnavailableError):
                return [translated] * len(group)
        else:
            self.write_failure, self._unreachable = None, False
            return answers
        return [self._commit([item])[0] for item in group]

    def _deliver(self, group: Sequence[_Write], answers: Sequence[Any]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = defaultdict(list)
        for item, answer in zip(group, answers, strict=True):
            by_loop[item.loop].append((item.future, answer))
        for loop, pairs in by_loop.items():
            with contextlib.suppress(RuntimeError):  # a loop that was closed meanwhile waits for nothing
                loop.call_soon_threadsafe(self._settle, pairs)

    def _settle(self, pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
        self._waiting -= len(pairs)
        for future, answer in pairs:
            if future.done():  # cancelled while the transaction ran: the write stands
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _tell(group: Sequence[_Write]) -> None:
    """Their COMMIT is next."""
    for item in group:
        if item.committing is not None:
            with contextlib.suppress(RuntimeError):  # a loop that was closed meanwhile waits for nothing
                item.loop.call_soon_threadsafe(item.committing)


def _run(connection: Connection, group: Sequence[_Write]) -> list[Any]:
    """Run the group's writes, those of one handler together."""
    if len(group) == 1:
        return list(group[0].handler(connection, [group[0].payload]))
    members: dict[Handler, list[int]] = defaultdict(list)
    for index, item in enumerate(group):
        members[item.handler].append(index)
    answers: list[Any] = [None] * len(group)
    for handler, indices in members.items():
        results = handler(connection, [group[index].payload for index in indices])
        for index, result in zip(indices, results, strict=True):
            answers[index] = result
    return answers
