"""The gates of a cutover: each in colour, glyph and word, with its evidence and age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from geode_tui.migration.replication.state import Colour, Gate
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import span
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_MARKS: dict[Colour, tuple[str, str]] = {
    "green": ("✓", "$text-success"),
    "amber": ("!", "$text-warning"),
    "red": ("✗", "$text-error"),
}
_WIDEST_TITLE, _LEAST_TITLE = 30, 12
_NOW_SECONDS = 2.0


def gate_mark(gate: Gate) -> tuple[str, str]:
    """The glyph of a gate and its colour; `○` where it was waived."""
    return ("○", "$text-success") if gate.reason else _MARKS[gate.colour]


def may_waive(gate: Gate) -> bool:
    """Whether a person can let a cutover through it."""
    return not gate.passed and gate.waivable


def age_text(gate: Gate, now: float) -> str:
    """`now`, `0:12`, `2:03:04`: how old the evidence is."""
    age = now - gate.checked_at
    return "now" if age < _NOW_SECONDS else span(age)


class GateTable(FigureTable):
    """The gates in the order in which they are asked; enter starts the cutover."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.start",
            "start",
            id="table.select",
            tooltip="Start the cutover",
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__((), empty="the gates are not checked yet: r checks them", id=id)
        self._gates: Sequence[Gate] = ()
        self._now = 0.0

    @property
    def gate(self) -> Gate | None:
        """The gate under the cursor."""
        return self._gates[self.cursor] if self.cursor < len(self._gates) else None

    def show_gates(self, gates: Sequence[Gate], now: float) -> None:
        """Show the gates as they are now."""
        again = [g.title for g in gates] != [g.title for g in self._gates]
        changed = gates != self._gates or int(now) != int(self._now)
        self._gates, self._now = gates, now
        if again:
            self._lay_out()
        elif changed:
            self.refresh()

    def go_to(self, gate: Gate) -> None:
        """Put the cursor on a gate."""
        names = [other.name for other in self._gates]
        if gate.name in names:
            self.cursor = names.index(gate.name)

    def on_resize(self) -> None:
        """Shorter titles where there is less room."""
        self._lay_out()
        super().on_resize()

    def _lay_out(self) -> None:
        titles = max([cell_len(one_line(g.title)) for g in self._gates], default=0) + 2
        most = max(_LEAST_TITLE, min(_WIDEST_TITLE, self.size.width // 2))
        columns = (
            TableColumn("gate", min(most, max(_LEAST_TITLE, titles))),
            TableColumn("evidence", least=12),
            TableColumn("age", 8, "right"),
        )
        cursor = self.cursor
        if columns != self.columns:
            self.set_columns(columns)
        self.set_source(len(self._gates), self._cells)
        self.cursor = cursor

    def _cells(self, index: int) -> Row:
        gate = self._gates[index]
        mark, style = gate_mark(gate)
        evidence = f"waived: {gate.reason}" if gate.reason else gate.evidence
        return (
            Content.styled(f"{mark} {one_line(gate.title)}", style),
            one_line(evidence),
            age_text(gate, self._now),
        )


def gate_detail(gate: Gate | None, now: float) -> Content:
    """All that is known of a gate, and what to do about it."""
    if gate is None:
        return Content("")
    mark, style = gate_mark(gate)
    parts: list[tuple[str, str]] = [
        (f"{mark} {one_line(gate.title)}", f"bold {style}"),
        (f"  {one_line(gate.evidence)}", ""),
    ]
    if gate.reason:
        who = one_line(gate.waived_by) or "somebody"
        parts.append((f"\n○ waived by {who}: {one_line(gate.reason)}", "$text-success"))
    if gate.next_step and not gate.passed:
        parts += [("\nnext  ", "$text-muted"), (one_line(gate.next_step), "")]
    if may_waive(gate):
        parts += [("\nw", "bold $text-accent"), ("  waives it, for a reason", "$text-muted")]
    elif not gate.passed:
        parts.append(("\nit cannot be waived", "$text-muted"))
    return Content.assemble(*parts)
