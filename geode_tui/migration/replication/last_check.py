"""What has changed since all was compared: compared row by row, so that it fits into a freeze.

Once the whole of both sides was compared under a snapshot, a *step* leads the graph to the next
one and looks at what is new there. Which rows are new the source itself says, by the transaction
that wrote each row's present version: capture is not asked, so what it missed is found. Rows that
are gone, and things that should be, show in the counts.

Where a rule reads joined rows, or no plain table, its rows do not tell that they are new; such an
entity is compared as a whole when a change has touched it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from geode_tui.mapping.model import FINGERPRINT
from geode_tui.migration.left_out import LeftOutOfGraph, left_out_of
from geode_tui.migration.replication.replica import Replica
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.before import Since
from geode_tui.validation.compare import lack_an_end
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.ledger import Difference, Entry, Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import queries
from geode_tui.validation.sides import RowReader
from geode_tui.validation.verify import take_counted_ledger

MOST_ROWS = 50_000
"""Of an entity with more new rows all are compared."""
_SHOWN = 50
_AT_ONCE = 2_000


@dataclass
class LastCheck:
    """Compares step by step what is new; `since` is the snapshot up to which all is known."""

    replica: Replica
    since: str
    touched: Mapping[str, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.touched = self._counts()

    def _counts(self) -> Mapping[str, tuple[int, int]]:
        return self.replica.journal.captures.counts(self.replica.record.number)

    async def step(self) -> Ledger:
        """Lead the graph to a new snapshot, and compare what is new. Raises GeodeTuiError."""
        replica = self.replica
        async with replica.at_fence() as holder:
            await replica.cycle(holder, holder.fence)
            record = replica.record
            out = await asyncio.to_thread(left_out_of, replica.journal, record.target, record.graph)
            touched = self._counts()
            ledger = await self._compared(holder, holder.fence, out, touched)
        if ledger.valid:
            self.since, self.touched = holder.fence, touched
        return ledger

    async def _compared(
        self,
        reader: RowReader,
        fence: str,
        out: LeftOutOfGraph,
        touched: Mapping[str, tuple[int, int]],
    ) -> Ledger:
        replica = self.replica
        changed = [e for e in replica.entities if touched.get(e.id) != self.touched.get(e.id)]
        own = [entity for entity in replica.entities if entity.extract.tells_new_rows]
        whole = [entity for entity in changed if not entity.extract.tells_new_rows]
        oldest = str(int(self.since.partition(":")[0]) & 0xFFFF_FFFF)
        newer = {}
        for entity in own:
            rows = await reader.fetch(entity.extract.newer_sql, oldest, MOST_ROWS + 1)
            if len(rows) > MOST_ROWS:
                whole.append(entity)
            else:
                newer[entity.id] = rows
        some = [entity for entity in own if entity.id in newer]
        ledger = await self._counted(reader, fence, some, newer, out)
        if not whole:
            return ledger
        rest = await replica.compare(reader, fence, whole)
        return replace(
            rest,
            entries=(*ledger.entries, *rest.entries),
            differences=(*ledger.differences, *rest.differences),
        )

    async def _counted(
        self,
        reader: RowReader,
        fence: str,
        entities: Sequence[Entity],
        newer: Mapping[str, Sequence[Record]],
        out: LeftOutOfGraph,
    ) -> Ledger:
        """The counts of some entities, and their new rows one by one."""
        target = cast(Target, Since(self.replica.target, out.before, runs=out.marks))
        ledger = await take_counted_ledger(reader, target, entities, out.entities, fence)
        entries: list[Entry] = []
        differences: list[Difference] = []
        for entity, entry in zip(entities, ledger.entries, strict=True):
            rows, left_out = newer[entity.id], out.entities.get(entity.id, LeftOut())
            found = await asyncio.to_thread(_unlike, self.replica.target, entity, rows, left_out)
            entries.append(replace(entry, sampled=len(rows), differing=len(found)))
            differences += found[:_SHOWN]
        return Ledger(tuple(entries), tuple(differences), fence, time.time())


def _unlike(
    target: Target, entity: Entity, rows: Sequence[Record], left_out: LeftOut
) -> list[Difference]:
    """The rows that the graph does not hold just so, and that are left out for no reason."""
    found: list[Difference] = []
    for begin in range(0, len(rows), _AT_ONCE):
        some = [row for row in rows[begin : begin + _AT_ONCE] if entity.ends_known(row)]
        kept = [row for row in some if entity.rejected(row) is None]
        refused = [row for row in some if entity.rejected(row) is not None]
        marks = _marks(target, entity, kept)
        lost = [row for row, there in zip(kept, marks, strict=True) if _mark(entity, row) != there]
        known = left_out.among([entity.key_text(row) for row in (*lost, *refused)])
        suspects = [row for row in (*lost, *refused) if entity.key_text(row) not in known]
        for row in _but_orphans(target, entity, suspects):
            found.append(
                Difference(entity.id, entity.key_text(row), "source", (), *queries(entity, row))
            )
    return found


def _mark(entity: Entity, row: Record) -> int:
    mark: int = row[entity.extract.fingerprint_at]
    return mark


def _marks(target: Target, entity: Entity, rows: Sequence[Record]) -> list[int | None]:
    """The digest that the node or relationship of each row carries, None where there is none."""
    if isinstance(entity.shape, NodeShape):
        nodes = target.read_nodes(entity.shape, [entity.node_key(row) for row in rows])
        return [None if node is None else node.get(FINGERPRINT) for node in nodes]
    keys = [entity.relationship_key(row) for row in rows]
    there = target.read_relationships(entity.shape, keys)
    marks = []
    for row, some in zip(rows, there, strict=True):
        own = {one.get(FINGERPRINT) for one in some}
        mark = _mark(entity, row)
        marks.append(mark if mark in own else next(iter(own), None))
    return marks


def _but_orphans(target: Target, entity: Entity, rows: Sequence[Record]) -> list[Record]:
    """Those of the rows whose ends are both in the graph: the counts know of the others."""
    if isinstance(entity.shape, NodeShape) or not rows:
        return list(rows)
    keys = [entity.relationship_key(row) for row in rows]
    lacks = lack_an_end(target, entity.shape, keys)
    return [row for row, lack in zip(rows, lacks, strict=True) if not lack]
