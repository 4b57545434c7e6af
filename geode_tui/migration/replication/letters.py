"""The dead letters of rows that changes brought: each key has at most one, and it is the newest.

They are kept as a chunk of their own, the one after those of the backfill, so that all that looks
at letters finds them, and the counters that the ledger reads follow them in one transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from itertools import batched

from geode_tui.migration.dead_letters import DeadLetter, insert_letters
from geode_tui.migration.store import Store

_AT_ONCE = 500
_COUNTED = "state <> 'written' AND NOT (state = 'skipped' AND note = 'no longer in the source')"
_OF_KEYS = "run = ? AND entity = ? AND key IN (SELECT value FROM json_each(?))"


class ChangeLetters:
    """The letters of one run's entities, led along with the changes."""

    def __init__(self, store: Store, run: int) -> None:
        self._store = store
        self._run = run

    def any(self, entity: str) -> bool:
        """Whether an entity has letters at all."""
        sql = "SELECT 1 FROM dead_letter WHERE run = ? AND entity = ? LIMIT 1"
        return self._store.one(sql, self._run, entity) is not None

    def replace(
        self, entity: str, keys: Sequence[str], letters: Sequence[DeadLetter], step: int
    ) -> set[str]:
        """Put the letters of rows that were read in the place of those they had; returns whose.

        `keys` are all rows that were read, as people see their keys.
        """
        if not letters and not self.any(entity):
            return set()
        had: dict[str, float] = {}
        with self._store.write() as db:
            for some in batched(keys, _AT_ONCE):
                had |= self._forget(db, entity, list(some))
            if letters:
                self._insert(db, entity, letters, had, step)
        return set(had)

    def _insert(
        self,
        db: sqlite3.Connection,
        entity: str,
        letters: Sequence[DeadLetter],
        had: Mapping[str, float],
        step: int,
    ) -> None:
        """A row that had a letter keeps its time: it is not refused since now."""
        chunk, now = self._chunk(db, entity, step), time.time()
        since: dict[float, list[DeadLetter]] = {}
        for letter in letters:
            since.setdefault(had.get(letter.key, now), []).append(letter)
        for at, some in since.items():
            insert_letters(db, self._run, chunk, some, at)
        orphans = sum(letter.error_class == "orphan" for letter in letters)
        self._count(db, entity, chunk, len(letters) - orphans, orphans)

    def clear(self, entity: str) -> None:
        """Forget all letters of an entity: it is about to be read anew."""
        with self._store.write() as db:
            db.execute("DELETE FROM dead_letter WHERE run = ? AND entity = ?", self._place(entity))
            for table, column in (("entity", "id"), ("chunk", "entity")):
                db.execute(
                    f"UPDATE {table} SET dead = 0, orphans = 0 WHERE run = ? AND {column} = ?",
                    self._place(entity),
                )

    def _forget(self, db: sqlite3.Connection, entity: str, keys: list[str]) -> dict[str, float]:
        given = (*self._place(entity), json.dumps(keys, ensure_ascii=False))
        rows = db.execute(
            f"SELECT key, chunk, at, error_class = 'orphan' AS orphan, {_COUNTED} AS counted"
            f" FROM dead_letter WHERE {_OF_KEYS}",
            given,
        ).fetchall()
        for row in rows:
            if row["counted"]:
                self._count(db, entity, row["chunk"], -(not row["orphan"]), -row["orphan"])
        db.execute(f"DELETE FROM dead_letter WHERE {_OF_KEYS}", given)
        return {row["key"]: row["at"] for row in rows}

    def _count(
        self, db: sqlite3.Connection, entity: str, chunk: int, dead: int, orphans: int
    ) -> None:
        more = "dead = dead + ?, orphans = orphans + ?"
        place = self._place(entity)
        db.execute(f"UPDATE entity SET {more} WHERE run = ? AND id = ?", (dead, orphans, *place))
        db.execute(
            f"UPDATE chunk SET {more} WHERE run = ? AND entity = ? AND number = ?",
            (dead, orphans, *place, chunk),
        )

    def _chunk(self, db: sqlite3.Connection, entity: str, step: int) -> int:
        """The number of the chunk that holds the letters of changes."""
        planned = db.execute(
            "SELECT coalesce(planned, 0) FROM entity WHERE run = ? AND id = ?", self._place(entity)
        ).fetchone()[0]
        db.execute(
            "INSERT OR IGNORE INTO chunk (run, entity, number, state, low, high, rows, dead,"
            " orphans, step, snapshot) VALUES (?, ?, ?, 'done', 'null', 'null', 0, 0, 0, ?, 0)",
            (*self._place(entity), planned, step),
        )
        return int(planned)

    def _place(self, entity: str) -> tuple[int, str]:
        return self._run, entity
