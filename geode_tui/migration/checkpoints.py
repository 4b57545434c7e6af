"""Checkpoints: named moments of a run to which its writes can be rolled back."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass

from geode_tui.errors import UsageError
from geode_tui.migration.audit import Audit
from geode_tui.migration.store import Store

BEGINNING = "begin"
"""The name of the checkpoint before the run's first write."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A moment: what steps up to `step` wrote is kept by a rollback to it.

    `rows` are the rows that each entity had in the graph then; `at` in seconds since the epoch.
    `void` says why no rollback can lead to it any more, and is empty where one can.
    """

    number: int
    name: str
    step: int
    phase: str
    wave: str
    automatic: bool
    at: float
    rows: dict[str, int]
    void: str = ""


class Checkpoints:
    """The checkpoints of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    def of(self, run: int) -> list[Checkpoint]:
        """The checkpoints of a run, the oldest first."""
        rows = self._store.all("SELECT * FROM checkpoint WHERE run = ? ORDER BY number", run)
        return [_checkpoint(row) for row in rows]

    def named(self, run: int, name: str) -> Checkpoint:
        """The checkpoint of that name. Raises UsageError naming those there are."""
        found = self.of(run)
        for checkpoint in found:
            if checkpoint.name == name:
                return checkpoint
        names = ", ".join(checkpoint.name for checkpoint in found if not checkpoint.void)
        raise UsageError(f"run {run} has no checkpoint {name}", f"there are: {names or 'none yet'}")

    def void(self, run: int, step: int, why: str) -> None:
        """Journal that what was written up to `step` is removed: nothing leads back to then."""
        with self._store.write() as db:
            db.execute(
                "UPDATE checkpoint SET void = ? WHERE run = ? AND step >= ? AND void = ''",
                (why, run, step),
            )

    def forget_after(self, run: int, number: int) -> None:
        """Forget the checkpoints that were taken after one."""
        with self._store.write() as db:
            db.execute("DELETE FROM checkpoint WHERE run = ? AND number > ?", (run, number))

    def take(
        self, run: int, name: str, phase: str, wave: str = "", automatic: bool = True
    ) -> Checkpoint:
        """Journal a checkpoint at the run's present step; one of that name stays as it is.

        Only while no chunk is being written: a chunk begun before and written on after it would
        be on both sides.
        """
        with self._store.write() as db:
            step = db.execute("SELECT steps FROM run WHERE number = ?", (run,)).fetchone()[0]
            entities = db.execute("SELECT id, rows FROM entity WHERE run = ?", (run,))
            rows = {row["id"]: row["rows"] for row in entities}
            taken = db.execute(
                "INSERT OR IGNORE INTO checkpoint"
                " (run, number, name, step, phase, wave, automatic, at, rows)"
                " SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?"
                " FROM checkpoint WHERE run = ?",
                (run, name, step, phase, wave, automatic, time.time(), json.dumps(rows), run),
            )
            if taken.rowcount:
                self._audit.add(run, "checkpoint", None, {"name": name, "step": step})
        return self.named(run, name)


def _checkpoint(row: sqlite3.Row) -> Checkpoint:
    return Checkpoint(
        row["number"],
        row["name"],
        row["step"],
        row["phase"],
        row["wave"],
        bool(row["automatic"]),
        row["at"],
        json.loads(row["rows"]),
        row["void"],
    )
