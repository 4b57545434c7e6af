"""The question before a run: its plan in words, or what keeps it from starting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from geode_tui.mapping.assess import Finding
from geode_tui.migration.journal import Strategy
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ConfirmDialog, TextDialog
from geode_tui.widgets.finding_text import findings_copied
from geode_tui.widgets.run_plan import plan_text
from geode_tui.widgets.status_line import PRODUCTION

_CAPTURES = (
    "Changes are captured from before the copy on: the source is written to as ever. Then the"
    " graph follows (screen 7), until the cutover (screen 8)."
)


async def start_question(screen: GeodeScreen, strategy: Strategy = "big-bang") -> bool:
    """Show the plan of a run in words; whether a person wants it.

    A source labelled PROD wants its name typed. Raises GeodeTuiError.
    """
    space = screen.workspace
    if space.source is None or space.history is None or space.catalog is None:
        screen.say("connect to a source first: press 1")
        return False
    if not space.target_place:
        screen.say("name a target first: press 1")
        return False
    findings = await asyncio.to_thread(space.findings)
    blocking = [finding for finding in findings if finding.blocks]
    if blocking:
        title = f"cannot start: {len(blocking)} findings must be mended first"
        screen.app.push_screen(TextDialog(title, findings_copied(blocking)))
        return False
    plan = plan_of(space, findings)
    captures = strategy == "zero-downtime"
    dialog = ConfirmDialog(
        "start a run that captures changes?" if captures else "start a run?",
        f"{plan}\n\n{_CAPTURES}" if captures else plan,
        yes="start",
        no="not now",
        type_name=_name_to_type(space),
    )
    return await screen.app.push_screen_wait(dialog)


def plan_of(space: Workspace, findings: Sequence[Finding]) -> str:
    """The plan of a run of what is connected, in words."""
    assert space.source is not None
    assert space.history is not None
    assert space.catalog is not None
    return plan_text(
        space.source.name,
        space.label,
        space.target_place,
        space.history.current,
        space.catalog,
        findings,
        space.saved,
    )


def _name_to_type(space: Workspace) -> str:
    production = space.label.upper() == PRODUCTION
    return space.catalog.server.database if production and space.catalog else ""
