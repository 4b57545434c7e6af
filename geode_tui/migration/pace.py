"""The pace of a run: paused or not, rows a second, workers, rows a transaction.

Workers ask before each chunk and each batch; people turn the knobs while the run goes; the
governor takes away a share. At full speed asking costs no more than a few comparisons.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from geode_tui.migration.control import Knobs
from geode_tui.migration.retry import wait_for_stop

BATCH_ROWS = 1_000
"""Rows of the first transaction where nobody asked for a number."""
FEWEST_ROWS, MOST_ROWS = 50, 10_000
"""Bounds of a batch that adapts."""
STEP_ROWS = 100
SHRINK = 0.7
TICK = 0.1
"""Who waits looks again after so many seconds: a knob may have been turned."""
TURN_SECONDS = 0.5
BURST = 0.2
"""A throttled run that was held up may catch up so many seconds."""
LONGEST_REST = 10.0
MESSAGE_SHARE = 0.8
"""How full a message to the target may get, by the size of the rows so far."""
RECENT, USUAL = 0.3, 0.005
"""How much a new batch counts in the recent latency, and in the usual one."""
FORGET = 0.02
"""How much a batch of small rows counts against the biggest ones before it."""


@dataclass(slots=True)
class Latency:
    """How long the target takes for a batch, in seconds: of late, and usually."""

    recent: float = 0.0
    usual: float = 0.0
    batches: int = 0

    def add(self, seconds: float) -> None:
        """Another batch took so long."""
        self.batches += 1
        if self.batches == 1:
            self.recent = self.usual = seconds
        self.recent += RECENT * (seconds - self.recent)
        # The first batches make up the average that later ones only bend.
        self.usual += max(USUAL, 1 / self.batches) * (seconds - self.usual)


class _Bucket:
    """Rows that may go now; they come in at the throttle's rate."""

    def __init__(self, now: float) -> None:
        self._rows = 0.0
        self._filled = now

    def wait(self, rows: int, rate: float, now: float) -> float:
        """The seconds until `rows` may go; when it is 0 they are taken."""
        self._fill(rate, now)
        if self._rows < rows - 1e-6:  # sums of fractions are not exact
            return (rows - self._rows) / rate
        self._rows -= rows
        return 0.0

    def spill(self, rate: float, now: float) -> None:
        """What was not used for a while is lost: it would go out in one burst."""
        self._fill(rate, now)
        self._rows = min(self._rows, rate * BURST)

    def _fill(self, rate: float, now: float) -> None:
        self._rows += (now - self._filled) * rate
        self._filled = now


