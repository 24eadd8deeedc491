"""What an operator has put on the log of PostgreSQL: a move into partitions carries it over, or refuses before."""

from __future__ import annotations

import sys
import uuid

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from banditd.cli import main
from banditd.core.errors import ConflictError
from banditd.storage import dialect, open_storage
from banditd.storage.archive import partition_log, partitioning
from banditd.storage.migrate import _config, migrate

VIEW = "CREATE VIEW a AS SELECT decision_id, arm FROM decision;"

KIND = "SELECT relkind, to_regclass('decision_moving') FROM pg_class WHERE oid = 'decision'::regclass"

# What the operator did; what is said to have gone over; a query whose answer stays, whatever table the log is.
CARRIED = {
    "view on a view": (
        f"{VIEW} CREATE VIEW b AS SELECT arm FROM a; GRANT SELECT ON b TO {{role}}",
        ["view public.a", "view public.b", "GRANT SELECT ON b TO {role}"],
        "SELECT count(arm) FROM b",
    ),
    "view on a younger one": (
        f"CREATE VIEW b AS SELECT 1::text AS arm; {VIEW} CREATE OR REPLACE VIEW b AS SELECT arm FROM a",
        ["view public.a", "view public.b"],
        "SELECT count(arm) FROM b",
    ),
    "view in another schema": (
        """CREATE SCHEMA other; CREATE VIEW other."A b" AS SELECT arm FROM decision WHERE arm <> ':x 5 %'""",
        ['view other."A b"'],
        """SELECT count(arm) FROM other."A b" """,
    ),
    "options of a view": (
        """CREATE VIEW a WITH (security_invoker = true, security_barrier = true) AS
        SELECT arm FROM decision WHERE arm <> 'x' WITH LOCAL CHECK OPTION""",
        ["view public.a"],
        "SELECT reloptions, pg_get_viewdef(oid) FROM pg_class WHERE relname = 'a'",
    ),
    "owner of a view": (
        f"{VIEW} GRANT CREATE ON SCHEMA public TO {{role}}; ALTER VIEW a OWNER TO {{role}}",
        ["view public.a", "ALTER TABLE a OWNER TO {role}"],
        "SELECT relowner::regrole FROM pg_class WHERE relname = 'a'",
    ),
    "owner of the log": (
        "GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE decision OWNER TO {role}",
        ["ALTER TABLE decision OWNER TO {role}"],
        """SELECT DISTINCT relowner::regrole FROM pg_class
        WHERE relname ~ '^(pk_|ix_)?decision' AND relkind IN ('r', 'p', 'i', 'I')""",
    ),
    "comments": (
        f"""{VIEW} COMMENT ON VIEW a IS 'of: 5 %'; COMMENT ON COLUMN a.arm IS 'it''s';
        COMMENT ON TABLE decision IS 'log'; COMMENT ON COLUMN decision.arm IS 'who';
        COMMENT ON INDEX ix_decision_trace_id IS 'i'; COMMENT ON CONSTRAINT pk_decision ON decision IS 'key'""",
        ["COMMENT ON COLUMN public.decision.arm IS 'who'", "COMMENT ON VIEW public.a IS 'of: 5 %'"],
        """SELECT type, identity, description FROM pg_description, pg_identify_object(classoid, objoid, objsubid)
        WHERE identity LIKE '%public.%' ORDER BY identity""",
    ),
    "privileges": (
        """GRANT SELECT (arm), UPDATE (arm) ON decision TO {role}; GRANT SELECT ON request_log TO {role};
        GRANT INSERT ON decision TO {role} WITH GRANT OPTION""",
        ["GRANT SELECT (arm) ON decision TO {role}", "GRANT INSERT ON decision TO {role} WITH GRANT OPTION"],
        """SELECT relacl::text, (SELECT attacl::text FROM pg_attribute WHERE attrelid = c.oid AND attname = 'arm')
        FROM pg_class AS c WHERE relname IN ('decision', 'request_log') ORDER BY relname""",
    ),
    "younger default privileges": (
        "ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO {role}",
        [],
        """SELECT has_table_privilege('{role}', 'decision', 'INSERT'),
        has_table_privilege('{role}', 'request_log', 'INSERT')""",
    ),
    "indexes of odd names": (
        """CREATE INDEX "My: 100 % USING of a name that is so very long that it is cut x"
        ON decision (lower(arm || ':%'));
        CREATE UNIQUE INDEX "My: 100 % USING of a name that is so very long that it is cut y"
        ON decision (arm, decision_id) WITH (fillfactor = 70)""",
        ['index public."My: 100 % USING of a name that is so very long that it is cut x"'],
        """SELECT indexname, replace(indexdef, 'ON ONLY', 'ON') FROM pg_indexes
        WHERE tablename = 'decision' ORDER BY 1""",
    ),
    "columns": (
        """ALTER TABLE decision ADD "a:b %" text COLLATE "C" DEFAULT ':x %';
        ALTER TABLE decision ALTER x SET STORAGE EXTERNAL""",
        [],
        """SELECT attname, attcollation, attstorage, (SELECT count(DISTINCT "a:b %") FROM decision)
        FROM pg_attribute WHERE attrelid = 'decision'::regclass AND attnum > 0 ORDER BY 1""",
    ),
    "publication of all tables": (
        "CREATE PUBLICATION everything FOR ALL TABLES",
        ["ALTER PUBLICATION everything SET (publish_via_partition_root = true)"],
        "SELECT puballtables, pubviaroot FROM pg_publication",
    ),
}  # fmt: skip

