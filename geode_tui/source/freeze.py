"""Writes to some tables of a source stand still for a while, and go on by themselves.

By a *lock*: one transaction holds all tables, writers wait, readers go on. It ends with our
session; the server ends that when the budget is over and nobody has spoken. By *triggers*: writes
fail at once with SQLSTATE 25006. The time when they let writes through again is in the function
that refuses, so a process that is killed freezes nobody for longer than its budget.

Both begin at a moment when no writer has an open transaction. Nothing else of the source is
changed: no setting, no right; released, there is no trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, PermissionRefusedError, UsageError
from geode_tui.source import freeze_sql as sql
from geode_tui.source.freeze_sql import PASS, Names, Relation
from geode_tui.source.introspect import Connection
from geode_tui.source.outbox_sql import literal
from geode_tui.source.postgres import lost_error, read_error

FreezeMethod = Literal["lock", "trigger"]
Connect = Callable[[], Awaitable[Connection]]
Tell = Callable[[str], None]

LOCK_MILLISECONDS = 500
"""Writers wait behind a lock that waits: it gives up so soon, and is asked for again."""
VACUUM_MILLISECONDS = 1_500
"""A vacuum that is in the way ends itself, but only after `deadlock_timeout` (1 s)."""
ATTEMPTS = 8
DROP_ATTEMPTS = 8
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0
_CLOSE_SECONDS = 2.0
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_LOCKED_OUT = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,  # all tables together took too long
)
_TRANSACTION_TIMEOUT = 17


@dataclass(frozen=True, slots=True)
class Session:
    """Another session, or a prepared transaction (pid 0), that is in the way or waits.

    `since` is when its transaction began, or its statement where it waits; None where the role
    may not know.
    """

    pid: int
    user: str
    application: str
    since: float | None
    state: str
    query: str = ""

    @property
    def named(self) -> str:
        """The session in words."""
        if not self.pid:
            return self.application
        who = self.application or self.user or "unknown"
        return f"pid {self.pid} ({who})"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is there of a freeze by triggers; `until` is None when it is for good."""

    until: float | None
    seconds_left: float
    triggers: int

    @property
    def holds(self) -> bool:
        """Whether writes are refused now."""
        return self.seconds_left > 0 and self.triggers > 0


