"""Trying an expression, a condition or an order on rows of the source, without writing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.preview import Preview
from geode_tui.source.postgres import Source

SECONDS = 5
"""A statement of a preview that takes longer is ended by the server."""
_FAILURES_FOUND = 3
_CANCELED = "57014"


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row: the texts of its columns, the result, why it is not carried, or why it failed."""

    before: tuple[str | None, ...]
    after: Any = None
    reason: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class PreviewRows:
    """The rows that were tried; `complete` says that no more failing rows were left unsearched."""

    columns: tuple[str, ...]
    rows: tuple[PreviewRow, ...]
    complete: bool = True

    @property
    def failed(self) -> PreviewRow | None:
        """The first row at which PostgreSQL refused, or None."""
        return next((row for row in self.rows if row.failure), None)


class Reads(Protocol):
    """A session that reads in one READ ONLY transaction."""

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Any]:
        """Run a statement and return all its rows."""

    async def close(self) -> None:
        """End the session."""


class PreviewSession:
    """A session of its own for trying things: READ ONLY, in one snapshot, with a time limit.

    Opened when it is first used; a row that fails does not end it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader: Reads | None = None
        self._busy = asyncio.Lock()

    async def rows(self, preview: Preview, count: int) -> PreviewRows:
        """Try the first `count` rows; where PostgreSQL refuses, find the rows that it refuses.

        Raises GeodeTuiError where no row can be read: no permission, too slow, connection lost.
        """
        async with self._busy:
            search = _Search(await self._opened(), preview)
            await search.run(0, count)
            return PreviewRows(preview.columns, tuple(search.found), not search.left)

    async def close(self) -> None:
        """End the session, if there is one."""
        if self._reader is not None:
            await self._reader.close()
            self._reader = None

    async def _opened(self) -> Reads:
        if self._reader is None:
            reader = await self._source.reader()
            # Else two scans of a large table may start at different places.
            await reader.fetch("SET LOCAL synchronize_seqscans = off")
            await reader.fetch(f"SET LOCAL statement_timeout = '{SECONDS}s'")
            self._reader = reader
        return self._reader


class _Search:
    """Finds the rows that fail by halving."""

    def __init__(self, reader: Reads, preview: Preview) -> None:
        self._reader = reader
        self._preview = preview
        self._failures = 0
        self.found: list[PreviewRow] = []
        self.left = False

    async def run(self, start: int, count: int) -> None:
        if self._failures >= _FAILURES_FOUND:
            self.left = True
            return
        width = len(self._preview.columns)
        try:
            rows = await self._fetch(self._preview.sql, count, start)
        except GeodeTuiError as error:
            if count == 1:
                await self._failed(start, error)
            elif _CANCELED in error.why:
                raise GeodeTuiError(
                    f"no result within {SECONDS} s",
                    "reading a few rows takes longer than a preview may",
                    "the migration itself has no such limit",
                ) from error
            else:
                half = count // 2
                await self.run(start, half)
                await self.run(start + half, count - half)
            return
        self.found += [
            PreviewRow(tuple(row[:width]), row[width], row[width + 1] or "") for row in rows
        ]

    async def _failed(self, start: int, error: GeodeTuiError) -> None:
        rows = await self._fetch(self._preview.rows_sql, 1, start)
        if not rows:  # PostgreSQL refuses even where there is no row
            raise error
        self._failures += 1
        self.found.append(PreviewRow(tuple(rows[0]), failure=error.what))

    async def _fetch(self, statement: str, *arguments: Any) -> Sequence[Any]:
        await self._reader.fetch("SAVEPOINT trial")
        try:
            rows = await self._reader.fetch(statement, *arguments)
        except GeodeTuiError:
            await self._reader.fetch("ROLLBACK TO SAVEPOINT trial")
            await self._reader.fetch("RELEASE SAVEPOINT trial")
            raise
        await self._reader.fetch("RELEASE SAVEPOINT trial")
        return rows
