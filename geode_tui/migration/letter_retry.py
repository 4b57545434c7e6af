"""Retry dead letters: read their rows again, and write them as new steps of their run.

Each step is journaled before the first of its rows is written, and what became of its letters in
one transaction with the counters. A retry that was killed in between is undone, by its step,
before the next one begins: it is then as if it had never been tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from geode_tui.errors import UsageError
from geode_tui.migration.audit import whoami
from geode_tui.migration.batches import AtOnce, ChunkMove
from geode_tui.migration.chunks import Chunk
from geode_tui.migration.dead_letters import GONE, DeadLetter, Selection
from geode_tui.migration.events import Event, Level
from geode_tui.migration.journal import RUN_FORMAT, Journal, RunRecord
from geode_tui.migration.origins import changed_fields, origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.schema_fill import Fill, Filling
from geode_tui.migration.schema_origin import SchemaOrigin, work_of
from geode_tui.source.dsn import check_dsn
from geode_tui.target import open_target
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.entity import Entity, Record

Tell = Callable[[str], None]
_BY_PLACE = "its rows are known by their place in the table only"


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of letters, in rows.

    `gone` are no longer in the source, `unreadable` cannot be read one by one, `incomplete` are
    of chunks that are not done. `ends` says that nodes were written on which open orphans of the
    run may hang.
    """

    written: int = 0
    refused: int = 0
    gone: int = 0
    unreadable: int = 0
    incomplete: int = 0
    ends: bool = False

    def __add__(self, other: Retried) -> Retried:
        return Retried(
            self.written + other.written,
            self.refused + other.refused,
            self.gone + other.gone,
            self.unreadable + other.unreadable,
            self.incomplete + other.incomplete,
            self.ends or other.ends,
        )

    @property
    def complete(self) -> bool:
        """Whether every letter was written, or has no row any more."""
        return not (self.refused or self.unreadable or self.incomplete)

    @property
    def summary(self) -> str:
        """The same in words."""
        counts = (
            (self.written, "written"),
            (self.refused, "refused again"),
            (self.gone, GONE),
            (self.unreadable, "cannot be read one by one"),
            (self.incomplete, "of chunks that are not done: geode-tui resume reads them again"),
        )
        return (
            ", ".join(f"{count:,} {words}" for count, words in counts if count) or "none to retry"
        )


async def retry_letters(
    journal: Journal,
    number: int,
    selection: Selection,
    *,
    source: str | None = None,
    password: str | None = None,
    tell: Tell = lambda text: None,
) -> Retried:
    """Write the rows of some letters of a run that are not written yet.

    Nodes come before relationships. `source` replaces the run's DSN (for a password). Raises
    UsageError where the run cannot be retried or is driven by another process, GeodeTuiError.
    """
    record = journal.run(number)
    _require_retryable(record)
    dsn = check_dsn(source) if source else record.source_dsn
    if record.kind == "schema" and not dsn:
        return Retried()  # it led the graph over without a source: no row was read
    origin = origin_of(record, dsn, password, journal.mapping(number))
    if not isinstance(origin, PostgresOrigin):
        raise _no_rows(record)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(journal.hold(record))
        if journal.run(number).state in ("rolling back", "rolled back"):  # just before we held it
            raise _taken_back(record)
        stack.push_async_callback(origin.close)
        await origin.open()
        entities = await _entities(journal, record, origin)
        opened = await asyncio.to_thread(
            open_target, record.target, record.graph or None, create=False
        )
        stack.push_async_callback(asyncio.to_thread, opened.close)
        target = await asyncio.to_thread(_filling, journal, record, opened, entities)
        stack.push_async_callback(origin.end)
        fence = await origin.begin()
        retry = _Retry(journal, record, origin, target, entities, selection, tell)
        journal.audit.add(number, "dead letters retry", None, retry.told | {"fence": fence})
        result = await retry.run()
        await asyncio.to_thread(target.flush)
    level: Level = "info" if result.complete else "warning"
    journal.add_event(number, Event(time.time(), level, f"dead letters retried: {result.summary}"))
    return result


async def _entities(
    journal: Journal, record: RunRecord, origin: PostgresOrigin
) -> dict[str, Entity]:
    """The entities of a run as it read them, by id. Raises UsageError for another source."""
    if not isinstance(origin, SchemaOrigin):
        _require_same(record, changed_fields(record, await origin.fields()))
        return {entity.id: entity for entity in await origin.entities()}
    work = work_of(record, journal.mapping(record.number))
    origin.limit(work)
    _require_same(record, changed_fields(record, await origin.fields()))
    await origin.read()
    loads, fills = origin.choose(work)
    return {entity.id: entity for entity in (*loads, *fills)}


def _filling(
    journal: Journal, record: RunRecord, target: Target, entities: Mapping[str, Entity]
) -> Target:
    """The target; where the run filled properties, one in which their rows do so again."""
    fills = {e.shape: e for e in entities.values() if isinstance(e, Fill)}
    if not fills:
        return target
    filling = Filling(target, PreImages(journal.store), record.number, fills)
    filling.look()
    return cast(Target, filling)


