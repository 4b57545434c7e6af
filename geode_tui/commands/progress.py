"""Progress of a run on stderr: live where it is a terminal, a line a happening elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from geode_tui.commands.output import duration, say, visible
from geode_tui.migration.events import EntityProgress, Event, RunSnapshot
from geode_tui.migration.runner import Runner

SHOWN_ENTITIES = 12
_STYLES = {"info": "", "warning": "yellow", "error": "red"}


class ProgressDisplay:
    """Shows a runner until it is over."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
            )
        self._next = 0.0

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self) -> None:
        """Tell what happened since the last call, and show the counters a few times a second."""
        for event in self._runner.events():
            self._tell(event)
        now = time.monotonic()
        if self._live is not None and now >= self._next:
            self._next = now + 0.25
            self._live.update(_table(self._runner.snapshot()), refresh=True)

    def _tell(self, event: Event) -> None:
        if event.message.startswith("CREATE ") and event.level == "info":
            return
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        if self._live is None:
            say(f"{clock} {event.message}")
            return
        line = Text(f"{clock} ", style="dim")
        line.append(visible(event.message), style=_STYLES[event.level])
        self._console.print(line, soft_wrap=True)


def _table(snapshot: RunSnapshot) -> Table:
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    phase = snapshot.phase
    head = f"run {snapshot.run}  {phase.name} {phase.state}"
    total = f"{snapshot.rows_written:,} rows  {snapshot.rate:,.0f}/s  {duration(snapshot.elapsed)}"
    if snapshot.wave:
        head += f", wave {visible(snapshot.wave)}"
    table.add_row(Text(head, style="bold"), "", "", "", "", Text(total))
    if snapshot.pace:
        table.add_row(Text(visible(snapshot.pace), style="yellow"))
    active = [e for e in snapshot.entities if e.state not in ("done", "waiting")]
    waiting = [e for e in snapshot.entities if e.state == "waiting"]
    for entity in [*active, *waiting][:SHOWN_ENTITIES]:
        table.add_row(*_cells(entity))
    hidden = len(active) + len(waiting) - SHOWN_ENTITIES
    if hidden > 0:
        table.add_row(Text(f"… and {hidden} more", style="dim"))
    return table


def _cells(entity: EntityProgress) -> tuple[Text | ProgressBar, ...]:
    share = entity.share
    mark = "" if entity.estimate_exact else "±"
    of = "" if entity.rows_estimated is None else f" of {mark}{entity.rows_estimated:,}"
    bar = ProgressBar(total=1.0, completed=share or 0.0, width=20)
    state = entity.reason or entity.state
    return (
        Text(visible(entity.id)),
        bar,
        Text(f"{entity.rows_written:,}{of}"),
        Text(f"{entity.rate:,.0f}/s"),
        Text(duration(entity.eta_seconds)),
        Text(visible(state), style="dim"),
    )
