"""Dead letters: the rows that are not in the graph, each with the reason."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from geode_tui.migration.store import Store

LetterState = Literal["open", "written", "skipped"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is not in the graph, with the reason; `values` is its JSON text.

    `place` is the cursor of the row in its extract, None where the table has no key. `state` is
    `written` after a retry that worked, `skipped` when somebody gave it up, with `note` why.
    """

    entity: str
    key: str
    error_class: str
    reason: str
    values: str
    place: tuple[str, ...] | None = None
    id: int = 0
    chunk: int = 0
    at: float = 0.0
    state: LetterState = "open"
    note: str = ""
    who: str = ""
    changed: float | None = None


class DeadLetters:
    """The dead letters of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, run: int, limit: int = 200, offset: int = 0) -> list[DeadLetter]:
        """Some dead letters of a run, the oldest first."""
        rows = self._store.all(
            "SELECT * FROM dead_letter WHERE run = ? ORDER BY id LIMIT ? OFFSET ?",
            run,
            limit,
            offset,
        )
        return [_letter(row) for row in rows]


def insert_letters(
    db: sqlite3.Connection, run: int, chunk: int, letters: Sequence[DeadLetter], now: float
) -> None:
    """Journal a chunk's dead letters, inside the transaction that journals its end."""
    db.executemany(
        "INSERT INTO dead_letter (run, entity, chunk, key, error_class, reason, row_values, at,"
        " place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run,
                letter.entity,
                chunk,
                letter.key,
                letter.error_class,
                letter.reason,
                letter.values,
                now,
                json.dumps(letter.place),
            )
            for letter in letters
        ],
    )


def _letter(row: sqlite3.Row) -> DeadLetter:
    place = json.loads(row["place"])
    return DeadLetter(
        row["entity"],
        row["key"],
        row["error_class"],
        row["reason"],
        row["row_values"],
        tuple(place) if place is not None else None,
        row["id"],
        row["chunk"],
        row["at"],
        row["state"],
        row["note"],
        row["who"],
        row["changed"],
    )
