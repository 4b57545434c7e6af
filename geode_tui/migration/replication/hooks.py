"""Commands of one's own at the moments of a cutover: stop an application, turn it to the graph.

A hook is a command line, taken apart as a shell would and run without one, in a process group of
its own, so that neither Ctrl-C nor a child of it outlives its time. What it prints is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from geode_tui.errors import GeodeTuiError, UsageError, redact

Hook = Literal[
    "before-freeze",
    "on-freeze",
    "on-release",
    "on-flip",
    "on-abort",
    "on-keep",
    "hold-graph",
    "on-fall-back",
]
HOOKS: tuple[Hook, ...] = get_args(Hook)
MASKED = "***"
HOOK_SECONDS = 60.0
"""So long a hook may take where writes do not stand still for it."""
_LINES = 200
_WIDTH = 500
_GRACE_SECONDS = 0.5
_LOOK_SECONDS = 0.01

Tell = Callable[[str], None]


def check_hooks(commands: Mapping[str, str]) -> None:
    """Raise UsageError where a command line cannot be taken apart, or no such hook is known."""
    for name, command in commands.items():
        if name not in HOOKS:
            raise UsageError(f"there is no hook {name}", "", f"hooks are: {', '.join(HOOKS)}")
        _words(name, command)


async def run_hook(
    name: str, command: str, environment: Mapping[str, str], seconds: float, tell: Tell
) -> None:
    """Run a hook to its end, at most so many seconds; `tell` gets its output, line by line.

    Raises GeodeTuiError when it cannot be run, does not end in time, or ends with another code
    than 0: nothing of it goes on after that. What one that ended well has left running, runs on.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_words(name, command),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(name, error.strerror or str(error)) from error
    listening = asyncio.ensure_future(_listen(process, lambda line: tell(f"hook {name}: {line}")))
    try:
        if not await _has_ended(process, seconds):
            raise _failed(name, f"it did not end within {seconds:.1f} s and was killed")
        await asyncio.wait({listening}, timeout=_GRACE_SECONDS)
    finally:
        if process.returncode != 0:
            await _end(process)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    if process.returncode:
        raise _failed(name, f"it ended with code {process.returncode}")


def masked(commands: Mapping[str, str]) -> dict[str, str]:
    """The commands as they may be journaled: a password in them is not kept."""
    return {name: redact(command) for name, command in commands.items()}


def _words(name: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command of hook {name} cannot be read", str(error)) from error
    if not words:
        raise UsageError(f"hook {name} has no command")
    return words


async def _listen(process: Process, tell: Tell) -> None:
    """Tell the first lines, and read all, so that it is not held up by a full pipe."""
    assert process.stdout is not None
    rest, told = b"", 0
    while some := await process.stdout.read(8192):
        *lines, rest = (rest + some).split(b"\n")
        rest = rest[-_WIDTH:]
        for line in lines:
            told += 1
            if told <= _LINES:
                tell(redact(line.decode(errors="replace")[:_WIDTH].rstrip()))
    if rest and told < _LINES:
        tell(redact(rest.decode(errors="replace")[:_WIDTH]))


async def _has_ended(process: Process, seconds: float) -> bool:
    """Wait for its end, at most so many seconds; `wait` would wait for its output, too."""
    until = time.monotonic() + seconds
    while process.returncode is None:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


async def _end(process: Process) -> None:
    """End what is left of its process group: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        await _has_ended(process, _GRACE_SECONDS)


def _failed(name: str, why: str) -> GeodeTuiError:
    return GeodeTuiError(f"hook {name} failed", why, "its output is in the run's happenings")