@dataclass(slots=True)
class Freeze:
    """A freeze of `tables`, by a lock or by triggers; `name` is that of its schema.

    `what` is the reason that a writer is told. Take it, then either release and clear it, or make
    it a guard, which stays. Every method raises GeodeTuiError; `release` and `clear` may be called
    at any time, as often as one likes.
    """

    connect: Connect
    tables: tuple[TableName, ...]
    name: str
    what: str
    method: FreezeMethod
    tell: Tell = field(default=lambda text: None)
    attempts: int = 0
    relations: tuple[Relation, ...] = ()
    _held: Connection | None = None
    _deadline: float = 0.0
    _vacuumed: bool = False

    @property
    def pid(self) -> int | None:
        """The server's process that holds the tables, or waits for them; None where none does."""
        held = self._held
        return held.get_server_pid() if held is not None and not held.is_closed() else None

    @property
    def seconds_left(self) -> float:
        """How long it still holds, by this machine's steady clock."""
        return self._deadline - time.monotonic()

    async def require_rights(self, *, guard: bool) -> None:
        """Raise where the role may not freeze the tables; with `guard`, not for good."""
        async with _session(self.connect) as connection:
            rows = await _relation_rows(connection, self.tables)
            about = await connection.fetchrow(sql.RIGHTS)
        assert about is not None
        triggers = guard or self.method == "trigger"
        for row in rows:
            table = TableName(row["schema"], row["name"])
            if not row["may_lock"]:
                raise _refused(about["role"], f"lock {table}", f"GRANT UPDATE ON {table}")
            if triggers and not row["may_trigger"]:
                raise _refused(about["role"], f"make a trigger on {table}", "log in as its owner")
        if triggers and not about["may_create"]:
            grant = f"GRANT CREATE ON DATABASE {about['database']} TO {about['role']}"
            raise _refused(about["role"], f"create a schema in {about['database']}", grant)

    async def take(self, budget: float) -> float:
        """Let writes stand still for at most `budget` seconds; returns since when.

        All writers that had begun have ended. A lock that is not had soon is given up and asked
        for again; raises BusyError, with who is in the way, after the last attempt.
        """
        for attempt in range(ATTEMPTS):
            self.attempts = attempt + 1
            asked, steady = time.time(), time.monotonic()
            self._deadline = steady + budget
            found = await self._try(budget)
            if found is None:
                return asked
            if attempt + 1 < ATTEMPTS:
                self.tell(f"writes go on: {found} is in the way; tries again")
                await asyncio.sleep(min(_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS))
        self._deadline = 0.0
        raise BusyError(
            "the tables could not be frozen",
            f"{ATTEMPTS} times somebody else held one of them: {found}",
            "wait until that has ended, or end it, and try again",
        )

    async def holds(self, watcher: Connection) -> bool:
        """Whether writes stand still now, as the server has it."""
        with _told():
            if self.method == "trigger":
                found = await standing(watcher, self.name)
                return found is not None and found.holds
            if self.pid is None:
                return False
            rows = await watcher.fetch(
                "SELECT relation FROM pg_locks WHERE pid = $1 AND locktype = 'relation'"
                " AND granted AND mode = 'ShareRowExclusiveLock'",
                self.pid,
            )
        held = {row["relation"] for row in rows}
        return bool(self.relations) and held.issuperset(one.oid for one in self.relations)

    async def waiting(self, watcher: Connection) -> list[Session]:
        """The sessions that wait for the tables."""
        return await self._sessions(watcher, granted=False)

    async def in_the_way(self, watcher: Connection) -> list[Session]:
        """The sessions that hold one of the tables so that they cannot be frozen."""
        return await self._sessions(watcher, granted=True)

    async def keep(self) -> None:
        """Make it a guard: the triggers stay, without an end.

        Not for a moment can anybody write between the freeze and its guard. Raises GeodeTuiError,
        and there is no guard, where the freeze has ended before.
        """
        if self.method == "lock":
            await self._keep_locked()
        else:
            await self._keep_triggers()

    async def release(self) -> None:
        """Let writes go on, at once. Triggers that do nothing may be left: `clear` drops them."""
        self._deadline = 0.0
        await self._let_go()
        if self.method == "trigger":
            async with _session(self.connect) as connection:
                await open_up(connection, self.name)

    async def clear(self) -> None:
        """Take every trace away, once writes go on; nobody should hold the tables open."""
        if self.method == "trigger":
            async with _session(self.connect) as connection:
                await remove(connection, self.name)

    async def close(self) -> None:
        """End our session, if there is one; triggers stay as they are."""
        await self._let_go()

    async def _try(self, budget: float) -> str | None:
        """One attempt; None when it worked, else who is in the way."""
        connection = await self.connect()
        self._held = connection
        try:
            with _told():
                await connection.execute("SET application_name = 'geode-tui freeze'")
                self.relations = await relations(connection, self.tables)
                await self._begin(connection, budget)
                for statement in sql.lock_tables(self.relations):
                    await connection.execute(statement)
                await connection.execute(f"SET LOCAL statement_timeout = {_milliseconds(budget)}")
                if self.method == "trigger":
                    await self._make_triggers(connection, budget)
                    await connection.execute("COMMIT")
        except BusyError:
            await connection.execute("ROLLBACK")
            found = await self.in_the_way(connection)
            await self._let_go()
            self._vacuumed = any(one.application == "autovacuum" for one in found)
            return ", ".join(one.named for one in found[:3]) or "another session"
        except BaseException:
            connection.terminate()
            self._held = None
            raise
        if self.method == "trigger":
            await self._let_go()
        return None

    async def _begin(self, connection: Connection, budget: float) -> None:
        patience = VACUUM_MILLISECONDS if self._vacuumed else LOCK_MILLISECONDS
        lasts = _milliseconds(budget)
        await connection.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
            f" SET LOCAL lock_timeout = {patience};"
            f" SET LOCAL statement_timeout = {2 * patience};"
            f" SET LOCAL idle_in_transaction_session_timeout = {lasts}"
        )
        if connection.get_server_version().major >= _TRANSACTION_TIMEOUT:
            most = lasts + 2 * patience
            await connection.execute(f"SET LOCAL transaction_timeout = {most}")

    async def _make_triggers(self, connection: Connection, budget: float | None) -> None:
        """Make the triggers in the transaction that holds the tables; None is for good."""
        until = None
        if budget is not None:
            now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
            until = now + budget
        names = Names(self.name)
        for statement in (
            *sql.make_schema(names, f"geode-tui: {self.what}"),
            *sql.make_function(names, until, self.what),
            *sql.make_triggers(names, self.relations),
        ):
            await connection.execute(statement)

    async def _keep_locked(self) -> None:
        connection = self._held
        if connection is None or connection.is_closed():
            raise _over()
        with _told():
            await self._make_triggers(connection, None)
            await connection.execute("COMMIT")
        await self._let_go()

    async def _keep_triggers(self) -> None:
        """Under a lock that nobody who wrote since can have let us have: it held until now."""
        async with _session(self.connect) as connection:
            await self._begin(connection, max(0.1, self.seconds_left))
            for statement in sql.lock_tables(self.relations):
                await connection.execute(statement)
            found = await standing(connection, self.name)
            if found is None or not found.holds:
                raise _over()
            for statement in sql.make_function(Names(self.name), None, self.what):
                await connection.execute(statement)
            await connection.execute("COMMIT")

    async def _let_go(self) -> None:
        """End the session that holds the tables; the server ends it where we cannot."""
        connection, self._held = self._held, None
        if connection is None or connection.is_closed():
            return
        pid = connection.get_server_pid()
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK", timeout=_CLOSE_SECONDS)
            await connection.close(timeout=_CLOSE_SECONDS)
        except (asyncpg.PostgresError, TimeoutError, *_BROKEN):
            connection.terminate()
            with contextlib.suppress(GeodeTuiError):
                async with _session(self.connect) as other:
                    await other.execute("SELECT pg_terminate_backend($1)", pid)

    async def _sessions(self, watcher: Connection, *, granted: bool) -> list[Session]:
        own = (self.pid,) if self.pid is not None else ()
        return await sessions_on(watcher, self.relations, granted=granted, own=own)


