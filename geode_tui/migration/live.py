"""What a run shows in other terminals while it goes: its counters, and its rate over time."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from geode_tui.migration.events import RunSnapshot
from geode_tui.migration.store import Store


@dataclass(frozen=True, slots=True)
class Metric:
    """A moment of a run: rows written since its begin, and rows a second; `note` says why slow."""

    at: float
    rows: int
    rate: float
    note: str


class Live:
    """The counters of all runs as their engines last told them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tell(self, run: int, snapshot: RunSnapshot) -> None:
        """Journal the counters of a run in place of those told before."""
        document = json.dumps(asdict(snapshot), ensure_ascii=False)
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO live (run, at, document) VALUES (?, ?, ?)",
                (run, time.time(), document),
            )

    def told(self, run: int) -> tuple[float, dict[str, Any]] | None:
        """When the counters were told last, and the counters (fields of `RunSnapshot`)."""
        row = self._store.one("SELECT at, document FROM live WHERE run = ?", run)
        return (row["at"], json.loads(row["document"])) if row else None

    def heard(self, run: int) -> float | None:
        """When a run gave any word last: its counters, or something that happened."""
        row = self._store.one(
            "SELECT max(at) AS at FROM (SELECT at FROM live WHERE run = ?"
            " UNION ALL SELECT max(at) FROM event WHERE run = ?)",
            run,
            run,
        )
        return row["at"] if row else None

    def mark(self, run: int, rows: int, rate: float, note: str = "") -> None:
        """Journal a moment of the run's throughput."""
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO metric (run, at, rows, rate, note) VALUES (?, ?, ?, ?, ?)",
                (run, time.time(), rows, rate, note),
            )

    def metrics(self, run: int, after: float = 0.0) -> list[Metric]:
        """The throughput of a run over time, the oldest first; only what was told `after` then."""
        rows = self._store.all(
            "SELECT * FROM metric WHERE run = ? AND at > ? ORDER BY at", run, after
        )
        return [Metric(row["at"], row["rows"], row["rate"], row["note"]) for row in rows]