# What the operator did, and what is named.
TRIGGER = "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr"
REFUSED = {
    "row-level security": (
        "ALTER TABLE decision ENABLE ROW LEVEL SECURITY; ALTER TABLE decision FORCE ROW LEVEL SECURITY",
        ["row-level security of table public.decision", "forced row-level security of table public.decision"],
    ),
    "policy": ("CREATE POLICY p ON decision USING (policy = 'x')", ["policy p on public.decision"]),
    "publication": ("CREATE PUBLICATION p FOR TABLE decision", ["public.decision in publication p"]),
    "materialized view, and a view on it": (
        "CREATE MATERIALIZED VIEW m AS SELECT arm FROM decision; CREATE VIEW o AS SELECT arm FROM m",
        ["materialized view public.m", "view public.o"],
    ),
    "trigger": (
        f"{TRIGGER} BEFORE INSERT ON decision FOR EACH ROW EXECUTE FUNCTION t()",
        ["trigger tr on public.decision"],
    ),
    "trigger of a view": (
        f"{VIEW} {TRIGGER} INSTEAD OF INSERT ON a FOR EACH ROW EXECUTE FUNCTION t()",
        ["trigger tr on public.a"],
    ),
    "default of a view": (f"{VIEW} ALTER VIEW a ALTER arm SET DEFAULT 'x'", ["default value for public.a.arm"]),
    "rule": ("CREATE RULE r AS ON DELETE TO decision DO ALSO NOTHING", ["rule r on public.decision"]),
    "unique index": (
        "CREATE UNIQUE INDEX mine ON decision (request_id)",
        ["index public.mine", "PostgreSQL says: unique constraint on partitioned table must"],
    ),
    "constraint UNIQUE": ("ALTER TABLE decision ADD CONSTRAINT u UNIQUE (decision_id)", ["u on public.decision"]),
    "constraint CHECK": ("ALTER TABLE decision ADD CONSTRAINT c CHECK (propensity >= 0)", ["c on public.decision"]),
    "foreign key to it": ("CREATE TABLE theirs (d text REFERENCES decision)", ["theirs_d_fkey on public.theirs"]),
    "foreign key of it": (
        """CREATE TABLE arms (a text PRIMARY KEY);
        ALTER TABLE decision ADD CONSTRAINT f FOREIGN KEY (arm) REFERENCES arms NOT VALID""",
        ["f on public.decision"],
    ),
    "inheritance child": ("CREATE TABLE kid () INHERITS (decision)", ["table public.kid"]),
    "inheritance parent": (
        "CREATE TABLE dad (policy text NOT NULL); ALTER TABLE decision INHERIT dad",
        ["inheritance of table public.decision (dad)"],
    ),
    "statistics object": ("CREATE STATISTICS s ON policy, arm FROM decision", ["statistics object public.s"]),
    "function": (
        "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM decision; END",
        ["function public.f()"],
    ),
    "function of rows": (
        "CREATE FUNCTION f(decision) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
        ["function public.f(public.decision)"],
    ),
    "column of rows": ("CREATE TABLE kept (it decision)", ["table column public.kept.it"]),
    "storage parameters": (
        "ALTER TABLE decision SET (autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = false)",
        [
            "storage parameters of table public.decision (autovacuum_vacuum_scale_factor=0.01)",
            "storage parameters of TOAST of table public.decision (autovacuum_enabled=false)",
        ],
    ),
    "replica identity": ("ALTER TABLE decision REPLICA IDENTITY FULL", ["replica identity of table public.decision"]),
    "tablespace": (
        """SET allow_in_place_tablespaces = on;; CREATE TABLESPACE {role} LOCATION '';;
        ALTER INDEX ix_decision_trace_id SET TABLESPACE {role}""",
        ["tablespace of index public.ix_decision_trace_id ({role})"],
    ),
    "clustering": ("CLUSTER decision USING pk_decision", ["clustering of index public.pk_decision"]),
    "statistics of a column": (
        "ALTER TABLE decision ALTER arm SET STATISTICS 500, ALTER arm SET (n_distinct = 5)",
        ["statistics target of column arm of table public.decision (500)", "options of column arm"],
    ),
    "identity column": ("ALTER TABLE decision ADD n bigint GENERATED ALWAYS AS IDENTITY", ["identity of column n"]),
    "serial column": ("ALTER TABLE decision ADD n bigserial", ["sequence public.decision_n_seq"]),
    "generated column": (
        "ALTER TABLE decision ADD g text GENERATED ALWAYS AS (lower(arm)) STORED",
        ["generation of column g of table public.decision"],
    ),
    "grant by another grantor": (
        """GRANT SELECT ON decision TO {role} WITH GRANT OPTION;
        SET ROLE {role}; GRANT SELECT ON decision TO pg_monitor""",
        ["privileges of table public.decision"],
    ),
    "subscription": (
        """SET allow_system_table_mods = on;
        INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 'decision'::regclass, 'r')""",
        ["subscription of table public.decision"],
    ),
    "event trigger": (
        """CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no drops''; END';
        CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION e()""",
        ["no drops"],
    ),
}  # fmt: skip


