"""An event loop in which waiting takes no time: its clock jumps to the next thing to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

type Clock = Callable[[], float]


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Skips the time in which nothing would happen."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found: list[Any] = super().select(0 if timeout else timeout)
        if timeout and not found:
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run_virtually[T](work: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """Run `work(clock)`; its clock stands at 0 and moves only while everybody waits."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()
        return runner.run(work(loop.time))
