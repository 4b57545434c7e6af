"""`python -m benchmarks sync [rows] [changes] [seconds]`: how fast changes reach the graph.

The sample shop is moved with change capture, by a slot and then by an outbox. Twice: a backlog of
single-row changes (orders, items, stock, users, reviews) is made and applied, and told are the
changes a second that were captured and applied; and 2,000 changes a second are written at an even
rate while the graph follows, and told are the median and the 95th percentile of the lag that the
product tells, looked at once a second.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.cutover import move_shop
from geode_tui.demo import EmbeddedPostgres, build_shop
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.sync_engine import sync_request
from geode_tui.migration.runner import Runner

ROWS, CHANGES, SECONDS, RATE = 100_000, 200_000, 60, 2_000
SESSIONS = 4
BATCH = 20
"""Changes a transaction."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    rows, changes, seconds = (
        int(arguments[n]) if arguments[n:] else default
        for n, default in enumerate((ROWS, CHANGES, SECONDS))
    )
    for way in ("slot", "outbox"):
        with (
            tempfile.TemporaryDirectory(prefix="geode-bench-") as folder,
            EmbeddedPostgres(Path(folder) / "postgres") as server,
        ):
            dsn = asyncio.run(build_shop(server.dsn, rows))
            journal = move_shop(dsn, Path(folder), way)
            _backlog(journal, dsn, way, changes)
            _steady(journal, dsn, way, seconds)
    return 0


def _backlog(journal: Journal, dsn: str, way: str, changes: int) -> None:
    asyncio.run(_write(dsn, changes // SESSIONS, None, time.monotonic() + 600))
    before = journal.captures.of(1)
    assert before is not None
    began = time.monotonic()
    _run(journal, once=True)
    seconds = time.monotonic() - began
    after = journal.captures.of(1)
    assert after is not None
    applied = after.applied - before.applied
    print(
        f"{way}: {applied:,} changes captured and applied in {seconds:.1f} s:"
        f" {applied / seconds:,.0f} a second",
        flush=True,
    )


def _run(journal: Journal, once: bool, stop: threading.Event | None = None) -> None:
    runner = Runner(sync_request(journal.run(1), journal, once=once), journal=journal.store.path)
    runner.start()
    while not runner.join(0.1):
        if stop is not None and stop.is_set():
            runner.stop()
    if runner.error is not None and not once:
        return
    if runner.error is not None:
        raise runner.error


def _steady(journal: Journal, dsn: str, way: str, seconds: int) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(journal, False, stop))
    thread.start()
    time.sleep(3)
    began = time.time()
    written = asyncio.run(
        _write(dsn, RATE * seconds // SESSIONS, RATE / SESSIONS, time.monotonic() + seconds)
    )
    ended = time.time()
    moments = [m for m in journal.captures.moments(1, began + 2) if m.at <= ended]
    stop.set()
    thread.join()
    lags = sorted(m.lag_seconds for m in moments if m.lag_seconds is not None)
    rate = written / (ended - began)
    if not lags:
        print(f"{way}: no lag was told")
        return
    p50, p95 = lags[len(lags) // 2], lags[int(len(lags) * 0.95)]
    print(
        f"{way}: at {rate:,.0f} changes a second for {ended - began:.0f} s the lag is"
        f" p50 {p50:.2f} s, p95 {p95:.2f} s, at most {lags[-1]:.2f} s",
        flush=True,
    )


async def _write(dsn: str, each: int, rate: float | None, until: float) -> int:
    """Single-row changes in transactions of `BATCH`, by some sessions; how many were made."""
    settings = {"search_path": "shop"}
    sessions = [await asyncpg.connect(dsn, server_settings=settings) for _ in range(SESSIONS)]
    try:
        made = await asyncio.gather(
            *(_write_one(one, n, each, rate, until) for n, one in enumerate(sessions))
        )
    finally:
        for one in sessions:
            await one.close()
    return sum(made)


async def _write_one(
    connection: Any, number: int, each: int, rate: float | None, until: float
) -> int:
    draw = random.Random(number)
    users = await connection.fetchval("SELECT max(user_id) FROM users")
    addresses = await connection.fetchval("SELECT max(address_id) FROM addresses")
    products = [r[0] for r in await connection.fetch("SELECT product_id FROM products LIMIT 2000")]
    made, due = 0, time.monotonic()
    while made < each and time.monotonic() < until:
        async with connection.transaction():
            made += await _some(connection, draw, users, addresses, products)
        if rate is not None:
            due += BATCH / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return made


async def _some(
    connection: Any, draw: random.Random, users: int, addresses: int, products: list[Any]
) -> int:
    """A transaction of `BATCH` changes: half are inserts, the rest updates and few deletes."""
    some = [draw.choice(products) for _ in range(BATCH // 4)]
    await connection.execute(
        "WITH made AS (INSERT INTO orders (user_id, ship_address_id, status, placed_at)"
        " SELECT $1::bigint + g, $2, 'pending', now() FROM generate_series(1, $4::int) g"
        " RETURNING order_id)"
        " INSERT INTO order_items SELECT order_id, 1, $3, 1, 9.90 FROM made",
        draw.randint(1, users - BATCH),
        draw.randint(1, addresses),
        some[0],
        BATCH // 4,
    )
    made = 2 * (BATCH // 4)
    await connection.execute(
        "UPDATE users SET is_active = NOT is_active WHERE user_id = ANY("
        " SELECT user_id FROM users WHERE user_id = ANY($1::bigint[])"
        " ORDER BY user_id FOR NO KEY UPDATE)",
        ids := list({draw.randint(1, users) for _ in range(BATCH // 4)}),
    )
    done = await connection.execute(
        "UPDATE products SET views = views + 1 WHERE product_id = ANY("
        " SELECT product_id FROM products WHERE product_id = ANY($1::uuid[])"
        " ORDER BY product_id FOR NO KEY UPDATE)",
        some,
    )
    return made + len(ids) + int(done.rpartition(" ")[2])
