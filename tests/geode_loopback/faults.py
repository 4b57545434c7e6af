"""Faults on order: what goes wrong, at which message, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "late",  # carried out at once, answered `seconds` later
    "slow",  # carried out `seconds` later
    "drop_before",  # the connection breaks, nothing was carried out
    "drop_after",  # carried out, then the connection breaks without a reply
    "no_reply",  # carried out, the connection stays, no reply (gRPC: UNAVAILABLE)
    "forget",  # a commit that is answered with success and writes nothing
    "refuse",  # success=False for hello, commit, rollback and ping; a commit writes nothing
    "error",  # an error with `code` and `message`, nothing was carried out
    "heartbeat",  # between the schema and the first page
    "oversize",  # one page of more than 4 MiB
    "no_page",  # the schema, then the end of the stream
    "status_only",  # one message with a status and nothing else
    "error_mid_stream",  # a schema, a page that is not final, then the error
    "silence",  # a page that is not final, then nothing more
    "no_schema",  # the pages without a schema
    "same_names",  # every column is called x
    "truncated",  # half of the rows in one final page
]
_REMEMBERED = 1_000
Message = Literal["hello", "execute", "begin", "commit", "rollback", "ping"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the `nth` message that matches and, `times` in all, with those after.

    `statement` is a regular expression to be found in the text of an execute (any case);
    `times=0` means always; `transport` is "grpc", "quic" or "" for both.
    """

    kind: Kind
    on: Message = "execute"
    statement: str = ""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    code: str = "58000"
    message: str = "a fault on order"
    transport: str = ""

    def matches(self, message: str, text: str, transport: str) -> bool:
        """Whether this message is one that counts."""
        if message != self.on or self.transport not in ("", transport):
            return False
        return not self.statement or bool(re.search(self.statement, text, re.IGNORECASE))


class Faults:
    """The faults ordered of a server; safe to change while it runs."""

    def __init__(self, ordered: Iterable[Fault] = ()) -> None:
        """Start with these faults."""
        self._lock = threading.Lock()
        self._ordered: list[_Ordered] = []
        self._happened: list[Fault] = []
        for fault in ordered:
            self.add(fault)

    def add(self, fault: Fault) -> Fault:
        """Order a fault; messages are counted from now on."""
        with self._lock:
            self._ordered.append(_Ordered(fault))
        return fault

    def clear(self) -> None:
        """Forget all faults, also those still to come."""
        with self._lock:
            self._ordered.clear()
            self._happened.clear()

    @property
    def happened(self) -> list[Fault]:
        """The faults that took place, in order."""
        with self._lock:
            return list(self._happened)

    def of(self, message: str, text: str = "", transport: str = "") -> list[Fault]:
        """Count this message; the faults it meets."""
        with self._lock:
            met = []
            for ordered in self._ordered:
                if not ordered.fault.matches(message, text, transport):
                    continue
                ordered.seen += 1
                if ordered.is_due():
                    met.append(ordered.fault)
            self._happened += met
            del self._happened[:-_REMEMBERED]
            return met


@dataclass(slots=True)
class _Ordered:
    fault: Fault
    seen: int = 0

    def is_due(self) -> bool:
        first, times = self.fault.nth, self.fault.times
        return self.seen >= first and (times == 0 or self.seen < first + times)
