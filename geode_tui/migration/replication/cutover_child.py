"""A cutover in a process of its own, for the interface (`child.in_child` begins it).

It goes on when the interface goes away: to the end of its watch window, or until somebody asks
something of it in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib

from geode_tui.migration.child import Tell
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest
from geode_tui.migration.replication.state import CutoverState


def cut_over(request: CutoverRequest, tell: Tell) -> CutoverState:
    """Cut over or rehearse; the state in the end. Raises CutoverAborted, GeodeTuiError."""
    with contextlib.closing(Journal()) as journal:
        return asyncio.run(CutoverEngine(journal).run(request)).state


def check_gates(request: CutoverRequest, tell: Tell) -> None:
    """Look at every gate now, and do nothing else. Raises GeodeTuiError."""
    raise NotImplementedError
