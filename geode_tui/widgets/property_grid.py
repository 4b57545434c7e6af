"""The columns of a rule's table and the properties they become."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from geode_tui.catalog import Catalog, Table
from geode_tui.mapping.model import Endpoint, NodeRule, Property, Rule
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

_COLUMNS = (
    TableColumn("", 1),
    TableColumn("column", least=11),
    TableColumn("property", least=11),
    TableColumn("type", 11),
    TableColumn("moved", 7),
    TableColumn("PostgreSQL", least=8),
)


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

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="nothing: only its ends", id=id, classes=classes)
        self._items: list[GridItem] = []
        self._catalog: Catalog | None = None
        self._table: Table | None = None
        self._rule: Rule | None = None

    def on_mount(self) -> None:
        """Have widths before the first size is known."""
        self._measure()

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
        if line.role:
            role = Content.styled(f"{line.role} of it", "$text-primary")
            end = Content.styled(line.end, "$text-primary")
            return ("", line.column, role, end, "", Content.styled(declared, muted))
        if line.item is None:
            nothing = Content.styled("–", muted)
            return ("", line.column, nothing, "", Content.styled("– left", muted), declared)
        moved = line.item.include or line.key
        return (
            Content.styled("◆", "$text-accent") if line.key else "",
            _styled(line.column, "$text-secondary" if line.item.expression else "")
            if moved
            else _styled(line.column, muted),
            line.item.name if moved else Content.styled(line.item.name, muted),
            line.item.type if moved else Content.styled(line.item.type, muted),
            Content.styled("✓ moved", "$text-success")
            if moved
            else Content.styled("– left", muted),
            Content.styled(declared, muted),
        )


def _styled(text: str, style: str) -> Content:
    return Content.styled(one_line(text), style)
