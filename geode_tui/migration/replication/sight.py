"""How synchronization and cutover of a run stand, as whoever looks finds them in the journal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from geode_tui.migration.control import Knobs
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication.captures import Capture
from geode_tui.migration.replication.cutovers import Waiver
from geode_tui.migration.replication.follow import LOST
from geode_tui.migration.replication.leftover import lock_name
from geode_tui.migration.replication.state import CutoverSnapshot, Gate, Moment, SyncSnapshot
from geode_tui.paths import journal_there

CURVE_SECONDS = 600.0
"""Curves show so long a time."""
ENDED = ("cut over", "torn down")
"""States of a capture that nobody follows any more."""
AT_REST = ("stopped", "failed")
"""States of a synchronization that no process drives."""
STILL = ("freezing", "frozen")
"""States in which writes to the source stand still, or soon will."""
MOVING = ("freezing", "frozen", "flipped", "watching", "falling back")
"""States of a cutover that a process drives; before and after them nothing moves."""


@dataclass(frozen=True, slots=True)
class ReplicationSight:
    """What one look at the journal found of a run with change capture.

    `driven` says whether a process holds the run, `cut_driven` whether one cuts it over; `moments`
    are those of the last ten minutes.
    """

    record: RunRecord
    capture: Capture
    sync: SyncSnapshot | None = None
    cutover: CutoverSnapshot | None = None
    knobs: Knobs = field(default_factory=Knobs)
    driven: bool = False
    cut_driven: bool = False
    moments: tuple[Moment, ...] = ()

    @property
    def run(self) -> int:
        """The run's number."""
        return self.record.number

    @property
    def lost(self) -> bool:
        """Whether changes were missed: capture ended before they were read."""
        alarms = self.sync.alarms if self.sync is not None else ()
        return self.capture.state == "lost" or any(alarm.code == LOST for alarm in alarms)

    @property
    def syncing(self) -> bool:
        """Whether synchronization goes, as far as it told last and its process lives."""
        sync = self.sync
        goes = sync is not None and sync.state not in AT_REST
        return goes and self.driven and not self.cut_driven

    @property
    def left_open(self) -> bool:
        """Whether a process that cut over is gone and something of it is still open."""
        cutover = self.cutover
        return cutover is not None and cutover.state in MOVING and not self.cut_driven

    def sync_silence(self, now: float) -> float | None:
        """Seconds since synchronization told of itself; None where it need not."""
        sync = self.sync
        if sync is None or sync.state in AT_REST or self.capture.state in ENDED:
            return None
        return max(0.0, now - sync.told_at)

    def cutover_silence(self, now: float) -> float | None:
        """Seconds since the cutover told of itself; None where it need not."""
        cutover = self.cutover
        if cutover is None or cutover.state not in MOVING or not self.cut_driven:
            return None
        return max(0.0, now - cutover.told_at)


class ReplicationWatch:
    """Looks at the newest run with change capture, or at the one that was chosen.

    `look` reads the journal and may block: call it in a thread. All else is cheap and tells what
    the last look found.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.chosen: int | None = None
        self.sight: ReplicationSight | None = None
        self.looked = False
        self.runs: Sequence[int] = ()
        self._path = path
        self._looking = threading.Lock()

    def choose(self, number: int) -> None:
        """Look at that run from now on."""
        if number != self.chosen:
            self.chosen, self.looked = number, False

    def look(self) -> None:
        """Read the journal, unless another look is under way. Raises GeodeTuiError."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            if self._path is not None or journal_there():
                self._read()
            self.looked = True
        finally:
            self._looking.release()

    def _read(self) -> None:
        with contextlib.closing(Journal(self._path)) as journal:
            self.runs = journal.captures.runs()
            chosen = self.chosen if self.chosen in self.runs else None
            number = chosen or next(iter(self.runs), None)
            self.sight = None if number is None else self._look_at(journal, number)

    def _look_at(self, journal: Journal, number: int) -> ReplicationSight | None:
        captures = journal.captures
        capture = captures.of(number)
        if capture is None:
            return None
        cutover = captures.cutover(number)
        return ReplicationSight(
            journal.run(number),
            capture,
            captures.sync(number),
            cutover and with_waivers(cutover, journal.cutovers.waivers(number)),
            journal.control.knobs(number),
            journal.locks.held(f"run-{number}"),
            journal.locks.held(lock_name(number)),
            self._moments(journal, number),
        )

    def _moments(self, journal: Journal, number: int) -> tuple[Moment, ...]:
        """The last ten minutes; of those known already only what came since is read."""
        known: tuple[Moment, ...] = ()
        if self.sight is not None and self.sight.run == number:
            known = self.sight.moments
        since = time.time() - CURVE_SECONDS
        fresh = journal.captures.moments(number, known[-1].at if known else since)
        return (*(moment for moment in known if moment.at > since), *fresh)


def with_waivers(cutover: CutoverSnapshot, waivers: Mapping[str, Waiver]) -> CutoverSnapshot:
    """A cutover with its gates waived as people have said since it was told."""
    return replace(cutover, gates=tuple(_waived(g, waivers.get(g.name)) for g in cutover.gates))


def _waived(gate: Gate, waiver: Waiver | None) -> Gate:
    if waiver is None or gate.colour == "green" or not gate.waivable:
        return replace(gate, waived_by="", reason="")
    return replace(gate, waived_by=waiver.who, reason=waiver.reason)
