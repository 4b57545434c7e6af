"""What somebody accepted of what differs in a graph, with the reason; and what was repaired.

An acceptance is of one graph and of exactly what differed: it holds for all later validations
until something else differs there, or until it is withdrawn.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from geode_tui.errors import UsageError, redact
from geode_tui.migration.audit import Audit, whoami
from geode_tui.migration.store import Store
from geode_tui.validation.acceptance import Settled

Place = tuple[str, str]
"""What tells a graph from others (`RunRecord.graph_identity`)."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One thing that was accepted: its `sign`, what it is in words, why, by whom and when.

    `run` is the run in whose report it was accepted; `at` in seconds since the epoch.
    """

    sign: str
    subject: str
    reason: str
    run: int
    who: str
    at: float


class Acceptances:
    """The acceptances and repairs of all graphs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    def accept(
        self, place: Place, run: int, things: Sequence[tuple[str, str]], reason: str
    ) -> None:
        """Accept things, each a sign and what it is in words.

        Raises UsageError without a reason.
        """
        reason = redact(reason.strip())
        if not reason:
            raise UsageError("what differs is accepted for a reason", "", "say why")
        now, who = time.time(), whoami()
        with self._store.write() as db:
            self._withdraw(db, place, [sign for sign, _ in things], now)
            db.executemany(
                "INSERT INTO acceptance (target, graph, sign, subject, reason, run, who, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(*place, sign, redact(words), reason, run, who, now) for sign, words in things],
            )
            told = {"reason": reason, "accepted": [redact(words) for _, words in things]}
            self._audit.add(run, "accepted", None, told)

    def withdraw(self, place: Place, run: int, signs: Sequence[str]) -> int:
        """Take acceptances back; how many there were."""
        with self._store.write() as db:
            gone = self._withdraw(db, place, signs, time.time())
            if gone:
                self._audit.add(run, "acceptance withdrawn", gone, None)
        return len(gone)

    def _withdraw(
        self, db: sqlite3.Connection, place: Place, signs: Sequence[str], now: float
    ) -> list[str]:
        gone = []
        for sign in signs:
            rows = db.execute(
                "UPDATE acceptance SET withdrawn = ? WHERE target = ? AND graph = ? AND sign = ?"
                " AND withdrawn IS NULL RETURNING subject",
                (now, *place, sign),
            )
            gone += [row["subject"] for row in rows]
        return gone

    def of(self, place: Place) -> list[Acceptance]:
        """What is accepted in a graph, the oldest first."""
        rows = self._store.all(
            "SELECT * FROM acceptance WHERE target = ? AND graph = ? AND withdrawn IS NULL"
            " ORDER BY id",
            *place,
        )
        return [
            Acceptance(r["sign"], r["subject"], r["reason"], r["run"], r["who"], r["at"])
            for r in rows
        ]

    @property
    def changes(self) -> tuple[int, int, int]:
        """What is another after each acceptance, withdrawal or repair."""
        row = self._store.one(
            "SELECT count(*) AS accepted, count(withdrawn) AS withdrawn,"
            " (SELECT count(*) FROM repaired) AS repaired FROM acceptance"
        )
        return (row["accepted"], row["withdrawn"], row["repaired"]) if row else (0, 0, 0)

    def repaired(self, run: int, of: int, signs: Sequence[str]) -> None:
        """Journal that a run repaired what another's ledger told."""
        with self._store.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO repaired (run, of, sign) VALUES (?, ?, ?)",
                [(run, of, sign) for sign in signs],
            )

    def settled(self, place: Place, run: int) -> Settled:
        """What is accepted in a graph, what of a run's ledger was repaired, what changed since."""
        accepted = {one.sign: f"{one.reason} ({one.who})" for one in self.of(place)}
        rows = self._store.all(
            "SELECT repaired.sign, repaired.run FROM repaired JOIN run ON run.number = repaired.run"
            " WHERE repaired.of = ? AND run.state <> 'rolled back'",
            run,
        )
        repaired = {row["sign"]: f"by run {row['run']}" for row in rows}
        return Settled(accepted, repaired, self.touched(place))

    def touched(self, place: Place) -> dict[str, int]:
        """By entity how many captured changes have touched a graph so far."""
        rows = self._store.all(
            "SELECT entity, sum(written + removed) AS changes FROM touched"
            " JOIN run ON run.number = touched.run"
            " WHERE graph_identity(run.target) = ? AND run.graph = ? GROUP BY entity",
            *place,
        )
        return {row["entity"]: row["changes"] for row in rows}
