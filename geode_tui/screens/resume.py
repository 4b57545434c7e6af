"""The question before a run goes on."""

from __future__ import annotations

import asyncio
import contextlib

from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ConfirmDialog
from geode_tui.source.dsn import without_password
from geode_tui.widgets.status_line import PRODUCTION


async def resume_question(screen: GeodeScreen, number: int) -> RunRecord | None:
    """Ask whether a run shall go on; its record when a person says so.

    A source labelled PROD wants its name typed. Raises GeodeTuiError.
    """
    record = await asyncio.to_thread(_record, number)
    here = without_password(screen.workspace.source_dsn) == record.source_dsn
    elsewhere = "" if here or record.kind == "import" else f"\n\n{_NOT_CONNECTED}"
    error = f"\n{record.error}" if record.error else ""
    text = (
        f"run {record.number}, {record.state}\nfrom  {record.source}\nto    {record.place}"
        f"{error}\n\nRows that were written stay; it goes on after them.{elsewhere}"
    )
    production = record.label.upper() == PRODUCTION
    name = record.source.partition("@")[0] if production else ""
    dialog = ConfirmDialog("resume?", text, yes="resume", no="not now", type_name=name)
    return record if await screen.app.push_screen_wait(dialog) else None


_NOT_CONNECTED = (
    "This sitting is not connected to its source: a password it needs is looked for where libpq"
    " looks for it."
)


def _record(number: int) -> RunRecord:
    with contextlib.closing(Journal()) as journal:
        return journal.run(number)
