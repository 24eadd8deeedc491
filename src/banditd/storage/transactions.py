"""One write transaction at a time, on a connection that is kept: tried again, given up in time, and never guessed at.

A connection that breaks before COMMIT has stored nothing, and the work runs again on another one. One that breaks
during COMMIT leaves us not knowing: the server is asked on a new connection what became of that transaction, and only
where it cannot say so is the outcome told to be unknown.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Engine

from banditd.core.errors import OutcomeUnknownError
from banditd.storage import dialect, driver_errors
from banditd.storage.postgres import TransactionName
from banditd.storage.watch import Deadlines, Watch

T = TypeVar("T")
logger = logging.getLogger(__name__)
ATTEMPTS: Final = 6
UNKNOWN: Final = (
    "The connection to the database broke while this was being committed, and the database cannot be asked whether "
    "it was: it may be stored or not. Send the same request again with the same Idempotency-Key: the answer tells, "
    "and nothing is stored twice."
)


class WriteTransactions:
    """Runs work in write transactions. For one thread.

    check : called before every commit; raises to refuse it.
    """

    def __init__(self, engine: Engine, deadlines: Deadlines, watch: Watch, check: Callable[[], None]) -> None:
        self._engine = engine
        self._writing = dialect.writing(engine)
        self._deadlines = deadlines
        self._watch = watch
        self._check = check
        self.ending = False  # once True, what has lost two connections is not tried again
        # Checking a connection out costs more than a small transaction, so one is kept.
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T], committing: Callable[[], None]) -> T:
        """What ``work`` returns, once it is committed. It may run more than once; ``committing`` before each COMMIT.

        Raises OutcomeUnknownError when it may be stored and nobody can tell; any other error means that it is not.
        """
        until_s = time.monotonic() + self._deadlines.transaction_s
        for attempt in range(ATTEMPTS):
            transaction = _Transaction()
            try:
                with self._watch.limit(until_s - time.monotonic()):
                    return self._once(work, committing, transaction)
            except Exception as error:
                self.drop()
                if transaction.committing and driver_errors.outcome_is_unknown(error):
                    if self._was_committed(transaction.name, error):
                        return cast("T", transaction.answer)
                    # It is certain now that nothing was stored, so running it again is harmless.
                    until_s = max(until_s, time.monotonic() + self._deadlines.lock_s)
                lost = driver_errors.is_disconnect(error)
                again = driver_errors.is_retryable(error) or (lost and not (self.ending and attempt))
                if not again or attempt == ATTEMPTS - 1 or time.monotonic() >= until_s:
                    raise
                time.sleep(random.uniform(0.0, 0.002 * 2**attempt))
        raise AssertionError("unreachable")

    def _once(self, work: Callable[[Connection], T], committing: Callable[[], None], transaction: _Transaction) -> T:
        if self._connection is None:
            self._connection = self._connect()
        else:
            dialect.keep_watching(self._connection, self._watch)
        with self._connection.begin():
            transaction.name = dialect.transaction_name(self._connection)
            transaction.answer = answer = work(self._connection)
            self._check()
            committing()
            transaction.committing = True
        return answer

    def _connect(self) -> Connection:
        connection = self._writing.connect()
        if dialect.is_sqlite(self._engine.url):
            # What a statement of many rows may have to undo is a few pages. By default they go into a file that is
            # made and deleted for each commit.
            connection.connection.cursor().execute("PRAGMA temp_store = MEMORY")
        return connection

    def _was_committed(self, transaction: TransactionName | None, error: Exception) -> bool:
        """What became of a transaction whose COMMIT got no answer. Raises OutcomeUnknownError."""
        # The server itself ends a transaction that it hears nothing of, after the time of silence.
        patience_s = self._deadlines.silence_s + 2.0
        found = None
        if transaction is not None:
            with self._watch.limit(patience_s):
                found = dialect.outcome(self._engine, transaction, time.monotonic() + patience_s)
        logger.warning(
            "storage.commit_unanswered",
            extra={"outcome": {True: "committed", False: "rolled back", None: "unknown"}[found]},
        )
        if found is None:
            raise OutcomeUnknownError(UNKNOWN, retry_after_s=2.0) from error
        return found

    def drop(self) -> None:
        """Give the connection back: after a failure nothing is assumed of it, the pool resets or replaces it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


@dataclass(slots=True)
class _Transaction:
    """What is known of one try: its name in the database, the answer of the work, whether COMMIT was begun."""

    name: TransactionName | None = None
    answer: Any = None
    committing: bool = False
