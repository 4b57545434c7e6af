"""Two runs side by side: what was asked of each, and what each moved."""

from __future__ import annotations

import contextlib
import time
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from geode_tui.migration.compare_runs import Comparison, EntityPair, Pair, compare_runs
from geode_tui.migration.journal import Journal
from geode_tui.migration.run_figures import figures_of
from geode_tui.screens.dialogs import Dialog
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import counted, rate, rows, size, span
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn

_SHOWN = {"rows": 21, "dead": 11, "orphans": 11, "rate": 17, "seconds": 13}
"""The figures that are shown of an entity, and the widths of their columns."""


class ComparisonDialog(Dialog[None]):
    """The facts of two runs and the figures of their entities, what differs first."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="comparison.copy", tooltip="Copy the whole comparison"),
        Binding("tab", "pane(1)", "next", id="comparison.next", tooltip="Next part"),
    ]
    DEFAULT_CSS = """
    ComparisonDialog {
        & > .dialog { width: 96%; max-width: 150; height: 94%; }
        & VirtualTable { background: $surface; }
        & #comparison-head { height: auto; max-height: 2; }
        & #pane-entities { height: 3fr; }
        & #pane-facts { height: 2fr; }
        &.-narrow Pane.-shown { height: 1fr; }
    }
    """

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison
        self.title_text = f"run {comparison.first} and run {comparison.second}"

    def compose_dialog(self) -> ComposeResult:
        """The verdict, the entities, the facts."""
        yield Static(verdict(self._comparison), id="comparison-head")
        with Panes():
            both = f"run {self._comparison.first} │ run {self._comparison.second}"
            with Pane(f"entities · {both}", id="pane-entities", brief="entities"):
                yield EntityPairTable(self._comparison, id="entity-pairs")
            with Pane("asked and reached", id="pane-facts", brief="facts"):
                yield FactTable(self._comparison, id="facts")

    def on_mount(self) -> None:
        """Start on the entities."""
        self.query_one(EntityPairTable).focus()

    def action_pane(self, steps: int) -> None:
        """Go to the other part."""
        self.query_one(Panes).go(steps)

    def action_copy(self) -> None:
        """Copy all of it."""
        self.copy(comparison_text(self._comparison))


class EntityPairTable(FigureTable):
    """A line for each entity of either run; a figure that differs has both values."""

    def __init__(self, comparison: Comparison, *, id: str | None = None) -> None:
        columns = (
            TableColumn("entity", least=18),
            TableColumn("", 13),
            *(TableColumn(name, width, "right") for name, width in _SHOWN.items()),
        )
        super().__init__(columns, empty="neither run has an entity", id=id)
        self._pairs = sorted(comparison.entities, key=lambda pair: pair.same)
        self.set_source(len(self._pairs), self._cells)

    def _cells(self, index: int) -> Row:
        pair = self._pairs[index]
        style = "$text-success" if pair.same else "$text-warning"
        figures = (_both(pair.figure(name)) for name in _SHOWN)
        return (entity_title(pair.id), Content.styled(state_of(pair), style), *figures)


class FactTable(FigureTable):
    """What was asked of both runs, and what both came to."""

    def __init__(self, comparison: Comparison, *, id: str | None = None) -> None:
        columns = (
            TableColumn("", 12),
            TableColumn(f"run {comparison.first}", least=20),
            TableColumn(f"run {comparison.second}", least=20),
        )
        facts = [(pair.name, *_sides(pair)) for pair in comparison.facts]
        super().__init__(columns, facts, id=id)


def state_of(pair: EntityPair) -> str:
    """`✓ same`, `! differs`, `! only in the first`."""
    if not pair.in_second:
        return "! first only"
    if not pair.in_first:
        return "! second only"
    return "✓ same" if pair.same else "! differs"


def _both(pair: Pair) -> Cell:
    first, second = (figure_text(pair.name, value) for value in (pair.first, pair.second))
    if first == second:
        return first
    counts = pair.name in ("rows", "dead", "orphans")
    return Content.styled(f"{first} │ {second}", "$text-warning" if counts else "")


def _sides(pair: Pair) -> tuple[Cell, Cell]:
    first, second = (figure_text(pair.name, value) for value in (pair.first, pair.second))
    if first == second:
        return Content.styled(first, "$text-muted"), Content.styled("the same", "$text-muted")
    return first, second


def figure_text(name: str, value: Any) -> str:
    """A figure as a person reads it, `–` where there is none."""
    if value is None or value == "":
        return "–"
    if name == "rate":
        return rate(value)
    if name in ("seconds", "took"):
        return span(value)
    if name == "bytes":
        return size(value)
    if name == "started":
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if name == "mapping":
        return str(value)[:12]
    return rows(value) if isinstance(value, int) else one_line(str(value))


def verdict(comparison: Comparison) -> Content:
    """Whether both runs made the same, and of how many entities they did not."""
    number = len(comparison.differing)
    total = counted(len(comparison.entities), "entity", "entities")
    if not number:
        return Content.styled(f"✓ both made the same of {total}", "bold $text-success")
    made = "1 entity differs" if number == 1 else f"{number:,} entities differ"
    return Content.styled(f"! {made}, of {total}", "bold $text-warning")


def comparison_text(comparison: Comparison) -> str:
    """The comparison as lines of text, to copy."""
    lines = [f"run {comparison.first} and run {comparison.second}", ""]
    for pair in comparison.facts:
        first, second = (figure_text(pair.name, value) for value in (pair.first, pair.second))
        lines.append(f"{pair.name}\t{first}\t{second}")
    lines.append("")
    for entity in comparison.entities:
        figures = (entity.figure(name) for name in _SHOWN)
        texts = [f"{p.name} {_plain(p)}" for p in figures]
        lines.append("\t".join([entity.id, state_of(entity), *texts]))
    return "\n".join(lines)


def _plain(pair: Pair) -> str:
    cell = _both(pair)
    return cell if isinstance(cell, str) else cell.plain


def read_comparison(first: int, second: int) -> Comparison:
    """Compare two runs of the journal. Raises UsageError, GeodeTuiError."""
    with contextlib.closing(Journal()) as journal:
        return compare_runs(figures_of(journal, first), figures_of(journal, second))
