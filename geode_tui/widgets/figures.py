"""Figures in words: rows, rates and spans as a person reads them."""

from __future__ import annotations

from rich.cells import cell_len

from geode_tui.widgets.text import fit, one_line, short_bytes, short_count


def rows(number: int) -> str:
    """A count of rows with thousands separated: `1,234,567`."""
    return f"{number:,}"


def expected(number: int | None, exact: bool) -> str:
    """A number of rows to come: `±1.0 M` unless `exact`, `?` where nobody knows."""
    if number is None:
        return "?"
    return rows(number) if exact else f"±{short_count(number)}"


def rate(number: float) -> str:
    """Rows a second: `41.2 k/s`."""
    return f"{short_count(round(number))}/s"


def size(number: int) -> str:
    """A size in at most nine cells: `512 B`, `41.2 KiB`, `1.4 GiB`."""
    return short_bytes(number).replace(" bytes", " B")


def span(seconds: float) -> str:
    """A span of time: `0:41`, `12:05`, `1:02:03`, `3 d 4 h`."""
    whole = max(0, int(seconds))
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def percent(share: float) -> str:
    """A done share; never 100 % before it is 1."""
    return "100 %" if share >= 1 else f"{int(min(share, 0.99) * 100)} %"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 label`, `7 labels`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def clip(text: str, width: int) -> str:
    """`text` on one line in at most `width` cells, cut with `…` where it is longer."""
    plain = one_line(text)
    return fit(plain, width) if cell_len(plain) > width else plain
