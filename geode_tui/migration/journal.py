"""The journal: one SQLite file that knows every run, chunk, dead letter and ledger.

What must survive is written before the step that needs it, with a full sync; what a step did is
written after it. A chunk that was started and not finished is read and written again, by the same
range of keys, in a way that finds what is there already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from geode_tui import __version__
from geode_tui.errors import UsageError, redact
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.file import dump, mapping_hash, parse
from geode_tui.mapping.model import Mapping
from geode_tui.migration.acceptances import Acceptances
from geode_tui.migration.audit import Audit
from geode_tui.migration.checkpoints import Checkpoints
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.control import Control
from geode_tui.migration.dead_letters import DeadLetters
from geode_tui.migration.events import (
    PHASES,
    VALIDATE_PHASES,
    ZERO_DOWNTIME_PHASES,
    Event,
    Phase,
    PhaseProgress,
    PhaseState,
    RunState,
)
from geode_tui.migration.live import Live
from geode_tui.migration.locks import Locks
from geode_tui.migration.replication.captures import Captures
from geode_tui.migration.replication.cutovers import Cutovers
from geode_tui.migration.store import Store
from geode_tui.target import TargetPlan
from geode_tui.target.geode_dsn import graph_identity
from geode_tui.validation.acceptance import settle
from geode_tui.validation.ledger import Check, Difference, EntityDigest, Entry, Ledger

RUN_FORMAT = 2
"""Runs of format 1 wrote no steps on what they made and cut no chunks: they cannot go on."""

_READ_ROWS = 1_000
_WATCH = "watch it with: geode-tui status --follow"
ROLLED_BACK = "rolled back"
"""What the audit trail calls the end of a rollback."""

RunKind = Literal["migrate", "export", "import", "schema", "validate", "repair"]
ANEW: frozenset[RunKind] = frozenset(("validate", "repair"))
"""Runs that are not resumed, but begun anew."""
Strategy = Literal["big-bang", "incremental", "zero-downtime"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as journaled; times in seconds since the epoch. `source_dsn` has no secrets."""

    number: int
    uid: str
    state: RunState
    source_dsn: str
    source: str
    source_identity: str
    target: str
    graph: str
    schemas: tuple[str, ...]
    label: str
    mapping_hash: str
    parallel: int
    batch_rows: int | None
    started: float
    ended: float | None
    error: str
    fence: str
    version: str
    kind: RunKind = "migrate"
    strategy: Strategy = "big-bang"
    last_wave: str = ""
    dead_limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    snapshots: int = 0
    rollback_to: int | None = None
    format: int = RUN_FORMAT

    @property
    def resumable(self) -> bool:
        """Whether `resume` can go on with it: a validation or a repair is begun anew."""
        return self.state in ("stopped", "failed") and self.kind not in ANEW

    @property
    def target_plan(self) -> TargetPlan:
        """How to open the target."""
        form = self.options.get("format", ""), self.options.get("compression", "")
        return TargetPlan(self.target, self.graph, *form)

    @property
    def place(self) -> str:
        """The target with the graph's name, for a person."""
        return f"{self.target}#{self.graph}" if self.graph else self.target

    @property
    def graph_identity(self) -> tuple[str, str]:
        """What tells its graph from others, by whichever options it is connected to."""
        return graph_identity(self.target), self.graph


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is begun with; `source_dsn` without secrets."""

    source_dsn: str
    source: str
    target: str
    graph: str
    schemas: tuple[str, ...]
    label: str
    mapping: Mapping
    parallel: int
    batch_rows: int | None
    kind: RunKind = "migrate"
    strategy: Strategy = "big-bang"
    last_wave: str = ""
    dead_limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The journal's file, and the rooms in it; safe for several threads.

    Runs, their phases, happenings, findings and ledgers are here; `chunks`, `dead_letters`,
    `acceptances`, `audit`, `captures`, `checkpoints`, `control`, `cutovers`, `live` and `locks` are
    rooms of their own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.store = Store(path)
        self.path = self.store.path
        self.chunks = Chunks(self.store)
        self.dead_letters = DeadLetters(self.store)
        self.acceptances = Acceptances(self.store)
        self.captures = Captures(self.store)
        self.cutovers = Cutovers(self.store)
        self.audit = Audit(self.store)
        self.control = Control(self.store)
        self.checkpoints = Checkpoints(self.store)
        self.live = Live(self.store)
        self.locks = Locks(self.path.with_name("locks"))

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    # -- runs ---------------------------------------------------------------------------------

    def begin(self, new: NewRun) -> RunRecord:
        """Journal a new run and return it."""
        uid = uuid.uuid4().hex[:12]
        with self.store.write() as db:
            cursor = db.execute(
                "INSERT INTO run (uid, state, source_dsn, source, target, graph, schemas, label,"
                " mapping, mapping_hash, parallel, batch_rows, started, version, kind, strategy,"
                " last_wave, dead_limit, options, format)"
                " VALUES (?, 'running', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    uid,
                    new.source_dsn,
                    new.source,
                    new.target,
                    new.graph,
                    json.dumps(new.schemas),
                    new.label,
                    dump(new.mapping),
                    mapping_hash(new.mapping),
                    new.parallel,
                    new.batch_rows,
                    time.time(),
                    __version__,
                    new.kind,
                    new.strategy,
                    new.last_wave,
                    new.dead_limit,
                    json.dumps(new.options),
                    RUN_FORMAT,
                ),
            )
            number = cast(int, cursor.lastrowid)
            what: dict[str, Any] = {"target": new.target, "graph": new.graph}
            what |= {"source": new.source}
            what |= {"mapping": mapping_hash(new.mapping), "strategy": new.strategy}
            what |= {"waivers": [asdict(waiver) for waiver in new.mapping.waivers]}
            self.audit.add(number, f"{new.kind} begun", None, what)
            db.executemany(
                "INSERT INTO phase (run, name, state, reason) VALUES (?, ?, 'waiting', '')",
                [(number, name) for name in _phases_of(new)],
            )
        return self.run(number)

    def run(self, number: int) -> RunRecord:
        """The run of that number. Raises UsageError when there is none."""
        row = self.store.one("SELECT * FROM run WHERE number = ?", number)
        if row is None:
            raise UsageError(f"no run {number}", "", "list them with: geode-tui runs")
        return self._run_record(row)

    def runs(self) -> list[RunRecord]:
        """All runs, the newest first."""
        return [
            self._run_record(row) for row in self.store.all("SELECT * FROM run ORDER BY 1 DESC")
        ]

    def unfinished(self, target: str, graph: str) -> RunRecord | None:
        """The newest run that wrote to a target, if it stopped before its end, or its rollback."""
        row = self.store.one(
            "SELECT * FROM run WHERE graph_identity(target) = ? AND graph = ?"
            " AND (state = 'rolling back' OR EXISTS"
            " (SELECT 1 FROM chunk WHERE chunk.run = run.number AND chunk.state <> 'planned'))"
            " ORDER BY state = 'rolling back' DESC, number DESC LIMIT 1",
            graph_identity(target),
            graph,
        )
        newest = self._run_record(row) if row else None
        unfinished = newest and (newest.resumable or newest.state == "rolling back")
        return newest if unfinished else None

    def newest(self, target: str, graph: str) -> RunRecord | None:
        """The newest run on a target, or None."""
        row = self.store.one(
            "SELECT * FROM run WHERE graph_identity(target) = ? AND graph = ?"
            " ORDER BY number DESC LIMIT 1",
            graph_identity(target),
            graph,
        )
        return self._run_record(row) if row else None

    def mapping(self, number: int) -> Mapping:
        """The mapping that a run goes by."""
        row = self.store.one("SELECT mapping FROM run WHERE number = ?", number)
        if row is None:
            raise UsageError(f"no run {number}", "", "list them with: geode-tui runs")
        return parse(row["mapping"], f"mapping of run {number}").mapping

    def change(self, number: int, **fields: Any) -> RunRecord:
        """Change fields of a run (`last_wave`, `dead_limit`, `options`), with an audit entry."""
        plain = {n: json.dumps(v) if n == "options" else v for n, v in fields.items()}
        with self.store.write():
            before = self.run(number)
            self._run_update(number, **plain)
            told = {n: v for n, v in fields.items() if n != "options"}
            if told:
                self.audit.add(number, "changed", {n: getattr(before, n) for n in told}, told)
        return self.run(number)

    def set_source(self, number: int, identity: str) -> None:
        """Journal which source a run reads."""
        self._run_update(number, source_identity=identity)

    def set_snapshot(self, number: int, fence: str) -> int:
        """Journal the snapshot that a run reads from now on, and return its number."""
        with self.store.write() as db:
            row = db.execute(
                "UPDATE run SET fence = ?, snapshots = snapshots + 1 WHERE number = ?"
                " RETURNING snapshots",
                (fence, number),
            ).fetchone()
            self.audit.add(number, "snapshot", None, {"number": row[0], "fence": fence})
            return int(row[0])

    def set_state(self, number: int, state: RunState, error: str = "") -> None:
        """Journal a run's state; an end has a time."""
        ended = None if state == "running" else time.time()
        with self.store.write() as db:
            old = db.execute("SELECT state FROM run WHERE number = ?", (number,)).fetchone()
            self._run_update(number, state=state, error=redact(error), ended=ended)
            self.audit.add(number, "state", old["state"], state)

    def begin_rollback(self, number: int, checkpoint: str, step: int) -> None:
        """Journal that all steps of a run after `step` are about to be taken back."""
        with self.store.write():
            before = self.run(number)
            options = json.dumps(before.options | {"rollback": checkpoint})
            self._run_update(number, rollback_to=step, options=options)
            what = {"checkpoint": checkpoint, "step": step}
            self.audit.add(number, "rollback begun", {"state": before.state}, what)
            self.set_state(number, "rolling back")

    def end_rollback(
        self, number: int, state: RunState, phase: Phase, told: Any, reason: str = ""
    ) -> None:
        """Journal the end of a rollback to a moment in a phase; `told` is for the audit trail.

        Where the run can go on, `reason` says why it and its phase stopped.
        """
        with self.store.write() as db:
            before = self.run(number)
            options = {n: v for n, v in before.options.items() if n != "rollback"}
            fields = {"rollback_to": None, "ledger": None, "options": json.dumps(options)}
            self._run_update(number, **fields)
            for later in ZERO_DOWNTIME_PHASES[ZERO_DOWNTIME_PHASES.index(phase) + 1 :]:
                db.execute(
                    "UPDATE phase SET state = 'waiting', reason = '', started = NULL, ended = NULL"
                    " WHERE run = ? AND name = ?",
                    (number, later),
                )
            if state == "rolled back":
                db.execute("DELETE FROM prepared WHERE run = ?", (number,))
            else:
                self.set_phase(number, phase, "stopped", reason)
            self.audit.add(number, ROLLED_BACK, before.options.get("rollback"), told)
            self.set_state(number, state, reason)

    def _run_update(self, number: int, **fields: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in fields)
        with self.store.write() as db:
            db.execute(f"UPDATE run SET {names} WHERE number = ?", (*fields.values(), number))

    def _run_record(self, row: sqlite3.Row) -> RunRecord:
        fields = {name: row[name] for name in RunRecord.__dataclass_fields__}
        if fields["state"] == "running" and not self.locks.held(f"run-{row['number']}"):
            fields["state"] = "stopped"  # its process is gone without a word
        fields["schemas"] = tuple(json.loads(row["schemas"]))
        fields["options"] = json.loads(row["options"])
        return RunRecord(**fields)

    @contextlib.contextmanager
    def hold(self, record: RunRecord) -> Iterator[None]:
        """Hold a run and its target: no second process may drive the one or write the other.

        The kernel lets go when we die. Raises UsageError when another process holds one.
        """
        written = f"another run writes to {record.place}"
        lock = self.target_lock(record.target, record.graph)
        with self.hold_run(record), self.locks.hold(lock, written, _WATCH):
            yield

    @contextlib.contextmanager
    def hold_run(self, record: RunRecord) -> Iterator[None]:
        """Hold a run alone, where it writes nothing; see `hold`."""
        driven = f"run {record.number} is being driven by another process"
        with self.locks.hold(f"run-{record.number}", driven, _WATCH):
            yield

    def target_lock(self, target: str, graph: str) -> str:
        """The name of the lock that whoever writes to a target holds."""
        place = graph_identity(target) if "://" in target else str(Path(target).absolute())
        return "target-" + hashlib.sha256(f"{place}\n{graph}".encode()).hexdigest()[:16]

    # -- phases and events --------------------------------------------------------------------

    def set_phase(self, number: int, name: Phase, state: PhaseState, reason: str = "") -> None:
        """Journal a phase's state; the first `running` is its start, an end has a time."""
        now = time.time()
        ended = None if state in ("running", "waiting") else now
        with self.store.write() as db:
            db.execute(
                "UPDATE phase SET state = ?, reason = ?, ended = ?,"
                " started = coalesce(started, ?) WHERE run = ? AND name = ?",
                (state, redact(reason), ended, now, number, name),
            )

    def phases(self, number: int) -> tuple[PhaseProgress, ...]:
        """All phases of a run, in order."""
        rows = self.store.all("SELECT * FROM phase WHERE run = ?", number)
        found = {row["name"]: row for row in rows}
        return tuple(
            PhaseProgress(name, row["state"], row["reason"], row["started"], row["ended"])
            for name in ZERO_DOWNTIME_PHASES
            if (row := found.get(name)) is not None
        )

    def add_event(self, number: int, event: Event) -> None:
        """Journal a happening."""
        with self.store.write() as db:
            db.execute(
                "INSERT INTO event (run, at, level, message, entity) VALUES (?, ?, ?, ?, ?)",
                (number, event.at, event.level, redact(event.message), event.entity),
            )

    def events(self, number: int) -> list[Event]:
        """All happenings of a run, the oldest first."""
        rows = self.store.all("SELECT * FROM event WHERE run = ? ORDER BY id", number)
        return [Event(r["at"], r["level"], r["message"], r["entity"]) for r in rows]

    def events_after(
        self, number: int, last: int = 0, limit: int = 5_000
    ) -> tuple[list[Event], int]:
        """The newest happenings of a run after the one numbered `last`, and the number of the last.

        The oldest first, at most `limit`.
        """
        rows = self.store.all(
            "SELECT * FROM event WHERE run = ? AND id > ? ORDER BY id DESC LIMIT ?",
            number,
            last,
            limit,
        )
        found = [Event(r["at"], r["level"], r["message"], r["entity"]) for r in reversed(rows)]
        return found, rows[0]["id"] if rows else last

    # -- findings and ledger ------------------------------------------------------------------

    def set_findings(self, number: int, findings: Sequence[Finding]) -> None:
        """Journal what the assessment found, in place of what it found before."""
        with self.store.write() as db:
            db.execute("DELETE FROM finding WHERE run = ?", (number,))
            db.executemany(
                "INSERT INTO finding (run, position, finding) VALUES (?, ?, ?)",
                [(number, n, json.dumps(asdict(f))) for n, f in enumerate(findings)],
            )

    def findings(self, number: int) -> tuple[Finding, ...]:
        """What the assessment of a run found."""
        rows = self.store.all("SELECT finding FROM finding WHERE run = ? ORDER BY position", number)
        return tuple(Finding(**json.loads(row["finding"])) for row in rows)

    def add_prepared(self, number: int, statement: str) -> None:
        """Journal a statement that will prepare the target, so that a rollback can undo it."""
        with self.store.write() as db:
            if statement in self.prepared(number):
                return
            db.execute(
                "INSERT INTO prepared (run, position, statement, step)"
                " SELECT ?, coalesce(max(position), 0) + 1, ?, ? FROM prepared WHERE run = ?",
                (number, statement, 0, number),
            )
            self.audit.add(number, "prepared", None, statement)

    def prepared(self, number: int) -> list[str]:
        """The statements that prepared the target for a run, the oldest first."""
        rows = self.store.all("SELECT * FROM prepared WHERE run = ? ORDER BY position", number)
        return [row["statement"] for row in rows]

    def set_wave_ledger(self, number: int, wave: str, ledger: Ledger) -> None:
        """Journal the ledger of a wave: what its gate saw."""
        verdict = {"wave": wave, "balanced": ledger.balanced, "entries": len(ledger.entries)}
        self.audit.add(number, "gate", None, verdict)

    def open_gates(self, number: int) -> set[str]:
        """The waves of a run whose ledger balanced; not those that were rolled back since."""
        gates: dict[str, float] = {}
        for entry in self.audit.entries(number):
            told = json.loads(entry.after)
            if entry.what == "gate" and told["balanced"]:
                gates[told["wave"]] = entry.at
            elif entry.what == ROLLED_BACK:
                gates = {wave: at for wave, at in gates.items() if at <= told["at"]}
        return set(gates)

    def set_ledger(self, number: int, ledger: Ledger) -> None:
        """Journal a run's ledger; what comes to its graph from now on makes it stale."""
        if ledger.touched is None:
            touched = self.acceptances.touched(self.run(number).graph_identity)
            ledger = replace(ledger, touched=tuple(touched.items()))
        differing = sum(not entry.balanced for entry in ledger.entries)
        verdict = {"balanced": ledger.balanced, "entries": len(ledger.entries)}
        rows = [(number, n, json.dumps(asdict(d))) for n, d in enumerate(ledger.differences)]
        document = asdict(replace(ledger, differences=()))
        with self.store.write() as db:
            self._run_update(number, ledger=json.dumps(document))
            db.execute("DELETE FROM difference WHERE run = ?", (number,))
            db.executemany(
                "INSERT INTO difference (run, position, difference) VALUES (?, ?, ?)", rows
            )
            self.audit.add(number, "ledger", None, verdict | {"differing": differing})

    def ledger(self, number: int) -> Ledger | None:
        """The ledger of a run, None before it was taken; what is settled since is told as such."""
        row = self.store.one("SELECT ledger FROM run WHERE number = ?", number)
        if row is None or row["ledger"] is None:
            return None
        ledger = _ledger(json.loads(row["ledger"]))
        if not ledger.differences:  # in one document, as older journals have them
            ledger = replace(ledger, differences=tuple(self._differences(number)))
        return self.settled(number, ledger)

    def _differences(self, number: int) -> Iterator[Difference]:
        """One document each: a large one would hold the interpreter while it is read."""
        sql = "SELECT difference FROM difference WHERE run = ? AND position >= ? ORDER BY position"
        begin = 0
        while rows := self.store.all(f"{sql} LIMIT {_READ_ROWS}", number, begin):
            yield from (_difference(json.loads(row["difference"])) for row in rows)
            begin += _READ_ROWS

    def settled(self, number: int, ledger: Ledger) -> Ledger:
        """A ledger of a run with what is accepted in its graph, or repaired since."""
        place = self.run(number).graph_identity
        return settle(ledger, self.acceptances.settled(place, number))


def _phases_of(new: NewRun) -> tuple[Phase, ...]:
    if new.kind == "validate":
        return VALIDATE_PHASES
    return ZERO_DOWNTIME_PHASES if new.strategy == "zero-downtime" else PHASES


def _difference(document: dict[str, Any]) -> Difference:
    return Difference(**{**document, "values": tuple(tuple(v) for v in document["values"])})


def _ledger(document: dict[str, Any]) -> Ledger:
    differences = tuple(map(_difference, document["differences"]))
    checks = tuple(
        Check(**{**c, **{n: tuple(tuple(p) for p in c[n]) for n in ("in_source", "in_graph")}})
        for c in document.get("checks", ())
    )
    return Ledger(
        tuple(Entry(**entry) for entry in document["entries"]),
        differences,
        document["fence"],
        document["taken"],
        tuple(EntityDigest(**digest) for digest in document.get("digests", ())),
        checks,
        tuple((entity, count) for entity, count in document.get("touched") or ()),
    )
