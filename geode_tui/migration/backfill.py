"""Move all rows of some entities: workers take chunks, and what breaks is tried again.

Nodes come before the relationships that need them. A worker that loses its session gets another
one; when the snapshot itself is gone, a new one is taken for what remains, and what was copied
under an older one is brought up to date afterwards (`reconcile`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geode_tui.errors import GeodeTuiError, LostError, SnapshotLostError
from geode_tui.migration.batches import BatchResult, DeadLimitReached
from geode_tui.migration.chunks import Chunk, ChunkResult
from geode_tui.migration.control import ROOM_FOR_WORKERS, Knobs
from geode_tui.migration.events import Level
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.origin import Movable, Origin
from geode_tui.migration.pace import Pace
from geode_tui.migration.progress import Meter, Progress
from geode_tui.migration.reconcile import Reconciliation
from geode_tui.migration.retry import Backoff, is_transient, with_retries
from geode_tui.migration.schedule import Schedule
from geode_tui.migration.withdraw import withdraw_unfinished
from geode_tui.migration.worker import LocalWorker, ProcessWorker, Worker
from geode_tui.target.model import RelationshipShape, Target

MOST_WORKERS = 64
PING_SECONDS = 20.0


class StopRequested(Exception):
    """Someone asked the run to stop safely."""


@dataclass
class _Admission:
    """The way of one chunk's batches past the pace, and their count into the meter."""

    pace: Pace
    stop: asyncio.Event
    meter: Meter
    chunk: int
    doing: Callable[[str], None]

    @property
    def batch_rows(self) -> int:
        return self.pace.batch_rows

    async def admit(self, rows: int) -> None:
        reason = self.pace.reason
        if reason:
            self.doing(f"waits: {reason}")
        await self.pace.admit(rows, self.stop)
        if reason:
            self.doing(f"writing {self.meter.id} {self.chunk}")

    def wrote(self, written: BatchResult) -> None:
        moved = written.rows + written.dead + written.orphans
        self.pace.wrote(moved, written.seconds, written.bytes)
        counts = written.rows, written.dead, written.orphans, written.bytes
        self.meter.fly(self.chunk, time.time(), *counts)


