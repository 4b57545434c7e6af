"""What is known of the line under the cursor, with the two queries that show it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from geode_tui.widgets.check_text import Detail, shown_sql
from geode_tui.widgets.text import many_lines

_NOTHING = "nothing is looked at\n\nput the cursor on an entry or on a line of the checks"


class Query(Static, can_focus=True):
    """A query to read and to copy."""

    DEFAULT_CSS = """
    Query {
        height: auto;
        border: round $foreground 25%;
        border-title-color: $text-muted;
        padding: 0 1;
        &:focus { border: round $border; border-title-color: $foreground; }
        &.-none { display: none; }
    }
    """

    def __init__(self, name: str, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self.border_title = Content(f"{name} · y copies")
        self.statement = ""

    def show_statement(self, statement: str, shown: str) -> None:
        """Show a statement as `shown`; without one be gone."""
        self.statement = statement
        self.set_class(not statement, "-none")
        self.update(Content(shown))


class CheckDetail(VerticalScroll):
    """A text that scrolls, and below it SQL and GQL, each to be gone to by tab."""

    DEFAULT_CSS = """
    CheckDetail {
        padding: 0 1;
        & > #detail-text { height: auto; margin-bottom: 1; }
    }
    """

    @dataclass
    class RoomChanged(Message):
        """The text has other room: the sides must be laid out anew."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.detail = Detail("", Content(""))
        self._room = 0

    def compose(self) -> ComposeResult:
        """The text and the queries."""
        yield Static(Content.styled(_NOTHING, "$text-muted"), id="detail-text", markup=False)
        yield Query("SQL", id="detail-sql")
        yield Query("GQL", id="detail-gql")

    def on_mount(self) -> None:
        """Show no query before there is one."""
        self.show_detail(None)

    def show_detail(self, detail: Detail | None) -> None:
        """Show what is known of a line, or what to do first."""
        shown = detail or Detail("", Content.styled(_NOTHING, "$text-muted"))
        self.detail = shown
        self.query_one("#detail-text", Static).update(shown.text)
        sql = shown_sql(shown.sql) if shown.sql else ""
        self.query_one("#detail-sql", Query).show_statement(shown.sql, sql)
        self.query_one("#detail-gql", Query).show_statement(shown.gql, many_lines(shown.gql))
        self.scroll_home(animate=False)

    def on_resize(self) -> None:
        """Tell when there is other room."""
        if self.room != self._room:
            self._room = self.room
            self.post_message(self.RoomChanged())

    @property
    def room(self) -> int:
        """Cells that a line of the text may have."""
        return max(20, self.scrollable_content_region.width)
