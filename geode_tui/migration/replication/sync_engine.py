"""Runs that capture changes: `migrate --strategy zero-downtime`, and `sync` after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, UsageError
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.batches import ChunkedTarget
from geode_tui.migration.engine import AS_IT_WAS, Engine, RunRequest, known_meter, require_there
from geode_tui.migration.events import ZERO_DOWNTIME_PHASES, RunState
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.origin import Origin
from geode_tui.migration.origins import origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin, compiled
from geode_tui.migration.replication.affected import make_change_plan
from geode_tui.migration.replication.captures import Capture
from geode_tui.migration.replication.follow import CYCLE_SECONDS, Follower
from geode_tui.migration.replication.replica import (
    Cycle,
    Replica,
    open_replica,
    replica_over,
    require_capture,
)
from geode_tui.migration.replication.state import Way
from geode_tui.migration.replication.stream import OUTBOX_SCHEMA, PUBLICATION, slot_name
from geode_tui.source.dsn import check_dsn
from geode_tui.source.outbox import Outbox
from geode_tui.source.postgres import Source
from geode_tui.source.requirements import Requirement
from geode_tui.source.slot import Blocker, Slot
from geode_tui.target.model import Target
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Ledger

CAUGHT_UP_SECONDS = 5.0
"""A cycle that is younger than that when it ends leaves little to verify against."""


@dataclass(frozen=True)
class SyncRequest(RunRequest):
    """What `sync` is asked to do: follow for `run`; with `once` until it has caught up.

    `heal` makes a lost capture anew and compares everything once, as it does where the newest
    ledger tells that something differs. `validate` ends with a new ledger, taken under a snapshot
    that the graph was led to: so it holds while others write. `source` replaces the run's DSN.
    """

    run: int = 0
    once: bool = False
    interval: float = CYCLE_SECONDS
    heal: bool = False
    validate: bool = False


def sync_request(
    record: RunRecord,
    journal: Journal,
    *,
    source: str = "",
    password: str | None = None,
    once: bool = False,
    interval: float = CYCLE_SECONDS,
    heal: bool = False,
    validate: bool = False,
) -> SyncRequest:
    """The request to synchronize a run."""
    return SyncRequest(
        source or record.source_dsn,
        record.target,
        journal.mapping(record.number),
        record.graph or None,
        password=password,
        run=record.number,
        once=once or validate,
        interval=interval,
        heal=heal,
        validate=validate,
    )


class ZeroDowntimeEngine(Engine):
    """A run that captures changes from before its snapshot, and catches up before it verifies."""

    phases = ZERO_DOWNTIME_PHASES

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        assert isinstance(origin, PostgresOrigin)
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("assess"):
                stack.push_async_callback(origin.close)
                # Captured changes mend what a TRUNCATE does; locks would hold writers up.
                origin.locking = False
                await origin.open()
                entities = await self._assess(record, origin)
                _require_tables(entities)
            with self._phase("prepare"):
                if resumed and self._journal.chunks.has_written(record.number):
                    require_there(record)
                target = await asyncio.to_thread(record.target_plan.open)
                stack.push_async_callback(asyncio.to_thread, target.close)
                _require_graph(target)
                await self._prepare(record, target, entities)
            async with self._captured(record, origin, entities, target):
                if not self._is_moved(record):
                    await self._move(record, origin, target, entities, resumed)
            await origin.close()
            return await self._catch_up(record, origin, target)

    def _is_moved(self, record: RunRecord) -> bool:
        """Whether changes were applied already: then the backfill is behind us for good."""
        capture = self._journal.captures.of(record.number)
        return capture is not None and capture.moved

    async def _require_whole(
        self, record: RunRecord, target: Target, entities: Sequence[Any]
    ) -> None:
        if not self._is_moved(record):  # later, changes have removed and added as they came
            await super()._require_whole(record, target, entities)

    async def _move(
        self,
        record: RunRecord,
        origin: PostgresOrigin,
        target: Target,
        entities: Sequence[Entity],
        resumed: bool,
    ) -> None:
        with self._phase("backfill"):
            snapshot = await self._take_snapshot(record, origin)
            self._checkpoint("backfill", "backfill")
            try:
                await self._backfill(record, origin, target, entities, snapshot, resumed)
                rewritten = await origin.rewritten()
                self._journal.captures.set_reread(record.number, rewritten)
            finally:
                await self._release(origin)
            await asyncio.to_thread(self._record_version, record, target)
            await asyncio.to_thread(target.flush)
            self._journal.captures.set_moved(record.number)

    @contextlib.asynccontextmanager
    async def _captured(
        self,
        record: RunRecord,
        origin: PostgresOrigin,
        entities: Sequence[Entity],
        target: Target,
    ) -> AsyncIterator[None]:
        """Capture changes, into the spool, while what is inside goes on."""
        with self._phase("capture"):
            replica = await self._set_up(record, origin, entities, target)
        replica.start_pump()
        try:
            yield
        finally:
            await replica.close()

    async def _set_up(
        self,
        record: RunRecord,
        origin: PostgresOrigin,
        entities: Sequence[Entity],
        target: Target,
    ) -> Replica:
        captures, number = self._journal.captures, record.number
        capture = captures.of(number)
        if capture is None or capture.state == "torn down":
            plan = make_change_plan(entities, self._journal.mapping(number), origin.catalog)
            asked, named = (record.options.get(n, "") for n in ("capture", "capture_name"))
            way, name = await choose_way(origin.source, plan.names, asked, named)
            _require_free(self._journal, record, name)
            capture = captures.begin(number, way, name, {"compiled": compiled(entities)})
        replica = await replica_over(
            self._journal, record, origin, entities, target, capture, self._say, self._stop
        )
        try:
            if capture.state == "active" and not await replica.stream.problems():
                return replica
            if capture.state == "active":
                self._tell("warning", "the capture is lost: it is made anew, and all is compared")
                captures.set_compare_all(number, capture.moved)
                await replica.stream.tear_down()
            position = await replica.stream.set_up(self._waiting)
            replica.spool.begin_at(position)
            captures.set_started(number, position)
            self._tell("info", f"changes are captured by {capture.way} {capture.name}")
            return replica
        except BaseException:
            await replica.close()
            raise

    def _waiting(self, blockers: Sequence[Blocker]) -> None:
        who = ", ".join(f"pid {one.pid} {one.application}" for one in blockers[:3])
        self._progress.worker("C", f"the slot waits for open transactions: {who}")

    async def _catch_up(self, record: RunRecord, origin: PostgresOrigin, target: Target) -> Ledger:
        """Follow until little is left, then verify under a snapshot that the graph was led to."""
        found: list[Ledger] = []

        async def each(replica: Replica, cycle: Cycle) -> bool:
            if not _is_near(cycle):
                return False
            self._progress.phase("catch up", "done")
            self._journal.set_phase(record.number, "catch up", "done")
            with self._phase("verify"):
                self._checkpoint("verify", "verify")
                found.append(await replica.validate())
            await asyncio.to_thread(target.flush)
            return True

        with self._phase("catch up"):
            await self._follower(record, origin, target).follow(each)
        return self._judged(found[-1])

    def _judged(self, ledger: Ledger) -> Ledger:
        self.ledger = ledger
        wrong = [entry for entry in ledger.entries if not entry.balanced]
        for entry in wrong:
            self._tell("error", f"{entry.id}: {entry.verdict}", entry.id)
        if not wrong:
            self._tell("info", f"the ledger balances: {len(ledger.entries)} entries")
        return ledger

    def _follower(self, record: RunRecord, origin: PostgresOrigin, target: Target) -> Follower:
        def opened() -> contextlib.AbstractAsyncContextManager[Replica]:
            return open_replica(
                self._journal,
                record.number,
                tell=self._say,
                stop=self._stop,
                origin=origin.again(),
                target=target,
            )

        return Follower(
            self._journal, record.number, opened, self._say, self._stop, doing=self._doing
        )

    def _say(self, level: Any, text: str) -> None:
        self._tell(level, text)

    def _doing(self, text: str) -> None:
        self._progress.worker("S", text)


class SyncEngine(ZeroDowntimeEngine):
    """Synchronization of a run that was moved: the same run is driven on."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self._request: SyncRequest | None = None
        self._state_before: RunState = "done"

    async def start(self, request: RunRequest) -> Ledger:
        """Follow the source. Raises RunStopped when it was stopped, GeodeTuiError."""
        assert isinstance(request, SyncRequest)
        self._request = request
        record = self._journal.run(request.run)
        _require_synchronizable(record)
        _require_not_flipped(require_capture(self._journal, record))
        self._state_before = "differs" if record.state == "differs" else "done"
        dsn = check_dsn(request.source or record.source_dsn)
        origin = origin_of(record, dsn, request.password, self._journal.mapping(record.number))
        return await self._drive(record, origin, resumed=True)

    async def resume(
        self,
        number: int,
        source: str | None = None,
        password: str | None = None,
        *,
        last_wave: str | None = None,
        dead_limit: int | None = AS_IT_WAS,
    ) -> Ledger:
        """Follow the source for a run that was stopped; see `start`."""
        record = self._journal.run(number)
        request = sync_request(record, self._journal, source=source or "", password=password)
        return await self.start(request)

    def _next_step(self, number: int) -> str:
        return f"go on with: geode-tui sync {number}"

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        assert isinstance(origin, PostgresOrigin)
        request = self._request
        assert request is not None
        for entity in self._journal.chunks.entities(record.number):
            self._progress.add(known_meter(entity))
        target = await asyncio.to_thread(record.target_plan.open)
        try:
            if request.heal:
                await self._heal(record, origin.again(), target)
                if request.validate or self._differs(record):
                    self._journal.captures.set_compare_all(record.number, True)
            return await self._sync(record, origin, target, request)
        finally:
            await asyncio.to_thread(target.close)

    async def _heal(self, record: RunRecord, origin: PostgresOrigin, target: Target) -> None:
        """Make a capture that is lost anew; the next cycle compares everything then."""
        try:
            await origin.open()
            entities = await origin.entities()
            replica = await self._set_up(record, origin, entities, target)
            await replica.close()
        finally:
            await origin.close()

    def _differs(self, record: RunRecord) -> bool:
        ledger = self._journal.ledger(record.number)
        return ledger is not None and not ledger.valid

    async def _sync(
        self,
        record: RunRecord,
        origin: PostgresOrigin,
        target: Target,
        request: SyncRequest,
    ) -> Ledger:
        async def each(replica: Replica, cycle: Cycle) -> bool:
            if not (request.once and _is_near(cycle)):
                return False
            if request.validate:
                ledger = self._judged(await replica.validate())
                self._state_before = "done" if ledger.valid else "differs"
            return True

        follower = self._follower(record, origin, target)
        follower.interval = request.interval
        try:
            with self._phase("catch up"):
                try:
                    await follower.follow(each)
                except StopRequested:
                    if request.once:
                        raise
        finally:
            await asyncio.to_thread(target.flush)
        ledger = self._journal.ledger(record.number)
        if ledger is None:
            raise GeodeTuiError(
                f"run {record.number} was never verified",
                "",
                f"verify it with: geode-tui resume {record.number}",
            )
        return ledger

    def _end(self, state: RunState, error: str = "") -> None:
        """Synchronization that ends says nothing new of what was verified before."""
        super()._end(self._state_before if state in ("done", "differs") else state, error)


