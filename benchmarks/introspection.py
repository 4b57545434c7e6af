"""`python -m benchmarks introspection [tables] [rounds]`: how fast a wide schema is read and shown.

A database of 2,000 tables and 20,000 columns with keys, indexes, checks and comments is read by
`pg_dump --schema-only` of the same server and by geode-tui, in turns and each in a process and a
session of its own. Then the schema screen opens, filters and scrolls with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from geode_tui.catalog import Catalog, Profile
from geode_tui.demo import EmbeddedPostgres
from geode_tui.source.postgres import Source

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from geode_tui.app import GeodeApp

TABLES = 2_000
ROUNDS = 5
PAGES = 40

# A DO block cannot take arguments; the number of tables comes by a setting.
_BUILD = """
DO $$
DECLARE
  name text;
  part text;
BEGIN
  CREATE DOMAIN public.amount AS numeric(12, 2) CHECK (VALUE >= 0);
  CREATE TYPE public.state AS ENUM ('new', 'open', 'closed');
  FOR n IN 0..9 LOOP
    EXECUTE format('CREATE SCHEMA area_%s', n);
  END LOOP;
  FOR n IN 0..current_setting('bench.tables')::int - 1 LOOP
    name := format('area_%s.thing_%s', n % 10, n);
    EXECUTE format('CREATE TABLE %s (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code varchar(20) NOT NULL UNIQUE,
      parent_id bigint, other_id bigint, name text NOT NULL DEFAULT %L, price public.amount,
      state public.state NOT NULL DEFAULT %L, tags text[], made timestamptz DEFAULT now(),
      total numeric(12, 2) GENERATED ALWAYS AS (price * 2) STORED,
      CHECK (length(name) < 200), CHECK (made > %L))', name, '', 'new', '2000-01-01');
    EXECUTE format('CREATE INDEX ON %s (parent_id)', name);
    EXECUTE format('CREATE INDEX ON %s (lower(name)) WHERE state = %L', name, 'open');
    EXECUTE format('COMMENT ON TABLE %s IS %L', name, 'what is kept of things of kind ' || n);
    FOREACH part IN ARRAY ARRAY['code', 'parent_id', 'name', 'price', 'state'] LOOP
      EXECUTE format('COMMENT ON COLUMN %s.%s IS %L', name, part, 'the thing''s ' || part);
    END LOOP;
    IF n > 0 THEN
      EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (parent_id) REFERENCES area_%s.thing_%s
        ON DELETE CASCADE', name, (n / 2) % 10, n / 2);
      EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (other_id) REFERENCES area_%s.thing_%s',
        name, (n - 1) % 10, n - 1);
    END IF;
    EXECUTE format('INSERT INTO %s (code, name, price, tags)
      SELECT i::text, %L || i %% 7, i, ARRAY[%L] FROM generate_series(1, 30) i',
      name, 'name ', 'a');
    IF n % 50 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$
"""


def main(arguments: list[str]) -> int:
    """Build, measure in turns, print."""
    tables = int(arguments[0]) if arguments else TABLES
    rounds = int(arguments[1]) if len(arguments) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory(prefix="geode-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        _say(f"… building {tables:,} tables")
        dsn = asyncio.run(_build(server, tables))
        dump = _pg_dump(server)
        if dump is None:
            _say("  no pg_dump of this server's version is here: geode-tui is measured alone")
        turns = [_turn(dsn, dump, folder) for _ in range(rounds)]
        memory = _measure("memory", dsn, folder)
        screen = _measure("screen", dsn, folder)
    _print(tables, turns, memory, screen)
    return 0


async def _build(server: EmbeddedPostgres, tables: int) -> str:
    connection = await asyncpg.connect(server.dsn())
    await connection.execute("CREATE DATABASE wide")
    await connection.close()
    dsn = server.dsn("wide")
    connection = await asyncpg.connect(dsn, server_settings={"bench.tables": str(tables)})
    await connection.execute(_BUILD)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return dsn


def _pg_dump(server: EmbeddedPostgres) -> Path | None:
    assert server.binaries is not None
    program = server.binaries / "pg_dump"
    return program if program.is_file() else None


def _turn(dsn: str, dump: Path | None, folder: str) -> dict[str, float]:
    turn: dict[str, float] = {}
    if dump is not None:
        begun = time.perf_counter()
        subprocess.run([dump, "--schema-only", "--file", os.devnull, dsn], check=True)
        turn["pg_dump"] = time.perf_counter() - begun
        _say(f"  pg_dump: {turn['pg_dump']:.3f}")
    begun = time.perf_counter()
    turn |= _measure("read", dsn, folder)
    turn["process"] = time.perf_counter() - begun
    return turn


def _measure(what: str, dsn: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.introspection", what, dsn]
    environment = {**os.environ, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    _say(f"  {what}: " + ", ".join(f"{name} {value:.3f}" for name, value in result.items()))
    return result


async def _read(dsn: str) -> tuple[Catalog, Profile, dict[str, float]]:
    begun = time.perf_counter()
    source = await Source.connect(dsn)
    catalog = await source.catalog()
    read = time.perf_counter()
    profile = await source.profile(catalog)
    ended = time.perf_counter()
    await source.close()
    return catalog, profile, {"catalog": read - begun, "profile": ended - read}


async def read(dsn: str) -> dict[str, float]:
    """Connect, read catalog and profile: seconds, and the growth of the peak memory in MB."""
    before = _peak_megabytes()
    catalog, profile, seconds = await _read(dsn)
    columns = sum(len(table.columns) for table in catalog.tables)
    counts = {"columns": float(columns), "profiled": float(len(profile.columns))}
    return {**seconds, "grown_mb": _peak_megabytes() - before, **counts}


async def memory(dsn: str) -> dict[str, float]:
    """The memory that catalog and profile take, and the peak while they are read, in MB."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    source = await Source.connect(dsn)
    catalog = await source.catalog()
    kept, peak = tracemalloc.get_traced_memory()
    profile = await source.profile(catalog)
    both, _ = tracemalloc.get_traced_memory()
    await source.close()
    assert catalog.tables
    assert profile.columns
    sizes = {"catalog_mb": kept - before, "peak_mb": peak - before, "profile_mb": both - kept}
    return {name: size / 2**20 for name, size in sizes.items()}


