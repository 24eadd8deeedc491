from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text

from banditd.core.errors import ConfigurationError
from banditd.storage import dialect, head_revision, migrate, open_storage
from banditd.storage.migrate import _config, current_revision
from banditd.storage.partitions.layout import alembic_filter, is_partitioned
from banditd.storage.schema import metadata

pytestmark = pytest.mark.usefixtures("every_migration")


@pytest.fixture
def connect(empty_database_url):
    engine = dialect.make_engine(
        dialect.normalise_url(empty_database_url), pool_size=1, busy_timeout_s=5, enforce_foreign_keys=True
    )
    yield dialect.writing(engine).begin
    engine.dispose()


def test_migrating_up_gives_exactly_the_tables_of_the_code(empty_database_url, connect):
    assert migrate(empty_database_url) == head_revision()
    with connect() as connection:
        # What a partitioned log has beside is told apart by name: its partitions, no more.
        options = {"compare_type": True, "compare_server_default": True, "include_object": alembic_filter(connection)}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        # compare_metadata does not look at primary keys and foreign keys' names.
        inspector = inspect(connection)
        for table in metadata.sorted_tables:
            key = inspector.get_pk_constraint(table.name)
            assert key["constrained_columns"] == [column.name for column in table.primary_key.columns]
            assert key["name"] == f"pk_{table.name}"
            assert {tuple(fk["constrained_columns"]) for fk in inspector.get_foreign_keys(table.name)} == {
                tuple(fk.column_keys)
                for fk in table.foreign_key_constraints
                if not (is_partitioned(connection) and fk.referred_table.name == "decision")
            }


def test_migrating_twice_changes_nothing(empty_database_url):
    assert migrate(empty_database_url) == migrate(empty_database_url) == head_revision()


def _old_row(connection, name):
    """A row of a table as the first release wrote it."""
    columns = {column["name"]: column["type"] for column in inspect(connection).get_columns(name)}
    values = {}
    for column, kind in columns.items():
        python = kind.python_type
        values[column] = {str: "text", bytes: b"\x00" * 8, bool: False, int: 3, float: 0.5}[python]
    known = {"decision_id": "d1", "policy": "default", "arms": '["text"]'}
    known |= dict.fromkeys(("tags", "exclusions", "metadata"), "{}")
    return values | {column: value for column, value in known.items() if column in columns}


OLD_TABLES = ("decision", "activation", "reward_event", "usage_report", "contribution", "fold_queue", "segment")


async def test_an_old_database_keeps_its_rows(empty_database_url, connect):
    assert migrate(empty_database_url, "0001") == "0001"
    with connect() as connection:
        metadata_then = type(metadata)()
        metadata_then.reflect(connection)
        for name in OLD_TABLES:
            connection.execute(insert(metadata_then.tables[name]), _old_row(connection, name))
    assert migrate(empty_database_url) == head_revision()
    with connect() as connection:
        for name in OLD_TABLES:
            then = metadata_then.tables[name]
            [row] = connection.execute(select(*(text(column.name) for column in then.columns)).select_from(then))
            kept = dict(row._mapping)
            expected = _old_row(connection, name)
            assert kept == {column: expected[column] for column in kept}, name
    async with open_storage(empty_database_url, writer_name="new") as storage:
        assert (await storage.decisions.get("d1"))["facts"] == {}
        assert await storage.reports.totals() == {
            "decision": 1, "reward_event": 1, "usage_report": 1, "queue": 1,
        }  # fmt: skip


def test_rows_that_wait_for_another_schema_say_so_in_their_own_column(empty_database_url, connect):
    migrate(empty_database_url, "0015")
    with connect() as connection:
        then = type(metadata)()
        then.reflect(connection)
        # What the migrated tables have beside is nothing to these rows.
        connection.execute(insert(then.tables["decision"]), _row_then(connection, then, "decision"))
        row = _row_then(connection, then, "fold_queue")
        rows = [row | {"queue_id": f"q{i}", "policy": name} for i, name in enumerate(("p", "p one", "p two"))]
        connection.execute(insert(then.tables["fold_queue"]), rows)
    migrate(empty_database_url)
    with connect() as connection:
        c = metadata.tables["fold_queue"].c
        found = connection.execute(select(c.queue_id, c.policy, c.schema_hash).order_by(c.queue_id)).all()
        assert [tuple(one) for one in found] == [("q0", "p", None), ("q1", "p", "one"), ("q2", "p", "two")]


def _row_then(connection, then, name):
    old = _old_row(connection, name)
    return {column.name: old[column.name] for column in then.tables[name].columns if column.name in old}


def test_migrating_down_and_up_again_keeps_the_children(empty_database_url, connect):
    from alembic import command

    migrate(empty_database_url)
    with connect() as connection:
        for table in ("decision", "reward_event"):
            connection.execute(insert(metadata.tables[table]), _old_row(connection, table))
    engine = dialect.make_engine(
        dialect.normalise_url(empty_database_url), pool_size=1, busy_timeout_s=5, enforce_foreign_keys=False
    )
    with dialect.writing(engine).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    engine.dispose()
    migrate(empty_database_url)
    with connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM reward_event")).scalar() == 1


def test_replicas_that_start_together_migrate_once(empty_database_url):
    found, errors = [], []

    def start():
        try:
            found.append(migrate(empty_database_url))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [head_revision()] * 4


async def test_a_database_that_is_behind_is_not_opened(empty_database_url):
    migrate(empty_database_url, "0001")
    with pytest.raises(ConfigurationError, match="banditd migrate"):
        async with open_storage(empty_database_url, writer_name="w"):
            pytest.fail("it opened")


async def test_a_database_of_a_later_release_is_refused(empty_database_url, connect):
    migrate(empty_database_url)
    with connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="later"):
        migrate(empty_database_url)
    with pytest.raises(ConfigurationError, match="later"):
        async with open_storage(empty_database_url, writer_name="w"):
            pytest.fail("it opened")


def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url, connect, monkeypatch):
    def fail(connection):
        raise RuntimeError("the last step")

    monkeypatch.setattr(dialect, "refuse_broken_references", fail)
    with pytest.raises(RuntimeError, match="the last step"):
        migrate(empty_database_url)
    with connect() as connection:
        assert inspect(connection).get_table_names() == []
        assert current_revision(connection) == ""


def test_every_revision_can_be_read_in_order():
    folder = Path(__file__).parents[2] / "migrations" / "versions"
    names = sorted(path.name for path in folder.glob("*.py"))
    assert [name[:4] for name in names] == [f"{i:04d}" for i in range(1, len(names) + 1)]
    script = ScriptDirectory.from_config(_config())
    assert head_revision() == script.get_current_head() == names[-1][:4]
    assert {one.revision for one in script.walk_revisions()} == {name[:4] for name in names}
    for name, before in zip(names[1:], names, strict=False):
        assert f'down_revision = "{before[:4]}"' in (folder / name).read_text(encoding="utf-8")