def _is_near(cycle: Cycle) -> bool:
    """Whether what is left is little: nothing, or what came while a short cycle went on."""
    return cycle.backlog == 0 or time.time() - cycle.at < CAUGHT_UP_SECONDS


async def choose_way(
    source: Source, tables: Sequence[TableName], asked: str, name: str = ""
) -> tuple[Way, str]:
    """How to capture, and under which name: as asked, else by a slot where the source allows one.

    Raises UsageError naming what the source lacks.
    """
    slot = Slot(name or slot_name(source.facts.database_oid), PUBLICATION, tuple(tables))
    session = await source.session()
    try:
        lacks_slot = _missing(await slot.requirements(session)) if asked != "outbox" else []
        if asked != "outbox" and not lacks_slot:
            return "slot", slot.name
        outbox = Outbox(name or OUTBOX_SCHEMA)
        lacks = lacks_slot
        if asked != "slot":
            lacks = _missing(await outbox.requirements(session, tables))
            if not lacks:
                return "outbox", outbox.schema
    finally:
        await session.close()
    raise UsageError(
        f"changes cannot be captured: {lacks[0].what}",
        lacks[0].evidence,
        "see what is needed: geode-tui capture check",
    )


def _missing(found: Sequence[Requirement]) -> list[Requirement]:
    return [one for one in found if one.state == "missing"]


