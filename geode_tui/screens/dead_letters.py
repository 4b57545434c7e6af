"""The rows that could not be written, with the reason for each."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from geode_tui.migration.dead_letters import DeadLetter
from geode_tui.screens.dialogs import Dialog, TextDialog
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import counted
from geode_tui.widgets.virtual_table import TableColumn, VirtualTable

SHOWN = 200
_COLUMNS = (
    TableColumn("entity", least=14),
    TableColumn("key", 14),
    TableColumn("class", 9),
    TableColumn("reason", least=26),
)


def letter_text(letter: DeadLetter) -> str:
    """A dead letter on several lines."""
    return "\n".join(
        (
            f"entity  {letter.entity}",
            f"key     {letter.key}",
            f"class   {letter.error_class}",
            f"reason  {letter.reason}",
            f"values  {letter.values}",
        )
    )


class DeadLetterTable(FigureTable):
    """Dead letters, a line each."""

    def __init__(self, letters: Sequence[DeadLetter]) -> None:
        rows = [(entity_title(x.entity), x.key, x.error_class, x.reason) for x in letters]
        super().__init__(_COLUMNS, rows, empty="✓ no dead letter: every row was written")


class DeadLettersDialog(Dialog[None]):
    """A list of dead letters; enter shows one with its values."""

    DEFAULT_CSS = """
    DeadLettersDialog {
        & > .dialog { width: 96%; max-width: 130; height: 80%; }
    }
    """

    def __init__(self, title: str, letters: Sequence[DeadLetter]) -> None:
        super().__init__()
        self.title_text = title
        self._letters = letters

    def compose_dialog(self) -> ComposeResult:
        """The list, and how much of it is shown."""
        yield DeadLetterTable(self._letters)
        shown = counted(len(self._letters), "dead letter")
        more = f"the first {shown}" if len(self._letters) >= SHOWN else shown
        yield Static(Content.styled(f"{more} · enter shows the values", "$text-muted"))

    def on_mount(self) -> None:
        """Start on the list."""
        self.query_one(VirtualTable).focus()

    @on(VirtualTable.RowSelected)
    def _opened(self, event: VirtualTable.RowSelected) -> None:
        self.app.push_screen(TextDialog("a dead letter", letter_text(self._letters[event.index])))
