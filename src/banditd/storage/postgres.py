"""How transactions of PostgreSQL begin and end: deadlines that the server keeps, and what became of a lost COMMIT.

Everything that must hold is said by the statement that begins the transaction (``SET LOCAL``), so nothing depends on
the session, and a proxy that pools by transaction may stand between. A replica that is frozen or gone keeps no lock
for longer than ``silence_s``: the server ends its transaction.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, event, text

from banditd.core.errors import InvariantError
from banditd.storage.watch import Deadlines, Line, Watch

READ: Final = "READ"
WRITE: Final = "WRITE"
MODE: Final = "banditd_begin"
_BEGIN: Final = "begin"
_LINE: Final = "line"
_TRANSACTION: Final = "transaction_id"
_POLL_S: Final = 0.05
_NOT_YET_GIVEN: Final = "22023"  # "transaction ID ... is in the future"
_NAME: Final = (
    "SELECT pg_current_xact_id()::text, pg_current_wal_flush_lsn()::text, "
    "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
)
# Recovery after a crash ends with a checkpoint behind all that had reached the disk: without one there was no crash.
_OUTCOME: Final = text(
    "SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8)), "
    "left(pg_walfile_name(pg_current_wal_lsn()), 8) = :timeline "
    "AND (SELECT checkpoint_lsn < CAST(:flushed AS pg_lsn) FROM pg_control_checkpoint())"
)


def connect_arguments(deadlines: Deadlines) -> dict[str, Any]:
    """What the driver is told: it gives up connecting, and notices a peer that is gone."""
    return {
        "autocommit": True,  # we write BEGIN, see ``prepare``
        "connect_timeout": max(2, round(deadlines.lock_s)),
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(deadlines.transaction_s * 1000),
    }


def prepare(engine: Engine, deadlines: Deadlines | None, watch: Watch | None) -> None:
    """Set up every connection and every BEGIN of an engine. Without ``deadlines`` only silence ends a transaction."""
    from psycopg.types.numeric import Int8BinaryDumper  # noqa: PLC0415 - the driver is an extra

    begin = {mode: _begin_text(mode, deadlines) for mode in (READ, WRITE)}

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, record: Any, arguments: Any, parameters: Any) -> Any:
        connection = dialect.connect(*arguments, **parameters)
        connection.cursor_factory = _stepwise(dialect.loaded_dbapi.Cursor)
        # Else a number has the narrowest type that holds it, and the server makes a plan for each combination.
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        line = record.info[_LINE] = Line(connection.fileno())
        if watch is not None:
            watch.adopt(line)
        _set_up(connection)
        return connection

    @event.listens_for(engine, "checkout")
    def _checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if watch is not None:
            watch.adopt(record.info.get(_LINE))

    @event.listens_for(engine, "close")
    def _close(_connection: Any, record: Any) -> None:
        line = record.info.pop(_LINE, None)
        if line is not None:
            line.close()

    @event.listens_for(engine, "begin")
    def _choose(connection: Connection) -> None:
        mode = connection.get_execution_options().get(MODE, WRITE)
        connection.info[_BEGIN] = begin[mode]

    def do_begin(connection: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(connection.info[_BEGIN])
            while cursor.nextset():
                pass
            connection.info[_TRANSACTION] = TransactionName(*cursor.fetchone()) if cursor.description else None
        finally:
            cursor.close()

    engine.dialect.use_insertmanyvalues_wo_returning = True  # many rows of an insert are one statement
    # Not in the event: what fails here is treated like any statement, so a dead connection is replaced.
    engine.dialect.do_begin = do_begin  # type: ignore[assignment,method-assign]


def positional_cursor(connection: Connection) -> Any:
    """A cursor for statements whose places are ``$1``, ``$2``, as the server has them.

    The driver looks for every ``%s`` of a statement anew where there are more than fifty of them.
    """
    raw = _stepwise(connection.dialect.loaded_dbapi.RawCursor)
    return raw(connection.connection.driver_connection)


@functools.cache
def _stepwise(cursor: Any) -> Any:
    """The driver's cursor, which waits for the server after every statement.

    Its own ``executemany`` streams statements in pipeline mode, and the server counts no time of silence before the
    end of a pipeline: a replica frozen in the middle of one would keep its locks.
    """

    class Stepwise(cursor):  # type: ignore[misc]
        def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
            if returning:
                raise InvariantError("rows come back by way of one statement, not of many")
            for parameters in params_seq:
                self.execute(query, parameters)

    return Stepwise


def _begin_text(mode: str, deadlines: Deadlines | None) -> str:
    silence_s = 60.0 if deadlines is None else deadlines.silence_s
    parts = ["BEGIN ISOLATION LEVEL " + ("REPEATABLE READ, READ ONLY" if mode == READ else "READ COMMITTED")]
    parts.append(f"SET LOCAL idle_in_transaction_session_timeout = {_ms(silence_s)}")
    if deadlines is not None:
        parts.append(f"SET LOCAL lock_timeout = {_ms(deadlines.lock_s)}")
        longest_s = deadlines.report_s if mode == READ else deadlines.transaction_s
        parts.append(f"SET LOCAL statement_timeout = {_ms(longest_s)}")
    if mode == WRITE:
        parts.append(_NAME)
    return "; ".join(parts)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _set_up(connection: Any) -> None:
    """Behind a proxy: keep nothing in the session. Else: the server, too, shall notice when we are gone."""
    [found] = connection.execute("SELECT pg_backend_pid()").fetchone()
    if found != connection.info.backend_pid:
        # The next transaction may run on another connection of the server, which has not prepared anything.
        connection.prepare_threshold = None
        return
    for name, value in (("idle", 10), ("interval", 5), ("count", 3)):
        connection.execute(f"SET tcp_keepalives_{name} = {value}")


def adopt(connection: Connection, watch: Watch) -> None:
    """Put a connection that was kept under the limit of this thread."""
    watch.adopt(connection.info.get(_LINE))


class TransactionName(NamedTuple):
    """What a write transaction is known by. The number alone is none: after a crash the server gives it once more, to
    another transaction, where nothing of the first had reached the disk.

    flushed : how far the server's log had reached the disk when it began. timeline : of that log, another one after a
    standby has taken over.
    """

    number: str
    flushed: str
    timeline: str


def transaction_name(connection: Connection) -> TransactionName | None:
    """Of the write transaction that runs on this connection."""
    return connection.info.get(_TRANSACTION)


def outcome(engine: Engine, transaction: TransactionName, until_s: float) -> bool | None:
    """Whether a transaction was committed; None where the server cannot tell: it does not answer, or crashed since.

    Waits until ``until_s`` (of ``time.monotonic``) for the server to answer and for one that still runs to end.
    """
    while True:
        status: Any = "unreachable"
        same_life = False
        try:
            with engine.connect() as connection:
                status, same_life = connection.execute(_OUTCOME, transaction._asdict()).one()
        except Exception as error:
            if getattr(getattr(error, "orig", None), "sqlstate", None) == _NOT_YET_GIVEN:
                return False  # a crash has taken it away, and nobody has its number yet
        if status == "aborted":
            return False  # whosever number it is now: none was committed under it
        if status == "committed":
            return True if same_life else None
        if status is None or time.monotonic() >= until_s:
            return None
        time.sleep(_POLL_S)
