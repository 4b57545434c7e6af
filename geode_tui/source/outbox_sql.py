"""The SQL of the trigger outbox: its log, its functions, its triggers. Names are quoted here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from geode_tui.catalog import TableName
from geode_tui.source.profile import qualified, quoted

LOCK_TIMEOUT = "2s"
_ARGUMENTS = 40  # pairs in one jsonb_build_object, which takes 100 arguments
# The same settings as the product's sessions: the log holds the text that a SELECT there gives.
PINNED = """
  SET search_path = pg_catalog, pg_temp
  SET timezone = 'UTC'
  SET datestyle = 'ISO, YMD'
  SET intervalstyle = 'iso_8601'
  SET bytea_output = 'hex'
  SET extra_float_digits = '1'
  SET lc_monetary = 'C'"""


@dataclass(frozen=True, slots=True)
class CapturedColumn:
    """A column: `number` is its attnum, `cast` whether its cast to text is not its output."""

    number: int
    name: str
    type_oid: int
    cast: bool = False


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """A table as its triggers are made for it; `relations` are itself and its partitions."""

    oid: int
    name: TableName
    columns: tuple[CapturedColumn, ...]
    key: tuple[str, ...]
    relations: Mapping[int, TableName]


def literal(value: str) -> str:
    """A text as a string constant, whatever standard_conforming_strings is."""
    text = "'" + value.replace("'", "''") + "'"
    return " E" + text.replace("\\", "\\\\") if "\\" in value else text


@dataclass(frozen=True, slots=True)
class Names:
    """The outbox's own names: all in one schema, and triggers that fire before anybody's.

    Triggers fire in the order of their names; one that fired before ours and changed the row
    again would be logged first.
    """

    schema: str

    def of(self, name: str) -> str:
        """A name in the schema, quoted."""
        return f"{quoted(self.schema)}.{quoted(name)}"

    @property
    def log(self) -> str:
        """The log, quoted."""
        return self.of("change_log")

    def trigger(self, what: str) -> str:
        """The name of a trigger, unquoted."""
        other = hashlib.sha256(self.schema.encode()).hexdigest()[:8]
        tail = "" if self.schema == "geode_tui" else f"_{other}"
        return f"!geode_tui_{what}{tail}"

    @property
    def comment(self) -> str:
        """What marks the schema as made by the outbox."""
        return "change log of geode-tui"


def make_log(names: Names, *, schema_exists: bool) -> Iterator[str]:
    """The schema, the log, what is kept of tables and of the clean-up, the shared functions."""
    if not schema_exists:
        yield f"CREATE SCHEMA {quoted(names.schema)}"
        yield f"COMMENT ON SCHEMA {quoted(names.schema)} IS {literal(names.comment)}"
    yield f"""CREATE TABLE {names.log} (
  seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  statement integer NOT NULL DEFAULT 0,
  table_oid oid NOT NULL,
  table_schema text NOT NULL,
  table_name text NOT NULL,
  operation text NOT NULL,
  record_id jsonb,
  old_data jsonb,
  new_data jsonb,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
    yield f"CREATE INDEX ON {names.log} (txid)"
    yield f"""CREATE TABLE {names.of("captured")} (
  table_oid oid PRIMARY KEY,
  table_schema text NOT NULL,
  table_name text NOT NULL,
  columns jsonb NOT NULL,
  key text[] NOT NULL,
  function_digest text NOT NULL,
  since xid8 NOT NULL DEFAULT pg_current_xact_id())"""
    yield f"""CREATE TABLE {names.of("cleaned_up")} (
  made xid8 NOT NULL DEFAULT pg_current_xact_id(),
  before pg_snapshot)"""
    yield f"INSERT INTO {names.of('cleaned_up')} DEFAULT VALUES"
    yield from make_shared_functions(names)


def make_shared_functions(names: Names) -> Iterator[str]:
    """The functions that all captured tables share."""
    bodies = shared_bodies(names)
    # The body has backslashes: it must not depend on the writer's standard_conforming_strings.
    settings = PINNED + "\n  SET standard_conforming_strings = on"
    begin, texts, truncated = (names.of(name) for name in bodies)
    yield _function(f"{begin}()", "trigger", bodies["begin_statement"], "")
    yield _function(f"{texts}(record text, relation oid)", "jsonb", bodies["texts"], settings)
    yield _function(f"{truncated}()", "trigger", bodies["truncated"], PINNED, definer=True)


def shared_bodies(names: Names) -> dict[str, str]:
    """The bodies of the functions that all captured tables share, by name."""
    # Counts the statements of a transaction: row triggers of a statement may fire after those of
    # a statement that another trigger ran on the same table, though it wrote before.
    begin = """
DECLARE counted integer;
BEGIN
  counted := coalesce(nullif(pg_catalog.current_setting('geode_tui.statement', true), ''), '0');
  PERFORM pg_catalog.set_config('geode_tui.statement', (counted + 1)::text, true);
  PERFORM pg_catalog.set_config('geode_tui.depth_' || pg_catalog.pg_trigger_depth(),
                                (counted + 1)::text, true);
  RETURN NULL;
END"""
    # A record's own text taken apart, for a table that was altered after its function was made.
    texts = r"""
BEGIN
  RETURN (
    SELECT jsonb_object_agg(c.attname, f.value)
    FROM (SELECT a.attname, a.attgenerated, row_number() OVER (ORDER BY a.attnum) AS place
          FROM pg_attribute a
          WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped) c
    JOIN (SELECT m.place, CASE WHEN m.field[1] = '' THEN NULL
              WHEN left(m.field[1], 1) = '"' THEN replace(replace(
                substr(m.field[1], 2, length(m.field[1]) - 2), '""', '"'), '\\', '\')
              ELSE m.field[1] END AS value
          FROM regexp_matches(record, '[(,]("(?:[^"\\]|""|\\\\)*"|[^,()"]*)', 'g')
               WITH ORDINALITY AS m(field, place)) f USING (place)
    WHERE c.attgenerated <> 'v');
END"""
    truncated = f"""
BEGIN
  INSERT INTO {names.log} (statement, table_oid, table_schema, table_name, operation)
  VALUES (coalesce(nullif(current_setting('geode_tui.statement', true), ''), '0')::integer + 1,
          TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, 'truncate');
  PERFORM set_config('geode_tui.statement', (coalesce(nullif(current_setting(
    'geode_tui.statement', true), ''), '0')::integer + 1)::text, true);
  RETURN NULL;
END"""
    return {"begin_statement": begin, "texts": texts, "truncated": truncated}


def _function(name: str, returns: str, body: str, settings: str, *, definer: bool = False) -> str:
    security = " SECURITY DEFINER" if definer else ""
    return (
        f"CREATE OR REPLACE FUNCTION {name} RETURNS {returns}\n"
        f"  LANGUAGE plpgsql{security}{settings}\nAS {literal(body)};\n"
        f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"
    )


def function_name(table: CapturedTable) -> str:
    """The name of a table's own trigger function, unquoted."""
    return f"capture_{table.oid}"


def make_function(names: Names, table: CapturedTable) -> str:
    """The trigger function of one table: each column by its own text.

    What fails (a column that is gone, or has another type now) is told by the record's own text.
    """
    key = ", ".join(f"{literal(c)}, coalesce(before, after)->{literal(c)}" for c in table.key)
    record_id = f"record_id := jsonb_build_object({key});" if table.key else ""
    texts = names.of("texts")
    body = f"""
DECLARE before jsonb; after jsonb; record_id jsonb;
BEGIN
  BEGIN
    IF TG_OP <> 'INSERT' THEN before := {_image("OLD", table)}; END IF;
    IF TG_OP <> 'DELETE' THEN after := {_image("NEW", table)}; END IF;
  EXCEPTION WHEN OTHERS THEN
    IF TG_OP <> 'INSERT' THEN before := {texts}(OLD::text, TG_RELID); END IF;
    IF TG_OP <> 'DELETE' THEN after := {texts}(NEW::text, TG_RELID); END IF;
  END;
  {record_id}
  INSERT INTO {names.log}
    (statement, table_oid, table_schema, table_name, operation, record_id, old_data, new_data)
  VALUES (coalesce(nullif(current_setting('geode_tui.depth_' || pg_trigger_depth(), true), ''),
                   '0')::integer,
          {table.oid}, {literal(table.name.schema)}, {literal(table.name.name)}, lower(TG_OP),
          record_id, before, after);
  RETURN NULL;
END"""
    name = names.of(function_name(table)) + "()"
    return _function(name, "trigger", body, PINNED, definer=True)


def _image(record: str, table: CapturedTable) -> str:
    parts = [
        "jsonb_build_object("
        + ", ".join(f"{literal(c.name)}, {_text(record, c)}" for c in some)
        + ")"
        for some in batched(table.columns, _ARGUMENTS)
    ]
    return " || ".join(parts) or "'{}'::jsonb"


def _text(record: str, column: CapturedColumn) -> str:
    """What the type's output function gives: a cast to text may give another text (bool, inet)."""
    value = f"{record}.{quoted(column.name)}"
    if column.cast:
        return f"CASE WHEN num_nulls({value}) = 0 THEN format('%s', {value}) END"
    return f"{value}::text"


def make_triggers(
    names: Names,
    table: CapturedTable,
    missing: set[tuple[int, str]],
    unfit: set[tuple[int, str]],
) -> Iterator[str]:
    """The triggers that are missing, of the table and its partitions, by (oid, name).

    Those of ours that are there but `unfit` are dropped; a trigger of that name that is
    somebody else's makes the set-up fail.
    """
    change, begin, truncate = (names.trigger(w) for w in ("change", "begin", "truncate"))
    own = names.of(function_name(table))
    for oid, name in table.relations.items():
        on = qualified(name)
        if oid == table.oid and (oid, change) in missing:
            if (oid, change) in unfit:
                yield f"DROP TRIGGER {quoted(change)} ON {on}"
            yield (
                f"CREATE TRIGGER {quoted(change)} AFTER INSERT OR UPDATE OR DELETE ON {on}\n"
                f"  FOR EACH ROW EXECUTE FUNCTION {own}()"
            )
        if (oid, begin) in missing:
            if (oid, begin) in unfit:
                yield f"DROP TRIGGER {quoted(begin)} ON {on}"
            yield (
                f"CREATE TRIGGER {quoted(begin)} BEFORE INSERT OR UPDATE OR DELETE ON {on}\n"
                f"  FOR EACH STATEMENT EXECUTE FUNCTION {names.of('begin_statement')}()"
            )
        if (oid, truncate) in missing:
            if (oid, truncate) in unfit:
                yield f"DROP TRIGGER {quoted(truncate)} ON {on}"
            yield (
                f"CREATE TRIGGER {quoted(truncate)} AFTER TRUNCATE ON {on}\n"
                f"  FOR EACH STATEMENT EXECUTE FUNCTION {names.of('truncated')}()"
            )
    for oid, name in table.relations.items():
        for trigger in (change, begin, truncate):
            if (oid, trigger) in missing or (table.oid, trigger) in missing:
                yield f"ALTER TABLE {qualified(name)} ENABLE ALWAYS TRIGGER {quoted(trigger)}"


DIGEST = "md5(concat(p.prosrc, p.proconfig::text, p.prosecdef, p.proowner))"


def note_captured(
    names: Names, table: CapturedTable, columns: str, *, since_now: bool
) -> Iterator[str]:
    """What is remembered of a table: its columns, the function's digest, captured since when."""
    since = ", since = pg_current_xact_id()" if since_now else ""
    key = ", ".join(literal(c) for c in table.key)
    yield f"""INSERT INTO {names.of("captured")}
  (table_oid, table_schema, table_name, columns, key, function_digest)
SELECT {table.oid}, {literal(table.name.schema)}, {literal(table.name.name)},
  {literal(columns)}::jsonb, ARRAY[{key}]::text[], {DIGEST}
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = {literal(names.schema)} AND p.proname = {literal(function_name(table))}
ON CONFLICT (table_oid) DO UPDATE SET table_schema = excluded.table_schema,
  table_name = excluded.table_name, columns = excluded.columns, key = excluded.key,
  function_digest = excluded.function_digest{since}"""


def in_transaction(statements: Sequence[str]) -> list[str]:
    """The statements between BEGIN and COMMIT, writing allowed, no lock waited for long."""
    if not statements:
        return []
    head = ["BEGIN", "SET TRANSACTION READ WRITE", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"]
    return [*head, *statements, "COMMIT"]


READ = """
WITH changes AS NOT MATERIALIZED (
  SELECT * FROM {log}
  WHERE txid >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(txid, $1::text::pg_snapshot))
SELECT t.last, t.count, c.txid::text AS txid,
       c.table_oid, c.table_schema, c.table_name, c.operation,
       c.old_data::text AS old_data, c.new_data::text AS new_data
FROM changes c JOIN (SELECT txid, max(seq) AS last, count(*) AS count FROM changes
                     GROUP BY txid) t USING (txid)
ORDER BY t.last, c.statement, c.seq"""

# Whether all that a position needs is still in the log, and the position is of this server.
POSITION = """
SELECT pg_snapshot_xmax($1::text::pg_snapshot)
         <= pg_snapshot_xmax(pg_current_snapshot()) AS known,
       pg_visible_in_snapshot(made, $1::text::pg_snapshot) AS complete,
       before IS NULL OR (
         pg_snapshot_xmax(before) <= pg_snapshot_xmax($1::text::pg_snapshot)
         AND NOT EXISTS (SELECT FROM pg_snapshot_xip($1::text::pg_snapshot) AS x
                         WHERE pg_visible_in_snapshot(x, before))) AS kept,
       pg_current_snapshot()::text AS fence
FROM {cleaned_up}"""

CLEAN_UP = """
DELETE FROM {log} WHERE seq = ANY (ARRAY(
  SELECT seq FROM {log}
  WHERE txid < pg_snapshot_xmax($1::text::pg_snapshot)
    AND pg_visible_in_snapshot(txid, $1::text::pg_snapshot)
  ORDER BY seq LIMIT $2))"""

# Every table that is asked for, with what decides whether and how it can be captured.
TABLES = """
SELECT w.place, w.schema, w.name, c.oid, c.relkind::text AS kind, c.relpersistence::text AS kept,
       pg_has_role(c.relowner, 'USAGE') AS owned, pg_get_userbyid(c.relowner) AS owner,
       c.relispartition AS is_partition,
       (SELECT count(*) FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid
        WHERE h.inhparent = c.oid AND NOT k.relispartition) AS children,
       ARRAY(SELECT a.attname::text FROM pg_index x
             CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS i(number, place)
             JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = i.number
             WHERE x.indrelid = c.oid AND x.indisprimary AND i.place <= x.indnkeyatts
             ORDER BY i.place) AS key
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, place)
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
ORDER BY w.schema COLLATE "C", w.name COLLATE "C" """

# A virtual generated column has no value that a trigger sees.
COLUMNS = """
SELECT a.attrelid AS oid, a.attnum AS number, a.attname AS name, a.atttypid AS type_oid,
       EXISTS (SELECT FROM pg_cast k
               WHERE k.castsource = coalesce(nullif(b.base, 0), a.atttypid)
                 AND k.casttarget = 'text'::regtype AND k.castmethod <> 'b') AS cast
FROM pg_attribute a
CROSS JOIN LATERAL (
  WITH RECURSIVE up AS (
    SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid
    UNION ALL SELECT t.oid, t.typbasetype FROM pg_type t JOIN up ON t.oid = up.typbasetype)
  SELECT oid AS base FROM up WHERE typbasetype = 0) b
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated <> 'v'
ORDER BY a.attrelid, a.attnum"""

RELATIONS = """
SELECT r.root, c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       pg_has_role(c.relowner, 'USAGE') AS owned
FROM unnest($1::oid[]) AS r(root)
CROSS JOIN LATERAL (SELECT r.root AS relid
                    UNION SELECT relid::oid FROM pg_partition_tree(r.root::regclass)) p
JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY r.root, c.oid <> r.root, n.nspname COLLATE "C", c.relname COLLATE "C" """

# Ours are those that run a function of the schema.
TRIGGERS = """
SELECT t.tgrelid AS oid, t.tgname AS name, t.tgenabled::text AS enabled, t.tgtype AS type,
       t.tgqual IS NOT NULL AS has_condition, p.proname AS function, t.xmin::text AS touched,
       t.tgparentid <> 0 AS is_clone, rn.nspname AS schema, r.relname AS relation
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_class r ON r.oid = t.tgrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE n.nspname = $1 AND NOT t.tgisinternal OR n.nspname = $1 AND t.tgparentid <> 0
ORDER BY rn.nspname COLLATE "C", r.relname COLLATE "C", t.tgname"""

CAPTURED = """
SELECT c.table_oid AS oid, c.table_schema AS schema, c.table_name AS name, c.columns::text,
       c.key, c.since::text AS since, c.function_digest AS noted,
       (SELECT {digest} FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = $1 AND p.proname = 'capture_' || c.table_oid) AS digest
FROM {captured} c"""

EARLIER_TRIGGERS = """
SELECT t.tgrelid AS oid, t.tgname AS name FROM pg_trigger t
WHERE t.tgrelid = ANY ($1::oid[]) AND NOT t.tgisinternal AND t.tgname < $2
  AND t.tgtype & 1 = 1 AND t.tgtype & 66 = 0"""

STATE = """
SELECT (SELECT count(*) FROM {log}) AS rows,
       pg_total_relation_size({log_name}::regclass) AS bytes,
       (SELECT extract(epoch FROM clock_timestamp() - changed_at)::float8
        FROM {log} ORDER BY seq LIMIT 1) AS age"""

# pg_locks shows everybody's transactions to everybody; pg_stat_activity may hide the rest.
OLDEST_WRITER = """
SELECT l.pid, a.xact_start AS since, coalesce(a.application_name, '') AS application
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY age(l.transactionid) DESC LIMIT 1"""

OURS_IN_SCHEMA = """
SELECT n.oid IS NOT NULL AS there, obj_description(n.oid, 'pg_namespace') AS comment,
       has_schema_privilege(n.oid, 'CREATE') AS can_create,
       ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = n.oid AND relkind = 'r')
         AS tables,
       (SELECT json_object_agg(proname, prosrc)::text FROM pg_proc WHERE pronamespace = n.oid)
         AS functions,
       (SELECT count(*) FROM pg_depend d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid) AS objects
FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1"""
