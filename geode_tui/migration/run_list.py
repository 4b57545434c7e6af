"""All runs of the journal, to list: the light part at once, the sums when they are there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geode_tui.migration.checkpoints import Checkpoint
from geode_tui.migration.control import Knobs
from geode_tui.migration.events import RunState
from geode_tui.migration.journal import ANEW, RUN_FORMAT, Journal, RunKind, RunRecord
from geode_tui.target.geode_dsn import graph_identity

_LIGHT = (
    "SELECT number, state, kind, source, target, graph, label, started, ended, error, steps,"
    " format, ledger IS NOT NULL AS has_ledger, EXISTS (SELECT 1 FROM chunk"
    " WHERE chunk.run = run.number AND chunk.state <> 'planned') AS wrote FROM run"
    " ORDER BY number DESC"
)


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in the list; times in seconds since the epoch."""

    number: int
    state: RunState
    kind: RunKind
    source: str
    target: str
    graph: str
    label: str
    started: float
    ended: float | None
    error: str
    steps: int
    format: int
    has_ledger: bool
    wrote: bool

    @property
    def place(self) -> str:
        """The target with the graph's name, for a person."""
        return f"{self.target}#{self.graph}" if self.graph else self.target

    @property
    def resumable(self) -> bool:
        """Whether `resume` can go on with it."""
        ended = self.state in ("stopped", "failed") and self.format == RUN_FORMAT
        return ended and self.kind not in ANEW

    @property
    def reversible(self) -> bool:
        """Whether a rollback can take back what it wrote."""
        ended = self.state not in ("new", "running", "rolled back")
        return ended and self.format == RUN_FORMAT and self.kind != "validate"


@dataclass(frozen=True, slots=True)
class RunSums:
    """What a run moved, in rows, and its ledger: entries, and how many of them differ."""

    rows: int
    dead: int
    orphans: int
    entries: int | None = None
    differing: int = 0


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the list tells of one run beside its line; `who` began it."""

    record: RunRecord
    checkpoints: Sequence[Checkpoint]
    knobs: Knobs
    entities: int
    chunks: int
    planned: int
    who: str


class RunList:
    """Reads the journal's runs. Everything blocks: call it in a thread, one call at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._sums: dict[int, tuple[tuple[object, ...], RunSums]] = {}

    def lines(self) -> list[RunLine]:
        """All runs, the newest first. Raises GeodeTuiError."""
        with contextlib.closing(Journal(self._path)) as journal:
            return [_line(row, journal) for row in journal.store.all(_LIGHT)]

    def sums(self, lines: Iterable[RunLine]) -> dict[int, RunSums]:
        """What these runs moved; of a run that is over it is read once. Raises GeodeTuiError."""
        with contextlib.closing(Journal(self._path)) as journal:
            return {line.number: self._sums_of(journal, line) for line in lines}

    def facts(self, number: int) -> RunFacts:
        """More of one run. Raises UsageError when there is none of that number."""
        with contextlib.closing(Journal(self._path)) as journal:
            entities = journal.chunks.entities(number)
            return RunFacts(
                journal.run(number),
                journal.checkpoints.of(number),
                journal.control.knobs(number),
                len(entities),
                sum(entity.chunks for entity in entities),
                sum(entity.planned or 0 for entity in entities),
                _begun_by(journal, number),
            )

    def _sums_of(self, journal: Journal, line: RunLine) -> RunSums:
        stamp = (line.state, line.ended, line.steps, journal.acceptances.changes)
        known = self._sums.get(line.number)
        if known is not None and known[0] == stamp and line.state != "running":
            return known[1]
        row = journal.store.one(
            "SELECT coalesce(sum(rows), 0) AS rows, coalesce(sum(dead), 0) AS dead,"
            " coalesce(sum(orphans), 0) AS orphans FROM entity WHERE run = ?",
            line.number,
        )
        assert row is not None
        ledger = journal.ledger(line.number) if line.has_ledger else None
        sums = RunSums(
            row["rows"],
            row["dead"],
            row["orphans"],
            len(ledger.entries) if ledger else None,
            sum(not entry.balanced for entry in ledger.entries) if ledger else 0,
        )
        self._sums[line.number] = (stamp, sums)
        return sums


def _begun_by(journal: Journal, number: int) -> str:
    row = journal.store.one("SELECT who FROM audit WHERE run = ? ORDER BY number LIMIT 1", number)
    return row["who"] if row else ""


def newest_resumable(lines: Sequence[RunLine]) -> RunLine | None:
    """The newest run that can be resumed and wrote; only where there is none, one that did not.

    No later run may have written to the same graph.
    """
    seen, never_wrote = set(), None
    for line in lines:
        graph = graph_identity(line.target), line.graph
        if line.resumable and graph not in seen:
            if line.wrote:
                return line
            never_wrote = never_wrote or line
        if line.wrote:
            seen.add(graph)
    return never_wrote


def newest_going(lines: Sequence[RunLine]) -> RunLine | None:
    """The newest run that some process drives now."""
    return next((line for line in lines if line.state == "running"), None)


def matches(line: RunLine, text: str) -> bool:
    """Whether a run's number, state, kind, source or target has all words of `text` in it."""
    if not text:
        return True
    found = f"{line.number} {line.state} {line.kind} {line.source} {line.place}".casefold()
    return all(word in found for word in text.casefold().split())


def _line(row: sqlite3.Row, journal: Journal) -> RunLine:
    fields = dict(row)
    if fields["state"] == "running" and not journal.locks.held(f"run-{row['number']}"):
        fields["state"] = "stopped"  # its process is gone without a word
    flags = {name: bool(fields[name]) for name in ("has_ledger", "wrote")}
    return RunLine(**(fields | flags))
