"""The SQL that lets writes to some tables stand still, and that looks who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import batched

from geode_tui.catalog import TableName
from geode_tui.source.outbox_sql import literal
from geode_tui.source.profile import qualified, quoted

LOCK_MODE = "SHARE ROW EXCLUSIVE"
"""Writers wait, readers go on; triggers can be made under it without asking for more."""
PASS = "geode_tui.way_back"
"""The setting by which a session of ours, when it leads rows back, is let through."""
READ_ONLY = "25006"
_LOCKED_AT_ONCE = 200
_TRIGGER = "!geode_tui_freeze"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one freeze: all in a schema of its own, triggers that fire before others."""

    schema: str

    @property
    def function(self) -> str:
        """The function that refuses writes, quoted."""
        return f"{quoted(self.schema)}.stand_still"

    def triggers(self, row_too: bool) -> Iterator[tuple[str, str, str]]:
        """Name, events and level of each trigger of a table."""
        yield _TRIGGER, "INSERT OR UPDATE OR DELETE", "STATEMENT"
        yield f"{_TRIGGER}_truncate", "TRUNCATE", "STATEMENT"
        if row_too:
            yield f"{_TRIGGER}_row", "INSERT OR UPDATE OR DELETE", "ROW"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that is frozen, or a partition of one."""

    oid: int
    name: TableName
    kind: str


def lock_tables(relations: Sequence[Relation]) -> Iterator[str]:
    """Lock all, in the order given; each alone, without those that inherit from it."""
    for some in batched(relations, _LOCKED_AT_ONCE):
        names = ", ".join(f"ONLY {qualified(one.name)}" for one in some)
        yield f"LOCK TABLE {names} IN {LOCK_MODE} MODE"


def make_schema(names: Names, what: str) -> Iterator[str]:
    """The schema of a freeze, with a word for whoever finds it."""
    yield f"CREATE SCHEMA {quoted(names.schema)}"
    yield f"COMMENT ON SCHEMA {quoted(names.schema)} IS {literal(what)}"


def make_function(names: Names, until: float | None, what: str) -> Iterator[str]:
    """The function that refuses writes `until` then (seconds since the epoch), or for good.

    The time is in its body: it lets writes through when it has passed, whoever is alive. The
    comment tells it to `STATE`.
    """
    deadline = "'infinity'" if until is None else repr(until)
    body = f"""
BEGIN
  IF extract(epoch FROM clock_timestamp()) < {deadline}::float8
     AND coalesce(current_setting({literal(PASS)}, true), '') <> {literal(names.schema)} THEN
    RAISE EXCEPTION USING ERRCODE = '{READ_ONLY}',
      MESSAGE = format('%I.%I takes no writes now: ', TG_TABLE_SCHEMA, TG_TABLE_NAME)
                || {literal(what)};
  END IF;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NEW;
END"""
    yield (
        f"CREATE OR REPLACE FUNCTION {names.function}() RETURNS trigger LANGUAGE plpgsql\n"
        f"  SET search_path = pg_catalog, pg_temp AS {literal(body)}"
    )
    yield f"REVOKE ALL ON FUNCTION {names.function}() FROM PUBLIC"
    comment = "infinity" if until is None else repr(until)
    yield f"COMMENT ON FUNCTION {names.function}() IS {literal(comment)}"


def make_triggers(names: Names, relations: Sequence[Relation]) -> Iterator[str]:
    """Triggers that refuse each statement, and each row: what writes through a parent table, or
    applies a subscription, runs no statement on the table itself.
    """
    for relation in relations:
        on = qualified(relation.name)
        for name, events, level in names.triggers(row_too=relation.kind == "r"):
            yield (
                f"CREATE TRIGGER {quoted(name)} BEFORE {events} ON {on}\n"
                f"  FOR EACH {level} EXECUTE FUNCTION {names.function}()"
            )
            yield f"ALTER TABLE ONLY {on} ENABLE ALWAYS TRIGGER {quoted(name)}"


def drop_trigger(name: str, table: TableName) -> str:
    """Take a trigger away."""
    return f"DROP TRIGGER IF EXISTS {quoted(name)} ON {qualified(table)}"


def drop_schema(names: Names) -> Iterator[str]:
    """Take the function and the schema away, once no trigger needs them."""
    yield f"DROP FUNCTION IF EXISTS {names.function}()"
    yield f"DROP SCHEMA IF EXISTS {quoted(names.schema)}"


# The tables, with all partitions. What is no table, or is gone, has no oid.
RELATIONS = """
SELECT w.schema AS wanted_schema, w.name AS wanted_name, r.oid, rn.nspname AS schema,
       r.relname AS name, r.relkind::text AS kind,
       pg_has_role(r.relowner, 'USAGE') OR has_table_privilege(r.oid, 'TRIGGER') AS may_trigger,
       has_table_privilege(r.oid, 'UPDATE, DELETE, TRUNCATE') AS may_lock
