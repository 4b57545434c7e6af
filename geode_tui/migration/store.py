"""The file under the journal: one SQLite database, its tables, and how it is written.

What must survive is written before the step that needs it, with a full sync; what a step did is
written after it. Each kind of record has a room of its own (`runs`, `chunks`, `audit`, …) that
shares this file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.paths import journal_file
from geode_tui.target.geode_dsn import graph_identity

FORMAT = 4

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  number INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  source_dsn TEXT NOT NULL, source TEXT NOT NULL, source_identity TEXT NOT NULL DEFAULT '',
  target TEXT NOT NULL, graph TEXT NOT NULL, schemas TEXT NOT NULL, label TEXT NOT NULL,
  mapping TEXT NOT NULL, mapping_hash TEXT NOT NULL, parallel INTEGER NOT NULL,
  batch_rows INTEGER, started REAL NOT NULL, ended REAL, error TEXT NOT NULL DEFAULT '',
  fence TEXT NOT NULL DEFAULT '', version TEXT NOT NULL, ledger TEXT,
  kind TEXT NOT NULL DEFAULT 'migrate', strategy TEXT NOT NULL DEFAULT 'big-bang',
  last_wave TEXT NOT NULL DEFAULT '', dead_limit INTEGER, options TEXT NOT NULL DEFAULT '{}',
  steps INTEGER NOT NULL DEFAULT 0, snapshots INTEGER NOT NULL DEFAULT 0,
  rollback_to INTEGER, format INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS phase (
  run INTEGER NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  started REAL, ended REAL, PRIMARY KEY (run, name));
CREATE TABLE IF NOT EXISTS entity (
  run INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
  estimate INTEGER, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  rows INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0,
  orphans INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0,
  wave TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0, planned INTEGER,
  retries INTEGER NOT NULL DEFAULT 0, before INTEGER NOT NULL DEFAULT 0, shape TEXT,
  PRIMARY KEY (run, id));
CREATE TABLE IF NOT EXISTS chunk (
  run INTEGER NOT NULL, entity TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
  low TEXT, high TEXT, rows INTEGER, dead INTEGER, orphans INTEGER, started REAL, ended REAL,
  step INTEGER, bytes INTEGER, digest INTEGER, snapshot INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0, more_steps TEXT NOT NULL DEFAULT '[]',
  unsettled INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, entity, number));
CREATE TABLE IF NOT EXISTS dead_letter (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, entity TEXT NOT NULL, chunk INTEGER NOT NULL,
  key TEXT NOT NULL, error_class TEXT NOT NULL, reason TEXT NOT NULL, row_values TEXT NOT NULL,
  at REAL NOT NULL, state TEXT NOT NULL DEFAULT 'open', place TEXT NOT NULL DEFAULT 'null',
  note TEXT NOT NULL DEFAULT '', who TEXT NOT NULL DEFAULT '', changed REAL, step INTEGER);
CREATE INDEX IF NOT EXISTS dead_letter_run ON dead_letter (run, entity, chunk);
CREATE TABLE IF NOT EXISTS finding (
  run INTEGER NOT NULL, position INTEGER NOT NULL, finding TEXT NOT NULL,
  PRIMARY KEY (run, position));
CREATE TABLE IF NOT EXISTS event (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, at REAL NOT NULL, level TEXT NOT NULL,
  message TEXT NOT NULL, entity TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_run ON event (run);
CREATE TABLE IF NOT EXISTS checkpoint (
  run INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL,
  phase TEXT NOT NULL, wave TEXT NOT NULL, automatic INTEGER NOT NULL, at REAL NOT NULL,
  rows TEXT NOT NULL DEFAULT '{}', void TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (run, number), UNIQUE (run, name));
CREATE TABLE IF NOT EXISTS pre_image (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,
  entity TEXT NOT NULL, place TEXT NOT NULL, image TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS pre_image_run ON pre_image (run, step);
CREATE TABLE IF NOT EXISTS prepared (
  run INTEGER NOT NULL, position INTEGER NOT NULL, statement TEXT NOT NULL, step INTEGER NOT NULL,
  PRIMARY KEY (run, position));
CREATE TABLE IF NOT EXISTS difference (
  run INTEGER NOT NULL, position INTEGER NOT NULL, difference TEXT NOT NULL,
  PRIMARY KEY (run, position));
CREATE TABLE IF NOT EXISTS acceptance (
  id INTEGER PRIMARY KEY, target TEXT NOT NULL, graph TEXT NOT NULL, sign TEXT NOT NULL,
  subject TEXT NOT NULL, reason TEXT NOT NULL, run INTEGER NOT NULL, who TEXT NOT NULL,
  at REAL NOT NULL, withdrawn REAL);
CREATE INDEX IF NOT EXISTS acceptance_sign ON acceptance (target, graph, sign);
CREATE TABLE IF NOT EXISTS repaired (
  run INTEGER NOT NULL, of INTEGER NOT NULL, sign TEXT NOT NULL, PRIMARY KEY (run, sign));
CREATE INDEX IF NOT EXISTS repaired_of ON repaired (of);
CREATE TABLE IF NOT EXISTS control (
  run INTEGER PRIMARY KEY, paused INTEGER NOT NULL DEFAULT 0, stop INTEGER NOT NULL DEFAULT 0,
  rows_per_second INTEGER, parallel INTEGER, batch_rows INTEGER,
  checkpoint TEXT NOT NULL DEFAULT '', who TEXT NOT NULL DEFAULT '', changed REAL);
CREATE TABLE IF NOT EXISTS live (
  run INTEGER PRIMARY KEY, at REAL NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS metric (
  run INTEGER NOT NULL, at REAL NOT NULL, rows INTEGER NOT NULL, rate REAL NOT NULL,
  note TEXT NOT NULL, PRIMARY KEY (run, at));
CREATE TABLE IF NOT EXISTS audit (
  number INTEGER PRIMARY KEY, at REAL NOT NULL, run INTEGER, who TEXT NOT NULL,
  what TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, previous TEXT NOT NULL,
  hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_run ON audit (run);
CREATE TABLE IF NOT EXISTS capture (
  run INTEGER PRIMARY KEY, way TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
  made REAL NOT NULL, started TEXT NOT NULL DEFAULT '', fence TEXT NOT NULL DEFAULT '',
  fence_at REAL, caught_up REAL, stale_since REAL, captured INTEGER NOT NULL DEFAULT 0,
  applied INTEGER NOT NULL DEFAULT 0, options TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS touched (
  run INTEGER NOT NULL, entity TEXT NOT NULL, written INTEGER NOT NULL DEFAULT 0,
  removed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, entity));
CREATE TABLE IF NOT EXISTS stream_live (
  run INTEGER NOT NULL, part TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL,
  PRIMARY KEY (run, part));
CREATE TABLE IF NOT EXISTS stream_metric (
  run INTEGER NOT NULL, at REAL NOT NULL, lag REAL, captured_rate REAL NOT NULL,
  applied_rate REAL NOT NULL, backlog INTEGER NOT NULL, retained INTEGER,
  PRIMARY KEY (run, at));
CREATE TABLE IF NOT EXISTS waived_gate (
  run INTEGER NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL,
  at REAL NOT NULL, PRIMARY KEY (run, name));
CREATE TABLE IF NOT EXISTS cutover (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, rehearsal INTEGER NOT NULL, state TEXT NOT NULL,
  method TEXT NOT NULL, budget REAL NOT NULL, begun REAL NOT NULL, ended REAL,
  frozen REAL, released REAL, watch_until REAL, token TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '', options TEXT NOT NULL DEFAULT '{}');
CREATE INDEX IF NOT EXISTS cutover_run ON cutover (run);
CREATE TABLE IF NOT EXISTS cutover_step (
  cutover INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL,
  state TEXT NOT NULL, started REAL, ended REAL, undo TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT '', PRIMARY KEY (cutover, number));
CREATE TABLE IF NOT EXISTS cutover_request (
  run INTEGER PRIMARY KEY, what TEXT NOT NULL, who TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS parallel_answer (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, pair TEXT NOT NULL, at REAL NOT NULL,
  equal INTEGER NOT NULL, sql_seconds REAL NOT NULL, gql_seconds REAL NOT NULL,
  detail TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS parallel_answer_run ON parallel_answer (run, pair, at);
CREATE TABLE IF NOT EXISTS audit_head (
  one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, hash TEXT NOT NULL);
"""

