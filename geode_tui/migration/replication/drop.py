"""Take back what a run set up on its source to capture changes."""

from __future__ import annotations

import asyncio
import contextlib

from geode_tui.errors import UsageError
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication.captures import Capture
from geode_tui.migration.replication.replica import spool_file
from geode_tui.migration.replication.stream import PUBLICATION
from geode_tui.source.dsn import check_dsn
from geode_tui.source.outbox import Outbox
from geode_tui.source.postgres import open_for_capture
from geode_tui.source.slot import Slot

_NO_TABLE_MATTERS = "pg_class"


def drop_capture(
    journal: Journal, number: int, source: str | None = None, password: str | None = None
) -> str:
    """Drop the slot and publication, or the outbox, of a run; what was done, in words.

    The changes that are kept and not applied are forgotten with it. Raises UsageError where the
    run captures nothing or goes, GeodeTuiError.
    """
    record = journal.run(number)
    capture = journal.captures.of(number)
    if capture is None:
        raise UsageError(f"run {number} captures no changes")
    with journal.hold_run(record):
        dsn = check_dsn(source) if source else record.source_dsn
        asyncio.run(drop_at_source(capture, dsn, password))
        journal.captures.set_state(number, "torn down", "dropped")
        forget_kept(journal, record)
    kind = "slot" if capture.way == "slot" else "outbox"
    return f"{kind} {capture.name} is dropped"


async def drop_at_source(capture: Capture, dsn: str, password: str | None) -> None:
    """Drop what a capture set up; what is gone already is no error."""
    from geode_tui.catalog import TableName

    connection = await open_for_capture(dsn, password)
    try:
        if capture.way == "slot":
            table = TableName("pg_catalog", _NO_TABLE_MATTERS)
            await Slot(capture.name, PUBLICATION, (table,)).tear_down(connection)
        else:
            await Outbox(capture.name).tear_down(connection)
    finally:
        connection.terminate()


def forget_kept(journal: Journal, record: RunRecord) -> None:
    """Remove the changes of a run that are kept and not applied."""
    path = spool_file(journal, record)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()
