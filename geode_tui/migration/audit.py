"""The audit trail: every action with time, who, what, before and after, in a chain of hashes.

Each entry's hash covers the entry and the hash before it (SHA-256 over canonical JSON), so that
an entry that is changed, moved or taken out breaks the chain from there on.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from geode_tui.errors import redact
from geode_tui.migration.store import Store

BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action; `before` and `after` are JSON texts, `at` in seconds since the epoch."""

    number: int
    at: float
    run: int | None
    who: str
    what: str
    before: str
    after: str
    previous: str
    hash: str


class Audit:
    """The audit trail of a journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, run: int | None, what: str, before: Any = None, after: Any = None, who: str = ""
    ) -> None:
        """Journal an action; inside a transaction of the store it is part of that."""
        values = (run, who or whoami(), what, _text(before), _text(after))
        with self._store.write() as db:
            last = db.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
            number, previous = last.fetchone() or (0, BEGINNING)
            entry = (number + 1, time.time(), *values, previous)
            db.execute(
                "INSERT INTO audit (number, at, run, who, what, before, after, previous, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*entry, _hash(entry)),
            )

    def entries(self, run: int | None = None) -> list[AuditEntry]:
        """All entries, or those of a run, the oldest first."""
        if run is None:
            rows = self._store.all("SELECT * FROM audit ORDER BY number")
        else:
            rows = self._store.all("SELECT * FROM audit WHERE run = ? ORDER BY number", run)
        return [_entry(row) for row in rows]

    def broken_at(self) -> int | None:
        """The number of the first entry where the chain breaks, None when it holds."""
        previous, expected = BEGINNING, 1
        for entry in self.entries():
            fields = tuple(getattr(entry, name) for name in AuditEntry.__slots__)
            whole = entry.number == expected and entry.previous == previous
            if not whole or entry.hash != _hash(fields[:-1]):
                return entry.number
            previous, expected = entry.hash, expected + 1
        return None


def whoami() -> str:
    """The user and the machine that act, as far as the system tells."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _text(value: Any) -> str:
    return redact(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))


def _hash(fields: tuple[Any, ...]) -> str:
    canonical = json.dumps(fields, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _entry(row: sqlite3.Row) -> AuditEntry:
    return AuditEntry(*(row[name] for name in AuditEntry.__slots__))
