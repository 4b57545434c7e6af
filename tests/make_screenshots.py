"""`make screenshots`: drive the app on the demo shop and write its pictures to screenshots/."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from textual.pilot import Pilot

from geode_tui.app import GeodeApp
from geode_tui.demo import EmbeddedPostgres, build_shop
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace

FOLDER = Path(__file__).parent.parent / "screenshots"
SIZE = (120, 36)
ROWS = 60_000


def main() -> int:
    """Write connect, schema, mapping, run and report, in the dark theme; mapping in the light."""
    with tempfile.TemporaryDirectory(prefix="geode-pictures-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = name
        os.chdir(folder)
        with EmbeddedPostgres(folder / "postgres") as server:
            dsn = asyncio.run(build_shop(server.dsn, ROWS))
            os.environ["PGHOST"] = dict(parse_qsl(urlsplit(dsn).query))["host"]
            asyncio.run(_pictures("postgresql://postgres@/shop"))
    print(f"wrote {', '.join(sorted(path.name for path in FOLDER.glob('*.svg')))}")
    return 0


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
        await _picture(pilot, "mapping")
        app.theme = "textual-light"
        await _picture(pilot, "mapping-light")
        app.theme = "textual-dark"
        await pilot.press("4")
        runner = workspace.start_run()
        await asyncio.to_thread(_wait_for_half, runner)
        await _picture(pilot, "run", settle=0.6)
        await asyncio.to_thread(runner.join)
        await pilot.press("5")
        await _picture(pilot, "report", settle=1.0)


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
