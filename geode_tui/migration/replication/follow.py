"""Follow the source: cycle after cycle, through restarts of the source, until it is enough.

What is away for now is waited for with a stated reason; what is lost for good ends it. How
synchronization stands is told into the journal twice a second, also while something is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

from geode_tui.errors import GeodeTuiError, SnapshotLostError
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.health import Figures
from geode_tui.migration.replication.replica import Cycle, Replica, Tell
from geode_tui.migration.replication.state import Alarm, SyncSnapshot, SyncState
from geode_tui.migration.retry import is_transient, wait_for_stop
from geode_tui.source.slot import SlotLostError

TELL_SECONDS = 0.5
MARK_SECONDS = 1.0
CYCLE_SECONDS = 0.2
"""The shortest time from the begin of a cycle to that of the next."""
IN_STEP_SECONDS = 3.0
PAUSE_SECONDS = 0.5
LOST = "capture lost"
"""The code of the alarm that changes were missed."""
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)

OpenReplica = Callable[[], AbstractAsyncContextManager[Replica]]
Each = Callable[[Replica, Cycle], Awaitable[bool]]
"""What is done after a cycle; whether it is enough."""


@dataclass
class Follower:
    """Follows for one run; `open_replica` opens its ends anew after they broke."""

    journal: Journal
    run: int
    open_replica: OpenReplica
    tell: Tell
    stop: asyncio.Event
    interval: float = CYCLE_SECONDS
    doing: Callable[[str], None] = lambda text: None
    _told: SyncSnapshot | None = None
    _replica: Replica | None = None
    _figures: Figures | None = None
    _marked: float = 0.0
    _state: tuple[SyncState, str] = ("starting", "")
    _alarms: set[str] = field(default_factory=set)
    _lost: bool = False

    async def follow(self, each: Each) -> None:
        """Cycle until `each` says that it is enough.

        Raises StopRequested, and GeodeTuiError for what waiting cannot help.
        """
        telling = asyncio.create_task(self._keep_telling())
        try:
            await self._follow(each)
        except StopRequested:
            self._set("stopped", "stopped on request")
            raise
        except GeodeTuiError as error:
            self._lost = isinstance(error, SlotLostError | SnapshotLostError)
            if self._lost:
                error.next_step = f"make it anew, and compare all: geode-tui sync {self.run} --heal"
            self._set("failed", f"{error.what}: {error.why}" if error.why else error.what)
            raise
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            with contextlib.suppress(GeodeTuiError):
                self._tell_last()

    async def _follow(self, each: Each) -> None:
        failed = 0
        while True:
            try:
                async with self._open() as replica:
                    while not await self._once(replica, each):
                        failed = 0
                    self._set("stopped", "")
                    await self._tell_once()
                return
            except GeodeTuiError as error:
                if not is_transient(error):
                    raise
                seconds = WAITS[min(failed, len(WAITS) - 1)]
                failed += 1
                why = f" ({error.why})" if error.why else ""
                self._set("waiting", f"{error.what}{why}; tried again in {seconds:g} s")
                if failed == 1:
                    self.tell("warning", f"{error.what}{why}")
                if await wait_for_stop(self.stop, seconds):
                    raise StopRequested from error

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[Replica]:
        async with self.open_replica() as replica:
            replica.doing = self.doing
            if self._figures is not None:  # rates and alarms go on over a reconnection
                self._figures.counts = replica.spool.counts
                replica.figures = self._figures
            self._figures = replica.figures
            replica.start_pump()
            self._replica = replica
            try:
                yield replica
            finally:
                self._replica = None

    async def _once(self, replica: Replica, each: Each) -> bool:
        began = time.monotonic()
        if self.stop.is_set():
            raise StopRequested
        await self._while_paused()
        cycle = await replica.cycle()
        behind = time.time() - cycle.at
        in_step = cycle.backlog == 0 or behind < IN_STEP_SECONDS
        self._set("in step" if in_step else "catching up", "")
        if await each(replica, cycle):
            return True
        pause = self.interval - (time.monotonic() - began)
        if pause > 0 and await wait_for_stop(self.stop, pause):
            raise StopRequested
        return False

    async def _while_paused(self) -> None:
        """While somebody wants a pause the graph stands; changes are stored as they come."""
        while (knobs := self.journal.control.knobs(self.run)).paused:
            self._set("paused", f"paused by {knobs.who}; changes are stored and not applied")
            if await wait_for_stop(self.stop, PAUSE_SECONDS):
                raise StopRequested

    def _set(self, state: SyncState, reason: str) -> None:
        self._state = (state, reason)
        if self._figures is not None:
            self._figures.state, self._figures.reason = state, reason

    async def _keep_telling(self) -> None:
        while True:
            with contextlib.suppress(GeodeTuiError):  # the cycle tells what is wrong
                await self._tell_once()
            await asyncio.sleep(TELL_SECONDS)

    async def _tell_once(self) -> None:
        replica = self._replica
        if replica is None:
            self._tell_last()
            return
        snapshot = await replica.health()
        self._told = snapshot
        await asyncio.to_thread(self.journal.captures.tell_sync, snapshot)
        self._tell_alarms(snapshot.alarms)
        if snapshot.told_at - self._marked >= MARK_SECONDS:
            self._marked = snapshot.told_at
            moment = replica.figures.moment(snapshot)
            await asyncio.to_thread(self.journal.captures.mark, self.run, moment)

    def _tell_alarms(self, alarms: tuple[Alarm, ...]) -> None:
        for alarm in alarms:
            if alarm.code not in self._alarms:
                self.tell("error" if alarm.severity == "error" else "warning", alarm.what)
        self._alarms = {alarm.code for alarm in alarms}

    def _trouble(self, state: SyncState) -> tuple[str, str]:
        """The code of the alarm that it does not go on, and what to do."""
        if state == "waiting":
            return "away", "nothing: it goes on by itself"
        if self._lost:
            return LOST, f"geode-tui sync {self.run} --heal"
        return "failed", f"mend it, then: geode-tui sync {self.run}"

    def _tell_last(self) -> None:
        """What was told last, with the state as it is now: the ends are not open."""
        told = self._told or self.journal.captures.sync(self.run)
        if told is None:
            return
        now, (state, reason) = time.time(), self._state
        alarms = tuple(alarm for alarm in told.alarms if alarm.code not in ("away", "failed"))
        if state in ("waiting", "failed") and reason:
            code, step = self._trouble(state)
            known = {alarm.code: alarm.since for alarm in told.alarms}
            alarms = tuple(alarm for alarm in alarms if alarm.code != code)
            alarms += (Alarm(code, known.get(code, now), reason, step, "error"),)
        lag = told.lag_seconds
        if state == "waiting" and told.fence_at is not None:
            lag = now - told.fence_at
        self._told = replace(
            told, state=state, reason=reason, alarms=alarms, lag_seconds=lag, told_at=now
        )
        self.journal.captures.tell_sync(self._told)
