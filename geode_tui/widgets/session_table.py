"""Sessions of the source that wait for a freeze, or that a freeze waits for, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from geode_tui.migration.replication.state import BlockedSession
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import span
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_COLUMNS = (
    TableColumn("pid", 6, "right"),
    TableColumn("user", 10),
    TableColumn("application", 13),
    TableColumn("since", 6, "right"),
    TableColumn("state", 16),
    TableColumn("query", least=12),
)


class SessionTable(FigureTable):
    """The sessions, those that are there longest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.start",
            "start",
            id="table.select",
            tooltip="Start the cutover",
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="nobody waits", id=id)
        self._sessions: Sequence[BlockedSession] = ()
        self._now = 0.0

    @property
    def session(self) -> BlockedSession | None:
        """The session under the cursor."""
        return self._sessions[self.cursor] if self.cursor < len(self._sessions) else None

    def show_sessions(self, sessions: Sequence[BlockedSession], now: float) -> None:
        """Show these sessions; the cursor stays on the one it was on."""
        under = self.session
        shown = sorted(sessions, key=lambda s: (s.since is None, s.since or 0.0, s.pid))
        if shown == list(self._sessions) and int(now) == int(self._now):
            return
        self._sessions, self._now = shown, now
        self.set_source(len(shown), self._cells)
        pids = [session.pid for session in shown]
        if under is not None and under.pid in pids:
            self.cursor = pids.index(under.pid)

    def _cells(self, index: int) -> Row:
        session = self._sessions[index]
        return (
            str(session.pid),
            one_line(session.user) or "–",
            one_line(session.application) or "–",
            "" if session.since is None else span(self._now - session.since),
            one_line(session.state),
            one_line(session.query),
        )
