"""Lead the graph from one snapshot of the source to the next: one cycle.

Changes are not replayed. Whatever row was touched by a transaction that the new snapshot shows is
read again under that snapshot, by the mapping's own SELECTs, and the graph is made to hold just
that. So PostgreSQL converts every value, whatever the rule; a row that was changed ten times is
written once; and a cycle that was killed is done again, from the same spool, under a later
snapshot. When a cycle has ended, the graph is what its snapshot shows.

In this order, so that nothing new hangs on what is about to go: nodes are written, nodes that are
gone are removed (with the relationships on them), relationships are written, old ones removed.
Everything written carries a step of this cycle: what has an older one was not given by any row.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from geode_tui.catalog import TableName
from geode_tui.mapping.identity import Dependents
from geode_tui.mapping.model import RUN, STEP
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.batches import BATCH_ROWS, AtOnce, ChunkMove
from geode_tui.migration.chunks import Chunk
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication.affected import ChangePlan, Pointing, TablePlan
from geode_tui.migration.replication.letters import ChangeLetters
from geode_tui.migration.replication.spool import Image, Kept, Seen, Spool
from geode_tui.source.postgres import Reader
from geode_tui.target.images import batch_image, batch_key
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipShape,
    Target,
    Written,
)
from geode_tui.validation.compare import Candidate, Comparison
from geode_tui.validation.entity import Entity, Record, told
from geode_tui.validation.left_out import LeftOut

Cursor = tuple[str, ...]
PAGE = 5_000
"""Changes, and rows, that are in work at once."""
REMEMBERED = 100_000
"""Up to so many changes a cycle reads once and keeps in memory; more are read for each entity."""
MOST_LOOKS = 50
"""An entity that is compared so often, and differs still, is read anew."""


@dataclass
class Applied:
    """What a cycle did to an entity."""

    written: int = 0
    removed: int = 0


@dataclass
class CycleWork:
    """The work of one cycle; `reader` is inside its snapshot.

    With `compare_all` everything is compared, `reread` are tables whose rows are all read anew.
    """

    journal: Journal
    record: RunRecord
    target: Target
    entities: Sequence[Entity]
    plan: ChangePlan
    spool: Spool
    reader: Reader
    seen: Seen
    doing: Callable[[str], None]
    stop: asyncio.Event
    compare_all: bool = False
    reread: Set[TableName] = frozenset()
    counts: dict[str, Applied] = field(default_factory=lambda: defaultdict(Applied))
    _first: int = 0
    _anew: set[str] = field(default_factory=set)
    _compare: set[str] = field(default_factory=set)
    _unwritten: dict[str, set[Cursor]] = field(default_factory=lambda: defaultdict(set))
    _presence: dict[str, list[Image]] = field(default_factory=lambda: defaultdict(list))
    _rekeyed: set[str] = field(default_factory=set)

    _remembered: dict[TableName, list[list[Kept]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        captured, applied = self.spool.counts
        self._few = captured - applied <= REMEMBERED
        self._letters = ChangeLetters(self.journal.store, self.record.number)

    async def run(self) -> dict[str, Applied]:
        """Apply everything that the snapshot shows. Raises StopRequested, GeodeTuiError."""
        touched = self.spool.tables(self.seen)
        for table in self.reread:
            touched[table] = {"truncate"}
        if not touched and not self.compare_all:
            return {}
        self._first = self.journal.chunks.next_step(self.record.number)
        self._decide(touched)
        nodes = [entity for entity in self.entities if entity.kind == "node"]
        for entity in nodes:
            await self._write_entity(entity)
        for entity in nodes:
            await self._remove_entity(entity)
        for entity in self.entities:
            if entity.kind == "relationship":
                await self._write_entity(entity)
                await self._remove_entity(entity)
        self.doing("")
        return dict(self.counts)

    # -- what is told row by row, and what is not ------------------------------------------------

    def _decide(self, touched: dict[Any, set[str]]) -> None:
        """Which entities are read anew, or compared as a whole, whatever their rows tell."""
        for table, operations in touched.items():
            plan = self.plan.tables.get(table)
            self._anew |= {entity.id for entity in self.plan.whole_by.get(table, ())}
            if plan is not None and "truncate" in operations:
                self._anew |= {entity.id for entity in plan.own}
                self._compare |= {entity.id for entity, _ in plan.joined}
                self._compare |= {one.entity.id for one in plan.pointing}
        for entity in self.entities:
            if not self._anew.isdisjoint(entity.needs):
                self._anew.add(entity.id)  # its relationships go with the nodes
        if self.compare_all:
            self._compare |= set(self.plan.identities)
            self._anew |= {e.id for e in self.entities if e.id not in self.plan.identities}
        for entity in self.entities:
            if entity.id in self._anew:
                continue
            if not self._compare.isdisjoint(entity.needs) or self._is_untold(entity):
                self._compare.add(entity.id)

    def _is_untold(self, entity: Entity) -> bool:
        """Whether some change does not tell which thing of the graph its row was."""
        identity = self.plan.identities.get(entity.id)
        if identity is None:
            return False
        if self._is_owned(entity):
            return False
        needed = set(identity.columns)
        return any(
            change.operation in ("update", "delete") and not needed <= change.old.keys()
            for change in self._changes(entity)
        )

    def _is_owned(self, entity: Entity) -> bool:
        return isinstance(entity.shape, RelationshipShape) and entity.shape.owned

    def _pages(self, table: TableName) -> Iterable[list[Kept]]:
        """The changes of a table in lists."""
        if not self._few:
            return self.spool.changes(self.seen, table, PAGE)
        if table not in self._remembered:
            self._remembered[table] = list(self.spool.changes(self.seen, table, PAGE))
        return self._remembered[table]

    def _changes(self, entity: Entity) -> Iterator[Kept]:
        for some in self._pages(entity.rule.table):
            yield from some

    # -- writing ---------------------------------------------------------------------------------

    async def _write_entity(self, entity: Entity) -> None:
        if entity.id in self._anew:
            await self._write_anew(entity)
            return
        if entity.id in self._compare or self._leads_elsewhere(entity):
            self._compare.add(entity.id)
            await self._compare_whole(entity)
            return
        async for cursors, images in self._touched(entity):
            await self._write(entity, cursors, images)

    def _leads_elsewhere(self, entity: Entity) -> bool:
        """Whether nodes have other keys now, at which rows point by other columns than the key."""
        return any(
            pointing.entity.id == entity.id
            and pointing.node in self._rekeyed
            and not pointing.direct
            for table in self.plan.tables.values()
            for pointing in table.pointing
        )

    async def _touched(
        self, entity: Entity
    ) -> AsyncIterator[tuple[list[Cursor], dict[Cursor, Image]]]:
        """The cursors of rows to read again, and what is told of them where they changed."""
        for some in self._pages(entity.rule.table):
            images = _by_cursor(entity, some)
            if images:
                yield list(images), images
        async for cursors in self._dependents(entity):
            yield cursors, {}

    async def _dependents(self, entity: Entity) -> AsyncIterator[list[Cursor]]:
        """The cursors of rows that did not change, but what they join or point at did."""
        for table in self.plan.tables.values():
            for joining, dependents in table.joined:
                if joining.id == entity.id:
                    async for found in self._all_dependents(table, dependents, _any_change):
                        yield found
            for pointing in table.pointing:
                if pointing.entity.id == entity.id:
                    async for found in self._pointing(table, pointing):
                        yield found

    async def _pointing(self, table: TablePlan, pointing: Pointing) -> AsyncIterator[list[Cursor]]:
        dependents = pointing.dependents
        for images in batched(self._presence.get(pointing.node, []), PAGE):
            async for found in self._find(dependents, images):
                yield found
        if not pointing.held:
            async for found in self._all_dependents(table, dependents, pointing.matters):
                yield found

    async def _all_dependents(
        self, table: TablePlan, dependents: Dependents, matters: Callable[[Kept], bool]
    ) -> AsyncIterator[list[Cursor]]:
        for some in self._pages(table.name):
            changes = [change for change in some if matters(change)]
            images = [image for change in changes for image in (change.old, change.new)]
            async for found in self._find(dependents, images):
                yield found

    async def _find(
        self, dependents: Dependents, images: Iterable[Image]
    ) -> AsyncIterator[list[Cursor]]:
        names = dependents.references
        values = {tuple(image.get(name) for name in names) for image in images if image}
        rows = [dict(zip(names, some, strict=True)) for some in values if None not in some]
        if not rows:
            return
        document = json.dumps(rows, ensure_ascii=False)
        async for some in self.reader.stream(dependents.sql, document, rows=PAGE):
            yield [tuple(row) for row in some]

    async def _write(
        self, entity: Entity, cursors: Sequence[Cursor], images: dict[Cursor, Image]
    ) -> None:
        """Read the rows at some cursors, write them, and lead their letters along."""
        self._check_stop()
        lists = [list(texts) for texts in zip(*cursors, strict=True)]
        with entity.named_in_errors("mend the row in the source; synchronization goes on then"):
            found = await self.reader.fetch(entity.extract.rows_at_sql, *lists)
        records = {int(row[-1]) - 1: tuple(row)[:-1] for row in found}
        step, letters = await self._move(entity, list(records.values()))
        keys = {
            entity.key_text(records[n])
            if n in records
            else told(entity.extract.cursor_columns, cursor): cursor
            for n, cursor in enumerate(cursors)
        }
        had = self._letters.replace(entity.id, list(keys), letters, step)
        refused = {letter.key for letter in letters}
        unwritten = self._unwritten[entity.id]
        unwritten.update(keys[key] for key in refused if key in keys)
        if self._may_filter(entity):
            unwritten.update(cursor for n, cursor in enumerate(cursors) if n not in records)
        if entity.kind == "node":
            changed = [keys[key] for key in had ^ refused if key in keys]
            self._presence[entity.id] += [images[c] for c in changed if c in images]

    def _may_filter(self, entity: Entity) -> bool:
        """Whether a row that is there may make nothing, although its columns are the same."""
        return entity.kind == "relationship" or bool(entity.rule.where)

    async def _move(self, entity: Entity, records: list[Record]) -> tuple[int, Sequence[Any]]:
        """Write some rows as a step of their own; returns the step and the letters."""
        step = self.journal.chunks.next_step(self.record.number)
        if not records:
            return step, ()
        self.doing(f"writing {entity.id}")
        chunk = Chunk(entity.id, 0, None, None, step, repeated=True)
        writer = _Upsert(self.target)
        move = ChunkMove(entity, chunk, writer, self.record.uid, AtOnce())
        result = await move.run(_Records(records), lambda text: None)
        self.counts[entity.id].written += result.rows
        return step, result.letters

    # -- as a whole ------------------------------------------------------------------------------

    async def _write_anew(self, entity: Entity) -> None:
        """Remove all of an entity and write all its rows."""
        self._check_stop()
        self.doing(f"reading {entity.id} anew")
        shape, uid = entity.shape, self.record.uid
        if isinstance(shape, NodeShape):
            await asyncio.to_thread(self.target.delete_nodes, shape, uid)
        else:
            await asyncio.to_thread(self.target.delete_relationships, shape, uid)
        self._letters.clear(entity.id)
        with entity.named_in_errors("mend the row in the source; synchronization goes on then"):
            async for rows in self.reader.stream(entity.extract.stream_sql, rows=PAGE):
                self._check_stop()
                records = [tuple(row) for row in rows]
                step, letters = await self._move(entity, records)
                if letters:
                    keys = [letter.key for letter in letters]
                    self._letters.replace(entity.id, keys, letters, step)

    async def _compare_whole(self, entity: Entity) -> None:
        """Compare all rows by digest; write those that differ, remove what no row gives.

        Rows that cannot be carried have no digest: they are read, and get their letters, first.
        """
        self._letters.clear(entity.id)
        with entity.named_in_errors("mend the row in the source"):
            async for found in self.reader.stream(entity.extract.rejected_sql, rows=PAGE):
                await self._write(entity, [tuple(row) for row in found], {})
        for _ in range(MOST_LOOKS):
            self._check_stop()
            self.doing(f"comparing {entity.id}")
            look = _Whole(
                self.target, entity, deep=False, left_out=LeftOut(), ours={self.record.uid}
            )
            with entity.named_in_errors("mend the row in the source"):
                await look.look(self.reader)
            candidates = list(look.pending.values())
            cursors = [entity.cursor(row) for one in candidates for row in one.rows]
            for some in batched(dict.fromkeys(cursors), PAGE):
                await self._write(entity, list(some), {})
            gone = [thing.key for one in candidates if not one.rows for thing in one.things]
            await self._take_away(entity, gone)
            if not look.cut_off:
                return
        await self._write_anew(entity)

    # -- removing --------------------------------------------------------------------------------

    async def _remove_entity(self, entity: Entity) -> None:
        """Remove the things of rows that are gone, or are other things now."""
        if entity.id in self._anew or entity.id in self._compare:
            return
        for some in self._pages(entity.rule.table):
            self._check_stop()
            keys = await self._old_keys(entity, some)
            if keys and self._is_owned(entity):
                await self._remove_led(entity, [key[0] for key in keys])
            elif keys:
                await self._remove_older(entity, keys)

    async def _old_keys(self, entity: Entity, changes: Sequence[Kept]) -> list[Any]:
        """The keys in the graph that rows had before, where they may not have them any more."""
        identity = self.plan.identities[entity.id]
        unwritten = self._unwritten.get(entity.id, set())
        rows: list[dict[str, Any]] = []
        for change in changes:
            if not self._may_go(entity, change, identity.columns, unwritten):
                continue
            row: dict[str, Any] = {n: change.old[n] for n in identity.columns if n in change.old}
            rows.append(row | {identity.place: len(rows)})
        if not rows:
            return []
        document = json.dumps(rows, ensure_ascii=False)
        found = await self.reader.fetch(identity.sql, document)
        return [_key_of(entity, identity.parts, tuple(row)[:-1]) for row in found]

    def _may_go(
        self, entity: Entity, change: Kept, columns: Sequence[str], unwritten: Set[Cursor]
    ) -> bool:
        if change.operation not in ("update", "delete"):
            return False
        if change.operation == "delete" or self._is_owned(entity):
            return True
        if any(change.differs(name) for name in columns):
            if entity.kind == "node":
                self._rekeyed.add(entity.id)
            return True
        return bool(unwritten) and _cursor_of(entity, change.old) in unwritten

    async def _remove_older(self, entity: Entity, keys: Sequence[Any]) -> None:
        """Remove what is at some keys and was not written in this cycle."""
        shape, uid = entity.shape, self.record.uid
        keys = list({comparable_key(entity, key): key for key in keys}.values())
        if isinstance(shape, NodeShape):
            images: Sequence[Any] = await asyncio.to_thread(
                self.target.node_images, shape, keys, uid
            )
        else:
            images = await asyncio.to_thread(self.target.relationship_images, shape, keys, uid)
        older = [
            key
            for key, image in zip(keys, images, strict=True)
            if image is not None
            and image.properties.get(RUN) == uid
            and (image.properties.get(STEP) or 0) < self._first
        ]
        await self._take_away(entity, older)

    async def _remove_led(self, entity: Entity, starts: Sequence[Any]) -> None:
        """Of relationships that a row owns, remove what was not written in this cycle."""
        shape, uid = entity.shape, self.record.uid
        assert isinstance(shape, RelationshipShape)
        starts = list({comparable(start): start for start in starts}.values())
        led = await asyncio.to_thread(self.target.leading_from, shape, starts, uid)
        await self._take_away(entity, [key for step, key in led if step < self._first])

    async def _take_away(self, entity: Entity, keys: Sequence[Any]) -> None:
        if not keys:
            return
        self.doing(f"removing {entity.id}")
        shape, uid = entity.shape, self.record.uid
        for some in batched(keys, BATCH_ROWS):
            none = [(key, None) for key in some]
            if isinstance(shape, NodeShape):
                await asyncio.to_thread(self.target.put_nodes, shape, none, uid)
            else:
                await asyncio.to_thread(self.target.put_relationships, shape, none, uid)
        self.counts[entity.id].removed += len(keys)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StopRequested


class _Whole(Comparison):
    """A comparison that leaves nothing out: what is refused is looked at again, too."""

    @property
    def cut_off(self) -> bool:
        """Whether there is more than was told apart."""
        return self._last.cut_off

    def _leave_out(self, candidates: dict[Any, Candidate]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class _Upsert:
    """A target in which what is there is replaced, whichever step wrote it."""

    target: Target

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes; those of this run that are there are replaced."""
        return self.target.write_nodes(batch, repeated)

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships; those of this run that are there are replaced."""
        shape = batch.shape
        keys = [batch_key(batch, place) for place in range(len(batch.rows))]
        found = self.target.relationship_images(shape, keys, batch.run)
        there = [
            place
            for place, image in enumerate(found)
            if image is not None and image.properties.get(RUN) == batch.run
        ]
        images = [(keys[place], batch_image(batch, place)) for place in there]
        if images:
            self.target.put_relationships(shape, images, batch.run)
        known = set(there)
        new = [place for place in range(len(keys)) if place not in known]
        if not new:
            return Written(len(there))
        rows = [batch.rows[place] for place in new]
        made = self.target.write_relationships(
            RelationshipBatch(shape, rows, batch.run, batch.step), False
        )
        orphans = tuple(new[place] for place in made.orphans)
        refused = tuple(
            Refused(new[one.position], one.error_class, one.reason) for one in made.refused
        )
        return Written(len(there) + made.rows, orphans, refused)


@dataclass(frozen=True)
class _Records:
    """Rows that were read already, as a feed."""

    records: Sequence[Record]

    async def rows(
        self, entity: Entity, chunk: Chunk, limit: int
    ) -> AsyncIterator[Sequence[Record]]:
        """All of them."""
        for begin in range(0, len(self.records), limit):
            yield self.records[begin : begin + limit]

    async def close(self) -> None:
        """Nothing to end."""


def comparable_key(entity: Entity, key: Any) -> Any:
    """A key of an entity that can be hashed and compared."""
    if entity.kind == "node":
        return comparable(key)
    return tuple(comparable(part) for part in key)


def _key_of(entity: Entity, parts: Sequence[int], values: tuple[Any, ...]) -> Any:
    if entity.kind == "node":
        return values
    first, second = parts[0], parts[0] + parts[1]
    return values[:first], values[first:second], values[second:]


def _any_change(change: Kept) -> bool:
    return True


def _cursor_of(entity: Entity, image: Image) -> Cursor | None:
    """The cursor of a row that is told of, None where its key is not told whole."""
    values = [image.get(name) for name in entity.extract.cursor_columns]
    return None if None in values else tuple(str(value) for value in values)


def _by_cursor(entity: Entity, changes: Sequence[Kept]) -> dict[Cursor, Image]:
    """The rows to read again, each with what is told of it last."""
    found: dict[Cursor, Image] = {}
    for change in changes:
        for image in (change.old, change.old | change.new if change.new else {}):
            if image and (cursor := _cursor_of(entity, image)) is not None:
                found[cursor] = image
    return found
