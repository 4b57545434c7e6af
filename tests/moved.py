"""A run with change capture, moved and followed: what a cutover begins with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from geode_tui.mapping import file
from geode_tui.mapping.infer import infer
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest
from geode_tui.migration.replication.cutovers import CutoverRecord
from geode_tui.migration.replication.marker import Marker, markers
from geode_tui.migration.replication.state import CutoverSnapshot
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target import open_target
from tests.conftest import run_now
from tests.independent_comparison import Comparison, compare
from tests.migrate import read_catalog

SQL = """
CREATE TABLE customer (id int PRIMARY KEY, name text, score numeric);
CREATE TABLE purchase (id int PRIMARY KEY, customer int REFERENCES customer, total numeric(10,2));
INSERT INTO customer SELECT g, 'c' || g, g FROM generate_series(1, 100) g;
INSERT INTO purchase SELECT g, 1 + g % 100, g FROM generate_series(1, 300) g;
"""


@dataclass
class Moved:
    """A run that is moved, its places, and its cutovers."""

    dsn: str
    folder: Path
    number: int = 1
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal.sqlite3")

    @property
    def graph_file(self) -> Path:
        return self.folder / "graph.grafeo"

    def request(self, **fields: Any) -> CutoverRequest:
        """A request that need not wait long for the lag to be known."""
        usual: dict[str, Any] = {"calm_seconds": 0.0, "watch_seconds": 0.0, "budget_seconds": 20}
        return CutoverRequest(self.number, **(usual | fields))

    def cut_over(
        self, watch: Callable[[CutoverSnapshot], None] | None = None, **fields: Any
    ) -> CutoverSnapshot:
        """Cut over or rehearse to the end; raises what the engine raises."""
        engine = CutoverEngine(self.journal, watch)
        return run_now(engine.run(self.request(**fields)))

    def rehearse(self, **fields: Any) -> CutoverSnapshot:
        return self.cut_over(rehearse=True, **fields)

    @property
    def newest(self) -> CutoverRecord:
        """The cutover or rehearsal that was begun last."""
        found = self.journal.cutovers.newest(self.number)
        assert found is not None
        return found

    @property
    def steps(self) -> dict[str, str]:
        """The steps of the newest cutover, with their states."""
        return {s.name: s.state for s in self.journal.cutovers.steps(self.newest.id)}

    def markers(self) -> list[Marker]:
        """What the graph says of being live."""
        target = open_target(str(self.graph_file), None, create=False)
        try:
            return markers(target)
        finally:
            target.close()

    def compared(self) -> Comparison:
        """What the independent comparison says."""
        return run_now(compare(self.dsn, self.graph_file, None, self.folder / "mapping.yaml"))

    def execute(self, *statements: str) -> None:
        """Run statements in the source, each in a transaction of its own."""

        async def work() -> None:
            connection = await asyncpg.connect(self.dsn)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        run_now(work())


def move(dsn: str, folder: Path, capture: str = "slot") -> Moved:
    """Move a database by a run with change capture."""
    mapping = infer(read_catalog(dsn))
    file.save(mapping, folder / "mapping.yaml")
    request = RunRequest(
        dsn,
        str(folder / "graph.grafeo"),
        mapping,
        strategy="zero-downtime",
        capture=capture,
    )
    runner = Runner(request, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error
    return Moved(dsn, folder)


@dataclass
class Writer:
    """An application that writes, in a thread of its own: how many, how long, what failed."""

    dsn: str
    written: int = 0
    longest: float = 0.0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        """Insert, update and delete until it is told to stop."""
        asyncio.run(self._write())

    async def _write(self) -> None:
        connection = await asyncpg.connect(self.dsn, server_settings={"application_name": "till"})
        number = await connection.fetchval("SELECT greatest(1000, max(id)) FROM purchase")
        try:
            while not self._stop.is_set():
                number += 1
                begun = time.monotonic()
                try:
                    await self._transaction(connection, number)
                    self.written += 1
                except asyncpg.ReadOnlySQLTransactionError:
                    self.refused += 1
                    await asyncio.sleep(0.02)
                except asyncpg.PostgresError as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                self.longest = max(self.longest, time.monotonic() - begun)
                await asyncio.sleep(0.002)
        finally:
            connection.terminate()

    async def _transaction(self, connection: Any, number: int) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO purchase VALUES ($1, 1 + $1 % 100, 1.5)", number)
            await connection.execute(
                "UPDATE customer SET score = score + 1 WHERE id = 1 + $1::int % 100", number
            )
            if number % 3 == 0:
                await connection.execute("DELETE FROM purchase WHERE id = $1", number - 1)


@contextlib.contextmanager
def writing(dsn: str) -> Iterator[Writer]:
    """An application writes while the block goes on."""
    writer = Writer(dsn)
    thread = threading.Thread(target=writer.write, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer._stop.set()
        thread.join(30)
