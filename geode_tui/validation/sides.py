"""The two sides of a comparison: the source, and the graph as it is marked or as it is read back.

`Stored` trusts the digest that each node and relationship carries; `Recomputed` makes it anew of
the values, labels and ends that the graph gives.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from geode_tui.mapping.model import FINGERPRINT, OWN, RUN
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    Marked,
    NodeShape,
    Parts,
    RelationshipShape,
    Target,
    Whole,
)
from geode_tui.validation.digest import (
    all_of,
    fingerprints_of,
    is_of,
    told_key,
    told_properties,
)
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.parts import MODULUS

SCANNED_AT_ONCE = 5_000


class RowReader(Protocol):
    """A session on the source, inside one snapshot."""

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        """Run a SELECT and return all its rows."""
        ...


class SourceSide:
    """The rows of an entity that can be carried."""

    def __init__(self, reader: RowReader, entity: Entity, labelled: bool) -> None:
        """With `labelled` a row's digest tells of the label that a value gives, too."""
        self._reader = reader
        self._entity = entity
        self._labelled = labelled

    async def parts(self, parts: int) -> Parts:
        """How many rows each part has, and their sum."""
        sql = self._entity.extract.parts_sql(parts, MODULUS, self._labelled)
        return {part: (count, int(total)) for part, count, total in await self._reader.fetch(sql)}

    async def rows(self, parts: int, wanted: Sequence[int | None]) -> list[tuple[int, Record]]:
        """The rows in some parts, with their digests."""
        numbers = [number for number in wanted if number is not None]
        if not numbers:
            return []
        sql = self._entity.extract.in_parts_sql(parts, self._labelled)
        return [(row[-1], row) for row in await self._reader.fetch(sql, numbers)]


class Stored:
    """The graph by the digests that it carries."""

    def __init__(self, target: Target, shape: NodeShape | RelationshipShape) -> None:
        self._target = target
        self._shape = shape

    async def parts(self, parts: int) -> Parts:
        """How many each part has, and their sum."""
        return await asyncio.to_thread(self._target.digest_parts, self._shape, parts, MODULUS)

    async def marked(self, parts: int, wanted: Sequence[int | None]) -> list[Marked]:
        """What is in some parts."""
        return await asyncio.to_thread(
            lambda: [m for page in self._target.in_parts(self._shape, parts, wanted) for m in page]
        )


class Recomputed:
    """The graph by digests made of what it gives back.

    What has a value of another type, or labels or properties that the rule does not make, has no
    digest: no row is equal to it. Nor is one to what carries a digest that its values do not give.
    `strict` says that nothing else may be on nodes of the rule.
    """

    def __init__(self, target: Target, entity: Entity, strict: bool) -> None:
        self._target = target
        self._entity = entity
        self._shape = entity.shape
        self._strict = strict
        self._columns = _columns(entity.shape)
        self._digests = fingerprints_of([kind for _, kind in self._columns])

    async def parts(self, parts: int) -> Parts:
        """How many each part has, and their sum (a scan of all values)."""
        return await asyncio.to_thread(self._counted, parts)

    def _counted(self, parts: int) -> Parts:
        counts: dict[int | None, int] = defaultdict(int)
        sums: dict[int | None, int] = defaultdict(int)
        for page in self._target.scan_whole(self._shape, SCANNED_AT_ONCE):
            for mark in self._marks(page):
                part = None if mark is None else mark % parts
                counts[part] += 1
                sums[part] += 0 if mark is None else mark % MODULUS
        return {part: (count, sums[part]) for part, count in counts.items()}

    async def marked(self, parts: int, wanted: Sequence[int | None]) -> list[Marked]:
        """What is in some parts (a scan of all values)."""
        return await asyncio.to_thread(lambda: list(self._found(parts, set(wanted))))

    def _found(self, parts: int, wanted: set[int | None]) -> Iterator[Marked]:
        for page in self._target.scan_whole(self._shape, SCANNED_AT_ONCE):
            for whole, mark in zip(page, self._marks(page), strict=True):
                if (None if mark is None else mark % parts) in wanted:
                    yield Marked(whole.key, mark, whole.properties.get(RUN))

    def _marks(self, page: Sequence[Whole]) -> list[int | None]:
        columns = [[read(whole) for whole in page] for read, _ in self._columns]
        bad = [not self._is_made(whole) for whole in page]
        for column, (_, kind) in zip(columns, self._columns, strict=True):
            if all_of(column, kind):
                continue
            for place, value in enumerate(column):
                if not is_of(value, kind):
                    bad[place], column[place] = True, None
        marks = self._digests(columns, len(page))
        told = [self._told(whole, mark) for whole, mark in zip(page, marks, strict=True)]
        return [None if wrong else mark for wrong, mark in zip(bad, told, strict=True)]

    def _is_made(self, whole: Whole) -> bool:
        """Whether it has the labels and properties that the rule gives, and no others."""
        return not wrong_labels(self._shape, whole.labels, self._strict) and not (
            self._strict and (whole.properties.keys() - OWN).difference(self._shape.properties)
        )

    def _told(self, whole: Whole, mark: int) -> int:
        shape = self._shape
        if whole.properties.get(FINGERPRINT) != mark:
            return mark ^ 1  # what carries the digest of something else is like no row
        if isinstance(shape, RelationshipShape) or not shape.by_value:
            return mark
        return self._entity.extract.mark(mark, value_label(shape, whole.labels))


def value_label(shape: NodeShape, labels: frozenset[str]) -> str | None:
    """The label that a value of the row gave, where it can be told from the others."""
    given = labels.intersection(shape.by_value) - {shape.label, *shape.labels}
    return ":".join(sorted(given)) if given else None


def wrong_labels(
    shape: NodeShape | RelationshipShape, labels: frozenset[str], strict: bool
) -> bool:
    """Whether a node has not all the labels of its rule, or with `strict` others."""
    if isinstance(shape, RelationshipShape):
        return False
    fixed = {shape.label, *shape.labels}
    return not labels >= fixed or (strict and not labels <= fixed.union(shape.by_value))


def _columns(shape: NodeShape | RelationshipShape) -> list[tuple[Callable[[Whole], Any], str]]:
    """What of a node or relationship its digest is made of, and the graph type of each."""
    columns = [(_property(name), kind) for name, kind in told_properties(shape)]
    if isinstance(shape, NodeShape):
        return columns
    ends = enumerate((shape.start, shape.end))
    keys = [(_key_value(n, place), kind) for n, end in ends for place, kind in told_key(end)]
    return [*keys, *columns]


def _key_value(end: int, number: int) -> Callable[[Whole], Any]:
    return lambda whole: whole.key[end][number]


def _property(name: str) -> Callable[[Whole], Any]:
    return lambda whole: whole.properties.get(name)


def identity(entity: Entity, key: Any) -> Any:
    """A key by which the two sides are compared; it can be hashed."""
    if entity.kind == "node":
        return comparable(key)
    return tuple(comparable(part) for part in key)
