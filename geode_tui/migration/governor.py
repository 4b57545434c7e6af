"""The governor: slows a run by itself while the source or the target suffers, and says why.

It halves the share of the full speed while there is a reason, and gives a tenth back at each look
without one. What it does not know (no rights, no answer) is no reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from geode_tui.migration.pace import Pace
from geode_tui.source.load import SourceLoad

LOOK_SECONDS = 2.0
PROBE_SECONDS = 5.0
DECREASE, INCREASE = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much; all but `target_factor` and `least_share` in seconds.

    `lock_wait` is the longest that sessions of others may wait for each other's locks. The target
    is slow when a batch takes `target_seconds` and `target_factor` times as long as usual. The
    run is never slowed below `least_share`. Lock waits and a slow target that last although the
    run went slowly for `patience` are not the run's doing: it goes on at full speed.
    """

    replica_lag: float = 1.5
    lock_wait: float = 1.0
    target_seconds: float = 2.0
    target_factor: float = 4.0
    least_share: float = 0.05
    patience: float = 60.0


@dataclass(slots=True)
class _Signal:
    """A reason to slow down that holds now; `since` when it began, by the monotonic clock."""

    name: str
    text: str
    since: float
    patient: bool = True


class Governor:
    """Watches the source and the target of one run, and turns its pace."""

    def __init__(
        self,
        pace: Pace,
        read_load: Callable[[], Awaitable[SourceLoad]],
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace = pace
        self._read_load = read_load
        self._limits = limits or Limits()
        self._tell = tell
        self._clock = clock
        self._share = 1.0
        self._since: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._told: set[str] = set()
        self._told_blocked = False
        self._last_reason = ""
        self.load: SourceLoad | None = None

    async def watch(self) -> None:
        """Look every two seconds, until cancelled; then the pace is free again."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._pace.slow(1.0, "")

    async def look(self) -> None:
        """Ask the source, judge, and turn the pace once."""
        self.load = await self._probe()
        self._turn(self._lasting(self._signals()))
        self._tell_blocked()

    def shown(self) -> tuple[tuple[str, str], ...]:
        """What the source said last, as names and texts to show."""
        load = self.load
        if load is None:
            return (("load", "the source does not tell"),)
        lag, age = load.replica_lag, load.oldest_snapshot
        rows = [
            ("sessions", f"{load.our_sessions} of ours, {load.sessions} in all"),
            ("oldest snapshot", "none" if age is None else _clock_text(age)),
            ("replica lag", "none known" if lag is None else f"{lag:.1f} s"),
            ("lock waits", f"{load.longest_wait:.1f} s" if load.longest_wait else "none"),
        ]
        if load.blocked:
            more = f" and {len(load.blocked) - 3} more" if len(load.blocked) > 3 else ""
            rows.append(("wait for our locks", ", ".join(load.blocked[:3]) + more))
        return tuple(rows)

    # -- what there is ----------------------------------------------------------------------------

    async def _probe(self) -> SourceLoad | None:
        """The source's load; None when it cannot or does not answer."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._read_load()
        except Exception:  # whatever it is, the run goes on without
            return None

    def _signals(self) -> list[_Signal]:
        limits, found, now = self._limits, dict[str, tuple[str, bool]](), self._clock()
        load = self.load
        if load is not None:
            lag, wait = load.replica_lag, load.longest_wait
            if lag is not None and round(lag, 1) > limits.replica_lag:
                found["replica lag"] = (_over("replica lag", lag, limits.replica_lag), False)
            if round(wait, 1) > limits.lock_wait:
                found["lock waits"] = (_over("lock waits", wait, limits.lock_wait), True)
        latency, usual = self._pace.latency.recent, self._pace.latency.usual
        if latency > limits.target_seconds and latency > limits.target_factor * usual:
            found["target"] = (f"target takes {latency:.1f} s a batch, usually {usual:.1f} s", True)
        self._since = {name: self._since.get(name, now) for name in found}
        return [_Signal(n, text, self._since[n], patient) for n, (text, patient) in found.items()]

    def _lasting(self, signals: list[_Signal]) -> list[_Signal]:
        """Those that going slowly may still mend."""
        now, patience = self._clock(), self._limits.patience
        self._given_up &= {signal.name for signal in signals}
        for signal in signals:
            late = signal.patient and now - signal.since > patience
            if late and signal.name not in self._given_up:
                self._given_up.add(signal.name)
                self._tell(f"{signal.text}: going slowly for {patience:.0f} s did not mend it")
        return [signal for signal in signals if signal.name not in self._given_up]

    # -- what it does -----------------------------------------------------------------------------

    def _turn(self, signals: list[_Signal]) -> None:
        if signals:
            self._share = max(self._limits.least_share, self._share * DECREASE)
            self._last_reason = "; ".join(signal.text for signal in signals)
            reason = f"slowed: {self._last_reason}"
        else:
            # Rounded, so that tenths add up to 1.
            self._share = min(1.0, round(self._share + INCREASE, 6))
            reason = f"speeds up again after: {self._last_reason}"
        self._pace.slow(self._share, reason if self._share < 1 else "")
        names = {signal.name for signal in signals}
        if names - self._told:
            self._told |= names
            self._tell(reason)
        if self._told and self._share == 1:
            self._told.clear()
            self._tell(f"full speed again after: {self._last_reason}")

    def _tell_blocked(self) -> None:
        """Who waits for our locks: going slowly would only hold them for longer."""
        load = self.load
        blocked = load is not None and load.longest_wait_on_us > self._limits.lock_wait
        if blocked and not self._told_blocked:
            assert load is not None
            self._tell(
                f"waits for a lock of this run: {', '.join(load.blocked[:3])}; the tables stay"
                " locked against changes of their structure until the copy ends: stop the run to"
                " let others pass"
            )
        self._told_blocked = blocked


def _over(name: str, seconds: float, limit: float) -> str:
    return f"{name} {seconds:.1f} s > {limit:.1f} s"


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
