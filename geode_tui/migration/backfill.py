"""Move the rows of one entity: read a chunk while the one before is written, journal each.

A chunk's range of keys is journaled before its first row is written. After a crash the very same
range is read again and written in a way that finds what is there already, so that no row is lost
and none is there twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.journal import ChunkRecord, DeadLetter, Journal
from geode_tui.migration.progress import Progress
from geode_tui.source.postgres import Reader
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
    Written,
)
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.verify import shown

CHUNK_BYTES = 8 * 1024 * 1024
"""About how many bytes of rows a chunk holds; at most two chunks an entity are in memory."""
CHUNK_ROWS = 10_000
BATCH_ROWS = 1_000
"""Rows a transaction. The embedded graph is as fast with 1,000 as with 50,000, and the
interpreter's lock is never held long enough for a screen to be seen waiting."""
DEAD_LETTER_VALUES = 4_000


class StopRequested(Exception):
    """Someone asked the run to stop safely."""


@dataclass
class _Chunk:
    number: int
    low: tuple[str, ...] | None
    high: tuple[str, ...] | None
    rows: Sequence[Record]
    repeated: bool
    last: bool


@dataclass
class Backfill:
    """The work of one entity in one run."""

    entity: Entity
    run: int
    uid: str
    journal: Journal
    target: Target
    progress: Progress
    stop: asyncio.Event
    batch_rows: int = BATCH_ROWS
    worker: str = "A"
    _number: int = field(default=0, init=False)

    async def run_with(self, reader: Reader) -> None:
        """Move every row that is not moved yet.

        Raises StopRequested between two chunks, GeodeTuiError when source or target fail.
        """
        self._set_state("reading")
        ways = {
            "key": self._keyed_chunks,
            "blocks": self._block_chunks,
            "stream": self._streamed_chunks,
        }
        chunks = ways[self.entity.extract.reading]
        pending: asyncio.Task[_Chunk | None] | None = None
        source = chunks(reader)
        try:
            pending = asyncio.create_task(_next(source))
            while (chunk := await pending) is not None:
                if not chunk.last:
                    pending = asyncio.create_task(_next(source))
                await self._write(chunk)
                if chunk.last:
                    break
                if self.stop.is_set():
                    raise StopRequested
        finally:
            if pending is not None and not pending.done():
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
        self._set_state("done")

    async def _keyed_chunks(self, reader: Reader) -> AsyncIterator[_Chunk]:
        """Chunks along the key; first the one that was interrupted, by its journaled range."""
        extract = self.entity.extract
        done, started = self.journal.last_chunks(self.run, self.entity.id)
        low = done.high if done else None
        self._number = done.number + 1 if done else 0
        if started is not None:
            assert started.high is not None
            sql = extract.first_range_sql if started.low is None else extract.range_sql
            rows = await self._fetch(reader, sql, *(started.low or ()), *started.high)
            low = started.high
            yield _Chunk(self._number, started.low, started.high, rows, True, False)
            self._number += 1
        limit = self._first_limit()
        while True:
            if low is None:
                rows = await self._fetch(reader, extract.first_sql, limit)
            else:
                rows = await self._fetch(reader, extract.next_sql, *low, limit)
            if not rows:
                return
            high = self.entity.cursor(rows[-1])
            if high == low:
                raise GeodeTuiError(
                    f"{self.entity.id}: reading stands still at {self.entity.key_text(rows[-1])}",
                    "the key's text does not name its row",
                    "this is a defect of geode-tui: exclude the table and report it",
                )
            last = len(rows) < limit
            yield _Chunk(self._number, low, high, rows, False, last)
            self._number += 1
            low = high
            limit = _next_limit(rows)

    async def _block_chunks(self, reader: Reader) -> AsyncIterator[_Chunk]:
        """Chunks of blocks of a table without a key, always from the beginning."""
        per_chunk = max(1, CHUNK_BYTES // 8192 // 2)
        for leaf in self.entity.extract.leaves:
            sql = self.entity.extract.block_sql(leaf)
            blocks = await reader.blocks(leaf)
            for low in range(0, max(blocks, 1), per_chunk):
                end = low + per_chunk
                high = 4294967295 if end >= blocks else end
                rows = await self._fetch(reader, sql, (low, 0), (high, 0))
                place = (leaf.schema, leaf.name, str(end))
                yield _Chunk(self._number, None, place, rows, False, False)
                self._number += 1

    async def _streamed_chunks(self, reader: Reader) -> AsyncIterator[_Chunk]:
        """Chunks of the rows of a view or query, always from the beginning."""
        sql = self.entity.extract.stream_sql
        limit = max(1, min(CHUNK_ROWS, CHUNK_BYTES // self.entity.bytes_per_row))
        self.progress.worker(self.worker, f"reading {self.entity.id}")
        async for rows in reader.stream(sql, rows=limit):
            yield _Chunk(self._number, None, ("row", str(self._number)), rows, False, False)
            self._number += 1

    async def _fetch(self, reader: Reader, sql: str, *arguments: Any) -> list[Record]:
        self.progress.worker(self.worker, f"reading {self.entity.id} {self._number}")
        return await reader.fetch(sql, *arguments)

    def _first_limit(self) -> int:
        if self.entity.estimate is None:
            return min(CHUNK_ROWS, 500)
        return max(1, min(CHUNK_ROWS, CHUNK_BYTES // self.entity.bytes_per_row))

    async def _write(self, chunk: _Chunk) -> None:
        entity, meter = self.entity, self.progress.meter(self.entity.id)
        record = ChunkRecord(chunk.number, chunk.low, chunk.high)
        self.journal.start_chunk(self.run, entity.id, record)
        meter.state = "writing"
        letters: list[DeadLetter] = []
        written = 0
        for rows in batched(chunk.rows, self.batch_rows):
            doing = f"writing {entity.id} {chunk.number}"
            self.progress.worker(self.worker, doing)
            result, dead = await asyncio.to_thread(self._write_batch, rows, chunk.repeated)
            letters += dead
            written += result.rows
            meter.rows += result.rows
            meter.orphans += len(result.orphans)
            meter.dead += len(dead) - len(result.orphans)
            meter.mark(time.time())
        self.journal.finish_chunk(self.run, entity.id, chunk.number, written, letters)
        meter.chunks += 1

    def _write_batch(
        self, rows: Sequence[Record], repeated: bool
    ) -> tuple[Written, list[DeadLetter]]:
        """Write what can be carried; every row ends in the result or in a letter."""
        entity = self.entity
        letters = []
        good = []
        for row in rows:
            reason = entity.rejected(row)
            if reason is None:
                good.append(row)
            else:
                letters.append(self._letter(row, "value", reason))
        values = [entity.values(row) for row in good]
        shape = entity.shape
        if isinstance(shape, NodeShape):
            labels = [entity.label(row) for row in good] if shape.by_value else []
            batch = NodeBatch(shape, values, self.uid, labels)
            result = self.target.write_nodes(batch, repeated)
        else:
            edges = RelationshipBatch(shape, values, self.uid)
            result = self.target.write_relationships(edges, repeated)
            letters += [self._orphan(good[place], shape) for place in result.orphans]
        letters += [self._letter(good[r.position], r.error_class, r.reason) for r in result.refused]
        if result.rows + len(letters) != len(rows):
            raise GeodeTuiError(
                f"{entity.id}: {len(rows)} rows were given, {result.rows} written and"
                f" {len(letters)} refused",
                "the target's answer does not add up",
                "this is a defect of geode-tui: keep the journal and report it",
            )
        return result, letters

    def _orphan(self, row: Record, shape: RelationshipShape) -> DeadLetter:
        start, end, _ = self.entity.relationship_key(row)
        missing = f"({shape.start.label} {start}) or ({shape.end.label} {end}) is not in the graph"
        return self._letter(row, "orphan", missing)

    def _letter(self, row: Record, error_class: str, reason: str) -> DeadLetter:
        values = {n: shown(v) for n, v in self.entity.properties(row).items()}
        text = json.dumps(values, ensure_ascii=False)[:DEAD_LETTER_VALUES]
        return DeadLetter(self.entity.id, self.entity.key_text(row), error_class, reason, text)

    def _set_state(self, state: Any) -> None:
        self.progress.meter(self.entity.id).state = state
        self.journal.set_entity(self.run, self.entity.id, state)


def _next_limit(rows: Sequence[Record]) -> int:
    """Rows for the next chunk, by the size of some rows of this one."""
    some = rows[:: max(1, len(rows) // 50)]
    size = sum(_size(value) for row in some for value in row) / len(some)
    return max(1, min(CHUNK_ROWS, int(CHUNK_BYTES / (size + 32))))


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 16


async def _next(source: AsyncIterator[_Chunk]) -> _Chunk | None:
    return await anext(source, None)
