"""The engine: one run from assessment to ledger, journaled so that it can die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from geode_tui.errors import GeodeTuiError, RunStopped, UsageError
from geode_tui.mapping.assess import Finding, assess
from geode_tui.mapping.check import check
from geode_tui.mapping.file import MappingFile
from geode_tui.mapping.model import ROW, Mapping
from geode_tui.migration.backfill import BATCH_ROWS, Backfill, StopRequested
from geode_tui.migration.events import (
    PHASES,
    Event,
    Level,
    Phase,
    PhaseState,
    RunSnapshot,
    RunState,
)
from geode_tui.migration.journal import Journal, NewRun, RunRecord
from geode_tui.migration.plan import Plan, make_plan
from geode_tui.migration.progress import Meter, Progress
from geode_tui.source.dsn import check_dsn, short_name, without_password
from geode_tui.source.postgres import Reader, SnapshotHolder, Source
from geode_tui.target import open_target, target_exists
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.verify import LeftOut, take_ledger

PING_SECONDS = 30.0


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do. `source` may hold a password: it stays in memory."""

    source: str
    target: str
    mapping: Mapping
    graph: str | None = None
    schemas: tuple[str, ...] = ()
    parallel: int = 2
    batch_rows: int | None = None
    label: str = ""
    password: str | None = field(default=None, repr=False)


