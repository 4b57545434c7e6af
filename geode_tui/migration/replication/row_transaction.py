"""The transaction of the source that a fall-back is: it holds the tables, and sees itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, PermissionRefusedError
from geode_tui.source.freeze_sql import PASS
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import Source, find_types, lost_error, read_error
from geode_tui.source.profile import qualified
from geode_tui.validation.entity import Entity

LOCK_SECONDS = 10
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class RowTransaction:
    """Reads in the transaction that writes, so that it sees what was written."""

    def __init__(self, connection: Connection, transaction: Any) -> None:
        self.connection = connection
        self._transaction = transaction

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a SELECT and return all its rows. Raises GeodeTuiError."""
        with told():
            return await self.connection.fetch(statement, *arguments)

    async def rows_at(self, entity: Entity, places: Sequence[Sequence[str]]) -> list[Any]:
        """The rows of an entity at some cursors, those that can be carried."""
        lists = [list(texts) for texts in zip(*places, strict=True)]
        rows = await self.fetch(entity.extract.rows_at_sql, *lists)
        return [row for row in rows if entity.rejected(row) is None]

    async def commit(self) -> None:
        """Let it all be so. Raises GeodeTuiError."""
        with told():
            await self._transaction.commit()


async def hold(source: Source, tables: Sequence[TableName], guard: str) -> RowTransaction:
    """Begin a transaction that nobody else writes to the tables in.

    The triggers of the freeze `guard` let it through. Raises BusyError when a table is in use.
    """
    connection = await source.capture_session()
    transaction = connection.transaction(isolation="repeatable_read")
    try:
        with told():
            await transaction.start()
            await connection.execute(
                f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = 0;"
                " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off"
            )
            if tables:  # before the snapshot is taken, which the first query does
                names = ", ".join(qualified(name) for name in sorted(tables))
                await connection.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
            if guard:
                sql = "SELECT set_config($1, $2, true)"
                await connection.fetchval(sql, PASS, guard)
            await find_types(connection)
    except BaseException:
        connection.terminate()
        raise
    return RowTransaction(connection, transaction)


@asynccontextmanager
async def undone(rows: RowTransaction) -> AsyncIterator[RowTransaction]:
    """Around work in a transaction: undone in the end, unless it was committed."""
    connection = rows.connection
    try:
        yield rows
    finally:
        with contextlib.suppress(asyncpg.PostgresError, TimeoutError, *_BROKEN):
            if connection.is_in_transaction():
                await asyncio.wait_for(connection.execute("ROLLBACK"), LOCK_SECONDS)
        connection.terminate()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What PostgreSQL refuses, in words for a person."""
    try:
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise BusyError(
            "a table is in use by another transaction",
            f"{error}; waited {LOCK_SECONDS} s",
            "see that nobody writes to the source, and fall back again",
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionRefusedError(
            str(error), "a fall-back writes to the tables", "log in as their owner"
        ) from error
    except asyncpg.PostgresError as error:
        raise read_error(error) from error
    except _BROKEN as error:
        raise lost_error(error) from error
