"""The questions to pg_catalog, for PostgreSQL 13 and later.

information_schema is not used: it hides objects without rights and its usual foreign-key join took
over 200 seconds on 2,000 tables where pg_constraint took 71 ms. Every question but the first is
given the relations it is about. Functions that the server runs for each object (the text of an
expression, of a view, of a trigger) are called only where there is something to spell. Rows of many
objects come in no order: a sort would keep all of them back until the last is made.
"""

from __future__ import annotations

FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS number,
       current_database() AS database, session_user AS role,
       coalesce(host(inet_server_addr()), 'local socket') AS host,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS replica,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS oid
"""

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
HELD = " + ".join(
    f"(has_table_privilege(c.oid, '{name}')::int << {bit})" for bit, name in enumerate(PRIVILEGES)
)

# Nothing of the system's, of other sessions' temporary schemas, or that belongs to an extension.
# Partitions of all schemas: they may lie elsewhere than their table, and its rows are in them.
RELATIONS = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       c.relispartition AS is_partition, c.reltuples::bigint AS reltuples,
       d.description AS comment, has_schema_privilege(n.oid, 'USAGE') AS usable,
       CASE WHEN c.relispartition THEN 0 ELSE {HELD} END AS privileges,
       c.relrowsecurity AND row_security_active(c.oid) AS row_security,
       pg_get_userbyid(c.relowner) AS owner,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition,
       i.parents, i.schemas AS parent_schemas, i.names AS parent_names
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_description d
  ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
LEFT JOIN (
  SELECT h.inhrelid, array_agg(h.inhparent ORDER BY h.inhseqno) AS parents,
         array_agg(pn.nspname ORDER BY h.inhseqno)::text[] AS schemas,
         array_agg(p.relname ORDER BY h.inhseqno)::text[] AS names
  FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
  JOIN pg_namespace pn ON pn.oid = p.relnamespace
  WHERE p.relkind IN ('r', 'p', 'f') GROUP BY h.inhrelid) i ON i.inhrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%'
  AND ($1::text[] IS NULL OR n.nspname = ANY ($1) OR c.relispartition)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

# $2 says of each relation whether all of it may be read: only else are its columns asked.
COLUMNS = """
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
       a.attnotnull AND u.oid IS NULL AS required, a.attcollation,
       a.attidentity <> '' AS identity, a.attgenerated <> '' AS generated,
       s.description AS comment,
       w.readable OR has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS readable
FROM unnest($1::oid[], $2::boolean[]) AS w(oid, readable)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_description s
  ON s.objoid = a.attrelid AND s.classoid = 'pg_class'::regclass AND s.objsubid = a.attnum
LEFT JOIN pg_constraint u
  ON u.conrelid = a.attrelid AND u.contype = 'n' AND NOT u.convalidated
  AND u.conkey = ARRAY[a.attnum]
"""

# Only a generated column's expression names columns: told none, the server need not name all of
# the table's columns for every default (8 s for a table of 1,100 columns before PostgreSQL 16).
DEFAULTS = """
SELECT d.adrelid, d.adnum,
       pg_get_expr(d.adbin, CASE a.attgenerated WHEN '' THEN 0::oid ELSE d.adrelid END)
