"""The charts of the validation report as SVG, inside a page: no script and no font.

The page's style sheet gives the colours, by the classes `s0`, `s1`, … of the series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from geode_tui.validation.report import Chart, Line, Report

BARS = 40
"""Most bars of a chart."""
SERIES = ("in graph", "dead", "orphans", "missing", "too many", "accepted or repaired")
_WIDTH = 960
_LABELS = 310
_NUMBERS = 280
_FIELD = _WIDTH - _LABELS - _NUMBERS
_STEP = 22
_BAR = 12
_LEAST = 3.0
"""Units of length of the smallest number that is not nothing: two of a million rows are seen."""
_LABEL_LENGTH = 36


def ledger_chart(report: Report) -> Chart:
    """Where the rows of each node and relationship rule are; those that differ first."""
    lines = [line for line in report.lines if line.entry.kind in ("node", "relationship")]
    if len(lines) > BARS:
        lines.sort(key=lambda line: (line.entry.balanced, -line.entry.source_rows))
    bars = tuple((line.entry.id, _parts(line)) for line in lines[:BARS])
    return Chart(
        "Where the rows are",
        "Each bar is all rows of a rule. The smallest parts are drawn wider than they are.",
        SERIES,
        bars,
        "stacked",
        max(0, len(lines) - BARS),
    )


def _parts(line: Line) -> tuple[int, ...]:
    entry = line.entry
    too_many = max(0, -entry.missing)
    wanted = max(0, entry.in_graph - too_many - max(0, -entry.settled))
    there = (wanted, entry.dead, entry.orphans, max(0, entry.missing), too_many)
    return (*there, abs(entry.settled))


def svg(chart: Chart, number: int) -> str:
    """The chart as an `svg` element; `number` makes its ids its own."""
    draw = _stacked if chart.form == "stacked" else _grouped
    step = _STEP if chart.form == "stacked" else max(_STEP, len(chart.series) * 11 + 8)
    height = max(1, len(chart.bars)) * step
    title, description = f"chart{number}-title", f"chart{number}-description"
    told = f"{chart.description} {_told(chart)}"
    return "\n".join(
        [
            f'<svg role="img" aria-labelledby="{title} {description}" class="chart"'
            f' viewBox="0 0 {_WIDTH} {height}">',
            f'<title id="{title}">{escape(chart.title)}</title>',
            f'<desc id="{description}">{escape(told)}</desc>',
            *draw(chart, step),
            "</svg>",
        ]
    )


def legend(chart: Chart) -> str:
    """The series of the chart that it shows, as a list."""
    used = [n for n in range(len(chart.series)) if any(values[n] for _, values in chart.bars)]
    items = [f'<li><span class="swatch s{n}"></span>{escape(chart.series[n])}</li>' for n in used]
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def _told(chart: Chart) -> str:
    """The sums in words, for who does not see the bars."""
    sums = [sum(values[n] for _, values in chart.bars) for n in range(len(chart.series))]
    pairs = zip(chart.series, sums, strict=True)
    return ", ".join(f"{name} {count:,}" for name, count in pairs) + "."


def _stacked(chart: Chart, step: int) -> Iterator[str]:
    for place, (label, values) in enumerate(chart.bars):
        top = place * step
        yield _label(label, top, step)
        begin = float(_LABELS)
        for number, width in enumerate(_widths(values)):
            if width:
                yield _rectangle(number, begin, top + (step - _BAR) / 2, width, _BAR)
                begin += width
        if not any(values):
            yield _rectangle("none", _LABELS, top + step / 2 - 0.5, _FIELD, 1)
        yield _number(_numbers(chart.series, values), _LABELS + _FIELD + 12, top, step)


def _grouped(chart: Chart, step: int) -> Iterator[str]:
    most = max((value for _, values in chart.bars for value in values), default=0)
    for place, (label, values) in enumerate(chart.bars):
        top = place * step
        yield _label(label, top, step)
        for number, value in enumerate(values):
            width = max(_LEAST, _FIELD * value / most) if value else 0
            yield _rectangle(number, _LABELS, top + 4 + number * 11, width, 9)
        told = " · ".join(f"{value:,}" for value in values)
        yield _number(told, _LABELS + _FIELD + 12, top, step)


def _widths(values: Sequence[int]) -> list[float]:
    """The share of each part of the whole, none so small that it cannot be seen."""
    whole = sum(values)
    widths = [max(_LEAST, _FIELD * value / whole) if value else 0.0 for value in values]
    widest = max(range(len(widths)), key=widths.__getitem__)
    widths[widest] -= sum(widths) - _FIELD if whole else 0
    return widths


def _numbers(series: Sequence[str], values: Sequence[int]) -> str:
    """The first number as it is, the others with their words where they are not nothing."""
    others = [
        f"{value:,} {name}" for name, value in zip(series[1:], values[1:], strict=True) if value
    ]
    return " · ".join([f"{values[0]:,}", *others])


def _label(text: str, top: float, step: float) -> str:
    shown = text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1]}…"
    return (
        f'<text class="label" x="{_LABELS - 12}" y="{top + step / 2 + 4:g}" text-anchor="end">'
        f"{escape(shown)}</text>"
    )


def _number(text: str, x: float, top: float, step: float) -> str:
    return f'<text class="number" x="{x}" y="{top + step / 2 + 4:g}">{escape(text)}</text>'


def _rectangle(series: int | str, x: float, y: float, width: float, height: float) -> str:
    name = series if isinstance(series, str) else f"s{series}"
    return f'<rect class="{name}" x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}"/>'
