"""Cutover: from the source to the graph, in steps that are journaled with their undo.

The gates, the drain while writes go on, then, while writes stand still: a token through the
stream, the check of what is stale, the flip. Until the guard of the source is made everything can
be taken back and is, whether somebody aborts, the budget is over, a hook fails or we are killed:
the freeze ends by itself, and whoever comes next finds the open steps in the journal (`leftover`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from geode_tui.errors import BusyError, GeodeTuiError, UsageError, redact
from geode_tui.migration.events import Event, Level
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication import leftover
from geode_tui.migration.replication.cutovers import CutoverRecord
from geode_tui.migration.replication.fall_back import FallBackReport, FallBackRequest
from geode_tui.migration.replication.follow import CYCLE_SECONDS
from geode_tui.migration.replication.gates import (
    GateLimits,
    check_waivers,
    look,
    new_letters,
    shut,
    unopened,
)
from geode_tui.migration.replication.hooks import (
    HOOK_SECONDS,
    Hook,
    check_hooks,
    masked,
    run_hook,
)
from geode_tui.migration.replication.last_check import LastCheck
from geode_tui.migration.replication.marker import mark_live, unmark
from geode_tui.migration.replication.replica import Replica, new_token, open_replica
from geode_tui.migration.replication.state import (
    BlockedSession,
    CutoverSnapshot,
    CutoverState,
    CutoverStep,
    Gate,
)
from geode_tui.migration.replication.way_back import go_back
from geode_tui.source.freeze import Freeze, FreezeMethod, standing
from geode_tui.source.introspect import Connection
from geode_tui.validation.ledger import Ledger

Method = Literal["auto", "lock", "trigger", "hook"]
BUDGET_SECONDS = 5.0
WATCH_SECONDS = 900.0
LOCK_SECONDS = 5.0
"""Up to this budget writers are let wait (lock); for longer they are told at once (trigger)."""
DRAIN_SECONDS = 600.0
CATCH_UP_SECONDS = 60.0
"""So long the gates wait for a lag that is too long, before they tell that it is."""
BEFORE_SECONDS = 600.0
"""A hook before the freeze may take so long; nobody waits for it."""
TELL_SECONDS = 0.2
TAKE_OVER_SECONDS = 60.0
_MARGIN_SECONDS = 0.1
"""So much before its end a freeze is given up by us, so that it is never seen to end."""
_LOOK_SECONDS = 0.1
_HOLD_TRIES = 10
_QUICK_SECONDS = 1.0
_BEAT_SECONDS = 1.0
_WHOLE_TIMES = 3
_NOT_TO_BE_LED = frozenset(("capture", "drift"))
"""Where these gates are shut the graph is not led on, not even to measure the lag."""
_LATE_SECONDS = 10.0

Watch = Callable[[CutoverSnapshot], None]
OpenReplica = Callable[..., AbstractAsyncContextManager[Replica]]


class CutoverAborted(GeodeTuiError):
    """A cutover or a rehearsal that was taken back: everything is as it was."""


@dataclass(frozen=True)
class CutoverRequest:
    """What a cutover is asked to do. `source` may hold a password: it stays in memory.

    Writes stand for at most `budget_seconds`. With `guard` the source stays frozen after the flip.
    """

    run: int
    rehearse: bool = False
    method: Method = "auto"
    budget_seconds: float = BUDGET_SECONDS
    watch_seconds: float = WATCH_SECONDS
    hooks: Mapping[str, str] = field(default_factory=dict)
    waivers: Mapping[str, str] = field(default_factory=dict)
    source: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    guard: bool = True
    lag_seconds: float = 1.0
    calm_seconds: float = 60.0

    @property
    def chosen_method(self) -> str:
        """How writes are frozen."""
        if self.method != "auto":
            return self.method
        if "on-freeze" in self.hooks:
            return "hook"
        return "lock" if self.budget_seconds <= LOCK_SECONDS else "trigger"

    @property
    def limits(self) -> GateLimits:
        """What the gates go by."""
        calm = min(self.lag_seconds, self.budget_seconds), self.calm_seconds
        return GateLimits(self.budget_seconds, *calm, self.rehearse)

    def check(self) -> None:
        """Raise UsageError where it asks for what cannot be."""
        check_hooks(self.hooks)
        check_waivers(self.waivers)
        if self.budget_seconds <= 0:
            raise UsageError("the budget must be more than no time")
        if self.method == "hook" and "on-freeze" not in self.hooks:
            raise UsageError("no hook freezes the application", "", "name one with --on-freeze CMD")
        if "on-freeze" in self.hooks and "on-release" not in self.hooks:
            raise UsageError(
                "a hook freezes the application and none releases it",
                "an abort could not leave everything as it was",
                "name one with --on-release CMD",
            )


class CutoverEngine:
    """One cutover or rehearsal. Drive it with `run()`; `abort()` from any thread.

    `watch` is told each snapshot, in the engine's own thread; the journal has it, too.
    """

    def __init__(
        self, journal: Journal, watch: Watch | None = None, opener: OpenReplica = open_replica
    ) -> None:
        self._journal = journal
        self._watch = watch
        self._opener = opener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abort = asyncio.Event()
        self._why = ""
        self._deadline: float | None = None
        self._blocked: tuple[BlockedSession, ...] = ()
        self._gates: tuple[Gate, ...] = ()
        self._cut: CutoverRecord | None = None
        self._freeze: Freeze | None = None
        self._last: LastCheck | None = None
        self._late: list[asyncio.Future[Any]] = []
        self._begun: set[str] = set()
        self._error, self._next = "", ""
        self._stop = asyncio.Event()

    # -- from outside -----------------------------------------------------------------------------

    def abort(self, why: str = "aborted") -> None:
        """Ask it to take everything back; after the flip, to end its watch. From any thread."""
        loop = self._loop
        if loop is None:
            self._give_up(why)
        else:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(self._give_up, why)

    def snapshot(self) -> CutoverSnapshot:
        """How it stands."""
        return self._snapshot()

    async def run(self, request: CutoverRequest) -> CutoverSnapshot:
        """Do it, to the end of the watch window. Raises CutoverAborted, GeodeTuiError."""
        request.check()
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._record = record = self._journal.run(request.run)
        _require_captured(self._journal, record)
        await self._take_over(record)
        with self._held():
            self._journal.control.answered(record.number, stop=0)
            if await self._settled() is None:
                self._journal.cutovers.answered(record.number)
                await self._cut_over()
                if request.rehearse:
                    return self._snapshot()
            return await self._watch_window()

    async def go_on(self, request: CutoverRequest) -> CutoverSnapshot | None:
        """Settle what a process that is gone has left; watch on where the flip is done.

        None where all is taken back, or nothing was left. Raises GeodeTuiError.
        """
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._record = self._journal.run(request.run)
        with self._held():
            if await self._settled() is None:
                return None
            return await self._watch_window()

    async def settle(self, request: CutoverRequest) -> CutoverRecord | None:
        """Settle what a process that is gone has left; the cutover where the flip is done."""
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._record = self._journal.run(request.run)
        with self._held():
            return await self._settled()

    async def look(self, request: CutoverRequest) -> tuple[Gate, ...]:
        """Look at the gates and do nothing else; the journal tells them, too.

        Raises GeodeTuiError, UsageError also where another process drives the run.
        """
        request.check()
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._record = record = self._journal.run(request.run)
        _require_captured(self._journal, record)
        if self._journal.locks.held(f"run-{record.number}"):
            raise UsageError(
                f"run {record.number} is being driven by another process",
                "the graph is open there",
                "stop the synchronization; or begin with --rehearse, which takes over from it",
            )
        with self._held():
            if await self._settled() is not None:
                raise UsageError(f"run {record.number} is flipped: its watch window is open")
            self._waive()
            async with self._opened() as replica:
                asking = await replica.origin.source.capture_session()
                try:
                    self._gates = await look(self._journal, replica, asking, request.limits)
                    if any(gate.name == "lag" for gate in shut(self._gates)):
                        await self._measured(replica, asking)
                finally:
                    asking.terminate()
        self._show()
        return self._gates

    async def _measured(self, replica: Replica, asking: Connection) -> None:
        """Measure the lag once, where the graph may be led on, and look again."""
        if _NOT_TO_BE_LED.isdisjoint(gate.name for gate in shut(self._gates)):
            await self._beat(replica)
            self._gates = await look(self._journal, replica, asking, self._request.limits)

    def _waive(self) -> None:
        for gate, reason in self._request.waivers.items():
            self._journal.cutovers.waive(self._record.number, gate, reason)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Replica]:
        """Hold the graph, and open both sides."""
        record, request = self._record, self._request
        place = self._journal.target_lock(record.target, record.graph)
        written = f"another run writes to {record.place}"
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._journal.locks.hold(place, written, "wait for its end"))
            opening = self._opener(
                self._journal,
                record.number,
                source=request.source,
                password=request.password,
                tell=self._tell,
                stop=self._stop,
            )
            try:
                replica = await stack.enter_async_context(opening)
            except UsageError as error:
                self._gates = (unopened(self._journal, record.number, error),)
                self._show()
                raise _gates_shut(self._gates, record.number) from error
            yield replica

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the run: nobody else may drive it or cut it over."""
        number = self._record.number
        busy = f"run {number} is being cut over by another process"
        lock = leftover.lock_name(number)
        with (
            self._journal.locks.hold(lock, busy, f"stop it: geode-tui cutover {number} --abort"),
            self._journal.hold_run(self._record),
        ):
            yield

    async def _settled(self) -> CutoverRecord | None:
        """What an earlier cutover left; None where nothing of it is open any more."""
        request = self._request
        found = await leftover.settle(
            self._journal, self._record, request.hooks, request.source, request.password, self._tell
        )
        if found is not None:
            self._cut = found
            hooks = leftover.hooks_of(found, request.hooks)
            self._request = replace(request, hooks=hooks, rehearse=False)
            self._inform("the watch window goes on")
        return found

    # -- one cutover ------------------------------------------------------------------------------

    async def _cut_over(self) -> None:
        """From the gates to the guard, or for a rehearsal to the release."""
        request, record = self._request, self._record
        method = request.chosen_method
        name = leftover.freeze_name(record)
        options = {
            "freeze": name,
            "hooks": masked(request.hooks),
            "guard": request.guard,
            "watch": request.watch_seconds,
        }
        cutovers = self._journal.cutovers
        self._waive()
        self._cut = cut = cutovers.begin(
            record.number,
            rehearsal=request.rehearse,
            method=method,
            budget=request.budget_seconds,
            options=options,
        )
        cutovers.plan(cut.id, _plan(request, method))
        listening = asyncio.create_task(self._listen())
        try:
            async with self._opened() as replica:
                await self._steps(replica, method, name)
            if request.rehearse:
                await self._clear()
                self._set_state("rehearsed")
        except BaseException as error:
            await self._ended(error)
            raise
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _steps(self, replica: Replica, method: str, name: str) -> None:
        source = replica.origin.source
        way: FreezeMethod = "trigger" if method == "trigger" else "lock"
        what = f"run {self._record.number} is cut over to {self._record.place}"
        if self._request.rehearse:
            what = f"the cutover of run {self._record.number} is rehearsed"
        connect = source.capture_session
        self._freeze = Freeze(connect, replica.tables, name, what, way, self._inform)
        asking, looking = await connect(), await connect()
        telling = asyncio.create_task(self._keep_telling(looking))
        try:
            await self._do_steps(replica, asking, method)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(self._take_back(replica, error)))
            raise
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await replica.let_go()
            asking.terminate()
            looking.terminate()

    async def _do_steps(self, replica: Replica, asking: Connection, method: str) -> None:
        assert self._freeze is not None
        async with self._step("gates") as told:
            guard = self._request.guard and not self._request.rehearse
            await self._freeze.require_rights(guard=guard)
            await self._pass_gates(replica, asking)
            told.text = f"{len(self._gates)} gates passed"
        if "before-freeze" in self._request.hooks:
            async with self._step("before-freeze"):
                await self._hook("before-freeze", BEFORE_SECONDS)
        async with self._step("drain") as told:
            told.text = await self._drain(replica)
        async with self._step("freeze") as told:
            if method == "lock":
                await self._bounded(self._hold(replica))
            told.text = await self._let_stand(method)
        async with self._step("token") as told:
            told.text = await self._await_token(replica)
        async with self._step("check") as told:
            told.text = await self._check(asking)
        await replica.let_go()
        if self._request.rehearse:
            async with self._step("release") as told:
                await self._let_go()
                told.text = f"writes stood {self._stood():.2f} s"
            return
        async with self._step("flip"):
            await self._flip(replica)
        async with self._step("guard") as told:
            told.text = await self._guard(replica)

    async def _pass_gates(self, replica: Replica, asking: Connection) -> None:
        """Look at the gates; where only the lag is not known for long enough, until it is."""
        until = time.monotonic() + self._request.calm_seconds + CATCH_UP_SECONDS
        measured = False
        while True:
            self._gates = await self._bounded(
                look(self._journal, replica, asking, self._request.limits)
            )
            self._show()
            closed = shut(self._gates)
            if not closed:
                return
            names = {one.name for one in closed}
            waits = names == {"lag"} and time.monotonic() < until
            unfit = "lag" not in names or not names.isdisjoint(_NOT_TO_BE_LED)
            if not waits and (measured or unfit):
                raise _gates_shut(closed, self._record.number)
            await self._bounded(self._beat(replica))
            measured = True

    async def _beat(self, replica: Replica) -> None:
        """Lead the graph on for a second, and journal its lag."""
        until = time.monotonic() + _BEAT_SECONDS
        while True:
            begun = time.monotonic()
            await replica.cycle()
            if time.monotonic() > until:
                break
            await asyncio.sleep(max(0.0, begun + CYCLE_SECONDS - time.monotonic()))
        health = await replica.health()
        self._journal.captures.tell_sync(health)
        self._journal.captures.mark(self._record.number, replica.figures.moment(health))

    async def _drain(self, replica: Replica) -> str:
        """Apply and compare while writes go on, until what is new takes no time to speak of."""
        until = time.monotonic() + DRAIN_SECONDS
        budget = self._request.budget_seconds
        most = min(max(_QUICK_SECONDS, budget / 10), budget / 3)  # of a long freeze a longer part
        await self._bounded(replica.cycle())
        whole = found = await self._bounded(replica.validate(stale_only=True))
        for _ in range(_WHOLE_TIMES):
            if not whole.valid:
                raise _differs(whole.entries, self._record.number)
            self._last = LastCheck(replica, whole.fence)
            took, found = await self._drained(self._last, most, until)
            if found.valid:
                return f"all compared; what is new takes {took:.2f} s"
            # A table may have been truncated under the snapshot: only looking at all tells.
            whole = await self._bounded(replica.validate())
        raise _differs(found.entries, self._record.number)

    async def _drained(self, last: LastCheck, most: float, until: float) -> tuple[float, Ledger]:
        """Step by step until one is short, or something differs: how long it took, and what."""
        while True:
            begun = time.monotonic()
            ledger = await self._bounded(last.step())
            took = time.monotonic() - begun
            if took <= most or not ledger.valid:
                return took, ledger
            if time.monotonic() > until:
                raise BusyError(
                    "the graph cannot keep up with the source",
                    f"to apply and compare what is new takes {took:.1f} s",
                    "cut over when less is written, or give a larger --budget",
                )

    async def _hold(self, replica: Replica) -> None:
        """Hold the tables by the session that reads them, so that no TRUNCATE waits before it."""
        for _ in range(_HOLD_TRIES - 1):
            try:
                await replica.hold()
                return
            except BusyError:
                await asyncio.sleep(_LOOK_SECONDS)
        await replica.hold()

    async def _let_stand(self, method: str) -> str:
        assert self._freeze is not None
        assert self._cut is not None
        self._set_state("freezing")
        budget = self._request.budget_seconds
        since = time.time()
        if method == "hook":
            self._deadline = time.monotonic() + budget - _MARGIN_SECONDS
            self._cut = self._journal.cutovers.change(self._cut.id, frozen=since)
            await self._hook("on-freeze", budget)
            budget -= time.time() - since
            await self._bounded(self._freeze.take(budget), ends=True)
        else:
            since = await self._bounded(self._freeze.take(budget), ends=True)
            self._deadline = time.monotonic() + self._freeze.seconds_left - _MARGIN_SECONDS
        self._cut = self._journal.cutovers.change(self._cut.id, frozen=since)
        self._set_state("frozen")
        again = f", at attempt {self._freeze.attempts}" if self._freeze.attempts > 1 else ""
        return f"{len(self._freeze.relations)} tables by {method}{again}"

    async def _await_token(self, replica: Replica) -> str:
        assert self._cut is not None
        token = new_token()
        self._cut = self._journal.cutovers.change(self._cut.id, token=token)
        begun = time.monotonic()
        left = self._left()
        cycle = await self._bounded(replica.settle(token, left))
        return f"back after {time.monotonic() - begun:.2f} s, with {cycle.applied:,} changes"

    async def _check(self, asking: Connection) -> str:
        """Compare what is new; see that nothing else has come up since the gates."""
        assert self._freeze is not None
        begun = time.monotonic()
        assert self._last is not None
        ledger = await self._bounded(self._last.step())
        if not ledger.valid:
            raise _differs(ledger.entries, self._record.number)
        letters = new_letters(self._journal, self._record.number)
        if letters is not None:
            raise _gates_shut([letters], self._record.number)
        if not await self._bounded(self._freeze.holds(asking)):
            raise GeodeTuiError("the freeze has ended before its time", "its session was ended")
        rows = sum(entry.sampled for entry in ledger.entries)
        return f"{rows:,} new rows compared in {time.monotonic() - begun:.2f} s"

    async def _flip(self, replica: Replica) -> None:
        """The mark in the graph, then the application's own switch."""
        record = self._record
        step = self._journal.chunks.next_step(record.number)
        marking = asyncio.to_thread(mark_live, replica.target, record.uid, record.source, step)
        await self._bounded(marking)
        if "on-flip" in self._request.hooks:
            await self._hook("on-flip", self._left())
        self._left()  # raises when the time is up

    async def _guard(self, replica: Replica) -> str:
        """The point of no return: from here on the source takes no writes."""
        assert self._freeze is not None
        self._begun.add("guard")
        if self._request.guard:
            await self._keep()
            text = "the source takes no writes"
        else:
            await self._let_go()
            text = "the source is left open: see that nobody writes to it"
        self._set_state("flipped")
        self._journal.captures.set_state(self._record.number, "cut over", "the flip is done")
        assert self._cut is not None
        until = time.time() + self._request.watch_seconds
        now = time.time()
        self._cut = self._journal.cutovers.change(self._cut.id, released=now, watch_until=until)
        self._deadline = None
        return text

    async def _keep(self) -> None:
        """Make the guard; where the connection broke meanwhile, see whether it is there."""
        assert self._freeze is not None
        try:
            await self._freeze.keep()
        except GeodeTuiError:
            connection = await self._freeze.connect()
            try:
                found = await standing(connection, self._freeze.name)
            finally:
                connection.terminate()
            if found is None or found.until is not None or not found.holds:
                raise

    # -- taking back ------------------------------------------------------------------------------

    async def _take_back(self, replica: Replica, error: BaseException) -> None:
        """Leave everything as it was; writes go on first. Nothing stops this."""
        assert self._cut is not None
        why = _why(error)
        self._stop.set()
        problems = []
        if "freeze" in self._begun:
            problems += await _problem(self._let_go())
        await self._wait_for_late()
        if "flip" in self._begun:
            unmarking = asyncio.to_thread(unmark, replica.target, self._record.uid)
            problems += await _problem(unmarking)
        if self._begun & {"freeze", "flip", "before-freeze"}:
            problems += await _problem(self._hook("on-abort", HOOK_SECONDS, why, always=True))
        for step in self._journal.cutovers.steps(self._cut.id):
            if (
                step.undo
                and step.state in ("running", "done", "failed")
                and step.name in self._begun
            ):
                self._journal.cutovers.set_step(self._cut.id, step.name, "undone")
        for problem in problems:
            self._tell("error", problem)
        self._error = "; ".join((why, *problems))

    async def _let_go(self) -> None:
        """Let writes go on."""
        assert self._freeze is not None
        assert self._cut is not None
        try:
            await self._freeze.release()
        finally:
            if self._cut.frozen is not None and self._cut.released is None:
                now = time.time()
                self._cut = self._journal.cutovers.change(self._cut.id, released=now)
            self._deadline = None
            if self._cut.method == "hook":
                await self._hook("on-release", HOOK_SECONDS, always=True)

    async def _clear(self) -> None:
        """Drop what the freeze has left: our own sessions do not read the tables any more."""
        if self._freeze is not None and "freeze" in self._begun:
            for problem in await _problem(self._freeze.clear()):
                self._error = "; ".join(filter(None, (self._error, problem)))
                self._tell("error", problem)

    async def _ended(self, error: BaseException) -> None:
        """Journal how it ended, and raise what is told of it."""
        number = self._record.number
        await self._clear()
        what = "rehearsal" if self._request.rehearse else "cutover"
        if isinstance(error, GeodeTuiError | asyncio.CancelledError):
            self._error = self._error or _why(error)
            self._next = getattr(error, "next_step", "") or f"geode-tui sync {number} goes on"
            self._set_state("aborted", self._error)
            self._tell("warning", f"the {what} was aborted: {self._error}")
        else:
            self._set_state("failed", f"defect: {type(error).__name__}: {error}")
            raise error
        if isinstance(error, GeodeTuiError):
            told = CutoverAborted(
                f"the {what} of run {number} was aborted, everything is as it was",
                self._error,
                self._next,
            )
            raise told from error

    # -- the watch window -------------------------------------------------------------------------

    async def _watch_window(self) -> CutoverSnapshot:
        """Until somebody keeps it or falls back, or its time is over: then it is kept."""
        assert self._cut is not None
        number, cut = self._record.number, self._cut
        async with self._step("watch") as told:
            if cut.state != "watching":
                self._set_state("watching")
            told.text = await self._until_asked()
        if told.text == "falls back":
            self._journal.cutovers.answered(number)
            await self._go_back()
            return self._snapshot()
        async with self._step("keep") as told:
            told.text = await leftover.keep(
                self._journal, self._record, self._request.source, self._request.password
            )
            await self._hook("on-keep", HOOK_SECONDS)
        self._journal.cutovers.answered(number)
        self._set_state("kept")
        return self._snapshot()

    async def _until_asked(self) -> str:
        assert self._cut is not None
        number, until = self._record.number, self._cut.watch_until or 0.0
        while time.time() < until:
            asked = self._journal.cutovers.asked(number)
            if asked is not None and asked.what == "keep":
                return f"kept by {asked.who}"
            if asked is not None and asked.what == "fall back":
                return "falls back"
            if asked is not None:
                self._journal.cutovers.answered(number)
                self._tell("warning", "too late to abort: F falls back")
            if self._abort.is_set():
                raise CutoverAborted(
                    f"the watch window of run {number} goes on without us",
                    "the flip is done",
                    f"geode-tui cutover {number} --keep, or --fall-back",
                )
            self._show()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._abort.wait(), min(0.5, max(0.01, until - time.time())))
        return "its time is over"

    async def fall_back(
        self, request: CutoverRequest, how: FallBackRequest | None = None
    ) -> FallBackReport:
        """Fall back after a flip that no process watches. Raises GeodeTuiError."""
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._record = self._journal.run(request.run)
        with self._held():
            return await self._go_back(how)

    async def _go_back(self, how: FallBackRequest | None = None) -> FallBackReport:
        request = self._request
        report = await go_back(
            self._journal,
            self._record,
            request.hooks,
            how or FallBackRequest(),
            source=request.source,
            password=request.password,
            tell=self._tell,
        )
        self._cut = self._journal.cutovers.newest(self._record.number)
        return report

    # -- small things -----------------------------------------------------------------------------

    async def _take_over(self, record: RunRecord) -> None:
        """Ask the synchronization that holds the run to stop, and wait until it has."""
        lock, until = f"run-{record.number}", time.monotonic() + TAKE_OVER_SECONDS
        if not self._journal.locks.held(lock):
            return
        if self._journal.locks.held(leftover.lock_name(record.number)):
            return  # another cutover: holding the run tells
        self._journal.control.ask(record.number, stop=1)
        while self._journal.locks.held(lock):
            if time.monotonic() > until or self._abort.is_set():
                return
            await asyncio.sleep(_LOOK_SECONDS)

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[_Told]:
        assert self._cut is not None
        cutovers, told = self._journal.cutovers, _Told()
        self._raise_if_aborted(name)
        self._begun.add(name)
        cutovers.set_step(self._cut.id, name, "running")
        self._show()
        try:
            yield told
        except BaseException as error:
            with contextlib.suppress(GeodeTuiError):
                cutovers.set_step(self._cut.id, name, "failed", _why(error))
            raise
        cutovers.set_step(self._cut.id, name, "done", told.text)
        self._inform(f"{name}: {told.text}" if told.text else name)
        self._show()

    def _raise_if_aborted(self, name: str) -> None:
        if self._abort.is_set() and name not in ("watch", "keep"):
            raise GeodeTuiError(self._why)

    async def _bounded[T](self, work: Awaitable[T], *, ends: bool = False) -> T:
        """The result of some work, unless somebody aborts or the budget is over before.

        Then it is cancelled where it `ends` by that; else it goes on until it hears of the stop,
        and is waited for once writes go on.
        """
        task = asyncio.ensure_future(work)
        aborted = asyncio.ensure_future(self._abort.wait())
        left = None if self._deadline is None else self._deadline - time.monotonic()
        try:
            await asyncio.wait({task, aborted}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            aborted.cancel()
            if not task.done():
                self._late.append(task)
                if ends:
                    task.cancel()
        if self._abort.is_set():
            raise GeodeTuiError(self._why)
        if not task.done():
            raise self._over()
        return task.result()

    async def _wait_for_late(self) -> None:
        """Work that was given up ends by itself now; what does not is cancelled."""
        if self._late:
            _, slow = await asyncio.wait(self._late, timeout=_LATE_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*self._late, return_exceptions=True)
            self._late.clear()

    def _left(self) -> float:
        """How long writes may stand still. Raises where that is over."""
        assert self._deadline is not None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._over()
        return left

    def _over(self) -> GeodeTuiError:
        budget = self._request.budget_seconds
        return BusyError(
            f"the budget of {budget:g} s is over",
            "writes would have stood longer",
            "give a larger --budget, or cut over when less is written",
        )

    def _stood(self) -> float:
        assert self._cut is not None
        return self._cut.stood or 0.0

    async def _hook(
        self, name: Hook, seconds: float, why: str = "", *, always: bool = False
    ) -> None:
        """Run a hook if there is one; `always` also after an abort."""
        command = self._request.hooks.get(name)
        if command is None or self._cut is None:
            return
        environment = leftover.environment(self._record, self._cut.state, why)
        work = run_hook(name, command, environment, seconds, self._inform)
        await (work if always else self._bounded(work, ends=True))

    async def _listen(self) -> None:
        """Hear what other terminals ask."""
        while not self._abort.is_set():
            asked = self._journal.cutovers.asked(self._record.number)
            if asked is not None and asked.what == "abort":
                self._journal.cutovers.answered(self._record.number)
                self._give_up(f"aborted by {asked.who}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _give_up(self, why: str) -> None:
        self._why = self._why or why
        self._abort.set()

    async def _keep_telling(self, looking: Connection) -> None:
        """Let everybody see how it stands, and who waits for whom."""
        while True:
            freeze = self._freeze
            if freeze is not None and freeze.relations and freeze.pid is not None:
                frozen = self._cut is not None and self._cut.state == "frozen"
                with contextlib.suppress(GeodeTuiError):
                    look = freeze.waiting if frozen else freeze.in_the_way
                    self._blocked = tuple(
                        BlockedSession(s.pid, s.user, s.application, s.since, s.state, s.query)
                        for s in await look(looking)
                    )
            else:
                self._blocked = ()
            self._show()
            await asyncio.sleep(TELL_SECONDS)

    def _show(self) -> None:
        snapshot = self._snapshot()
        with contextlib.suppress(GeodeTuiError):  # a full disk shows where it matters
            self._journal.captures.tell_cutover(snapshot)
        if self._watch is not None:
            self._watch(snapshot)

    def _snapshot(self) -> CutoverSnapshot:
        cut, run = self._cut, self._request.run
        if cut is None:
            stood = (one.stood for one in self._journal.cutovers.rehearsals(run))
            return CutoverSnapshot(
                run,
                "gates",
                self._request.rehearse,
                self._request.chosen_method,
                self._gates,
                budget_seconds=self._request.budget_seconds,
                rehearsals=tuple(seconds for seconds in stood if seconds is not None),
                told_at=time.time(),
            )
        return replace(
            leftover.told(self._journal, cut),
            gates=self._gates,
            blocked=self._blocked,
            error=self._error or cut.error,
            next_step=self._next,
        )

    def _set_state(self, state: CutoverState, error: str = "") -> None:
        assert self._cut is not None
        with contextlib.suppress(GeodeTuiError) if error else contextlib.nullcontext():
            self._cut = self._journal.cutovers.set_state(self._cut.id, state, error)
        self._show()

    def _inform(self, text: str) -> None:
        self._tell("info", text)

    def _tell(self, level: Level, text: str) -> None:
        event = Event(time.time(), level, redact(text))
        with contextlib.suppress(GeodeTuiError):
            self._journal.add_event(self._record.number, event)


@dataclass
class _Told:
    """What a step tells of itself when it is done."""

    text: str = ""


class CutoverRunner:
    """A cutover in a thread of its own, for whoever has an event loop that must stay free."""

    def __init__(
        self, request: CutoverRequest, *, journal: Path | None = None, watch: Watch | None = None
    ) -> None:
        self._request = request
        self._journal = Journal(journal)
        self._engine = CutoverEngine(self._journal, watch)
        self._thread = threading.Thread(target=self._main, name="cutover", daemon=True)
        self.error: GeodeTuiError | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def abort(self, why: str = "aborted") -> None:
        """Take everything back; after the flip, leave its watch window. From any thread."""
        self._engine.abort(why)

    def snapshot(self) -> CutoverSnapshot:
        """How it stands; from any thread."""
        return self._engine.snapshot()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            asyncio.run(self._engine.run(self._request))
        except GeodeTuiError as error:
            self.error = error
        except Exception as error:
            self.error = GeodeTuiError(
                f"defect in geode-tui: {type(error).__name__}: {error}", "", "report it"
            )
            self.error.__cause__ = error
        finally:
            self._journal.close()


def _plan(request: CutoverRequest, method: str) -> list[CutoverStep]:
    """The steps, in order, with how each goes back."""
    goes_back = {
        "lock": "the transaction ends: who waits goes on",
        "trigger": "writes are let through at once, then the triggers are dropped",
        "hook": "the lock ends, then hook on-release",
    }[method]
    steps = [("gates", "look at the gates", "")]
    if "before-freeze" in request.hooks:
        steps.append(("before-freeze", "hook before-freeze", "hook on-abort"))
    steps += [
        ("drain", "apply and compare while writes go on", ""),
        ("freeze", f"let writes stand still, by {method}", goes_back),
        ("token", "send a token and wait until it came back", ""),
        ("check", "compare what is new", ""),
    ]
    if request.rehearse:
        steps.append(("release", "let writes go on", ""))
    else:
        guard = "the source takes no writes from here on" if request.guard else "let writes go on"
        steps += [
            ("flip", "mark the graph as live, hook on-flip", "the mark is removed, hook on-abort"),
            ("guard", guard, f"geode-tui cutover {request.run} --fall-back"),
            ("watch", "watch: keep it, or fall back", ""),
            ("keep", "take the capture back", ""),
        ]
    return [
        CutoverStep(number, name, title, "waiting", undo=undo)
        for number, (name, title, undo) in enumerate(steps, 1)
    ]


def _require_captured(journal: Journal, record: RunRecord) -> None:
    if journal.captures.of(record.number) is None:
        raise UsageError(
            f"run {record.number} captures no changes",
            "only such a run can be cut over",
            "begin one with: geode-tui migrate --strategy zero-downtime",
        )


def _gates_shut(closed: Sequence[Gate], run: int) -> GeodeTuiError:
    named = "; ".join(f"{gate.name}: {gate.evidence}" for gate in closed)
    first = closed[0]
    waive = f"--waive {first.name}=REASON" if first.waivable else ""
    steps = ", or: ".join(step for step in (first.next_step, waive) if step)
    what = "gate is" if len(closed) == 1 else "gates are"
    return GeodeTuiError(
        f"{len(closed)} {what} shut: {named}", "", steps or f"geode-tui cutover {run} --gates"
    )


def _differs(entries: Sequence[Any], run: int) -> GeodeTuiError:
    wrong = [entry for entry in entries if not entry.balanced]
    named = f"{wrong[0].id}: {wrong[0].verdict}" if wrong else "a check failed"
    return GeodeTuiError(
        f"the graph differs from the source: {named}",
        f"{len(wrong)} of {len(entries)} entries differ",
        "geode-tui validate names the rows",
    )


def _why(error: BaseException) -> str:
    """An error on one line, for the journal."""
    if isinstance(error, GeodeTuiError):
        return f"{error.what}: {error.why}" if error.why else error.what
    if isinstance(error, asyncio.CancelledError):
        return "interrupted"
    return f"{type(error).__name__}: {error}"


async def _problem(work: Coroutine[Any, Any, Any]) -> list[str]:
    """Do a part of what is taken back; what went wrong with it, in words."""
    try:
        await work
    except GeodeTuiError as error:
        return [_why(error)]
    return []
