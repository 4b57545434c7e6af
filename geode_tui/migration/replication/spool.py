"""The spool: captured changes on disk, from the moment they are read until the graph has them.

It is a SQLite file for each run, beside the journal, with a full sync for each list that comes:
what is stored here need not be kept by the source any more. Of a row only the columns are kept by
which its things in the graph are found; its values are read again when it is applied. A change
stays until the cycle that applied it has ended, so a cycle that was killed is simply done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geode_tui.catalog import TableName
from geode_tui.errors import GeodeTuiError
from geode_tui.source.changes import Operation

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (
  id INTEGER PRIMARY KEY, schema TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (schema, name));
CREATE TABLE IF NOT EXISTS change (
  id INTEGER PRIMARY KEY, relation INTEGER NOT NULL, xid INTEGER NOT NULL,
  operation TEXT NOT NULL, images TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS change_relation ON change (relation, id);
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY, xid INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (
  one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT NOT NULL DEFAULT '',
  captured INTEGER NOT NULL DEFAULT 0, applied INTEGER NOT NULL DEFAULT 0);
INSERT OR IGNORE INTO state (one) VALUES (1);
"""
_PAGE = 2_000

Image = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A change as it is kept: what is told of the row before, and after."""

    table: TableName
    xid: int
    operation: Operation
    old: Image
    new: Image

    def differs(self, column: str) -> bool:
        """Whether a column is told to have another value now; what is not told has the same."""
        return self.old.get(column) != self.new.get(column, self.old.get(column))


@dataclass(frozen=True, slots=True)
class Said:
    """A text that came through the stream, and its transaction."""

    xid: int
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What of the spool a snapshot (`xmin:xmax:xip,…`) shows, up to and with the change `last`."""

    snapshot: str
    last: int

    @property
    def condition(self) -> str:
        """The same as SQL; the snapshot's parts are numbers."""
        xmin, xmax, running = self.snapshot.split(":")
        numbers = ", ".join(str(int(xid)) for xid in running.split(",") if xid)
        shown = f"(xid < {int(xmin)} OR (xid < {int(xmax)} AND xid NOT IN ({numbers})))"
        return f"id <= {self.last} AND {shown}"


class Spool:
    """The spool of one run; safe for several threads. It raises GeodeTuiError on a full disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with _told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False
            )
            os.chmod(path, 0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        rows = self._db.execute("SELECT id, schema, name FROM tables").fetchall()
        self._ids = {TableName(schema, name): number for number, schema, name in rows}
        self._names = {number: name for name, number in self._ids.items()}

    # -- what comes in ---------------------------------------------------------------------------

    def store(self, changes: Sequence[Kept], said: Sequence[Said], position: str | None) -> None:
        """Store what was read, in one transaction; `position` is where to read on after it."""
        with self._writing() as db:
            db.executemany(
                "INSERT INTO change (relation, xid, operation, images) VALUES (?, ?, ?, ?)",
                [
                    (self._id(db, c.table), c.xid, c.operation, _dumped((c.old, c.new)))
                    for c in changes
                ],
            )
            db.executemany(
                "INSERT INTO message (xid, text) VALUES (?, ?)", [(m.xid, m.text) for m in said]
            )
            db.execute("UPDATE state SET captured = captured + ?", (len(changes),))
            if position is not None:
                db.execute("UPDATE state SET position = ?", (position,))

    @property
    def position(self) -> str:
        """Where to read on in the stream; empty before anything was stored."""
        return str(self._one("SELECT position FROM state")[0])

    def begin_at(self, position: str) -> None:
        """Read on from another position: that of a capture that was made anew."""
        with self._writing() as db:
            db.execute("UPDATE state SET position = ?", (position,))

    @property
    def counts(self) -> tuple[int, int]:
        """How many changes were captured and applied since capture began."""
        captured, applied = self._one("SELECT captured, applied FROM state")
        return int(captured), int(applied)

    # -- what is to be applied -------------------------------------------------------------------

    def seen(self, snapshot: str) -> Seen:
        """What of the spool, as it is now, a snapshot shows."""
        last = self._one("SELECT coalesce(max(id), 0) FROM change")[0]
        return Seen(snapshot, int(last))

    def tables(self, seen: Seen) -> dict[TableName, set[str]]:
        """The tables that were changed, with the operations that changed them."""
        found: dict[TableName, set[str]] = {}
        sql = f"SELECT DISTINCT relation, operation FROM change WHERE {seen.condition}"
        for number, operation in self._all(sql):
            found.setdefault(self._names[number], set()).add(operation)
        return found

    def changes(self, seen: Seen, table: TableName, rows: int = _PAGE) -> Iterator[list[Kept]]:
        """The changes of a table's rows, in the order they came, in lists of at most `rows`."""
        last, number = 0, self._ids.get(table, 0)
        sql = (
            "SELECT id, xid, operation, images FROM change WHERE relation = ? AND id > ?"
            f" AND {seen.condition} ORDER BY id LIMIT ?"
        )
        while some := self._all(sql, number, last, rows):
            last = some[-1][0]
            yield [
                Kept(table, xid, operation, *_loaded(images)) for _, xid, operation, images in some
            ]

    def said(self, snapshot: str) -> list[str]:
        """The texts whose transactions a snapshot shows."""
        sql = f"SELECT text FROM message WHERE {Seen(snapshot, 2**62).condition} ORDER BY id"
        return [text for (text,) in self._all(sql)]

    def waiting(self, table: TableName) -> int:
        """How many changes of a table's rows are kept."""
        number = self._ids.get(table, 0)
        return int(self._one("SELECT count(*) FROM change WHERE relation = ?", number)[0])

    def done(self, seen: Seen) -> int:
        """Forget what was applied, and the texts of its time; how many changes."""
        with self._writing() as db:
            count = db.execute(f"DELETE FROM change WHERE {seen.condition}").rowcount
            db.execute(f"DELETE FROM message WHERE {Seen(seen.snapshot, 2**62).condition}")
            db.execute("UPDATE state SET applied = applied + ?", (count,))
        return int(count)

    @property
    def bytes(self) -> int:
        """How much disk it takes."""
        paths = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def close(self) -> None:
        """Close the file when no thread is at it: one may outlive the task that waited for it."""
        with self._lock:
            self._db.close()

    def _id(self, db: sqlite3.Connection, table: TableName) -> int:
        known = self._ids.get(table)
        if known is None:
            row = db.execute(
                "INSERT INTO tables (schema, name) VALUES (?, ?)"
                " ON CONFLICT (schema, name) DO UPDATE SET name = excluded.name RETURNING id",
                (table.schema, table.name),
            ).fetchone()
            known = self._ids[table] = int(row[0])
            self._names[known] = table
        return known

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _all(self, sql: str, *arguments: object) -> list[Any]:
        with self._lock, _told(self.path):
            return self._db.execute(sql, arguments).fetchall()

    def _one(self, sql: str, *arguments: object) -> Any:
        return self._all(sql, *arguments)[0]


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise GeodeTuiError(
            "captured changes cannot be kept",
            f"{path}: {error}",
            "free space on its disk, then: geode-tui sync",
        ) from error


_dumped = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_loaded = json.JSONDecoder().decode