FROM unnest($1::oid[]) AS w(oid) JOIN pg_attrdef d ON d.adrelid = w.oid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
"""

TYPES = """
WITH RECURSIVE wanted AS (
  SELECT * FROM unnest($1::oid[], $2::int[]) AS w(oid, modifier)
), used(oid) AS (
  SELECT oid FROM wanted
  UNION
  SELECT part.oid FROM used JOIN pg_type t ON t.oid = used.oid
  CROSS JOIN LATERAL (
    SELECT t.typbasetype
    UNION ALL SELECT t.typelem WHERE t.typcategory = 'A'
    UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
    UNION ALL SELECT r.rngtypid FROM pg_range r
      WHERE t.typtype = 'm' AND (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    UNION ALL SELECT a.atttypid FROM pg_attribute a
      WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) part(oid)
  WHERE part.oid <> 0
)
SELECT t.oid, t.typname AS name, t.typtype::text AS kind, t.typcategory::text AS category,
       format_type(t.oid, NULL) AS declared, t.typbasetype AS base, t.typtypmod AS modifier,
       t.typelem AS element, t.typnotnull AS required, t.typcollation AS collation,
       coalesce((SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid),
                (SELECT r.rngtypid FROM pg_range r WHERE t.typtype = 'm'
                 AND (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid)) AS ranged,
       (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid)::text[] AS labels,
       CASE WHEN t.typtype = 'c' THEN (
         SELECT jsonb_agg(jsonb_build_array(a.attname, a.atttypid::bigint, a.atttypmod,
                                            format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
         FROM pg_attribute a
         WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END AS fields,
       CASE WHEN t.typtype = 'd' THEN (
         SELECT jsonb_agg(jsonb_build_array(k.conname, pg_get_expr(k.conbin, 0), k.convalidated)
                          ORDER BY k.conname)
         FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c') END AS checks,
       (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
          AND d.refclassid = 'pg_extension'::regclass) AS extension,
       (SELECT jsonb_object_agg(w.modifier, format_type(t.oid, w.modifier))
        FROM wanted w WHERE w.oid = t.oid) AS spelled
FROM used JOIN pg_type t ON t.oid = used.oid
"""

COLLATIONS = """
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.collname) AS name,
       c.collisdeterministic AS deterministic
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = ANY ($1::oid[])
"""

# `%s` is the column that tells a temporal key, where the server knows such. A foreign key to a
# relation that is not among ours brings the names of its end itself.
CONSTRAINTS = """
SELECT k.conrelid AS relation, k.conname AS name, k.contype::text AS kind,
       k.conkey AS columns, k.confrelid AS target, k.confkey AS target_columns,
       %s AS temporal, k.condeferrable AS deferrable, k.convalidated AS validated,
       k.confdeltype::text AS on_delete,
       CASE WHEN k.contype = 'c' THEN pg_get_expr(k.conbin, k.conrelid) END AS expression,
       CASE WHEN k.contype = 'f' AND own.oid IS NULL THEN (
         SELECT jsonb_build_array(tn.nspname, tc.relname, tc.relispartition,
                                  jsonb_agg(ta.attname ORDER BY r.place))
         FROM unnest(k.confkey) WITH ORDINALITY r(number, place)
         JOIN pg_attribute ta ON ta.attrelid = k.confrelid AND ta.attnum = r.number
         JOIN pg_class tc ON tc.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
         GROUP BY tn.nspname, tc.relname, tc.relispartition) END AS elsewhere
FROM unnest($1::oid[]) AS w(oid) JOIN pg_constraint k ON k.conrelid = w.oid
LEFT JOIN unnest($1::oid[]) AS own(oid) ON own.oid = k.confrelid
WHERE k.contype IN ('p', 'u', 'f', 'c') AND k.conparentid = 0
"""

INDEXES = """
SELECT i.indrelid AS relation, x.relname AS name, i.indkey::int2[] AS columns,
       i.indnkeyatts AS width, i.indisunique AS is_unique, i.indisvalid AS valid,
       m.amname AS method, i.indexprs IS NOT NULL AS has_expressions,
       CASE WHEN i.indpred IS NOT NULL THEN pg_get_expr(i.indpred, i.indrelid) END AS predicate,
       k.oid IS NOT NULL AS is_key
FROM unnest($1::oid[]) AS w(oid) JOIN pg_index i ON i.indrelid = w.oid
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_constraint k
  ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
"""

TRIGGERS = """
SELECT t.tgrelid AS relation, t.tgname AS name, pg_get_triggerdef(t.oid) AS definition,
       t.tgenabled <> 'D' AS enabled
FROM unnest($1::oid[]) AS w(oid) JOIN pg_trigger t ON t.tgrelid = w.oid
WHERE NOT t.tgisinternal
ORDER BY t.tgrelid, t.tgname
"""

# As in CREATE POLICY, from the policy's name on.
POLICIES = """
SELECT p.polrelid AS relation,
       quote_ident(p.polname)
       || CASE WHEN p.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
       || ' FOR ' || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                     WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
       || ' TO ' || (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC'
                                       ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
                     FROM unnest(p.polroles) r)
       || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') AS text
FROM unnest($1::oid[]) AS w(oid) JOIN pg_policy p ON p.polrelid = w.oid
ORDER BY p.polrelid, p.polname
"""

# Rows and TOAST, without maps and indexes. It opens the files of every table and is slow for that:
# it goes while the rest is put together.
SIZES = """
SELECT c.oid, pg_relation_size(c.oid)
              + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS bytes
FROM unnest($1::oid[]) AS w(oid) JOIN pg_class c ON c.oid = w.oid
"""
