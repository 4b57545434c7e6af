"""One PostgreSQL database as a source: sessions that can only read, and one snapshot for all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import batched
from types import MappingProxyType
from typing import Any

import asyncpg

from geode_tui.catalog import (
    Catalog,
    ColumnValues,
    FanOut,
    Inclusion,
    Orphans,
    Profile,
    ServerFacts,
    Table,
    TableName,
    Widths,
)
from geode_tui.errors import (
    BusyError,
    ConnectError,
    GeodeTuiError,
    LostError,
    MappingError,
    PermissionRefusedError,
    RowError,
    SnapshotLostError,
    UnreachableError,
    UsageError,
)
from geode_tui.mapping.expressions import check_query
from geode_tui.mapping.extract import Extract
from geode_tui.mapping.model import QUERY_SCHEMA, Query
from geode_tui.source.describe import describe_query
from geode_tui.source.dsn import check_dsn, short_name
from geode_tui.source.introspect import Connection, read_catalog, read_facts
from geode_tui.source.profile import (
    COUNTED_BYTES,
    can_probe,
    count_fan_out,
    count_inclusion,
    count_values,
    find_orphans,
    from_table,
    guess_fan_out,
    measure_widths,
    probe_fan_out,
    qualified,
    quoted,
    read_profile,
)

BLOCK_BYTES = 8192
_SETTINGS = {
    "application_name": "geode-tui",
    "default_transaction_read_only": "on",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "standard_conforming_strings": "on",
    "jit": "off",
    "search_path": "pg_catalog",
}
OLDEST_VERSION = 130_000
# The driver's internal error comes where a session that was just ended is asked once more.
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
LOOK_SECONDS = 10
"""A look at the values of a table is given up after so long."""


class Source:
    """A PostgreSQL that is read in READ ONLY transactions, over one or more sessions.

    `name` shows the database and its host, never a password.
    """

    def __init__(self, dsn: str, password: str | None, wait: float, connection: Connection) -> None:
        self._dsn = dsn
        self._password = password
        self._wait = wait
        self._connection = connection
        self.name = short_name(dsn)
        self.facts = ServerFacts()
        self._busy = asyncio.Lock()  # a session answers one question at a time

    @classmethod
    async def connect(cls, dsn: str, *, password: str | None = None, wait: float = 10) -> Source:
        """Connect; what the DSN leaves out comes from libpq's own places. `wait` in seconds.

        Raises ConnectError saying what, why and what next, UsageError for a text that is no DSN.
        """
        dsn = check_dsn(dsn)
        connection = await _open(dsn, password, wait)
        source = cls(dsn, password, wait, connection)
        source.facts = await read_facts(connection)
        if source.facts.version_number < OLDEST_VERSION:
            await connection.close()
            raise ConnectError(
                f"PostgreSQL {source.facts.version} is too old",
                "geode-tui reads PostgreSQL 13 and later",
            )
        return source

    @property
    def identity(self) -> str:
        """Database, host and role, to see that a resumed run reads the same source."""
        return f"{self.facts.database} (oid {self.facts.database_oid}) as {self.facts.role}"

    async def catalog(self, schemas: Sequence[str] = ()) -> Catalog:
        """Read the catalog of `schemas` (all but the system's when empty).

        Raises UsageError when there is no table in them.
        """
        try:
            async with self._busy:
                catalog = await read_catalog(self._connection, self.facts, schemas)
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error
        if not catalog.tables:
            where = f"schema {', '.join(schemas)}" if schemas else "any schema"
            raise UsageError(
                f"no table in {where} of {self.facts.database}",
                f"role {self.facts.role} sees none",
                "name a schema that holds tables with --schema, or check the database's name",
            )
        return catalog

    async def sample(self, table: Table, limit: int = 50) -> list[tuple[str | None, ...]]:
        """Some rows of a table as the texts that PostgreSQL prints, in column order."""
        columns = ", ".join(f"t.{quoted(name)}::text" for name in table.column_names)
        statement = f"SELECT {columns} FROM {from_table(table)} AS t LIMIT $1"
        return [tuple(row) for row in await self._read(statement, limit)]

    async def preview(self, extract: Extract, limit: int = 20) -> list[tuple[Any, ...]]:
        """The first rows of a rule as graph values (the layout is the extract's)."""
        statement = extract.first_sql if extract.keyed else extract.sample_sql(None)
        return [tuple(row) for row in await self._read(statement, limit)]

    async def profile(self, catalog: Catalog) -> Profile:
        """The planner's statistics of all columns, at no cost; empty when it took too long."""
        found = await self._look(lambda connection: read_profile(connection, catalog))
        return found or Profile()

    async def column_values(
        self, table: Table, column: str, limit: int = 20
    ) -> ColumnValues | None:
        """The values of a column that most rows have; None when it took too long."""
        return await self._look(lambda on: count_values(on, table, column, limit))

    async def widest(self, table: Table) -> Widths | None:
        """The longest text and the share of nulls of each column; None when it took too long."""
        return await self._look(lambda connection: measure_widths(connection, table))

    async def fan_out(self, table: Table, columns: Sequence[str]) -> FanOut | None:
        """How many rows of `table` share a reference; None when nothing tells it in time.

        A table of up to 512 MB is counted whole, of a bigger one references are drawn and
        counted by index; where that fails the planner's statistics are asked.
        """
        found = None
        if not table.has_storage or table.bytes <= COUNTED_BYTES:
            found = await self._look(lambda on: count_fan_out(on, table, columns))
        if found is None and can_probe(table, columns):
            found = await self._look(lambda on: probe_fan_out(on, table, columns))
        if found is None and len(columns) == 1 and table.estimated_rows:
            profile = await self.profile(Catalog(self.facts, (table,)))
            column = profile.column(table.name, columns[0])
            found = guess_fan_out(column, table.estimated_rows) if column else None
        return found

    async def inclusion(
        self,
        table: Table,
        columns: Sequence[str],
        to_table: Table,
        to_columns: Sequence[str],
        sample: int = 10_000,
    ) -> Inclusion | None:
        """How many of up to `sample` distinct values are in `to_columns`; None: took too long."""
        return await self._look(
            lambda on: count_inclusion(on, table, columns, to_table, to_columns, sample)
        )

    async def orphans(
        self,
        table: Table,
        columns: Sequence[str],
        to_table: Table,
        to_columns: Sequence[str],
        limit: int = 20,
    ) -> Orphans:
        """The rows that point at nothing, with up to `limit` of their references.

        When counting takes too long a sample gives the references, and their number is None.
        """
        sides = (table, columns, to_table, to_columns)
        found = await self._look(lambda on: find_orphans(on, *sides, limit))
        if found is None:
            found = await self._look(lambda on: find_orphans(on, *sides, limit, sampled=True))
        return found or Orphans(None)

    async def describe_query(self, sql: str, name: str) -> Table:
        """A query of a mapping as a table, without running it.

        Raises MappingError when PostgreSQL refuses it or its columns have no names of their own.
        """
        table = await self._look(lambda connection: describe_query(connection, sql, name))
        if table is None:
            raise MappingError(f"query {name} took too long to plan", "a table may be locked")
        return table

    async def described(self, catalog: Catalog, queries: Sequence[Query]) -> Catalog:
        """The catalog with the queries of a mapping as tables. Raises MappingError.

        The server is given what was understood of a query, written anew, never its text.
        """
        described = []
        for query in queries:
            if catalog.table(query.table) is not None:
                raise MappingError(
                    f"query {query.name} has the name of the table {query.table}",
                    "",
                    "rename the query",
                )
            sql = check_query(query.sql).sql("postgres")
            described.append(await self.describe_query(sql, query.name))
        return catalog.with_tables(described)

    async def session(self) -> Connection:
        """Another session of its own. Raises ConnectError."""
        return await _open(self._dsn, self._password, self._wait)

    async def capture_session(self) -> Connection:
        """A session of its own that may write, for change capture. Raises ConnectError."""
        return await open_for_capture(self._dsn, self._password, wait=self._wait)

    async def reader(self, snapshot: str | None = None) -> Reader:
        """A session of its own for bulk reading, on an exported snapshot if one is named."""
        connection = await _open(self._dsn, self._password, self._wait)
        reader = Reader(connection)
        await reader.begin(snapshot)
        return reader

    @staticmethod
    async def read_on(dsn: str, password: str | None, snapshot: str, wait: float = 10) -> Reader:
        """A session for bulk reading on a snapshot that another session exported.

        Raises SnapshotLostError when that session is gone, else as `connect`.
        """
        reader = Reader(await _open(dsn, password, wait))
        try:
            await reader.begin(snapshot)
        except BaseException:
            await reader.close()
            raise
        return reader

    async def steady(self, tables: Sequence[TableName]) -> SteadyReader:
        """A session that holds `tables` against rewriting, and reads what is committed by now."""
        reader = SteadyReader(await _open(self._dsn, self._password, self._wait))
        try:
            await reader.hold(tables)
        except BaseException:
            await reader.close()
            raise
        return reader

    async def snapshot(self, tables: Sequence[TableName]) -> SnapshotHolder:
        """Lock `tables` against rewriting (ACCESS SHARE) and export one snapshot of them.

        Without tables nothing is locked: ask `Reader.rewritten` before what was read is believed.
        """
        connection = await _open(self._dsn, self._password, self._wait)
        holder = SnapshotHolder(connection)
        try:
            await holder.begin(tables)
        except BaseException:
            await connection.close()
            raise
        return holder

    async def close(self) -> None:
        """End the session."""
        await self._connection.close()

    async def _look[T](self, work: Callable[[Connection], Awaitable[T]]) -> T | None:
        """Do `work` in a transaction that only reads; None when it takes over `LOOK_SECONDS`."""
        try:
            async with (
                self._busy,
                self._connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await self._connection.execute(_LOOK_SETTINGS)
                await self._connection.fetch(_TYPE_SEARCH_PATH)
                return await work(self._connection)
        except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
            return None
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error

    async def _read(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            async with (
                self._busy,
                self._connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await self._connection.fetch(_TYPE_SEARCH_PATH)
                return await self._connection.fetch(statement, *arguments)
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error


class Reader:
    """A session that reads extracts in one REPEATABLE READ, READ ONLY transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self, snapshot: str | None) -> None:
        """Start the transaction, on an exported snapshot if one is named."""
        await self._run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            await self._run(f"SET TRANSACTION SNAPSHOT {_literal(snapshot)}")
        await self._run(_BULK_SETTINGS)
        await self.fetch(_TYPE_SEARCH_PATH)

    async def leave(self) -> None:
        """Leave the snapshot, and let go of all locks; `renew` takes a new one."""
        await self._run("ROLLBACK")

    async def rejoin(self, snapshot: str) -> None:
        """Leave the snapshot, with all locks, and join one that another session exported."""
        await self.leave()
        await self.begin(snapshot)

    async def renew(self) -> str:
        """Take a new snapshot after `leave`, and return it as text (`xmin:xmax:xip,…`)."""
        await self.begin(None)
        return str((await self.fetch("SELECT pg_current_snapshot()::text"))[0][0])

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a SELECT and return all its rows. Raises GeodeTuiError."""
        try:
            return await self._connection.fetch(statement, *arguments)
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error

    async def stream(
        self, statement: str, *arguments: Any, rows: int
    ) -> AsyncIterator[list[asyncpg.Record]]:
        """Run a SELECT and give its rows in lists of `rows`, read as they are wanted.

        They come by a cursor on the server. Raises GeodeTuiError.
        """
        try:
            cursor = await self._connection.cursor(statement, *arguments)
            while some := await cursor.fetch(rows):
                yield some
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error

    async def rewritten(self, tables: Sequence[TableName]) -> list[TableName]:
        """Those of some tables that were truncated or rewritten since the snapshot was taken.

        Such a table looks empty under it, whatever it held. The catalog's row is as the snapshot
        shows it, the function tells the file of now.
        """
        schemas, names = [t.schema for t in tables], [t.name for t in tables]
        rows = await self.fetch(_REWRITTEN, schemas, names)
        return [TableName(row["schema"], row["name"]) for row in rows]

    async def blocks(self, leaf: TableName) -> int:
        """How many blocks a table has on disk now; later ones hold nothing we can see."""
        rows = await self.fetch(
            "SELECT pg_relation_size(format('%I.%I', $1::text, $2::text)::regclass)",
            leaf.schema,
            leaf.name,
        )
        return -(-int(rows[0][0]) // BLOCK_BYTES)

    async def close(self) -> None:
        """End the session at once; nothing is written, so nothing is lost."""
        self._connection.terminate()

    async def _run(self, statement: str) -> None:
        try:
            await self._connection.execute(statement)
        except asyncpg.PostgresError as error:
            raise read_error(error) from error
        except _BROKEN as error:
            raise lost_error(error) from error


class SteadyReader(Reader):
    """A session that keeps the tables from being rewritten, and sees what is committed by now.

    For a time when writes stand: whoever waits to truncate cannot get before it, as it could
    before a session that only comes.
    """

    fence = ""

    async def hold(self, tables: Sequence[TableName]) -> None:
        """Lock the tables (ACCESS SHARE). Raises BusyError where a lock is not had in 2 s."""
        await self._run("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
        await self._run(_BULK_SETTINGS)
        await self._run("SET LOCAL lock_timeout = '2s'")
        for some in batched(tables, 200):
            names = ", ".join(qualified(table) for table in some)
            await self._run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        await self._run("SET LOCAL lock_timeout = 0")
        await self.fetch(_TYPE_SEARCH_PATH)

    async def look(self) -> str:
        """What is committed by now, as a snapshot's text; also kept as `fence`."""
        self.fence = str((await self.fetch("SELECT pg_current_snapshot()::text"))[0][0])
        return self.fence


class SnapshotHolder(Reader):
    """The session that keeps the snapshot which all readers share."""

    snapshot_id = ""
    fence = ""

    async def begin(self, tables: Sequence[TableName]) -> None:  # type: ignore[override]
        """Lock first, then take the snapshot: a TRUNCATE in between would empty it silently.

        A view is locked with the tables under it. What LOCK TABLE cannot lock is not locked:
        foreign tables, materialized views (a REFRESH in between shows), and the
        tables that a query of the mapping reads.
        """
        lockable = await self._lockable(tables)  # before BEGIN: it takes a snapshot of its own
        await self._run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await self._run(_BULK_SETTINGS)
        await self._run("SET LOCAL lock_timeout = '5s'")
        for some in batched(lockable, 200):
            names = ", ".join(qualified(table) for table in some)
            await self._run(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        rows = await self.fetch("SELECT pg_export_snapshot(), pg_current_snapshot()::text")
        self.snapshot_id, self.fence = rows[0]
        await self.fetch(_TYPE_SEARCH_PATH)

    async def _lockable(self, tables: Sequence[TableName]) -> list[TableName]:
        """Those that LOCK TABLE takes; one that is gone stays, so that LOCK TABLE says so."""
        schemas, names = [list(part) for part in zip(*tables, strict=True)] or [[], []]
        rows = await self.fetch(_RELATION_KINDS, schemas, names)
        kinds = {TableName(row["schema"], row["name"]): row["kind"] for row in rows}
        gone = {name for name in tables if name not in kinds and name.schema != QUERY_SCHEMA}
        return sorted(gone.union(name for name, kind in kinds.items() if kind in "rpv"))


# The operators of an extension's type (citext) are found by the search path only; without them a
# key would be compared as text, in another order than the one it is read in.
_TYPE_SEARCH_PATH = """
SELECT set_config('search_path',
  'pg_catalog' || coalesce(string_agg(', ' || quote_ident(s), ''), ''), true)
FROM (SELECT DISTINCT n.nspname AS s FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.typtype = 'b' AND t.typcategory <> 'A'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')) used
"""

_RELATION_KINDS = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
"""

_REWRITTEN = """
SELECT DISTINCT wanted.schema, wanted.name
FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
CROSS JOIN LATERAL (SELECT c.oid AS relid
                    UNION SELECT p.relid::oid FROM pg_partition_tree(c.oid) p) part
LEFT JOIN pg_class leaf ON leaf.oid = part.relid
WHERE coalesce(leaf.relkind IN ('r', 'm'), true)
  AND leaf.relfilenode IS DISTINCT FROM pg_relation_filenode(part.relid)
"""

_BULK_SETTINGS = (
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0; "
    "SET LOCAL row_security = off; "
    # A chunk is planned with its own bounds: a generic plan may sort the whole table for each.
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL random_page_cost = 1.1; "
    "SET LOCAL max_parallel_workers_per_gather = 0"
)


_LOOK_SETTINGS = (
    f"SET LOCAL statement_timeout = '{LOOK_SECONDS}s'; SET LOCAL lock_timeout = '2s'; "
    "SET LOCAL row_security = off"
)


def read_error(error: asyncpg.PostgresError) -> GeodeTuiError:
    """What PostgreSQL refused, in words for a person, in a class that says whether to try again."""
    message, state = str(error).split("\n")[0], error.sqlstate or ""
    if _snapshot_is_gone(error):
        return SnapshotLostError(
            "the snapshot of the run is gone", f"{state}: {message}", "geode-tui resume"
        )
    if state.startswith("08") or getattr(error, "severity_en", "") in ("FATAL", "PANIC"):
        return lost_error(error)
    if state.startswith("22"):
        return RowError(f"PostgreSQL: {message}", f"SQLSTATE {state}")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return PermissionRefusedError(
            message,
            "the role may not read it, or row security would hide rows",
            "GRANT SELECT on it to the role, or exclude it in the mapping",
        )
    if isinstance(error, asyncpg.LockNotAvailableError):
        return BusyError(
            "a table is locked by another session",
            f"{message}; waited 5 s for ACCESS SHARE",
            "find the session in pg_stat_activity (ALTER, VACUUM FULL, LOCK) and try again",
        )
    if state in _BUSY_STATES:
        return BusyError(f"PostgreSQL: {message}", f"SQLSTATE {state}")
    return ConnectError(f"PostgreSQL: {message}", f"SQLSTATE {state}")


def lost_error(error: Exception) -> ConnectError:
    """A connection that broke, in words for a person."""
    message, state = str(error).split("\n")[0], getattr(error, "sqlstate", None)
    return LostError(
        "the connection to the source is lost",
        f"{state}: {message}" if state else message,
        "see that the server runs, then: geode-tui resume",
    )


# A serialization failure or a conflict with a standby's recovery, a deadlock, too many sessions.
_BUSY_STATES = ("40001", "40P01", "53300", "53400")
_SNAPSHOT_TOO_OLD = "72000"
_SET_SNAPSHOT = "SET TRANSACTION SNAPSHOT"


def _snapshot_is_gone(error: asyncpg.PostgresError) -> bool:
    """Whether an exported snapshot cannot be joined any more, or not be read by any more.

    Each version of PostgreSQL has another SQLSTATE for it, and the messages may be translated:
    the statement tells. A session that broke under it (FATAL) says nothing about the snapshot.
    """
    if error.sqlstate == _SNAPSHOT_TOO_OLD:
        return True
    joining = (getattr(error, "query", None) or "").startswith(_SET_SNAPSHOT)
    return joining and getattr(error, "severity_en", "") == "ERROR"


def local_settings() -> str:
    """The settings that values are written by, for a transaction behind a pooler too."""
    names = ("timezone", "datestyle", "intervalstyle", "bytea_output", "extra_float_digits")
    return "".join(f"SET LOCAL {n} = {_literal(_SETTINGS[n])}; " for n in (*names, "lc_monetary"))


async def find_types(connection: Connection) -> None:
    """Set the search path of a transaction as readers have it, so that texts are the same."""
    await connection.fetch(_TYPE_SEARCH_PATH)


async def open_for_capture(
    dsn: str, password: str | None = None, *, wait: float = 10, replication: bool = False
) -> Connection:
    """A session that may write, to set up change capture and to advance it. Raises ConnectError.

    With `replication` it is one for replication commands, which takes simple statements only.
    """
    settings = {"application_name": "geode-tui capture", "default_transaction_read_only": "off"}
    if replication:
        settings["replication"] = "database"
    return await _open(check_dsn(dsn), password, wait, settings)


async def _open(
    dsn: str, password: str | None, wait: float, settings: Mapping[str, str] = MappingProxyType({})
) -> Connection:
    extra: dict[str, Any] = {"password": password} if password else {}
    try:
        return await asyncio.wait_for(
            asyncpg.connect(
                dsn or None,
                timeout=wait,
                server_settings={**_SETTINGS, **settings},
                command_timeout=None,
                **extra,
            ),
            wait + 1,
        )
    except (
        OSError,
        TimeoutError,
        ssl.SSLError,
        ValueError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        raise _connect_error(error, dsn, wait) from error


def _connect_error(error: Exception, dsn: str, wait: float) -> ConnectError:
    """Why there is no connection; UnreachableError or BusyError where it may come by itself."""
    name = short_name(dsn)
    message = str(error).split("\n")[0]
    kind: type[ConnectError] = ConnectError
    if isinstance(error, asyncpg.InvalidPasswordError):
        why, next_step = message, "check user and password (PGPASSWORD, ~/.pgpass)"
    elif isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        why, next_step = message, "check the user and pg_hba.conf"
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        why, next_step = message, "check the database's name"
    elif isinstance(error, asyncpg.TooManyConnectionsError):
        kind, why, next_step = BusyError, message, "free a connection or raise max_connections"
    elif isinstance(error, asyncpg.CannotConnectNowError):
        kind, why, next_step = UnreachableError, message, "wait until the server has started"
    elif isinstance(error, TimeoutError):
        why, next_step = f"no answer in {wait:.0f} s", "check host, port and firewall"
        kind = UnreachableError
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        why, next_step = f"TLS: {message}", "check sslmode and sslrootcert"
    elif isinstance(error, OSError):
        why, next_step = _network_reason(error), "check host and port, and that the server runs"
        kind = UnreachableError
    elif isinstance(error, _GONE_MEANWHILE):
        kind, why, next_step = UnreachableError, message, "see that the server runs"
    else:
        why, next_step = message, "check the DSN: postgresql://user@host:5432/database"
    return kind(f"cannot connect to {name}", why, next_step)


# A server that goes down while somebody logs in.
_GONE_MEANWHILE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)


def _network_reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "nobody answers there: connection refused"
    if isinstance(error, FileNotFoundError):
        return "there is no server socket in that folder"
    return error.strerror or str(error).split("\n")[0]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
