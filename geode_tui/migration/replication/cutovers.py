"""The journal's room of cutovers: each with its steps, what people ask of it, waived gates."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from geode_tui.errors import redact
from geode_tui.migration.audit import Audit, whoami
from geode_tui.migration.replication.state import CutoverState, CutoverStep, StepState
from geode_tui.migration.store import Store

Wish = Literal["abort", "keep", "fall back"]
ENDED: frozenset[CutoverState] = frozenset(
    ("kept", "aborted", "rehearsed", "fallen back", "failed")
)


@dataclass(frozen=True, slots=True)
class CutoverRecord:
    """A cutover or its rehearsal as journaled.

    `frozen` is when writes stopped, `released` when they went on. `options` has the name of the
    freeze, its hooks without secrets, and whether a guard is wanted.
    """

    id: int
    run: int
    rehearsal: bool
    state: CutoverState
    method: str
    budget: float
    begun: float
    ended: float | None = None
    frozen: float | None = None
    released: float | None = None
    watch_until: float | None = None
    token: str = ""
    error: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def stood(self) -> float | None:
        """How many seconds writes stood, None where they did not, or do still."""
        if self.frozen is None or self.released is None:
            return None
        return self.released - self.frozen

    @property
    def over(self) -> bool:
        """Whether nothing of it is open."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Waiver:
    """A gate that somebody lets pass for a reason; `at` says what was known then."""

    name: str
    reason: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks of the cutover of a run."""

    what: Wish
    who: str
    at: float


# What the run's own phases are from a state of its cutover on; a rehearsal has none of these.
_PHASES: dict[CutoverState, tuple[tuple[str, str, str], ...]] = {
    "flipped": (("cutover", "done", ""), ("watch", "running", "")),
    "kept": (("cutover", "done", ""), ("watch", "done", "")),
    "fallen back": (("cutover", "stopped", "fallen back"), ("watch", "stopped", "fallen back")),
}


def _set_phase(db: sqlite3.Connection, run: int, name: str, state: str, reason: str) -> None:
    now = time.time()
    db.execute(
        "UPDATE phase SET state = ?, reason = ?, ended = ?, started = coalesce(started, ?)"
        " WHERE run = ? AND name = ?",
        (state, reason, None if state == "running" else now, now, run, name),
    )


class Cutovers:
    """The cutovers of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    # -- cutovers and their steps -----------------------------------------------------------------

    def begin(
        self, run: int, *, rehearsal: bool, method: str, budget: float, options: Mapping[str, Any]
    ) -> CutoverRecord:
        """Journal a cutover that is about to begin."""
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO cutover (run, rehearsal, state, method, budget, begun, options)"
                " VALUES (?, ?, 'gates', ?, ?, ?, ?)",
                (run, rehearsal, method, budget, time.time(), json.dumps(dict(options))),
            )
            what = "rehearsal begun" if rehearsal else "cutover begun"
            self._audit.add(run, what, None, {"method": method, "budget": budget})
        return self.of(cast(int, cursor.lastrowid))

    def of(self, id: int) -> CutoverRecord:
        """The cutover of that id."""
        row = self._store.one("SELECT * FROM cutover WHERE id = ?", id)
        assert row is not None
        return _record(row)

    def newest(self, run: int) -> CutoverRecord | None:
        """The newest cutover or rehearsal of a run, None where there is none."""
        row = self._store.one("SELECT * FROM cutover WHERE run = ? ORDER BY id DESC LIMIT 1", run)
        return _record(row) if row else None

    def all(self, run: int) -> list[CutoverRecord]:
        """All cutovers and rehearsals of a run, the oldest first."""
        return [
            _record(row)
            for row in self._store.all("SELECT * FROM cutover WHERE run = ? ORDER BY id", run)
        ]

    def change(self, id: int, **fields: Any) -> CutoverRecord:
        """Change `frozen`, `released`, `watch_until`, `token` or `options` of a cutover."""
        plain = {n: json.dumps(v) if n == "options" else v for n, v in fields.items()}
        names = ", ".join(f"{name} = ?" for name in plain)
        with self._store.write() as db:
            db.execute(f"UPDATE cutover SET {names} WHERE id = ?", (*plain.values(), id))
        return self.of(id)

    def set_state(self, id: int, state: CutoverState, error: str = "") -> CutoverRecord:
        """Journal the state of a cutover, with an entry in the audit trail."""
        ended = time.time() if state in ENDED else None
        with self._store.write() as db:
            before = self.of(id)
            db.execute(
                "UPDATE cutover SET state = ?, error = ?, ended = ? WHERE id = ?",
                (state, redact(error), ended, id),
            )
            what = "rehearsal" if before.rehearsal else "cutover"
            after = {"state": state, "error": error} if error else {"state": state}
            self._audit.add(before.run, what, {"state": before.state}, after)
            for phase, phase_state, reason in _PHASES.get(state, ()):
                _set_phase(db, before.run, phase, phase_state, reason)
        return self.of(id)

    def is_live(self, run: int) -> bool:
        """Whether applications work with the graph of a run: it was flipped, and not back."""
        row = self._store.one(
            "SELECT state FROM cutover WHERE run = ? AND NOT rehearsal"
            " AND state IN ('flipped', 'watching', 'kept', 'falling back', 'fallen back')"
            " ORDER BY id DESC LIMIT 1",
            run,
        )
        return row is not None and row["state"] != "fallen back"

    def plan(self, id: int, steps: Sequence[CutoverStep]) -> None:
        """Journal the steps that a cutover will do, before the first."""
        with self._store.write() as db:
            db.executemany(
                "INSERT INTO cutover_step (cutover, number, name, title, state, undo, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(id, s.number, s.name, s.title, s.state, s.undo, s.detail) for s in steps],
            )

    def set_step(self, id: int, name: str, state: StepState, detail: str | None = None) -> None:
        """Journal the state of a step, before it runs and after."""
        now = time.time()
        ended = None if state in ("running", "waiting") else now
        with self._store.write() as db:
            db.execute(
                "UPDATE cutover_step SET state = ?, ended = ?, detail = coalesce(?, detail),"
                " started = CASE WHEN ? = 'running' THEN ? ELSE started END"
                " WHERE cutover = ? AND name = ?",
                (state, ended, None if detail is None else redact(detail), state, now, id, name),
            )

    def steps(self, id: int) -> tuple[CutoverStep, ...]:
        """The steps of a cutover, in order."""
        rows = self._store.all("SELECT * FROM cutover_step WHERE cutover = ? ORDER BY number", id)
        return tuple(CutoverStep(*(row[n] for n in CutoverStep.__slots__)) for row in rows)

    def rehearsals(self, run: int, since: float = 0.0) -> tuple[CutoverRecord, ...]:
        """The rehearsals of a run that passed and began after `since`, the oldest first."""
        rows = self._store.all(
            "SELECT * FROM cutover WHERE run = ? AND rehearsal AND state = 'rehearsed'"
            " AND begun > ? ORDER BY id",
            run,
            since,
        )
        return tuple(map(_record, rows))

    # -- what people ask --------------------------------------------------------------------------

    def ask(self, run: int, what: Wish, who: str = "") -> None:
        """Ask the cutover of a run to abort, to end its watch window, or to fall back."""
        who = who or whoami()
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO cutover_request VALUES (?, ?, ?, ?)",
                (run, what, who, time.time()),
            )
            self._audit.add(run, "cutover asked", None, what, who)

    def asked(self, run: int) -> Asked | None:
        """What is asked now, None where nothing is."""
        row = self._store.one("SELECT * FROM cutover_request WHERE run = ?", run)
        return Asked(row["what"], row["who"], row["at"]) if row else None

    def answered(self, run: int) -> None:
        """Take back what was asked: it is done, or too late."""
        with self._store.write() as db:
            db.execute("DELETE FROM cutover_request WHERE run = ?", (run,))

    # -- waived gates -----------------------------------------------------------------------------

    def waive(self, run: int, name: str, reason: str, who: str = "") -> None:
        """Let a gate of a run pass for a reason."""
        who = who or whoami()
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO waived_gate VALUES (?, ?, ?, ?, ?)",
                (run, name, redact(reason), who, time.time()),
            )
            self._audit.add(run, "gate waived", None, {"gate": name, "reason": reason}, who)

    def withdraw(self, run: int, name: str) -> bool:
        """Take a waiver back; whether there was one."""
        with self._store.write() as db:
            gone = db.execute("DELETE FROM waived_gate WHERE run = ? AND name = ?", (run, name))
            if gone.rowcount:
                self._audit.add(run, "waiver withdrawn", {"gate": name})
        return bool(gone.rowcount)

    def waivers(self, run: int) -> dict[str, Waiver]:
        """The waivers of a run by the gate's name."""
        rows = self._store.all("SELECT * FROM waived_gate WHERE run = ?", run)
        return {row["name"]: Waiver(*(row[n] for n in Waiver.__slots__)) for row in rows}


def percentile(seconds: Sequence[float], share: float) -> float | None:
    """The value that a share (0.5, 0.95) of some values is at most; None of no values."""
    if not seconds:
        return None
    ranked = sorted(seconds)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _record(row: sqlite3.Row) -> CutoverRecord:
    fields = {name: row[name] for name in CutoverRecord.__dataclass_fields__}
    fields["rehearsal"] = bool(row["rehearsal"])
    fields["options"] = json.loads(row["options"])
    return CutoverRecord(**fields)
