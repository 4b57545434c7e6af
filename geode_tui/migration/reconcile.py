"""Bring rows that were copied under an older snapshot up to the present one.

A run whose snapshot was lost (its session or its server died) goes on with a new one, in which
rows may have been changed since. So for each chunk that an older snapshot gave, PostgreSQL counts
the rows and sums their fingerprints again; where either differs from the journal, the chunk is
read and compared with the graph: changed and new rows are written, rows that are gone are
removed. In the end the graph is what the last snapshot shows, as if it had been the only one.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from geode_tui.mapping.model import FINGERPRINT, RUN, STEP
from geode_tui.migration.batches import DIGEST_MODULUS, AtOnce, ChunkMove
from geode_tui.migration.chunks import Chunk, ChunkResult
from geode_tui.migration.pre_images import PreImages
from geode_tui.target.images import batch_image, batch_key
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    Key,
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipKey,
    RelationshipShape,
    Target,
    Written,
)

if TYPE_CHECKING:
    from geode_tui.migration.backfill import Backfill

AnyKey = Key | RelationshipKey
UNIQUE = "unique"
ROWS_AT_ONCE = 100_000
"""About how many keys are in memory while what is gone is looked for."""
STEPS_AT_ONCE = 16
"""A scan for what some steps wrote reads what lies between the first and the last of them."""


class Reconciliation:
    """The reconciliation of a backfill's chunks with its present snapshot."""

    def __init__(self, backfill: Backfill) -> None:
        self._backfill = backfill
        self._journal = backfill.journal
        self._run = backfill.record.number
        self._target = backfill.target
        self._images = PreImages(self._journal.store)
        self._gone: list[_Gone] = []
        self._entities: Sequence[Any] = ()
        self._moved: dict[str, set[int]] = defaultdict(set)

    async def run(self, entities: Sequence[Any]) -> list[Any]:
        """Bring all chunks up to date; returns the entities that must be read again whole.

        Nodes first, so that relationships find their ends; nodes that are gone go last, when no
        relationship of ours hangs on them any more.
        """
        again = []
        self._entities = entities
        for entity in sorted(entities, key=lambda entity: entity.kind == "relationship"):
            chunks = self._older(entity)
            if not chunks:
                continue
            self._backfill.progress.worker("R", f"comparing {entity.id} with the new snapshot")
            if entity.restarts:
                if await self._changed_whole(entity):
                    again.append(entity)
                else:
                    self._journal.chunks.confirm(self._run, chunks, self._backfill.snapshot)
            else:
                await self._bring_up(entity, chunks)
                await self._try_again(entity)
        await self._remove_gone()
        self._backfill.progress.worker("R", "")
        return again

    def _older(self, entity: Any) -> list[Chunk]:
        """The chunks that another snapshot gave, or that are doubted."""
        done = self._journal.chunks.done(self._run, entity.id)
        present = self._backfill.snapshot
        return [chunk for chunk in done if chunk.snapshot != present or chunk.digest is None]

    def _doubt_orphans(self, entity: Any) -> None:
        """Journal that orphans may find their end, before the first such node is made."""
        for other in self._dependents(entity):
            self._journal.chunks.doubt(self._run, other.id, orphans_only=True)

    def _doubt_loose(self, entity: Any, refused: bool) -> None:
        """Journal that an end of relationships goes, although their rows may be the same."""
        for other in self._dependents(entity):
            # A row that cannot be carried any more holds no foreign key in the graph.
            if refused or not other.held_by_foreign_keys:
                self._journal.chunks.doubt(self._run, other.id)

    def _dependents(self, entity: Any) -> list[Any]:
        return [other for other in self._entities if entity.id in other.needs]

    def _gone_keys(self, shape: NodeShape) -> set[AnyKey]:
        """The keys of nodes that are still there, but will not be in the end."""
        some = (gone for gone in self._gone if gone.entity.shape == shape)
        return {comparable(key) for gone in some for key in gone.keys}

    async def _changed_whole(self, entity: Any) -> bool:
        chunks = self._journal.chunks.done(self._run, entity.id)
        whole = Chunk(entity.id, 0, None, None)
        rows, digest = await self._backfill.origin.digest(entity, whole)
        if any(chunk.digest is None for chunk in chunks):
            return True
        there = sum(chunk.digest or 0 for chunk in chunks) % DIGEST_MODULUS
        return (rows, digest) != (sum(chunk.moved for chunk in chunks), there)

    async def _bring_up(self, entity: Any, chunks: Sequence[Chunk]) -> None:
        same: list[Chunk] = []
        changed: list[Chunk] = []
        for chunk in chunks:
            told = (chunk.moved, chunk.digest)
            if chunk.digest is None or await self._backfill.origin.digest(entity, chunk) != told:
                changed.append(chunk)
            else:
                same.append(chunk)
        await self._move_again(entity, changed)
        self._journal.chunks.confirm(self._run, same, self._backfill.snapshot)

    async def _try_again(self, entity: Any) -> None:
        """Rows whose key was another row's in an older snapshot: it may be theirs by now."""
        refused = self._journal.chunks.refused(self._run, entity.id, UNIQUE)
        moved = self._moved[entity.id]
        await self._move_again(entity, [chunk for chunk in refused if chunk.number not in moved])

    async def _move_again(self, entity: Any, chunks: Sequence[Chunk]) -> None:
        """Read chunks that changed; write what differs, note what is gone.

        Some at a time, since what is gone shows in a scan of the graph. Until that the journal
        has none of them as done: a kill in between finds them all again.
        """
        for some in _together(chunks):
            moved = [await self._write_again(entity, chunk) for chunk in some]
            there = await asyncio.to_thread(self._keys, entity, [again.chunk for again in moved])
            for again in moved:
                await self._take_out(entity, again, there[again.chunk.number])

    async def _write_again(self, entity: Any, chunk: Chunk) -> _Again:
        """Read one chunk and write what differs, as often as it takes."""
        self._moved[entity.id].add(chunk.number)
        self._doubt_orphans(entity)
        chunk = self._journal.chunks.begin_again(self._run, chunk)
        doing = functools.partial(self._backfill.progress.worker, "R")

        async def attempt() -> _Again:
            proxy = self._comparing(entity, chunk)
            moved = replace(chunk, step=proxy.step, repeated=True)
            move = ChunkMove(entity, moved, proxy, self._backfill.record.uid, AtOnce())
            feed = await self._backfill.origin.feed_plan().open()
            try:
                return _Again(chunk, await move.run(feed, doing), proxy.seen)
            finally:
                await feed.close()

        def wait(text: str) -> None:
            doing(f"{entity.id} {chunk.number}: {text}")
            self._backfill.tell("warning", f"{entity.id} chunk {chunk.number}: {text}", entity.id)

        again = await self._backfill.retried(attempt, wait)
        for other in self._gone:
            if other.entity is entity:  # a key that went from one row to another is not gone
                other.keys[:] = [key for key in other.keys if comparable(key) not in again.seen]
        return again

    def _comparing(self, entity: Any, chunk: Chunk) -> _Comparing:
        step, shape = chunk.more_steps[-1], entity.shape
        proxy = _Comparing(self._target, entity, self._run, step, chunk.steps, self._images)
        if isinstance(shape, RelationshipShape):
            proxy.gone = self._gone_keys(shape.start), self._gone_keys(shape.end)
        return proxy

    async def _take_out(self, entity: Any, again: _Again, there: Sequence[AnyKey]) -> None:
        """Remove what no row of a chunk gives any more; nodes go at the end."""
        chunk = again.chunk
        gone = [key for key in there if comparable(key) not in again.seen]
        if isinstance(entity.shape, NodeShape) and gone:
            self._doubt_loose(entity, bool(again.result.letters))
            # Not journaled as done before they are removed: a kill in between finds them again.
            self._gone.append(_Gone(entity, chunk, again.result, gone))
            return
        step = chunk.more_steps[-1]
        await asyncio.to_thread(self._remove, entity, gone, step, chunk.steps)
        self._finish(entity, chunk, again.result)

    def _finish(self, entity: Any, chunk: Chunk, result: ChunkResult) -> None:
        backfill = self._backfill
        self._journal.chunks.finish_again(self._run, chunk, result, backfill.snapshot)
        known = {e.id: e for e in self._journal.chunks.entities(self._run)}[entity.id]
        meter = backfill.progress.meter(entity.id)
        meter.rows, meter.dead, meter.orphans = known.rows, known.dead, known.orphans
        backfill.tell("info", f"{entity.id} chunk {chunk.number} brought up to date", entity.id)

    def _keys(self, entity: Any, chunks: Sequence[Chunk]) -> dict[int, list[AnyKey]]:
        """By chunk, the keys of what its steps before the last wrote and is in the graph.

        What the last step wrote was read just now: it is not gone.
        """
        found: dict[int, list[AnyKey]] = {chunk.number: [] for chunk in chunks}
        chunk_of = {step: chunk.number for chunk in chunks for step in chunk.steps[:-1]}
        for steps in _neighbours(sorted(chunk_of)):
            for step, key in self._written(entity.shape, steps):
                found[chunk_of[step]].append(key)
        return found

    def _written(self, shape: Any, steps: Sequence[int]) -> Sequence[tuple[int, AnyKey]]:
        uid = self._backfill.record.uid
        if isinstance(shape, NodeShape):
            return self._target.node_keys(shape, uid, steps)
        return self._target.relationship_keys(shape, uid, steps)

    async def _remove_gone(self) -> None:
        for gone in self._gone:
            step = self._journal.chunks.next_step(self._run)
            await asyncio.to_thread(self._remove, gone.entity, gone.keys, step, gone.chunk.steps)
            self._finish(gone.entity, gone.chunk, gone.result)

    def _remove(
        self, entity: Any, keys: Sequence[AnyKey], step: int, steps: tuple[int, ...]
    ) -> None:
        """Remove what is no more in the source; what was there is journaled before.

        Of relationships only what `steps` wrote: another row may lead between the same two nodes.
        """
        shape, uid = entity.shape, self._backfill.record.uid
        if not keys:
            return
        if isinstance(shape, NodeShape):
            images: Any = self._target.node_images(shape, keys, uid)
            put: Any = self._target.put_nodes
        else:
            images = self._target.relationship_images(shape, keys, uid)
            put = functools.partial(self._target.put_relationships, steps=steps)
        pairs = list(zip(keys, images, strict=True))
        self._images.add(self._run, step, entity.id, pairs)
        put(shape, [(key, None) for key in keys], run=uid)


