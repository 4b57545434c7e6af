"""Which rows of an entity differ: parts whose digests differ, down to keys that stand a retry.

Both sides are compared in parts (`validation.parts`); of those that differ the keys and digests
are read, and what has no like on the other side is a candidate. Candidates are looked at again
with a new snapshot of the source, a little later each time: one that stays the same is a mismatch,
one that is gone was a change on its way, one that changes every time is suspended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from geode_tui.target.model import Marked, Parts, RelationshipShape, Target
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.parts import differing, in_groups, parts_for, rows_of
from geode_tui.validation.sides import Recomputed, RowReader, SourceSide, Stored, identity

RETRIES = (1.0, 5.0, 30.0)
"""Seconds before each further look at what differs."""
READ_AT_ONCE = 50_000
"""Rows of both sides that are in memory at once."""
MOST_CANDIDATES = 20_000
"""So many rows that differ are told one from the other; then it is known that much is wrong."""

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
    `suspended` changed every time. With `cut_off` there are more than were told apart.
    """

    parts: int
    differing: int
    rows: int
    read: int
    mismatched: dict[Any, Candidate]
    suspended: dict[Any, Candidate]
    cut_off: bool


@dataclass
class _Look:
    """What one look at some parts found."""

    candidates: dict[Any, Candidate]
    read: int
    cut_off: bool


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
        retries: Sequence[float] = RETRIES,
    ) -> None:
        """`ours` are the runs whose work is looked at, None for everything in the graph.

        With `by_content` rows are told by their digest alone: those of a table without a key,
        whose places another snapshot does not give.
        """
        self._entity = entity
        self._left_out = left_out
        self._ours = ours
        self._by_content = by_content
        self._retries = retries
        self._deep = deep
        self._graph: Stored | Recomputed = (
            Recomputed(target, entity, strict=ours is None)
            if deep
            else Stored(target, entity.shape)
        )

    async def run(self, reader: RowReader, fresh: FreshReader) -> Compared:
        """Compare both sides; `fresh` opens a reader with a new snapshot for the retries."""
        parts = parts_for(self._entity.estimate or 0)
        source, graph = await self._both(reader, parts)
        differ = differing(source, graph)
        look = await self._look(reader, parts, differ, source, graph)
        compared = Compared(parts, len(differ), rows_of(source), look.read, {}, {}, look.cut_off)
        if look.candidates:
            await self._retry(parts, look.candidates, compared, fresh)
        return compared

    async def _both(self, reader: RowReader, parts: int) -> tuple[Parts, Parts]:
        side = SourceSide(reader, self._entity, self._deep)
        source, graph = await asyncio.gather(side.parts(parts), self._graph.parts(parts))
        return source, graph

    async def _look(
        self,
        reader: RowReader,
        parts: int,
        numbers: list[int | None],
        source: Parts,
        graph: Parts,
    ) -> _Look:
        look = _Look({}, 0, False)
        side = SourceSide(reader, self._entity, self._deep)
        for group in in_groups(numbers, source, graph, READ_AT_ONCE):
            rows, things = await asyncio.gather(
                side.rows(parts, group), self._graph.marked(parts, group)
            )
            look.read += len(rows) + len(things)
            self._unlike(rows, [thing for thing in things if self._is_ours(thing)], look)
            if len(look.candidates) > MOST_CANDIDATES:
                look.cut_off = True
                break
        self._leave_out(look.candidates)
        for candidate in look.candidates.values():
            candidate.settle()
        return look

    def _is_ours(self, thing: Marked) -> bool:
        return self._ours is None or thing.run in self._ours

    def _unlike(
        self, rows: Sequence[tuple[int, Record]], things: Sequence[Marked], look: _Look
    ) -> None:
        """Take down what has no like on the other side."""
        there = Counter((self._known(thing.key, thing.mark), thing.mark) for thing in things)
        matched = set()
        for mark, row in rows:
            known = self._known(self._key(row), mark)
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

    def _key(self, row: Record) -> Any:
        if isinstance(self._entity.shape, RelationshipShape):
            return self._entity.relationship_key(row)
        return self._entity.node_key(row)

    def _leave_out(self, candidates: dict[Any, Candidate]) -> None:
        """Take out the rows that the journal knows to be nowhere: dead letters and orphans."""
        if not (self._left_out.dead or self._left_out.orphans):
            return
        texts = {
            id(row): self._entity.key_text(row)
            for candidate in candidates.values()
            for row in candidate.rows
        }
        known = self._left_out.among(list(texts.values()))
        for key, candidate in list(candidates.items()):
            candidate.rows = [row for row in candidate.rows if texts[id(row)] not in known]
            if not candidate.rows and not candidate.things:
                del candidates[key]

    async def _retry(
        self,
        parts: int,
        candidates: dict[Any, Candidate],
        compared: Compared,
        fresh: FreshReader,
    ) -> None:
        """Look again until each candidate stands, is gone, or has changed every time."""
        pending = candidates
        for seconds in self._retries:
            await asyncio.sleep(seconds)
            async with fresh() as reader:
                source, graph = await self._both(reader, parts)
                numbers = differing(source, graph)
                look = await self._look(reader, parts, numbers, source, graph)
            changed = {}
            for key, candidate in look.candidates.items():
                before = pending.get(key)
                if before is not None and before.marks == candidate.marks:
                    compared.mismatched[key] = candidate
                elif before is not None:
                    changed[key] = candidate
            pending = changed
            if not pending:
                return
        compared.suspended.update(pending)


@asynccontextmanager
async def _same(reader: RowReader) -> AsyncIterator[RowReader]:
    yield reader


def always(reader: RowReader) -> FreshReader:
    """The same reader again: for a source that does not change."""
    return lambda: _same(reader)