@dataclass
class _Retry:
    journal: Journal
    record: RunRecord
    origin: PostgresOrigin
    target: Target
    entities: dict[str, Entity]
    selection: Selection
    tell: Tell

    @property
    def told(self) -> dict[str, object]:
        """What is retried, for the audit trail."""
        some = self.selection
        return {"ids": some.ids, "entity": some.entity, "class": some.error_class}

    async def run(self) -> Retried:
        letters, number = self.journal.dead_letters, self.record.number
        for entity_id, step in letters.interrupted(number):
            self.tell(f"{entity_id}: a retry was interrupted; what it wrote is removed first")
            await asyncio.to_thread(self._undo, self.entities[entity_id], step)
            letters.forget_retry(number, entity_id, step)
        total = Retried(incomplete=letters.incomplete(number, self.selection))
        for group in letters.groups(number, self.selection):
            total += await self._group(group)
        return total

    def _undo(self, entity: Entity, step: int) -> None:
        """Remove what a step wrote; what it would have written stands in its letters still."""
        shape, uid = entity.shape, self.record.uid
        if isinstance(shape, NodeShape):
            nodes = [key for _, key in self.target.node_keys(shape, uid, [step])]
            self.target.put_nodes(shape, [(key, None) for key in nodes])
        else:
            keys = [key for _, key in self.target.relationship_keys(shape, uid, [step])]
            self.target.put_relationships(shape, [(key, None) for key in keys])

    async def _group(self, group: tuple[str, int]) -> Retried:
        """All letters of a chunk, some at a time."""
        total, last = Retried(), 0
        entity = self.entities[group[0]]
        room = self.journal.dead_letters
        while letters := room.to_retry(self.record.number, self.selection, group, last):
            last = letters[-1].id
            readable = [x for x in letters if x.place is not None and not entity.restarts]
            if len(readable) < len(letters):
                self.tell(
                    f"{entity.id}: {len(letters) - len(readable):,} rows cannot be read one by"
                    f" one: {_BY_PLACE}"
                )
            total += Retried(unreadable=len(letters) - len(readable))
            if readable:
                total += await self._some(entity, readable)
        return total

    async def _some(self, entity: Entity, letters: Sequence[DeadLetter]) -> Retried:
        """Letters of one chunk, in one step."""
        room, number = self.journal.dead_letters, self.record.number
        step = room.begin_retry(number, letters)
        letters = [replace(letter, step=step) for letter in letters]
        chunk = Chunk(entity.id, letters[0].chunk, None, None, step)
        feed = _LetterFeed(self.origin, [letter.place or () for letter in letters])
        # Nothing of the step is there: a key that is taken is another row's, and stays that row's.
        move = ChunkMove(entity, chunk, self.target, self.record.uid, AtOnce())
        moved = await move.run(feed, lambda text: None)
        refused = {feed.numbers[letter.place or ()]: letter for letter in moved.letters}
        found, who = set(feed.numbers.values()), whoami()
        after = [
            _after(letter, refused.get(n), n in found, who) for n, letter in enumerate(letters)
        ]
        room.end_retry(number, letters, after)
        written = sum(letter.state == "written" for letter in after)
        gone = sum(letter.state == "skipped" for letter in after)
        self.tell(f"{entity.id}: {written:,} of {len(letters):,} dead letters written")
        ends = bool(written) and entity.kind == "node"
        return Retried(written, len(letters) - written - gone, gone, ends=ends)


def _after(letter: DeadLetter, refused: DeadLetter | None, found: bool, who: str) -> DeadLetter:
    """A letter after its retry."""
    now = time.time()
    if not found:
        return replace(letter, state="skipped", note=GONE, who=who, changed=now, step=None)
    if refused is None:
        return replace(letter, state="written", note="", who=who, changed=now)
    return replace(
        letter,
        key=refused.key,
        error_class=refused.error_class,
        reason=refused.reason,
        values=refused.values,
        state="open",
        note="refused again",
        who=who,
        changed=now,
        step=None,
    )


@dataclass
class _LetterFeed:
    """Reads the rows at some cursors; `numbers` tells which cursor gave the row of a place."""

    origin: PostgresOrigin
    places: Sequence[tuple[str, ...]]
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    async def rows(
        self, entity: Entity, chunk: Chunk, limit: int
    ) -> AsyncIterator[Sequence[Record]]:
        """The rows that are still there."""
        found = await self.origin.rows_at(entity, self.places)
        # The text of a key may be another than it was, where both are equal: 1.0 and 1.00.
        self.numbers = {entity.cursor(record): number for number, record in found}
        records = [record for _, record in found]
        for begin in range(0, len(records), limit):
            yield records[begin : begin + limit]

    async def close(self) -> None:
        """The session is the origin's."""


def _require_retryable(record: RunRecord) -> None:
    if record.kind not in ("migrate", "schema"):
        raise _no_rows(record)
    if record.format != RUN_FORMAT:
        raise UsageError(
            f"run {record.number} was begun by geode-tui {record.version}",
            "it journaled no places of its dead letters",
            "migrate anew into another target",
        )
    if record.state == "running":
        raise UsageError(
            f"run {record.number} is running",
            "its dead letters can be retried when it has ended",
            "watch it with: geode-tui status --follow",
        )
    if record.state in ("rolling back", "rolled back"):
        raise _taken_back(record)


def _taken_back(record: RunRecord) -> UsageError:
    return UsageError(
        f"run {record.number} was rolled back", "its rows are not in the graph", "migrate anew"
    )


def _no_rows(record: RunRecord) -> UsageError:
    return UsageError(
        f"run {record.number} is an {record.kind}",
        "only rows of a database can be read again one by one",
        f"mend what it read, and {record.kind} again",
    )


def _require_same(record: RunRecord, changed: Sequence[str]) -> None:
    if changed:
        raise UsageError(
            f"the source of run {record.number} has changed in {len(changed)} fields",
            "; ".join(changed[:5]) + ("; …" if len(changed) > 5 else ""),
            "name the same --source",
        )
