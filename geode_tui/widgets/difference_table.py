"""Sampled rows that differ, with the values of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from geode_tui.validation.ledger import Difference
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.virtual_table import Row, TableColumn

_WHERE = {
    "both": "! values differ",
    "source": "✗ only in the source",
    "graph": "✗ only in the graph",
}
_OF_ALL = (
    TableColumn("entity", 22),
    TableColumn("key", least=12),
    TableColumn("what", 20),
    TableColumn("property", least=10),
)
_OF_ONE = (
    TableColumn("key", least=12),
    TableColumn("property", least=12),
    TableColumn("source", least=18),
    TableColumn("graph", least=18),
)


@dataclass(frozen=True, slots=True)
class _Line:
    difference: Difference
    name: str = ""
    source: str = ""
    graph: str = ""
    first: bool = True


class DifferenceTable(FigureTable):
    """All differing rows, a line each."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_OF_ALL, empty="✓ no sampled row differs", id=id, classes=classes)
        self._differences: Sequence[Difference] = ()

    @property
    def difference(self) -> Difference | None:
        """The row under the cursor."""
        return self._differences[self.cursor] if self.cursor < len(self._differences) else None

    def show_differences(self, differences: Sequence[Difference]) -> None:
        """Show these rows."""
        self._differences = differences
        self.set_source(len(differences), self._cells, keep_cursor=False)

    def _cells(self, index: int) -> Row:
        found = self._differences[index]
        names = ", ".join(name for name, _, _ in found.values)
        return (entity_title(found.entity), found.key, _where(found), names)


class ValueTable(FigureTable):
    """The differing rows of one entity, both values side by side."""

    def __init__(self, differences: Sequence[Difference], *, id: str | None = None) -> None:
        super().__init__(_OF_ONE, empty="✓ no sampled row differs", id=id)
        self._lines = [line for found in differences for line in _lines(found)]

    def on_mount(self) -> None:
        """Show the lines."""
        self.set_source(len(self._lines), self._cells)

    @property
    def difference(self) -> Difference | None:
        """The row under the cursor."""
        return self._lines[self.cursor].difference if self.cursor < len(self._lines) else None

    def _cells(self, index: int) -> Row:
        line = self._lines[index]
        key = line.difference.key if line.first else ""
        if not line.name:
            here, gone = Content.styled("✓ is here", "$text-muted"), _lit("✗ is missing")
            sides = (gone, here) if line.difference.where == "graph" else (here, gone)
            return (key, "", *sides)
        if line.source == line.graph:
            return (key, line.name, line.source, line.graph)
        return (key, line.name, _lit(line.source), _lit(line.graph))


def _lines(found: Difference) -> list[_Line]:
    if not found.values:
        return [_Line(found)]
    return [_Line(found, *values, first=n == 0) for n, values in enumerate(found.values)]


def _where(found: Difference) -> Content:
    style = "$text-warning" if found.where == "both" else "$text-error"
    return Content.styled(_WHERE[found.where], style)


def _lit(text: str) -> Content:
    return Content.styled(text, "bold $text-warning")