@pytest.fixture
def role(postgres_server_url):
    """Of the whole server, and gone after the databases of the test."""
    name = f"banditd_test_{uuid.uuid4().hex[:12]}"
    execute(postgres_server_url, f"CREATE ROLE {name}")
    yield name
    execute(postgres_server_url, f"DROP TABLESPACE IF EXISTS {name}")
    execute(postgres_server_url, f"DROP ROLE {name}")


def execute(url, statements):
    """What an operator types; ``;;`` ends a transaction. The rows of the last statement."""
    engine = create_engine(dialect.normalise_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        for one in statements.split(";;"):
            done = connection.exec_driver_sql(one, execution_options={"no_parameters": True})
        return done.all() if done.returns_rows else []


def quiet(_what, _done, _total):
    """Nobody watches."""


@pytest.mark.parametrize("what", CARRIED)
async def test_what_hangs_on_a_log_is_carried_over(what, role, old_log):
    statements, said, query = CARRIED[what]
    execute(old_log, statements.replace("{role}", role))
    before = execute(old_log, query.replace("{role}", role))
    found = partition_log(old_log, progress=quiet)
    assert execute(old_log, query.replace("{role}", role)) == before
    assert execute(old_log, KIND) == [("p", None)]
    told = "\n".join([*found.carried, *found.notes])
    assert [one for one in said if one.replace("{role}", role) not in told] == []
    async with open_storage(old_log, writer_name="w") as storage:
        assert await storage.partitions.make_ahead(4_000_000_000_000_000) > 0


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_carried_over_is_named_before_a_row_is_moved(what, role, old_log):
    statements, named = REFUSED[what]
    execute(old_log, statements.replace("{role}", role))
    named = [one.replace("{role}", role) for one in named]
    steps = []
    with pytest.raises(ConflictError, match="nothing was changed") as refused:
        partition_log(old_log, progress=lambda step, *_: steps.append(step))
    assert [one for one in named if one not in refused.value.message] == []
    assert steps == ["looking at what hangs on the log"]
    assert execute(old_log, KIND) == [("r", None)]


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX mine; CREATE INDEX mine ON decision (upper(arm))",
        "ALTER TABLE decision ALTER mixture TYPE varchar",
        "DROP INDEX mine",
    ],
)
def test_what_is_put_there_meanwhile_stops_the_move_and_what_was_changed_is_made_anew(change, old_log):
    def meanwhile(step, _done, _total):
        if step == "taking its place":
            execute(old_log, "CREATE POLICY p ON decision USING (true)")

    shape = """SELECT replace(pg_get_indexdef(indexrelid), 'ON ONLY', 'ON') FROM pg_index
    WHERE indrelid = 'decision'::regclass UNION SELECT format('%s %s', attname, format_type(atttypid, atttypmod))
    FROM pg_attribute WHERE attrelid = 'decision'::regclass AND attnum > 0 ORDER BY 1"""
    execute(old_log, "CREATE INDEX mine ON decision (arm)")
    for progress in (meanwhile, quiet):
        with pytest.raises(ConflictError, match="policy p"):
            partition_log(old_log, progress=progress)
    assert execute(old_log, "SELECT count(*) FROM decision") == [(51,)]
    execute(old_log, f"DROP POLICY p ON decision; {change}")
    before = execute(old_log, shape)
    assert partition_log(old_log, progress=quiet).decisions == 51
    assert execute(old_log, shape) == before