async def screen(dsn: str) -> dict[str, float]:
    """The longest time in ms that the event loop stood still while the tree was used.

    `_cpu_ms` is what the loop's thread computed meanwhile; the rest it waited for a processor or
    for another thread.
    """
    from geode_tui.app import GeodeApp
    from geode_tui.migration.workspace import Workspace
    from geode_tui.widgets.schema_tree import SchemaTree

    workspace = Workspace()
    late: list[tuple[float, float]] = []
    stalls: dict[str, float] = {}

    async def watch() -> None:
        while True:
            begun, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.005)
            late.append((time.perf_counter() - begun - 0.005, time.thread_time() - computed))

    async def step(name: str, work: Coroutine[Any, Any, Any]) -> None:
        late.clear()
        await work
        await asyncio.sleep(0.2)
        wall, cpu = max(late)
        stalls[f"{name}_ms"], stalls[f"{name}_cpu_ms"] = wall * 1000, cpu * 1000

    app = GeodeApp(workspace, mode="connect")
    async with app.run_test(size=(120, 40)) as pilot:
        watcher = asyncio.create_task(watch())
        await pilot.pause(0.5)
        await step("connect", workspace.connect(dsn))
        await step("open", _open_schema(app, pilot))
        tree = app.screen.query_one(SchemaTree)
        assert len(tree._lines) > PAGES
        await step("scroll", pilot.press(*["pagedown"] * PAGES))
        await step("filter", pilot.press("slash", *"thing_19"))
        assert 0 < len(tree._lines) < len(workspace.catalog.tables if workspace.catalog else ())
        await step("unfilter", pilot.press(*["backspace"] * len("thing_19"), "escape"))
        await step("pages", _walk_pages(pilot))
        watcher.cancel()
    await workspace.close()
    return stalls


async def _walk_pages(pilot: Pilot[None]) -> None:
    """Each page of a table, and on each the cursor of the tree moves on."""
    for _ in range(7):
        await pilot.press("v", *["down"] * 5)
        await asyncio.sleep(0.3)  # what a page reads from the source


async def _open_schema(app: GeodeApp, pilot: Pilot[None]) -> None:
    await app.run_action("mode('schema')")
    await pilot.pause()


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(
    tables: int,
    turns: list[dict[str, float]],
    memory: dict[str, float],
    screen: dict[str, float],
) -> None:
    print(f"{tables:,} tables, {turns[0]['columns']:,.0f} columns, {len(turns)} rounds:")
    figures: dict[str, Callable[[dict[str, float]], float]] = {
        "pg_dump --schema-only": lambda t: t.get("pg_dump", 0.0),
        "catalog": lambda t: t["catalog"],
        "catalog and profile": lambda t: t["catalog"] + t["profile"],
        "the same with Python's start": lambda t: t["process"],
    }
    dump = statistics.median(turn.get("pg_dump", 0.0) for turn in turns)
    for name, figure in figures.items():
        print(_line(name, [figure(turn) for turn in turns], dump))
    grown = max(turn["grown_mb"] for turn in turns)
    print(f"peak memory grows by {grown:,.0f} MB while they are read;")
    print(
        f"the catalog takes {memory['catalog_mb']:,.0f} MB, the profile"
        f" {memory['profile_mb']:,.0f} MB ({memory['peak_mb']:,.0f} MB at the catalog's peak)"
    )
    print("the longest stall of the screen:")
    for name in [name.removesuffix("_cpu_ms") for name in screen if name.endswith("_cpu_ms")]:
        wall, cpu = screen[f"{name}_ms"], screen[f"{name}_cpu_ms"]
        print(f"  {name:10} {wall:6.0f} ms, {cpu:4.0f} ms of them computing")


def _line(name: str, seconds: list[float], dump: float) -> str:
    middle = statistics.median(seconds)
    line = f"  {name:29} {middle:6.2f} s (fastest {min(seconds):.2f}, slowest {max(seconds):.2f})"
    return f"{line}, {middle / dump:.2f} of pg_dump" if dump else line


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    _WAYS: dict[str, Callable[[str], Coroutine[Any, Any, dict[str, float]]]] = {
        "read": read,
        "memory": memory,
        "screen": screen,
    }
    print(json.dumps(asyncio.run(_WAYS[sys.argv[1]](sys.argv[2]))))
