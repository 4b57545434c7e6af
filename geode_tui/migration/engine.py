"""The engine: one run from assessment to ledger, journaled so that it can die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geode_tui.errors import GeodeTuiError, LostError, RunStopped, UsageError
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.mapping.model import Wave
from geode_tui.mapping.waves import require_wave, waves_of
from geode_tui.migration.backfill import NEW_SNAPSHOT, Backfill, StopRequested
from geode_tui.migration.batches import ChunkedTarget
from geode_tui.migration.chunks import EntityRecord
from geode_tui.migration.control import Knobs
from geode_tui.migration.events import (
    PHASES,
    Event,
    Level,
    Phase,
    PhaseState,
    RunSnapshot,
    RunState,
)
from geode_tui.migration.governor import Governor
from geode_tui.migration.journal import (
    ANEW,
    RUN_FORMAT,
    Journal,
    NewRun,
    RunKind,
    RunRecord,
    Strategy,
)
from geode_tui.migration.left_out import left_out_by_run
from geode_tui.migration.origin import Origin
from geode_tui.migration.origins import NewOrigin, changed_fields, origin_of
from geode_tui.migration.pace import Pace
from geode_tui.migration.progress import Meter, Progress
from geode_tui.migration.versions import Versions
from geode_tui.source.dsn import check_dsn, short_name, without_password
from geode_tui.target import target_exists
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.before import count_before
from geode_tui.validation.ledger import Ledger

DEAD_LIMIT = 10_000
"""Dead letters after which an entity stops, if nobody says otherwise."""
AS_IT_WAS = -1
"""The dead limit of a run that is resumed stays what it was."""
POLL_SECONDS = 0.5
TELL_SECONDS = 1.0
MARK_SECONDS = 5.0


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do. `source` may hold a password: it stays in memory.

    `last_wave` is the wave after which an incremental run stops; `dead_limit` the dead letters
    after which an entity stops (0: none are allowed, None: no limit). `into_existing` allows a
    graph that already holds nodes with labels of the mapping. A run of kind `export` writes
    files of `format` and `compression`; one of kind `import` reads the files at `source`. A
    zero-downtime run captures changes by `capture` (auto, slot or outbox), named `capture_name`.
    """

    source: str
    target: str
    mapping: GraphMapping
    graph: str | None = None
    schemas: tuple[str, ...] = ()
    parallel: int = 2
    batch_rows: int | None = None
    label: str = ""
    password: str | None = field(default=None, repr=False)
    strategy: Strategy = "big-bang"
    last_wave: str = ""
    dead_limit: int | None = DEAD_LIMIT
    into_existing: bool = False
    kind: RunKind = "migrate"
    format: str = ""
    compression: str = ""
    capture: str = "auto"
    capture_name: str = ""