@dataclass(frozen=True)
class _Again:
    """A chunk that was read again: what became of its rows, and the keys that they have."""

    chunk: Chunk
    result: ChunkResult
    seen: Set[AnyKey]


@dataclass(frozen=True)
class _Gone:
    """Nodes of a chunk that are no more in the source, and what became of its other rows."""

    entity: Any
    chunk: Chunk
    result: ChunkResult
    keys: list[AnyKey]


@dataclass
class _Comparing:
    """A target that writes only what differs from the graph, with pre-images of what changes."""

    target: Target
    entity: Any
    run: int
    step: int
    steps: tuple[int, ...]
    images: PreImages
    seen: set[AnyKey] = field(default_factory=set)
    gone: tuple[Set[AnyKey], Set[AnyKey]] = (frozenset(), frozenset())

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes that are not there or differ."""
        shape = batch.shape
        places = [shape.properties.index(name) for name in shape.key]
        keys = [tuple(row[place] for place in places) for row in batch.rows]
        found = self.target.node_images(shape, keys, batch.run)
        same = [self._is_same(batch, n, image) for n, image in enumerate(found)]
        ours = [image is not None and image.properties.get(RUN) == batch.run for image in found]
        changed = [n for n, own in enumerate(ours) if own and not same[n]]
        self.images.add(self.run, self.step, self.entity.id, [(keys[n], found[n]) for n in changed])
        new = [n for n, own in enumerate(ours) if not own]
        replaced = self._some(batch, changed, self.target.write_nodes, True)
        made = self._some(batch, new, self.target.write_nodes, False)
        refused_places = {new[r.position] for r in made.refused}
        self.seen.update(comparable(k) for n, k in enumerate(keys) if n not in refused_places)
        return _joined(sum(same), (changed, replaced), (new, made))

    def _is_same(self, batch: NodeBatch, place: int, image: Any) -> bool:
        if image is None or image.properties.get(RUN) != batch.run:
            return False
        label = batch.by_value[place] if batch.by_value else None
        others = {name for name in batch.shape.by_value if name not in batch.shape.labels}
        labelled = {name for name in image.labels if name in others and name != batch.shape.label}
        wanted = {label} & others if label else set()
        return (
            image.properties.get(FINGERPRINT) == batch.rows[place][-1]
            and image.properties.get(STEP) in self.steps
            and labelled == wanted
        )

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships that are not there or differ; one whose end goes is an orphan."""
        shape = batch.shape
        keys = [batch_key(batch, place) for place in range(len(batch.rows))]
        if any(self.gone) and (loose := [n for n, key in enumerate(keys) if self._is_loose(key)]):
            held = sorted(set(range(len(keys))).difference(loose))
            written = self._some(batch, held, self.write_relationships, repeated)
            orphans = Written(0, tuple(range(len(loose))))
            return _joined(0, (held, written), (loose, orphans))
        found = self.target.relationship_images(shape, keys, batch.run)
        ours = [image is not None and image.properties.get(RUN) == batch.run for image in found]
        same = [
            own
            and image is not None
            and image.properties.get(FINGERPRINT) == row[-1]
            and image.properties.get(STEP) in self.steps
            for own, image, row in zip(ours, found, batch.rows, strict=True)
        ]
        changed = [n for n, own in enumerate(ours) if own and not same[n]]
        self.images.add(self.run, self.step, self.entity.id, [(keys[n], found[n]) for n in changed])
        images = [(keys[n], batch_image(batch, n)) for n in changed]
        self.target.put_relationships(shape, images, batch.run)
        new = [n for n, own in enumerate(ours) if not own]
        made = self._some(batch, new, self.target.write_relationships, False)
        self.seen.update(comparable(key) for key in keys)
        return _joined(sum(same), (changed, Written(len(changed))), (new, made))

    def _is_loose(self, key: RelationshipKey) -> bool:
        return any(comparable(end) in gone for end, gone in zip(key, self.gone, strict=False))

    def _some(self, batch: Any, places: Sequence[int], write: Any, repeated: bool) -> Written:
        if not places:
            return Written(0)
        rows = [batch.rows[place] for place in places]
        some = replace(batch, rows=rows)
        if isinstance(batch, NodeBatch) and batch.by_value:
            some = replace(some, by_value=[batch.by_value[place] for place in places])
        written: Written = write(some, repeated)
        return written


def _together(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """The chunks in lists of about `ROWS_AT_ONCE` rows."""
    some: list[Chunk] = []
    for chunk in chunks:
        if some and sum(one.moved for one in some) + chunk.moved > ROWS_AT_ONCE:
            yield some
            some = []
        some.append(chunk)
    if some:
        yield some


def _neighbours(steps: Sequence[int]) -> Iterator[list[int]]:
    """The steps, in their order, in lists that span at most `STEPS_AT_ONCE`."""
    some: list[int] = []
    for step in steps:
        if some and step - some[0] >= STEPS_AT_ONCE:
            yield some
            some = []
        some.append(step)
    if some:
        yield some


def _joined(same: int, *parts: tuple[Sequence[int], Written]) -> Written:
    """What became of a batch, of the parts that it was written in."""
    rows = same + sum(written.rows for _, written in parts)
    orphans = [places[n] for places, written in parts for n in written.orphans]
    refused = [
        replace(r, position=places[r.position])
        for places, written in parts
        for r in written.refused
    ]
    return Written(rows, tuple(orphans), tuple(refused))
