"""Rows a second over the last ten minutes, on one line."""

from __future__ import annotations

from collections import deque

from textual.content import Content
from textual.widget import Widget

from geode_tui.widgets import figures

WINDOW = 600.0
"""Seconds that the line shows."""
_BLOCKS = "▁▂▃▄▅▆▇█"


def bars(samples: list[tuple[float, float]], now: float, width: int) -> str:
    """The samples (time, rate) of the last `WINDOW` seconds in `width` cells, newest at the right.

    A cell shows the mean of its samples; a cell without one is blank. A young series is
    stretched over as many cells as it has samples, so that the first minute is readable.
    """
    recent = [(at, rate) for at, rate in samples if now - at <= WINDOW]
    if not recent or width <= 0:
        return ""
    window = min(WINDOW, max(float(width), now - recent[0][0]))
    cells: list[list[float]] = [[] for _ in range(width)]
    for at, rate in recent:
        place = width - 1 - int((now - at) / window * width)
        cells[max(0, min(width - 1, place))].append(rate)
    top = max(rate for _, rate in recent) or 1.0
    return "".join(_bar(cell, top) for cell in cells)


def _bar(cell: list[float], top: float) -> str:
    if not cell:
        return " "
    mean = sum(cell) / len(cell)
    return _BLOCKS[min(7, int(mean / top * 7.999))]


class Throughput(Widget):
    """A line of bars with the newest rate and the highest of the last ten minutes."""

    DEFAULT_CSS = """
    Throughput { height: 1; width: 1fr; padding: 0 1; color: $text; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._samples: deque[tuple[float, float]] = deque()
        self._last_second = -1

    def add(self, now: float, rate: float) -> None:
        """Take a sample; several in one second count once. `now` in seconds."""
        if int(now) == self._last_second:
            return
        self._last_second = int(now)
        self._samples.append((now, rate))
        while now - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        self.refresh()

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
        self._last_second = -1
        self.refresh()

    def render(self) -> Content:
        """The line."""
        if not self._samples:
            return Content.styled("rows a second  – no sample yet", "$text-muted")
        now, rate = self._samples[-1]
        peak = max(rate for _, rate in self._samples)
        head, tail = "rows a second ", f" {figures.rate(rate)} · peak {figures.rate(peak)}"
        room = max(0, min(60, self.content_size.width - len(head) - len(tail)))
        line = bars(list(self._samples), now, room).lstrip()
        return Content.assemble((head, "$text-muted"), (line, "$primary"), tail)