@dataclass
class Backfill:
    """The move of a run's rows; `tell` is given what happens, in words."""

    record: RunRecord
    journal: Journal
    origin: Origin
    target: Target
    progress: Progress
    pace: Pace
    stop: asyncio.Event
    tell: Callable[[Level, str, str], None]
    snapshot: int
    backoff: Backoff = field(default_factory=Backoff)
    _schedule: Schedule = field(init=False)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)
    _breaking: BaseException | None = field(default=None, init=False)
    _renew: SnapshotLostError | None = field(default=None, init=False)
    _quiet: bool = field(default=False, init=False)
    _landed: int = field(default=0, init=False)

    async def run(self, entities: Sequence[Any], everything: Sequence[Any]) -> None:
        """Move every row of `entities` that is not moved yet; `everything` is the whole plan.

        Raises StopRequested between two chunks, GeodeTuiError when source or target fail for
        good or an entity has more dead letters than it may have.
        """
        lost_in_vain, landed = 0, self._landed
        while True:
            try:
                await self._cut(entities)
                await self._move(entities, everything)
                if await self._reconcile(everything):
                    await self._checkpoint_if_asked()
                    return
            except SnapshotLostError as lost:
                lost_in_vain = lost_in_vain + 1 if landed == self._landed else 0
                landed = self._landed
                if lost_in_vain > self.backoff.attempts:
                    raise
                await self._take_new_snapshot(lost, entities, everything)

    async def recover(self, lost: LostError, entities: Sequence[Any]) -> None:
        """The snapshot was lost after the move: take a new one and lead the graph to it."""
        await self._take_new_snapshot(lost, entities, entities)
        await self.run(entities, entities)

    # -- cutting --------------------------------------------------------------------------------

    async def _cut(self, entities: Sequence[Any]) -> None:
        """Cut what is not cut yet into chunks, and journal them."""
        number = self.record.number
        planned = {e.id: e.planned for e in self.journal.chunks.entities(number)}
        for entity in entities:
            meter = self.progress.meter(entity.id)
            if planned[entity.id] is None:
                self.progress.worker("C", f"cutting {entity.id}")
                ranges = await self._again(functools.partial(self.origin.cut, entity))
                self.journal.chunks.plan(number, entity.id, ranges)
                planned[entity.id] = len(ranges)
            meter.planned = planned[entity.id]
            if self.stop.is_set():
                raise StopRequested
        self.progress.worker("C", "")

    async def _again[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Work on the snapshot's session; when that is gone, so is the snapshot."""
        try:
            return await work()
        except GeodeTuiError as error:
            if not is_transient(error) or await self.origin.alive():
                raise
            raise SnapshotLostError(error.what, error.why, error.next_step) from error

    async def retried[T](self, work: Callable[[], Awaitable[T]], told: Callable[[str], None]) -> T:
        """Work with a session of its own, tried again when that is lost.

        Raises SnapshotLostError when the snapshot is gone too, StopRequested, GeodeTuiError.
        """

        async def attempt() -> T:
            try:
                return await work()
            except GeodeTuiError as error:
                await self._judge(error)
                raise

        try:
            return await with_retries(attempt, self.backoff, self.stop, told)
        except GeodeTuiError as error:
            if self.stop.is_set() and is_transient(error):
                raise StopRequested from error
            raise

    # -- moving ---------------------------------------------------------------------------------

    async def _move(self, entities: Sequence[Any], everything: Sequence[Any]) -> None:
        number = self.record.number
        chunks = {entity.id: self.journal.chunks.open(number, entity.id) for entity in entities}
        alone = [e.id for e in entities if self.target.writers_collide and e.needs]
        self._schedule = Schedule(entities, chunks, (), alone)
        self._breaking = self._renew = None
        for entity in entities:
            if not chunks[entity.id]:
                self._finish(entity)
        self._explain()
        by_id = {entity.id: entity for entity in entities}
        workers = [self._worker(everything) for _ in range(self._most_workers())]
        ping = asyncio.create_task(self._keep_alive())
        try:
            # No worker is cancelled: a batch in flight ends before the target is closed.
            work = [self._work(n, worker, by_id) for n, worker in enumerate(workers)]
            ended = await asyncio.shield(asyncio.gather(*work, return_exceptions=True))
        finally:
            ping.cancel()
            await asyncio.gather(ping, return_exceptions=True)
            await asyncio.gather(*(worker.close() for worker in workers), return_exceptions=True)
        self._raise(ended)

    def _most_workers(self) -> int:
        """Those that may ever work in this move: one that has no turn has no session either."""
        return min(MOST_WORKERS, max(self.record.parallel, self.pace.parallel, ROOM_FOR_WORKERS))

    def _raise(self, ended: Sequence[BaseException | None]) -> None:
        """The first reason why the move ended before its end."""
        errors = [error for error in ended if error is not None]
        if self._breaking is not None:
            raise self._breaking
        if errors:
            raise errors[0]
        if self._renew is not None:
            raise self._renew
        if self.stop.is_set():
            self._stopped()
            raise StopRequested
        failed = [
            e for e in self.journal.chunks.entities(self.record.number) if e.state == "failed"
        ]
        unfinished = set(self._schedule.unfinished)
        failed = [entity for entity in failed if entity.id in unfinished]
        if failed:
            raise GeodeTuiError(
                f"{failed[0].id} stopped: {failed[0].reason}",
                f"{len(unfinished)} of the entities are not complete; all others are"
                if len(unfinished) > 1
                else "all other entities are complete",
                f"geode-tui deadletters list {self.record.number} shows them; mend the rows, or"
                f" allow more: geode-tui resume {self.record.number} --dead-limit N",
            )

    def _stopped(self) -> None:
        for entity in self._schedule.unfinished:
            meter = self.progress.meter(entity)
            if meter.state == "writing":
                meter.state, meter.reason = "stopped", "stopped on request"
                self.journal.chunks.set_entity(self.record.number, entity, "stopped", meter.reason)

    def _worker(self, everything: Sequence[Any]) -> Worker:
        record, plan = self.record, self.origin.feed_plan()
        if self.target.many_processes:
            target = replace(record.target_plan, probed=self.target.probed)
            return ProcessWorker(plan, everything, target, record.uid)
        return LocalWorker(plan, self.target, record.uid)

    async def _work(self, place: int, worker: Worker, entities: dict[str, Any]) -> None:
        name, last = chr(65 + place % 26) + (str(place // 26 + 1) if place > 25 else ""), ""
        try:
            while (chunk := await self._next(name, place, last)) is not None:
                last = chunk.entity
                await self._one(name, worker, entities[chunk.entity], chunk)
        except SnapshotLostError as lost:
            self._renew = lost
        except BaseException as error:
            self._breaking = self._breaking or error
            self.stop.set()
        finally:
            self.progress.worker(name, "")
            async with self._changed:
                self._changed.notify_all()

    async def _next(self, name: str, place: int, last: str) -> Chunk | None:
        """The next chunk for a worker; None when there is nothing more to take."""
        while not self._over:
            if place >= self.pace.parallel:
                self.progress.worker(name, "")  # not among those that may work now
            elif self.pace.paused:
                self.progress.worker(name, f"waits: {self.pace.reason}")
            has_turn = await self.pace.turn(place, self.stop)
            if self._over:
                return None
            await self._checkpoint_if_asked()
            if not has_turn:
                if self._schedule.over:
                    return None
                continue
            chunk = None if self._quiet else self._schedule.take(last)
            if chunk is not None:
                self._explain()
                return chunk
            if self._schedule.over and not self._quiet:
                return None
            self.progress.worker(name, self._idle_reason())
            async with self._changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.5)
        return None

    @property
    def _over(self) -> bool:
        return self.stop.is_set() or self._renew is not None or self._breaking is not None

    def _idle_reason(self) -> str:
        if self._quiet:
            return "waits for a checkpoint"
        waits = self._schedule.waits()
        return next((f"{reason} to write {entity}" for entity, reason in waits.items()), "idle")

    async def _one(self, name: str, worker: Worker, entity: Movable, chunk: Chunk) -> None:
        """Move one chunk, as often as it takes."""
        meter = self.progress.meter(entity.id)
        attempts = 0

        async def attempt() -> ChunkResult:
            nonlocal attempts
            attempts += 1
            meter.begin(time.time())
            meter.retries += chunk.repeated or attempts > 1
            again = replace(chunk, repeated=chunk.repeated or attempts > 1)
            step = self.journal.chunks.start(self.record.number, again, self.snapshot)
            started = replace(again, step=step)
            doing = functools.partial(self.progress.worker, name)
            admission = _Admission(self.pace, self.stop, meter, chunk.number, doing)
            left = self._dead_left(meter)
            try:
                return await worker.move(entity, started, admission, left, doing)
            except GeodeTuiError as error:
                meter.crash(chunk.number)
                await self._judge(error)
                raise

        def wait(text: str) -> None:
            self.progress.worker(name, f"{entity.id} {chunk.number}: {text}")
            self.tell("warning", f"{entity.id} chunk {chunk.number}: {text}", entity.id)

        try:
            result = await with_retries(attempt, self.backoff, self.stop, wait)
        except DeadLimitReached as reached:
            self._give_up(entity, chunk, reached)
            return
        except GeodeTuiError as error:
            self._schedule.give_back(chunk)
            if not isinstance(error, SnapshotLostError) and not self.stop.is_set():
                meter.state, meter.reason = "failed", error.what
                self.journal.chunks.set_entity(self.record.number, entity.id, "failed", error.what)
            if self.stop.is_set() and is_transient(error):
                return  # somebody stopped the run while it waited to try again
            raise
        self.journal.chunks.finish(self.record.number, chunk, result)
        meter.land(chunk.number, result.rows, result.dead, result.orphans, result.bytes)
        self._landed += 1
        if self._schedule.finished(chunk):
            self._finish(entity)
        self._explain()
        async with self._changed:
            self._changed.notify_all()

    async def _judge(self, error: GeodeTuiError) -> None:
        """A broken session: is only the worker's gone, or the snapshot with it?"""
        if is_transient(error) and not await self.origin.alive():
            raise SnapshotLostError(error.what, error.why, error.next_step) from error

    def _dead_left(self, meter: Meter) -> int | None:
        limit = self.record.dead_limit
        return None if limit is None else max(0, limit - meter.dead - meter.orphans)

    def _give_up(self, entity: Movable, chunk: Chunk, reached: DeadLimitReached) -> None:
        """Too many dead letters: this entity stops, the others go on."""
        number, limit = self.record.number, self.record.dead_limit
        meter = self.progress.meter(entity.id)
        meter.crash(chunk.number)
        reason = f"more than {limit:,} dead letters"
        meter.state, meter.reason = "failed", reason
        self.journal.chunks.interrupt(number, chunk, reached.letters)
        self.journal.chunks.set_entity(number, entity.id, "failed", reason)
        self._schedule.fail(entity.id)
        self._schedule.give_back(chunk)
        self.tell("error", f"{entity.id} stopped: {reason}; the other entities go on", entity.id)
        self._explain()

    def _finish(self, entity: Movable) -> None:
        meter = self.progress.meter(entity.id)
        if meter.state == "done":
            return
        meter.finish(time.time())
        self.journal.chunks.set_entity(self.record.number, entity.id, "done")
        left_out = "".join(
            f", {count:,} {noun}"
            for count, noun in ((meter.dead, "dead letters"), (meter.orphans, "orphans"))
            if count
        )
        level: Level = "warning" if left_out else "info"
        self.tell(level, f"{entity.id} done: {meter.rows:,} rows{left_out}", entity.id)

    def _explain(self) -> None:
        for entity, reason in self._schedule.waits().items():
            meter = self.progress.meter(entity)
            if meter.state not in ("done", "failed"):
                meter.state, meter.reason = "waiting", reason

    # -- checkpoints on request -----------------------------------------------------------------

    def ask(self, knobs: Knobs) -> None:
        """Take what people ask of the run; called when the journal's knobs have changed."""
        self.pace.set(knobs)
        if knobs.stop:
            self.stop.set()
        self._wanted = knobs.checkpoint

    _wanted: str = field(default="", init=False)

    async def _checkpoint_if_asked(self) -> None:
        """Let the chunks in flight end, then take the checkpoint that somebody asked for.

        Not while a chunk is half brought up to a snapshot: then it is taken after that.
        """
        if not self._wanted or self.journal.chunks.unsettled(self.record.number):
            return
        self._quiet = self.pace.draining = True
        if self._schedule.flying:
            return
        wanted, self._wanted = self._wanted, ""
        number = self.record.number
        await asyncio.to_thread(withdraw_unfinished, self.journal, self.record, self.target)
        taken = self.journal.checkpoints.take(
            number, wanted, "backfill", self.progress.wave, automatic=False
        )
        self.journal.control.answered(number, checkpoint="")
        self.tell("info", f"checkpoint {wanted} taken at step {taken.step}", "")
        self._quiet = self.pace.draining = False

    # -- the snapshot ---------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """A quiet session may be cut by a firewall; the snapshot is worth a word now and then."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            if not await self.origin.alive():
                self._renew = SnapshotLostError("the session that holds the snapshot is gone")
                return

    async def _take_new_snapshot(
        self, lost: LostError, entities: Sequence[Any], everything: Sequence[Any]
    ) -> None:
        """The snapshot is gone with its session: take a new one for what remains."""
        self.tell("warning", f"the snapshot is lost: {lost.what}", "")
        if self.stop.is_set():
            raise StopRequested from lost
        self.progress.snapshot_taken(False)
        await self.origin.end()

        def wait(text: str) -> None:
            self.progress.worker("S", text)
            self.tell("warning", text, "")

        fence = await with_retries(self.origin.begin, self.backoff, self.stop, wait)
        self.progress.worker("S", "")
        self.progress.snapshot_taken(True)
        self.snapshot = self.journal.set_snapshot(self.record.number, fence)
        self.tell("warning", f"snapshot {fence}: {NEW_SNAPSHOT}", "")
        await self.restart_unkeyed(entities, everything)

    async def restart_unkeyed(self, entities: Sequence[Any], everything: Sequence[Any]) -> None:
        """What another snapshot can only read from its beginning is removed and begun again."""
        number = self.record.number
        if self.record.kind in ("migrate", "export"):
            # A row that an unfinished chunk has written may have left its range since.
            await asyncio.to_thread(withdraw_unfinished, self.journal, self.record, self.target)
        some = [entity for entity in entities if entity.restarts]
        known = {e.id: e for e in self.journal.chunks.entities(number)}
        if all(known[entity.id].state == "done" for entity in some):
            return
        await self.restart(some, everything)

    async def restart(self, some: Sequence[Any], everything: Sequence[Any]) -> None:
        """Remove what these entities wrote, and the relationships that hang on their nodes."""
        number = self.record.number
        for entity in with_dependents(some, everything):
            if not any(chunk.repeated for chunk in self._all_chunks(entity.id)):
                self.journal.chunks.forget(number, entity.id)
                continue
            self.tell("warning", f"{entity.id} is read again from its start", entity.id)
            self.journal.audit.add(number, "read again from its start", entity.id)
            self._void_checkpoints(entity.id)
            shape = entity.shape
            if isinstance(shape, RelationshipShape):
                await asyncio.to_thread(self.target.delete_relationships, shape, self.record.uid)
            else:
                await asyncio.to_thread(self.target.delete_nodes, shape, self.record.uid)
            self.journal.chunks.forget(number, entity.id)
            meter = self.progress.meter(entity.id)
            fresh = Meter(entity.id, entity.kind, entity.estimate, wave=meter.wave)
            self.progress.add(fresh)

    def _void_checkpoints(self, entity: str) -> None:
        """No rollback leads back to what is about to be removed for good."""
        steps = [s for c in self._all_chunks(entity) if c.repeated for s in c.steps if s]
        why = f"{entity} was read again from its start since"
        self.journal.checkpoints.void(self.record.number, min(steps), why)

    def _all_chunks(self, entity: str) -> Iterator[Chunk]:
        yield from self.journal.chunks.open(self.record.number, entity)
        yield from self.journal.chunks.done(self.record.number, entity)

    async def _reconcile(self, everything: Sequence[Any]) -> bool:
        """Bring what older snapshots gave up to date; False when something is to be moved again.

        Also what later waves have moved already: it may hang on nodes that are gone.
        """
        reconciliation = Reconciliation(self)
        again = await self._again(lambda: reconciliation.run(everything))
        if not again:
            return True
        for entity in again:  # what is removed now must be read again, whatever comes between
            self.journal.chunks.doubt(self.record.number, entity.id)
        await self.restart(again, everything)
        return False


def with_dependents(some: Sequence[Any], everything: Sequence[Any]) -> list[Any]:
    """Those entities and the relationships that end at their nodes, relationships first."""
    ids = {entity.id for entity in some}
    found = {entity.id: entity for entity in everything if ids.intersection(entity.needs)}
    found |= {entity.id: entity for entity in some}
    return sorted(found.values(), key=lambda entity: entity.kind == "node")


NEW_SNAPSHOT = (
    "what remains is read from a new snapshot; what was copied before is compared with it and"
    " brought up to date before the ledger"
)