class Engine:
    """One run. Drive it with `run()`; look at it with `snapshot()` and `events()`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._progress = Progress(PHASES)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._record: RunRecord | None = None
        self.ledger: Ledger | None = None

    @property
    def run_number(self) -> int | None:
        """The run's number in the journal, None before it has one."""
        return self._record.number if self._record else None

    def snapshot(self) -> RunSnapshot:
        """All counters; cheap, from any thread."""
        return self._progress.snapshot()

    def events(self) -> list[Event]:
        """The happenings since the last call, from any thread."""
        return self._progress.events()

    def stop(self) -> None:
        """Ask the run to stop after the chunks in flight; from any thread."""
        loop = self._loop
        if loop is None:
            self._stop.set()
        else:
            with contextlib.suppress(RuntimeError):  # the run has just ended
                loop.call_soon_threadsafe(self._stop.set)

    async def start(self, request: RunRequest) -> Ledger:
        """Run from the beginning. Raises RunStopped, GeodeTuiError."""
        dsn = check_dsn(request.source)
        target, graph = request.target, request.graph or ""
        unfinished = self._journal.unfinished(target, graph)
        if unfinished is not None and target_exists(target):
            raise UsageError(
                f"run {unfinished.number} on {target} stopped before its end",
                unfinished.error.split("\n")[0],
                f"go on with: geode-tui resume {unfinished.number}; or name another target",
            )
        new = NewRun(
            without_password(dsn),
            short_name(dsn),
            target,
            graph,
            request.schemas,
            request.label,
            request.mapping,
            request.parallel,
            request.batch_rows,
        )
        record = self._journal.begin(new)
        return await self._drive(record, dsn, request.password, resumed=False)

    async def resume(
        self, number: int, source: str | None = None, password: str | None = None
    ) -> Ledger:
        """Go on with a run that stopped; `source` replaces its DSN (for a password).

        Raises UsageError when the run is done or runs elsewhere, else as `start`.
        """
        record = self._journal.run(number)
        if record.state == "running":
            raise UsageError(f"run {number} is running", "", "geode-tui status --follow")
        if not record.resumable:
            raise UsageError(
                f"run {number} is {record.state}: there is nothing to resume",
                "",
                "geode-tui validate compares source and graph again",
            )
        dsn = check_dsn(source) if source else record.source_dsn
        return await self._drive(record, dsn, password, resumed=True)

    async def _drive(
        self, record: RunRecord, dsn: str, password: str | None, resumed: bool
    ) -> Ledger:
        self._record = record
        self._loop = asyncio.get_running_loop()
        progress = self._progress
        progress.run, progress.state = record.number, "running"
        progress.source, progress.target = record.source, _place(record)
        with self._journal.hold(record.number), _few_collections():
            self._journal.set_state(record.number, "running")
            self._tell("info", f"run {record.number} {'goes on' if resumed else 'begins'}")
            try:
                ledger = await self._phases(record, dsn, password, resumed)
            except StopRequested:
                self._end("stopped", "stopped on request")
                raise RunStopped(
                    f"run {record.number} stopped safely",
                    "",
                    f"go on with: geode-tui resume {record.number}",
                ) from None
            except asyncio.CancelledError:
                self._end("stopped", "interrupted")
                raise
            except GeodeTuiError as error:
                with contextlib.suppress(GeodeTuiError):
                    self._tell("error", error.what)
                self._end("failed", str(error))
                raise
            except Exception as error:
                self._end("failed", f"defect: {type(error).__name__}: {error}")
                raise
            self._end("done" if ledger.balanced else "differs")
            return ledger

    async def _phases(
        self, record: RunRecord, dsn: str, password: str | None, resumed: bool
    ) -> Ledger:
        mapping = self._journal.mapping(record.number)
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("assess"):
                source = await Source.connect(dsn, password=password)
                stack.push_async_callback(source.close)
                self._same_source(record, source)
                plan = await self._assess(record, source, mapping)
            with self._phase("prepare"):
                target = await asyncio.to_thread(open_target, record.target, record.graph or None)
                stack.push_async_callback(asyncio.to_thread, target.close)
                await self._prepare(record, target, plan)
                holder = await self._take_snapshot(record, source, plan)
                stack.push_async_callback(self._release, holder)
                if resumed:
                    await self._restart_keyless(record, target, plan)
            with self._phase("backfill"):
                await self._backfill(record, source, target, plan, holder)
                await asyncio.to_thread(target.flush)
            with self._phase("verify"):
                return await self._verify(record, target, plan, holder)

    async def _assess(self, record: RunRecord, source: Source, mapping: Mapping) -> Plan:
        catalog = await source.catalog(record.schemas)
        catalog = await source.described(catalog, mapping.queries)
        check(MappingFile(mapping), catalog)
        self._judge(record, assess(mapping, catalog))
        plan = make_plan(mapping, catalog)
        if not plan.entities:
            raise UsageError("the mapping moves nothing", "every rule is excluded")
        self._show(record, plan)
        return plan

    async def _prepare(self, record: RunRecord, target: Target, plan: Plan) -> None:
        if not self._journal.has_written(record.number):
            await asyncio.to_thread(_require_empty, target, plan)
        else:
            done = {e.id: e.rows for e in self._journal.entities(record.number)}
            await asyncio.to_thread(_require_whole, target, plan, done)
        shapes = [e.shape for e in plan.nodes if isinstance(e.shape, NodeShape)]
        for statement in await asyncio.to_thread(target.prepare, shapes):
            self._tell("info", statement)

    async def _take_snapshot(self, record: RunRecord, source: Source, plan: Plan) -> SnapshotHolder:
        tables = {entity.rule.table for entity in plan.entities}
        holder = await source.snapshot(sorted(tables))
        self._journal.set_source(record.number, source.identity, holder.fence)
        self._progress.snapshot_taken(True)
        self._tell("info", f"snapshot {holder.fence} of {len(tables)} tables")
        if self._journal.has_written(record.number):
            self._tell("warning", _NEW_SNAPSHOT)
        return holder

    async def _release(self, holder: SnapshotHolder) -> None:
        self._progress.snapshot_taken(False)
        await holder.close()

    async def _backfill(
        self,
        record: RunRecord,
        source: Source,
        target: Target,
        plan: Plan,
        holder: SnapshotHolder,
    ) -> None:
        """All nodes, then all relationships: self and circular references need no order."""
        readers: list[Reader] = []
        ping = asyncio.create_task(self._keep_alive(holder))
        try:
            for _ in range(max(1, record.parallel)):
                readers.append(await source.reader(holder.snapshot_id))
            self._explain(plan.relationships, "waits for all nodes")
            for entities in (plan.nodes, plan.relationships):
                await self._move(record, target, entities, readers)
        finally:
            ping.cancel()
            await asyncio.gather(ping, return_exceptions=True)
            for reader in readers:
                await reader.close()

    async def _keep_alive(self, holder: SnapshotHolder) -> None:
        """A quiet session may be cut by a firewall; the snapshot is worth a word now and then."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            try:
                await holder.fetch("SELECT 1")
            except GeodeTuiError as error:
                self._tell("warning", f"the snapshot's session is lost: {error.what}")
                return

    async def _move(
        self,
        record: RunRecord,
        target: Target,
        entities: Sequence[Entity],
        readers: Sequence[Reader],
    ) -> None:
        """Give the entities to the workers, the biggest first; one's error stops them all."""
        left = [e for e in entities if self._progress.meter(e.id).state != "done"]
        self._explain(left, "waits for a worker")
        queue = iter(left)

        async def work(reader: Reader, name: str) -> None:
            try:
                for entity in queue:
                    if self._stop.is_set():
                        raise StopRequested
                    await self._move_one(record, target, entity, reader, name)
            except BaseException:
                self._stop.set()
                raise
            finally:
                self._progress.worker(name, "")

        work_of_all = [work(reader, chr(65 + n)) for n, reader in enumerate(readers)]
        # No worker is cancelled: a batch in flight ends before the target is closed.
        ended = await asyncio.shield(asyncio.gather(*work_of_all, return_exceptions=True))
        errors = [error for error in ended if isinstance(error, BaseException)]
        errors.sort(key=lambda error: isinstance(error, StopRequested))
        if errors:
            raise errors[0]

    async def _move_one(
        self, record: RunRecord, target: Target, entity: Entity, reader: Reader, worker: str
    ) -> None:
        meter = self._progress.meter(entity.id)
        meter.reason = ""
        work = Backfill(
            entity,
            record.number,
            record.uid,
            self._journal,
            target,
            self._progress,
            self._stop,
            record.batch_rows or BATCH_ROWS,
            worker,
        )
        try:
            mend = "change the rule and begin anew; or mend the row, then: geode-tui resume"
            with entity.named_in_errors(mend):
                await work.run_with(reader)
        except StopRequested:
            meter.state, meter.reason = "stopped", "stopped on request"
            self._journal.set_entity(record.number, entity.id, "stopped", meter.reason)
            raise
        except GeodeTuiError as error:
            meter.state, meter.reason = "failed", error.what
            self._journal.set_entity(record.number, entity.id, "failed", error.what)
            raise
        meter.estimate, meter.exact = meter.rows + meter.dead + meter.orphans, True
        left_out = "".join(
            f", {count:,} {noun}"
            for count, noun in ((meter.dead, "dead letters"), (meter.orphans, "orphans"))
            if count
        )
        level: Level = "warning" if left_out else "info"
        self._tell(level, f"{entity.id} done: {meter.rows:,} rows{left_out}", entity.id)

    async def _verify(
        self, record: RunRecord, target: Target, plan: Plan, holder: SnapshotHolder
    ) -> Ledger:
        left_out = {e.id: LeftOut(e.dead, e.orphans) for e in self._journal.entities(record.number)}

        def show(entity: str) -> None:
            self._progress.worker("V", f"comparing {entity}")
            if self._stop.is_set():
                raise StopRequested

        ledger = await take_ledger(
            holder, target, plan.entities, left_out, holder.fence, progress=show
        )
        self._progress.worker("V", "")
        self.ledger = ledger
        self._journal.set_ledger(record.number, ledger)
        wrong = [entry for entry in ledger.entries if not entry.balanced]
        for entry in wrong:
            self._tell("error", f"{entry.id}: {entry.verdict}", entry.id)
        if not wrong:
            self._tell("info", f"the ledger balances: {len(ledger.entries)} entries")
        return ledger

    # -- the steps between --------------------------------------------------------------------

    def _same_source(self, record: RunRecord, source: Source) -> None:
        if record.source_identity and record.source_identity != source.identity:
            raise UsageError(
                f"run {record.number} read another database",
                f"it read {record.source_identity}, this is {source.identity}",
                "resume with the same --source, or begin a new run",
            )

    def _judge(self, record: RunRecord, findings: Sequence[Finding]) -> None:
        self._journal.set_findings(record.number, findings)
        blocking = [f for f in findings if f.blocks]
        for finding in findings:
            if finding.severity != "information" and not finding.waived:
                level: Level = "error" if finding.blocks else "warning"
                self._tell(level, f"{finding.subject}: {finding.message}")
        if blocking:
            first = blocking[0]
            more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
            raise GeodeTuiError(f"{first.subject}: {first.message}{more}", "", first.next_step)

    def _show(self, record: RunRecord, plan: Plan) -> None:
        described = [(e.id, e.kind, e.estimate) for e in plan.entities]
        self._journal.add_entities(record.number, described)
        known = {e.id: e for e in self._journal.entities(record.number)}
        for entity in plan.entities:
            old = known[entity.id]
            done = old.state == "done"
            self._progress.add(
                Meter(
                    entity.id,
                    entity.kind,
                    old.rows + old.dead + old.orphans if done else entity.estimate,
                    done,
                    "done" if done else "waiting",
                    "" if done else "waits for prepare",
                    old.rows,
                    old.dead,
                    old.orphans,
                    old.chunks,
                )
            )

    def _explain(self, entities: Sequence[Entity], reason: str) -> None:
        for entity in entities:
            meter = self._progress.meter(entity.id)
            if meter.state == "waiting":
                meter.reason = reason

    async def _restart_keyless(self, record: RunRecord, target: Target, plan: Plan) -> None:
        """Rows without a key have other places in a new snapshot: read their tables again."""
        keyless = [e for e in plan.nodes if not e.extract.keyed]
        dependent = [e for e in plan.relationships if _by_place(e)]
        if all(self._progress.meter(e.id).state == "done" for e in (*keyless, *dependent)):
            return
        for entity in (*dependent, *keyless):
            if self._journal.last_chunks(record.number, entity.id) == (None, None):
                continue
            self._tell("warning", f"{entity.id} has no key: it is read again from its start")
            shape = entity.shape
            if isinstance(shape, RelationshipShape):
                await asyncio.to_thread(target.delete_relationships, shape, record.uid)
            else:
                await asyncio.to_thread(target.delete_nodes, shape, record.uid)
            self._journal.forget_entity(record.number, entity.id)
            self._progress.add(Meter(entity.id, entity.kind, entity.estimate))

    @contextlib.contextmanager
    def _phase(self, name: Phase) -> Iterator[None]:
        number = self._number
        self._progress.phase(name, "running")
        self._journal.set_phase(number, name, "running")
        try:
            yield
        except BaseException as error:
            asked = isinstance(error, StopRequested | asyncio.CancelledError)
            reason = error.what if isinstance(error, GeodeTuiError) else type(error).__name__
            state: PhaseState = "stopped" if asked else "failed"
            reason = "stopped on request" if asked else reason
            self._progress.phase(name, state, reason)
            with contextlib.suppress(GeodeTuiError):
                self._journal.set_phase(number, name, state, reason)
            raise
        self._progress.phase(name, "done")
        self._journal.set_phase(number, name, "done")

    @property
    def _number(self) -> int:
        assert self._record is not None
        return self._record.number

    def _tell(self, level: Level, message: str, entity: str = "") -> None:
        event = self._progress.happen(level, message, entity)
        self._journal.add_event(self._number, event)

    def _end(self, state: RunState, error: str = "") -> None:
        with contextlib.suppress(GeodeTuiError):  # a full disk must not hide the first reason
            self._journal.set_state(self._number, state, error)
        self._progress.end(state, error)