def _require_free(journal: Journal, record: RunRecord, name: str) -> None:
    """Refuse a name by which another run of the same source captures still."""
    for other in journal.runs():
        capture = journal.captures.of(other.number)
        same = other.source_dsn == record.source_dsn and other.number != record.number
        if same and capture and capture.name == name and capture.state in ("setting up", "active"):
            raise UsageError(
                f"run {other.number} captures changes of this source by the name {name}",
                "",
                f"take that back with: geode-tui capture drop {other.number}; or name another"
                " with --capture-name",
            )


def _require_tables(entities: Sequence[Entity]) -> None:
    for entity in entities:
        table = entity.extract.table
        if table.kind not in ("table", "partitioned"):
            raise UsageError(
                f"changes of {table.name} cannot be captured",
                f"it is a {table.kind}: nobody tells when its rows change",
                f"exclude {entity.id} in the mapping, or take another strategy",
            )


def _require_graph(target: Target) -> None:
    if isinstance(target, ChunkedTarget):
        raise UsageError(
            "files cannot follow a source", "they are written once", "name a graph as --target"
        )


def _require_not_flipped(capture: Capture) -> None:
    if capture.state == "cut over":
        raise UsageError(
            f"run {capture.run} was cut over",
            "the graph is what counts now, and the source would undo what was written to it",
            f"fall back first: geode-tui cutover {capture.run} --fall-back",
        )


def _require_synchronizable(record: RunRecord) -> None:
    if record.state == "running":
        raise BusyError(
            f"run {record.number} is running", "", "watch it with: geode-tui status --follow"
        )
    if record.state in ("rolling back", "rolled back"):
        raise UsageError(f"run {record.number} was rolled back", "", "migrate anew")
