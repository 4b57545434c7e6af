"""The journal's room of change capture: how a run captures, how far the graph is, what is told."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from geode_tui.catalog import TableName
from geode_tui.migration.audit import Audit
from geode_tui.migration.replication.state import (
    Alarm,
    BlockedSession,
    CutoverSnapshot,
    CutoverStep,
    Gate,
    Moment,
    SyncEntity,
    SyncSnapshot,
    Way,
)
from geode_tui.migration.store import Store

CaptureState = Literal["setting up", "active", "lost", "cut over", "torn down"]
KEEP_METRICS_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Capture:
    """The capture of a run's source as journaled.

    `name` is that of the slot and its publication, or of the outbox's schema. `fence` is the
    snapshot that the graph is at, `fence_at` when it was taken, `caught_up` when it was led to a
    fence for the first time, `stale_since` when a change was applied for the first time after
    the last validation.
    """

    run: int
    way: Way
    name: str
    state: CaptureState
    made: float
    started: str = ""
    fence: str = ""
    fence_at: float | None = None
    caught_up: float | None = None
    stale_since: float | None = None
    captured: int = 0
    applied: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def moved(self) -> bool:
        """Whether all rows were moved, and changes are applied since."""
        return bool(self.options.get("moved"))

    @property
    def compare_all(self) -> bool:
        """Whether changes were lost, so that everything must be compared once."""
        return bool(self.options.get("compare_all"))

    @property
    def reread(self) -> frozenset[TableName]:
        """Tables whose rows must all be read again: they were rewritten under a snapshot."""
        return frozenset(TableName(*name) for name in self.options.get("reread", ()))


class Captures:
    """The captures of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    def begin(self, run: int, way: Way, name: str, options: Mapping[str, Any]) -> Capture:
        """Journal, before it is made, what a run is about to set up on its source."""
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO capture (run, way, name, state, made, options)"
                " VALUES (?, ?, ?, 'setting up', ?, ?)",
                (run, way, name, time.time(), json.dumps(dict(options))),
            )
            self._audit.add(run, "capture begun", None, {"way": way, "name": name})
        found = self.of(run)
        assert found is not None
        return found

    def of(self, run: int) -> Capture | None:
        """The capture of a run, None where it has none."""
        row = self._store.one("SELECT * FROM capture WHERE run = ?", run)
        return _capture(row) if row else None

    def runs(self) -> list[int]:
        """The runs that have a capture, the newest first."""
        return [row["run"] for row in self._store.all("SELECT run FROM capture ORDER BY run DESC")]

    def set_state(self, run: int, state: CaptureState, why: str = "") -> None:
        """Journal the state of a capture."""
        before = self.of(run)
        with self._store.write() as db:
            db.execute("UPDATE capture SET state = ? WHERE run = ?", (state, run))
            old = before.state if before else None
            self._audit.add(run, "capture", old, {"state": state, "why": why})

    def set_started(self, run: int, position: str) -> None:
        """Journal from where the stream is read; the set-up is whole."""
        with self._store.write() as db:
            db.execute(
                "UPDATE capture SET started = ?, state = 'active' WHERE run = ?", (position, run)
            )
            self._audit.add(run, "capture", None, {"state": "active", "position": position})

    def applied(self, run: int, fence: str, at: float, *, captured: int, applied: int) -> None:
        """Journal that the graph is at a fence; `captured` and `applied` are the sums so far."""
        with self._store.write() as db:
            db.execute(
                "UPDATE capture SET fence = ?, fence_at = ?, captured = ?, stale_since ="
                " CASE WHEN ? > applied THEN coalesce(stale_since, ?) ELSE stale_since END,"
                " applied = ?, caught_up = coalesce(caught_up, ?) WHERE run = ?",
                (fence, at, captured, applied, at, applied, at, run),
            )

    def set_moved(self, run: int) -> None:
        """Journal, before the first change is applied, that the backfill is over for good."""
        self._set_option(run, "moved", True)

    def set_compare_all(self, run: int, compare: bool) -> None:
        """Journal that the next cycle must compare everything, or that it did."""
        self._set_option(run, "compare_all", compare)

    def _set_option(self, run: int, name: str, value: bool) -> None:
        with self._store.write() as db:
            db.execute(
                f"UPDATE capture SET options = json_set(options, '$.{name}', json(?))"
                " WHERE run = ?",
                (json.dumps(value), run),
            )

    def set_compiled(self, run: int, compiled: Mapping[str, Sequence[str]]) -> None:
        """Journal what the mapping is compiled to by now; everything is compared once with it."""
        with self._store.write() as db:
            db.execute(
                "UPDATE capture SET options = json_set(options, '$.compiled', json(?),"
                " '$.compare_all', json('true')) WHERE run = ?",
                (json.dumps(dict(compiled)), run),
            )

    def set_reread(self, run: int, tables: Iterable[TableName]) -> None:
        """Journal which tables the next cycle reads anew, before this one is called done."""
        names = json.dumps([list(table) for table in sorted(tables)])
        with self._store.write() as db:
            db.execute(
                "UPDATE capture SET options = json_set(options, '$.reread', json(?))"
                " WHERE run = ? AND coalesce(json_extract(options, '$.reread'), '[]') <> json(?)",
                (names, run, names),
            )

    def validated(self, run: int) -> None:
        """Journal that nothing was applied since the graph was validated."""
        with self._store.write() as db:
            db.execute("UPDATE capture SET stale_since = NULL WHERE run = ?", (run,))

    # -- what changes did to entities ------------------------------------------------------------

    def count(self, run: int, entity: str, written: int, removed: int) -> None:
        """Add to what changes did to an entity."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO touched (run, entity, written, removed) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (run, entity) DO UPDATE SET written = written + excluded.written,"
                " removed = removed + excluded.removed",
                (run, entity, written, removed),
            )

    def counts(self, run: int) -> dict[str, tuple[int, int]]:
        """How many things of each entity changes wrote and removed."""
        rows = self._store.all("SELECT * FROM touched WHERE run = ?", run)
        return {row["entity"]: (row["written"], row["removed"]) for row in rows}

    # -- what is told to those who look ----------------------------------------------------------

    def tell_sync(self, snapshot: SyncSnapshot) -> None:
        """Journal how synchronization stands, in place of what was told before."""
        self._tell(snapshot.run, "sync", asdict(snapshot), snapshot.told_at)

    def sync(self, run: int) -> SyncSnapshot | None:
        """How synchronization stood when it was told last, None before the first time."""
        document = self._told(run, "sync")
        if document is None:
            return None
        document["entities"] = tuple(SyncEntity(**one) for one in document["entities"])
        document["alarms"] = tuple(Alarm(**one) for one in document["alarms"])
        return SyncSnapshot(**document)

    def tell_cutover(self, snapshot: CutoverSnapshot) -> None:
        """Journal how a cutover stands, in place of what was told before."""
        self._tell(snapshot.run, "cutover", asdict(snapshot), snapshot.told_at)

    def cutover(self, run: int) -> CutoverSnapshot | None:
        """How the cutover of a run stood when it was told last, None before the first time."""
        document = self._told(run, "cutover")
        if document is None:
            return None
        document["gates"] = tuple(Gate(**one) for one in document["gates"])
        document["steps"] = tuple(CutoverStep(**one) for one in document["steps"])
        document["blocked"] = tuple(BlockedSession(**one) for one in document["blocked"])
        document["rehearsals"] = tuple(document["rehearsals"])
        return CutoverSnapshot(**document)

    def mark(self, run: int, moment: Moment) -> None:
        """Journal a moment of the stream; those older than a day go."""
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO stream_metric VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    moment.at,
                    moment.lag_seconds,
                    moment.captured_rate,
                    moment.applied_rate,
                    moment.backlog,
                    moment.retained_bytes,
                ),
            )
            db.execute(
                "DELETE FROM stream_metric WHERE run = ? AND at < ?",
                (run, moment.at - KEEP_METRICS_SECONDS),
            )

    def moments(self, run: int, after: float = 0.0) -> list[Moment]:
        """The stream over time, the oldest first; only what was told `after` then."""
        rows = self._store.all(
            "SELECT at, lag, captured_rate, applied_rate, backlog, retained FROM stream_metric"
            " WHERE run = ? AND at > ? ORDER BY at",
            run,
            after,
        )
        return [Moment(*row) for row in rows]

    def _tell(self, run: int, part: str, document: dict[str, Any], at: float) -> None:
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO stream_live VALUES (?, ?, ?, ?)",
                (run, part, at, json.dumps(document, ensure_ascii=False)),
            )

    def _told(self, run: int, part: str) -> dict[str, Any] | None:
        row = self._store.one(
            "SELECT document FROM stream_live WHERE run = ? AND part = ?", run, part
        )
        return json.loads(row["document"]) if row else None


def _capture(row: sqlite3.Row) -> Capture:
    fields = {name: row[name] for name in Capture.__dataclass_fields__}
    fields["options"] = json.loads(row["options"])
    return Capture(**fields)
