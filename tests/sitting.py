"""A person's sitting with the terminal interface, for tests of the screens."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from geode_tui.app import GeodeApp
from geode_tui.catalog import Catalog
from geode_tui.mapping.edits import History
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.workspace import Workspace

NARROW, NORMAL, TINY = (80, 24), (120, 40), (60, 15)
PATIENCE = 90.0
"""Seconds after which something that should happen is taken as not happening."""

HOSTILE = """
CREATE TABLE "[/foo]" (
    "[/bar]" int PRIMARY KEY, "a""b" text, "日本語の列" timestamptz, "select" numeric,
    "sixty_three_bytes_long_column_name_that_never_ends_and_goes_on_x" text, tags text[], ok boolean
);
INSERT INTO "[/foo]" VALUES
    (1, '[red]x[/]', '2024-02-03 04:05:06.5+00', 12.3400, E'a\\nb', '{a,"b c"}', true),
    (2, E'\\u202etrick', NULL, 'NaN', NULL, NULL, false);
CREATE TABLE no_key (a int, b date);
INSERT INTO no_key VALUES (1, '2020-01-01');
CREATE VIEW "a view" AS SELECT 1 AS one;
"""


class Sitting:
    """The app under a pilot, with what a person sees and does."""

    def __init__(self, app: GeodeApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def workspace(self) -> Workspace:
        return self.app.workspace

    @property
    def mapping(self) -> Mapping:
        mapping = self.workspace.mapping
        assert mapping is not None
        return mapping

    @property
    def text(self) -> str:
        """What the terminal shows."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Type a text in place of what the input holds."""
        await self.press("end", "ctrl+u", *text)

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for something that must happen."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what or 'this'} did not happen:\n{self.text}"
            await self.pilot.pause(0.05)

    async def sees(self, *texts: str) -> None:
        """Wait until the terminal shows all these texts (any run of spaces is one)."""
        wanted = [squeezed(text) for text in texts]
        await self.until(
            lambda: all(text in squeezed(self.text) for text in wanted), f"showing {texts}"
        )

    async def settled(self) -> None:
        """Wait until nothing more is on its way."""
        await self.pilot.pause(0.3)
        await self.app.workers.wait_for_complete(
            [worker for worker in self.app.workers if worker.group in ("rows", "findings")]
        )
        await self.pilot.pause()


def squeezed(text: str) -> str:
    """A text with each run of spaces as one."""
    return re.sub(r" +", " ", text)


@asynccontextmanager
async def sitting(
    mode: str,
    folder: Path,
    dsn: str = "",
    *,
    size: tuple[int, int] = NORMAL,
    catalog: Catalog | None = None,
    label: str = "",
    target: str = "shop.grafeo",
) -> AsyncIterator[Sitting]:
    """Sit down at a screen, connected to `dsn` or with a catalog that was read before."""
    workspace = Workspace(
        target_place=str(folder / target) if target else "",
        mapping_path=folder / "mapping.yaml",
        label=label,
    )
    if dsn:
        await workspace.connect(dsn)
    if catalog is not None:
        workspace.catalog = catalog
        workspace.history = History(await asyncio.to_thread(infer, catalog))
    app = GeodeApp(workspace, mode=mode)
    async with app.run_test(size=size, notifications=True) as pilot:
        app.animation_level = "none"
        await pilot.pause()
        yield Sitting(app, pilot)
        runner = workspace.runner
        if runner is not None and not runner.finished:
            runner.stop()
            await asyncio.to_thread(runner.join, PATIENCE)
