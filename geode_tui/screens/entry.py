"""One entry of the ledger: the two queries, and the sampled rows that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from geode_tui.screens.dialogs import Dialog, TextDialog
from geode_tui.validation.ledger import Difference, Entry
from geode_tui.widgets.difference_table import ValueTable
from geode_tui.widgets.ledger_table import equation, verdict
from geode_tui.widgets.statement import pretty_sql
from geode_tui.widgets.text import many_lines
from geode_tui.widgets.virtual_table import VirtualTable


def difference_text(found: Difference) -> str:
    """A differing row with its values and the two queries that show it."""
    lines = [f"{found.entity}  key {found.key}", ""]
    if found.where != "both":
        lines.append(f"only in the {found.where}")
    if found.cause:
        lines.append(f"cause: {found.cause}")
    lines += [f"{name}\n  source  {a}\n  graph   {b}" for name, a, b in found.values]
    if found.source_sql:
        lines += ["", "SQL", pretty_sql(found.source_sql)]
    if found.target_gql:
        lines += ["", "GQL", found.target_gql]
    return "\n".join(lines)


class EntryDialog(Dialog[None]):
    """The evidence of one entry; `y` copies the query or row with the focus."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="entry.copy", tooltip="Copy the query or row in focus"),
        Binding("tab", "app.focus_next", "next", id="entry.next", tooltip="Next part"),
    ]
    DEFAULT_CSS = """
    EntryDialog {
        & > .dialog { width: 96%; max-width: 150; height: 92%; }
        & #entry-head { height: auto; max-height: 3; }
        & #entry-queries { height: 10; }
        & .query {
            border: round $foreground 25%;
            border-title-color: $text-muted;
            width: 1fr;
            height: 1fr;
            padding: 0 1;
            scrollbar-size-vertical: 1;
        }
        & .query:focus { border: round $border; border-title-color: $foreground; }
        &.-narrow #entry-queries { layout: vertical; }
    }
    """

    def __init__(self, entry: Entry, differences: Sequence[Difference]) -> None:
        super().__init__()
        self.title_text = entry.id
        self._entry = entry
        self._differences = [found for found in differences if found.entity == entry.id]

    def compose_dialog(self) -> ComposeResult:
        """The sum, the queries, the rows."""
        head = Content.assemble(verdict(self._entry), f"  {equation(self._entry)}")
        sampled = f"\n{self._entry.sampled:,} rows compared value by value"
        yield Static(Content.assemble(head, (sampled, "$text-muted")), id="entry-head")
        with Horizontal(id="entry-queries"):
            for name, query in (("SQL", self._entry.source_sql), ("GQL", self._entry.target_gql)):
                shown = pretty_sql(query) if name == "SQL" else query
                with VerticalScroll(id=name.lower(), classes="query") as part:
                    part.border_title = Content(f"{name} · y copies")
                    yield Static(Content(many_lines(shown)))
        yield ValueTable(self._differences, id="values")

    def on_mount(self) -> None:
        """Start where the differences are, else at the first query."""
        self.query_one("#values" if self._differences else "#sql").focus()

    def action_copy(self) -> None:
        """Copy what has the focus."""
        focused = self.focused
        if isinstance(focused, ValueTable):
            found = focused.difference
            self.copy(difference_text(found) if found else equation(self._entry))
        else:
            gql = focused is not None and focused.id == "gql"
            self.copy(self._entry.target_gql if gql else self._entry.source_sql)

    @on(VirtualTable.RowSelected)
    def _opened(self) -> None:
        found = self.query_one(ValueTable).difference
        if found is not None:
            self.app.push_screen(TextDialog("a row that differs", difference_text(found)))
