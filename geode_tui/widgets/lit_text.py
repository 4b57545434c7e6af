"""Two values next to each other, the characters that differ lit."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest

from textual.content import Content

LIT = "bold reverse $text-warning"
"""What differs is shown the other way round: seen without colours, too."""
_MOST_COMPARED = 120
"""Characters that are compared one by one."""
_ALIKE = 0.4
"""Texts that are less alike than this are lit whole."""

Span = tuple[int, int]


def lit_pair(first: str, second: str) -> tuple[Content, Content]:
    """Both texts, each with what the other does not have lit."""
    one, other = differing_spans(first, second)
    return _lit(first, one), _lit(second, other)


def differing_spans(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """Where each text has what the other does not have, as (begin, end)."""
    before = _alike(first, second)
    after = _alike(first[before:][::-1], second[before:][::-1])
    one, other = first[before : len(first) - after], second[before : len(second) - after]
    found: tuple[list[Span], list[Span]] = ([], [])
    for a, b in _within(one, other):
        for spans, (begin, end) in zip(found, (a, b), strict=True):
            if begin < end:
                spans.append((before + begin, before + end))
    return found


def _alike(first: str, second: str) -> int:
    """With how many same characters both begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))


def _within(one: str, other: str) -> Iterator[tuple[Span, Span]]:
    if one and other and max(len(one), len(other)) <= _MOST_COMPARED:
        matcher = SequenceMatcher(None, one, other, autojunk=False)
        if matcher.ratio() >= _ALIKE:
            for tag, *places in matcher.get_opcodes():
                if tag != "equal":
                    yield (places[0], places[1]), (places[2], places[3])
            return
    yield (0, len(one)), (0, len(other))


def side_by_side(left: Content, right: Content, width: int, margin: str = "") -> Iterator[Content]:
    """Lines with both texts in columns of `width` cells, folded where they are longer."""
    for one, other in zip_longest(_folded(left, width), _folded(right, width), fillvalue=Content()):
        padding = " " * (width - one.cell_length)
        yield Content.assemble(margin, one, padding, (" │ ", "$text-muted"), other)


def _folded(text: Content, width: int) -> list[Content]:
    return text.fold(max(2, width)) if text.plain else [Content()]


def _lit(text: str, spans: list[Span]) -> Content:
    content = Content(text)
    for begin, end in spans:
        content = content.stylize(LIT, begin, end)
    return content
