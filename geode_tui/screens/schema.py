"""Schema: what there is in the source."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize, ScreenResume, ScreenSuspend
from textual.widgets import Input, Static, TabbedContent, Tabs

from geode_tui.catalog import Table, TableName
from geode_tui.screens.dialogs import TextDialog
from geode_tui.screens.schema_commands import SchemaCommands
from geode_tui.screens.schema_reading import TableReading
from geode_tui.widgets.er_diagram import ErDiagram
from geode_tui.widgets.er_model import incoming_keys
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.neighbourhood import Neighbourhood
from geode_tui.widgets.schema_tree import SchemaTree
from geode_tui.widgets.table_detail import TableDetail
from geode_tui.widgets.table_pages import row_text
from geode_tui.widgets.virtual_table import VirtualTable

_WIDE = 160
_BREATH_SECONDS = 0.001
"""Between the steps of a new screen, for keys and clocks: Textual takes them in one go."""


class SchemaScreen(TableReading):
    """Look through tables: how they hang together, their columns, keys, values and rows."""

    MODE = "schema"
    HELP = """
## Schema
The tables of the source, with the planner's row estimate (`±`).
`▦` table · `▤` partitioned · `◇` view · `◆` materialized view · `⇢` foreign table

- **/** filters by name or by a column's; letters in their order suffice: `oi` finds `order_items`
- **enter** goes into a table, **esc** comes back
- **v** and **V** turn the pages: diagram, columns, keys, indexes, details, profile, rows
- in the diagram, **↑ ↓ ← →** choose a foreign key, **enter** walks along it to the other table,
  **backspace** or **esc** comes back; **space** shows all columns. Who references the table
  stands at the left, whom it references at the right. `>` many rows, `1` one; `FK?` may be null
- in Keys and Details, **enter** walks to the other table too
- **space** shows a line or a row with its values whole; `∅ null` is a null
- Profile shows the planner's statistics at once; **s** counts fan-out, orphans and the longest
  values of this table, which reads from it
"""
    CSS_PATH = "schema.tcss"
    COMMANDS = {SchemaCommands}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False, id="schema.filter", tooltip="Filter"),
        Binding("escape", "back", "back", id="schema.back", tooltip="Back to where you came from"),
        Binding("v", "page(1)", "view", id="schema.view", tooltip="The pages of the table in turn"),
        Binding(
            "V",
            "page(-1)",
            "view back",
            show=False,
            id="schema.view-back",
            tooltip="The pages of the table in turn, backwards",
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
            "s",
            "count",
            "count",
            id="schema.count",
            tooltip="Count fan-out, orphans and the longest values of the table",
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
        self._trail: list[TableName] = []
        self._new = True
        self._here = False

    def compose_body(self) -> ComposeResult:
        """The tree, beside it what is known of a table, and on wide screens its neighbourhood."""
        yield Static(
            "no source is connected: press 1 and connect to one", id="nothing", markup=False
        )
        with Horizontal(id="panes"):
            with Vertical(id="tables", classes="pane"):
                yield FilterInput("tree")
                yield SchemaTree(id="tree")
            yield TableDetail(id="detail", classes="pane")
            yield Neighbourhood(id="beside", classes="pane")

    def on_mount(self) -> None:
        """Start in the tree."""
        super().on_mount()
        self.query_one(Tabs).can_focus = False
        self.query_one("#tree").focus()

    def refresh_view(self) -> None:
        """Show the catalog as it is now."""
        catalog = self.workspace.catalog
        self.set_class(catalog is None or not catalog.tables, "-nothing")
        if catalog is None or not catalog.tables or catalog is self._catalog:
            return
        self._catalog = catalog
        self._incoming = incoming_keys(catalog)
        self._trail.clear()
        self._sampled = self._profile = None
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
        return self._detail.page

    @on(ScreenResume)
    async def _came(self, event: ScreenResume) -> None:
        """Style and draw a new screen once: Textual says twice that it came."""
        if self._here:
            event.prevent_default()
            return
        self._here = True
        event.refresh_styles = not self._new  # the styles of a new screen are those of now
        self._new = False
        self.refresh_view()
        await asyncio.sleep(_BREATH_SECONDS)

    @on(ScreenSuspend)
    def _went(self) -> None:
        self._here = False

    @on(Resize)
    async def _widened(self, event: Resize) -> None:
        """On a wide screen the diagram stands beside the pages, else it is one of them."""
        self._detail.set_diagram_page(event.size.width < _WIDE)
        await asyncio.sleep(_BREATH_SECONDS)

    def show_item(self, item: str) -> None:
        """Go to a table by its full name."""
        for table in self._catalog.tables if self._catalog else ():
            if str(table.name) == item:
                self._go(table.name)

    def open_page(self, page: str) -> None:
        """Go to a page of the table."""
        if page == "diagram" and self.has_class("-wide"):
            self.query_one("#beside", Neighbourhood).diagram.focus()
            return
        self._detail.open(page)
        self._enter_detail()

    def copied(self) -> str:
        """In the tree the table's name, of a diagram all, else the row under the cursor."""
        if self.focused is self._tree and self._table:
            return str(self._table.name)
        if isinstance(self.focused, ErDiagram):
            return self.focused.text
        detail = self._detail
        if self.focused is self.query_one("#row-table") and self._table and detail.sample:
            cursor = self.query_one("#row-table", VirtualTable).cursor
            return row_text(self._table, detail.sample[cursor])
        return super().copied()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show only the keys that do something where the focus is."""
        if not self.is_mounted or self._catalog is None:
            return super().check_action(action, parameters)
        if action == "back":
            return self.focused is not self._tree
        if action in ("read_rows", "count"):
            seen = self.focused is not self._tree or not self.has_class("-narrow")
            return self._page == ("rows" if action == "read_rows" else "profile") and seen
        if action == "open_value":
            return self.focused is not self._tree and not isinstance(self.focused, ErDiagram)
        return super().check_action(action, parameters)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._tree.filter(event.value)

    @on(SchemaTree.TableHighlighted)
    def _highlighted(self, event: SchemaTree.TableHighlighted) -> None:
        """Show the table under the cursor; the cursor may have gone on since the message."""
        table = self._tree.table
        if table and table.name == event.name and table is not self._table:
            self._trail.clear()
            self._show(table)

    @on(SchemaTree.TableSelected)
    def _selected(self, event: SchemaTree.TableSelected) -> None:
        self._go(event.name)

    @on(ErDiagram.Walked)
    def _walked(self, event: ErDiagram.Walked) -> None:
        self._walk_to(event.name, event.diagram)

    @on(VirtualTable.RowSelected, "#key-table, #index-table, #object-table")
    def _line_selected(self) -> None:
        line = self._detail.line
        if line and line.leads_to:
            self._walk_to(line.leads_to)
        else:
            self.action_open_value()

    @on(VirtualTable.RowSelected, "#column-table, #row-table, #profile-columns")
    def _opened(self) -> None:
        self.action_open_value()

    @on(TabbedContent.TabActivated)
    def _turned(self) -> None:
        self._read_when_wanted()
        self.refresh_bindings()

    def action_page(self, step: int) -> None:
        """Turn to the next page of the table."""
        self._detail.turn(step)
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
            self._go(name, self.focused if isinstance(self.focused, ErDiagram) else None)
            self._trail = trail

    def action_open_value(self) -> None:
        """Show all of the row under the cursor."""
        column = self._detail.profiled_column
        if column and self._table:
            self._show_values(self._table, column)
            return
        whole = self._detail.whole()
        if whole:
            self.app.push_screen(TextDialog(*whole))

    def action_copy_diagram(self) -> None:
        """Copy the diagram as text."""
        side = self.query_one("#beside", Neighbourhood).diagram
        page = self._detail.query_one(ErDiagram)
        self.copy(side.text if self.has_class("-wide") else page.text)

    @work(group="catalog", exclusive=True, exit_on_error=False)
    async def action_reload(self) -> None:
        """Read the catalog again."""
        self.say("reading the catalog …")
        await self.workspace.reload_catalog()
        self.refresh_view()
        self.say("the catalog is read")

    def _walk_to(self, name: TableName, focus: ErDiagram | None = None) -> None:
        """Go along a foreign key; the way back is kept."""
        if self._catalog is None or self._table is None:
            return
        if self._catalog.table(name) is None:
            self.say(f"{name} is not in the schemas that were read")
        elif name == self._table.name:
            self.say(f"{name} references itself")
        else:
            trail = [*self._trail, self._table.name]
            self._go(name, focus)
            self._trail = trail

    def _go(self, name: TableName, focus: ErDiagram | None = None) -> None:
        """Show a table and put the focus on it, wherever the tree's filter stands."""
        table = self._catalog.table(name) if self._catalog else None
        if table is None:
            return
        self._trail = []
        self._show(table)
        if self._tree.table is not table:
            with self._tree.prevent(SchemaTree.TableHighlighted):
                self.query_one(FilterInput).value = ""
                self._tree.filter("")
                self._tree.go_to(name)
        self._enter_detail(focus)

    def _enter_detail(self, focus: ErDiagram | None = None) -> None:
        self.add_class("-detail")
        (focus or self._detail.focus_target).focus()

    def _show(self, table: Table) -> None:
        assert self._catalog is not None
        self._table = table
        self._detail.show(table, self._catalog, self._incoming)
        self.query_one("#beside", Neighbourhood).show(self._catalog, self._incoming, table)
        self._read_when_wanted()
