"""Rows a second over time, as bars: the last ten minutes, or the whole of a run that is over."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

from geode_tui.widgets import figures

WINDOW = 600.0
"""Seconds that a run that goes shows."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_KEPT = 100_000
_HOLDS = 8.0
"""Seconds for which a sample holds where no other follows; the journal has one each five."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows a second at a moment (seconds since the epoch); `slowed` where something held it up."""

    at: float
    rate: float
    slowed: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """The mean of a column's samples, None without any; `slowed` where one of them was."""

    rate: float | None = None
    slowed: bool = False


def columns(samples: Sequence[Sample], since: float, until: float, width: int) -> list[Bar]:
    """The samples from `since` to `until` in `width` columns of equal time, newest at the right."""
    if width <= 0 or until <= since:
        return []
    cells: list[list[Sample]] = [[] for _ in range(width)]
    seconds = (until - since) / width
    first = bisect_left(samples, since, key=lambda sample: sample.at)
    for sample in samples[first:]:
        cells[max(0, min(width - 1, int((sample.at - since) / seconds)))].append(sample)
    bars, last = [], None
    for number, cell in enumerate(cells):
        if cell:
            last = cell[-1]
        elif last is not None and since + number * seconds - last.at <= _HOLDS:
            cell = [last]
        bars.append(_bar(cell))
    return bars


def _bar(cell: list[Sample]) -> Bar:
    if not cell:
        return Bar()
    mean = sum(sample.rate for sample in cell) / len(cell)
    return Bar(mean, any(sample.slowed for sample in cell))


def drawn(bars: Sequence[Bar], height: int, top: float) -> list[str]:
    """The bars in so many lines, the highest line first; what moves at all has a mark."""
    lines = []
    for line in range(height - 1, -1, -1):
        lines.append("".join(_BLOCKS[_eighths(bar, height, top, line)] for bar in bars))
    return lines


def _eighths(bar: Bar, height: int, top: float, line: int) -> int:
    if bar.rate is None or top <= 0:
        return 0
    whole = max(1 if bar.rate > 0 else 0, round(bar.rate / top * height * 8))
    return max(0, min(8, whole - line * 8))


class Throughput(Widget):
    """Bars with the newest rate and the highest; what was slowed has another colour."""

    DEFAULT_CSS = """
    Throughput { height: 1fr; width: 1fr; padding: 0 1; color: $text; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._samples: list[Sample] = []
        self._whole = False

    def add(self, samples: Iterable[Sample]) -> None:
        """Take samples, in the order of time; several in one second count once."""
        before = len(self._samples)
        for sample in samples:
            if not self._samples or int(sample.at) > int(self._samples[-1].at):
                self._samples.append(sample)
        if len(self._samples) != before:
            del self._samples[:-_KEPT]
            self.refresh()

    def show_whole(self, whole: bool) -> None:
        """Show all there is, or the last ten minutes."""
        if whole != self._whole:
            self._whole = whole
            self.refresh()

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
        self.refresh()

    def render(self) -> Content:
        """The bars over a line that says what they are."""
        if not self._samples:
            return Content.styled("no sample yet", "$text-muted")
        width, height = self.content_size
        until = self._samples[-1].at + 1
        since = self._samples[0].at
        if not self._whole:
            since = max(since, until - WINDOW)
        # A young series is not stretched: a second is at most a column wide.
        since = min(since, until - width)
        bars = columns(self._samples, since, until, width)
        top = max((bar.rate or 0.0 for bar in bars), default=0.0)
        parts: list[tuple[str, str]] = [*self._legend(since, until, width)]
        for line in drawn(bars, height - 1, top):
            parts.append(("\n", ""))
            parts += _coloured(line, bars)
        return Content.assemble(*parts)

    def _legend(self, since: float, until: float, width: int) -> list[tuple[str, str]]:
        """The newest rate, the highest, and the time that is shown, as far as there is room."""
        shown = [sample for sample in self._samples if sample.at >= since]
        span = figures.span(until - shown[0].at)
        peak = f"peak {figures.rate(max(sample.rate for sample in shown))}"
        if self._whole:
            begun = time.strftime("%H:%M", time.localtime(shown[0].at))
            return _fitting([], [peak, f", {span} from {begun}"], width)
        now = (figures.rate(shown[-1].rate), "bold")
        return _fitting([now], [f", {peak}", f", last {span}"], width)


def _fitting(
    parts: list[tuple[str, str]], more: Sequence[str], width: int
) -> list[tuple[str, str]]:
    """The parts with as many of `more` as there is room for."""
    for text in more:
        if sum(len(part) for part, _ in parts) + len(text) <= width:
            parts.append((text, "$text-muted"))
    return parts


def _coloured(line: str, bars: Sequence[Bar]) -> list[tuple[str, str]]:
    """A line in runs of one colour."""
    parts: list[tuple[str, str]] = []
    for mark, bar in zip(line, bars, strict=True):
        style = "$warning" if bar.slowed else "$primary"
        if parts and parts[-1][1] == style:
            parts[-1] = (parts[-1][0] + mark, style)
        else:
            parts.append((mark, style))
    return parts
