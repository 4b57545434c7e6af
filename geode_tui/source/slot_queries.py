"""The SQL of change capture by a slot."""

from __future__ import annotations

NOT_IN_STATE = "55000"
"""Of the warning by which PostgreSQL 18 skips a publication that was not there yet."""

EXPORT = "SELECT set_config('application_name', pg_export_snapshot(), false)"

VERSION = "SELECT current_setting('server_version_num')::int"

FLUSHED = "SELECT pg_current_wal_flush_lsn()::text"

NEAR = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

CREATE = "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')"

PEEK_SETTINGS = (
    "SET LOCAL client_min_messages = 'warning'; SET LOCAL statement_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)

_PEEKED = """pg_logical_slot_peek_binary_changes($1::text, $2::text::pg_lsn, {most},
  'proto_version', '1', 'publication_names', {names}, 'messages', 'true')"""

PEEK = "SELECT data FROM " + _PEEKED.format(most="$3::int", names="$4::text")

COUNT = "SELECT count(*) FROM " + _PEEKED.format(most="NULL", names="$3::text")

ADVANCE = """
SELECT CASE WHEN confirmed_flush_lsn IS NULL OR confirmed_flush_lsn < $2::text::pg_lsn
            THEN (pg_replication_slot_advance(slot_name, $2::text::pg_lsn)).end_lsn END::text
FROM pg_replication_slots WHERE slot_name = $1
"""

# The text goes as UTF-8 bytes, whatever the database's encoding is.
SEND = "SELECT pg_logical_emit_message(true, $1::text, convert_to($2::text, 'UTF8'))::text"

STATE = """
SELECT s.active, s.active_pid, coalesce(s.wal_status, '') AS wal_status,
       pg_wal_lsn_diff(w.here, s.restart_lsn)::bigint AS retained_bytes,
       s.safe_wal_size::bigint AS safe_wal_size,
       coalesce(s.confirmed_flush_lsn::text, '') AS confirmed,
       pg_wal_lsn_diff(w.here, s.confirmed_flush_lsn)::bigint AS lag_bytes,
       coalesce(to_jsonb(s) ->> 'invalidation_reason',
                CASE WHEN (to_jsonb(s) ->> 'conflicting')::bool THEN 'conflict' END, '')
         AS invalidation_reason
FROM pg_replication_slots s,
     (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                  ELSE pg_current_wal_flush_lsn() END AS here) w
WHERE s.slot_name = $1
"""

OURS = """
SELECT database, plugin, database = current_database() AND plugin = 'pgoutput' AS ours
FROM pg_replication_slots WHERE slot_name = $1
"""

USER = """
SELECT s.active_pid AS pid, coalesce(nullif(a.application_name, ''), 'unknown') AS application
FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
WHERE s.slot_name = $1 AND s.active_pid IS NOT NULL
"""

HELD_BY = (
    "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active_pid = $2)"
)

# What another role does is hidden, its session, transaction id and application are not.
BLOCKERS = """
SELECT pid, xact_start AS since,
       coalesce(nullif(application_name, ''), usename, 'unknown') AS application
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid NOT IN ($1, pg_backend_pid())
UNION ALL
SELECT NULL, prepared, gid FROM pg_prepared_xacts
ORDER BY since NULLS LAST
"""

SERVER = """
SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
       current_setting('max_replication_slots')::int AS max_slots,
       (SELECT count(*)::int FROM pg_replication_slots) AS slots,
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1) AS exists,
       current_setting('max_wal_senders')::int AS max_senders,
       (SELECT count(*)::int FROM pg_stat_replication) AS senders,
       current_setting('max_slot_wal_keep_size') AS keep,
       coalesce(current_setting('idle_replication_slot_timeout', true), '') AS idle,
       current_user::text AS role, current_database()::text AS database,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user
               AND (r.rolsuper OR r.rolreplication))
         OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication'
                    AND pg_has_role(r.oid, 'MEMBER')) AS may_replicate
"""

PUBLICATION_EXISTS = "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)"

PUBLICATION = """
SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS operations,
       p.pubviaroot AS via_root,
       EXISTS (SELECT FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
               WHERE r.prpubid = p.oid AND c.relkind = 'p') AS partitioned
FROM pg_publication p WHERE p.pubname = $1
"""

# Row filters and lists of columns came with PostgreSQL 15.
PUBLISHED = """
SELECT n.nspname::text AS schema, c.relname::text AS name,
       coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL AS cut
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1
"""

# An entry older than the oldest transaction that the slot knows of was there before it. A table
# that came with the publication is judged by it.
ORDER = """
SELECT age(p.xmin) > age(s.catalog_xmin) AS proven,
       ARRAY(SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN unnest($3::text[], $4::text[]) AS wanted(schema, name)
               ON wanted.schema = n.nspname AND wanted.name = c.relname
             WHERE r.prpubid = p.oid AND r.xmin <> p.xmin AND age(r.xmin) <= age(s.catalog_xmin)
             ORDER BY 1) AS late_tables
FROM pg_publication p, pg_replication_slots s WHERE p.pubname = $1 AND s.slot_name = $2
"""

# The tables with their partitions. Only an index that is valid, unique at once, whole and of
# plain columns that are never null can be the identity.
RELATIONS = """
WITH RECURSIVE wanted AS (
  SELECT c.oid, n.nspname AS root_schema, c.relname AS root_name, true AS is_root
  FROM unnest($1::text[], $2::text[]) AS w(schema, name)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
  SELECT i.inhrelid, w.root_schema, w.root_name, false
  FROM wanted w JOIN pg_inherits i ON i.inhparent = w.oid
  JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
), indexes AS (
  SELECT i.indrelid, x.relname, i.indisprimary, i.indisreplident
  FROM wanted w JOIN pg_index i ON i.indrelid = w.oid JOIN pg_class x ON x.oid = i.indexrelid
  WHERE i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
    AND NOT EXISTS (
      SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
      WHERE k.place <= i.indnkeyatts AND a.attnotnull IS NOT TRUE)
)
SELECT w.root_schema::text, w.root_name::text, w.is_root, n.nspname::text AS schema,
       c.relname::text AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence,
       c.relreplident::text AS identity, pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       CASE c.relreplident
         WHEN 'f' THEN true
         WHEN 'd' THEN EXISTS (SELECT FROM indexes i WHERE i.indrelid = c.oid AND i.indisprimary)
         WHEN 'i' THEN EXISTS (SELECT FROM indexes i WHERE i.indrelid = c.oid AND i.indisreplident)
         ELSE false END AS identified,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'
               AND NOT a.attisdropped) AS virtual,
       c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AS may_mend,
       (SELECT i.relname::text FROM indexes i WHERE i.indrelid = c.oid
        ORDER BY i.indisprimary DESC, i.relname LIMIT 1) AS candidate
FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY w.root_schema, w.root_name, w.is_root DESC, schema, name
"""
