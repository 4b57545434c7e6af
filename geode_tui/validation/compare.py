"""Which rows of an entity differ: parts whose digests differ, down to keys that stand a retry.

Both sides are compared in parts (`validation.parts`); of those that differ the keys and digests
are read, and what has no like on the other side is a candidate. Candidates are looked at again
with a new snapshot of the source, a little later each time: one that stays the same is a mismatch,
one that is gone was a change on its way, one that changes every time is suspended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from geode_tui.target.model import (
    Marked,
    NodeShape,
    Parts,
    RelationshipKey,
    RelationshipShape,
    Target,
)
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.parts import differing, in_groups, parts_for, rows_of
from geode_tui.validation.sides import Recomputed, RowReader, SourceSide, Stored, identity

READ_BYTES = 32 * 1024 * 1024
"""About how much of the table is in memory at once, unless one part has more."""
MOST_CANDIDATES = 2_000
"""So many keys that differ are told one from the other; then it is known that much is wrong."""

FreshReader = Callable[[], AbstractAsyncContextManager[RowReader]]


@dataclass
class Candidate:
    """A key with rows or things in the graph that have no like on the other side.

    It is `doubled` when it has one besides.
    """

    rows: list[Record] = field(default_factory=list)
    things: list[Marked] = field(default_factory=list)
    doubled: bool = False
    marks: tuple[Any, ...] = ()

    def settle(self) -> Candidate:
        """Note by what it is known again."""
        source = sorted(str(row[-1]) for row in self.rows)
        graph = sorted(str(thing.mark) for thing in self.things)
        self.marks = (tuple(source), tuple(graph))
        return self


@dataclass(frozen=True)
class Compared:
    """What became of an entity's comparison.

    `parts` were compared and `differing` of them were not the same; `rows` are the source's,
    `read` how many rows of both sides were read one by one. `mismatched` stood the retries,
    `suspended` keys, of which `pending` are known, changed every time. With `cut_off` there are
    more than were told apart; where none of those told stood, `suspended` is the number of parts
    that differ still.
    """

    parts: int
    differing: int
    rows: int
    read: int
    mismatched: dict[Any, Candidate]
    suspended: int
    cut_off: bool
    pending: dict[Any, Candidate]


@dataclass
class _Look:
    """What one look found."""

    differing: int = 0
    rows: int = 0
    read: int = 0
    cut_off: bool = False
    candidates: dict[Any, Candidate] = field(default_factory=dict)


class Comparison:
    """The comparison of one entity."""

    def __init__(
        self,
        target: Target,
        entity: Entity,
        *,
        deep: bool,
        left_out: LeftOut,
        ours: Set[str] | None = None,
        by_content: bool = False,
        missing: Set[Any] = frozenset(),
    ) -> None:
        """`ours` are the runs whose work is looked at, None for everything in the graph.

        `missing` are nodes, by label and key, that should be in the graph and are not. With
        `by_content` rows are told by their digest alone: those of a table without a key,
        whose places another snapshot does not give.
        """
        self._target = target
        self._entity = entity
        self._left_out = left_out
        self._missing = missing
        self._ours = ours
        self._by_content = by_content
        self._deep = deep
        self.pending: dict[Any, Candidate] = {}
        self._mismatched: dict[Any, Candidate] = {}
        self._parts = 0
        self._first = self._last = _Look()
        self._graph: Stored | Recomputed = Stored(target, entity.shape)
        if deep:
            self._graph = Recomputed(target, entity, strict=ours is None)

    async def look(self, reader: RowReader) -> None:
        """Compare both sides for the first time."""
        self._parts = parts_for(self._entity.estimate or 0)
        look = await self._look(reader)
        self.pending = look.candidates
        self._first = look

    async def look_again(self, reader: RowReader) -> None:
        """Compare again, with a new snapshot: what is the same as before is a mismatch.

        What is not there any more was a change on its way; what differs in another way is pending.
        """
        look = await self._look(reader)
        changed = {}
        for key, candidate in look.candidates.items():
            before = self.pending.get(key)
            if before is not None and before.marks == candidate.marks:
                self._mismatched[key] = candidate
            elif before is not None or self._first.cut_off:
                changed[key] = candidate
        self.pending = changed

    def compared(self) -> Compared:
        """What became of it; what is pending still is suspended."""
        first, last, suspended = self._first, self._last, len(self.pending)
        if last.cut_off and not self._mismatched:
            suspended = last.differing
        return Compared(
            self._parts,
            first.differing,
            first.rows,
            first.read,
            self._mismatched,
            suspended,
            first.cut_off,
            self.pending,
        )

    async def _look(self, reader: RowReader) -> _Look:
        source, graph = await self._both(reader, self._parts)
        numbers = differing(source, graph)
        look = _Look(len(numbers), rows_of(source))
        at_once = max(1_000, min(100_000, READ_BYTES // self._entity.bytes_per_row))
        await self._find(reader, look, in_groups(numbers, source, graph, at_once))
        self._last = look
        return look

    async def _both(self, reader: RowReader, parts: int) -> tuple[Parts, Parts]:
        side = SourceSide(reader, self._entity, self._deep)
        source, graph = await asyncio.gather(side.parts(parts), self._graph.parts(parts))
        return source, graph

    async def _find(
        self, reader: RowReader, look: _Look, groups: Iterable[Sequence[int | None]]
    ) -> None:
        """Find the candidates in some parts."""
        side = SourceSide(reader, self._entity, self._deep)
        for group in groups:
            rows, things = await asyncio.gather(
                side.rows(self._parts, group), self._graph.marked(self._parts, group)
            )
            look.read += len(rows) + len(things)
            self._unlike(rows, [thing for thing in things if self._is_ours(thing)], look)
            await asyncio.to_thread(self._leave_out, look.candidates)
            if len(look.candidates) > MOST_CANDIDATES:
                look.cut_off = True
                look.candidates = dict(islice(look.candidates.items(), MOST_CANDIDATES))
                break
        for candidate in look.candidates.values():
            candidate.settle()

    def _is_ours(self, thing: Marked) -> bool:
        return self._ours is None or thing.run in self._ours

    def _unlike(
        self, rows: Sequence[tuple[int, Record]], things: Sequence[Marked], look: _Look
    ) -> None:
        """Take down what has no like on the other side."""
        there = Counter((self._known(thing.key, thing.mark), thing.mark) for thing in things)
        matched = set()
        for mark, row in rows:
            known = self._known(self._entity.key(row), mark)
            if there[known, mark] > 0:
                there[known, mark] -= 1
                matched.add(known)
            else:
                look.candidates.setdefault(known, Candidate()).rows.append(row)
        for thing in things:
            known = self._known(thing.key, thing.mark)
            if there[known, thing.mark] > 0:
                there[known, thing.mark] -= 1
                candidate = look.candidates.setdefault(known, Candidate())
                candidate.things.append(thing)
                candidate.doubled |= known in matched

    def _known(self, key: Any, mark: int | None) -> Any:
        return ("content", mark) if self._by_content else identity(self._entity, key)

    def _leave_out(self, candidates: dict[Any, Candidate]) -> None:
        """Take out the rows that are nowhere for a reason: dead letters and orphans."""
        out, alone = self._left_out, self._alone(candidates)
        if out.dead or out.orphans:
            texts = {key: self._entity.key_text(candidate.rows[0]) for key, candidate in alone}
            known = out.among(list(texts.values()))
            # Where nobody knows which rows they are, their number must do.
            nameless = out.known is None and len(alone) <= out.dead
            for key, text in texts.items():
                if nameless or text in known:
                    del candidates[key]
        for key in self._orphans(self._alone(candidates)):
            del candidates[key]

    def _alone(self, candidates: dict[Any, Candidate]) -> list[tuple[Any, Candidate]]:
        """Candidates with rows and nothing in the graph."""
        return [(key, c) for key, c in candidates.items() if c.rows and not c.things]

    def _orphans(self, alone: list[tuple[Any, Candidate]]) -> list[Any]:
        """Relationships of which an end is not in the graph, and was not missed there.

        The ledger counts them; those whose end should be there are missing with it.
        """
        shape, target = self._entity.shape, self._target
        if isinstance(shape, NodeShape) or not alone:
            return []
        keys = [self._entity.relationship_key(candidate.rows[0]) for _, candidate in alone]
        return [
            known
            for (known, candidate), lacks in zip(
                alone, lack_an_end(target, shape, keys), strict=True
            )
            if lacks and self._missing.isdisjoint(ends_of(self._entity, candidate.rows[0]))
        ]


def lack_an_end(
    target: Target, shape: RelationshipShape, keys: Sequence[RelationshipKey]
) -> list[bool]:
    """Whether at least one end of each relationship is not in the graph."""
    if not keys:
        return []
    starts = target.read_nodes(shape.start, [start for start, _, _ in keys])
    ends = target.read_nodes(shape.end, [end for _, end, _ in keys])
    return [start is None or end is None for start, end in zip(starts, ends, strict=True)]


def ends_of(entity: Entity, row: Record) -> list[tuple[str, Any]]:
    """The two nodes that a relationship leads between, by label and key that can be compared."""
    shape = entity.shape
    assert isinstance(shape, RelationshipShape)
    start, end, _ = identity(entity, entity.relationship_key(row))
    return [(shape.start.label, start), (shape.end.label, end)]


@asynccontextmanager
async def _same(reader: RowReader) -> AsyncIterator[RowReader]:
    yield reader


def always(reader: RowReader) -> FreshReader:
    """The same reader again: for a source that does not change."""
    return lambda: _same(reader)
