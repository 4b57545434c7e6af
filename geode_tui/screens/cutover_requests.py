"""What a person asks of a cutover, by way of the journal: the same from a screen or a terminal.

Each function blocks for a write to the journal, and raises GeodeTuiError when it cannot be made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutovers import Cutovers, Wish


def ask(run: int, what: Wish) -> None:
    """Ask something of the process that drives the cutover of a run."""
    with _cutovers() as cutovers:
        cutovers.ask(run, what)


def waive(run: int, gate: str, reason: str) -> None:
    """Let a cutover of a run go through a gate, for a reason."""
    with _cutovers() as cutovers:
        cutovers.waive(run, gate, reason)


def withdraw(run: int, gate: str) -> None:
    """Take back that a gate was waived."""
    with _cutovers() as cutovers:
        cutovers.withdraw(run, gate)


@contextlib.contextmanager
def _cutovers() -> Iterator[Cutovers]:
    with contextlib.closing(Journal()) as journal:
        yield journal.cutovers
