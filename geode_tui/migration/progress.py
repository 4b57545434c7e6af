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
    """The counters of one entity. Only the engine writes them."""

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
    retries: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def mark(self, now: float) -> None:
        """Note how many rows there are now, for the rate."""
        self.marks.append((now, self.rows))
        while len(self.marks) > 2 and self.marks[1][0] < now - RATE_SECONDS:
            self.marks.popleft()

    def progress(self, now: float) -> EntityProgress:
        """The entity as it stands."""
        rate = self._rate(now)
        left = None
        if self.estimate is not None:
            left = self.estimate - self.rows - self.dead - self.orphans
        active = self.state in ("reading", "writing")
        eta = left / rate if active and rate > 0 and left is not None and left > 0 else None
        return EntityProgress(
            self.id,
            self.kind,
            self.state,
            self.rows,
            self.estimate,
            self.exact,
            rate if active else 0.0,
            eta,
            self.chunks,
            self.retries,
            self.dead,
            self.orphans,
            self.reason,
        )

    def _rate(self, now: float) -> float:
        marks = list(self.marks)
        if not marks:
            return 0.0
        since, rows = marks[0]
        return (self.rows - rows) / max(now - since, 0.001)


class Progress:
    """All counters and happenings of a run."""

    def __init__(self, phases: tuple[Phase, ...]) -> None:
        self._lock = threading.Lock()
        self._phases = {name: PhaseProgress(name, "waiting") for name in phases}
        self._meters: dict[str, Meter] = {}
        self._events: deque[Event] = deque(maxlen=10_000)
        self._workers: dict[str, str] = {}
        self._started = time.time()
        self._ended: float | None = None
        self._snapshot_taken: float | None = None
        self.run = 0
        self.state: RunState = "new"
        self.source = ""
        self.target = ""
        self.error = ""

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
        return RunSnapshot(
            self.run,
            self.state,
            self.source,
            self.target,
            phases,
            entities,
            sum(entity.rows_written for entity in entities),
            sum(entity.rate for entity in entities),
            (self._ended or now) - self._started,
            now - held if held is not None else None,
            workers,
            self.error,
        )