_NEW_SNAPSHOT = (
    "resumed on a new snapshot: rows changed since the first one in parts already copied are not"
    " copied again; the ledger tells"
)


def _place(record: RunRecord) -> str:
    return f"{record.target}#{record.graph}" if record.graph else record.target


def _by_place(entity: Entity) -> bool:
    """Whether a relationship, or one of its ends, is known by a row's place only."""
    shape = entity.shape
    assert isinstance(shape, RelationshipShape)
    keys = (shape.key, shape.start.key, shape.end.key)
    return not entity.extract.keyed or any(key == (ROW,) for key in keys)


def _require_empty(target: Target, plan: Plan) -> None:
    """Refuse a graph that already holds nodes of our labels: nobody could tell them apart."""
    for entity in plan.nodes:
        assert isinstance(entity.shape, NodeShape)
        there = target.count_nodes(entity.shape)
        if there:
            raise UsageError(
                f"{target.place} already holds {there:,} {entity.shape.label} nodes",
                "a run needs a graph without nodes of the mapping's labels",
                "name another --target or --graph, or remove the file",
            )


def _require_whole(target: Target, plan: Plan, done: dict[str, int]) -> None:
    """Refuse to go on with a graph that is not the one we wrote: it would stay in pieces."""
    for entity in plan.nodes:
        assert isinstance(entity.shape, NodeShape)
        there, written = target.count_nodes(entity.shape), done.get(entity.id, 0)
        if there < written:
            raise UsageError(
                f"{target.place} holds {there:,} {entity.shape.label} nodes, the run wrote"
                f" {written:,}",
                "the graph was removed or changed since the run stopped",
                "put the graph back, or begin a new run on another target",
            )


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Let the cyclic collector run rarely: rows hold no cycles, and it doubles a fetch's time."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