async def relations(connection: Connection, tables: Sequence[TableName]) -> tuple[Relation, ...]:
    """The tables with all their partitions, in the order in which they are locked."""
    rows = await _relation_rows(connection, tables)
    found = {
        row["oid"]: Relation(row["oid"], TableName(row["schema"], row["name"]), row["kind"])
        for row in rows
    }
    return tuple(found.values())


async def standing(connection: Connection, name: str) -> Standing | None:
    """What is there of the freeze by triggers of that name, None where there is nothing."""
    with _told():
        row = await connection.fetchrow(sql.STATE, name)
    if row is None or not row["there"]:
        return None
    until = float(row["until"] or 0)
    left = until - row["now"]
    return Standing(None if math.isinf(until) else until, left, row["triggers"])


async def open_up(connection: Connection, name: str) -> bool:
    """Let writes through at once, whatever locks there are; whether anything was there."""
    if await standing(connection, name) is None:
        return False
    with _told():
        await _replace(connection, name, 0.0, "it does not")
    return True


async def remove(connection: Connection, name: str) -> bool:
    """Let writes through at once, then drop the triggers, the function and the schema.

    Returns whether anything was there. A table that somebody reads for long keeps a trigger that
    does nothing: BusyError tells, and it can be called again.
    """
    if not await open_up(connection, name):
        return False
    with _told():
        for row in await connection.fetch(sql.TRIGGERS, name):
            table = TableName(row["schema"], row["name"])
            await _patiently(connection, [sql.drop_trigger(row["trigger"], table)])
        await _patiently(connection, list(sql.drop_schema(Names(name))))
    return True


