"""Trying again: which errors allow it, how long to wait, and in what words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from geode_tui.errors import (
    BusyError,
    GeodeTuiError,
    LostError,
    SnapshotLostError,
    UnreachableError,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed when it is tried again.

    A lost snapshot is not: the work needs a new one first.
    """
    transient = isinstance(error, LostError | BusyError | UnreachableError)
    return transient and not isinstance(error, SnapshotLostError)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often to try again, and how long to wait before; `first` and `most` in seconds."""

    attempts: int = 8
    first: float = 0.5
    most: float = 30.0

    def delays(self) -> Iterator[float]:
        """The seconds before each further try: random up to a bound that doubles ("full jitter").

        So workers that failed together do not come back together.
        """
        for attempt in range(self.attempts):
            # Doubling stops at 2**32: attempts may be many.
            yield random.uniform(0, min(self.most, self.first * 2 ** min(attempt, 32)))


async def with_retries[T](
    work: Callable[[], Awaitable[T]],
    backoff: Backoff,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> T:
    """Do `work` again and again while it fails in a way that may pass.

    `tell` is given each wait in words. Raises the error of the last try when there are no tries
    left or `stop` is set, and at once any error that trying again cannot help.
    """
    for number, seconds in enumerate(backoff.delays(), 1):
        try:
            return await work()
        except GeodeTuiError as error:
            if not is_transient(error) or stop.is_set():
                raise
            tell(_wait_text(error, number, backoff.attempts, seconds))
            if await wait_for_stop(stop, seconds):
                raise
    return await work()


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so many seconds, or until `stop` is set; whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True


def _wait_text(error: GeodeTuiError, number: int, attempts: int, seconds: float) -> str:
    """`the connection to the source is lost, retry 3 of 8 in 4.0 s (57P01: …)`."""
    because = f" ({error.why})" if error.why else ""
    return f"{error.what}, retry {number} of {attempts} in {seconds:.1f} s{because}"
