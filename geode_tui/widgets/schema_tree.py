"""The schemas with their tables, as a tree of two levels that draws only what is in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.catalog.model import TableKind
from geode_tui.widgets.fuzzy import NameIndex, Query, inner_match, letters
from geode_tui.widgets.text import estimate, one_line, short_bytes
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

KIND_GLYPHS: dict[TableKind, str] = {
    "table": "▦",
    "partitioned": "▤",
    "view": "◇",
    "materialized view": "◆",
    "foreign table": "⇢",
    "query": "≡",
}
_SLIM = (TableColumn("table", least=12), TableColumn("rows", 8, "right"))
_BROAD = (*_SLIM, TableColumn("size", 10, "right"), TableColumn("kind", 18))
_BROAD_WIDTH = 60


@dataclass(frozen=True, slots=True)
class _Branch:
    """A schema's line, with how many of its tables are shown."""

    schema: str
    tables: int


class SchemaTree(VirtualTable):
    """Schemas and tables with kind and row estimate; a filter shows the best matches first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "select", "open", key_display="⏎", id="tree.open", tooltip="Go into the table"
        ),
        Binding(
            "slash",
            "screen.filter",
            "filter",
            key_display="/",
            id="tree.filter",
            tooltip="Show only tables that match what you type",
        ),
        Binding("left,h", "fold", "Fold", show=False, id="tree.fold", tooltip="Fold the schema"),
        Binding(
            "right,l", "unfold", "Unfold", show=False, id="tree.unfold", tooltip="Unfold the schema"
        ),
        Binding("space", "turn", "Fold", show=False, id="tree.toggle", tooltip="Fold or unfold"),
    ]

    @dataclass
    class TableHighlighted(Message):
        """The cursor came to a table."""

        name: TableName

    @dataclass
    class TableSelected(Message):
        """Enter or a click on a table."""

        name: TableName

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_SLIM, id=id, empty="no table matches")
        self._catalog = Catalog()
        self._index = NameIndex(())
        self._lines: list[_Branch | Table] = []
        self._folded: set[str] = set()
        self._query = Query(())

    @property
    def table(self) -> Table | None:
        """The table under the cursor, None on a schema's line."""
        if not self._lines:
            return None
        line = self._lines[self.cursor]
        return line if isinstance(line, Table) else None

    def show(self, catalog: Catalog) -> None:
        """Show a catalog, the cursor on the table where it was."""
        self._catalog = catalog
        tables = catalog.tables
        self._index = NameIndex([_path(t) for t in tables], [t.column_names for t in tables])
        self._rebuild()

    def filter(self, text: str) -> int:
        """Show only what matches by its name or a column's, the cursor on the best; returns how
        many tables do."""
        self._query = Query.of(text)
        return self._rebuild(best=bool(self._query.words))

    def go_to(self, name: TableName) -> None:
        """Put the cursor on a table, unfolding its schema."""
        self._folded.discard(name.schema)
        self._rebuild(name)

    def on_resize(self) -> None:
        """Show size and kind where there is room."""
        columns = _BROAD if self.size.width >= _BROAD_WIDTH else _SLIM
        if columns is not self._columns:
            self._columns = columns
        super().on_resize()

    def watch_cursor(self, old: int, new: int) -> None:
        """Tell which table the cursor came to."""
        super().watch_cursor(old, new)
        if self.table:
            self.post_message(self.TableHighlighted(self.table.name))

    def action_select(self) -> None:
        """Open a table; fold or unfold a schema."""
        if self.table:
            self.post_message(self.TableSelected(self.table.name))
        else:
            self.action_turn()

    def action_fold(self) -> None:
        """Fold the schema that the cursor is in, and go to its line."""
        schema = self._schema()
        if schema is not None:
            self._folded.add(schema)
            self._rebuild(branch=schema)

    def action_unfold(self) -> None:
        """Unfold the schema under the cursor."""
        schema = self._schema()
        if schema is not None and self.table is None:
            self._folded.discard(schema)
            self._rebuild(branch=schema)

    def action_turn(self) -> None:
        """Fold or unfold the schema that the cursor is in."""
        if self._schema() in self._folded:
            self.action_unfold()
        else:
            self.action_fold()

    def _schema(self) -> str | None:
        if not self._lines:
            return None
        line = self._lines[self.cursor]
        return line.schema if isinstance(line, _Branch) else line.name.schema

    def _rebuild(
        self, name: TableName | None = None, branch: str | None = None, best: bool = False
    ) -> int:
        """Make the lines anew; the cursor goes to a table, a schema, the best match, or stays on
        its table."""
        kept = name or (self.table.name if self.table else None)
        found = [self._catalog.tables[i] for i in self._index.find(self._query)]
        self._lines = _lines(found, set() if self._query.words else self._folded)
        at = self._position(None if best else kept, branch)
        self.set_source(len(self._lines), self._row)
        if at != self.cursor:
            self.cursor = at
        elif self.table and self.table.name != kept:
            self.post_message(self.TableHighlighted(self.table.name))
        return len(found)

    def _position(self, name: TableName | None, branch: str | None) -> int:
        first = 0
        for index, line in enumerate(self._lines):
            if isinstance(line, _Branch):
                if line.schema == branch:
                    return index
            elif branch is None:
                if line.name == name:
                    return index
                first = first or index
        return first

    def _row(self, index: int) -> Row:
        line = self._lines[index]
        if isinstance(line, _Branch):
            glyph = "▸" if line.schema in self._folded and not self._query.words else "▾"
            name = Content.assemble((f"{glyph} ", "$text-muted"), (one_line(line.schema), "bold"))
            return name, Content.styled(f"{line.tables:,}", "$text-muted"), "", ""
        return table_row(line, self._query)


def _path(table: Table) -> str:
    """Schema and name as they are shown, to be searched and lit letter by letter."""
    return f"{one_line(table.name.schema)}.{one_line(table.name.name)}"


def _lit_name(table: Table, query: Query) -> Content:
    """The table's name with the letters that match, and the column that does where it is one."""
    path, name = _path(table), one_line(table.name.name)
    start = len(path) - len(name)
    shown = _lit(name, [at - start for at in letters(query, path) if at >= start])
    column = one_line(inner_match(query, path, table.column_names))
    if column:
        lit = _lit(column, letters(query, column))
        shown = Content.assemble(shown, (" · ", "$text-muted"), lit)
    return shown


def _lit(text: str, places: Sequence[int]) -> Content:
    content = Content(text)
    for at in places:
        content = content.stylize("bold $text-accent", at, at + 1)
    return content


def table_row(table: Table, query: Query) -> Row:
    """Glyph with name, rows, size, kind."""
    if table.readable:
        mark = Content.styled(f"  {KIND_GLYPHS[table.kind]} ", "$text-accent")
        kind = str(table.kind)
    else:
        mark = Content.styled("  ✗ ", "$text-error")
        kind = f"{table.kind}, no SELECT"
    rows = estimate(table.estimated_rows) if table.has_storage else "–"
    size = short_bytes(table.bytes) if table.has_storage else "–"
    return Content.assemble(mark, _lit_name(table, query)), rows, size, kind


def _lines(tables: Sequence[Table], folded: set[str]) -> list[_Branch | Table]:
    by_schema: dict[str, list[Table]] = {}
    for table in tables:
        by_schema.setdefault(table.name.schema, []).append(table)
    lines: list[_Branch | Table] = []
    for schema, members in by_schema.items():
        lines.append(_Branch(schema, len(members)))
        if schema not in folded:
            lines.extend(members)
    return lines
