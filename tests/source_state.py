"""A source as others see it: sessions of its application, and all that could be left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from geode_tui.source.introspect import Connection


@asynccontextmanager
async def application(dsn: str, **settings: str) -> AsyncIterator[Connection]:
    """A session of the application."""
    connection = await asyncpg.connect(
        dsn, server_settings={"application_name": "till", **settings}
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def state_of(dsn: str) -> dict[str, Any]:
    """Whatever of a source a freeze could leave behind."""
    async with application(dsn) as connection:
        found: dict[str, Any] = {
            "triggers": await connection.fetch(
                "SELECT tgrelid::regclass::text, tgname, tgenabled, tgfoid FROM pg_trigger"
                " ORDER BY 1, 2"
            ),
            "functions": await connection.fetch("SELECT oid, proname FROM pg_proc ORDER BY 1"),
            "schemas": await connection.fetch("SELECT oid, nspname FROM pg_namespace ORDER BY 1"),
            "rights": await connection.fetch(
                "SELECT oid, relacl::text, relowner FROM pg_class WHERE relkind IN ('r', 'p')"
                " ORDER BY 1"
            ),
            "settings": await connection.fetch(
                "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY 1"
            ),
            "of roles": await connection.fetch("SELECT * FROM pg_db_role_setting ORDER BY 1, 2"),
            "locks": await connection.fetch(
                "SELECT relation::regclass::text, mode FROM pg_locks WHERE locktype = 'relation'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND pid <> pg_backend_pid() ORDER BY 1, 2"
            ),
        }
    return found


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.02)
