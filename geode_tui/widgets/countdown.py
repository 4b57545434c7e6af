"""How long writes may still stand, in digits as large as there is room for."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from geode_tui.widgets.text import fit

_ROWS = 5
_FONT = {
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# ### ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# .#. .#.",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
    ":": ". # . # .",
    ".": ". . . . #",
    "-": "... ... ### ... ...",
}
_LARGEST = 8
_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


@dataclass(frozen=True, slots=True)
class Clock:
    """What a countdown shows: digits, what they say, and the colour of both."""

    digits: str = ""
    caption: str = ""
    colour: str = "$text-muted"


def big_digits(text: str, size: int) -> list[str]:
    """The text in digits: `size` is how many columns a point has; its height is half as many."""
    rows = [".".join(_FONT[mark].split()[row] for mark in text) for row in range(_ROWS)]
    points = [[point == "#" for point in row for _ in range(size)] for row in rows]
    halves = [row for row in points for _ in range(size)]
    if len(halves) % 2:
        halves.append([False] * len(halves[0]))
    return [
        "".join(_HALVES[pair] for pair in zip(above, below, strict=True))
        for above, below in zip(halves[::2], halves[1::2], strict=True)
    ]


def clock_text(seconds: float) -> str:
    """`00:01.4`, `14:32` from ten minutes on, `1:02:03` from an hour on; never below zero."""
    tenths = max(0, round(seconds * 10))
    minutes, rest = divmod(tenths, 600)
    if minutes < 10:
        return f"{minutes:02}:{rest // 10:02}.{rest % 10}"
    hours, minutes = divmod(minutes, 60)
    second = rest // 10
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes:02}:{second:02}"


class Countdown(Widget):
    """Digits in the middle, as large as fits, over a line that says what they are."""

    DEFAULT_CSS = """
    Countdown { height: 1fr; width: 1fr; color: $text; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.clock = Clock()

    def show(self, clock: Clock) -> None:
        """Show that from now on."""
        if clock != self.clock:
            self.clock = clock
            self.refresh()

    def render(self) -> Content:
        """The digits over the caption."""
        width, height = self.content_size
        lines = self._digits(width, height - 1) if self.clock.digits else []
        free = max(0, height - 1 - len(lines))
        caption = self.clock.caption
        if cell_len(caption) > width:
            caption = fit(caption, width)
        rows = [Content("")] * (free // 2)
        rows += [Content.styled(_centred(line, width), self.clock.colour) for line in lines]
        rows.append(Content.styled(_centred(caption, width), self.clock.colour))
        return Content("\n").join(rows)

    def _digits(self, width: int, height: int) -> list[str]:
        for size in range(_LARGEST, 0, -1):
            lines = big_digits(self.clock.digits, size)
            if len(lines) <= height and len(lines[0]) <= width:
                return lines
        return [self.clock.digits] if height > 0 else []


def _centred(text: str, width: int) -> str:
    return " " * max(0, (width - cell_len(text)) // 2) + text
