"""What hangs on the decision log beside its rows, by PostgreSQL's catalogue, and how it goes over to another table.

Whoever puts another table in the log's place drops the old one with all that depends on it, makes again what can be
made again, and compares the catalogue with what it was: what is missing is named and fails the transaction. So a kind
of object that nobody has thought of here is refused, not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import NotSupportedError, ProgrammingError

from banditd.core.errors import ConflictError
from banditd.storage.schema import decision, metadata

Thing = tuple[str, str]
"""An object, and a property that it has; ``""`` is the object itself."""

# What DROP TABLE ... CASCADE would reach: objects, or columns of them. deptype 'i': a part that goes with its object.
_HANGING: Final = """
WITH RECURSIVE hanging (classid, objid, objsubid) AS (
    SELECT 'pg_class'::regclass::oid, to_regclass(:log)::oid, 0
    UNION
    SELECT next.* FROM hanging AS h, LATERAL (
        SELECT classid, objid, objsubid FROM pg_depend
        WHERE refclassid = h.classid AND refobjid = h.objid AND (h.objsubid = 0 OR refobjsubid = h.objsubid)
        UNION ALL
        SELECT refclassid, refobjid, refobjsubid FROM pg_depend
        WHERE classid = h.classid AND objid = h.objid AND deptype = 'i'
    ) AS next
),
relation AS (
    SELECT * FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace AND oid IN (
        SELECT objid FROM hanging WHERE classid = 'pg_class'::regclass AND objsubid = 0)
),
col AS (
    SELECT pg_attribute.* FROM relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
)
"""
# What LIKE copies of a column.
_COLUMN: Final = """
    'type', format_type(atttypid, atttypmod), 'collation', nullif(attcollation, 0)::regcollation,
    'NOT NULL', nullif(attnotnull, false), 'storage', attstorage, 'compression', nullif(attcompression, ''),
    'default', (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum)
"""
_ACL: Final = """(SELECT string_agg(concat_ws(' ', nullif(grantee, 0)::regrole, privilege_type, is_grantable,
        grantor::regrole), ', ' ORDER BY grantee, privilege_type, grantor) FROM aclexplode({}))"""

# Objects that are no part of another one, without constraints for NOT NULL (a column's property) and our own foreign
# keys (a partitioned log has none); what PostgreSQL 15 to 18 can set on tables, views, indexes and their columns.
_PROPERTIES: Final = f"""
SELECT classid, objid, objsubid, '{{"": ""}}'::jsonb FROM hanging AS h
WHERE NOT EXISTS (
    SELECT FROM pg_depend AS d
    WHERE d.classid = h.classid AND d.objid = h.objid AND d.refobjid <> h.objid AND d.deptype = 'i')
AND NOT EXISTS (
    SELECT FROM pg_class AS c WHERE c.oid = objid AND classid = 'pg_class'::regclass
    AND c.relnamespace = 'pg_toast'::regnamespace)
AND NOT EXISTS (
    SELECT FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE classid = 'pg_constraint'::regclass AND k.oid = objid AND (k.contype = 'n'
        OR k.contype = 'f' AND k.confrelid = to_regclass(:log)
        AND c.oid = to_regclass(c.relname) AND c.relname = ANY(:ours)))
UNION ALL
SELECT 'pg_class'::regclass, oid, 0, jsonb_build_object(
    'owner', relowner::regrole,
    'privileges', coalesce({_ACL.format("coalesce(relacl, acldefault('r', relowner))")}, 'none'),
    'row-level security', nullif(relrowsecurity, false),
    'forced row-level security', nullif(relforcerowsecurity, false),
    'storage parameters', array_to_string(reloptions, ', '), 'storage parameters of TOAST',
    (SELECT array_to_string(t.reloptions, ', ') FROM pg_class AS t WHERE t.oid = relation.reltoastrelid),
    'replica identity', nullif(relreplident, 'd'), 'persistence', nullif(relpersistence, 'p'),
    'tablespace', (SELECT spcname FROM pg_tablespace AS s WHERE s.oid = reltablespace),
    'access method', (SELECT amname FROM pg_am AS m WHERE m.oid = relam AND amtype = 't' AND amname <> 'heap'),
    'row type', nullif(reloftype, 0)::regtype,
    'inheritance', (SELECT string_agg(inhparent::regclass::text, ', ') FROM pg_inherits WHERE inhrelid = oid),
    'subscription', (SELECT string_agg(srsubid::text, ', ') FROM pg_subscription_rel WHERE srrelid = oid),
    'clustering', (SELECT nullif(indisclustered, false) FROM pg_index WHERE indexrelid = oid),
    'definition', CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid)
        WHEN relkind IN ('i', 'I') THEN replace(pg_get_indexdef(oid), ' ON ONLY ', ' ON ') END
) FROM relation
UNION ALL
SELECT 'pg_class'::regclass, attrelid, 0, (
    SELECT jsonb_object_agg(format('%s of column %s', key, attname), value) FROM jsonb_each_text(jsonb_build_object(
        {_COLUMN}, 'identity', nullif(attidentity, ''), 'generation', nullif(attgenerated, ''),
        'statistics target', nullif(attstattarget, -1), 'options', array_to_string(attoptions, ', '),
        'privileges', {_ACL.format("attacl")}) - 'default'))
