"""The parts of an entity-relationship diagram: boxes for tables, links for foreign keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.cells import cell_len

from geode_tui.catalog import Catalog, ForeignKey, Table, TableName
from geode_tui.widgets.er_routing import Cells
from geode_tui.widgets.text import estimate, fit, one_line

Side = Literal["left", "middle", "right"]
Incoming = Mapping[TableName, Sequence[tuple[Table, ForeignKey]]]

MOST_COLUMNS = 24
_LEAST_TYPE = 6
_SHORT_TYPES = {
    "timestamp": "timestamp",
    "time": "time",
    "character varying": "varchar",
    "character": "char",
    "double precision": "float8",
    "bit varying": "varbit",
}
_LONG_TYPE = re.compile(
    rf"({'|'.join(_SHORT_TYPES)})(\([\d,]+\))?( with(?:out)? time zone)?(\[\])?"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A column's line in a box; the last line may tell of more columns and has no column."""

    column: str
    text: str
    type: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A table on the grid. `note` is its row estimate; `x` and `y` are of the corner."""

    table: TableName
    title: str
    rows: tuple[Row, ...]
    side: Side
    note: str = ""
    x: int = 0
    y: int = 0
    width: int = 0

    @property
    def height(self) -> int:
        """Lines with the two borders."""
        return len(self.rows) + 2

    def row_of(self, column: str) -> int:
        """The grid line of a column."""
        return self.y + 1 + [row.column for row in self.rows].index(column)


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key on the grid, from the rows of its columns to those of the key.

    `owner` has the key; `neighbour` is the table at the end that is not the middle one (the
    middle one itself for a self reference). `starts` and `ends` are the first and last cells of
    the line, beside the boxes; `one` says that at most one row points at a row.
    """

    owner: TableName
    key: ForeignKey
    neighbour: TableName
    side: Side
    one: bool = False
    starts: tuple[tuple[int, int], ...] = ()
    ends: tuple[tuple[int, int], ...] = ()
    cells: Cells = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class More:
    """Neighbours that are not shown."""

    side: Side
    count: int
    x: int = 0
    y: int = 0

    @property
    def text(self) -> str:
        """`+31 more`."""
        return f"+{self.count:,} more"


@dataclass(frozen=True, slots=True)
class Diagram:
    """The neighbourhood of a table: boxes, links in reading order, and what is left out."""

    table: TableName
    width: int
    height: int
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    more: tuple[More, ...]
    clashes: int = 0
    lines: tuple[tuple[Link, ...], ...] = ()
    """The links that share a line, for each line."""

    def box(self, table: TableName) -> Box:
        """The box of a table."""
        return next(box for box in self.boxes if box.table == table)


def incoming_keys(catalog: Catalog) -> dict[TableName, list[tuple[Table, ForeignKey]]]:
    """For each table, who references it."""
    found: dict[TableName, list[tuple[Table, ForeignKey]]] = {}
    for table in catalog.tables:
        for key in table.foreign_keys:
            found.setdefault(key.to_table, []).append((table, key))
    return found


def ends_of(link: Link) -> tuple[tuple[TableName, tuple[str, ...]], ...]:
    """The two ends of a link: table and columns where it starts, and where it ends."""
    return (link.owner, link.key.columns), (link.key.to_table, link.key.to_columns)


def linked_columns(links: Sequence[Link], table: TableName) -> dict[str, None]:
    """The columns of a table that a link starts or ends at, in a set with an order."""
    found: dict[str, None] = {}
    for link in links:
        if link.owner == table:
            found.update(dict.fromkeys(link.key.columns))
        if link.key.to_table == table:
            found.update(dict.fromkeys(link.key.to_columns))
    return found


def is_unique(table: Table, key: ForeignKey) -> bool:
    """Whether at most one row has a value of this foreign key."""
    keys = [*table.unique_keys, *([table.primary_key] if table.primary_key else [])]
    return any(set(some.columns) <= set(key.columns) for some in keys)


def box_of(
    table: Table | None,
    name: TableName,
    linked: dict[str, None],
    side: Side,
    middle: bool,
    whole: bool,
    near: str = "",
) -> Box:
    """A table's box; one that was not read has only the columns that a link names."""
    same = name.schema == near
    title = one_line(name.name if same else str(name))
    if table is None:
        rows = tuple(Row(column, one_line(column)) for column in linked)
        return Box(name, title, rows, side, "not read")
    wanted = set(linked)
    if middle or whole:
        wanted |= set(table.primary_key.columns if table.primary_key else ())
        room = len(table.columns) if whole else MOST_COLUMNS - len(wanted)
        others = [column for column in table.column_names if column not in wanted]
        wanted |= set(others[: max(0, room)])
    rows = tuple(
        Row(column.name, one_line(column.name), mark=key_mark(table, column.name))
        for column in table.columns
        if column.name in wanted
    )
    # A key of a catalog that was read in part may name what is not there.
    rows += tuple(Row(c, one_line(c)) for c in linked if table.column(c) is None)
    hidden = len(table.columns) - len(wanted)
    if hidden > 0 and middle:
        rows += (Row("", f"+{hidden:,} columns"),)
    note = str(table.kind) if not table.has_storage else ""
    if table.has_storage and table.estimated_rows is not None:
        note = estimate(table.estimated_rows)
    return Box(name, title, rows, side, note)


def with_types(box: Box, table: Table) -> Box:
    """The box with the type of each column."""
    types = {column.name: _short_type(column.type.declared) for column in table.columns}
    return replace(box, rows=tuple(replace(r, type=types.get(r.column, "")) for r in box.rows))


def _short_type(declared: str) -> str:
    """A type by its short name: `timestamptz(3)`."""
    found = _LONG_TYPE.fullmatch(declared)
    if found is None:
        return one_line(declared)
    name, size, zone, array = found.groups(default="")
    return f"{_SHORT_TYPES[name]}{'tz' if zone == ' with time zone' else ''}{size}{array}"


def with_less_of_types(box: Box, cells: int) -> Box:
    """The box some cells narrower at the cost of its types; without them where little is left."""
    widest = max((cell_len(row.type) for row in box.rows), default=0)
    left = widest - cells
    if left < _LEAST_TYPE:
        return replace(box, rows=tuple(replace(row, type="") for row in box.rows))
    rows = tuple(
        replace(row, type=fit(row.type, left)) if cell_len(row.type) > left else row
        for row in box.rows
    )
    return replace(box, rows=rows)


def key_mark(table: Table, name: str) -> str:
    """`PK`, `FK` (`FK?` where it may be null), `UQ` or several of them."""
    marks = []
    if table.primary_key and name in table.primary_key.columns:
        marks.append("PK")
    if any(name in key.columns for key in table.foreign_keys):
        column = table.column(name)
        marks.append("FK?" if column and column.nullable else "FK")
    if any(name in key.columns for key in table.unique_keys):
        marks.append("UQ")
    return " ".join(marks)