class Engine:
    """One run. Drive it with `run()`; look at it with `snapshot()` and `events()`."""

    phases = PHASES

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._progress = Progress(self.phases)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._record: RunRecord | None = None
        self._work: Backfill | None = None
        self._governor: Governor | None = None
        self._knobs: Knobs | None = None
        self._waves: list[Wave] = []
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
        files = request.kind == "import"
        dsn = request.source if files else check_dsn(request.source)
        told = (dsn, Path(dsn).name) if files else (without_password(dsn), short_name(dsn))
        return await self.begin(
            new_run(request, *told, _options(request)),
            lambda record: origin_of(record, dsn, request.password, request.mapping),
        )

    async def begin(self, new: NewRun, origin: NewOrigin) -> Ledger:
        """Begin a run of any kind; `origin` makes its side to read from."""
        if new.last_wave:
            _require_wave(new.strategy, new.mapping, new.last_wave)
        if self._journal.locks.held(self._journal.target_lock(new.target, new.graph)):
            # Before it has a number: the newest run is the one that `status` and `resume` mean.
            raise UsageError(
                f"another run writes to {new.target}" + (f"#{new.graph}" if new.graph else ""),
                "",
                "watch it with: geode-tui status --follow",
            )
        unfinished = self._journal.unfinished(new.target, new.graph)
        if unfinished is not None and unfinished.state == "rolling back":
            raise UsageError(
                f"run {unfinished.number} on {new.target} is being rolled back",
                "",
                f"end that first: geode-tui rollback {unfinished.number}",
            )
        if unfinished is not None and target_exists(new.target):
            raise UsageError(
                f"run {unfinished.number} on {new.target} stopped before its end",
                unfinished.error.split("\n")[0],
                f"go on with: geode-tui resume {unfinished.number}; take it back with: geode-tui"
                f" rollback {unfinished.number}; or name another target",
            )
        record = self._journal.begin(new)
        return await self._drive(record, origin(record), resumed=False)

    async def resume(
        self,
        number: int,
        source: str | None = None,
        password: str | None = None,
        *,
        last_wave: str | None = None,
        dead_limit: int | None = AS_IT_WAS,
    ) -> Ledger:
        """Go on with a run that stopped; `source` replaces its DSN (for a password).

        `last_wave` and `dead_limit` change what the run began with. A run that stopped after its
        last wave goes on to the end where no other is named. Raises UsageError when the run is
        done or runs elsewhere, else as `start`.
        """
        record = self._journal.run(number)
        _require_resumable(record)
        mapping = self._journal.mapping(number)
        if last_wave:
            _require_wave(record.strategy, mapping, last_wave)
        elif last_wave is None and record.last_wave in self._journal.open_gates(number):
            last_wave = ""
        changes: dict[str, Any] = {}
        if last_wave is not None and last_wave != record.last_wave:
            changes["last_wave"] = last_wave
        if dead_limit not in (AS_IT_WAS, record.dead_limit):
            changes["dead_limit"] = dead_limit
        if changes:
            record = self._journal.change(number, **changes)
        dsn = check_dsn(source) if source and record.kind != "import" else record.source_dsn
        return await self._drive(record, origin_of(record, dsn, password, mapping), resumed=True)

    async def _drive(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        self._record = record
        self._loop = asyncio.get_running_loop()
        progress = self._progress
        progress.run, progress.state = record.number, "running"
        progress.source, progress.target = record.source, record.place
        with self._hold(record), _few_collections():
            self._journal.control.answered(record.number, stop=0, paused=0, checkpoint="")
            self._journal.set_state(record.number, "running")
            self._tell("info", f"run {record.number} {'goes on' if resumed else 'begins'}")
            telling = asyncio.create_task(self._keep_telling(record.number))
            try:
                ledger = await self._phases(record, origin, resumed)
            except StopRequested:
                self._end("stopped", "stopped on request")
                raise RunStopped(
                    f"run {record.number} stopped safely", "", self._next_step(record.number)
                ) from None
            except RunStopped as stopped:
                self._end("stopped", str(stopped))
                raise
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
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
                with contextlib.suppress(GeodeTuiError):
                    self._journal.live.tell(record.number, self.snapshot())
            self._end("done" if ledger.valid else "differs")
            return ledger

    def _hold(self, record: RunRecord) -> contextlib.AbstractContextManager[None]:
        """Hold the run and its target while it is driven."""
        return self._journal.hold(record)

    def _next_step(self, number: int) -> str:
        """What to do after the run was stopped."""
        return f"go on with: geode-tui resume {number}"

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("assess"):
                stack.push_async_callback(origin.close)
                await origin.open()
                entities = await self._assess(record, origin)
            with self._phase("prepare"):
                if resumed and self._journal.chunks.has_written(record.number):
                    require_there(record)
                target = await asyncio.to_thread(record.target_plan.open)
                stack.push_async_callback(asyncio.to_thread, target.close)
                await self._prepare(record, target, entities)
                stack.push_async_callback(self._release, origin)
                snapshot = await self._take_snapshot(record, origin)
            with self._phase("backfill"):
                self._checkpoint("backfill", "backfill")
                await self._backfill(record, origin, target, entities, snapshot, resumed)
                if record.kind == "migrate":
                    await asyncio.to_thread(self._record_version, record, target)
                await asyncio.to_thread(target.flush)
            with self._phase("verify"):
                self._checkpoint("verify", "verify")
                return await self._verify_to_the_end(record, origin, target, entities)

    def _record_version(self, record: RunRecord, target: Target) -> None:
        """The graph itself says from now on which mapping it holds.

        Once: written again by a later step, it would go with a rollback to a moment when it was
        there.
        """
        versions = Versions(target)
        if any(version.run == record.uid for version in versions.all()):
            return
        mapping = self._journal.mapping(record.number)
        step = self._journal.chunks.next_step(record.number)
        versions.record(mapping, "migrated", record.uid, step)

    async def _verify_to_the_end(
        self, record: RunRecord, origin: Origin, target: Target, entities: Sequence[Any]
    ) -> Ledger:
        """Verify; where the snapshot is lost meanwhile, on a new one that the graph is led to."""
        while True:
            try:
                return await self._verify(record, origin, target, entities)
            except LostError as lost:
                if self._work is None or await origin.alive():
                    raise
                await self._work.recover(lost, entities)
                await asyncio.to_thread(target.flush)

    async def _assess(self, record: RunRecord, origin: Origin) -> Sequence[Any]:
        fields = await origin.fields()
        require_same(record, fields)  # first: a mapping does not fit a source that has changed
        entities = await origin.entities()
        self._judge(record, origin.findings)
        self._keep_fields(record, fields)
        waves = waves_of(self._journal.mapping(record.number)) if _in_waves(record) else ()
        self._waves = list(waves)
        self._show(record, entities)
        return entities

    def _keep_fields(self, record: RunRecord, fields: dict[str, str]) -> None:
        """Journal once what the source is like, before the first row is read."""
        if "source" not in record.options:
            self._journal.change(record.number, options=record.options | {"source": fields})

    async def _prepare(self, record: RunRecord, target: Target, entities: Sequence[Any]) -> None:
        chunks, number = self._journal.chunks, record.number
        for name, found in target.facts():
            self._tell("info", f"target: {name}: {found}")
        if isinstance(target, ChunkedTarget):
            pass  # it refuses by itself what is there already
        elif not chunks.has_written(number):
            before = await asyncio.to_thread(count_before, target, entities)
            if not record.options.get("into_existing"):
                _require_empty(target, entities, before)
            self._record = self._journal.change(
                number, options=self._journal.run(number).options | {"before": before}
            )
            chunks.set_before(number, {e.id: before.get(e.id, 0) for e in entities})
        else:
            await self._require_whole(record, target, entities)
        chunks.set_shapes(number, {entity.id: entity.shape for entity in entities})
        if isinstance(target, ChunkedTarget):
            declared = [(entity.id, entity.shape) for entity in entities]
            await asyncio.to_thread(target.declare, record.uid, declared)
        self._checkpoint("begin", "prepare")
        shapes = [e.shape for e in entities if isinstance(e.shape, NodeShape)]
        for statement in await asyncio.to_thread(target.missing, shapes):
            self._journal.add_prepared(number, statement)
            self._tell("info", statement)
        await asyncio.to_thread(target.prepare, shapes)

    async def _require_whole(
        self, record: RunRecord, target: Target, entities: Sequence[Any]
    ) -> None:
        """Refuse a graph that lost what a run that is resumed wrote."""
        done = {e.id: e for e in self._journal.chunks.entities(record.number)}
        await asyncio.to_thread(_require_whole, target, entities, done)

    def _checkpoint(self, name: str, phase: str, wave: str = "") -> None:
        """An automatic checkpoint before a phase or a wave; only its first time counts."""
        self._journal.checkpoints.take(self._number, name, phase, wave)

    async def _take_snapshot(self, record: RunRecord, origin: Origin) -> int:
        fence = await origin.begin()
        self._journal.set_source(record.number, origin.identity)
        number = self._journal.set_snapshot(record.number, fence)
        self._progress.snapshot_taken(True)
        self._tell("info", f"snapshot {fence}")
        if self._journal.chunks.has_written(record.number) and record.kind != "import":
            self._tell("warning", NEW_SNAPSHOT)
        return number

    async def _release(self, origin: Origin) -> None:
        self._progress.snapshot_taken(False)
        await origin.end()

    async def _backfill(
        self,
        record: RunRecord,
        origin: Origin,
        target: Target,
        entities: Sequence[Any],
        snapshot: int,
        resumed: bool,
    ) -> None:
        """All waves, each with its own ledger before the next may begin."""
        pace = Pace(record.parallel, record.batch_rows)
        work = Backfill(
            record,
            self._journal,
            origin,
            target,
            self._progress,
            pace,
            self._stop,
            self._tell,
            snapshot,
        )
        self._work = work
        knobs = self._journal.control.knobs(record.number)
        work.ask(knobs)
        async with self._governed(pace, origin):
            if resumed:
                await work.restart_unkeyed(entities, entities)
            if not self._waves:
                await work.run(entities, entities)
                return
            for wave in self._waves:
                await self._wave(record, work, wave, entities, target)

    async def _wave(
        self,
        record: RunRecord,
        work: Backfill,
        wave: Wave,
        entities: Sequence[Any],
        target: Target,
    ) -> None:
        """Move one wave and take its ledger: the gate to the next."""
        self._progress.wave = wave.name
        self._checkpoint(f"wave {wave.name}", "backfill", wave.name)
        begun = [entity for entity in entities if self._is_up_to(entity.id, wave)]
        await work.run(begun, entities)
        some = [entity for entity in begun if entity.id in wave.rules]
        ledger = await self._ledger(record, work.origin, target, some)
        self._journal.set_wave_ledger(record.number, wave.name, ledger)
        wrong = [entry for entry in ledger.entries if not entry.balanced]
        if wrong:
            raise GeodeTuiError(
                f"the gate of wave {wave.name} is shut: {wrong[0].id}: {wrong[0].verdict}",
                f"{len(wrong)} of {len(ledger.entries)} entries of its ledger differ",
                f"mend it, then: geode-tui resume {record.number}",
            )
        self._tell("info", f"wave {wave.name}: the ledger balances, its gate is open")
        if wave.name == record.last_wave and wave is not self._waves[-1]:
            raise RunStopped(
                f"wave {wave.name} is done",
                f"run {record.number} was asked to stop after it",
                f"go on with: geode-tui resume {record.number} (to the end), or with"
                f" --wave {self._next_wave(wave).name}",
            )

    def _next_wave(self, wave: Wave) -> Wave:
        return self._waves[self._waves.index(wave) + 1]

    def _is_up_to(self, entity: str, wave: Wave) -> bool:
        """Whether an entity is of a wave or of one before it."""
        upto = self._waves[: self._waves.index(wave) + 1]
        return any(entity in one.rules for one in upto)

    @contextlib.asynccontextmanager
    async def _governed(self, pace: Pace, origin: Origin) -> AsyncIterator[None]:
        """Let the governor watch the source while rows are moved."""
        probe = origin.load_probe()
        if probe is None:
            yield
            return
        governor = Governor(pace, probe.read, tell=lambda text: self._tell("warning", text))
        self._governor = governor
        watching = asyncio.create_task(governor.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await probe.close()

    async def _verify(
        self, record: RunRecord, origin: Origin, target: Target, entities: Sequence[Any]
    ) -> Ledger:
        ledger = await self._ledger(record, origin, target, entities)
        self.ledger = ledger
        self._journal.set_ledger(record.number, ledger)
        wrong = [entry for entry in ledger.entries if not entry.balanced]
        for entry in wrong:
            self._tell("error", f"{entry.id}: {entry.verdict}", entry.id)
        if not wrong:
            self._tell("info", f"the ledger balances: {len(ledger.entries)} entries")
        return ledger

    async def _ledger(
        self, record: RunRecord, origin: Origin, target: Target, entities: Sequence[Any]
    ) -> Ledger:
        left_out = left_out_by_run(self._journal, record.number)
        before = self._journal.run(record.number).options.get("before", {})

        def show(entity: str) -> None:
            self._progress.worker("V", f"comparing {entity}")
            if self._stop.is_set():
                raise StopRequested

        try:
            return await origin.ledger(target, entities, left_out, before, show, {record.uid})
        finally:
            self._progress.worker("V", "")

    async def _keep_telling(self, number: int) -> None:
        """Take what other terminals ask, and let them see where the run stands."""
        since_tell = since_mark = 0.0
        while True:
            try:
                self._take_knobs(number)
                self._show_pace()
                if since_tell >= TELL_SECONDS:
                    since_tell = 0.0
                    await asyncio.to_thread(self._journal.live.tell, number, self.snapshot())
                if since_mark >= MARK_SECONDS:
                    since_mark = 0.0
                    now = self.snapshot()
                    await asyncio.to_thread(
                        self._journal.live.mark, number, now.rows_written, now.rate, now.pace
                    )
            except GeodeTuiError:
                pass  # a full disk of the journal shows where it matters
            await asyncio.sleep(POLL_SECONDS)
            since_tell += POLL_SECONDS
            since_mark += POLL_SECONDS

    def _take_knobs(self, number: int) -> None:
        knobs = self._journal.control.knobs(number)
        if knobs.stop:
            self._stop.set()
        if self._work is not None and knobs != self._knobs:
            self._knobs = knobs
            self._work.ask(knobs)

    def _show_pace(self) -> None:
        if self._work is not None:
            self._progress.pace = self._work.pace.reason
            self._progress.knobs = self._work.pace.knobs()
        if self._governor is not None:
            self._progress.source_load = self._governor.shown()

    # -- the steps between --------------------------------------------------------------------

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

    def _show(self, record: RunRecord, entities: Sequence[Any]) -> None:
        wave_of = {rule: wave.name for wave in self._waves for rule in wave.rules}
        described = [(e.id, e.kind, e.estimate, wave_of.get(e.id, "")) for e in entities]
        self._journal.chunks.add_entities(record.number, described)
        known = {e.id: e for e in self._journal.chunks.entities(record.number)}
        for entity in entities:
            self._progress.add(_meter(entity, known[entity.id]))

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


def new_run(request: RunRequest, dsn: str, source: str, options: Mapping[str, Any]) -> NewRun:
    """What a run is begun with; `dsn` without secrets, `source` is its name for a person."""
    return NewRun(
        dsn,
        source,
        request.target,
        request.graph or "",
        request.schemas,
        request.label,
        request.mapping,
        request.parallel,
        request.batch_rows,
        request.kind,
        request.strategy,
        request.last_wave,
        request.dead_limit,
        dict(options),
    )


def _require_wave(strategy: Strategy, mapping: GraphMapping, name: str) -> None:
    """Refuse a last wave that the run does not have, before anything is written."""
    if strategy != "incremental":
        raise UsageError(
            f"a {strategy} run has no wave {name}",
            "it moves everything at once",
            "begin it with --strategy incremental, or leave --wave out",
        )
    require_wave(mapping, name)


def _options(request: RunRequest) -> dict[str, Any]:
    found: dict[str, Any] = {"into_existing": request.into_existing}
    if request.format:
        found |= {"format": request.format, "compression": request.compression}
    if request.strategy == "zero-downtime":
        found |= {"capture": request.capture, "capture_name": request.capture_name}
    return found


def _in_waves(record: RunRecord) -> bool:
    return record.strategy == "incremental"


def known_meter(old: EntityRecord) -> Meter:
    """The meter of an entity of a run that was moved."""
    done = old.state == "done"
    state: Any = "done" if done else "stopped"
    return Meter(
        old.id,
        "node" if old.kind == "node" else "relationship",
        old.moved,
        done,
        state,
        "",
        old.rows,
        old.dead,
        old.orphans,
        old.chunks,
        old.planned,
        old.bytes,
        old.retries,
        old.wave,
    )


def _meter(entity: Any, old: EntityRecord) -> Meter:
    done = old.state == "done"
    return Meter(
        entity.id,
        entity.kind,
        old.moved if done else entity.estimate,
        done,
        "done" if done else "waiting",
        "" if done else "waits for prepare",
        old.rows,
        old.dead,
        old.orphans,
        old.chunks,
        old.planned,
        old.bytes,
        old.retries,
        old.wave,
    )


def require_same(record: RunRecord, fields: dict[str, str]) -> None:
    """Refuse a source that is not the one the run began with, field by field."""
    changed = changed_fields(record, fields)
    if changed:
        raise UsageError(
            f"the source of run {record.number} has changed in {len(changed)} fields",
            "; ".join(changed[:5]) + ("; …" if len(changed) > 5 else ""),
            f"resume with the same --source; or take the run back (geode-tui rollback"
            f" {record.number}) and begin anew",
        )


def _require_resumable(record: RunRecord) -> None:
    number = record.number
    if record.state == "running":
        raise UsageError(f"run {number} is running", "", "geode-tui status --follow")
    if record.state == "rolling back":
        raise UsageError(
            f"run {number} is being rolled back", "", f"end that first: geode-tui rollback {number}"
        )
    if record.kind in ANEW:
        raise UsageError(
            f"run {number} is a {record.kind} run: it is not resumed",
            "",
            f"begin it anew: geode-tui {record.kind}",
        )
    if not record.resumable:
        raise UsageError(
            f"run {number} is {record.state}: there is nothing to resume",
            "",
            "geode-tui validate compares source and graph again",
        )
    if record.format != RUN_FORMAT:
        raise UsageError(
            f"run {number} was begun by geode-tui {record.version}, which cut no chunks",
            "this version cannot go on with it",
            "begin anew on another target",
        )


def _require_empty(target: Target, entities: Sequence[Any], before: Mapping[str, int]) -> None:
    """Refuse a graph that already holds nodes of our labels, unless somebody wants that."""
    for entity in entities:
        there = before.get(entity.id, 0)
        if there and isinstance(entity.shape, NodeShape):
            raise UsageError(
                f"{target.place} already holds {there:,} {entity.shape.label} nodes",
                "a run needs a graph without nodes of the mapping's labels",
                "name another --target or --graph; or, to write beside them: --into-existing",
            )


def require_there(record: RunRecord) -> None:
    """Refuse to go on where the graph is gone: opening it would make an empty one."""
    if not record.target_plan.format and not target_exists(record.target):
        raise UsageError(
            f"{record.target} is gone",
            f"it holds what run {record.number} wrote; it was removed since the run stopped",
            "put the graph back; or begin a new run",
        )


def _require_whole(
    target: Target, entities: Sequence[Any], done: Mapping[str, EntityRecord]
) -> None:
    """Refuse to go on with a graph that is not the one we wrote: it would stay in pieces."""
    for entity in entities:
        if not isinstance(entity.shape, NodeShape):
            continue
        there, known = target.count_nodes(entity.shape), done[entity.id]
        if there < known.rows + known.before:
            raise UsageError(
                f"{target.place} holds {there:,} {entity.shape.label} nodes, the run wrote"
                f" {known.rows:,}",
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
