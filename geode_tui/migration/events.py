"""What a run shows while it goes: counters to sample, and happenings to be told.

The engine owns the counters; a screen samples `Engine.snapshot()` a few times a second. Only real
happenings (a phase changed, an entity is done, an error) are events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal[
    "assess", "prepare", "capture", "backfill", "catch up", "verify", "cutover", "watch"
]
PHASES: tuple[Phase, ...] = ("assess", "prepare", "backfill", "verify")
ZERO_DOWNTIME_PHASES: tuple[Phase, ...] = (
    "assess",
    "prepare",
    "capture",
    "backfill",
    "catch up",
    "verify",
    "cutover",
    "watch",
)
"""The phases of a run that captures changes; all phases that there are, in their order."""
VALIDATE_PHASES: tuple[Phase, ...] = ("assess", "verify")
"""The phases of a run that only compares."""

PhaseState = Literal["waiting", "running", "done", "failed", "stopped"]
EntityState = Literal["waiting", "reading", "writing", "done", "failed", "stopped"]
EntityKind = Literal["node", "relationship"]
Level = Literal["info", "warning", "error"]
RunState = Literal[
    "new", "running", "stopped", "failed", "done", "differs", "rolling back", "rolled back"
]


@dataclass(frozen=True, slots=True)
class EntityProgress:
    """One entity (label or relationship) of a run at a moment.

    `rows_written`, `dead` and `orphans` are rows since the run began, over all resumes;
    `rows_estimated` is None where nobody knows; it is the source's estimate unless
    `estimate_exact`. `rate` is rows a second over the last ten seconds; `eta_seconds` None where
    there is nothing to base it on. `reason` says in words what a waiting entity waits for or why
    it failed. `chunks_planned` is None before the table is cut into chunks; `bytes` are those
    read from the source; `average_rate` is rows a second while it was being moved.
    """

    id: str
    kind: EntityKind
    state: EntityState
    rows_written: int
    rows_estimated: int | None
    estimate_exact: bool
    rate: float
    eta_seconds: float | None
    chunks_done: int
    retries: int
    dead: int
    orphans: int
    reason: str = ""
    chunks_planned: int | None = None
    bytes: int = 0
    average_rate: float = 0.0
    wave: str = ""

    @property
    def share(self) -> float | None:
        """Done share from 0 to 1, None where unknown; never 1 before the entity is done."""
        if self.state == "done":
            return 1.0
        if not self.rows_estimated:
            return None
        return min(0.99, (self.rows_written + self.dead + self.orphans) / self.rows_estimated)


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """One phase of a run at a moment; times in seconds since the epoch."""

    name: Phase
    state: PhaseState
    reason: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """All counters of a run at a moment.

    `workers` says what each worker does or waits for. `pace` is why the run is slower than it
    could be (paused, throttled, the governor's reason), empty at full speed; `knobs` are the live
    settings and `source_load` what the source says of itself, as names and texts to show.
    """

    run: int
    state: RunState
    source: str
    target: str
    phases: tuple[PhaseProgress, ...]
    entities: tuple[EntityProgress, ...]
    rows_written: int
    rate: float
    elapsed: float
    snapshot_age: float | None
    workers: tuple[str, ...]
    error: str = ""
    pace: str = ""
    knobs: tuple[tuple[str, str], ...] = ()
    source_load: tuple[tuple[str, str], ...] = ()
    average_rate: float = 0.0
    wave: str = ""

    @property
    def phase(self) -> PhaseProgress:
        """The phase that runs, or the last that did."""
        begun = [phase for phase in self.phases if phase.state != "waiting"]
        return begun[-1] if begun else self.phases[0]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words; `at` in seconds since the epoch."""

    at: float
    level: Level
    message: str
    entity: str = ""