# What a journal of format 1 lacks; new tables come with the schema above.
_ADDED = {
    "run": (
        "kind TEXT NOT NULL DEFAULT 'migrate'",
        "strategy TEXT NOT NULL DEFAULT 'big-bang'",
        "last_wave TEXT NOT NULL DEFAULT ''",
        "dead_limit INTEGER",
        "options TEXT NOT NULL DEFAULT '{}'",
        "steps INTEGER NOT NULL DEFAULT 0",
        "snapshots INTEGER NOT NULL DEFAULT 0",
        "rollback_to INTEGER",
        "format INTEGER NOT NULL DEFAULT 1",
    ),
    "entity": (
        "wave TEXT NOT NULL DEFAULT ''",
        "bytes INTEGER NOT NULL DEFAULT 0",
        "planned INTEGER",
        "retries INTEGER NOT NULL DEFAULT 0",
        "before INTEGER NOT NULL DEFAULT 0",
        "shape TEXT",
    ),
    "chunk": (
        "step INTEGER",
        "bytes INTEGER",
        "digest INTEGER",
        "snapshot INTEGER",
        "attempts INTEGER NOT NULL DEFAULT 0",
        "more_steps TEXT NOT NULL DEFAULT '[]'",
        "unsettled INTEGER NOT NULL DEFAULT 0",
    ),
    "dead_letter": (
        "state TEXT NOT NULL DEFAULT 'open'",
        "place TEXT NOT NULL DEFAULT 'null'",
        "note TEXT NOT NULL DEFAULT ''",
        "who TEXT NOT NULL DEFAULT ''",
        "changed REAL",
        "step INTEGER",
    ),
}