class Pace:
    """How fast a run may go. Its methods belong to one event loop; others may read from it.

    `batch_rows` fixes the size of a transaction; None lets it adapt so that one takes about
    `adaptive_to_seconds`, and stays below `message_bytes` where the target has such a limit.
    """

    def __init__(
        self,
        parallel: int,
        batch_rows: int | None,
        *,
        adaptive_to_seconds: float = 0.25,
        message_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begun_with = Knobs(parallel=parallel, batch_rows=batch_rows)
        self._asked = Knobs()
        self._turned_by: dict[str, str] = {}
        self._goal = adaptive_to_seconds
        self._message_bytes = message_bytes
        self._adaptive_rows = BATCH_ROWS
        self._bytes_per_row = 0.0
        self._clock = clock
        self._bucket = _Bucket(clock())
        self._queue = asyncio.Lock()
        self._share = 1.0
        self._share_reason = ""
        self._rest = 0.0
        self.latency = Latency()
        self.draining = False
        """Whether chunks in flight may end although the run is paused, for a checkpoint."""

    # -- what others read -------------------------------------------------------------------------

    @property
    def parallel(self) -> int:
        """How many workers may work now."""
        return max(1, self._asked.parallel or self._begun_with.parallel or 1)

    @property
    def batch_rows(self) -> int:
        """The rows of the next transaction."""
        rows = self._fixed_rows or self._adaptive_rows
        if self._message_bytes and self._bytes_per_row:
            rows = min(rows, int(self._message_bytes * MESSAGE_SHARE / self._bytes_per_row))
        if self._asked.rows_per_second:  # smaller ones go out evenly
            rows = min(rows, int(self._asked.rows_per_second * TICK))
        return max(1, rows)

    @property
    def paused(self) -> bool:
        """Whether nothing may be written."""
        return self._asked.paused

    @property
    def reason(self) -> str:
        """Why the run is slower than it could be, empty at full speed."""
        if self._asked.paused:
            return f"paused{self._by('paused')}"
        parts = []
        if limit := self._asked.rows_per_second:
            parts.append(f"throttled to {limit:,} rows/s{self._by('rows_per_second')}")
        if self._share < 1:
            parts.append(self._share_reason)
        return "; ".join(parts)

    def knobs(self) -> tuple[tuple[str, str], ...]:
        """The live settings as names and texts to show."""
        asked, begun = self._asked, self._begun_with
        limit = f"{asked.rows_per_second:,}" if asked.rows_per_second else "no limit"
        workers = f"{self.parallel}"
        if begun.parallel != self.parallel:
            workers += f" (begun with {begun.parallel})"
        size = f"{self.batch_rows:,} rows, {'fixed' if self._fixed_rows else 'adapts'}"
        settings = [("rows a second", limit), ("workers", workers), ("batch", size)]
        if self._share < 1:
            settings.append(("governor", f"{self._share:.0%}"))
        if asked.paused:
            settings.append(("paused", self._turned_by.get("paused", "") or "yes"))
        return tuple(settings)

    # -- what turns it ----------------------------------------------------------------------------

    def set(self, knobs: Knobs) -> None:
        """Take what people ask of the run; who turned a knob is remembered."""
        for name in ("paused", "rows_per_second", "parallel", "batch_rows"):
            if getattr(knobs, name) != getattr(self._asked, name):
                self._turned_by[name] = knobs.who
        if knobs.rows_per_second != self._asked.rows_per_second:
            self._bucket = _Bucket(self._clock())
        self._asked = knobs

    def slow(self, share: float, reason: str) -> None:
        """Go with a share of the full speed, from 0 (stand still) to 1, for a stated reason."""
        self._share = min(1.0, max(0.0, share))
        self._share_reason = reason
        if self._share == 1:
            self._rest = 0.0

    def wrote(self, rows: int, seconds: float, bytes_: int) -> None:
        """A transaction of so many rows and bytes took so long."""
        if rows <= 0:
            return
        self.latency.add(seconds)
        if 0 < self._share < 1:
            self._rest += seconds * (1 / self._share - 1)
        size = bytes_ / rows
        # Up at once, down slowly: a message that is too big is refused.
        self._bytes_per_row = max(size, self._bytes_per_row + FORGET * (size - self._bytes_per_row))
        self._adapt(rows, seconds)

    # -- what workers ask -------------------------------------------------------------------------

    async def admit(self, rows: int, stop: asyncio.Event) -> None:
        """Wait until `rows` may be written, or `stop` is set."""
        asked = self._asked
        if not asked.paused and not asked.rows_per_second and self._share == 1:
            return
        await self._take_rest(stop)
        async with self._queue:  # one after the other, in the order in which they came
            if self._asked.rows_per_second:
                self._bucket.spill(self._asked.rows_per_second, self._clock())
            while not stop.is_set():
                seconds = self._wait(rows)
                if seconds <= 0:
                    return
                await wait_for_stop(stop, min(seconds, TICK))

    async def turn(self, worker: int, stop: asyncio.Event) -> bool:
        """Wait while the run is paused, or has enough workers without this one (from 0).

        False when it waited in vain for `TURN_SECONDS` or `stop` is set: ask again.
        """
        for _ in range(round(TURN_SECONDS / TICK)):
            if stop.is_set():
                return False
            if not self.paused and worker < self.parallel:
                return True
            await wait_for_stop(stop, TICK)
        return False

    def _wait(self, rows: int) -> float:
        """How many seconds to wait before `rows` may go, as things are now."""
        if (self._asked.paused and not self.draining) or self._share == 0:
            return TICK
        rate = self._asked.rows_per_second
        return self._bucket.wait(rows, rate, self._clock()) if rate else 0.0

    async def _take_rest(self, stop: asyncio.Event) -> None:
        """Rest as long as a share asks for, by the time that the batches before took."""
        rest, self._rest = min(self._rest, LONGEST_REST), 0.0
        while rest > 0 and self._share < 1 and not stop.is_set():
            await wait_for_stop(stop, min(rest, TICK))
            rest -= TICK

    # -- the size of a batch ----------------------------------------------------------------------

    @property
    def _fixed_rows(self) -> int | None:
        return self._asked.batch_rows or self._begun_with.batch_rows

    def _adapt(self, rows: int, seconds: float) -> None:
        """More rows by a step while there is time, fewer by a factor when it took too long."""
        size = self._adaptive_rows
        if seconds > self._goal:
            if rows <= size:  # a bigger one was sent before the size shrank
                self._adaptive_rows = max(FEWEST_ROWS, int(rows * SHRINK))
        elif rows >= size and seconds < self._goal * SHRINK:
            self._adaptive_rows = min(MOST_ROWS, size + STEP_ROWS)

    def _by(self, knob: str) -> str:
        who = self._turned_by.get(knob, "")
        return f" by {who}" if who else ""
