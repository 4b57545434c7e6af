"""The journal: one SQLite file that knows every run, chunk, dead letter and ledger.

What must survive is written before the step that needs it, with a full sync; what a step did is
written after it. A chunk that was started and not finished is read and written again, by the same
range of keys, in a way that finds what is there already.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from geode_tui import __version__
from geode_tui.errors import GeodeTuiError, UsageError, redact
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.file import dump, mapping_hash, parse
from geode_tui.mapping.model import Mapping
from geode_tui.migration.events import PHASES, Event, Phase, PhaseProgress, PhaseState, RunState
from geode_tui.paths import journal_file
from geode_tui.validation.ledger import Difference, Entry, Ledger

FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  number INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  source_dsn TEXT NOT NULL, source TEXT NOT NULL, source_identity TEXT NOT NULL DEFAULT '',
  target TEXT NOT NULL, graph TEXT NOT NULL, schemas TEXT NOT NULL, label TEXT NOT NULL,
  mapping TEXT NOT NULL, mapping_hash TEXT NOT NULL, parallel INTEGER NOT NULL,
  batch_rows INTEGER, started REAL NOT NULL, ended REAL, error TEXT NOT NULL DEFAULT '',
  fence TEXT NOT NULL DEFAULT '', version TEXT NOT NULL, ledger TEXT);
CREATE TABLE IF NOT EXISTS phase (
  run INTEGER NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  started REAL, ended REAL, PRIMARY KEY (run, name));
CREATE TABLE IF NOT EXISTS entity (
  run INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
  estimate INTEGER, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  rows INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0,
  orphans INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, id));
CREATE TABLE IF NOT EXISTS chunk (
  run INTEGER NOT NULL, entity TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
  low TEXT, high TEXT, rows INTEGER, dead INTEGER, orphans INTEGER, started REAL, ended REAL,
  PRIMARY KEY (run, entity, number));
CREATE TABLE IF NOT EXISTS dead_letter (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, entity TEXT NOT NULL, chunk INTEGER NOT NULL,
  key TEXT NOT NULL, error_class TEXT NOT NULL, reason TEXT NOT NULL, row_values TEXT NOT NULL,
  at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS dead_letter_run ON dead_letter (run, entity, chunk);
CREATE TABLE IF NOT EXISTS finding (
  run INTEGER NOT NULL, position INTEGER NOT NULL, finding TEXT NOT NULL,
  PRIMARY KEY (run, position));
CREATE TABLE IF NOT EXISTS event (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, at REAL NOT NULL, level TEXT NOT NULL,
  message TEXT NOT NULL, entity TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_run ON event (run);
"""


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

    @property
    def resumable(self) -> bool:
        """Whether `resume` can go on with it."""
        return self.state in ("stopped", "failed")


@dataclass(frozen=True, slots=True)
class EntityRecord:
    """An entity's counters as journaled, in rows."""

    id: str
    kind: str
    estimate: int | None
    state: str
    reason: str
    rows: int
    dead: int
    orphans: int
    chunks: int


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A chunk: the cursor before its first row (None: the beginning) and at its last."""

    number: int
    low: tuple[str, ...] | None
    high: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is not in the graph, with the reason; `values` is its JSON text."""

    entity: str
    key: str
    error_class: str
    reason: str
    values: str


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


