"""Synchronization: how far the graph is behind the source, what it costs, and what alarms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from geode_tui.migration.replication.sight import ReplicationSight
from geode_tui.migration.replication.state import Moment, SyncEntity
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.replication import key_line
from geode_tui.screens.sync_keys import SyncKeys
from geode_tui.widgets.alarm_list import AlarmList
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_flow import FigureFlow
from geode_tui.widgets.figures import rate, size
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.stream_plot import Curve, StreamPlot
from geode_tui.widgets.sync_table import SyncTable
from geode_tui.widgets.sync_text import (
    all_alarms,
    figures_of,
    is_old,
    seconds_text,
    sync_head,
)
from geode_tui.widgets.text import one_line, short_count
from geode_tui.widgets.throughput import Sample

_WHAT_IT_IS = (
    "A run with the strategy zero-downtime captures what is written to the source from before it"
    " copies the rows; here it is shown how the graph follows.\n\n"
)


class Curves(Grid, can_focus=True):
    """The plots; with the focus on them all figures are copied."""


class SyncScreen(SyncKeys):
    """The stream of changes from the source into the graph, of the newest run that captures."""

    MODE = "sync"
    WHEN_EMPTY, WHEN_GOING = "#sync-empty", "#curves"
    HELP = """
# Sync

Changes that come to the source while it is copied, and after, are captured and applied to the
graph, until the cutover (screen 8).

- **r** begins a run that captures changes where there is none yet; else it begins to synchronize
  and goes on until it is stopped. **o** does it once, up to now.
- **space** pauses and goes on: changes are stored on our side meanwhile. **s** stops: then the
  source keeps its changes, look at *source keeps*.
