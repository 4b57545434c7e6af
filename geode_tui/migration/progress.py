"""The counters of a run, kept by the engine and sampled by whoever looks; safe across threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from geode_tui.migration.events import (
    EntityKind,
    EntityProgress,
    EntityState,
    Event,
    Level,
    Phase,
    PhaseProgress,
    PhaseState,
    RunSnapshot,
    RunState,
)

RATE_SECONDS = 10.0


@dataclass
class Meter:
    """The counters of one entity. Only the engine writes them.

    `rows`, `dead`, `orphans` and `bytes` are of chunks that are done; what the chunks in flight
    have written so far is kept apart, because a chunk that breaks is written again.
    """

    id: str
    kind: EntityKind
    estimate: int | None = None
    exact: bool = False
    state: EntityState = "waiting"
    reason: str = ""
    rows: int = 0
    dead: int = 0
    orphans: int = 0
    chunks: int = 0
    planned: int | None = None
    bytes: int = 0
    retries: int = 0
    wave: str = ""
    began: float | None = None
    ended: float | None = None
    marks: deque[tuple[float, int]] = field(default_factory=deque)
    _flying: dict[int, list[int]] = field(default_factory=dict)
    _since: int = 0
    _shown: int = 0

    def begin(self, now: float) -> None:
        """A chunk is about to be moved; the first one starts the clock of the average rate."""
        if self.began is None:
            self.began, self._since = now, self.moved
        self.state, self.reason = "writing", ""

    def fly(self, chunk: int, now: float, rows: int, dead: int, orphans: int, bytes_: int) -> None:
        """A chunk in flight has written some more."""
        counts = self._flying.setdefault(chunk, [0, 0, 0, 0])
        for place, count in enumerate((rows, dead, orphans, bytes_)):
            counts[place] += count
        self.mark(now)

    def land(self, chunk: int, rows: int, dead: int, orphans: int, bytes_: int) -> None:
        """A chunk is done and journaled."""
        self._flying.pop(chunk, None)
        self.rows += rows
        self.dead += dead
        self.orphans += orphans
        self.bytes += bytes_
        self.chunks += 1

    def crash(self, chunk: int) -> None:
        """A chunk broke: what it wrote is not counted."""
        self._flying.pop(chunk, None)

    def finish(self, now: float) -> None:
        """Every row is accounted for."""
        self.state, self.reason, self.ended = "done", "", now
        self.estimate, self.exact = self.rows + self.dead + self.orphans, True

    @property
    def moved(self) -> int:
        """Rows accounted for so far, those in flight too."""
        flying = sum(sum(counts[:3]) for counts in list(self._flying.values()))
        return self.rows + self.dead + self.orphans + flying

    def mark(self, now: float) -> None:
        """Note how many rows there are now, for the rate."""
        self.marks.append((now, self.moved))
        while len(self.marks) > 2 and self.marks[1][0] < now - RATE_SECONDS:
            self.marks.popleft()

    def progress(self, now: float) -> EntityProgress:
        """The entity as it stands; the rows shown never fall while a chunk is written again."""
        rate = self._rate(now)
        flying = [sum(column) for column in zip(*self._flying.values(), strict=True)] or [0] * 4
        self._shown = max(self._shown, self.rows + flying[0])
        left = None
        if self.estimate is not None:
            left = self.estimate - self.moved
        active = self.state in ("reading", "writing")
        eta = left / rate if active and rate > 0 and left is not None and left > 0 else None
        return EntityProgress(
            self.id,
            self.kind,
            self.state,
            self._shown,
            self.estimate,
            self.exact,
            rate if active else 0.0,
            eta,
            self.chunks,
            self.retries,
            self.dead + flying[1],
            self.orphans + flying[2],
            self.reason,
            self.planned,
            self.bytes + flying[3],
            self._average(now),
            self.wave,
        )

    def _rate(self, now: float) -> float:
        """Rows a second over the last `RATE_SECONDS`."""
        marks = list(self.marks)
        if not marks:
            return 0.0
        begin = now - RATE_SECONDS
        since, rows = marks[0]
        for at, moved in marks:
            if at <= begin:  # nothing is marked while nothing is written
                since, rows = begin, moved
        return max(0, self.moved - rows) / max(now - since, 0.001)

    def _average(self, now: float) -> float:
        if self.began is None:
            return 0.0
        return max(0, self.moved - self._since) / max((self.ended or now) - self.began, 0.001)


class Progress:
    """All counters and happenings of a run."""

    def __init__(self, phases: tuple[Phase, ...]) -> None:
        self._lock = threading.Lock()
        self._phases = {name: PhaseProgress(name, "waiting") for name in phases}
        self._meters: dict[str, Meter] = {}
        self._events: deque[Event] = deque(maxlen=10_000)
        self._workers: dict[str, str] = {}
        self._marks: deque[tuple[float, int]] = deque()
        self._started = time.time()
        self._ended: float | None = None
        self._snapshot_taken: float | None = None
        self.run = 0
        self.state: RunState = "new"
        self.source = ""
        self.target = ""
        self.error = ""
        self.pace = ""
        self.wave = ""
        self.knobs: tuple[tuple[str, str], ...] = ()
        self.source_load: tuple[tuple[str, str], ...] = ()

    def add(self, meter: Meter) -> None:
        """Show an entity from now on."""
        with self._lock:
            self._meters[meter.id] = meter

    def meter(self, entity: str) -> Meter:
        """The counters of an entity."""
        return self._meters[entity]

    def phase(self, name: Phase, state: PhaseState, reason: str = "") -> None:
        """A phase changed."""
        with self._lock:
            old = self._phases[name]
            now = time.time()
            started = old.started if old.started is not None else now
            ended = None if state in ("running", "waiting") else now
            self._phases[name] = PhaseProgress(name, state, reason, started, ended)

    def happen(self, level: Level, message: str, entity: str = "") -> Event:
        """Something happened; whoever asks for events next is told."""
        event = Event(time.time(), level, message, entity)
        self._events.append(event)
        return event

    def worker(self, name: str, doing: str) -> None:
        """What a worker does or waits for; empty when it has gone."""
        with self._lock:
            if doing:
                self._workers[name] = doing
            else:
                self._workers.pop(name, None)

    def snapshot_taken(self, taken: bool) -> None:
        """The source's snapshot is held from now on, or was let go."""
        self._snapshot_taken = time.time() if taken else None

    def end(self, state: RunState, error: str = "") -> None:
        """The run is over."""
        self.state, self.error, self._ended = state, error, time.time()

    def events(self) -> list[Event]:
        """The happenings since the last call."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def snapshot(self) -> RunSnapshot:
        """All counters as they stand."""
        now = time.time()
        with self._lock:
            entities = tuple(meter.progress(now) for meter in self._meters.values())
            phases = tuple(self._phases.values())
            workers = tuple(f"{name}: {doing}" for name, doing in self._workers.items())
        held = self._snapshot_taken
        moved = [meter for meter in list(self._meters.values()) if meter.began is not None]
        began = [meter.began for meter in moved if meter.began is not None]
        rows = sum(entity.rows_written for entity in entities)
        written = sum(meter.moved - meter._since for meter in moved)
        working = (self._ended or now) - min(began) if began else 0.0
        return RunSnapshot(
            self.run,
            self.state,
            self.source,
            self.target,
            phases,
            entities,
            rows,
            self._rate(now, written) if began and self._ended is None else 0.0,
            (self._ended or now) - self._started,
            now - held if held is not None else None,
            workers,
            self.error,
            self.pace,
            self.knobs,
            self.source_load,
            written / working if working > 0 else 0.0,
            self.wave,
        )

    def _rate(self, now: float, written: int) -> float:
        """Rows a second of the whole run over the last `RATE_SECONDS`, of whichever entity."""
        with self._lock:
            self._marks.append((now, written))
            while len(self._marks) > 2 and self._marks[1][0] < now - RATE_SECONDS:
                self._marks.popleft()
            since, before = self._marks[0]
        return max(0, written - before) / (now - since) if now > since else 0.0
