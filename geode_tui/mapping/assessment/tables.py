"""Findings about tables: rights, row security, size, inheritance, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geode_tui.catalog import Catalog, Profile, Table
from geode_tui.mapping import mend
from geode_tui.mapping.assessment.finding import SHOWN, Finding, counted, listed
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.model import Mapping, NodeRule

WIDE_ROW = 100_000
"""Bytes from which on the average row is wide."""
MANY_COLUMNS = 300
STALE_TIMES = 2
"""An estimate that is wrong by more than so many times is old."""
_STALE_ROWS = 1_000
_MUCH = 1_000_000  # bytes


def tables_read(mapping: Mapping, catalog: Catalog) -> tuple[Table, ...]:
    """The tables that a run reads, in the mapping's order, without those that are gone."""
    names = dict.fromkeys(rule.table for rule in mapping.active_rules())
    for rule in mapping.active_nodes:
        names |= dict.fromkeys(join.table for join in rule.joins)
    found = (catalog.table(name) for name in names)
    return tuple(table for table in found if table is not None)


def permission_findings(tables: Sequence[Table], catalog: Catalog) -> Iterator[Finding]:
    """What the role may not read, and what row security would keep from it."""
    role = catalog.server.role
    blind = _blind_schemas(catalog)
    for table in tables:
        subject = str(table.name)
        if not table.readable:
            grants = [mend.grant_select(table.name, role)]
            if table.name.schema in blind:
                grants.insert(0, mend.grant_usage(table.name.schema, role))
            yield Finding(
                "action",
                "no_permission",
                subject,
                f"role {role} may not read this table",
                _readable_part(table),
                "or exclude it",
                "\n".join(grants),
            )
        if table.row_security:
            yield Finding(
                "action",
                "row_security",
                subject,
                f"row security hides rows from role {role}: a run refuses to read a part",
                f"policies: {listed(table.policies)}" if table.policies else "",
                "use a role that sees all rows, or exclude the table",
                mend.bypass_row_security(role),
            )


def _readable_part(table: Table) -> str:
    """Which columns the role may read where it may read some; a run locks the whole table."""
    hidden = [column.name for column in table.columns if not column.readable]
    if not hidden or len(hidden) == len(table.columns):
        return ""
    total = counted(len(table.columns), "column")
    return f"it may not read {len(hidden):,} of {total}: {listed(hidden)}"


def _blind_schemas(catalog: Catalog) -> frozenset[str]:
    """Schemas in which nothing is readable: the right to see into them may be what is missing."""
    seen = {table.name.schema for table in catalog.tables if table.readable}
    return frozenset(catalog.schemas) - seen


def size_findings(
    mapping: Mapping, tables: Sequence[Table], profile: Profile, counts: Counts
) -> Iterator[Finding]:
    """Wide rows and very many columns."""
    for table in tables:
        rows = counts.rows.get(table.name, table.estimated_rows)
        on_disk = table.bytes // rows if rows else 0
        shown = (profile.column(table.name, column.name) for column in table.columns)
        average = max(on_disk, sum(seen.width for seen in shown if seen))
        if average > WIDE_ROW:
            yield Finding(
                "information",
                "wide_row",
                str(table.name),
                "rows are wide: a run reads and writes few of them at a time",
                f"{average:,} bytes a row on average",
                "leave out the large columns (include: false) that the graph does not need",
            )
    for rule in mapping.active_nodes:
        number = len(rule.included_properties)
        if number >= MANY_COLUMNS:
            message = "very many properties on one label"
            evidence = f"{number:,} properties"
            yield Finding("information", "many_columns", str(rule.table), message, evidence)


def inheritance_findings(
    mapping: Mapping, tables: Sequence[Table], catalog: Catalog
) -> Iterator[Finding]:
    """Tables that others inherit from: each row becomes a node of its own table's label."""
    labelled = {rule.table for rule in mapping.active_rules() if isinstance(rule, NodeRule)}
    for table in tables:
        children = catalog.children.get(table.name, ())
        if not children:
            continue
        message = "rows of the tables that inherit from it are moved by those tables' own rules"
        left = [str(child) for child in children if child not in labelled]
        if left:
            message += f"; no rule moves those of {listed(left)}"
        yield Finding(
            "risk" if left else "information",
            "inheritance",
            str(table.name),
            message,
            f"{counted(len(children), 'child', 'children')}: {listed(list(map(str, children)))}",
        )


def statistics_findings(
    tables: Sequence[Table], catalog: Catalog, counts: Counts
) -> Iterator[Finding]:
    """Tables without an estimate of their rows, or with one that is far off."""
    stored = [table for table in tables if table.has_storage]
    never = [table for table in stored if table.estimated_rows is None]
    if never and catalog.server.version_number:  # a file has no statistics
        yield _statistics_finding("never_analyzed", "never analyzed: its rows are not known", never)
    stale = [table for table in stored if _is_stale(table, counts)]
    if stale:
        yield _statistics_finding("old_estimate", "the estimate of its rows is old", stale)


def _statistics_finding(code: str, message: str, tables: list[Table]) -> Finding:
    one = len(tables) == 1
    subject = str(tables[0].name) if one else "statistics"
    some = [table.name for table in tables]
    sql = mend.analyze(some) if len(some) <= SHOWN else "ANALYZE;"
    advice = "take the statistics anew, so that progress and forecasts are right"
    message = (
        message if one else f"{counted(len(some), 'table')}: {message.replace('its', 'their')}"
    )
    evidence = listed([str(name) for name in some])
    return Finding("information", code, subject, message, evidence, advice, sql)


def _is_stale(table: Table, counts: Counts) -> bool:
    estimate = table.estimated_rows
    if estimate is None:
        return False
    rows = counts.rows.get(table.name)
    if rows is None:  # an empty table has no large file
        return estimate == 0 and table.bytes > _MUCH
    low, high = sorted((estimate, rows))
    return high > _STALE_ROWS and high > STALE_TIMES * max(low, 1)
