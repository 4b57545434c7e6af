"""The figures of synchronization: rates, lag, how long until a budget is full, alarms."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from geode_tui.migration.chunks import EntityRecord
from geode_tui.migration.replication.captures import Capture
from geode_tui.migration.replication.spool import Spool
from geode_tui.migration.replication.state import Alarm, Moment, SyncEntity, SyncSnapshot, SyncState
from geode_tui.migration.replication.stream import StreamHealth

WINDOW_SECONDS = 10.0
GROWTH_SECONDS = 60.0
LAG_ALARM_SECONDS = 10.0
BUDGET_BYTES = 10 * 1024**3
"""What the source may keep for us where it sets no limit itself."""
BUDGET_ALARM = 0.8
TRANSACTION_ALARM_SECONDS = 600.0
_GO_ON = "see that sync goes on, or raise the limit"


@dataclass
class Figures:
    """Figures that are measured here; `counts` are captured and applied changes so far."""

    counts: tuple[int, int]
    budget_bytes: int = BUDGET_BYTES
    state: SyncState = "starting"
    reason: str = ""
    fence: str = ""
    fence_at: float | None = None
    waiting_since: float | None = None
    lag: float | None = None
    _past: deque[tuple[float, int, int]] = field(default_factory=deque)
    _sizes: deque[tuple[float, int]] = field(default_factory=deque)
    _since: dict[str, float] = field(default_factory=dict)

    def captured(self, counts: tuple[int, int]) -> None:
        """More was captured."""
        self.counts = counts
        self._remember()

    def applied(self, counts: tuple[int, int], fence: str, at: float) -> None:
        """A cycle has ended."""
        self.counts, self.fence, self.fence_at = counts, fence, at
        self._remember()

    def beat(self, sent: float) -> None:
        """A heartbeat that was sent then is in the graph now."""
        self.lag = max(0.0, time.time() - sent)

    def _remember(self) -> None:
        now = time.monotonic()
        self._past.append((now, *self.counts))
        while len(self._past) > 2 and self._past[1][0] < now - WINDOW_SECONDS:
            self._past.popleft()

    def rates(self) -> tuple[float, float]:
        """Changes captured and applied a second, over the last ten seconds."""
        if not self._past:
            return 0.0, 0.0
        now, (then, captured, applied) = time.monotonic(), self._past[0]
        seconds = max(1.0, now - then)
        return (self.counts[0] - captured) / seconds, (self.counts[1] - applied) / seconds

    @property
    def lag_seconds(self) -> float | None:
        """How far the graph is behind, by the heartbeat that is furthest behind."""
        waiting = time.time() - self.waiting_since if self.waiting_since else None
        known = [seconds for seconds in (self.lag, waiting) if seconds is not None]
        return max(known) if known else None

    def snapshot(
        self,
        capture: Capture,
        health: StreamHealth,
        spool: Spool,
        counts: Mapping[str, tuple[int, int]],
        entities: Mapping[str, EntityRecord],
    ) -> SyncSnapshot:
        """All figures at this moment."""
        captured_rate, applied_rate = self.rates()
        captured, applied = self.counts
        budget = health.budget_bytes
        if budget is None and health.retained_bytes is not None:
            budget = self.budget_bytes
        to_full = self._seconds_to_full(health.retained_bytes, budget)
        return SyncSnapshot(
            capture.run,
            self.state,
            capture.way,
            capture.name,
            self.reason,
            self.fence or capture.fence,
            self.fence_at or capture.fence_at,
            self.lag_seconds,
            health.lag_bytes,
            captured - applied,
            captured,
            applied,
            captured_rate,
            applied_rate,
            health.retained_bytes,
            budget,
            to_full,
            health.oldest_seconds,
            health.oldest,
            spool.bytes,
            tuple(_entities(entities.values(), counts)),
            tuple(self._alarms(health, budget, to_full)),
            time.time(),
        )

    def _seconds_to_full(self, retained: int | None, budget: int | None) -> float | None:
        """When the budget is full, if the last minute goes on; None while it does not grow."""
        if retained is None or budget is None:
            return None
        now = time.monotonic()
        self._sizes.append((now, retained))
        while len(self._sizes) > 2 and self._sizes[1][0] < now - GROWTH_SECONDS:
            self._sizes.popleft()
        then, before = self._sizes[0]
        growth = (retained - before) / max(1.0, now - then)
        return max(0, budget - retained) / growth if growth > 0 else None

    def _alarms(
        self, health: StreamHealth, budget: int | None, to_full: float | None
    ) -> Iterable[Alarm]:
        found = list(self._found(health, budget, to_full))
        now = time.time()
        codes = {code for code, *_ in found}
        self._since = {code: at for code, at in self._since.items() if code in codes}
        for code, what, next_step, severe in found:
            since = self._since.setdefault(code, now)
            yield Alarm(code, since, what, next_step, "error" if severe else "warning")

    def _found(
        self, health: StreamHealth, budget: int | None, to_full: float | None
    ) -> Iterable[tuple[str, str, str, bool]]:
        if health.lost:
            yield "capture lost", health.lost, "geode-tui sync --heal", True
        if health.warning:
            yield (
                "capture at risk",
                health.warning,
                "see that sync goes on, or raise the limit",
                True,
            )
        used = health.retained_bytes or 0
        if budget and not health.lost and used > BUDGET_ALARM * budget:
            words = f"the source keeps {used:,} of {budget:,} bytes for us"
            when = f", full in {to_full:,.0f} s" if to_full is not None else ""
            yield (
                "budget",
                words + when,
                "see that sync goes on, or raise the limit",
                used >= budget,
            )
        lag = self.lag_seconds
        if lag is not None and lag > LAG_ALARM_SECONDS:
            yield "lag", f"the graph is {lag:,.0f} s behind", "see what it waits for", False
        if (health.oldest_seconds or 0) > TRANSACTION_ALARM_SECONDS:
            words = f"{health.oldest} writes since {health.oldest_seconds:,.0f} s"
            yield "transaction", words, "end it: its changes come all at once", False
        if self.state == "waiting" and self.reason:
            yield "away", self.reason, "nothing: it goes on by itself when that is back", True
        if self.state == "failed":
            yield "failed", self.reason, "mend it, then: geode-tui sync", True

    def moment(self, snapshot: SyncSnapshot) -> Moment:
        """What of a snapshot is kept for curves."""
        return Moment(
            snapshot.told_at,
            snapshot.lag_seconds,
            snapshot.captured_rate,
            snapshot.applied_rate,
            snapshot.backlog,
            snapshot.retained_bytes,
        )


def _entities(
    known: Iterable[EntityRecord], counts: Mapping[str, tuple[int, int]]
) -> Iterable[SyncEntity]:
    for entity in known:
        written, removed = counts.get(entity.id, (0, 0))
        yield SyncEntity(entity.id, entity.kind, written, removed, entity.dead, entity.orphans, 0)
