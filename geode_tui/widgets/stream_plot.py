"""Curves of a stream over the last ten minutes, as bars; two of them one over the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

from geode_tui.widgets import figures
from geode_tui.widgets.throughput import WINDOW, Bar, Sample, columns, drawn

_MORE, _LESS = "▒", "░"
_Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Curve:
    """What a plot shows: samples in the order of time, and `over`, those of a second curve.

    Where the second is higher than the first, what lies between them has a colour and a shade of
    its own; so has what the first is higher.
    """

    samples: tuple[Sample, ...] = ()
    over: tuple[Sample, ...] = ()


class StreamPlot(Widget):
    """Bars of a curve below a line with its newest value and its highest."""

    DEFAULT_CSS = """
    StreamPlot { height: 1fr; width: 1fr; padding: 0 1; color: $text; }
    """

    def __init__(
        self,
        words: Callable[[float], str],
        *,
        title: str = "",
        pair: tuple[str, str] = ("", ""),
        id: str | None = None,
    ) -> None:
        """`words` tells a value; `pair` names the second curve and the first of two."""
        super().__init__(id=id)
        self._words = words
        self._title = title
        self._pair = pair
        self._curve = Curve()
        self._until = 0.0

    def show(self, curve: Curve, until: float) -> None:
        """Show a curve that ends at that moment."""
        if curve != self._curve or int(until) != int(self._until):
            self._curve, self._until = curve, until
            self.refresh()

    def render(self) -> Content:
        """The line, then the bars."""
        width, height = self.content_size
        samples = self._curve.samples
        if not samples or not width:
            parts = [(f"{self._title} " if self._title else "", "$text-muted")]
            return Content.assemble(*parts, ("no sample yet", "$text-muted"))
        since = max(samples[0].at, self._until - WINDOW)
        since = min(since, self._until - width)  # a second is at most a column wide
        lower = columns(samples, since, self._until, width)
        upper = columns(self._curve.over, since, self._until, width) if self._curve.over else []
        top = max([bar.rate or 0.0 for bar in (*lower, *upper)], default=0.0)
        parts = self._legend(since, top, width)
        for line in _lines(lower, upper, max(0, height - 1), top):
            parts.append(("\n", ""))
            parts += line
        return Content.assemble(*parts)

    def _legend(self, since: float, top: float, width: int) -> list[_Part]:
        """The newest value, the highest, and the time that is shown, as far as there is room."""
        newest = self._curve.samples[-1].rate
        title = f"{self._title} " if self._title else ""
        if self._curve.over:
            more, less = self._pair
            parts: list[_Part] = [
                (f"{more} ", "$text-muted"),
                (self._words(self._curve.over[-1].rate), "bold"),
                (f", {less} ", "$text-muted"),
                (self._words(newest), "bold"),
            ]
            further = [f", peak {self._words(top)}"]
        else:
            parts = [(title, "$text-muted"), (self._words(newest), "bold")]
            peak = max(sample.rate for sample in self._curve.samples)
            further = [f", peak {self._words(peak)}"]
        shown = [sample for sample in self._curve.samples if sample.at >= since]
        further.append(f", last {figures.span(self._until - shown[0].at)}" if shown else "")
        for text in further:
            if sum(len(part) for part, _ in parts) + len(text) <= width:
                parts.append((text, "$text-muted"))
        return parts


def _lines(
    lower: Sequence[Bar], upper: Sequence[Bar], height: int, top: float
) -> list[list[_Part]]:
    """The bars in lines of coloured runs, the highest first."""
    if not upper:
        return [_runs([(mark, "$primary") for mark in line]) for line in drawn(lower, height, top)]
    least = [Bar(_least(a.rate, b.rate)) for a, b in zip(lower, upper, strict=True)]
    base = drawn(least, height, top)
    lines = []
    for number, line in enumerate(base):
        level = height - 1 - number
        cells = [
            _between(mark, a.rate or 0.0, b.rate or 0.0, level, height, top)
            for mark, a, b in zip(line, lower, upper, strict=True)
        ]
        lines.append(_runs(cells))
    return lines


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    return min(one, other)


def _between(mark: str, low: float, high: float, level: int, height: int, top: float) -> _Part:
    """A cell: the bar that both fill, or the shade of what only one of them does."""
    if mark != " " or top <= 0:
        return mark, "$primary"
    if max(low, high) / top * height > level + 0.25:
        return (_MORE, "$warning") if high > low else (_LESS, "$success")
    return " ", "$primary"


def _runs(cells: Sequence[_Part]) -> list[_Part]:
    parts: list[_Part] = []
    for mark, style in cells:
        if parts and parts[-1][1] == style:
            parts[-1] = (parts[-1][0] + mark, style)
        else:
            parts.append((mark, style))
    return parts
