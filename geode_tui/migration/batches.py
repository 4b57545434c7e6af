"""Move one chunk: read its rows, write them in batches, tell what became of each.

This is the plain work that any worker does, in the engine's process or in one of its own: given
an entity, a chunk, a feed and a target it needs nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.chunks import Chunk, ChunkResult
from geode_tui.migration.dead_letters import DeadLetter
from geode_tui.migration.origin import Feed, Movable
from geode_tui.target.model import (
    Key,
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Written,
)
from geode_tui.validation.entity import Record
from geode_tui.validation.mismatches import shown

READ_ROWS = 5_000
READ_BYTES = 4 * 1024 * 1024
"""Rows and bytes read at once; at most twice that is in memory for each worker."""
BATCH_ROWS = 1_000
"""Rows a transaction. The embedded graph is as fast with 1,000 as with 50,000, and the
interpreter's lock is never held long enough for a screen to be seen waiting."""
DEAD_LETTER_VALUES = 4_000
DIGEST_MODULUS = 2**63


class Admission(Protocol):
    """Who says when the next batch may be written, and hears how the last one went."""

    @property
    def batch_rows(self) -> int:
        """Rows of the next transaction."""
        ...

    async def admit(self, rows: int) -> None:
        """Wait until so many rows may be written."""
        ...

    def wrote(self, written: BatchResult) -> None:
        """A transaction is done."""
        ...


class AtOnce:
    """No pace: what is little, or must not be kept waiting, is written at once."""

    batch_rows = BATCH_ROWS

    async def admit(self, rows: int) -> None:
        """At once."""

    def wrote(self, written: BatchResult) -> None:
        """Nothing to learn."""


@runtime_checkable
class ChunkedTarget(Protocol):
    """A target that keeps what each chunk wrote apart until the chunk is whole."""

    def declare(
        self, run: str, entities: Sequence[tuple[str, NodeShape | RelationshipShape]]
    ) -> None:
        """Say once which entities a run will write."""
        ...

    def begin_chunk(self, shape: NodeShape | RelationshipShape, step: int) -> None:
        """What is written of the shape from now on is of this step, in place of an earlier try."""
        ...

    def end_chunk(self, shape: NodeShape | RelationshipShape, step: int) -> None:
        """The step's chunk is whole."""
        ...

    def drop_chunk(self, shape: NodeShape | RelationshipShape, step: int) -> None:
        """Nothing of the step's chunk is there any more: it gets another step."""
        ...


class Writer(Protocol):
    """What a chunk is written to: a target, or something that stands before one."""

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes in one transaction; see `Target`."""
        ...

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships in one transaction; see `Target`."""
        ...


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one transaction's rows; the time it took in seconds."""

    rows: int
    dead: int
    orphans: int
    bytes: int
    seconds: float


class DeadLimitReached(Exception):
    """An entity has more dead letters than it may have; `letters` are those of this chunk."""

    def __init__(self, letters: Sequence[DeadLetter]) -> None:
        super().__init__()
        self.letters = letters


