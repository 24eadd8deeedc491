"""Look-ups by many keys: just those keys, and by an index however many there are."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event, insert

from banditd.storage import Storage, arm_rewards, arms, dialect, keys, sessions
from banditd.storage.among import MOST, in_chunks, rows_among
from banditd.storage.schema import session

PAIRS = [("p", "b"), ("q", "a")]
STATEMENTS = {
    "session": (sessions._ARMS, 2),
    "idempotency_key": (keys._NAMED, 4),
    "arm_contribution": (arm_rewards._TAKE_BACK, 2),
    "arm": (arms._ARMS, 2),
    "arm_price": (arms._PRICES, 2),
}


async def test_of_several_columns_only_their_own_combinations_are_found(storage: Storage) -> None:
    rows = [
        {"policy": policy, "session_id": one, "arm": "x", "decision_id": "d", "updated_at_us": 1}
        for policy in ("p", "q")
        for one in ("a", "b", "c")
    ]

    def work(connection: Connection) -> list[tuple[str, str]]:
        connection.execute(insert(session), rows)
        return [(row.policy, row.session_id) for row in rows_among(connection, sessions._ARMS, PAIRS)]

    assert sorted(await storage.database.write(work)) == PAIRS


@pytest.mark.parametrize("count", [0, 1, 2, MOST, MOST + 1, 2 * MOST + 1])
def test_every_key_is_in_one_chunk(count: int) -> None:
    pairs = [(f"p{i % 3}", str(i)) for i in range(count)]
    chunks = list(in_chunks(pairs))
    assert [pair for chunk in chunks for pair in chunk["among"]] == pairs
    for chunk in chunks:
        assert len(chunk["among"]) <= MOST
        assert set(chunk["among_0"]) == {first for first, _ in chunk["among"]}
        assert set(chunk["among_1"]) == {second for _, second in chunk["among"]}


@pytest.mark.parametrize("count", [1, 2, MOST])
@pytest.mark.parametrize("table", STATEMENTS)
async def test_sqlite_reads_no_table_whole(storage: Storage, table: str, count: int) -> None:
    if not dialect.is_sqlite(storage.database.url):
        pytest.skip("PostgreSQL plans by how many rows there are")
    statement, width = STATEMENTS[table]
    [parameters] = in_chunks([(*["k"] * (width - 1), str(i)) for i in range(count)])

    def work(connection: Connection) -> list[str]:
        ran: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, _many: Any) -> None:
            ran.append((sql, values))

        event.listen(connection, "before_cursor_execute", note)
        connection.execute(statement, parameters)
        event.remove(connection, "before_cursor_execute", note)
        [(sql, values)] = ran
        return [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]

    plan = await storage.database.write(work)
    assert any(step.startswith(f"SEARCH {table} USING") for step in plan)
    assert not any(step.startswith(f"SCAN {table}") for step in plan)