def test_of_two_moves_at_once_the_second_is_refused(old_log):
    met = []

    def meanwhile(step, _done, _total):
        if step not in met:
            met.append(step)
            with pytest.raises(ConflictError, match="wait until it has ended"):
                partition_log(old_log, progress=quiet)

    assert partition_log(old_log, progress=meanwhile).moved_now == 51
    assert len(met) > 3


def test_the_command_says_what_was_carried_over_and_what_is_in_the_way(old_log, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["banditd", "migrate", "--partition", "--database", old_log])
    execute(old_log, "CREATE POLICY p ON decision USING (true)")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "policy p on public.decision\n" in capsys.readouterr().err
    execute(old_log, "DROP POLICY p ON decision")
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "carried over: GRANT SELECT ON decision TO PUBLIC\n" in capsys.readouterr().out


@pytest.mark.parametrize("at", ["looking at what hangs on the log", "taking its place"])
def test_who_holds_the_log_for_long_is_named_and_the_next_run_goes_on(old_log, monkeypatch, at):
    monkeypatch.setattr(partitioning, "LOCK_WAIT_MS", 200)
    engine = create_engine(dialect.normalise_url(old_log), poolclass=NullPool)
    with engine.connect() as reader:
        reader.exec_driver_sql("SET application_name = 'a report'")
        reader.commit()

        def hold(step, _done, _total):
            if step == at:
                reader.exec_driver_sql("SELECT count(*) FROM decision")

        with pytest.raises(ConflictError, match=r"process \d+ of \w+ \(a report\), idle in transaction"):
            partition_log(old_log, progress=hold)
    done = 51 if at == "taking its place" else 0
    assert partition_log(old_log, progress=quiet).moved_now == 51 - done
    engine.dispose()


