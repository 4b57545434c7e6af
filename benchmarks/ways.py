"""The ways that are measured: the product, Grafeo fed from memory, the plain way, and the stall."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import batched
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grafeo

from geode_tui.demo import build_shop
from geode_tui.mapping import gql
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import FINGERPRINT, RUN, Mapping
from geode_tui.migration.plan import Plan, make_plan
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import NodeShape, RelationshipShape
from geode_tui.validation.entity import Entity

BATCH = 10_000


def product(dsn: str, folder: Path) -> dict[str, Any]:
    """The product's own run."""
    mapping, _ = asyncio.run(_plan(dsn))
    begun = time.perf_counter()
    runner = Runner(RunRequest(dsn, str(folder / "product.grafeo"), mapping))
    runner.start()
    runner.join()
    whole = time.perf_counter() - begun
    if runner.error is not None or runner.ledger is None or not runner.ledger.balanced:
        raise SystemExit(f"the run failed: {runner.error or 'the ledger does not balance'}")
    snapshot = runner.snapshot()
    backfill = next(phase for phase in snapshot.phases if phase.name == "backfill")
    assert backfill.started is not None
    assert backfill.ended is not None
    return {
        "things": snapshot.rows_written,
        "seconds": backfill.ended - backfill.started,
        "whole_seconds": whole,
    }


def memory(dsn: str, folder: Path) -> dict[str, Any]:
    """Grafeo's batch calls by one thread, rows and node ids in memory; only the calls are timed."""
    _, plan = asyncio.run(_plan(dsn))
    graph, database = _prepared(folder / "memory.grafeo", plan)
    seconds, things = 0.0, 0
    ids: dict[str, dict[Any, int]] = {}
    gc.disable()
    for entity, rows in _all_rows(dsn, plan):
        if isinstance(entity.shape, NodeShape):
            nodes = [_properties(entity, row) for row in rows]
            begun = time.perf_counter()
            made: list[int] = []
            for part in batched(nodes, BATCH):
                made += database.batch_create_nodes_with_props(entity.shape.label, list(part))
            seconds += time.perf_counter() - begun
            keys = (entity.node_key(row) for row in rows)
            ids[entity.shape.label] = dict(zip(keys, made, strict=True))
        else:
            edges = list(_edges(entity, rows, ids))
            begun = time.perf_counter()
            for some in batched(edges, BATCH):
                database.batch_create_edges(list(some))
            seconds += time.perf_counter() - begun
        things += len(rows)
    begun = time.perf_counter()
    graph.flush()
    seconds += time.perf_counter() - begun
    return {"things": things, "seconds": seconds}


def plain(dsn: str, folder: Path) -> dict[str, Any]:
    """What a script does: OFFSET pages, SET n = row, join tables row by row."""
    _, plan = asyncio.run(_plan(dsn))
    graph, database = _prepared(folder / "plain.grafeo", plan)
    begun = time.perf_counter()
    things = asyncio.run(_plainly(dsn, plan, database))
    graph.flush()
    return {"things": things, "seconds": time.perf_counter() - begun}


def stall(dsn: str, folder: Path) -> dict[str, Any]:
    """The interface on its Run screen while a backfill goes at full rate."""
    from geode_tui.app import GeodeApp
    from geode_tui.migration.workspace import Workspace

    late: list[float] = []

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - begun - 0.005)

    async def work() -> None:
        workspace = Workspace(
            target_place=str(folder / "stall.grafeo"), mapping_path=folder / "mapping.yaml"
        )
        await workspace.connect(dsn)
        app = GeodeApp(workspace, mode="run")
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(1)
            runner = workspace.start_run()
            watcher = asyncio.create_task(watch())
            await asyncio.to_thread(_wait_for_verify, runner)
            watcher.cancel()
            await asyncio.to_thread(runner.join)
            if runner.error is not None:
                raise SystemExit(f"the run failed: {runner.error}")

    asyncio.run(work())
    late.sort()
    return {
        "stall_ms": late[-1] * 1000,
        "p99_ms": late[int(len(late) * 0.99)] * 1000,
        "beats": len(late),
        "things": 1,
        "seconds": 1,
    }


def _wait_for_verify(runner: Runner) -> None:
    while not runner.finished and runner.snapshot().phase.name != "verify":
        time.sleep(0.1)


async def _plan(dsn: str) -> tuple[Mapping, Plan]:
    source = await Source.connect(dsn)
    try:
        catalog = await source.catalog()
        mapping = infer(catalog)
        return mapping, make_plan(mapping, catalog)
    finally:
        await source.close()


def _prepared(path: Path, plan: Plan) -> tuple[EmbeddedGraph, grafeo.GrafeoDB]:
    graph = EmbeddedGraph.open(path, None)
    graph.prepare([e.shape for e in plan.nodes if isinstance(e.shape, NodeShape)])
    return graph, graph._database


def _all_rows(dsn: str, plan: Plan) -> Iterator[tuple[Entity, list[Any]]]:
    """The rows of each entity, all in memory, with the very values that the product writes."""

    async def read(entity: Entity) -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(entity.extract.sample_sql(None), 2**31)
        finally:
            await connection.close()

    for entity in plan.entities:
        yield entity, asyncio.run(read(entity))


def _properties(entity: Entity, row: Any) -> dict[str, Any]:
    properties = entity.properties(row)
    properties[FINGERPRINT] = row[entity.extract.fingerprint_at]
    properties[RUN] = "benchmark"
    return properties


def _edges(entity: Entity, rows: list[Any], ids: dict[str, dict[Any, int]]) -> Iterator[Any]:
    shape = entity.shape
    assert isinstance(shape, RelationshipShape)
    starts, ends = ids[shape.start.label], ids[shape.end.label]
    for row in rows:
        start, end, _ = entity.relationship_key(row)
        yield starts[start], ends[end], shape.type, _properties(entity, row)


async def _plainly(dsn: str, plan: Plan, database: grafeo.GrafeoDB) -> int:
    # Pages of a table without a key have an order only while one scan starts at its beginning.
    settings = {"synchronize_seqscans": "off", "max_parallel_workers_per_gather": "0"}
    connection = await asyncpg.connect(dsn, server_settings=settings)
    things = 0
    try:
        for entity in plan.entities:
            write = _plain_writer(entity, database)
            offset = 0
            while True:
                extract = entity.extract
                page = extract.first_sql if extract.keyed else extract.sample_sql(None)
                sql = f"{page} OFFSET {offset}"
                rows = await connection.fetch(sql, BATCH)
                write(rows)
                offset += len(rows)
                things += len(rows)
                if len(rows) < BATCH:
                    break
    finally:
        await connection.close()
    return things


def _plain_writer(entity: Entity, database: grafeo.GrafeoDB) -> Callable[[list[Any]], None]:
    shape = entity.shape
    if isinstance(shape, NodeShape):
        statement = f"UNWIND $rows AS row CREATE {gql.node_with('n', shape.label)} SET n = row"

        def nodes(rows: list[Any]) -> None:
            database.execute(statement, {"rows": [_properties(entity, row) for row in rows]})

        return nodes
    start = [(name, f"row.a{n}") for n, name in enumerate(shape.start.key)]
    end = [(name, f"row.b{n}") for n, name in enumerate(shape.end.key)]
    joined = (
        f"UNWIND $rows AS row MATCH {gql.node_with('a', shape.start.label, start)} "
        f"MATCH {gql.node_with('b', shape.end.label, end)} "
        f"CREATE (a){gql.relationship_with('r', shape.type)}(b) SET r = row.p"
    )

    def relationships(rows: list[Any]) -> None:
        given = [_given(entity, row) for row in rows]
        for part in [given] if shape.owned else [[one] for one in given]:
            database.execute(joined, {"rows": part})

    return relationships


def _given(entity: Entity, row: Any) -> dict[str, Any]:
    start, end, _ = entity.relationship_key(row)
    given = {f"a{n}": value for n, value in enumerate(start)}
    given |= {f"b{n}": value for n, value in enumerate(end)}
    return given | {"p": _properties(entity, row)}


def _shop_of(base: str) -> Callable[[str], str]:
    def dsn_of(database: str) -> str:
        parts = urlsplit(base)
        return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))

    return dsn_of


def main() -> None:
    """`python -m benchmarks.ways WAY DSN ROWS FOLDER`: one way, its figures as a line of JSON."""
    way, base, rows, folder = sys.argv[1:]
    os.environ["XDG_STATE_HOME"] = f"{folder}/{way}-{rows}"
    work = Path(folder) / f"{way}-{rows}"
    work.mkdir()
    dsn = asyncio.run(build_shop(_shop_of(base), int(rows)))
    ways = {"product": product, "memory": memory, "plain": plain, "stall": stall}
    result = ways[way](dsn, work)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
