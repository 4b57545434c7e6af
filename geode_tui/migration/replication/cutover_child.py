"""A cutover in a process of its own, for the interface (`child.in_child` begins it).

It goes on when the interface goes away: to the end of its watch window, or until somebody asks
something of it in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from geode_tui.migration.child import Tell
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest
from geode_tui.migration.replication.cutovers import Wish


def cut_over(request: CutoverRequest, tell: Tell) -> str:
    """Cut over or rehearse; the state in the end. Raises CutoverAborted, GeodeTuiError."""
    return _driven(lambda engine: engine.run(request)).state


def check_gates(request: CutoverRequest, tell: Tell) -> str:
    """Look at every gate now, and do nothing else. Raises GeodeTuiError."""
    gates = _driven(lambda engine: engine.look(request))
    return f"{sum(gate.passed for gate in gates)} of {len(gates)} gates are passed"


def keep(request: CutoverRequest, tell: Tell) -> str:
    """End a watch window that no process watches. Raises GeodeTuiError."""
    _ask(request.run, "keep")
    snapshot = _driven(lambda engine: engine.go_on(request))
    return snapshot.state if snapshot is not None else "nothing was open"


def fall_back(request: CutoverRequest, tell: Tell) -> str:
    """Fall back after a flip that no process watches. Raises GeodeTuiError."""
    report = _driven(lambda engine: engine.fall_back(request))
    return f"fallen back: {report.rows:,} rows written, {report.compared:,} rules are equal"


def _driven[T](begin: Callable[[CutoverEngine], Coroutine[Any, Any, T]]) -> T:
    with contextlib.closing(Journal()) as journal:
        return asyncio.run(begin(CutoverEngine(journal)))


def _ask(run: int, what: Wish) -> None:
    with contextlib.closing(Journal()) as journal:
        journal.cutovers.ask(run, what)
