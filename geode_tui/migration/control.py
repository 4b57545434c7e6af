"""What people ask of a run that goes: knobs, pause, stop, a checkpoint; from any terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from geode_tui.migration.audit import Audit, whoami
from geode_tui.migration.store import Store

ROOM_FOR_WORKERS = 16
"""A run keeps room for so many workers, or for as many as it began with if those are more."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """What is asked; None leaves a knob as the run began with it.

    `rows_per_second` limits the whole run, `parallel` is the number of workers, `batch_rows` the
    rows of a transaction. `checkpoint` names one to take at the next moment when all is quiet.
    """

    paused: bool = False
    stop: bool = False
    rows_per_second: int | None = None
    parallel: int | None = None
    batch_rows: int | None = None
    checkpoint: str = ""
    who: str = ""
    changed: float | None = None


class Control:
    """The knobs of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    def knobs(self, run: int) -> Knobs:
        """What is asked of a run now."""
        row = self._store.one("SELECT * FROM control WHERE run = ?", run)
        if row is None:
            return Knobs()
        return Knobs(
            bool(row["paused"]),
            bool(row["stop"]),
            row["rows_per_second"],
            row["parallel"],
            row["batch_rows"],
            row["checkpoint"],
            row["who"],
            row["changed"],
        )

    def ask(self, run: int, **changes: Any) -> Knobs:
        """Change some knobs (names of `Knobs`), with an entry in the audit trail."""
        who = changes.pop("who", "") or whoami()
        with self._store.write() as db:
            before = self.knobs(run)
            old = {name: getattr(before, name) for name in changes}
            db.execute("INSERT OR IGNORE INTO control (run) VALUES (?)", (run,))
            names = "".join(f"{name} = ?, " for name in changes)
            db.execute(
                f"UPDATE control SET {names}who = ?, changed = ? WHERE run = ?",
                (*changes.values(), who, time.time(), run),
            )
            self._audit.add(run, "knobs", old, changes, who)
        return self.knobs(run)

    def answered(self, run: int, **changes: Any) -> None:
        """Take back what was done (a checkpoint, a stop), without an entry in the trail."""
        names = ", ".join(f"{name} = ?" for name in changes)
        with self._store.write() as db:
            db.execute(f"UPDATE control SET {names} WHERE run = ?", (*changes.values(), run))
