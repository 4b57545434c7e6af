"""What synchronization and cutover show: plain values that screens, `status` and gates read.

The engine tells them into the journal (`captures`); whoever looks reads them there, so a screen, a
second terminal and the headless verbs see the same. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["slot", "outbox"]
SyncState = Literal["starting", "catching up", "in step", "waiting", "paused", "stopped", "failed"]
Colour = Literal["green", "amber", "red"]
StepState = Literal["waiting", "running", "done", "failed", "undone", "skipped"]
CutoverState = Literal[
    "gates",
    "freezing",
    "frozen",
    "flipped",
    "watching",
    "kept",
    "aborted",
    "rehearsed",
    "falling back",
    "fallen back",
    "failed",
]


@dataclass(frozen=True, slots=True)
class SyncEntity:
    """What changes did to an entity since its capture began; `pending` are not applied yet."""

    id: str
    kind: str
    written: int
    removed: int
    dead: int
    orphans: int
    pending: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person must know now: what, and what to do next."""

    code: str
    since: float
    what: str
    next_step: str = ""
    severity: Literal["warning", "error"] = "warning"


@dataclass(frozen=True, slots=True)
class Moment:
    """The stream at a moment, for curves: rates in changes a second, sizes in bytes."""

    at: float
    lag_seconds: float | None
    captured_rate: float
    applied_rate: float
    backlog: int
    retained_bytes: int | None


@dataclass(frozen=True, slots=True)
class SyncSnapshot:
    """How synchronization stands.

    The graph is what the source was at the snapshot `fence`, taken at `fence_at`, once the
    backlog of that moment is applied. `lag_seconds` is how long the newest heartbeat took from the
    source into the graph, or the age of one that is still on its way when that is longer.
    `captured` and `applied` count row changes since capture began, `backlog` those that are kept
    and not applied. `retained_bytes` is the WAL (or the log) that the source keeps for us,
    `budget_bytes` how much it may be, `seconds_to_full` when that is reached at the present rate.
    """

    run: int
    state: SyncState
    way: Way
    name: str
    reason: str = ""
    fence: str = ""
    fence_at: float | None = None
    lag_seconds: float | None = None
    lag_bytes: int | None = None
    backlog: int = 0
    captured: int = 0
    applied: int = 0
    captured_rate: float = 0.0
    applied_rate: float = 0.0
    retained_bytes: int | None = None
    budget_bytes: int | None = None
    seconds_to_full: float | None = None
    oldest_transaction_seconds: float | None = None
    oldest_transaction: str = ""
    spool_bytes: int = 0
    entities: tuple[SyncEntity, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a cutover, with its evidence and when that was found out.

    A red gate keeps the cutover from starting; an amber one must be waived with a reason, as a red
    one may be where it is `waivable`. A gate that was waived is `passed`.
    """

    name: str
    title: str
    colour: Colour
    evidence: str
    checked_at: float
    waivable: bool = False
    waived_by: str = ""
    reason: str = ""
    next_step: str = ""

    @property
    def passed(self) -> bool:
        """Whether the cutover may go through it."""
        return self.colour == "green" or bool(self.reason)


@dataclass(frozen=True, slots=True)
class CutoverStep:
    """One step of a cutover, journaled before it is done; `undo` says in words how it goes back."""

    number: int
    name: str
    title: str
    state: StepState
    started: float | None = None
    ended: float | None = None
    undo: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlockedSession:
    """A session that waits for the freeze, or that the freeze waits for."""

    pid: int
    user: str
    application: str
    since: float | None
    state: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class CutoverSnapshot:
    """How a cutover or its rehearsal stands.

    `frozen_at` is when writes stopped, `released_at` when they went on; `budget_seconds` is how
    long they may stand: then the freeze releases itself. `watch_until` ends the watch window.
    `rehearsals` are the seconds that writes stood in earlier rehearsals that passed.
    """

    run: int
    state: CutoverState
    rehearsal: bool
    method: str = ""
    gates: tuple[Gate, ...] = ()
    steps: tuple[CutoverStep, ...] = ()
    budget_seconds: float = 0.0
    frozen_at: float | None = None
    released_at: float | None = None
    watch_until: float | None = None
    blocked: tuple[BlockedSession, ...] = ()
    rehearsals: tuple[float, ...] = ()
    error: str = ""
    next_step: str = ""
    told_at: float = 0.0