# By what the operator has: a name that a partition needs, in each step that makes one.
TAKEN = {
    "of this time": "decision_20250609",
    "of no time": "decision_default",
    "of the move": "decision_moving",
    "of an index": "decision_20250707",
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_table_of_others_in_the_place_of_a_partition_is_named_and_kept(what, old_log, monkeypatch, capsys):
    name = TAKEN[what]
    made = f"TABLE {name} AS SELECT 7 AS theirs" if what != "of an index" else f"INDEX {name} ON decision (arm, x)"
    execute(old_log, f"CREATE {made}")
    monkeypatch.setattr(sys, "argv", ["banditd", "migrate", "--partition", "--database", old_log])
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert f"public.{name} has the name that a partition" in capsys.readouterr().err
    kind = "SELECT relkind FROM pg_class WHERE relname = '{}'"
    assert execute(old_log, kind.format("decision")) == [("r",)]
    assert execute(old_log, kind.format(name)) == [("i" if what == "of an index" else "r",)]
    execute(old_log, f"ALTER {made.split(maxsplit=1)[0]} {name} RENAME TO theirs")
    assert partition_log(old_log, progress=quiet).moved_now == 51


@pytest.mark.parametrize("name", ["decision_former", "decision_default"])
def test_a_new_database_beside_such_a_table_is_refused_whole(name, empty_postgres_url):
    execute(empty_postgres_url, f"CREATE TABLE {name} (theirs int)")
    with pytest.raises(ConflictError, match=f"table public.{name} has"):
        migrate(empty_postgres_url)
    assert execute(empty_postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [(name,)]
    execute(empty_postgres_url, f"CREATE SCHEMA other;; ALTER TABLE {name} SET SCHEMA other")
    migrate(empty_postgres_url)
    assert execute(empty_postgres_url, KIND) == [("p", None)]


async def test_a_partition_that_cannot_be_made_ahead_is_named(postgres_url):
    async with open_storage(postgres_url, writer_name="w") as storage:
        execute(postgres_url, "CREATE VIEW decision_20961022 AS SELECT 1")
        with pytest.raises(ConflictError, match=r"view public\.decision_20961022"):
            await storage.partitions.make_ahead(4_000_000_000_000_000)


def test_the_next_migration_does_not_drop_the_foreign_keys_of_others(postgres_url):
    from alembic import command

    engine = dialect.make_engine(dialect.normalise_url(postgres_url), pool_size=1, busy_timeout_s=5)
    with dialect.writing(engine).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0036")
    engine.dispose()
    made = """CREATE TABLE "My: notes" (d text CONSTRAINT "A b" REFERENCES decision);;
    CREATE SCHEMA other;; CREATE TABLE other.reward_event (d text REFERENCES decision)"""
    execute(postgres_url, made)
    before = execute(postgres_url, "SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1")
    with pytest.raises(ConflictError, match="Nothing was changed") as refused:
        migrate(postgres_url)
    assert 'ALTER TABLE "My: notes" DROP CONSTRAINT "A b"' in refused.value.message
    assert "ALTER TABLE other.reward_event DROP CONSTRAINT reward_event_d_fkey" in refused.value.message
    assert execute(postgres_url, "SELECT version_num FROM alembic_version") == [("0036",)]
    assert execute(postgres_url, "SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1") == before
    execute(postgres_url, refused.value.message.rpartition(": ALTER")[2].join(["ALTER", ""]).replace("; ", ";; "))
    migrate(postgres_url)
    assert execute(postgres_url, "SELECT count(*) FROM pg_constraint WHERE confrelid = 'decision'::regclass") == [
        (0,)
    ]