class Journal:
    """The journal's file; one object for one thread at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or journal_file()
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            os.chmod(self.path, 0o600)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"cannot open the journal {self.path}",
                str(error),
                "check the disk and the rights of its folder, or set XDG_STATE_HOME",
            ) from error

    def _migrate(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise UsageError(
                f"the journal {self.path} is of a newer geode-tui (format {found})",
                f"this one knows format {FORMAT}",
                "upgrade geode-tui",
            )
        if found < FORMAT:  # a look at the journal must not wait for a run that writes
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- runs ---------------------------------------------------------------------------------

    def begin(self, new: NewRun) -> RunRecord:
        """Journal a new run and return it."""
        uid = uuid.uuid4().hex[:12]
        with self._write() as db:
            cursor = db.execute(
                "INSERT INTO run (uid, state, source_dsn, source, target, graph, schemas, label,"
                " mapping, mapping_hash, parallel, batch_rows, started, version)"
                " VALUES (?, 'running', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                ),
            )
            number = cast(int, cursor.lastrowid)
            db.executemany(
                "INSERT INTO phase (run, name, state, reason) VALUES (?, ?, 'waiting', '')",
                [(number, name) for name in PHASES],
            )
        return self.run(number)

    def run(self, number: int) -> RunRecord:
        """The run of that number. Raises UsageError when there is none."""
        row = self._one("SELECT * FROM run WHERE number = ?", number)
        if row is None:
            raise UsageError(f"no run {number}", "", "list them with: geode-tui runs")
        return self._run_record(row)

    def runs(self) -> list[RunRecord]:
        """All runs, the newest first."""
        return [self._run_record(row) for row in self._all("SELECT * FROM run ORDER BY 1 DESC")]

    def has_written(self, number: int) -> bool:
        """Whether a run has begun to write a chunk."""
        return self._one("SELECT 1 FROM chunk WHERE run = ? LIMIT 1", number) is not None

    def unfinished(self, target: str, graph: str) -> RunRecord | None:
        """The newest run that wrote to a target, if it stopped before its end."""
        row = self._one(
            "SELECT * FROM run WHERE target = ? AND graph = ? AND EXISTS"
            " (SELECT 1 FROM chunk WHERE chunk.run = run.number) ORDER BY number DESC LIMIT 1",
            target,
            graph,
        )
        newest = self._run_record(row) if row else None
        return newest if newest and newest.resumable else None

    def newest(self, target: str, graph: str) -> RunRecord | None:
        """The newest run on a target, or None."""
        row = self._one(
            "SELECT * FROM run WHERE target = ? AND graph = ? ORDER BY number DESC LIMIT 1",
            target,
            graph,
        )
        return self._run_record(row) if row else None

    def mapping(self, number: int) -> Mapping:
        """The mapping that a run goes by."""
        row = self._one("SELECT mapping FROM run WHERE number = ?", number)
        if row is None:
            raise UsageError(f"no run {number}", "", "list them with: geode-tui runs")
        return parse(row["mapping"], f"mapping of run {number}").mapping

    def set_source(self, number: int, identity: str, fence: str) -> None:
        """Journal which database a run reads, and the snapshot it reads now."""
        self._run_update(number, source_identity=identity, fence=fence)

    def set_state(self, number: int, state: RunState, error: str = "") -> None:
        """Journal a run's state; an end has a time."""
        ended = None if state == "running" else time.time()
        self._run_update(number, state=state, error=redact(error), ended=ended)

    def _run_update(self, number: int, **fields: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in fields)
        with self._write() as db:
            db.execute(f"UPDATE run SET {names} WHERE number = ?", (*fields.values(), number))

    def _run_record(self, row: sqlite3.Row) -> RunRecord:
        state = row["state"]
        if state == "running" and not _is_held(self._lock_path(row["number"])):
            state = "stopped"  # its process is gone without a word
        names = RunRecord.__dataclass_fields__
        fields = {name: row[name] for name in names if name not in ("state", "schemas")}
        return RunRecord(state=state, schemas=tuple(json.loads(row["schemas"])), **fields)

    @contextlib.contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Hold a run: no second process may drive it. The kernel lets go when we die.

        Raises UsageError when another process holds it.
        """
        with open(self._lock_path(number), "w") as file:
            if not _locked(file):
                raise UsageError(
                    f"run {number} is being driven by another process",
                    "",
                    "watch it with: geode-tui status --follow",
                )
            yield

    def _lock_path(self, number: int) -> Path:
        folder = self.path.with_name("locks")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"run-{number}"

    # -- phases and events --------------------------------------------------------------------

    def set_phase(self, number: int, name: Phase, state: PhaseState, reason: str = "") -> None:
        """Journal a phase's state; the first `running` is its start, an end has a time."""
        now = time.time()
        ended = None if state in ("running", "waiting") else now
        with self._write() as db:
            db.execute(
                "UPDATE phase SET state = ?, reason = ?, ended = ?,"
                " started = coalesce(started, ?) WHERE run = ? AND name = ?",
                (state, redact(reason), ended, now, number, name),
            )

    def phases(self, number: int) -> tuple[PhaseProgress, ...]:
        """All phases of a run, in order."""
        rows = self._all("SELECT * FROM phase WHERE run = ?", number)
        found = {row["name"]: row for row in rows}
        return tuple(
            PhaseProgress(name, row["state"], row["reason"], row["started"], row["ended"])
            for name in PHASES
            if (row := found.get(name)) is not None
        )

    def add_event(self, number: int, event: Event) -> None:
        """Journal a happening."""
        with self._write() as db:
            db.execute(
                "INSERT INTO event (run, at, level, message, entity) VALUES (?, ?, ?, ?, ?)",
                (number, event.at, event.level, redact(event.message), event.entity),
            )

    def events(self, number: int) -> list[Event]:
        """All happenings of a run, the oldest first."""
        rows = self._all("SELECT * FROM event WHERE run = ? ORDER BY id", number)
        return [Event(r["at"], r["level"], r["message"], r["entity"]) for r in rows]

    # -- entities and chunks ------------------------------------------------------------------

    def add_entities(self, number: int, entities: Sequence[tuple[str, str, int | None]]) -> None:
        """Journal the entities of a run (id, kind, estimate); those known already stay."""
        with self._write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO entity (run, position, id, kind, estimate, state)"
                " VALUES (?, ?, ?, ?, ?, 'waiting')",
                [(number, n, *entity) for n, entity in enumerate(entities)],
            )

    def entities(self, number: int) -> list[EntityRecord]:
        """All entities of a run, in its order."""
        rows = self._all("SELECT * FROM entity WHERE run = ? ORDER BY position", number)
        names = EntityRecord.__dataclass_fields__
        return [EntityRecord(**{name: row[name] for name in names}) for row in rows]

    def set_entity(self, number: int, entity: str, state: str, reason: str = "") -> None:
        """Journal an entity's state."""
        with self._write() as db:
            db.execute(
                "UPDATE entity SET state = ?, reason = ? WHERE run = ? AND id = ?",
                (state, redact(reason), number, entity),
            )

    def last_chunks(
        self, number: int, entity: str
    ) -> tuple[ChunkRecord | None, ChunkRecord | None]:
        """An entity's last finished chunk, and the one that was started and not finished."""
        sql = (
            "SELECT number, low, high FROM chunk WHERE run = ? AND entity = ? AND state = ?"
            " ORDER BY number DESC LIMIT 1"
        )
        done = self._one(sql, number, entity, "done")
        started = self._one(sql, number, entity, "started")
        return _chunk_record(done), _chunk_record(started)

    def start_chunk(self, number: int, entity: str, chunk: ChunkRecord) -> None:
        """Journal that a chunk is about to be written; forget what an earlier try left."""
        with self._write() as db:
            db.execute(
                "DELETE FROM dead_letter WHERE run = ? AND entity = ? AND chunk = ?",
                (number, entity, chunk.number),
            )
            db.execute(
                "INSERT OR REPLACE INTO chunk (run, entity, number, state, low, high, started)"
                " VALUES (?, ?, ?, 'started', ?, ?, ?)",
                (
                    number,
                    entity,
                    chunk.number,
                    json.dumps(chunk.low),
                    json.dumps(chunk.high),
                    time.time(),
                ),
            )

    def finish_chunk(
        self, number: int, entity: str, chunk: int, rows: int, letters: Sequence[DeadLetter]
    ) -> None:
        """Journal what became of a chunk's rows, in one transaction with its dead letters."""
        orphans = sum(letter.error_class == "orphan" for letter in letters)
        dead = len(letters) - orphans
        now = time.time()
        with self._write() as db:
            db.executemany(
                "INSERT INTO dead_letter (run, entity, chunk, key, error_class, reason,"
                " row_values, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        letter.entity,
                        chunk,
                        letter.key,
                        letter.error_class,
                        letter.reason,
                        letter.values,
                        now,
                    )
                    for letter in letters
                ],
            )
            db.execute(
                "UPDATE chunk SET state = 'done', rows = ?, dead = ?, orphans = ?, ended = ?"
                " WHERE run = ? AND entity = ? AND number = ?",
                (rows, dead, orphans, now, number, entity, chunk),
            )
            db.execute(
                "UPDATE entity SET rows = rows + ?, dead = dead + ?, orphans = orphans + ?,"
                " chunks = chunks + 1 WHERE run = ? AND id = ?",
                (rows, dead, orphans, number, entity),
            )

    def forget_entity(self, number: int, entity: str) -> None:
        """Forget all chunks of an entity: it is read again from its beginning."""
        with self._write() as db:
            for table in ("chunk", "dead_letter"):
                db.execute(f"DELETE FROM {table} WHERE run = ? AND entity = ?", (number, entity))
            db.execute(
                "UPDATE entity SET state = 'waiting', reason = '', rows = 0, dead = 0,"
                " orphans = 0, chunks = 0 WHERE run = ? AND id = ?",
                (number, entity),
            )

    def dead_letters(self, number: int, limit: int = 200) -> list[DeadLetter]:
        """The first dead letters of a run."""
        rows = self._all(
            "SELECT * FROM dead_letter WHERE run = ? ORDER BY id LIMIT ?", number, limit
        )
        return [
            DeadLetter(r["entity"], r["key"], r["error_class"], r["reason"], r["row_values"])
            for r in rows
        ]

    # -- findings and ledger ------------------------------------------------------------------

    def set_findings(self, number: int, findings: Sequence[Finding]) -> None:
        """Journal what the assessment found, in place of what it found before."""
        with self._write() as db:
            db.execute("DELETE FROM finding WHERE run = ?", (number,))
            db.executemany(
                "INSERT INTO finding (run, position, finding) VALUES (?, ?, ?)",
                [(number, n, json.dumps(asdict(f))) for n, f in enumerate(findings)],
            )

    def findings(self, number: int) -> tuple[Finding, ...]:
        """What the assessment of a run found."""
        rows = self._all("SELECT finding FROM finding WHERE run = ? ORDER BY position", number)
        return tuple(Finding(**json.loads(row["finding"])) for row in rows)

    def set_ledger(self, number: int, ledger: Ledger) -> None:
        """Journal a run's ledger."""
        self._run_update(number, ledger=json.dumps(asdict(ledger)))

    def ledger(self, number: int) -> Ledger | None:
        """The ledger of a run, None before it was taken."""
        row = self._one("SELECT ledger FROM run WHERE number = ?", number)
        if row is None or row["ledger"] is None:
            return None
        document = json.loads(row["ledger"])
        differences = tuple(
            Difference(**{**d, "values": tuple(tuple(v) for v in d["values"])})
            for d in document["differences"]
        )
        entries = tuple(Entry(**entry) for entry in document["entries"])
        return Ledger(entries, differences, document["fence"], document["taken"])

    # -- SQLite -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise GeodeTuiError(
                "the journal cannot be written",
                f"{self.path}: {error}",
                "free space on its disk, then: geode-tui resume",
            ) from error

    def _one(self, sql: str, *arguments: Any) -> sqlite3.Row | None:
        return next(iter(self._all(sql, *arguments)), None)

    def _all(self, sql: str, *arguments: Any) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise GeodeTuiError("the journal cannot be read", f"{self.path}: {error}") from error


def _chunk_record(row: sqlite3.Row | None) -> ChunkRecord | None:
    if row is None:
        return None
    low, high = json.loads(row["low"]), json.loads(row["high"])
    return ChunkRecord(
        row["number"], tuple(low) if low is not None else None, tuple(high) if high else None
    )


def _locked(file: IO[str]) -> bool:
    """Take the lock; a look by `_is_held` may stand in the way for a moment."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _is_held(path: Path) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True
