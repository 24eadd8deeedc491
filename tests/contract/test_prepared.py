"""Statements compiled once: rows arrive in any number, and the server keeps one plan whatever the values are."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, TextClause, create_engine, select, text

from banditd.storage import Storage, dialect
from banditd.storage.prepared import Prepared
from banditd.storage.schema import CLUSTER_SUMS, cluster_stat

KEYS = ("policy", "schema_hash", "cluster", "arm", "writer")


def _adding(storage: Storage) -> Prepared:
    engine = storage.database.engine
    return Prepared(engine, dialect.add_up(engine, cluster_stat, CLUSTER_SUMS), (*KEYS, *CLUSTER_SUMS))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 31, 42, 75])
async def test_every_row_arrives_in_any_number_of_them(storage: Storage, rows: int) -> None:
    adding = _adding(storage)
    width = len(CLUSTER_SUMS)
    given_rows = [("p", "s", n, "arm", "w", *(n * width + i for i in range(width))) for n in range(rows)]

    def work(connection: Connection) -> None:
        adding.run(connection, given_rows)
        adding.run(connection, given_rows)

    await storage.database.write(work)
    stored = select(cluster_stat.c.cluster, *(cluster_stat.c[name] for name in CLUSTER_SUMS)).order_by("cluster")
    found = await storage.database.read(lambda connection: [tuple(row) for row in connection.execute(stored)])
    assert found == [(row[2], *(2 * value for value in row[5:])) for row in given_rows]


async def test_the_server_keeps_one_plan_for_numbers_of_any_kind(storage: Storage) -> None:
    if dialect.is_sqlite(storage.database.url):
        pytest.skip("SQLite's plans know no types")
    adding = _adding(storage)
    numbers = [0, 0.5, 1, 7, 70_000, 2**40]

    def work(connection: Connection) -> list[str]:
        for turn in range(30):
            values = [numbers[(turn + i) % 6] for i in range(len(CLUSTER_SUMS))]
            sums = [*map(int, values[:3]), *values[3:]]  # the first three are whole
            adding.run(connection, [("p", "s", turn, "arm", "w", *sums)])
        plans = text("SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO cluster_stat%'")
        return list(connection.execute(plans).scalars())

    assert len(await storage.database.write(work)) == 1


async def test_a_statement_prepared_before_another_replica_migrated_is_prepared_again(storage: Storage) -> None:
    """PostgreSQL refuses a plan whose columns have other types now: error 0A000."""
    if dialect.is_sqlite(storage.database.url):
        pytest.skip("SQLite prepares anew by itself")
    chosen = text("SELECT * FROM migrated")
    returned = text("UPDATE migrated SET n = n + 1 RETURNING *")

    def many(connection: Connection, statement: TextClause) -> int:
        for _ in range(8):  # the driver prepares what it has seen five times
            [found] = connection.execute(statement).scalars()
        return int(found)

    def migrate(column: str) -> None:
        engine = create_engine(storage.database.engine.url)
        with engine.begin() as connection:
            connection.execute(text(column))
        engine.dispose()

    await asyncio.to_thread(migrate, "CREATE TABLE migrated AS SELECT 1::integer AS n")
    try:
        for kind in ("bigint", "numeric"):
            before = await storage.database.write(lambda connection: many(connection, returned))
            assert await storage.database.read(lambda connection: many(connection, chosen)) == before
            await asyncio.to_thread(migrate, f"ALTER TABLE migrated ALTER n TYPE {kind}")
            assert await storage.database.read(lambda connection: many(connection, chosen)) == before
            assert await storage.database.write(lambda connection: many(connection, returned)) == before + 8
    finally:
        await asyncio.to_thread(migrate, "DROP TABLE migrated")
