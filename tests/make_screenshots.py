"""`make screenshots`: drive the app on the demo shop and write its pictures to screenshots/."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import grafeo
from textual.pilot import Pilot

from geode_tui.app import GeodeApp
from geode_tui.cli import main as main_of_program
from geode_tui.demo import EmbeddedPostgres, build_shop
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK
from geode_tui.migration import steer
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.leftover import lock_name
from geode_tui.migration.replication.state import Gate
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace
from geode_tui.widgets.check_tree import CheckTree
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.sql_editor import SqlEditor
from geode_tui.widgets.suggestion_list import SuggestionList
from tests.page_check import chromium, take_picture
from tests.replicated import (
    blocked,
    captured_run,
    gates,
    mark_ten_minutes,
    steps,
    told_cutover,
    told_sync,
)

FOLDER = Path(__file__).parent.parent / "screenshots"
SIZE, NARROW = (120, 36), (80, 24)
ROWS = 60_000
LEGACY_ROWS = 20_000
REFUSED = "(amount / (payment_id - 7))::numeric(12,2)"
NOW_IN_STEP: dict[str, object] = {
    "lag_seconds": 0.4,
    "backlog": 0,
    "captured_rate": 623.0,
    "applied_rate": 623.0,
    "retained_bytes": 12 * 1024**2,
}
HOLDS = "pid 4411 postgres nightly report, open for 840 s"
PAGE_SIZE = "1280,1560"
MEDDLING = (
    "MATCH (n:Order) WHERE n.orderId = 4177 DETACH DELETE n",
    "MATCH (n:User) WHERE n.userId = 12 SET n.name = 'Somebody Else'",
    "MATCH (n:Supplier) WHERE n.supplierId = 3 DETACH DELETE n",
)
NO_NUMBERS = "UPDATE shop.payments SET amount = 'NaN' WHERE payment_id % 2500 = 7"
WITHOUT_FOREIGN_KEYS = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
        WHERE contype = 'f' AND conparentid = 0
        AND conrelid::regclass::text ~ 'payments|orders|addresses|products'
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.of, one.conname); END LOOP;
END $$;
ANALYZE;
"""