async def sessions_on(
    watcher: Connection, tables: Sequence[Relation], *, granted: bool, own: Sequence[int] = ()
) -> list[Session]:
    """Who holds (`granted`), or waits for, a lock on the tables that keeps a freeze from them."""
    ours = [*own, watcher.get_server_pid()]
    with _told():
        rows = await watcher.fetch(sql.SESSIONS, [one.oid for one in tables], granted, ours)
    return [Session(**dict(row)) for row in rows]


async def long_transactions(
    connection: Connection, seconds: float, also: Iterable[int] = ()
) -> list[Session]:
    """Transactions of others that have written and are open for longer; and of the pids `also`."""
    with _told():
        rows = await connection.fetch(sql.LONG_TRANSACTIONS, float(seconds), list(also))
    return [Session(*(row[name] for name in Session.__slots__)) for row in rows]


def pass_statement(name: str) -> str:
    """SQL that lets the present transaction write in spite of the freeze of that name."""
    return f"SET LOCAL {PASS} = {literal(name)}"


async def _relation_rows(
    connection: Connection, tables: Sequence[TableName]
) -> list[asyncpg.Record]:
    schemas, names = [t.schema for t in tables], [t.name for t in tables]
    with _told():
        rows = await connection.fetch(sql.RELATIONS, schemas, names)
    there = {(row["wanted_schema"], row["wanted_name"]) for row in rows if row["oid"] is not None}
    for table in tables:
        if (table.schema, table.name) not in there:
            raise UsageError(f"{table} is no table, or is gone", "it cannot be frozen")
    return [row for row in rows if row["oid"] is not None]


async def _replace(connection: Connection, name: str, until: float | None, what: str) -> None:
    async with connection.transaction():
        for statement in sql.make_function(Names(name), until, what):
            await connection.execute(statement)


async def _patiently(connection: Connection, statements: Sequence[str]) -> None:
    """Run statements in a transaction that waits for no lock for long, again and again."""
    for attempt in range(DROP_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
                for statement in statements:
                    await connection.execute(statement)
            return
        except _LOCKED_OUT as error:
            if attempt + 1 == DROP_ATTEMPTS:
                raise BusyError(
                    "writes go on, but a trigger that does nothing is left",
                    f"{statements[0]}: {str(error).splitlines()[0]}",
                    "when the long readers have ended: geode-tui cutover RUN --abort",
                ) from error
            await asyncio.sleep(min(_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS))


@contextlib.asynccontextmanager
async def _session(connect: Connect) -> AsyncIterator[Connection]:
    connection = await connect()
    try:
        with _told():
            yield connection
    finally:
        connection.terminate()


class _told:
    """What PostgreSQL refuses, in words for a person."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _LOCKED_OUT):
            raise BusyError(
                "a table is in use by another transaction", str(error).split("\n")[0]
            ) from error
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise PermissionRefusedError(
                str(error).split("\n")[0],
                "a freeze locks the tables, and makes triggers in a schema of its own",
                "log in as the owner of the tables, with CREATE on the database",
            ) from error
        if isinstance(error, asyncpg.PostgresError):
            raise read_error(error) from error
        if isinstance(error, _BROKEN):
            raise lost_error(error) from error


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _over() -> GeodeTuiError:
    return GeodeTuiError("the freeze has ended before it could be made to last", "its time was up")


def _refused(role: str, what: str, next_step: str) -> PermissionRefusedError:
    return PermissionRefusedError(f"{role} may not {what}", "a freeze needs it", next_step)
