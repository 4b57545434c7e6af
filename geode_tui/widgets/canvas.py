"""A sheet of cells to draw on with box characters and texts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from geode_tui.widgets.figures import clip

Line = tuple[str, str]
"""A text and its style."""


class Canvas:
    """Cells that are drawn on one over the other; it grows as far as it is drawn on."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], tuple[str, str]] = {}

    @property
    def height(self) -> int:
        """How many lines were drawn on."""
        return max((y for _, y in self._cells), default=-1) + 1

    def put(self, x: int, y: int, text: str, style: str = "") -> int:
        """Write a text (one line) from column `x` on; returns the column behind it."""
        for character in text:
            width = cell_len(character)
            if width == 0:  # an accent goes into the cell of its letter
                before = self._cells.get((x - 1, y), (" ", style))
                self._cells[x - 1, y] = (before[0] + character, before[1])
                continue
            self._cells[x, y] = (character, style)
            for more in range(1, width):
                self._cells[x + more, y] = ("", style)
            x += width
        return x

    def cell(self, x: int, y: int) -> str:
        """What stands in a cell, a blank where nothing was drawn."""
        return self._cells.get((x, y), (" ", ""))[0]

    def box(self, x: int, y: int, lines: Sequence[Line], style: str = "", width: int = 0) -> int:
        """Draw a box around lines, at least `width` wide; returns its width."""
        inner = max([width - 4, *(cell_len(text) for text, _ in lines)])
        bar = "─" * (inner + 2)
        self.put(x, y, f"╭{bar}╮", style)
        for number, (text, text_style) in enumerate(lines, y + 1):
            self.put(x, number, f"│{' ' * (inner + 2)}│", style)
            self.put(x + 2, number, text, text_style)
        self.put(x, y + len(lines) + 1, f"╰{bar}╯", style)
        return inner + 4

    def lines(self) -> list[str]:
        """The sheet as plain text, without blanks at the ends of lines."""
        return self.content().plain.split("\n") if self._cells else []

    def content(self) -> Content:
        """The sheet with its styles."""
        parts: list[Line] = []
        rows: dict[int, dict[int, Line]] = {}
        for (x, y), cell in self._cells.items():
            rows.setdefault(y, {})[x] = cell
        for y in range(self.height):
            if y:
                parts.append(("\n", ""))
            row = rows.get(y, {})
            for x in range(max(row, default=-1) + 1):
                parts.append(row.get(x, (" ", "")))
        return Content.assemble(*_joined(parts))


def clipped(lines: Sequence[Line], width: int) -> list[Line]:
    """Lines that are at most `width` cells wide."""
    return [(clip(text, width), style) for text, style in lines]


def _joined(parts: Sequence[Line]) -> list[Line]:
    """Neighbours of one style as one part."""
    joined: list[Line] = []
    for text, style in parts:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined
