"""`demo`: the sample shop in a private PostgreSQL, into an embedded graph."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from geode_tui import paths
from geode_tui.commands.migrate import drive
from geode_tui.commands.output import say
from geode_tui.demo import EmbeddedPostgres, build_shop
from geode_tui.errors import EXIT_OK
from geode_tui.mapping.file import save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source

DEFAULT_ROWS = 20_000
LABEL = "demo"


def demo(arguments: argparse.Namespace) -> int:
    """Open the interface on the demo, or run the whole migration where there is no terminal."""
    rows = arguments.rows or DEFAULT_ROWS
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if arguments.headless or arguments.json or not terminal:
        return _headless(rows, arguments.json)
    return _interface(rows, mouse=not arguments.no_mouse)


def resume_demo(record: RunRecord, json: bool) -> int:
    """Start the demo's server again and go on with a run of it."""
    rows = int(Path(record.target).stem.removeprefix("shop-"))

    def work(dsn: str) -> int:
        return drive(Runner(resume=record.number, source=dsn), json)

    return _with_shop(rows, work)


def _headless(rows: int, json: bool) -> int:
    target = _graph_file(rows)

    def work(dsn: str) -> int:
        unfinished = Journal().unfinished(str(target), "")
        if unfinished is not None:
            say(f"run {unfinished.number} stopped before its end: going on with it")
            return drive(Runner(resume=unfinished.number, source=dsn), json)
        _remove(target)
        mapping = asyncio.run(_mapping(dsn))
        save(mapping, _mapping_file(rows))
        request = RunRequest(dsn, str(target), mapping, label=LABEL)
        return drive(Runner(request), json)

    return _with_shop(rows, work)


def _interface(rows: int, mouse: bool) -> int:
    from geode_tui.app import run_app
    from geode_tui.migration.workspace import Workspace

    target = _graph_file(rows)

    def work(dsn: str) -> int:
        if Journal().unfinished(str(target), "") is None:
            _remove(target)
        workspace = Workspace(
            source_dsn=dsn,
            target_place=str(target),
            mapping_path=_mapping_file(rows),
            label=LABEL,
        )
        run_app(workspace, mode="schema", mouse=mouse)
        return EXIT_OK

    return _with_shop(rows, work)


def _with_shop(rows: int, work: Callable[[str], int]) -> int:
    say("starting the demo's PostgreSQL")
    with EmbeddedPostgres(paths.demo_folder() / "postgres") as server:
        say(f"the shop with about {rows:,} rows")
        return work(asyncio.run(build_shop(server.dsn, rows)))


async def _mapping(dsn: str) -> Mapping:
    source = await Source.connect(dsn)
    try:
        return infer(await source.catalog())
    finally:
        await source.close()


def _graph_file(rows: int) -> Path:
    return paths.demo_folder() / f"shop-{rows}.grafeo"


def _mapping_file(rows: int) -> Path:
    return paths.demo_folder() / f"mapping-{rows}.yaml"


def _remove(target: Path) -> None:
    """Remove the demo's own graph of an earlier run, with the log that a killed one left."""
    for path in target.parent.glob(f"{target.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
