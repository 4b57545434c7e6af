"""A text area for SQL: words in colours, and the place of an error marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.text import Text
from textual.widgets import TextArea

_TOKENS = re.compile(
    r"""(?P<text>'(?:[^']|'')*'?)
    |(?P<name>"(?:[^"]|"")*"?)
    |(?P<number>\b\d+(?:\.\d+)?\b)
    |(?P<word>[^\W\d]\w*)""",
    re.VERBOSE,
)
_WORDS = """
all and any array as asc at between by case cast collate current_date current_timestamp desc
distinct else end exists extract false filter first for from ilike in interval is last like not
null nulls on or order over partition select similar some then time to true using values when
where with zone
"""
_KEYWORDS = frozenset(_WORDS.split())
_COLOURS = {"text": "text-success", "name": "text-accent", "number": "text-warning"}


class SqlEditor(TextArea):
    """SQL to type. `mark` underlines from a place on, -1 for nothing."""

    def __init__(self, text: str = "", *, hint: str = "", id: str | None = None) -> None:
        super().__init__(
            text,
            id=id,
            compact=True,
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            placeholder=hint,
        )
        self.highlight_cursor_line = False
        self._mark = -1
        self._lit: tuple[str, list[list[tuple[int, int, str]]]] = ("", [])

    def show_mark(self, place: int) -> None:
        """Underline the word at a place of the text (0-based), nothing when it is negative."""
        if place != self._mark:
            self._mark = place
            self.notify_style_update()  # lines are kept as they were drawn
            self.refresh()

    def get_line(self, line_index: int) -> Text:
        """The line with its words in colours."""
        line = super().get_line(line_index)
        spans = self._spans()
        for start, end, style in spans[line_index] if line_index < len(spans) else ():
            line.stylize(style, start, end)
        return line

    def _spans(self) -> list[list[tuple[int, int, str]]]:
        text = self.text
        key = f"{self._mark}:{self.app.theme}:{text}"
        if self._lit[0] != key:
            colours = self.app.theme_variables
            spans: list[list[tuple[int, int, str]]] = [[] for _ in range(text.count("\n") + 1)]
            for start, end, name in _styled_words(text):
                for line, begin, stop in _on_lines(text, start, end):
                    colour = colours.get(name, "")
                    if colour.startswith("#"):  # a terminal's own palette has other words
                        spans[line].append((begin, stop, colour))
            if 0 <= self._mark <= len(text):
                behind = _end_of_word(text, self._mark)
                for line, begin, stop in _on_lines(text, self._mark, behind):
                    spans[line].append((begin, stop, "underline bold"))
            self._lit = (key, spans)
        return self._lit[1]


def _styled_words(text: str) -> Iterator[tuple[int, int, str]]:
    for found in _TOKENS.finditer(text):
        kind = found.lastgroup or ""
        if kind == "word":
            if found[0].lower() in _KEYWORDS:
                yield found.start(), found.end(), "text-primary"
        else:
            yield found.start(), found.end(), _COLOURS[kind]


def _on_lines(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A stretch of the text as line, first and last column on each line."""
    line = text.count("\n", 0, start)
    begin = start - (text.rfind("\n", 0, start) + 1)
    for part in text[start:end].split("\n"):
        yield line, begin, begin + len(part)
        line, begin = line + 1, 0


def _end_of_word(text: str, start: int) -> int:
    found = _TOKENS.match(text, start)
    return found.end() if found else min(len(text), start + 1)
