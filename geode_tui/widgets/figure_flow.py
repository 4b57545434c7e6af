"""Figures with their names, in as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from geode_tui.widgets.text import fit, one_line

_LEAST, _MOST = 36, 3
_GAP = 2


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: its name, its value, what belongs to it, and the colour of the value."""

    name: str
    value: str
    detail: str = ""
    colour: str = ""


class FigureFlow(Widget):
    """`lag  0.42 s, 12 KiB`: one after the other, in columns; those that are old are pale."""

    DEFAULT_CSS = """
    FigureFlow { height: auto; padding: 0 1; color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._figures: tuple[Figure, ...] = ()
        self._old = False

    def show(self, figures: Sequence[Figure], *, old: bool = False) -> None:
        """Show these figures; `old` where they are not those of now."""
        shown = tuple(figures)
        if (shown, old) != (self._figures, self._old):
            again = len(shown) != len(self._figures)
            self._figures, self._old = shown, old
            self.refresh(layout=again)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many lines as the columns need."""
        return -(-len(self._figures) // _columns(width))

    def render(self) -> Content:
        """The figures, column by column."""
        width = self.content_size.width
        columns = _columns(width)
        room = (width - _GAP * (columns - 1)) // columns
        height = -(-len(self._figures) // columns)
        lines = [Content("") for _ in range(height)]
        for begin in range(0, len(self._figures), height):
            column = self._figures[begin : begin + height]
            names = max(len(figure.name) for figure in column)
            for number, figure in enumerate(column):
                gap = " " * _GAP if begin else ""
                lines[number] = Content.assemble(
                    lines[number], gap, self._cell(figure, names, room)
                )
        return Content("\n").join(lines)

    def _cell(self, figure: Figure, names: int, room: int) -> Content:
        name = fit(figure.name, names)
        left = max(0, room - cell_len(name) - 1)
        value = one_line(figure.value)
        if cell_len(value) > left:
            value = fit(value, left)
        left -= cell_len(value)
        detail = fit(f" {one_line(figure.detail)}" if figure.detail else "", left)
        style = "$text-muted" if self._old else f"bold {figure.colour}".strip()
        return Content.assemble(
            (f"{name} ", "$text-muted"), (value, style), (detail, "$text-muted")
        )


def _columns(width: int) -> int:
    return max(1, min(_MOST, (width + _GAP) // (_LEAST + _GAP)))