def main() -> int:
    """Write a picture of each screen and of the dialogues that count, in the dark theme; the
    mapping in the light one, too."""
    with tempfile.TemporaryDirectory(prefix="geode-pictures-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = name
        os.environ["LOGNAME"] = "dba"
        os.chdir(folder)
        with EmbeddedPostgres(folder / "postgres") as server:
            dsn = asyncio.run(build_shop(server.dsn, ROWS))
            asyncio.run(_spoil(dsn))
            asyncio.run(_build_legacy(server.dsn))
            os.environ["PGHOST"] = dict(parse_qsl(urlsplit(dsn).query))["host"]
            asyncio.run(_pictures("postgresql://postgres@/shop"))
            asyncio.run(_picture_of_suggestions("postgresql://postgres@/legacy"))
            both = _damaged_graph("postgresql://postgres@/shop", folder)
            _picture_of_report(both, folder)
            asyncio.run(_pictures_of_checks("postgresql://postgres@/shop"))
            asyncio.run(_pictures_of_a_stream("postgresql://postgres@/shop"))
    print(f"wrote {', '.join(sorted(path.name for path in FOLDER.glob('*.*')))}")
    return 0


async def _build_legacy(dsn_of: Callable[[str], str]) -> None:
    """The shop as many are: its tables know each other by names alone."""
    dsn = await build_shop(dsn_of, LEGACY_ROWS, database="legacy")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(WITHOUT_FOREIGN_KEYS)
    finally:
        await connection.close()


async def _pictures(dsn: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    workspace = Workspace(target_place="shop.grafeo", label="demo")
    await workspace.connect(dsn)
    app = GeodeApp(workspace, mode="connect")
    async with app.run_test(size=SIZE) as pilot:
        app.animation_level = "none"
        await _picture(pilot, "connect")
        app.show_in("schema", "shop.orders")
        await _picture(pilot, "schema")
        app.show_in("mapping", "(Product)-[HAS_SUPPLIER]->(Supplier)")
        await _picture(pilot, "mapping", settle=3.0)
        app.theme = "textual-light"
        await _picture(pilot, "mapping-light")
        app.theme = "textual-dark"
        await _picture_of_expression(pilot)
        await _earlier_runs(workspace)
        await pilot.press("4")
        runner = workspace.start_run()
        await asyncio.to_thread(_throttle_for_a_while, runner)
        await asyncio.to_thread(_wait_for_half, runner)
        await _picture(pilot, "run", settle=0.6)
        await asyncio.to_thread(runner.join)
        await pilot.press("5")
        await _picture(pilot, "report", settle=1.0)
        await pilot.press("6")
        await _picture(pilot, "history", settle=2.0)
        await pilot.press("d")
        await _picture(pilot, "dead-letters", settle=2.0)


async def _picture_of_expression(pilot: Pilot[None]) -> None:
    """An expression that PostgreSQL refuses for some row."""
    app = pilot.app
    assert isinstance(app, GeodeApp)
    app.show_in("mapping", "Payment")
    await pilot.pause(1.0)
    grid = app.screen.query_one(PropertyGrid)
    grid.focus()
    grid.cursor = [line.column for line in grid.items].index("amount")
    await pilot.press("f")
    await pilot.pause(0.5)
    editor = app.screen.query_one(SqlEditor)
    editor.text = REFUSED
    editor.move_cursor(editor.document.end)
    await _picture(pilot, "expression", settle=2.0)
    editor.text = ""
    await pilot.press("escape", "escape")
    await pilot.pause()


async def _picture_of_suggestions(dsn: str) -> None:
    workspace = Workspace(target_place="shop.grafeo", mapping_path=Path("legacy.yaml"))
    await workspace.connect(dsn)
    app = GeodeApp(workspace, mode="mapping")
    async with app.run_test(size=SIZE) as pilot:
        app.animation_level = "none"
        app.show_in("mapping", "Payment")
        shown = None
        while shown is None or not any(s.certainty == "sure" for s in shown.suggestions):
            await pilot.pause(0.2)
            found = app.screen.query(SuggestionList)
            shown = found.first() if found else None
        await pilot.pause(1.0)
        shown.focus()
        await _picture(pilot, "suggestions")


def _damaged_graph(dsn: str, folder: Path) -> list[str]:
    """A graph that was changed behind the program's back; how the command line names it."""
    both = ["--source", dsn, "--mapping", "report.yaml"]
    assert main_of_program(["map", "--source", dsn, "--output", "report.yaml"]) == EXIT_OK
    both += ["--target", "report.grafeo"]
    assert main_of_program(["migrate", *both]) in (EXIT_OK, EXIT_DIFFERS)
    database = grafeo.GrafeoDB(str(folder / "report.grafeo"))
    for statement in MEDDLING:
        database.execute(statement)
    database.close()
    return both


def _picture_of_report(both: list[str], folder: Path) -> None:
    """The page of a validation."""
    page = folder / "report.html"
    both = [*both, "--deep", "--check-references", "--format", "html", "--output", page.name]
    assert main_of_program(["validate", *both]) == EXIT_DIFFERS
    if chromium() is None:
        print("no Chromium: the picture of the report stays as it is", file=sys.stderr)
        return
    take_picture(page, folder, FOLDER / "report-html.png", PAGE_SIZE)


async def _pictures_of_checks(dsn: str) -> None:
    """The same validation on the screen: the tree, and a row with what differs lit."""
    workspace = Workspace(target_place="report.grafeo", mapping_path=Path("report.yaml"))
    await workspace.connect(dsn)
    for size, names in (
        (SIZE, ("", "report-checks")),
        (NARROW, ("report-tree-80", "report-row-80")),
    ):
        app = GeodeApp(workspace, mode="report")
        async with app.run_test(size=size) as pilot:
            app.animation_level = "none"
            await pilot.pause(1.0)
            tree = app.screen.query_one(CheckTree)
            tree.focus()
            for path in (("rows", "Order"), ("rows", "User", "edited in the graph")):
                tree.go_to(path)
            await pilot.press("down")
            if names[0]:
                await _picture(pilot, names[0])
                await pilot.press("enter")
            await _picture(pilot, names[1])


async def _pictures_of_a_stream(dsn: str) -> None:
    """Synchronization after a burst, the gates of a cutover, and the moment that writes stand.

    Told into the journal as the engines do: ten minutes, and the same each time.
    """
    with closing(Journal()) as journal:
        number = captured_run(journal, source="shop@local", label="demo")
        mark_ten_minutes(journal, number)
        gate = Gate("transactions", "no long transaction", "red", HOLDS, time.time())
        for size, suffix in ((SIZE, ""), (NARROW, "-80")):
            workspace = Workspace(target_place="shop.grafeo", label="demo")
            await workspace.connect(dsn)
            app = GeodeApp(workspace, mode="sync")
            async with app.run_test(size=size) as pilot:
                app.animation_level = "none"
                with journal.locks.hold(f"run-{number}", "", ""):
                    told_sync(journal, number, **NOW_IN_STEP)
                    await _picture(pilot, f"sync{suffix}")
                    told_cutover(journal, number, gates=gates(gate))
                    await pilot.press("8", *["down"] * 6)
                    await _picture(pilot, f"cutover-gates{suffix}")
                    with journal.locks.hold(lock_name(number), "", ""):
                        since = time.time() - 0.2
                        standing = {"frozen_at": since, "blocked": blocked()[:1]}
                        told_cutover(journal, number, state="frozen", steps=steps(1), **standing)
                        await _picture(pilot, f"cutover{suffix}")


async def _spoil(dsn: str) -> None:
    """Amounts that no decimal of the graph can hold: rows that a run has to leave out."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(NO_NUMBERS)
    finally:
        await connection.close()


async def _earlier_runs(workspace: Workspace) -> None:
    """A run that was rolled back, and one that was stopped."""
    for target, rolled_back in (("trial.grafeo", True), ("first.grafeo", False)):
        workspace.target_place = target
        runner = workspace.start_run()
        if not rolled_back:
            await asyncio.to_thread(_wait_for_half, runner)
            runner.stop()
        await asyncio.to_thread(runner.join)
        if rolled_back and runner.run_number is not None:
            await asyncio.to_thread(_roll_back, runner.run_number)
    workspace.runner, workspace.target_place = None, "shop.grafeo"


def _roll_back(number: int) -> None:
    with closing(Journal()) as journal:
        roll_back(journal, number)


def _throttle_for_a_while(runner: Runner) -> None:
    """So that the picture shows what a throttle looks like."""
    while runner.run_number is None or not runner.snapshot().rows_written:
        runner.join(0.05)
    steer.throttle(runner.run_number, 4_000)
    runner.join(12)
    steer.throttle(runner.run_number, None)


def _wait_for_half(runner: Runner) -> None:
    """Until the relationships are being written, so that the picture shows every state."""
    while not runner.finished:
        states = {(e.kind, e.state) for e in runner.snapshot().entities}
        if ("relationship", "writing") in states and ("relationship", "done") in states:
            return
        runner.join(0.02)


async def _picture(pilot: Pilot[None], name: str, settle: float = 1.0) -> None:
    await pilot.pause(settle)
    svg = pilot.app.export_screenshot(title="geode-tui")
    here = f"{Path.cwd()}/"  # a folder that is gone when the picture is seen
    svg = re.sub(f"{re.escape(here)}([^<]*)", lambda m: m[1] + "&#160;" * len(here), svg)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
