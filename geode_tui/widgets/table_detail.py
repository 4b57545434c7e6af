"""All that is known of one table, on pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from geode_tui.catalog import Catalog, Column, Table
from geode_tui.widgets.er_model import Incoming
from geode_tui.widgets.neighbourhood import Neighbourhood
from geode_tui.widgets.object_pages import (
    INDEX_COLUMNS,
    OBJECT_COLUMNS,
    index_lines,
    object_lines,
)
from geode_tui.widgets.profile_page import ProfilePage
from geode_tui.widgets.table_pages import (
    COLUMN_COLUMNS,
    KEY_COLUMNS,
    PageLine,
    column_rows,
    column_text,
    facts_line,
    key_lines,
    line_columns,
    row_text,
    sample_columns,
    sample_row,
    sized,
)
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import TableColumn, VirtualTable

PAGES = ("diagram", "columns", "keys", "indexes", "details", "profile", "rows")
Sample = Sequence[tuple[str | None, ...]]

_FOCUS = {
    "diagram": "ErDiagram",
    "columns": "#column-table",
    "keys": "#key-table",
    "indexes": "#index-table",
    "details": "#object-table",
    "profile": "#profile-columns",
    "rows": "#row-table",
}


class LineTable(VirtualTable):
    """Lines of which some lead to another table; enter walks along one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "select",
            "other table",
            key_display="⏎",
            id="lines.walk",
            tooltip="Go to the table that the line leads to, else show the line whole",
        ),
    ]


class TableDetail(Vertical):
    """A table's name and facts, and its pages. Only the page in view is filled."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.table: Table | None = None
        self.sample: Sample = ()
        self._catalog = Catalog()
        self._incoming: Incoming = {}
        self._lines: dict[str, list[PageLine]] = {}
        self._filled: set[str] = set()

    def compose(self) -> ComposeResult:
        """Name, facts, pages."""
        yield Static(id="name")
        yield Static(id="facts")
        with TabbedContent(id="pages", initial=PAGES[0]):
            for page in PAGES:
                with TabPane(page.capitalize(), id=page):
                    yield _widget(page)

    @property
    def page(self) -> str:
        """The page in view."""
        return self.query_one(TabbedContent).active

    @property
    def pages(self) -> list[str]:
        """The pages that there are in this width."""
        tabs = self.query_one(TabbedContent)
        return [page for page in PAGES if tabs.get_tab(page).display]

    @property
    def profile(self) -> ProfilePage:
        """The page of statistics."""
        return self.query_one(ProfilePage)

    @property
    def focus_target(self) -> Widget:
        """What takes the focus on the page in view."""
        return self.query_one(_FOCUS[self.page])

    def open(self, page: str) -> None:
        """Turn to a page."""
        self.query_one(TabbedContent).active = page

    def turn(self, step: int) -> None:
        """Turn to the next page, or one before."""
        pages = self.pages
        self.open(pages[(pages.index(self.page) + step) % len(pages)])

    def set_diagram_page(self, there: bool) -> None:
        """Whether the diagram has a page; it needs none where it stands beside."""
        tabs = self.query_one(TabbedContent)
        if there:
            tabs.show_tab("diagram")
            return
        if self.page == "diagram":
            self.open("columns")
        tabs.hide_tab("diagram")

    def show(self, table: Table, catalog: Catalog, incoming: Incoming) -> None:
        """Show a table, on the page that is in view."""
        self.table, self._catalog, self._incoming = table, catalog, incoming
        self._filled.clear()
        self.query_one("#name", Static).update(Content.styled(one_line(str(table.name)), "bold"))
        self.query_one("#facts", Static).update(facts_line(table))
        self.fill()

    @on(TabbedContent.TabActivated)
    def fill(self) -> None:
        """Fill the page in view."""
        table, page = self.table, self.page
        if table is None or page in self._filled:
            return
        self._filled.add(page)
        if page == "diagram":
            self.query_one(Neighbourhood).show(self._catalog, self._incoming, table)
        elif page == "columns":
            rows = column_rows(table)
            columns = self.query_one("#column-table", VirtualTable)
            columns.set_columns(sized(COLUMN_COLUMNS, rows))
            columns.set_rows(rows, keep_cursor=False)
        elif page == "keys":
            self._fill_lines(KEY_COLUMNS, key_lines(table, self._incoming))
        elif page == "indexes":
            self._fill_lines(INDEX_COLUMNS, index_lines(table))
        elif page == "details":
            self._fill_lines(OBJECT_COLUMNS, object_lines(table, self._catalog))

    def _fill_lines(self, columns: Sequence[TableColumn], lines: list[PageLine]) -> None:
        self._lines[self.page] = lines
        view = self.query_one(_FOCUS[self.page], VirtualTable)
        view.set_columns(line_columns(lines, columns))
        view.set_rows([line.cells for line in lines], keep_cursor=False)

    def show_sample(self, rows: Sample, empty: str) -> None:
        """Show sampled rows, or why there are none."""
        self.sample = rows
        view = self.query_one("#row-table", VirtualTable)
        view.set_empty(empty)
        view.set_columns(sample_columns(self.table, rows) if self.table and rows else ())
        view.set_rows([sample_row(row) for row in rows], keep_cursor=False)

    @property
    def line(self) -> PageLine | None:
        """The line under the cursor, on a page of lines."""
        lines = self._lines.get(self.page) if self.page in self._filled else None
        if not lines:
            return None
        return lines[self.query_one(_FOCUS[self.page], VirtualTable).cursor]

    @property
    def profiled_column(self) -> Column | None:
        """The column under the cursor on the page of statistics."""
        if self.page != "profile" or self.table is None or not self.table.columns:
            return None
        return self.table.columns[self.query_one("#profile-columns", VirtualTable).cursor]

    def whole(self) -> tuple[str, str] | None:
        """Title and text of all that is known of the row under the cursor."""
        table, page = self.table, self.page
        if table is None or page == "diagram":
            return None
        if self.line:
            return f"{page} of {table.name}", self.line.whole
        cursor = self.query_one(_FOCUS[page], VirtualTable).cursor
        if page == "rows" and self.sample:
            title = f"row {cursor + 1} of the sample of {table.name}"
            return title, row_text(table, self.sample[cursor])
        if page == "columns" and table.columns:
            column = table.columns[cursor]
            return column.name, column_text(table, column)
        return None


def _widget(page: str) -> Widget:
    """What a page consists of."""
    if page == "diagram":
        return Neighbourhood()
    if page == "columns":
        return VirtualTable(COLUMN_COLUMNS, id="column-table", empty="no columns")
    if page == "keys":
        none = "no keys, and no one references it"
        return LineTable(KEY_COLUMNS, id="key-table", empty=none)
    if page == "indexes":
        return LineTable(INDEX_COLUMNS, id="index-table", empty="no indexes")
    if page == "details":
        none = "no comment, trigger, policy, partition or relative"
        return LineTable(OBJECT_COLUMNS, id="object-table", empty=none)
    return ProfilePage() if page == "profile" else VirtualTable(id="row-table")