class Store:
    """The journal's file; safe for several threads, and for several processes at once."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or journal_file()
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._db = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            os.chmod(self.path, 0o600)
            self._db.row_factory = sqlite3.Row
            self._db.create_function("graph_identity", 1, graph_identity, deterministic=True)
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
        if found == FORMAT:  # a look at the journal must not wait for a run that writes
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
                for table, columns in _ADDED.items():
                    for column in columns:
                        self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file when no thread is at it: one may outlive the task that waited for it."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction, synced at its end; one inside another is part of it.

        Raises GeodeTuiError when the file cannot be written (a full disk).
        """
        try:
            with self._lock:
                if self._depth:
                    yield self._db
                    return
                self._db.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
                finally:
                    self._depth -= 1
        except sqlite3.Error as error:
            raise GeodeTuiError(
                "the journal cannot be written",
                f"{self.path}: {error}",
                "free space on its disk, then: geode-tui resume",
            ) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """All reads inside see the file at one moment, whoever writes to it meanwhile."""
        with self._lock:
            if self._depth:
                yield
                return
            self._db.execute("BEGIN")
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                self._db.execute("COMMIT")

    def one(self, sql: str, *arguments: Any) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        return next(iter(self.all(sql, *arguments)), None)

    def all(self, sql: str, *arguments: Any) -> list[sqlite3.Row]:
        """All rows of a SELECT. Raises GeodeTuiError when the file cannot be read."""
        try:
            with self._lock:
                return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise GeodeTuiError("the journal cannot be read", f"{self.path}: {error}") from error
