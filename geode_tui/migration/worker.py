"""Workers: each moves one chunk after the other over a session of its own.

A target that only one process may write is served by workers in the engine's process; one that
many may write gets a process for each, so that every core works. Both do the same plain work
(`batches.ChunkMove`) from the same description of a chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from geode_tui.errors import GeodeTuiError, LostError
from geode_tui.migration.batches import Admission, BatchResult, ChunkMove, DeadLimitReached
from geode_tui.migration.chunks import Chunk, ChunkResult
from geode_tui.migration.origin import Feed, FeedPlan, Movable
from geode_tui.target import TargetPlan, credentials
from geode_tui.target.model import Target

Doing = Callable[[str], None]

_LENGTH = struct.Struct(">Q")
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from geode_tui.migration.worker import main; main()"
)


class Worker(Protocol):
    """Moves chunks, one at a time."""

    async def move(
        self, entity: Movable, chunk: Chunk, admission: Admission, left: int | None, doing: Doing
    ) -> ChunkResult:
        """Move a chunk; `left` is how many dead letters it may have.

        Raises DeadLimitReached; LostError, SnapshotLostError or BusyError where trying again may
        help; GeodeTuiError.
        """
        ...

    async def close(self) -> None:
        """Let its sessions go."""
        ...


class LocalWorker:
    """A worker in this process; the target is shared with the others."""

    def __init__(self, plan: FeedPlan, target: Target, uid: str) -> None:
        self._plan = plan
        self._target = target
        self._uid = uid
        self._feed: Feed | None = None

    async def move(
        self, entity: Movable, chunk: Chunk, admission: Admission, left: int | None, doing: Doing
    ) -> ChunkResult:
        """Move a chunk; after an error its session is opened anew."""
        try:
            if self._feed is None:
                self._feed = await self._plan.open()
            move = ChunkMove(entity, chunk, self._target, self._uid, admission, left)
            return await move.run(self._feed, doing)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session on the source."""
        feed, self._feed = self._feed, None
        if feed is not None:
            await feed.close()


@dataclass(frozen=True)
class _Outfit:
    """What the process of a worker is given once; it may hold a password, memory only."""

    plan: FeedPlan
    entities: Sequence[Any]
    target: TargetPlan
    uid: str
    passwords: Mapping[str, str] = field(default_factory=credentials.known, repr=False)


@dataclass(frozen=True)
class _Order:
    entity: str
    chunk: Chunk
    left: int | None


@dataclass(frozen=True)
class _Ask:
    """May so many rows be written? The answer is the size of the next batch."""

    rows: int


@dataclass(frozen=True)
class _Ended:
    result: ChunkResult | None = None
    error: Exception | None = None


class ProcessWorker:
    """A worker in a process of its own; it dies with the pipe to this one."""

    def __init__(
        self, plan: FeedPlan, entities: Sequence[Any], target: TargetPlan, uid: str
    ) -> None:
        self._outfit = _Outfit(plan, entities, target, uid)
        self._child: asyncio.subprocess.Process | None = None

    async def move(
        self, entity: Movable, chunk: Chunk, admission: Admission, left: int | None, doing: Doing
    ) -> ChunkResult:
        """Give the chunk to the process and answer its questions until it is done."""
        try:
            if self._child is None:
                self._child = await self._start()
            await self._say(_Order(entity.id, chunk, left))
            while True:
                message = await self._hear()
                if isinstance(message, _Ended):
                    return _taken(message)
                if isinstance(message, _Ask):
                    await admission.admit(message.rows)
                    await self._say(admission.batch_rows)
                elif isinstance(message, BatchResult):
                    admission.wrote(message)
                else:
                    doing(message)
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise LostError(
                "the process of a worker has died", "killed, or out of memory"
            ) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _CHILD,
            *sys.path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._child = child
        await self._say(self._outfit)
        return child

    async def _say(self, message: object) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(_framed(message))
        await self._child.stdin.drain()

    async def _hear(self) -> Any:
        assert self._child is not None
        assert self._child.stdout is not None
        head = await self._child.stdout.readexactly(_LENGTH.size)
        body = await self._child.stdout.readexactly(_LENGTH.unpack(head)[0])
        return pickle.loads(body)


def _taken(ended: _Ended) -> ChunkResult:
    if ended.error is not None:
        raise ended.error
    assert ended.result is not None
    return ended.result


def _framed(message: object) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


# -- the process of a worker ----------------------------------------------------------------------


@dataclass
class _Pipe:
    """The process's end of the pipe, and its admission: the engine is asked for each batch."""

    ears: IO[bytes]
    mouth: IO[bytes]
    batch_rows: int = 1_000
    _doing: str = field(default="", init=False)

    def hear(self) -> Any:
        head = self.ears.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError
        return pickle.loads(self.ears.read(_LENGTH.unpack(head)[0]))

    def say(self, message: object) -> None:
        self.mouth.write(_framed(message))
        self.mouth.flush()

    def doing(self, text: str) -> None:
        if text != self._doing:
            self._doing = text
            self.say(text)

    async def admit(self, rows: int) -> None:
        self.say(_Ask(rows))
        self.batch_rows = await asyncio.to_thread(self.hear)

    def wrote(self, written: BatchResult) -> None:
        self.say(written)


def main() -> None:
    """The process: take orders until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the engine says when to stop
    pipe = _Pipe(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError):
        asyncio.run(_serve(pipe))


async def _serve(pipe: _Pipe) -> None:
    outfit: _Outfit = pipe.hear()
    credentials.learn(outfit.passwords)
    entities = {entity.id: entity for entity in outfit.entities}
    target: Target | None = None
    worker: LocalWorker | None = None
    try:
        while True:
            order: _Order = await asyncio.to_thread(pipe.hear)
            entity = entities[order.entity]
            try:
                if target is None or worker is None:  # what a server refuses is told, not died of
                    target = await asyncio.to_thread(outfit.target.open)
                    worker = LocalWorker(outfit.plan, target, outfit.uid)
                result = await worker.move(entity, order.chunk, pipe, order.left, pipe.doing)
                pipe.say(_Ended(result))
            except (GeodeTuiError, DeadLimitReached) as error:
                pipe.say(_Ended(None, error))
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                pipe.say(_Ended(None, RuntimeError(f"{type(error).__name__}: {error}")))
    finally:
        if worker is not None:
            await worker.close()
        if target is not None:
            await asyncio.to_thread(target.close)
