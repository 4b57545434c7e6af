"""Errors that a person reads: what happened, why, and what to do next.

Every error that can reach a person is a `GeodeTuiError`. Its text is plain (never markup) and
never holds a password: who builds one from foreign text passes it through `redact`.
"""

from __future__ import annotations

import re

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONNECTION = 3
EXIT_DIFFERS = 4
EXIT_RESUMABLE = 5
EXIT_INTERRUPTED = 130

_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*:)\S*@", re.IGNORECASE)
_PARAM_PASSWORD = re.compile(
    r"(?P<head>\b(?:password|pass|passwd|pwd|sslpassword)\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return `text` with the passwords of every DSN in it masked as `***`."""
    # Parameters first: an @ in a password there would be taken for the end of a user's part.
    text = _PARAM_PASSWORD.sub(r"\g<head>***", text)
    return _URL_PASSWORD.sub(r"\g<head>***@", text)


class GeodeTuiError(Exception):
    """A failure told in at most four lines: what, why, and what next.

    `exit_code` is what the command line ends with when the error reaches it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        self.what = redact(what)
        self.why = redact(why)
        self.next_step = redact(next_step)
        super().__init__(self.what)

    def lines(self) -> list[str]:
        """The error as lines of plain text: what, why, next (empty parts left out)."""
        parts = [self.what]
        if self.why:
            parts.append(f"why:  {self.why}")
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return [" ".join(part.split("\n")).strip() for part in parts]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class UsageError(GeodeTuiError):
    """Wrong use, or a file that cannot be used."""

    exit_code = EXIT_USAGE


class MappingError(UsageError):
    """A mapping that cannot be used: not YAML, or naming what does not exist."""


class ConnectError(GeodeTuiError):
    """The source or the target cannot be reached or refuses us."""

    exit_code = EXIT_CONNECTION


class UnreachableError(ConnectError):
    """Nobody answers at that place: told at once at first, while a run goes it may pass."""


class LostError(ConnectError):
    """A connection that broke while it was in use: trying again may help."""


class SnapshotLostError(LostError):
    """The snapshot that all workers read under is gone: what remains needs a new one."""


class BusyError(ConnectError):
    """A conflict with others (a deadlock, a lock, too many sessions): trying again may help."""


class RowError(GeodeTuiError):
    """PostgreSQL cannot compute a value of some row."""


class PermissionRefusedError(GeodeTuiError):
    """The connected role may not do what is needed."""

    exit_code = EXIT_CONNECTION


class RunStopped(GeodeTuiError):
    """A run stopped before its end and can be resumed."""

    exit_code = EXIT_RESUMABLE
