"""Which of many names match what a person types, the best first, and by which letters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_BETWEEN = "\0"
_SPREAD = 10
_INSIDE = 1_000


def matching(query: str, names: Sequence[str]) -> list[int]:
    """The positions of the names that match, in their order, whatever the case.

    A name matches when it holds every word of the query; where no name does, those match that
    have the letters of each word in their order (`oi` finds `order_items`).
    """
    words = query.casefold().split()
    if not words:
        return list(range(len(names)))
    folded = [name.casefold() for name in names]
    found = [i for i, name in enumerate(folded) if all(word in name for word in words)]
    if found:
        return found
    patterns = [_pattern(word) for word in words]
    return [i for i, name in enumerate(folded) if all(p.search(name) for p in patterns)]


@dataclass(frozen=True, slots=True)
class Query:
    """What was typed, as words to look for."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Query:
        """The words of a text."""
        return cls(tuple(_folded(text).split()))


class NameIndex:
    """Names, each with more names inside it (a table's columns), prepared for searching.

    A name is found by its own letters, or by a word that one of its inner names holds.
    """

    def __init__(self, names: Sequence[str], inner: Sequence[Sequence[str]] = ()) -> None:
        self._names = [_folded(name) for name in names]
        self._inner_names = inner or [()] * len(names)

    @cached_property
    def _inner(self) -> list[str]:
        return [_folded(_BETWEEN.join(some)) for some in self._inner_names]

    def find(self, query: Query) -> list[int]:
        """The positions of what matches, the best first; all in their order for an empty query.

        First come names that hold the words, at their start before inside; then names that have
        the letters in their order; then names by what is inside them.
        """
        words = query.words
        if not words:
            return list(range(len(self._names)))
        patterns = [_pattern(word) for word in words]
        ranked: list[tuple[int, int, int]] = []
        for index, name in enumerate(self._names):
            if all(pattern.search(name) for pattern in patterns):
                rank = sum(_spot(word, name)[0] for word in words)
                ranked.append((rank, len(name), index))
            elif all(word in name or word in self._inner[index] for word in words):
                ranked.append((_INSIDE, len(name), index))
        ranked.sort()
        return [index for _, _, index in ranked] or self._by_letters_inside(patterns)

    def _by_letters_inside(self, patterns: Sequence[re.Pattern[str]]) -> list[int]:
        both = zip(self._names, self._inner, strict=True)
        return [
            index
            for index, (name, inner) in enumerate(both)
            if all(pattern.search(name) or pattern.search(inner) for pattern in patterns)
        ]


def letters(query: Query, name: str) -> tuple[int, ...]:
    """The positions of the letters in `name` by which it matches; those of words it has not are
    left out."""
    folded = _folded(name)
    found: set[int] = set()
    for word in query.words:
        if _pattern(word).search(folded):
            found.update(_spot(word, folded)[1])
    return tuple(sorted(found))


def inner_match(query: Query, name: str, inner: Sequence[str]) -> str:
    """The inner name that holds a word which `name` has not; empty where there is none."""
    folded = _folded(name)
    missing = [word for word in query.words if not _pattern(word).search(folded)]
    for word in missing:
        for some in inner:
            if word in _folded(some):
                return some
    for word in missing:
        for some in inner:
            if _pattern(word).search(_folded(some)):
                return some
    return ""


def _folded(text: str) -> str:
    """`text` in lower case, letter for letter: some letters would become two."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


_patterns: dict[str, re.Pattern[str]] = {}


def _pattern(word: str) -> re.Pattern[str]:
    """The letters of a word in their order, within one name."""
    if word not in _patterns:
        if len(_patterns) > 200:
            _patterns.clear()
        parts = [re.escape(word[0])]
        parts += [f"[^{re.escape(letter)}{_BETWEEN}]*{re.escape(letter)}" for letter in word[1:]]
        _patterns[word] = re.compile("".join(parts))
    return _patterns[word]


def _spot(word: str, name: str) -> tuple[int, Sequence[int]]:
    """Where a word best matches a name that it does match: rank (the lower the better), letters."""
    at = name.find(word)
    if at < 0:
        return _spread(word, name)
    last = name.rfind(".") + 1
    best, place = 4, at
    while at >= 0:
        rank = 1 if at == last else 2 if _begins(name, at) else 3
        if rank == 1 and at + len(word) == len(name):
            rank = 0
        if rank < best:
            best, place = rank, at
        at = name.find(word, at + 1)
    return best, range(place, place + len(word))


def _spread(word: str, name: str) -> tuple[int, Sequence[int]]:
    """Letters in their order: those that begin parts of the name, else the closest together."""
    initials = _initials(word, name)
    found = initials or _closest(word, name)
    gaps = found[-1] - found[0] + 1 - len(word)
    return _SPREAD + (0 if initials else 5) + min(gaps, 50), found


def _initials(word: str, name: str) -> list[int]:
    """Where each letter either begins a part or follows the one before; empty where none does."""
    found: list[int] = []
    for letter in word:
        after = found[-1] + 1 if found else 0
        if found and name[after : after + 1] == letter:
            found.append(after)
            continue
        at = name.find(letter, after)
        while at >= 0 and not _begins(name, at):
            at = name.find(letter, at + 1)
        if at < 0:
            return []
        found.append(at)
    return found


def _closest(word: str, name: str) -> list[int]:
    end = -1
    for letter in word:
        end = name.index(letter, end + 1)
    found = [end]
    for letter in reversed(word[:-1]):
        found.append(name.rindex(letter, 0, found[-1]))
    return found[::-1]


def _begins(name: str, at: int) -> bool:
    return at == 0 or not name[at - 1].isalnum()
