"""The balance sheet: for each label and relationship, where every row of the source is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from geode_tui.validation.ledger import Entry
from geode_tui.widgets.check_model import MARKS
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import rows
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_WIDEST_TITLE = 32
_NARROW_TITLE = 18
_VERDICT = 14
_ROOM_FOR_TITLES = 100


def equation(entry: Entry) -> str:
    """The entry as a sum: `source 1,000 = nodes 998 + dead 2`; `≠` where it does not add up."""
    sign = "≠" if entry.missing else "="
    if entry.kind == "node":
        return (
            f"source {rows(entry.source_rows)}{_filtered(entry)} {sign} "
            f"nodes {rows(entry.in_graph)}{_dead(entry)}"
        )
    if entry.kind == "label":
        return f"rows with the value {rows(entry.source_rows)} {sign} nodes {rows(entry.in_graph)}"
    if entry.kind == "join":
        return f"rows joined {rows(entry.source_rows)} {sign} nodes with it {rows(entry.in_graph)}"
    nulls = f" ({rows(entry.nulls)} null, none expected)" if entry.nulls else ""
    return (
        f"foreign keys {rows(entry.source_rows)}{nulls}{_filtered(entry)} {sign} "
        f"relationships {rows(entry.in_graph)} + orphans {rows(entry.orphans)}{_dead(entry)}"
    )


def _filtered(entry: Entry) -> str:
    return f" ({rows(entry.filtered)} filtered)" if entry.filtered else ""


def _dead(entry: Entry) -> str:
    return f" + dead {rows(entry.dead)}" if entry.dead or entry.kind == "node" else ""


def verdict(entry: Entry) -> Content:
    """`✓ balanced`, or the mark of its state with what is wrong, accepted or repaired."""
    mark, style = MARKS[entry.state]
    return Content.styled(f"{mark} {entry.verdict}", style)


class LedgerTable(FigureTable):
    """The entries of a ledger, those that differ first."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__((), empty="not validated yet", id=id, classes=classes)
        self._entries: list[Entry] = []

    def on_mount(self) -> None:
        """Have columns before the first ledger."""
        self.show_entries(())

    @property
    def entry(self) -> Entry | None:
        """The entry under the cursor."""
        return self._entries[self.cursor] if self.cursor < len(self._entries) else None

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show these entries."""
        self._entries = sorted(entries, key=lambda entry: entry.balanced)
        self._lay_out()

    def on_resize(self) -> None:
        """Shorter titles where there is less room."""
        self._lay_out()
        super().on_resize()

    def _lay_out(self) -> None:
        titles = [cell_len(one_line(entity_title(e.id))) for e in self._entries]
        verdicts = [cell_len(verdict(e).plain) for e in self._entries]
        sums = [len(equation(e)) for e in self._entries]
        widest = _WIDEST_TITLE if self.size.width >= _ROOM_FOR_TITLES else _NARROW_TITLE
        columns = (
            TableColumn("entity", min(widest, max([8, *titles]))),
            TableColumn("verdict", min(30, max([_VERDICT, *verdicts]))),
            TableColumn("source = graph", least=max([40, *sums])),
        )
        cursor = self.cursor
        if columns != self.columns:
            self.set_columns(columns)
        self.set_source(len(self._entries), self._cells)
        self.cursor = cursor

    def _cells(self, index: int) -> Row:
        entry = self._entries[index]
        return (entity_title(entry.id), verdict(entry), equation(entry))
