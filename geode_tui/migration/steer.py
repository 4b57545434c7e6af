"""What is asked of a run that goes, by way of the journal: the same from a screen or a terminal.

Each function blocks for a write to the journal, and raises GeodeTuiError when it cannot be made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from geode_tui.migration.control import ROOM_FOR_WORKERS, Knobs
from geode_tui.migration.journal import Journal


def knobs(run: int, path: Path | None = None) -> Knobs:
    """What is asked of a run now."""
    with _journal(path) as journal:
        return journal.control.knobs(run)


def toggle_pause(run: int, path: Path | None = None) -> bool:
    """Pause a run, or let it go on; whether it is paused from now on."""
    with _journal(path) as journal, journal.store.write():
        paused = not journal.control.knobs(run).paused
        journal.control.ask(run, paused=paused)
        return paused


def change_workers(run: int, by: int, path: Path | None = None) -> int:
    """Have so many workers more, or fewer; returns how many are asked for now."""
    with _journal(path) as journal, journal.store.write():
        begun_with = journal.run(run).parallel
        before = journal.control.knobs(run).parallel or begun_with
        after = max(1, min(max(ROOM_FOR_WORKERS, begun_with), before + by))
        if after != before:
            journal.control.ask(run, parallel=after)
        return after


def throttle(run: int, rows_per_second: int | None, path: Path | None = None) -> None:
    """Limit a run to so many rows a second; None takes the limit away."""
    with _journal(path) as journal:
        journal.control.ask(run, rows_per_second=rows_per_second)


def set_batch(run: int, rows: int | None, path: Path | None = None) -> None:
    """Write so many rows a transaction; None is what the run began with."""
    with _journal(path) as journal:
        journal.control.ask(run, batch_rows=rows)


def ask_checkpoint(run: int, name: str, path: Path | None = None) -> None:
    """Have a checkpoint of that name as soon as no chunk is in flight."""
    with _journal(path) as journal:
        journal.control.ask(run, checkpoint=name)


def checkpoint_names(run: int, path: Path | None = None) -> list[str]:
    """The names of the checkpoints that a run has."""
    with _journal(path) as journal:
        return [checkpoint.name for checkpoint in journal.checkpoints.of(run)]


def ask_stop(run: int, path: Path | None = None) -> None:
    """Have a run stop after the chunks in flight."""
    with _journal(path) as journal:
        journal.control.ask(run, stop=True)


@contextlib.contextmanager
def _journal(path: Path | None) -> Iterator[Journal]:
    with contextlib.closing(Journal(path)) as journal:
        yield journal
