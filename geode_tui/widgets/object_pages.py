"""The indexes of a table, and all else that hangs on it: triggers, policies, partitions …"""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.catalog.model import Index
from geode_tui.widgets.table_pages import PageLine
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Cell, TableColumn

INDEX_COLUMNS = (
    TableColumn("index", least=14),
    TableColumn("columns", least=14),
    TableColumn("unique", 11),
    TableColumn("method", 7),
    TableColumn("only where", least=10),
)
OBJECT_COLUMNS = (
    TableColumn("what", 13),
    TableColumn("name", least=14),
    TableColumn("details", least=20),
)


def index_lines(table: Table) -> list[PageLine]:
    """A line for each index."""
    return [_index(index) for index in table.indexes]


def _index(index: Index) -> PageLine:
    columns = ", ".join(column or "(expression)" for column in index.columns)
    unique: Cell = Content.styled("yes", "$text-warning") if index.unique else ""
    if not index.valid:
        unique = Content.styled("! not valid", "$text-error")
    facts = [
        index.name,
        f"{'unique ' if index.unique else ''}{index.method} ({columns})",
        f"only where {index.predicate}" if index.predicate else "",
        "" if index.valid else "! not valid: building it failed",
    ]
    cells = index.name, f"({columns})", unique, index.method, index.predicate
    return PageLine(cells, "\n".join(filter(None, facts)))


def object_lines(table: Table, catalog: Catalog) -> list[PageLine]:
    """Comment, owner, what the role may do, definition, triggers, policies, partitions, family."""
    return list(_objects(table, catalog))


def _objects(table: Table, catalog: Catalog) -> Iterator[PageLine]:
    if table.comment:
        yield _line("comment", "", table.comment)
    if table.owner:
        yield _line("owner", table.owner, "")
    if table.privileges:
        yield _line("privileges", catalog.server.role, ", ".join(table.privileges))
    if table.definition:
        yield _line("definition", "", table.definition)
    for trigger in table.triggers:
        mark = "" if trigger.enabled else "! disabled · "
        yield _line("trigger", trigger.name, mark + trigger.definition)
    if table.row_security:
        yield _line("row security", "", "hides rows from the connected role")
    for policy in table.policies:
        yield _line("policy", policy, "")
    for leaf in table.leaves:
        yield _relative("partition", leaf, catalog)
    for parent in table.inherits:
        yield _relative("inherits from", parent, catalog)
    for child in catalog.children.get(table.name, ()):
        yield _relative("inherited by", child, catalog)


def _line(what: str, name: str, details: str) -> PageLine:
    cells = Content.styled(what, "$text-accent"), one_line(name), one_line(details)
    return PageLine(cells, "\n".join(filter(None, (what, name, details))))


def _relative(what: str, name: TableName, catalog: Catalog) -> PageLine:
    """A table of the same family; enter goes there where it was read."""
    known = catalog.table(name) is not None
    line = _line(what, str(name), "")
    return PageLine(line.cells, line.whole, name if known else None)
