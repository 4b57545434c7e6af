"""Markdown that foreign names cannot break: headings, tables, lists and code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[\\`*\[\]<>~|&]|(?<![^\W_])_|_(?![^\W_])")
_FENCE = re.compile(r"`+")


def plain(text: object) -> str:
    """A text as it is, on one line: nothing in it is Markdown, nothing drives a terminal."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], one_line(str(text)))


def one_line(text: str) -> str:
    """A text with what cannot be printed made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> list[str]:
    """The lines of a table; `right` has a `>` for each column that is set right."""
    marks = ["---:" if right[n : n + 1] == ">" else "---" for n in range(len(header))]
    lines = [_row(header), _row(marks)]
    return [*lines, *(_row([plain(cell) for cell in row]) for row in rows)]


def code(lines: Sequence[str], language: str = "") -> list[str]:
    """The lines of a block of code; its fence is longer than any in the code."""
    shown = [one_line(line) for line in lines]
    longest = max((len(run) for line in shown for run in _FENCE.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *shown, fence]


def page(title: str, *chapters: tuple[str, Sequence[str]]) -> str:
    """A page of chapters; those without lines are left out."""
    lines = [f"# {plain(title)}"]
    for heading, body in chapters:
        if body:
            lines += ["", f"## {plain(heading)}", "", *body]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
