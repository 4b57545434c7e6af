"""Locks between processes: files that the kernel lets go of when a process dies."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from geode_tui.errors import UsageError


class Locks:
    """The locks in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, name: str, what: str, next_step: str) -> Iterator[None]:
        """Hold a lock. Raises UsageError (`what`, `next_step`) when another process has it."""
        with open(self._path(name), "w") as file:
            if not _locked(file):
                raise UsageError(what, "", next_step)
            yield

    def held(self, name: str) -> bool:
        """Whether some process holds a lock."""
        try:
            with open(self._path(name)) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _path(self, name: str) -> Path:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder / name


def _locked(file: IO[str]) -> bool:
    """Take the lock; a look by `held` may stand in the way for a moment."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False
