"""Change capture by a logical replication slot: what it needs, its set-up, reading, its state.

Reading is by SQL functions: peek, apply, then advance. Nothing is consumed before `advance`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.errors import (
    BusyError,
    ConnectError,
    GeodeTuiError,
    PermissionRefusedError,
    UsageError,
)
from geode_tui.source import slot_queries as sql
from geode_tui.source.changes import Columns, Event
from geode_tui.source.introspect import Connection
from geode_tui.source.pgoutput import Decoder, position_number
from geode_tui.source.postgres import (
    find_types,
    local_settings,
    lost_error,
    open_for_capture,
    read_error,
)
from geode_tui.source.profile import qualified, quoted
from geode_tui.source.requirements import Requirement
from geode_tui.source.slot_requirements import (
    right_requirements,
    server_requirements,
    table_requirements,
)

CREATE_SECONDS = 60.0
"""A creation that has waited so long for open transactions is given up."""
LOOK_SECONDS = 1.0
"""Between two looks at who is waited for."""
DROP_SECONDS = 10.0
READ_ROWS = 5_000

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_NAME_BYTES = 63
_OPERATIONS = "insert, update, delete, truncate"
_GENERATED_COLUMNS = 180_000
_TRANSACTION_TIMEOUT = 170_000
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class SlotLostError(GeodeTuiError):
    """The slot cannot tell all changes any more: only a new slot and a new load help."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """An open transaction that the creation of a slot waits for.

    `pid` is None for a prepared transaction, whose name is in `application`; `since` is None
    where the role may not know.
    """

    pid: int | None
    since: datetime | None
    application: str


@dataclass(frozen=True, slots=True)
class SetUp:
    """What is there of a set-up. `problems` says in words what must not stay as it is.

    `in_order` is whether the publication is surely seen by all that the slot tells; None while
    one of them is missing.
    """

    publication: bool
    slot: bool
    in_order: bool | None
    problems: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether capture can be read."""
        return self.publication and self.slot and not self.problems


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot at a moment. Sizes in bytes, None where the server does not tell.

    `retained_bytes` is the WAL that the slot keeps on the source's disk, `safe_wal_size` what
    can still be written before it is lost, `lag_bytes` the WAL that was not confirmed yet.
    """

    name: str
    exists: bool
    active: bool = False
    active_pid: int | None = None
    wal_status: str = ""
    retained_bytes: int | None = None
    safe_wal_size: int | None = None
    confirmed: str = ""
    lag_bytes: int | None = None
    invalidation_reason: str = ""

    @property
    def lost(self) -> bool:
        """Whether changes were lost with it: it is gone, or the server gave it up."""
        return not self.exists or self.wal_status == "lost" or bool(self.invalidation_reason)

    @property
    def words(self) -> str:
        """The state in a sentence for a person."""
        if not self.exists:
            return f"slot {self.name} is not there: what it would have told is lost"
        if self.lost:
            reason = self.invalidation_reason or "the server removed WAL that it needs"
            return f"slot {self.name} is lost ({reason}): drop it, make a new one and load again"
        kept = f"it keeps {_megabytes(self.retained_bytes)} of WAL"
        if self.wal_status == "unreserved":
            return f"slot {self.name} will be lost at the next checkpoint: {kept}; read it now"
        used = f", read by process {self.active_pid}" if self.active else ""
        room = ""
        if self.safe_wal_size is not None:
            room = f", lost after {_megabytes(self.safe_wal_size)} more"
        return f"slot {self.name} is {_megabytes(self.lag_bytes)} behind{used}; {kept}{room}"


class SlotSnapshot:
    """The exact snapshot of a new slot, held open until `release`.

    Readers join `snapshot_id`; the slot tells every transaction that the snapshot does not show
    and no other. `position` is where its stream begins, `fence` is the snapshot as text. The
    tables are locked (ACCESS SHARE) so that a TRUNCATE cannot empty them for the readers.
    """

    def __init__(self, connection: Connection, snapshot_id: str, position: str, fence: str) -> None:
        self._connection = connection
        self.snapshot_id = snapshot_id
        self.position = position
        self.fence = fence

    async def release(self) -> None:
        """Let go of snapshot and locks, when all readers have joined. The slot stays."""
        with suppress(asyncpg.PostgresError, *_BROKEN):
            await self._connection.execute("ROLLBACK")
        self._connection.terminate()


def visible(xid: int, snapshot: str) -> bool:
    """Whether a snapshot (`xmin:xmax:xip,...`) shows what a committed transaction did.

    `xid` has 64 bits and is that of the whole transaction, as Begin tells it.
    """
    xmin, xmax, running = snapshot.split(":")
    if xid < int(xmin):
        return True
    return xid < int(xmax) and str(xid) not in running.split(",")


def is_after(commit: str, checkpoint: str) -> bool:
    """Whether the transaction of a Begin at `commit` is after a checkpoint (a Commit's position).

    A commit can begin at the very byte where the one before ended: equal positions are after.
    """
    return position_number(commit) >= position_number(checkpoint)


@dataclass(frozen=True)
class Slot:
    """A logical replication slot and the publication of the tables that it tells of.

    Raises UsageError for a name that PostgreSQL would refuse or cut. Sessions for `publish`,
    `create_by_sql`, `send`, `drop` and `tear_down` are those of `open_for_capture`; the others
    may be READ ONLY. One session serves one call at a time.
    """

    name: str
    publication: str
    tables: tuple[TableName, ...]

    def __post_init__(self) -> None:
        if not _SLOT_NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} is no name of a slot", "", "use up to 63 of a-z, 0-9 and _"
            )
        if not 0 < len(self.publication.encode()) <= _NAME_BYTES or "\0" in self.publication:
            raise UsageError(f"{self.publication!r} is no name of a publication", "", "shorten it")
        if not self.tables:
            raise UsageError("change capture has no table", "the mapping names none")

    # --- what must be so

    async def requirements(self, connection: Connection) -> list[Requirement]:
        """What must be so on the source, whether it is, and the SQL that mends it."""
        async with _errors():
            server = await connection.fetchrow(sql.SERVER, self.name)
            assert server is not None
            published = await connection.fetch(sql.PUBLISHED, self.publication)
            relations = await self._relations(connection)
        known = {TableName(row["schema"], row["name"]) for row in published}
        new = [name for name in self.tables if name not in known]
        return [
            *server_requirements(server),
            *right_requirements(server, relations, new),
            *table_requirements(self.tables, relations),
        ]

    async def replication_requirement(
        self, dsn: str, password: str | None = None, *, wait: float = 10
    ) -> Requirement:
        """Whether a replication connection can be had, by opening one: a pooler refuses it.

        Without one `create` cannot work; `create_by_sql` can. Raises ConnectError when not even
        an ordinary connection can be had.
        """
        what = "a replication connection gives the snapshot of the slot"
        try:
            connection = await open_for_capture(dsn, password, wait=wait, replication=True)
        except ConnectError as error:
            (await open_for_capture(dsn, password, wait=wait)).terminate()
            evidence = f"refused: {error.why}; the slot is made by SQL instead"
            return Requirement(what, "warning", evidence)
        connection.terminate()
        return Requirement(what, "met", "a replication connection was opened")

    # --- set-up

    def publication_statement(self, version_number: int) -> str:
        """The statement that makes the publication, for a server of that version (180000)."""
        # Tables that inherit are tables of their own; partitions come whatever ONLY says.
        tables = ", ".join(f"ONLY {qualified(name)}" for name in self.tables)
        options = f"publish = '{_OPERATIONS}', publish_via_partition_root = true"
        if version_number >= _GENERATED_COLUMNS:
            options += ", publish_generated_columns = 'stored'"
        return f"CREATE PUBLICATION {quoted(self.publication)} FOR TABLE {tables} WITH ({options})"

    def set_up_statements(self, version_number: int) -> list[str]:
        """What sets capture up, in this order, to be shown or handed to somebody."""
        slot = f"SELECT pg_create_logical_replication_slot('{self.name}', 'pgoutput')"
        return [self.publication_statement(version_number), slot]

    def tear_down_statements(self) -> list[str]:
        """What takes it back; it can be repeated."""
        return [
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            f"WHERE slot_name = '{self.name}'",
            f"DROP PUBLICATION IF EXISTS {quoted(self.publication)}",
        ]

    async def publish(self, connection: Connection) -> None:
        """Make the publication, before the slot; nothing when it is there with these tables.

        Refuses a table whose rows cannot be told apart: once it is published the source's own
        UPDATE and DELETE of it would fail.
        """
        async with _errors(), connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            relations = await self._relations(connection)
            unfit = [r for r in table_requirements(self.tables, relations) if r.state == "missing"]
            if unfit:
                raise UsageError(
                    f"not published: {unfit[0].what}",
                    unfit[0].evidence,
                    "; ".join(unfit[0].sql) or "exclude the table in the mapping",
                )
            if await connection.fetchval(sql.PUBLICATION_EXISTS, self.publication):
                problems = await self._publication_problems(connection)
                if problems:
                    raise UsageError(problems[0], "", "drop the publication, or take another name")
                return
            version = await connection.fetchval(sql.VERSION)
            await connection.execute(self.publication_statement(version))

    async def check(self, connection: Connection) -> SetUp:
        """What of the set-up is there, and whether the slot can tell all of the publication.

        Where the age of their entries does not prove the order, what the slot holds is decoded
        once: that finds out for sure, and takes as long as reading it.
        """
        async with _errors():
            published = await connection.fetchval(sql.PUBLICATION_EXISTS, self.publication)
            state = await self.state(connection)
            problems = await self._publication_problems(connection) if published else []
            if state.exists and state.lost:
                problems.append(state.words)
            in_order = None
            if published and state.exists and not state.lost:
                late = await self._published_after_the_slot(connection)
                in_order = not late
                problems += late
            elif state.exists and not published:
                problems.append(
                    f"slot {self.name} is there without publication {self.publication}: drop the "
                    "slot, make the publication, then the slot"
                )
        return SetUp(bool(published), state.exists, in_order, tuple(problems))

    async def _publication_problems(self, connection: Connection) -> list[str]:
        """What a publication of that name has otherwise than this one needs it."""
        rows = await connection.fetch(sql.PUBLISHED, self.publication)
        row = await connection.fetchrow(sql.PUBLICATION, self.publication)
        assert row is not None
        name = f"publication {self.publication}"
        found = {TableName(r["schema"], r["name"]) for r in rows}
        problems = [f"{name} lacks {table}" for table in self.tables if table not in found]
        if not row["operations"]:
            problems.append(f"{name} does not tell all of {_OPERATIONS}")
        if not row["via_root"] and row["partitioned"]:
            problems.append(f"{name} tells of partitions, not of the tables they are part of")
        wanted = set(self.tables)
        cut = [TableName(r["schema"], r["name"]) for r in rows if r["cut"]]
        problems += [f"{name} leaves out rows or columns of {t}" for t in cut if t in wanted]
        return problems

    async def _published_after_the_slot(self, connection: Connection) -> list[str]:
        """What was published after the slot was made, as far as that loses changes."""
        schemas, names = _columns_of(self.tables)
        row = await connection.fetchrow(sql.ORDER, self.publication, self.name, schemas, names)
        assert row is not None
        mend = "drop the slot and make it anew"
        if row["late_tables"]:
            late = ", ".join(row["late_tables"])
            return [f"{late}: perhaps added to the publication after the slot was made; {mend}"]
        if row["proven"]:
            return []
        upto = await self.flushed(connection)
        try:
            async with self._peek(connection) as told:
                await connection.fetchval(sql.COUNT, self.name, upto, quoted(self.publication))
                told()
        except SlotLostError as error:
            return [f"{error.what}: {mend}"]
        return []

    # --- making the slot

    async def create(
        self,
        dsn: str,
        password: str | None = None,
        *,
        waiting: Callable[[Sequence[Blocker]], None] = lambda blockers: None,
        seconds: float = CREATE_SECONDS,
    ) -> SlotSnapshot:
        """Make the slot over a replication connection and hold its exact snapshot.

        The server waits for every open transaction that has written, of all databases; `waiting`
        hears of them each second. After `seconds` it is given up with BusyError, and no slot is
        left. Whoever is killed in here may leave one: `drop` it by its name.
        """
        watcher = await open_for_capture(dsn, password)
        try:
            connection = await open_for_capture(dsn, password, replication=True)
            try:
                async with _errors():
                    return await self._create(connection, watcher, waiting, seconds)
            except BaseException:
                connection.terminate()
                raise
        finally:
            watcher.terminate()

    async def _create(
        self,
        connection: Connection,
        watcher: Connection,
        waiting: Callable[[Sequence[Blocker]], None],
        seconds: float,
    ) -> SlotSnapshot:
        # Nothing in here may take a snapshot before the slot does; LOCK and SET do not.
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        for some in batched(self.tables, 200):
            names = ", ".join(f"ONLY {qualified(name)}" for name in some)
            await connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        await _patient(connection)
        command = f'CREATE_REPLICATION_SLOT "{self.name}" LOGICAL pgoutput USE_SNAPSHOT'
        await self._wait_for(
            lambda: connection.execute(command), connection, watcher, waiting, seconds
        )
        try:
            # A simple statement returns no rows here, but this setting is reported.
            await connection.execute(sql.EXPORT)
            snapshot = str(connection.get_settings().application_name)
            await connection.execute("SET application_name = 'geode-tui capture'")
            state = await self.state(watcher)
            async with watcher.transaction(isolation="repeatable_read", readonly=True):
                await watcher.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                fence = await watcher.fetchval("SELECT pg_current_snapshot()::text")
        except BaseException:
            connection.terminate()
            await asyncio.shield(self.drop(watcher))
            raise
        return SlotSnapshot(connection, snapshot, state.confirmed, fence)

    async def create_by_sql(
        self,
        connection: Connection,
        watcher: Connection,
        *,
        waiting: Callable[[Sequence[Blocker]], None] = lambda blockers: None,
        seconds: float = CREATE_SECONDS,
    ) -> str:
        """Make the slot by SQL, where no replication connection can be had; return its position.

        Take the snapshot of the load afterwards, and skip every transaction that is `visible` in
        it. Waits and gives up as `create`; `watcher` is another session.
        """
        async with _errors(), connection.transaction():
            await _patient(connection)
            await self._wait_for(
                lambda: connection.fetchval(sql.CREATE, self.name),
                connection,
                watcher,
                waiting,
                seconds,
            )
        async with _errors():
            return (await self.state(connection)).confirmed

    async def _wait_for(
        self,
        work: Callable[[], Awaitable[Any]],
        connection: Connection,
        watcher: Connection,
        waiting: Callable[[Sequence[Blocker]], None],
        seconds: float,
    ) -> None:
        """Wait for a creation and tell who is in its way; when it fails no slot stays."""
        if (await self.state(watcher)).exists:
            raise UsageError(f"slot {self.name} is there already", "", "drop it, or rename ours")
        pid = connection.get_server_pid()
        task = asyncio.ensure_future(work())
        until = time.monotonic() + seconds
        try:
            while not task.done():
                left = until - time.monotonic()
                await asyncio.wait([task], timeout=max(0.0, min(LOOK_SECONDS, left)))
                if task.done():
                    break
                blockers = await _blockers(watcher, pid)
                if left <= 0:
                    raise BusyError(
                        f"slot {self.name} was not made within {seconds:.0f} s",
                        "it waits for open transactions: " + _names(blockers),
                        "end them, or try again when they have ended",
                    )
                waiting(blockers)
            task.result()
        except BaseException:
            if not (task.done() and isinstance(task.exception(), asyncpg.PostgresError)):
                task.cancel()  # the driver sends the server a request to cancel
                await asyncio.shield(self._undo(watcher, pid))
            raise

    async def _undo(self, watcher: Connection, pid: int) -> None:
        """See that a creation of the session `pid` leaves no slot, if need be by ending it.

        The server takes the name as soon as a creation begins, so a slot of it is ours.
        """
        for attempt in range(50):
            if not await watcher.fetchval(sql.HELD_BY, self.name, pid):
                break
            if attempt == 10:
                await watcher.fetchval("SELECT pg_terminate_backend($1)", pid)
            await asyncio.sleep(0.1)
        await self.drop(watcher)  # it may have been made at the last moment

    # --- reading

    async def flushed(self, connection: Connection) -> str:
        """The position up to which the source's WAL can be read now."""
        async with _errors():
            return str(await connection.fetchval(sql.FLUSHED))

    async def read(
        self, connection: Connection, upto: str, rows: int = READ_ROWS, *, most: int | None = None
    ) -> AsyncGenerator[list[Event]]:
        """The events up to a position (see `flushed`), in lists of about `rows`.

        They come by a cursor, so that memory stays flat however large a transaction is; the
        server begins to answer when it has decoded all. With `most` it stops at the first end of
        a transaction after so many changes: less than 20,000 is slow. Nothing is consumed: a
        second reading gives the same again, also what a crash left unapplied (see `is_after`).
        The last event is a Commit (or a Message outside of transactions); when all was read
        without `most`, it is right to advance to `upto`, also when nothing came.

        Raises SlotLostError when changes are lost, BusyError when somebody else reads the slot.
        """
        wanted = frozenset(self.tables)
        async with _errors(), self._peek(connection) as told:
            near = await connection.fetchval(sql.NEAR)
            decoder = Decoder(near)
            cursor = await connection.cursor(
                sql.PEEK, self.name, upto, most, quoted(self.publication)
            )
            while records := await cursor.fetch(rows):
                told()
                events = decoder.events([record[0] for record in records])
                # A partition's columns are told beside those of its table.
                yield [e for e in events if type(e) is not Columns or e.table in wanted]
            told()
            if decoder.within:
                raise GeodeTuiError(f"slot {self.name} broke off within a transaction")

    @asynccontextmanager
    async def _peek(self, connection: Connection) -> AsyncIterator[Callable[[], None]]:
        """A transaction to peek in. The function it gives raises when the server skipped changes.

        A server of version 18 or later only warns where the publication was not there yet.
        """
        skipped: list[str] = []

        def listen(_: object, message: asyncpg.PostgresLogMessage) -> None:
            if getattr(message, "sqlstate", "") == sql.NOT_IN_STATE:
                skipped.append(str(message).split("\n")[0])

        def told() -> None:
            if skipped:
                raise self._too_late(skipped[0])

        connection.add_log_listener(listen)
        try:
            async with connection.transaction(readonly=True):
                await connection.execute(local_settings() + sql.PEEK_SETTINGS)
                await find_types(connection)
                yield told
        except asyncpg.UndefinedObjectError as error:
            raise await self._missing(connection, error) from error
        except asyncpg.ObjectInUseError as error:
            raise await self._in_use(connection) from error
        except asyncpg.ObjectNotInPrerequisiteStateError as error:
            raise await self._unreadable(connection, error) from error
        finally:
            if not connection.is_closed():
                connection.remove_log_listener(listen)

    async def advance(self, connection: Connection, position: str) -> None:
        """Confirm all up to a position: it is not told again, and its WAL can go.

        Nothing when that was confirmed before. Do it when what was read is safe in the target.
        """
        async with _errors():
            try:
                found = await connection.fetch(sql.ADVANCE, self.name, position)
            except asyncpg.ObjectInUseError as error:
                raise await self._in_use(connection) from error
            except asyncpg.ObjectNotInPrerequisiteStateError as error:
                raise await self._unreadable(connection, error) from error
            if not found:
                raise SlotLostError((await self.state(connection)).words)

    async def send(self, connection: Connection, prefix: str, text: str) -> str:
        """Send a text through the stream, in a transaction of its own; return its position.

        It comes back as a Message after everything that was committed before. Raises
        GeodeTuiError.
        """
        async with _errors(), connection.transaction():
            await connection.execute("SET TRANSACTION READ WRITE")
            await connection.execute("SET LOCAL synchronous_commit = local")
            return str(await connection.fetchval(sql.SEND, prefix, text))

    # --- its state

    async def state(self, connection: Connection) -> SlotState:
        """How the slot is. Needs no rights."""
        async with _errors():
            row = await connection.fetchrow(sql.STATE, self.name)
        if row is None:
            return SlotState(self.name, exists=False)
        return SlotState(self.name, True, **dict(row))

    async def drop(self, connection: Connection, *, seconds: float = DROP_SECONDS) -> bool:
        """Drop the slot, a lost one too; False when there is none.

        Waits `seconds` while somebody uses it, then BusyError says who. A slot of another
        database or plugin is not ours and is refused.
        """
        until = time.monotonic() + seconds
        async with _errors():
            while True:
                row = await connection.fetchrow(sql.OURS, self.name)
                if row is None:
                    return False
                if not row["ours"]:
                    raise UsageError(
                        f"slot {self.name} is not ours",
                        f"it is of database {row['database']} with plugin {row['plugin']}",
                        "take another name",
                    )
                try:
                    await connection.execute(self.tear_down_statements()[0])
                    return True
                except asyncpg.ObjectInUseError as error:
                    if time.monotonic() > until:
                        raise await self._in_use(connection) from error
                    await asyncio.sleep(0.2)

    async def tear_down(self, connection: Connection, *, seconds: float = DROP_SECONDS) -> None:
        """Drop the slot and the publication; what is gone already is no error."""
        await self.drop(connection, seconds=seconds)
        async with _errors(), connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            await connection.execute(self.tear_down_statements()[1])

    # --- errors in words

    def _too_late(self, message: str) -> SlotLostError:
        return SlotLostError(
            f"publication {self.publication} was not there yet for some of what slot {self.name} "
            "tells: changes would be lost",
            f"the publication was made after the slot, or anew ({message})",
            "drop the slot, then make it anew and load again",
        )

    async def _missing(self, connection: Connection, error: Exception) -> GeodeTuiError:
        """What is missing: the slot, the publication, or the publication in the slot's past."""
        state = await self.state(connection)
        if not state.exists:
            return SlotLostError(state.words, "", "make a new slot and load again")
        return self._too_late(str(error).split("\n")[0])

    async def _in_use(self, connection: Connection) -> BusyError:
        row = await connection.fetchrow(sql.USER, self.name)
        who = f"process {row['pid']} ({row['application']})" if row else "a process that ended now"
        return BusyError(
            f"slot {self.name} is in use",
            f"{who} reads it",
            "end that process, or try again later",
        )

    async def _unreadable(self, connection: Connection, error: Exception) -> GeodeTuiError:
        state = await self.state(connection)
        message = str(error).split("\n")[0]
        if state.lost:
            return SlotLostError(state.words, message, "drop the slot, make it anew, load again")
        return ConnectError(f"slot {self.name} cannot be read", message)

    async def _relations(self, connection: Connection) -> list[asyncpg.Record]:
        return await connection.fetch(sql.RELATIONS, *_columns_of(self.tables))


async def _blockers(watcher: Connection, pid: int) -> list[Blocker]:
    rows = await watcher.fetch(sql.BLOCKERS, pid)
    return [Blocker(row["pid"], row["since"], row["application"]) for row in rows]


def _names(blockers: Sequence[Blocker]) -> str:
    shown = []
    for blocker in blockers[:5]:
        who = f"pid {blocker.pid}" if blocker.pid else "prepared transaction"
        since = f" since {blocker.since:%H:%M:%S}" if blocker.since else ""
        shown.append(f"{who} {blocker.application}{since}")
    return ", ".join(shown) or "none that this role can see"


async def _patient(connection: Connection) -> None:
    """A wait for others, or the load that follows, must not end by a setting of the role."""
    names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    version = connection.get_server_version()
    if version.major * 10_000 >= _TRANSACTION_TIMEOUT:
        names.append("transaction_timeout")
    for name in names:
        await connection.execute(f"SET LOCAL {name} = 0")


def _columns_of(tables: Sequence[TableName]) -> tuple[list[str], list[str]]:
    return [table.schema for table in tables], [table.name for table in tables]


def _megabytes(size: int | None) -> str:
    return "an unknown amount" if size is None else f"{max(0, size) / 1_000_000:,.1f} MB"


@asynccontextmanager
async def _errors() -> AsyncIterator[None]:
    """What the server or the connection refuses, in words for a person."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionRefusedError(
            str(error).split("\n")[0],
            "change capture needs a right that the role lacks",
            "see the requirements of capture for the SQL that grants it",
        ) from error
    except asyncpg.DuplicateObjectError as error:
        message = str(error).split("\n")[0]
        raise UsageError(message, "", "drop it, or take another name") from error
    except asyncpg.PostgresError as error:
        raise read_error(error) from error
    except _BROKEN as error:
        raise lost_error(error) from error
