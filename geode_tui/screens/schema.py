"""Schema: what there is in the source."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static, TabbedContent, TabPane, Tabs
from textual.worker import Worker

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.errors import GeodeTuiError
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import TextDialog
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.schema_tree import SchemaTree
from geode_tui.widgets.table_pages import (
    COLUMN_COLUMNS,
    KEY_COLUMNS,
    Incoming,
    KeyLine,
    column_rows,
    column_text,
    facts_line,
    incoming_keys,
    key_lines,
    row_text,
    sample_columns,
    sample_row,
    sized,
)
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_PAGES = ("columns", "keys", "rows")
_SAMPLE_ROWS = 50
_REST_SECONDS = 0.15


class KeyTable(VirtualTable):
    """The keys of a table; enter walks along one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "select",
            "other table",
            key_display="⏎",
            id="keys.walk",
            tooltip="Go to the table at the other end of the foreign key",
        ),
    ]


class SchemaScreen(GeodeScreen):
    """Look through tables, their columns, keys and rows."""

    MODE = "schema"
    HELP = """
## Schema
The tables of the source, with the planner's row estimate (`±`).
`▦` table · `▤` partitioned · `◇` view · `◆` materialized view · `⇢` foreign table

- **/** filters by name; letters in their order suffice: `oi` finds `order_items`
- **enter** goes into a table, **esc** comes back
- **v** turns to columns, keys, rows
- in Keys, **enter** walks along a foreign key and **backspace** back
- in Rows, **space** shows a row with its values whole; `∅ null` is a null
"""
    CSS_PATH = "schema.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="schema.filter", tooltip="Filter"),
        Binding("escape", "back", "back", id="schema.back", tooltip="Back to where you came from"),
        Binding("v", "page(1)", "view", id="schema.view", tooltip="Columns, keys, rows in turn"),
        Binding(
            "V",
            "page(-1)",
            "view back",
            show=False,
            id="schema.view-back",
            tooltip="Columns, keys, rows in turn, backwards",
        ),
        Binding(
            "space",
            "open_value",
            "whole value",
            key_display="space",
            id="schema.value",
            tooltip="Show all of the row under the cursor",
        ),
        Binding(
            "r", "read_rows", "read", id="schema.read", tooltip="Read the sample of rows (again)"
        ),
        Binding(
            "backspace",
            "walk_back",
            "walk back",
            show=False,
            id="schema.walk-back",
            tooltip="Back along the foreign key",
        ),
        Binding(
            "ctrl+r",
            "reload",
            "reload",
            show=False,
            id="schema.reload",
            tooltip="Read the catalog of the source again",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._catalog: Catalog | None = None
        self._incoming: Incoming = {}
        self._table: Table | None = None
        self._keys: list[KeyLine] = []
        self._sample: list[tuple[str | None, ...]] = []
        self._sampled: TableName | None = None
        self._trail: list[TableName] = []

    def compose_body(self) -> ComposeResult:
        """The tree, and beside it what is known of a table."""
        yield Static(
            "no source is connected: press 1 and connect to one", id="nothing", markup=False
        )
        with Horizontal(id="panes"):
            with Vertical(id="tables", classes="pane"):
                yield FilterInput("tree")
                yield SchemaTree(id="tree")
            with Vertical(id="detail", classes="pane"):
                yield Static(id="name")
                yield Static(id="facts")
                with TabbedContent(id="pages", initial="columns"):
                    with TabPane("Columns", id="columns"):
                        yield VirtualTable(COLUMN_COLUMNS, id="column-table", empty="no columns")
                    with TabPane("Keys", id="keys"):
                        yield KeyTable(
                            KEY_COLUMNS, id="key-table", empty="no keys, and no one references it"
                        )
                    with TabPane("Rows", id="rows"):
                        yield VirtualTable(id="row-table")

    def on_mount(self) -> None:
        """Start in the tree."""
        super().on_mount()
        self.query_one(Tabs).can_focus = False
        self.query_one("#tree").focus()

    def refresh_view(self) -> None:
        """Show the catalog as it is now."""
        catalog = self.workspace.catalog
        self.set_class(catalog is None, "-nothing")
        if catalog is None or catalog is self._catalog:
            return
        self._catalog = catalog
        self._incoming = incoming_keys(catalog)
        self._trail.clear()
        self._sampled = None
        self._tree.show(catalog)
        name = self._table.name if self._table else catalog.tables[0].name
        table = catalog.table(name) or catalog.tables[0]
        self._show(table)
        self._tree.go_to(table.name)

    @property
    def _tree(self) -> SchemaTree:
        return self.query_one(SchemaTree)

    @property
    def _page(self) -> str:
        return self.query_one(TabbedContent).active

    def show_item(self, item: str) -> None:
        """Go to a table by its full name."""
        for table in self._catalog.tables if self._catalog else ():
            if str(table.name) == item:
                self._go(table.name)

    def copied(self) -> str:
        """In the tree the table's name, else the row under the cursor."""
        if self.focused is self._tree and self._table:
            return str(self._table.name)
        if self.focused is self.query_one("#row-table") and self._table and self._sample:
            cursor = self.query_one("#row-table", VirtualTable).cursor
            return row_text(self._table, self._sample[cursor])
        return super().copied()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show only the keys that do something where the focus is."""
        if not self.is_mounted or self._catalog is None:
            return super().check_action(action, parameters)
        if action == "back":
            return self.focused is not self._tree
        if action == "read_rows":
            seen = self.focused is not self._tree or not self.has_class("-narrow")
            return self._page == "rows" and seen
        if action == "open_value":
            return self._page != "keys" and self.focused is not self._tree
        return super().check_action(action, parameters)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._tree.filter(event.value)

    @on(SchemaTree.TableHighlighted)
    def _highlighted(self, event: SchemaTree.TableHighlighted) -> None:
        table = self._catalog.table(event.name) if self._catalog else None
        if table and table is not self._table:
            self._trail.clear()
            self._show(table)

    @on(SchemaTree.TableSelected)
    def _selected(self, event: SchemaTree.TableSelected) -> None:
        self._go(event.name)

    @on(VirtualTable.RowSelected, "#key-table")
    def _walk(self, event: VirtualTable.RowSelected) -> None:
        other = self._keys[event.index].leads_to
        if other is None or self._table is None:
            return
        if self._catalog is None or self._catalog.table(other) is None:
            self.say(f"{other} is not in the schemas that were read")
            return
        trail = [*self._trail, self._table.name]
        self._go(other)
        self._trail = trail

    @on(VirtualTable.RowSelected, "#column-table")
    @on(VirtualTable.RowSelected, "#row-table")
    def _opened(self) -> None:
        self.action_open_value()

    @on(TabbedContent.TabActivated)
    def _turned(self) -> None:
        self._read_when_wanted()
        self.refresh_bindings()

    def action_page(self, step: int) -> None:
        """Turn to the next page of the table."""
        at = _PAGES.index(self._page)
        self.query_one(TabbedContent).active = _PAGES[(at + step) % len(_PAGES)]
        if self.focused is not self._tree or self.has_class("-narrow"):
            self._enter_detail()

    def action_filter(self) -> None:
        """Go to the filter, which is beside the tree."""
        self.remove_class("-detail")
        self.query_one(FilterInput).focus()

    def action_back(self) -> None:
        """Back along the foreign keys that were walked, then to the tree."""
        if self._trail:
            self.action_walk_back()
            return
        self.remove_class("-detail")
        self._tree.focus()

    def action_walk_back(self) -> None:
        """Back to the table that a foreign key led away from."""
        if self._trail:
            name = self._trail.pop()
            trail = self._trail
            self._go(name)
            self._trail = trail

    def action_open_value(self) -> None:
        """Show all of the row under the cursor."""
        table = self._table
        if table is None:
            return
        if self._page == "columns" and table.columns:
            column = table.columns[self.query_one("#column-table", VirtualTable).cursor]
            self.app.push_screen(TextDialog(column.name, column_text(table, column)))
        elif self._page == "rows" and self._sample:
            cursor = self.query_one("#row-table", VirtualTable).cursor
            title = f"row {cursor + 1} of the sample of {table.name}"
            self.app.push_screen(TextDialog(title, row_text(table, self._sample[cursor])))

    def action_read_rows(self) -> None:
        """Read the sample, again if it was read."""
        if self._table:
            self._read_rows(self._table)

    @work(group="catalog", exclusive=True, exit_on_error=False)
    async def action_reload(self) -> None:
        """Read the catalog again."""
        self.say("reading the catalog …")
        await self.workspace.reload_catalog()
        self.refresh_view()
        self.say("the catalog is read")

    def worker_failed(self, worker: Worker[object], error: GeodeTuiError) -> None:
        """A sample that cannot be read says so in its place."""
        if worker.group != "sample":
            super().worker_failed(worker, error)
            return
        self._show_sample([], "✗ " + "\n".join(error.lines()))

    def _go(self, name: TableName) -> None:
        """Show a table and put the focus on it, wherever the tree's filter stands."""
        catalog = self._catalog
        table = catalog.table(name) if catalog else None
        if table is None:
            return
        self._trail = []
        self._show(table)
        if self._tree.table is not table:
            with self._tree.prevent(SchemaTree.TableHighlighted):
                self.query_one(FilterInput).value = ""
                self._tree.filter("")
                self._tree.go_to(name)
        self._enter_detail()

    def _enter_detail(self) -> None:
        self.add_class("-detail")
        name = {"columns": "#column-table", "keys": "#key-table", "rows": "#row-table"}[self._page]
        self.query_one(name).focus()

    def _show(self, table: Table) -> None:
        self._table = table
        self.query_one("#name", Static).update(Content.styled(one_line(str(table.name)), "bold"))
        self.query_one("#facts", Static).update(facts_line(table))
        columns = self.query_one("#column-table", VirtualTable)
        rows = column_rows(table)
        columns.set_columns(sized(COLUMN_COLUMNS, rows))
        columns.set_rows(rows, keep_cursor=False)
        self._keys = key_lines(table, self._incoming)
        keys = self.query_one("#key-table", VirtualTable)
        rows = [line.cells for line in self._keys]
        keys.set_columns(sized(KEY_COLUMNS, rows))
        keys.set_rows(rows, keep_cursor=False)
        self._read_when_wanted()

    def _read_when_wanted(self) -> None:
        """Read rows only when they are looked at, and of what is stored here."""
        table = self._table
        if table is None or self._page != "rows" or self._sampled == table.name:
            return
        self.workers.cancel_group(self, "sample")
        self._sampled = None
        if table.has_storage:
            self._read_rows(table)
        else:
            self._show_sample(
                [], f"reading a {table.kind} can be slow: r reads {_SAMPLE_ROWS} rows"
            )

    @work(group="sample", exclusive=True, exit_on_error=False)
    async def _read_rows(self, table: Table) -> None:
        self._show_sample([], "… reading")
        await asyncio.sleep(_REST_SECONDS)  # a cursor that runs through the tree reads nothing
        if self.workspace.source is None:
            self._show_sample([], "the source is not connected")
            return
        rows = await self.workspace.source.sample(table, _SAMPLE_ROWS)
        if table is self._table:
            self._sampled = table.name
            self._show_sample(rows, "the table is empty")

    def _show_sample(self, rows: list[tuple[str | None, ...]], empty: str) -> None:
        self._sample = rows
        view = self.query_one("#row-table", VirtualTable)
        view.set_empty(empty)
        view.set_columns(sample_columns(self._table, rows) if self._table and rows else ())
        view.set_rows([sample_row(row) for row in rows], keep_cursor=False)
