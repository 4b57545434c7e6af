"""A graph that follows its source: the open ends of a run with change capture.

A pump stores the stream in the spool as it comes; a cycle leads the graph to a new snapshot. Both
may be tried again at any time. Whoever drives it (a run that catches up, `sync`, a cutover) asks
for one cycle after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, LostError, UsageError
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.events import Level
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.left_out import left_out_of
from geode_tui.migration.origins import origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin, compiled, drifted
from geode_tui.migration.replication.affected import ChangePlan, make_change_plan
from geode_tui.migration.replication.apply import Applied, CycleWork
from geode_tui.migration.replication.captures import Capture
from geode_tui.migration.replication.health import Figures
from geode_tui.migration.replication.spool import Spool
from geode_tui.migration.replication.state import SyncSnapshot
from geode_tui.migration.replication.stream import Stream, open_stream
from geode_tui.source.dsn import check_dsn
from geode_tui.source.postgres import Reader, SnapshotHolder, SteadyReader
from geode_tui.target import open_target
from geode_tui.target.model import Target
from geode_tui.validation.compare import always
from geode_tui.validation.digests import Digests
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.sides import RowReader
from geode_tui.validation.verify import take_ledger

POLL_SECONDS = 0.2
IDLE_SECONDS = 1.0
"""Between two looks at the stream while it brings something, and while it does not."""
BEAT = "beat "
VALIDATE_ATTEMPTS = 5
"""A ledger is taken again so often where tables are truncated meanwhile."""
Tell = Callable[[Level, str], None]


@dataclass(frozen=True, slots=True)
class Cycle:
    """What a cycle ended with: the graph is what the source was at the snapshot `fence`.

    `at` is when the snapshot was taken, `applied` how many changes it took in, `backlog` how many
    are kept for the next one. `messages` are the tokens that came back through the stream.
    """

    fence: str
    at: float
    applied: int
    backlog: int
    messages: tuple[str, ...] = ()


@dataclass
class Replica:
    """See the module. Open one by `open_replica`, or over what a run has open already."""

    journal: Journal
    record: RunRecord
    origin: PostgresOrigin
    entities: Sequence[Entity]
    target: Target
    plan: ChangePlan
    spool: Spool
    stream: Stream
    tell: Tell
    stop: asyncio.Event
    altered: set[TableName]
    doing: Callable[[str], None] = lambda text: None
    compare_all: bool = False
    reread: frozenset[TableName] = frozenset()
    figures: Figures = field(init=False)
    _reader: Reader | None = None
    _steady: SteadyReader | None = None
    _pumping: asyncio.Task[None] | None = None
    _broken: GeodeTuiError | None = None
    _polling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _cycling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _captured_in_vain: int = 0
    _beats: deque[float] = field(default_factory=deque)
    _stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.figures = Figures(self.spool.counts)
        self.reread, self.compare_all = self.capture.reread, self.capture.compare_all
        self._stale = {entity.id for entity in self.entities}

    @property
    def tables(self) -> tuple[TableName, ...]:
        """The tables whose changes are captured."""
        return self.plan.names

    @property
    def capture(self) -> Capture:
        """The capture as it is journaled now."""
        found = self.journal.captures.of(self.record.number)
        assert found is not None
        return found

    # -- the stream into the spool ---------------------------------------------------------------

    def start_pump(self) -> None:
        """Store the stream as it comes, from now on, while this task's loop goes."""
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        while True:
            try:
                brought = await self._poll()
            except GeodeTuiError as error:
                self._broken = error  # the next cycle tells it
                return
            await asyncio.sleep(POLL_SECONDS if brought else IDLE_SECONDS)

    async def _poll(self) -> int:
        async with self._polling:
            count = await self.stream.poll()
        self.figures.captured(self.spool.counts)
        return count

    async def send(self, text: str) -> None:
        """Send a token through the stream, in a transaction of its own on the source."""
        await self.stream.send(text)

    # -- cycles ----------------------------------------------------------------------------------

    async def cycle(self, reader: Reader | None = None, fence: str = "") -> Cycle:
        """Lead the graph to a new snapshot of the source, or to that of a reader, and its fence.

        Raises StopRequested, LostError where the source or the target is away for now,
        SlotLostError and SnapshotLostError where changes are lost, GeodeTuiError.
        """
        async with self._cycling:
            if self._broken is not None:
                broken, self._broken, self._pumping = self._broken, None, None
                raise broken
            try:
                if reader is not None:
                    return await self._cycle(reader, fence)
                own, fence = await self._fresh()
                cycle = await self._cycle(own, fence)
                if self._steady is None:
                    await own.leave()  # locks would be in the way of a TRUNCATE, and of us
                return cycle
            except BaseException:
                await self._forget_reader()
                raise

    async def _cycle(self, reader: Reader, fence: str) -> Cycle:
        at = time.time()
        # It goes through the log after all that the snapshot shows, and has it written to disk.
        await self.stream.send(f"{BEAT}{at!r}")
        self._beats.append(at)
        await self._poll()
        await self._look_at_drift()
        seen = self.spool.seen(fence)
        said = await asyncio.to_thread(self.spool.said, fence)
        work = CycleWork(
            self.journal,
            self.record,
            self.target,
            self.entities,
            self.plan,
            self.spool,
            reader,
            seen,
            self.doing,
            self.stop,
            self.compare_all,
            self.reread,
        )
        counts = await work.run()
        self.reread = frozenset(await reader.rewritten(self.tables))
        self.journal.captures.set_reread(self.record.number, self.reread)
        applied = await asyncio.to_thread(self.spool.done, seen)
        if self.compare_all:
            self.compare_all = False
            self.journal.captures.set_compare_all(self.record.number, False)
        self._account(counts, fence, at)
        self._beat(said)
        return Cycle(fence, at, applied, self.backlog, tuple(m for m in said if BEAT not in m))

    @property
    def backlog(self) -> int:
        """How many changes are kept and not applied."""
        captured, applied = self.spool.counts
        return captured - applied

    async def settle(
        self, token: str, seconds: float, tell: Callable[[str], None] = lambda text: None
    ) -> Cycle:
        """Send a token and lead the graph on until it came back and is applied.

        Raises BusyError when it has not after `seconds`.
        """
        until = time.monotonic() + seconds
        await self.send(token)
        while True:
            cycle = await self.cycle()
            if token in cycle.messages:
                return cycle
            if time.monotonic() > until:
                raise BusyError(
                    f"the token did not come back within {seconds:g} s",
                    f"{cycle.backlog:,} changes are on their way",
                    "let the graph catch up, and try again",
                )
            tell(f"waits for the token; {cycle.backlog:,} changes are on their way")

    async def hold(self) -> None:
        """Read by one session that holds all tables against rewriting, until `let_go`.

        For a freeze by locks: a TRUNCATE that waits behind it would hold up every new reader. To be
        called just before. Raises BusyError.
        """
        self._steady = await self.origin.source.steady(self.tables)

    async def let_go(self) -> None:
        """Read by snapshots again; nothing where nothing is held."""
        if self._steady is not None:
            await self._steady.close()
            self._steady = None

    @contextlib.asynccontextmanager
    async def at_fence(
        self, locked: Sequence[TableName] = ()
    ) -> AsyncIterator[SnapshotHolder | SteadyReader]:
        """A reader at a new fence; `locked` are held against rewriting meanwhile."""
        if self._steady is not None:
            await self._steady.look()
            yield self._steady
            return
        holder = await self.origin.source.snapshot(locked)
        try:
            yield holder
        finally:
            with contextlib.suppress(GeodeTuiError):
                await holder.close()

    async def _fresh(self) -> tuple[Reader, str]:
        if self._steady is not None:
            return self._steady, await self._steady.look()
        if self._reader is None:
            self._reader = await self.origin.source.reader()
            await self._reader.leave()
        return self._reader, await self._reader.renew()

    async def _forget_reader(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None

    def _account(self, counts: dict[str, Applied], fence: str, at: float) -> None:
        captures, number = self.journal.captures, self.record.number
        for entity, applied in counts.items():
            captures.count(number, entity, applied.written, applied.removed)
            self._stale.add(entity)
        captured, done = self.spool.counts
        captures.applied(number, fence, at, captured=captured, applied=done)
        self.figures.applied((captured, done), fence, at)

    def _beat(self, said: Sequence[str]) -> None:
        for text in said:
            if text.startswith(BEAT):
                sent = float(text.removeprefix(BEAT))
                if not self._beats or sent < self._beats[0]:
                    continue  # that of an earlier process tells how long nobody followed
                self.figures.beat(sent)
                while self._beats and self._beats[0] <= sent:
                    self._beats.popleft()
        self.figures.waiting_since = self._beats[0] if self._beats else None

    async def _look_at_drift(self) -> None:
        """A table has other columns now: open all anew, unless the mapping makes other things."""
        if not self.altered:
            return
        tables = ", ".join(sorted(str(table) for table in self.altered))
        drifted = await self.origin.look_again()
        if drifted:
            raise UsageError(
                f"the source has changed under the mapping: {drifted[0]}",
                f"columns of {tables} were changed while the run captures",
                "change it back; or mend the mapping and migrate anew",
            )
        raise LostError(
            f"columns of {tables} changed", "the source is read anew by what they are now"
        )

    # -- how it is -------------------------------------------------------------------------------

    async def health(self) -> SyncSnapshot:
        """How the stream and the graph are now."""
        found = await self.stream.health()
        capture = self.capture
        counts = self.journal.captures.counts(self.record.number)
        known = {e.id: e for e in self.journal.chunks.entities(self.record.number)}
        return self.figures.snapshot(capture, found, self.spool, counts, known)

    async def drift(self) -> list[str]:
        """What of the source, or of the set-up of the capture, is not as it was, in words."""
        return [*await self.origin.look_again(), *await self.stream.problems()]

    async def validate(self, *, stale_only: bool = False) -> Ledger:
        """Lead the graph to a snapshot, and compare all rows with it under that very snapshot.

        With `stale_only` only entities that changes touched since the last time are compared, and
        the ledger is returned and not journaled.
        """
        # Locks are for those that need them: who waits to truncate holds everybody up behind it.
        locked: set[TableName] = set()
        for _ in range(VALIDATE_ATTEMPTS):
            async with self.at_fence(sorted(locked)) as holder:
                await self.cycle(holder, holder.fence)
                stale = [e for e in self.entities if e.id in self._stale or not stale_only]
                ledger = await self.compare(holder, holder.fence, stale)
                rewritten = await holder.rewritten(self.tables)
            if not rewritten:
                break
            locked.update(rewritten)
            self.tell("info", f"{rewritten[0]}: truncated or rewritten meanwhile; looked at again")
        if ledger.valid:
            self._stale.clear()
            if not stale_only:
                self.journal.captures.validated(self.record.number)
        if not stale_only:
            self.journal.set_ledger(self.record.number, ledger)
        return ledger

    async def compare(self, reader: RowReader, fence: str, entities: Sequence[Entity]) -> Ledger:
        """Compare some entities with a reader's snapshot, to which the graph was led."""
        left_out = await asyncio.to_thread(
            left_out_of, self.journal, self.record.target, self.record.graph
        )
        ids = {entity.id for entity in entities}

        def show(entity: str) -> None:
            self.doing(f"comparing {entity}")
            if self.stop.is_set():
                raise StopRequested

        try:
            return await take_ledger(
                reader,
                self.target,
                entities,
                left_out.entities,
                fence,
                same_snapshot=False,
                progress=show,
                before=left_out.before,
                others=[entity for entity in self.entities if entity.id not in ids],
                runs=left_out.marks,
                digests=Digests(always(reader), retries=(0.0,)),
            )
        finally:
            self.doing("")

    async def close(self) -> None:
        """End the sessions; what is captured goes on at the source, what is stored stays."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        await self._forget_reader()
        await self.let_go()
        await self.stream.close()
        self.spool.close()


def spool_file(journal: Journal, record: RunRecord) -> Path:
    """Where the captured changes of a run are kept."""
    return journal.store.path.parent / "spool" / f"{record.uid}.sqlite3"


async def replica_over(
    journal: Journal,
    record: RunRecord,
    origin: PostgresOrigin,
    entities: Sequence[Entity],
    target: Target,
    capture: Capture,
    tell: Tell,
    stop: asyncio.Event,
) -> Replica:
    """The replica over a source and a target that are open; nothing is set up on the source."""
    plan = make_change_plan(entities, journal.mapping(record.number), origin.catalog)
    spool = await asyncio.to_thread(Spool, spool_file(journal, record))
    altered: set[TableName] = set()
    prefix = f"geode_tui.{record.uid[:8]}"
    try:
        stream = await open_stream(
            origin.source, capture.way, capture.name, plan, spool, prefix, altered
        )
    except BaseException:
        spool.close()
        raise
    return Replica(
        journal, record, origin, entities, target, plan, spool, stream, tell, stop, altered
    )


@contextlib.asynccontextmanager
async def open_replica(
    journal: Journal,
    number: int,
    *,
    source: str | None = None,
    password: str | None = None,
    tell: Tell = lambda level, text: None,
    stop: asyncio.Event | None = None,
    origin: PostgresOrigin | None = None,
    target: Target | None = None,
) -> AsyncIterator[Replica]:
    """Open the source, the target and the stream of a run whose backfill is done.

    The caller holds the run. An `origin` that is given is opened here; a `target` that is given
    stays open. Raises UsageError where the run captures nothing, GeodeTuiError.
    """
    record = journal.run(number)
    capture = require_capture(journal, record)
    if origin is None:
        dsn = check_dsn(source) if source else record.source_dsn
        made = origin_of(record, dsn, password, journal.mapping(number))
        assert isinstance(made, PostgresOrigin)
        origin = made
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(origin.close)
        await origin.open()
        _require_same_database(record, origin)
        entities = await origin.entities()
        _adapt(journal, capture, entities, tell)
        if target is None:
            target = await asyncio.to_thread(
                open_target, record.target, record.graph or None, create=False
            )
            stack.push_async_callback(asyncio.to_thread, target.close)
        replica = await replica_over(
            journal, record, origin, entities, target, capture, tell, stop or asyncio.Event()
        )
        stack.push_async_callback(replica.close)
        yield replica


def require_capture(journal: Journal, record: RunRecord) -> Capture:
    """The capture of a run that can be synchronized. Raises UsageError where there is none."""
    capture = journal.captures.of(record.number)
    if capture is None or capture.state == "torn down":
        raise UsageError(
            f"run {record.number} captures no changes",
            "it was not begun with --strategy zero-downtime"
            if capture is None
            else "its capture was taken back",
            "migrate with: geode-tui migrate --strategy zero-downtime",
        )
    chunks = journal.chunks.entities(record.number)
    if capture.state == "setting up" or any(e.state != "done" for e in chunks):
        raise UsageError(
            f"run {record.number} has not moved all rows yet",
            "",
            f"go on with: geode-tui resume {record.number}",
        )
    return capture


def _require_same_database(record: RunRecord, origin: PostgresOrigin) -> None:
    """Refuse to follow another database than the one that the rows came from."""
    before, facts = record.options.get("source", {}), origin.source.facts
    now = {"database": facts.database, "database oid": str(facts.database_oid)}
    other = [name for name, value in now.items() if before.get(name, value) != value]
    if other:
        raise UsageError(
            f"run {record.number} was moved from another database",
            f"{other[0]}: it was {before[other[0]]}, now it is {now[other[0]]}",
            "name the same --source",
        )


def _adapt(journal: Journal, capture: Capture, entities: Sequence[Entity], tell: Tell) -> None:
    """Go on with a source whose columns have changed, where the mapping makes the same of them.

    An ALTER that gives a column another type may change values and tells no change of a row: all
    is compared once. Raises UsageError where the mapping makes other things than it did.
    """
    before, now = capture.options.get("compiled"), compiled(entities)
    if not before or {name: list(pair) for name, pair in now.items()} == before:
        return
    found = drifted(entities, now, before)
    if found:
        raise UsageError(
            f"the source has changed under the mapping: {found[0]}",
            "rows were moved by what the mapping meant then",
            "change it back; or mend the mapping and migrate anew",
        )
    tell("warning", "columns that the mapping reads have other types now: all is compared once")
    journal.captures.set_compiled(capture.run, now)


def new_token() -> str:
    """A token that nobody else sends."""
    return f"token {uuid.uuid4()}"
