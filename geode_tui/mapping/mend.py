"""SQL that mends a source, ready to be pasted into psql: every name quoted where it must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from geode_tui.catalog import ForeignKey, Table, TableName

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# The words that PostgreSQL takes as a name only in quotes, in some place or in all.
_KEYWORDS_LISTED = """
all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
boolean both case cast char character check coalesce collate collation column concurrently
constraint create cross current_catalog current_date current_role current_schema current_time
current_timestamp current_user dec decimal default deferrable desc distinct do else end except
exists extract false fetch float for foreign freeze from full grant greatest group grouping
having ilike in initially inner inout int integer intersect interval into is isnull join json
json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
json_serialize json_table json_value lateral leading least left like limit localtime
localtimestamp merge_action national natural nchar none normalize not notnull null nullif
numeric offset on only or order out outer overlaps overlay placing position precision primary
real references returning right row select session_user setof similar smallint some substring
symmetric system_user table tablesample then time timestamp to trailing treat trim true union
unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat
xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
_KEYWORDS = frozenset(_KEYWORDS_LISTED.split())


def identifier(name: str) -> str:
    """A name as SQL: in double quotes where PostgreSQL would read it as another one."""
    if _PLAIN.fullmatch(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def qualified(table: TableName) -> str:
    """A table's name with its schema, as SQL."""
    return f"{identifier(table.schema)}.{identifier(table.name)}"


def grant_select(table: TableName, role: str) -> str:
    """Let a role read a table."""
    return f"GRANT SELECT ON {qualified(table)} TO {identifier(role)};"


def grant_columns(table: TableName, columns: Iterable[str], role: str) -> str:
    """Let a role read some columns of a table."""
    return f"GRANT SELECT ({_listed(columns)}) ON {qualified(table)} TO {identifier(role)};"


def grant_usage(schema: str, role: str) -> str:
    """Let a role see into a schema."""
    return f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {identifier(role)};"


def bypass_row_security(role: str) -> str:
    """Let a role see all rows in spite of row security (a superuser must run it)."""
    return f"ALTER ROLE {identifier(role)} BYPASSRLS;"


def add_primary_key(table: TableName, columns: Sequence[str]) -> str:
    """Make some columns the primary key."""
    return f"ALTER TABLE {qualified(table)} ADD PRIMARY KEY ({_listed(columns)});"


def add_key_column(table: TableName, column: str) -> str:
    """Give a table a numbered key of its own; PostgreSQL rewrites the table for it."""
    made = f"{identifier(column)} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    return f"ALTER TABLE {qualified(table)} ADD COLUMN {made};"


def set_not_null(table: TableName, columns: Iterable[str]) -> str:
    """Forbid nulls in some columns."""
    actions = ", ".join(f"ALTER COLUMN {identifier(column)} SET NOT NULL" for column in columns)
    return f"ALTER TABLE {qualified(table)} {actions};"


def validate_constraint(table: TableName, name: str) -> str:
    """Check the rows that were there before a constraint."""
    return f"ALTER TABLE {qualified(table)} VALIDATE CONSTRAINT {identifier(name)};"


def enforce_constraint(table: TableName, name: str) -> str:
    """Let PostgreSQL enforce a constraint that it only knows of (PostgreSQL 18)."""
    return f"ALTER TABLE {qualified(table)} ALTER CONSTRAINT {identifier(name)} ENFORCED;"


def analyze(tables: Iterable[TableName]) -> str:
    """Take the planner's statistics anew."""
    return f"ANALYZE {', '.join(qualified(table) for table in tables)};"


def select_orphans(table: Table, key: ForeignKey, target: Table) -> str:
    """The rows whose reference points at no row of `target`."""
    return f"SELECT t.* FROM {own_rows(table)} t WHERE {orphaned('t', key, target)};"


def own_rows(table: Table) -> str:
    """A table in a FROM, without the rows of tables that inherit from it."""
    return f"ONLY {qualified(table.name)}" if table.kind == "table" else qualified(table.name)


def orphaned(alias: str, key: ForeignKey, target: Table) -> str:
    """The condition that a row's reference is set and points at no row of `target`."""
    present = [f"{alias}.{identifier(column)} IS NOT NULL" for column in key.columns]
    pairs = zip(key.to_columns, key.columns, strict=True)
    same = " AND ".join(
        f"r.{identifier(theirs)} = {alias}.{identifier(own)}" for theirs, own in pairs
    )
    found = f"SELECT FROM {own_rows(target)} r WHERE {same}"
    return " AND ".join((*present, f"NOT EXISTS ({found})"))


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(identifier(column) for column in columns)