FROM unnest($1::text[], $2::text[]) AS w(schema, name)
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p')
LEFT JOIN LATERAL (SELECT c.oid AS relid WHERE c.oid IS NOT NULL
                   UNION SELECT relid::oid FROM pg_partition_tree(c.oid::regclass)) p ON true
LEFT JOIN pg_class r ON r.oid = p.relid AND r.relkind IN ('r', 'p')
LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
ORDER BY rn.nspname COLLATE "C", r.relname COLLATE "C" """

RIGHTS = """
SELECT has_database_privilege(current_database(), 'CREATE') AS may_create,
       current_database()::text AS database, current_user::text AS role"""

# What is there of a freeze: until when its function refuses writes, its triggers.
STATE = """
SELECT n.oid IS NOT NULL AS there, obj_description(p.oid, 'pg_proc') AS until,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT count(*) FROM pg_trigger t WHERE t.tgfoid = p.oid AND t.tgenabled = 'A') AS triggers
FROM (SELECT 1) one
LEFT JOIN pg_namespace n ON n.nspname = $1
LEFT JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'stand_still'"""

TRIGGERS = """
SELECT t.tgname AS trigger, rn.nspname AS schema, r.relname AS name
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_class r ON r.oid = t.tgrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE n.nspname = $1 AND p.proname = 'stand_still' AND t.tgparentid = 0
ORDER BY rn.nspname COLLATE "C", r.relname COLLATE "C", t.tgname"""

# Who holds, or waits for, a lock on the tables that stands in the way of a freeze. A prepared
# transaction has no session: its name is told in place of the application's.
SESSIONS = """
SELECT DISTINCT ON (coalesce(l.pid, 0), x.gid) coalesce(l.pid, 0) AS pid,
       coalesce(a.usename::text, x.owner::text, '') AS "user",
       CASE WHEN x.gid IS NOT NULL THEN 'prepared transaction ' || x.gid
            WHEN a.backend_type = 'autovacuum worker' THEN 'autovacuum'
            ELSE coalesce(a.application_name, '') END AS application,
       extract(epoch FROM coalesce(
         CASE WHEN l.granted THEN a.xact_start ELSE a.query_start END,
         x.prepared))::float8 AS since,
       CASE WHEN x.gid IS NOT NULL THEN 'prepared' ELSE coalesce(a.state, '') END AS state,
       coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), '') AS query
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks t ON l.pid IS NULL AND t.virtualtransaction = l.virtualtransaction
  AND t.locktype = 'transactionid'
LEFT JOIN pg_prepared_xacts x ON l.pid IS NULL AND x.transaction = t.transactionid
WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[])
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND l.granted = $2 AND NOT coalesce(l.pid, 0) = ANY ($3::int[])
ORDER BY coalesce(l.pid, 0), x.gid, 4"""

# Transactions that have written, or hold locks, for long; sessions of others only.
LONG_TRANSACTIONS = """
SELECT * FROM (
  SELECT a.pid, coalesce(a.usename::text, '') AS "user",
         coalesce(a.application_name, '') AS application,
         extract(epoch FROM a.xact_start)::float8 AS since, coalesce(a.state, '') AS state,
         coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), '') AS query,
         extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
  FROM pg_stat_activity a
  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.backend_type <> 'autovacuum worker'
    AND (a.backend_xid IS NOT NULL OR a.pid = ANY ($2::int[]))
  UNION ALL
  SELECT 0, x.owner::text, 'prepared transaction ' || x.gid,
         extract(epoch FROM x.prepared)::float8, 'prepared', '',
         extract(epoch FROM clock_timestamp() - x.prepared)::float8
  FROM pg_prepared_xacts x WHERE x.database = current_database()) t
WHERE seconds > $1 ORDER BY seconds DESC"""
