"""The columns of a rule's table and the properties they become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from geode_tui.catalog import Catalog, Table
from geode_tui.mapping.model import Endpoint, NodeRule, Property, Rule
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

_LEFT_OUT = "left out"
_ROOM_FOR_DECLARED = 8
_WIDEST = 40
_LEAST = 8


@dataclass(frozen=True, slots=True)
class GridItem:
    """A line: a property, or the column of an end, or a column that nothing is made of.

    `column` is what it is made of. Of an end, `role` is `start` or `end`, and `end` what the
    column points at.
    """

    column: str
    item: Property | None = None
    role: str = ""
    end: str = ""
    key: bool = False


def grid_items(rule: Rule, table: Table | None) -> list[GridItem]:
    """The lines of a rule: its ends, its properties, and the other columns of a node's table."""
    lines: list[GridItem] = []
    if not isinstance(rule, NodeRule):
        lines += _end_lines(rule.start, "start") + _end_lines(rule.end, "end")
    lines += [GridItem(made_of(p), p, key=p.name in rule.key) for p in rule.properties]
    if table is not None:
        known = {p.column for p in rule.properties if not p.join}
        known |= {line.column for line in lines if line.role}
        lines += [GridItem(name) for name in table.column_names if name not in known]
    return lines


def made_of(item: Property) -> str:
    """What a property is made of: a column, a joined table's (`profile.bio`), `ƒ expression`."""
    if item.expression:
        source = f"ƒ {item.expression}"
        return f"{item.join}: {source}" if item.join else source
    return f"{item.join}.{item.column}" if item.join else item.column


def _end_lines(end: Endpoint, word: str) -> list[GridItem]:
    if not end.columns:
        return [GridItem("(the row)", role=word, end=end.node)]
    pairs = zip(end.columns, end.references, strict=True)
    return [GridItem(c, role=word, end=f"{end.node}.{r}") for c, r in pairs]


class PropertyGrid(VirtualTable):
    """What becomes of each column of the selected rule."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # As everywhere, but the footer has no room for it here.
        Binding(
            "slash",
            "screen.filter",
            "filter",
            show=False,
            id="properties.filter",
            tooltip="Go to the filter of the rules",
        ),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(empty="nothing: only its ends", id=id, classes=classes)
        self._items: list[GridItem] = []
        self._catalog: Catalog | None = None
        self._table: Table | None = None
        self._rule: Rule | None = None

    def on_resize(self) -> None:
        """Give the columns what they need of the new width."""
        self._fit_columns()
        super().on_resize()

    @property
    def item(self) -> GridItem | None:
        """What is under the cursor."""
        return self._items[self.cursor] if self.cursor < len(self._items) else None

    @property
    def items(self) -> tuple[GridItem, ...]:
        """All lines."""
        return tuple(self._items)

    def show_rule(
        self,
        rule: Rule | None,
        table: Table | None,
        catalog: Catalog | None = None,
        *,
        keep_cursor: bool,
    ) -> None:
        """Show a rule's columns; `catalog` has the tables that it joins."""
        self._rule, self._table, self._catalog = rule, table, catalog
        self._items = grid_items(rule, table) if rule is not None else []
        self.set_empty("only the ends, no property" if rule is not None else "–")
        self._fit_columns(keep_cursor=keep_cursor)

    def _fit_columns(self, *, keep_cursor: bool = True) -> None:
        """Names get what they need, as far as there is room; PostgreSQL's types get the rest."""
        types = _widest("type", (_type_of(line)[0] for line in self._items))
        room = self.scrollable_content_region.width - types - _ROOM_FOR_DECLARED - 5
        column, made = _shares(
            _widest("column", (line.column for line in self._items)),
            _widest("property", (_property_of(line) for line in self._items)),
            room,
        )
        columns = (
            TableColumn("", 1),
            TableColumn("column", column),
            TableColumn("property", made),
            TableColumn("type", types),
            TableColumn("PostgreSQL", least=_ROOM_FOR_DECLARED),
        )
        if columns != self.columns:
            self.set_columns(columns)
        self.set_source(len(self._items), self._cells, keep_cursor=keep_cursor)

    def _declared(self, line: GridItem) -> str:
        """The type of the line's column, empty where it has none."""
        table, name = self._table, line.item.column if line.item else line.column
        if line.item is not None and line.item.join:
            rule = self._rule
            join = rule.join_named(line.item.join) if isinstance(rule, NodeRule) else None
            table = self._catalog.table(join.table) if self._catalog and join else None
        if line.item is not None and line.item.expression:
            return "expression"
        column = table.column(name) if table is not None else None
        return column.type.declared if column is not None else ""

    def _cells(self, index: int) -> Row:
        line = self._items[index]
        declared = self._declared(line)
        muted = "$text-muted"
        made, (type_name, moved) = _property_of(line), _type_of(line)
        if line.role:
            style, sign = "$text-primary", Content.styled("→", "$text-primary")
        elif not moved:
            style, sign = muted, Content.styled("–", muted)
        else:
            style = ""
            sign = Content.styled(*("◆", "$text-primary") if line.key else ("✓", "$text-success"))
        written = line.item is not None and line.item.expression and moved
        return (
            sign,
            _styled(line.column, "$text-secondary" if written else style),
            _styled(made, style),
            _styled(type_name, style),
            _styled(declared, muted),
        )


def _property_of(line: GridItem) -> str:
    """The property's name, or which end the column is."""
    if line.role:
        return f"{line.role}: {line.end}"
    return line.item.name if line.item is not None else "–"


def _type_of(line: GridItem) -> tuple[str, bool]:
    """The graph type, and whether the line is moved at all."""
    if line.role:
        return "", True
    moved = line.item is not None and (line.item.include or line.key)
    return (line.item.type, True) if line.item is not None and moved else (_LEFT_OUT, False)


def _styled(text: str, style: str) -> Content:
    return Content.styled(one_line(text), style)


def _widest(title: str, texts: Iterable[str]) -> int:
    return min(_WIDEST, max([len(title), *(cell_len(one_line(text)) for text in texts)]))


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Both widths within `room`, where one is long what the other leaves."""
    room = max(2 * _LEAST, room)
    if first + second <= room:
        return first, second
    half = room // 2
    if second <= half:
        return room - second, second
    if first <= half:
        return first, room - first
    return half, room - half
