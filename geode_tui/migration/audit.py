"""The audit trail: every action with time, who, what, before and after, in a chain of hashes.

Each entry's hash covers the entry and the hash before it (SHA-256 over canonical JSON), so that
an entry that is changed, moved or taken out breaks the chain from there on. The number and the
hash of the last entry are kept apart from the chain: an end that is cut off, or an entry that
somebody else added, is found too. There is no secret in it: who can write the file and knows how
can forge the whole chain, so archive the last hash elsewhere (`runs show --audit` prints it).
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geode_tui.errors import redact
from geode_tui.migration.store import Store

BEGINNING = "0" * 64
_READ_ENTRIES = 1_000


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found: the number of the first entry that is wrong, or None.

    `entries` is how many there are, `last` the hash of the last one that is right.
    """

    entries: int
    broken_at: int | None
    last: str

    @property
    def whole(self) -> bool:
        """Whether the chain holds from its first entry to its last."""
        return self.broken_at is None


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
            digest = _hash(entry)
            db.execute(
                "INSERT INTO audit (number, at, run, who, what, before, after, previous, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*entry, digest),
            )
            # A head that was not that of the chain before stays wrong: no gap is healed.
            if number == 0:
                db.execute("INSERT OR IGNORE INTO audit_head VALUES (1, 0, ?)", (BEGINNING,))
            db.execute(
                "UPDATE audit_head SET number = ?, hash = ? WHERE number = ? AND hash = ?",
                (number + 1, digest, number, previous),
            )

    def entries(self, run: int | None = None) -> list[AuditEntry]:
        """All entries, or those of a run, the oldest first."""
        if run is None:
            return list(self._all())
        rows = self._store.all("SELECT * FROM audit WHERE run = ? ORDER BY number", run)
        return [_entry(row) for row in rows]

    def check(self) -> Verdict:
        """Check the chain of the whole journal, all runs, as it is at one moment."""
        with self._store.reading():
            head = self._store.one("SELECT number, hash FROM audit_head")
            number, digest = (head["number"], head["hash"]) if head else (0, BEGINNING)
            last, count = BEGINNING, 0
            for entry in self._all():
                if not _follows(entry, count, last) or entry.number > number:
                    return Verdict(self._count(), entry.number, last)
                if entry.number == number and entry.hash != digest:
                    return Verdict(self._count(), entry.number, last)
                last, count = entry.hash, entry.number
        return Verdict(count, count + 1 if count < number else None, last)

    def broken_at(self) -> int | None:
        """The number of the first entry where the chain breaks, None when it holds."""
        return self.check().broken_at

    def _count(self) -> int:
        row = self._store.one("SELECT count(*) AS entries FROM audit")
        return int(row["entries"]) if row else 0

    def _all(self) -> Iterator[AuditEntry]:
        """All entries, a page at a time: a trail grows for years."""
        last = -(2**62)
        while True:
            rows = self._store.all(
                "SELECT * FROM audit WHERE number > ? ORDER BY number LIMIT ?", last, _READ_ENTRIES
            )
            if not rows:
                return
            yield from map(_entry, rows)
            last = rows[-1]["number"]


def whoami() -> str:
    """The user and the machine that act, as far as the system tells."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _text(value: Any) -> str:
    return json.dumps(_redacted(value), ensure_ascii=False, sort_keys=True, default=str)


def _redacted(value: Any) -> Any:
    """The value without passwords; each text by itself, so that the JSON stays whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(name): _redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _follows(entry: AuditEntry, count: int, last: str) -> bool:
    """Whether an entry is the next of a chain, and as it was written."""
    fields = tuple(getattr(entry, name) for name in AuditEntry.__slots__)
    placed = entry.number == count + 1 and entry.previous == last
    return placed and entry.hash == _hash(fields[:-1])


def _hash(fields: tuple[Any, ...]) -> str:
    canonical = json.dumps(fields, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _entry(row: sqlite3.Row) -> AuditEntry:
    return AuditEntry(*(row[name] for name in AuditEntry.__slots__))
