"""`python -m benchmarks cutover [rows] [rehearsals] [method]`: how long writes stand.

The sample shop is moved with change capture; then a process of its own writes to it, 500 small
transactions a second (orders with items, stock, users, reviews that are taken back), while its
cutover is rehearsed again and again. Told are the seconds that writes stood as the product tells
them, and the longest time that the writer waited for any of its writes, which must agree.
1 when writes stood for more than 2 seconds at the 95th percentile, or a write failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg

from geode_tui.demo import EmbeddedPostgres, build_shop
from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest, Method
from geode_tui.migration.replication.cutovers import percentile
from geode_tui.migration.replication.state import CutoverSnapshot
from geode_tui.migration.replication.sync_engine import sync_request
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source

ROWS, REHEARSALS, RATE = 20_000, 20, 500
MOST_SECONDS = 2.0
SESSIONS = 8
WAIVERS = {"dead_letters": "rows of the sample shop that no graph can hold"}


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 when all that was promised is kept."""
    if arguments[:1] == ["writer"]:
        return asyncio.run(_write(arguments[1]))
    rows = int(arguments[0]) if arguments else ROWS
    count = int(arguments[1]) if arguments[1:] else REHEARSALS
    method: Any = arguments[2] if arguments[2:] else "lock"
    with (
        tempfile.TemporaryDirectory(prefix="geode-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        dsn = asyncio.run(build_shop(server.dsn, rows))
        journal = move_shop(dsn, Path(folder))
        with _writer(dsn) as told:
            time.sleep(5)
            found = [_rehearse(journal, method, number) for number in range(1, count + 1)]
            last = told()
    return _verdict(found, last, rows, method)


def move_shop(dsn: str, folder: Path, way: str = "auto") -> Journal:
    """Move the sample shop with change capture; its journal."""
    asyncio.run(_identify(dsn))
    mapping = asyncio.run(_mapping(dsn))
    path = folder / "journal.sqlite3"
    request = RunRequest(dsn, str(folder / "shop.grafeo"), mapping, strategy="zero-downtime")
    request = replace(request, capture=way)
    runner = Runner(request, journal=path)
    begun = time.monotonic()
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error
    print(f"moved in {time.monotonic() - begun:.1f} s", flush=True)
    return Journal(path)


async def _identify(dsn: str) -> None:
    """Tables without a key need their whole row as identity to be captured."""
    connection = await asyncpg.connect(dsn)
    for row in await connection.fetch(_KEYLESS):
        await connection.execute(f"ALTER TABLE {row['name']} REPLICA IDENTITY FULL")
    await connection.close()


_KEYLESS = """
SELECT c.oid::regclass::text AS name FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'shop'::regnamespace AND c.relreplident = 'd'
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
"""


async def _mapping(dsn: str) -> Mapping:
    source = await Source.connect(dsn)
    try:
        return infer(await source.catalog())
    finally:
        await source.close()


def _follow(journal: Journal) -> None:
    """Synchronization has followed until now, as it does before a cutover."""
    request = sync_request(journal.run(1), journal, once=True)
    runner = Runner(request, journal=journal.path)
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error


def _rehearse(journal: Journal, method: Method, number: int) -> CutoverSnapshot:
    _follow(journal)
    request = CutoverRequest(
        1,
        rehearse=True,
        method=method,
        budget_seconds=5.0,
        waivers=WAIVERS,
        calm_seconds=2.0,
        lag_seconds=5.0,
    )
    engine = CutoverEngine(journal)
    try:
        snapshot = asyncio.run(engine.run(request))
    except GeodeTuiError as error:
        print(f"{number}: {error}", flush=True)
        return engine.snapshot()
    told = "  ".join(
        f"{s.name} {s.ended - s.started:.2f}" for s in snapshot.steps if s.ended and s.started
    )
    stood = (snapshot.released_at or 0) - (snapshot.frozen_at or 0)
    print(f"{number}: writes stood {stood:.2f} s  ({told})", flush=True)
    return snapshot


def _verdict(found: Sequence[CutoverSnapshot], told: dict[str, Any], rows: int, method: str) -> int:
    passed = [one for one in found if one.state == "rehearsed"]
    stood = [(one.released_at or 0) - (one.frozen_at or 0) for one in passed]
    p50, p95 = percentile(stood, 0.5), percentile(stood, 0.95)
    print(f"shop of {rows:,} rows, {told['rate']:.0f} writes a second, frozen by {method}:")
    print(f"{len(passed)} of {len(found)} rehearsals passed")
    if p50 is None or p95 is None:
        return 1
    print(f"writes stood: p50 {p50:.2f} s, p95 {p95:.2f} s, at most {max(stood):.2f} s")
    print(f"the writer waited at most {told['longest']:.2f} s for a write, {told['failed']} failed")
    kept = p95 <= MOST_SECONDS and len(passed) == len(found) and not told["failed"]
    print(f"at most {MOST_SECONDS:g} s: {'kept' if kept else 'NOT KEPT'}")
    return 0 if kept else 1


@contextlib.contextmanager
def _writer(dsn: str) -> Iterator[Any]:
    """A process that writes; what is yielded ends it and returns what it tells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "cutover", "writer", dsn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def told() -> Any:
        out, _ = process.communicate("", timeout=60)
        return json.loads(out.splitlines()[-1])

    try:
        yield told
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def _write(dsn: str) -> int:
    """Write at an even rate until stdin ends; tell the rate, the longest wait, what failed."""
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    shop = {"search_path": "shop"}
    connections = [await asyncpg.connect(dsn, server_settings=shop) for _ in range(SESSIONS)]
    begun = time.monotonic()
    found = await asyncio.gather(
        *(_write_one(c, number, ended) for number, c in enumerate(connections))
    )
    seconds = time.monotonic() - begun
    result = {
        "rate": sum(written for written, _, _ in found) / seconds,
        "longest": max(longest for _, longest, _ in found),
        "failed": sum(failed for _, _, failed in found),
    }
    print(json.dumps(result))
    return 0


async def _write_one(
    connection: Any, number: int, ended: asyncio.Future[str]
) -> tuple[int, float, int]:
    draw = random.Random(number)
    users = await connection.fetchval("SELECT max(user_id) FROM users")
    products = [r[0] for r in await connection.fetch("SELECT product_id FROM products LIMIT 500")]
    addresses = await connection.fetchval("SELECT max(address_id) FROM addresses")
    written, longest, failed = 0, 0.0, 0
    begun = due = time.monotonic()
    while not ended.done():
        due += SESSIONS / RATE
        begun = time.monotonic()
        try:
            await _transaction(connection, draw, users, addresses, products)
            written += 1
        except asyncpg.PostgresError as error:
            failed += 1
            print(error, file=sys.stderr)
        longest = max(longest, time.monotonic() - begun)
        if due < time.monotonic() - 1:  # after a freeze the rate is the rate: no burst
            due = time.monotonic()
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await connection.close()
    return written, longest, failed


async def _transaction(
    connection: Any, draw: random.Random, users: int, addresses: int, products: list[Any]
) -> None:
    product, user = draw.choice(products), draw.randint(1, users)
    kind = draw.random()
    if kind < 0.3:
        await connection.execute(
            "WITH made AS (INSERT INTO orders (user_id, ship_address_id, status, placed_at)"
            " VALUES ($1, $2, 'pending', now()) RETURNING order_id)"
            " INSERT INTO order_items SELECT order_id, 1, $3, 1, 9.90 FROM made",
            user,
            draw.randint(1, addresses),
            product,
        )
    elif kind < 0.6:
        sql = "UPDATE products SET views = views + 1 WHERE product_id = $1"
        await connection.execute(sql, product)
    elif kind < 0.8:
        sql = "UPDATE users SET is_active = NOT is_active WHERE user_id = $1"
        await connection.execute(sql, user)
    elif kind < 0.9:
        await connection.execute(
            "UPDATE orders SET status = 'paid' WHERE order_id ="
            " (SELECT max(order_id) FROM orders WHERE status = 'pending')"
        )
    else:
        await connection.execute(
            "INSERT INTO reviews (user_id, product_id, rating, reviewed_at)"
            " VALUES ($1, $2, 5, now())",
            user,
            product,
        )