FROM col
UNION ALL
SELECT classoid, objoid, 0, jsonb_build_object(concat_ws(' of column ', 'comment', attname), description)
FROM pg_description LEFT JOIN col ON classoid = 'pg_class'::regclass AND attrelid = objoid AND attnum = objsubid
WHERE (classoid, objoid) IN (SELECT classid, objid FROM hanging)
UNION ALL
SELECT classoid, objoid, 0, jsonb_build_object(format('security label %s of %s', objsubid, provider), label)
FROM pg_seclabel WHERE (classoid, objoid) IN (SELECT classid, objid FROM hanging)
"""  # noqa: S608 - our own text
_FOUND: Final = text(f"""{_HANGING}, property (classid, objid, objsubid, described) AS ({_PROPERTIES})
SELECT concat_ws(' ', i.type, i.identity), key, value FROM property,
LATERAL pg_identify_object(classid, objid, objsubid) AS i, LATERAL jsonb_each_text(jsonb_strip_nulls(described))
""")  # noqa: S608

# Default privileges that came after the log would be new on it.
_STATEMENTS: Final = text(f"""{_HANGING}, made AS (
    SELECT *, oid::regclass::text AS name, pg_get_userbyid(relowner) AS owner FROM relation
    WHERE relkind = 'v' OR oid = to_regclass(:log)
), granted AS (
    SELECT made.oid, name, owner, '' AS part, one.* FROM made, aclexplode(relacl) AS one
    UNION ALL
    SELECT made.oid, name, owner, format(' (%I)', attname), one.*
    FROM made JOIN col ON attrelid = oid, aclexplode(attacl) AS one
)
SELECT statement FROM (
    SELECT oid, 0, format('CREATE VIEW %s %s AS %s', name,
        'WITH (' || array_to_string(reloptions, ', ') || ')', pg_get_viewdef(oid)) FROM made WHERE relkind = 'v'
    UNION ALL
    SELECT oid, 1, format('ALTER TABLE %s OWNER TO %I', name, owner) FROM made WHERE owner <> current_user
    UNION ALL
    SELECT made.oid, 2, format('REVOKE ALL ON %s FROM %s', name,
        coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'))
    FROM made, pg_default_acl, aclexplode(defaclacl) WHERE defaclobjtype = 'r' AND grantee <> relowner
    UNION ALL
    SELECT oid, 3, format('GRANT %s ON %s TO %s', privilege_type || part, name,
        coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC')
        || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM granted WHERE pg_get_userbyid(grantee) <> owner
    UNION ALL
    SELECT objoid, 4, format('COMMENT ON %s %s IS %L', upper(substring(i.type from '\\w+$')), i.identity, description)
    FROM pg_description, pg_identify_object(classoid, objoid, objsubid) AS i
    WHERE (classoid, objoid) IN (SELECT classid, objid FROM hanging)
) AS ordered (oid, step, statement) ORDER BY oid, step
""")  # noqa: S608


def replace_log(connection: Connection, swap: Callable[[], None], indexes: Iterable[str] = ()) -> list[str]:
    """Let ``swap`` put another table in the log's place; returns what went over to it, for people.

    swap : drops the log with all that depends on it, and gives its name to a table with equal columns and key.
    indexes : statements that make those that the new table does not have yet.

    Raises ConflictError where something would be lost; the transaction has to be rolled back then.
    """
    before, statements = _found(connection), belongings(connection)
    swap()
    refused = _execute(connection, [*indexes, *statements])
    after = _found(connection)
    lost = [thing for thing, value in before.items() if after.get(thing) != value]
    if lost:
        raise ConflictError(_refusal(lost, before, after, refused))
    known = {str(index.name) for index in decision.indexes}
    objects = [
        name for name, of in before
        if not of and name.startswith(("view ", "index ")) and name.rpartition(".")[2] not in known
    ]  # fmt: skip
    return [*sorted(objects), *(one for one in statements if one.startswith(("ALTER ", "GRANT ", "COMMENT ")))]


def belongings(connection: Connection) -> list[str]:
    """The statements that make again, once the log is dropped, its views and theirs, owners, privileges, comments."""
    return list(connection.execute(_STATEMENTS, {"log": decision.name}).scalars())


def columns_of(connection: Connection, table: str) -> dict[str, str]:
    """How each column was made, by its quoted name; none where there is no such table."""
    query = text(
        f"SELECT quote_ident(attname), jsonb_build_object({_COLUMN})::text FROM pg_attribute "  # noqa: S608
        "WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return {row[0]: row[1] for row in connection.execute(query, {"table": table})}


def execute_literally(connection: Connection, statement: str) -> None:
    """Whatever colons and per cent signs are in it."""
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _found(connection: Connection) -> dict[Thing, str]:
    """All that hangs on the log, and the properties it has, by object and property."""
    values = {"log": decision.name, "ours": list(metadata.tables)}
    return {(name, of): value for name, of, value in connection.execute(_FOUND, values)}


def _execute(connection: Connection, statements: Iterable[str]) -> dict[str, str]:
    """In whatever order they need each other; returns those that PostgreSQL refuses, and why."""
    waiting, refused = list(statements), dict[str, str]()
    while waiting:
        refused = {}
        for statement in waiting:
            try:
                with connection.begin_nested():
                    execute_literally(connection, statement)
            except (ProgrammingError, NotSupportedError) as error:
                refused[statement] = str(error.orig).partition("\n")[0]
        if len(refused) == len(waiting):
            break
        waiting = list(refused)
    return refused


def _refusal(
    lost: Iterable[Thing], before: Mapping[Thing, str], after: Mapping[Thing, str], refused: Mapping[str, str]
) -> str:
    there = {name for name, _ in after}
    named = {f"{of} of {name} ({before[name, of]})" if of else name for name, of in lost if not of or name in there}
    return "\n".join(
        [
            "the move into partitions would lose these, so nothing was changed:",
            *(f"  {one}" for one in sorted(named)),
            *(f"PostgreSQL says: {one}" for one in sorted(set(refused.values()))),
            "Write down what makes each (pg_dump --schema-only), drop or reset it, run this again, and make it anew.",
        ]
    )