- **d** lists the dead letters, **h** looks at another run, **tab** goes around the panes.
- **/** keeps the entities with all the words that you type.
- **y** copies what has the focus, **c** the command that does the same.

The words:

- *the graph is the source as of*: the snapshot that all applied changes lead to, the fence.
- *lag*: how long the newest heartbeat took from the source into the graph.
- *captured* and *applied*: changes of rows a second. Where more is captured than applied the
  plot has `▒` between them: the backlog grows. Where more is applied it has `░`.
- *source keeps*: WAL (or a log) that the source keeps until we have read it. When it
  reaches its limit the capture is lost; *full in* says when that is.
- *oldest open* transaction: while it is open nothing behind it can be applied.

Each alarm says what to do next. Figures that are not those of now are pale, with their age.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "d",
            "dead_letters",
            "dead letters",
            show=False,
            id="sync.dead",
            tooltip="Rows that were refused",
        ),
    ]
    CSS = """
    SyncScreen {
        #sync-head { height: auto; max-height: 5; padding: 0 1; text-wrap: nowrap;
            text-overflow: ellipsis; }
        #sync-empty { height: 1fr; padding: 1 2; display: none; }
        #sync-going { height: 1fr; }
        #sync-curves { height: 1fr; }
        Curves { grid-size: 2 2; grid-gutter: 0 1; }
        #sync-below { height: 1fr; }
        #sync-entities { width: 3fr; }
        #sync-alarms { width: 2fr; }
        &.-wide Curves { grid-size: 4 1; }
        &.-narrow {
            #sync-curves { height: 1fr; }
            #sync-below { height: auto; }
            #sync-below.-holds-shown { height: 1fr; }
            Pane.-shown { width: 1fr; height: 1fr; }
        }
        &.-short #sync-head { max-height: 2; }
        &.-short FigureFlow { max-height: 2; }
        &.-empty {
            #sync-going { display: none; }
            #sync-empty { display: block; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._run = 0

    def compose_body(self) -> ComposeResult:
        """The state, the figures, curves, entities and alarms; or what to do first."""
        with VerticalScroll(id="sync-empty"):
            yield Static(id="sync-empty-text", markup=False)
        with Vertical(id="sync-going"):
            yield Static(id="sync-head", markup=False)
            yield FigureFlow(id="sync-figures")
            with Panes(id="sync-panes"):
                with (
                    Pane("the last ten minutes", id="sync-curves", brief="curves"),
                    Curves(id="curves"),
                ):
                    yield StreamPlot(seconds_text, title="lag", id="plot-lag")
                    yield StreamPlot(rate, pair=("captured", "applied"), id="plot-rates")
                    yield StreamPlot(_changes, title="backlog", id="plot-backlog")
                    yield StreamPlot(_bytes, title="source keeps", id="plot-kept")
                with Horizontal(id="sync-below"):
                    with Pane("entities", id="sync-entities"):
                        yield FilterInput("sync-table", placeholder="/ filter entities")
                        yield SyncTable(id="sync-table")
                    with Pane("alarms", id="sync-alarms"):
                        yield AlarmList()

    def nothing_words(self) -> Content:
        """How to get a run that captures changes."""
        parts = [("no run captures changes yet\n\n", "bold"), (_WHAT_IT_IS, "")]
        space = self.workspace
        if space.source is None:
            parts += key_line("1", "connect to the source, and name a target")
        else:
            parts += key_line("r", "begins one, after its plan was shown")
            parts += key_line("c", "copies the command that begins one:")
            parts.append((f"\n   {one_line(space.headless_command('sync'))}\n", "bold"))
        check = "geode-tui capture check"
        parts.append((f"\n{check} says what the source lacks for it\n", "$text-muted"))
        return Content.assemble(*parts)

    def show_nothing(self, content: Content) -> None:
        """Show what to do first."""
        self.update("#sync-empty-text", content)

    def show_sight(self, sight: ReplicationSight) -> None:
        """Show the stream as it was told last."""
        now = time.time()
        if self._run != sight.run:
            self._run = sight.run
            self.query_one(SyncTable).show_entities(())
        self.update("#sync-head", sync_head(sight, now))
        sync = sight.sync
        flow = self.query_one(FigureFlow)
        flow.display = sync is not None
        if sync is not None:
            flow.show(figures_of(sync), old=is_old(sight, now))
        self._show_entities(sync.entities if sync is not None else ())
        self._show_alarms(sight, now)
        self._show_curves(sight, now)
        self.keys_are_of(self.going, sight.driven, sight.capture.state)

    def _show_entities(self, entities: Iterable[SyncEntity]) -> None:
        words = self._filter.lower().split()
        everything = tuple(entities)
        shown = [e for e in everything if _has_words(e, words)]
        table = self.query_one(SyncTable)
        table.set_empty("no entity has these words" if everything else "nothing told yet")
        table.show_entities(shown)
        count = f" {len(shown):,}" + (f" of {len(everything):,}" if words else "")
        title = f"entities{count}" if everything else "entities"
        self.query_one("#sync-entities", Pane).set_title(title, "entities")

    def _show_alarms(self, sight: ReplicationSight, now: float) -> None:
        alarms = all_alarms(sight)
        self.query_one(AlarmList).show(alarms, now)
        pane = self.query_one("#sync-alarms", Pane)
        pane.set_title(f"alarms {len(alarms)}" if alarms else "alarms")

    def _show_curves(self, sight: ReplicationSight, now: float) -> None:
        silent = sight.sync_silence(now)
        moments = sight.moments
        # Of a stream that stands the last minutes that there are; else up to now.
        until = now if silent is not None or not moments else moments[-1].at + 1
        applied = _samples(moments, lambda moment: moment.applied_rate)
        captured = _samples(moments, lambda moment: moment.captured_rate)
        curves = {
            "lag": Curve(_samples(moments, lambda moment: moment.lag_seconds)),
            "rates": Curve(applied, captured),
            "backlog": Curve(_samples(moments, lambda moment: float(moment.backlog))),
            "kept": Curve(_samples(moments, _retained)),
        }
        for name, curve in curves.items():
            self.query_one(f"#plot-{name}", StreamPlot).show(curve, until)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._filter = event.value
        sight = self.sight
        if sight is not None and sight.sync is not None:
            self._show_entities(sight.sync.entities)

    def copied(self) -> str:
        """The alarms or the line under the cursor when they have the focus, else the figures."""
        if isinstance(self.focused, AlarmList):
            return self.focused.plain
        if not isinstance(self.focused, Curves):
            return super().copied()
        sight = self.sight
        if sight is None:
            return ""
        figures = figures_of(sight.sync) if sight.sync is not None else []
        lines = [f"{f.name}  {f.value} {f.detail}".rstrip() for f in figures]
        return "\n".join([sync_head(sight, time.time()).plain, *lines])

    def action_dead_letters(self) -> None:
        """List the rows that could not be written."""
        if self.sight is not None:
            self.app.push_screen(DeadLettersScreen(self.sight.run, mode=self.MODE))

    def action_back(self) -> None:
        """From an entity or an alarm back to all of it."""
        panes = self.query_one(Panes)
        panes.go_to(panes.panes[0])


def _samples(
    moments: Iterable[Moment], value: Callable[[Moment], float | None]
) -> tuple[Sample, ...]:
    found = ((moment.at, value(moment)) for moment in moments)
    return tuple(Sample(at, number) for at, number in found if number is not None)


def _retained(moment: Moment) -> float | None:
    return None if moment.retained_bytes is None else float(moment.retained_bytes)


def _has_words(entity: SyncEntity, words: list[str]) -> bool:
    if not words:
        return True
    text = f"{entity.id} {entity_title(entity.id)} {entity.kind}".lower()
    return all(word in text for word in words)


def _changes(number: float) -> str:
    return short_count(round(number))


def _bytes(number: float) -> str:
    return size(round(number))
