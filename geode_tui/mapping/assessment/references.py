"""Findings about foreign keys and keys: what cannot be followed, what may point at nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geode_tui.catalog import Catalog, ForeignKey, Key, Profile, Table
from geode_tui.mapping import mend
from geode_tui.mapping.assessment.finding import Finding, Severity, listed
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import ROW, Mapping, NodeRule
from geode_tui.mapping.names import unused

_KNOWS_NOT_ENFORCED = 180_000


def unfollowed_references(catalog: Catalog) -> Iterator[Finding]:
    """Foreign keys that make no relationship: an obstacle, or a table that was not read."""
    for table in catalog.tables:
        subject = str(table.name)
        for key in table.foreign_keys:
            if key.obstacle:
                message = f"foreign key {key.name} makes no relationship: {key.obstacle}"
                yield Finding("risk", "reference_not_followed", subject, message)
            elif catalog.table(key.to_table) is None:
                message = f"foreign key {key.name} points at {key.to_table}, which was not read"
                advice = f"add --schema {key.to_table.schema}"
                yield Finding("risk", "reference_not_read", subject, message, mend=advice)


def reference_findings(
    tables: Sequence[Table], catalog: Catalog, counts: Counts
) -> Iterator[Finding]:
    """What the moved tables' foreign keys do not guarantee."""
    for table in tables:
        loose = [key for key in table.foreign_keys if not key.validated]
        if loose:
            yield from _loose(table, loose, catalog, counts)
        yield from _deferrable(table)


def _loose(
    table: Table, keys: list[ForeignKey], catalog: Catalog, counts: Counts
) -> Iterator[Finding]:
    """Foreign keys that PostgreSQL does not vouch for, and the orphans that were counted."""
    subject = str(table.name)
    known = {k.name: n for k in keys if (n := counts.orphans.get((table.name, k.name))) is not None}
    orphaned = [key for key in keys if known.get(key.name)]
    if orphaned:
        rows = counts.rows.get(table.name, 0)
        shown = [f"{known[key.name]:,} of {rows:,} rows by {key.name}" for key in orphaned]
        yield Finding(
            "risk",
            "orphans",
            subject,
            "rows point at nothing: they get no relationship and are told as orphans",
            listed(shown),
            "mend or delete these rows, or accept them as orphans",
            "\n".join(
                mend.select_orphans(table, key, target)
                for key in orphaned
                if (target := catalog.table(key.to_table))
            ),
        )
    names = listed([key.name for key in keys])
    all_counted = len(known) == len(keys)
    severity: Severity = "information" if all_counted else "risk"
    yield Finding(
        severity,
        "not_validated",
        subject,
        f"PostgreSQL does not vouch for foreign key {names}: rows may point at nothing",
        f"counted: {sum(known.values()):,} do" if all_counted else "NOT VALID or NOT ENFORCED",
        "let PostgreSQL check the rows that are there",
        "\n".join(sql for key in keys for sql in _vouch(table, key, catalog)),
    )


def _vouch(table: Table, key: ForeignKey, catalog: Catalog) -> Iterator[str]:
    """What makes PostgreSQL vouch for a foreign key; from 18 on it may not be enforced at all."""
    if catalog.server.version_number >= _KNOWS_NOT_ENFORCED:
        yield mend.enforce_constraint(table.name, key.name)
    yield mend.validate_constraint(table.name, key.name)


def _deferrable(table: Table) -> Iterator[Finding]:
    keys: list[Key | ForeignKey] = [*table.unique_keys, *table.foreign_keys]
    if table.primary_key:
        keys.append(table.primary_key)
    names = [key.name for key in keys if key.deferrable]
    if names:
        message = "deferrable constraints: they hold at each commit, so in the snapshot of a run"
        yield Finding("information", "deferrable", str(table.name), message, listed(names))


def key_findings(
    mapping: Mapping, catalog: Catalog, profile: Profile, counts: Counts
) -> Iterator[Finding]:
    """Tables whose rows are known by their place only."""
    for rule in mapping.active_rules():
        table = catalog.table(rule.table)
        keyless = not rule.key if isinstance(rule, NodeRule) else rule.key == (ROW,)
        if table is None or not keyless:
            continue
        heirs_of = next((catalog.table(name) for name in table.inherits), None)
        message = "no primary or unique key: rows are known by their place in the table"
        if heirs_of is not None and heirs_of.primary_key:
            message += f" (the key of {heirs_of.name} is not inherited)"
        advice, sql = _a_key(table, heirs_of, profile, counts)
        rows = counts.rows.get(table.name, table.estimated_rows)
        seen = "an interrupted run reads this table again from its start"
        if rows is not None:
            seen = f"{'' if table.name in counts.rows else '±'}{rows:,} rows; {seen}"
        yield Finding("risk", "no_key", str(table.name), message, seen, advice, sql)


def _a_key(table: Table, parent: Table | None, profile: Profile, counts: Counts) -> tuple[str, str]:
    """How the table could get a key, in words and as SQL."""
    if table.kind not in ("table", "partitioned"):
        return "name in the mapping's key the properties that identify a row", ""
    if row_key(table) is not None:
        return "name the table's key in the mapping", ""
    if parent is not None and parent.primary_key:
        sql = mend.add_primary_key(table.name, parent.primary_key.columns)
        return "make the parent's key the child's too", sql
    if table.unique_keys:
        columns = [table.column(name) for name in table.unique_keys[0].columns]
        nullable = [column.name for column in columns if column and column.nullable]
        return (
            f"unique key {table.unique_keys[0].name} would do if it had no nulls",
            mend.set_not_null(table.name, nullable),
        )
    distinct = _distinct_column(table, profile, counts)
    if distinct:
        advice = f"by its statistics each row has its own {distinct}"
        return advice, mend.add_primary_key(table.name, (distinct,))
    if table.kind == "partitioned":
        return "add a primary key that holds the partition's columns", ""
    column = unused("row_id", table.column_names)
    return "add a numbered key (rewrites the table)", mend.add_key_column(table.name, column)


def _distinct_column(table: Table, profile: Profile, counts: Counts) -> str:
    """A column that has another value in each row, as the last ANALYZE saw it."""
    rows = counts.rows.get(table.name, table.estimated_rows) or 0
    for column in table.columns:
        seen = profile.column(table.name, column.name)
        if rows and seen and seen.null_share == 0 and seen.distinct >= rows:
            return column.name
    return ""