@dataclass
class ChunkMove:
    """The move of one chunk in one run; `dead_left` is how many dead letters it may have."""

    entity: Movable
    chunk: Chunk
    target: Writer
    uid: str
    admission: Admission
    dead_left: int | None = None
    _letters: list[DeadLetter] = field(default_factory=list, init=False)

    async def run(self, feed: Feed, doing: Callable[[str], None]) -> ChunkResult:
        """Read and write every row of the chunk.

        `doing` is told what is done at the moment. Raises DeadLimitReached, GeodeTuiError.
        """
        rows = bytes_ = digest = 0
        read_seconds = write_seconds = 0.0
        limit = max(1, min(READ_ROWS, READ_BYTES // _bytes_per_row(self.entity)))
        name = f"{self.entity.id} {self.chunk.number}"
        with _chunk_of(self.target, self.entity, self.chunk.step):
            doing(f"reading {name}")
            async with contextlib.aclosing(
                _ahead(feed.rows(self.entity, self.chunk, limit))
            ) as lists:
                async for records, seconds in lists:
                    read_seconds += seconds
                    digest += self.entity.digest(records)
                    for batch in _batches(records, self.admission):
                        doing(f"writing {name}")
                        await self.admission.admit(len(batch))
                        written = await asyncio.to_thread(self._write, batch)
                        self.admission.wrote(written)
                        rows += written.rows
                        bytes_ += written.bytes
                        write_seconds += written.seconds
                        self._check_limit()
                    doing(f"reading {name}")
        digest %= DIGEST_MODULUS
        return ChunkResult(rows, self._letters, bytes_, digest, read_seconds, write_seconds)

    def _check_limit(self) -> None:
        if self.dead_left is not None and len(self._letters) > self.dead_left:
            raise DeadLimitReached(self._letters)

    def _write(self, records: Sequence[Record]) -> BatchResult:
        """Write what can be carried; every row ends in the result or in a letter."""
        began = time.perf_counter()
        entity, shape, before = self.entity, self.entity.shape, len(self._letters)
        good = []
        for record in records:
            reason = entity.rejected(record)
            if reason is None:
                good.append(record)
            else:
                self._add("value", reason, record)
        values = [entity.values(record) for record in good]
        step, repeated = self.chunk.step, self.chunk.repeated
        if isinstance(shape, NodeShape):
            labels = [entity.label(record) for record in good] if shape.by_value else []
            batch = NodeBatch(shape, values, self.uid, labels, step)
            result = self.target.write_nodes(batch, repeated)
        else:
            edges = RelationshipBatch(shape, values, self.uid, step)
            result = self.target.write_relationships(edges, repeated)
            for place in result.orphans:
                self._add("orphan", _missing(entity, shape, good[place]), good[place])
        for refused in result.refused:
            self._add(refused.error_class, refused.reason, good[refused.position])
        self._account(result, len(records), len(self._letters) - before)
        orphans = len(result.orphans)
        dead = len(self._letters) - before - orphans
        seconds = time.perf_counter() - began
        return BatchResult(result.rows, dead, orphans, _size(records), seconds)

    def _account(self, result: Written, given: int, letters: int) -> None:
        if result.rows + letters != given:
            raise GeodeTuiError(
                f"{self.entity.id}: {given} rows were given, {result.rows} written and"
                f" {letters} refused",
                "the target's answer does not add up",
                "this is a defect of geode-tui: keep the journal and report it",
            )

    def _add(self, error_class: str, reason: str, record: Record) -> None:
        values = {n: shown(v) for n, v in self.entity.properties(record).items()}
        text = json.dumps(values, ensure_ascii=False)[:DEAD_LETTER_VALUES]
        key, place = self.entity.key_text(record), self.entity.letter_place(record)
        letter = DeadLetter(self.entity.id, key, error_class, reason, text, place)
        self._letters.append(letter)


async def _ahead(
    lists: AsyncIterator[Sequence[Record]],
) -> AsyncGenerator[tuple[Sequence[Record], float]]:
    """Each list with the seconds spent waiting for it; the next is read meanwhile."""
    pending = asyncio.ensure_future(_next(lists))
    try:
        while True:
            began = time.perf_counter()
            records = await pending
            if records is None:
                return
            waited = time.perf_counter() - began
            pending = asyncio.ensure_future(_next(lists))
            yield records, waited
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


async def _next(lists: AsyncIterator[Sequence[Record]]) -> Sequence[Record] | None:
    return await anext(lists, None)


def _batches(records: Sequence[Record], admission: Admission) -> Iterator[Sequence[Record]]:
    """The records in transactions; their size may change from one to the next."""
    begin = 0
    while begin < len(records):
        end = begin + max(1, admission.batch_rows)
        yield records[begin:end]
        begin = end


@contextlib.contextmanager
def _chunk_of(target: Writer, entity: Movable, step: int) -> Iterator[None]:
    """Tell a target that keeps each chunk apart (files) where a chunk begins and ends."""
    if not isinstance(target, ChunkedTarget):
        yield
        return
    target.begin_chunk(entity.shape, step)
    yield
    target.end_chunk(entity.shape, step)


def _missing(entity: Movable, shape: RelationshipShape, record: Record) -> str:
    start, end, _ = entity.relationship_key(record)
    return f"{_end(shape.start, start)} or {_end(shape.end, end)} is not in the graph"


def _end(node: NodeShape, key: Key) -> str:
    """A node as a person names it: `(User id 7)`."""
    values = (f"{name} {shown(value)}" for name, value in zip(node.key, key, strict=False))
    return f"({node.label} {', '.join(values)})"


def _bytes_per_row(entity: Movable) -> int:
    return getattr(entity, "bytes_per_row", 256)


def _size(records: Sequence[Record]) -> int:
    """About how many bytes the records are, by the size of some of them."""
    some = records[:: max(1, len(records) // 20)]
    size = sum(_bytes(value) for record in some for value in record)
    return size * len(records) // max(1, len(some))


def _bytes(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else 8
