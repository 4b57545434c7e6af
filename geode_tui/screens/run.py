"""The run: what moves, how fast, what everything waits for, and the knobs to steer it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Log, Static

from geode_tui.catalog import Catalog
from geode_tui.errors import GeodeTuiError, RunStopped
from geode_tui.mapping.assess import Finding
from geode_tui.migration.events import RunSnapshot
from geode_tui.migration.run_list import RunLine, RunList, newest_going, newest_resumable
from geode_tui.migration.runner import Runner
from geode_tui.migration.watch import RunWatch, ShownRun
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.entity_detail import EntityDialog
from geode_tui.screens.resume import resume_question
from geode_tui.screens.run_knobs import RunKnobs
from geode_tui.screens.start import plan_of, start_question
from geode_tui.widgets.entity_table import EntityTable
from geode_tui.widgets.figures import counted
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.run_text import (
    log_lines,
    pace_text,
    phases_text,
    totals_text,
    workers_text,
)
from geode_tui.widgets.text import one_line
from geode_tui.widgets.throughput import Sample, Throughput
from geode_tui.widgets.virtual_table import VirtualTable

_LOG_LINES = 5_000


class RunScreen(RunKnobs):
    """The run of the sitting, or one opened from the journal, sampled a few times a second."""

    MODE = "run"
    HELP = """
# Run

Moves the rows: **assess** the mapping, **prepare** the graph, **backfill** all labels and then all
relationships, **verify** by counting and comparing both sides. The source is only read.

- **r** shows the plan in words and starts. On a source labelled PROD its name must be typed.
- **space** pauses and goes on; **+** and **-** change the number of workers, **t** limits the rows
  a second, **b** the rows of a transaction. Any terminal can do the same to the same run.
- **p** takes a checkpoint by a name of your own; a rollback (screen 6) can go back to it.
- **s** stops safely: the chunks in flight are finished; **R** goes on from there, also after a
  crash.
- **w** watches the run that another process drives.

The panes, **tab** goes around them:

- **entities**: what moves. **enter** shows its chunks, its rule and its SELECT. `rows/s` is of the
  last ten seconds, `average` that since its first row; `±` marks an estimate of the planner.
  An orphan is a relationship row whose node is not there.
- **rows a second**: the last ten minutes; where something held the run up, in another colour.
- **workers**: what each does or waits for.
- **pace**: the knobs as they are set, and what the source says of its load.
- **log**: what happened. **l** shows it alone, and again all.

**d** lists the dead letters: rows that the graph refused, each with its reason. **v** shows the
ledger. A run reopened from the history (screen 6) looks as it did at its end; **esc** goes back.
A run of your own goes on while you look at other screens; it ends when geode-tui ends.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "start", "run", id="run.start", tooltip="Show the plan and start a run"),
        Binding(
            "R", "resume", "resume", id="run.resume", tooltip="Go on with the run that stopped"
        ),
        Binding("w", "watch", "watch", id="run.watch", tooltip="Watch the run of another process"),
        Binding(
            "d", "dead_letters", "dead letters", id="run.dead", tooltip="Rows that were refused"
        ),
        Binding("v", "ledger", "ledger", id="run.ledger", tooltip="The ledger of this run"),
        Binding(
            "l", "log", "log", show=False, id="run.log", tooltip="The log alone, and again all"
        ),
        Binding("tab", "pane(1)", "next pane", show=False, id="run.next", tooltip="Next pane"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="run.previous",
            tooltip="Previous pane",
        ),
    ]
    CSS = """
    RunScreen {
        #run-phases { height: auto; max-height: 5; padding: 0 1; }
        #run-totals { height: auto; max-height: 2; padding: 0 1; }
        #run-empty { height: 1fr; padding: 1 2; display: none; }
        #run-going { height: 1fr; }
        #run-middle { height: 10; }
        #run-rate { width: 4fr; }
        #run-workers, #run-pace { width: 5fr; }
        #run-workers VerticalScroll, #run-pace VerticalScroll { padding: 0 1; }
        #run-workers Static, #run-pace Static { height: auto; }
        #run-log-pane { height: 9; }
        #run-log { background: $background; scrollbar-size: 0 1; padding: 0 1; }
        &.-narrow {
            #run-middle { height: auto; }
            #run-middle.-holds-shown { height: 1fr; }
            Pane.-shown { height: 1fr; }
            FooterKey.-command-palette { display: none; }
        }
        &.-short {
            #run-phases { height: 1; }
            #run-middle, #run-log-pane { display: none; }
        }
        &.-log {
            #run-log-pane { display: block; height: 1fr; }
            #run-phases, #run-totals, #run-entities, #run-middle, PaneBar { display: none; }
        }
        &.-empty {
            #run-going { display: none; }
            #run-empty { display: block; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: ShownRun | None = None
        self._trail: RunWatch | None = None
        self._last: RunSnapshot | None = None
        self._looks = 0
        self._look_error: GeodeTuiError | None = None
        self._day = ""
        self._told: Runner | None = None
        self._texts: dict[str, Content] = {}
        self._resumable: RunLine | None = None
        self._elsewhere: RunLine | None = None
        self._looked_at: Catalog | None = None
        self._findings: tuple[Finding, ...] = ()
        self._runs = RunList()

    def compose_body(self) -> ComposeResult:
        """Phases, totals and five panes; or what to do first."""
        with VerticalScroll(id="run-empty"):
            yield Static(id="run-empty-text", markup=False)
        with Vertical(id="run-going"):
            yield Static(id="run-phases", markup=False)
            yield Static(id="run-totals", markup=False)
            with Panes(id="run-panes"):
                with Pane("entities · enter opens", id="run-entities", brief="entities"):
                    yield EntityTable(id="entities")
                with Horizontal(id="run-middle"):
                    with Pane("rows a second", id="run-rate"):
                        yield Throughput(id="throughput")
                    with Pane("workers", id="run-workers"), VerticalScroll():
                        yield Static(id="run-workers-text", markup=False)
                    with Pane("pace", id="run-pace"), VerticalScroll():
                        yield Static(id="run-pace-text", markup=False)
                with Pane("log · l alone", id="run-log-pane", brief="log"):
                    yield Log(id="run-log", max_lines=_LOG_LINES)

    def on_mount(self) -> None:
        """Sample the run, less often over a slow line; look into the journal each second."""
        super().on_mount()
        self.add_class("-empty")
        self.set_interval(1.0 if "SSH_CONNECTION" in os.environ else 0.25, self._tick)
        self.set_interval(1.0, self._look)

    def refresh_view(self) -> None:
        """Show the run as it is now, or what to do first."""
        self._tick()
        self._look()
        if not self.going:
            self._look_up()

    def show_item(self, item: str) -> None:
        """Open the run of that number."""
        if item.isdecimal():
            self.workspace.open_run(int(item))
            self.refresh_view()

    # What to do first.

    @work(exclusive=True, group="lookup", exit_on_error=False)
    async def _look_up(self) -> None:
        """Find what can be resumed or watched, and what the assessment says."""
        self._looked_at = self.workspace.catalog
        lines = await asyncio.to_thread(self._runs.lines)
        self._resumable, self._elsewhere = newest_resumable(lines), newest_going(lines)
        self._findings = await asyncio.to_thread(self.workspace.findings)
        self.query_one("#run-empty-text", Static).update(self._what_first())
        self.refresh_bindings()

    def _what_first(self) -> Content:
        space = self.workspace
        parts: list[tuple[str, str]] = [("no run yet\n\n", "bold")]
        if space.source is None or space.history is None or space.catalog is None:
            parts += [_key("1"), ("  connect to a source, and name a target\n", "")]
        elif not space.target_place:
            parts += [_key("1"), ("  name a target, such as shop.grafeo\n", "")]
        else:
            parts += [
                _key("r"),
                ("  start this run:\n\n", ""),
                (plan_of(space, self._findings) + "\n", ""),
            ]
        if self._elsewhere is not None:
            offer = _offer("watch", self._elsewhere, "which goes in another process")
            parts += [("\n", ""), _key("w"), (offer, "")]
        if self._resumable is not None:
            line = self._resumable
            parts += [("\n", ""), _key("R"), (_offer("go on with", line, line.state), "")]
        if self._elsewhere is not None or self._resumable is not None:
            parts += [("\n", ""), _key("6"), ("  every run there was\n", "")]
        return Content.assemble(*parts)

    # Sampling.

    def _tick(self) -> None:
        """Sample the counters: they are in memory, whoever the run is driven by."""
        shown = self.workspace.shown_run
        self.set_class(shown is None, "-empty")
        if shown is not self._shown:
            self._begin(shown)
        if shown is None:
            if self.is_current and self._looked_at is not self.workspace.catalog:
                self._look_up()
        else:
            self._sample(shown)
            if self.is_current:  # behind a dialog each change would have all of it drawn again
                with self.app.batch_update():
                    self._show_sight(shown)
        self._tell_own_end()

    def _begin(self, shown: ShownRun | None) -> None:
        """Another run is shown from now on."""
        self._shown, self._last, self._trail, self._looks = shown, None, None, 0
        self._look_error, self._day = None, ""
        self.query_one(Throughput).clear()
        self.query_one(EntityTable).show_entities(())
        self.query_one(Log).clear()
        self.refresh_bindings()
        if self.is_current and shown is not None:
            self.query_one(EntityTable).focus()

    def _sample(self, shown: ShownRun) -> None:
        """Take the rate of now, once the journal's of before are there."""
        if isinstance(shown, Runner):
            shown.events()  # the log is the journal's: it has those of before, too
        snapshot = shown.snapshot()
        if snapshot.state == "running" and self._looks:
            told = shown.sight.told if isinstance(shown, RunWatch) and shown.sight else None
            sample = Sample(told or time.time(), snapshot.rate, bool(snapshot.pace))
            self.query_one(Throughput).add([sample])

    def _show_sight(self, shown: ShownRun) -> None:
        if isinstance(shown, RunWatch) and shown.sight is None:
            words = "✗ " + self._look_error.what if self._look_error else "… reading the journal"
            self._update("#run-phases", Content(f"run {shown.run_number}  {one_line(words)}"))
            return
        self.show_snapshot(shown.snapshot(), *self._about(shown))

    def _about(self, shown: ShownRun) -> tuple[str, float | None]:
        """Where the run is shown from, and for how long its process has been silent."""
        if self._look_error is not None:
            return f"✗ {self._look_error.what}", None
        if not isinstance(shown, RunWatch) or shown.sight is None:
            return "", None
        record = shown.sight.record
        moved = f"{record.source} ─▶ {record.place}"
        if record.state == "running":
            return f"in another process: {moved}", shown.sight.silence(time.time())
        if record.state == "rolling back":
            return f"being rolled back: {moved}", None
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started))
        return f"{record.state}, reopened: {moved}, {begun}", None

    def show_snapshot(
        self, snapshot: RunSnapshot, note: str = "", silence: float | None = None
    ) -> None:
        """Show the counters; what did not change is not drawn."""
        self._update("#run-phases", phases_text(snapshot, note, silence))
        if snapshot == self._last:
            return
        changed = self._last is None or self._last.state != snapshot.state
        self._last = snapshot
        self.query_one(Throughput).show_whole(snapshot.state != "running")
        self.query_one(EntityTable).show_entities(snapshot.entities)
        self._update("#run-totals", totals_text(snapshot))
        self._update("#run-workers-text", workers_text(snapshot))
        self._update("#run-pace-text", pace_text(snapshot))
        if changed:
            going = snapshot.state == "running"
            keys = (" · +  -", " · t throttle · b batch") if going else ("", "")
            self.query_one("#run-workers", Pane).set_title(f"workers{keys[0]}", "workers")
            self.query_one("#run-pace", Pane).set_title(f"pace{keys[1]}", "pace")
            self.refresh_bindings()
        self.refresh_status()

    def _update(self, selector: str, text: Content) -> None:
        if self._texts.get(selector) != text:
            self._texts[selector] = text
            self.query_one(selector, Static).update(text)

    @work(exclusive=False, group="look", exit_on_error=False)
    async def _look(self) -> None:
        """Read the journal of the run that is shown, unless such a look is under way."""
        trail = self._trail_of(self._shown)
        looking = sum(worker.group == "look" and worker.is_running for worker in self.workers)
        if trail is None or looking > 1:
            return
        try:
            await asyncio.to_thread(trail.look, trail is self._shown)
            self._look_error = None
        except GeodeTuiError as error:
            self._look_error = error
        if self._trail is not trail:
            return
        self._looks += 1
        lines, self._day = log_lines(trail.events(), self._day)
        if lines:
            self.query_one(Log).write_lines(lines)
        live = self._last is not None and self._last.state == "running"
        metrics = trail.metrics()
        if metrics and (self._looks == 1 or not live):
            samples = [Sample(mark.at, mark.rate, bool(mark.note)) for mark in metrics]
            self.query_one(Throughput).add(samples)

    def _trail_of(self, shown: ShownRun | None) -> RunWatch | None:
        """What reads the journal of a run: the run itself, or for one of our own a reader."""
        if isinstance(shown, RunWatch):
            self._trail = shown
        elif self._trail is None and shown is not None and shown.run_number is not None:
            self._trail = RunWatch(shown.run_number)
        return self._trail

    def _tell_own_end(self) -> None:
        """Say how the run of this sitting ended, on whatever screen one is."""
        runner = self.workspace.runner
        if runner is None or runner is self._told or not runner.finished:
            return
        self._told = runner
        self.refresh_bindings()
        self._look()
        self._look_up()
        snapshot, error = runner.snapshot(), runner.error
        if error is None:
            ledger = runner.ledger
            differing = sum(not entry.balanced for entry in ledger.entries) if ledger else 0
            words = f"{counted(differing, 'entry', 'entries')} differ"
            verdict = words if differing else "balanced"
            severity = "warning" if differing else "information"
            self._toast(f"run {snapshot.run} is done: {verdict} · 5 report", severity)
        elif isinstance(error, RunStopped):
            self._toast(f"run {snapshot.run} stopped safely · R on screen 4 goes on", "warning")
        elif self.is_current:
            self.show_error(error)
        else:
            self._toast(f"the run failed: {error.what} · 4 run", "error")

    def _toast(self, message: str, severity: str) -> None:
        self.app.notify(one_line(message), severity=severity, timeout=10, markup=False)  # type: ignore[arg-type]

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now is offered."""
        own = self.workspace.runner
        own_goes = own is not None and not own.finished
        shown = self.workspace.shown_run
        if action == "start":
            return not own_goes and not self.going
        if action == "resume":
            return not own_goes and not self.going and self._to_resume() is not None
        if action == "watch":
            return shown is None and self._elsewhere is not None
        if action in ("dead_letters", "log"):
            return shown is not None
        if action == "ledger":
            return shown is not None and shown.snapshot().state in ("done", "differs")
        if action == "filter":
            return False
        return super().check_action(action, parameters)

    def _to_resume(self) -> int | None:
        """The run that R goes on with: the one that is shown, else the newest that stopped."""
        shown = self.workspace.shown_run
        if isinstance(shown, RunWatch):
            state = shown.snapshot().state
            return shown.run_number if state in ("stopped", "failed") else None
        return self._resumable.number if self._resumable else None

    def copied(self) -> str:
        """The log when it has the focus, else the row under the cursor."""
        if isinstance(self.focused, Log):
            return "\n".join(self.focused.lines)
        return super().copied()

    def action_copy_command(self) -> None:
        """Copy the command that does what is shown: the run, or a look at it."""
        if self.workspace.watch is None:
            super().action_copy_command()
            return
        follow = " --follow" if self.going else ""
        command = f"geode-tui status {self.workspace.watch.run_number}{follow}"
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    @work(exclusive=True, group="start", exit_on_error=False)
    async def action_start(self) -> None:
        """Show the plan in words; start when a person says so."""
        if await start_question(self):
            self._try(self.workspace.start_run)

    @work(exclusive=True, group="start", exit_on_error=False)
    async def action_resume(self) -> None:
        """Go on with a run that stopped."""
        number = self._to_resume()
        if number is None:
            self.say("there is no run to go on with")
            return
        record = await resume_question(self, number)
        if record is not None:
            self._try(lambda: self.workspace.resume_run(record))

    def _try(self, begin: object) -> None:
        assert callable(begin)
        try:
            begin()
        except GeodeTuiError as error:
            self.show_error(error)
        self._tick()
        self.refresh_status()

    def action_watch(self) -> None:
        """Open the run that another process drives."""
        if self._elsewhere is not None:
            self.workspace.open_run(self._elsewhere.number)
            self.refresh_view()

    def action_log(self) -> None:
        """The log alone, or again all."""
        alone = not self.has_class("-log")
        self.set_class(alone, "-log")
        (self.query_one(Log) if alone else self.query_one(EntityTable)).focus()

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        if not self.has_class("-log") and self._shown is not None:
            self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """From the log back to all; from a reopened run back to the history."""
        watch = self.workspace.watch
        if self.has_class("-log"):
            self.action_log()
        elif watch is not None:
            self.workspace.close_run()
            self.refresh_view()
            self.app.show_in("history", str(watch.run_number))

    def action_dead_letters(self) -> None:
        """List the rows that were refused."""
        self._show_letters("")

    def _show_letters(self, entity: str) -> None:
        shown = self.workspace.shown_run
        if shown is not None and shown.run_number is not None:
            self.app.push_screen(DeadLettersScreen(shown.run_number, entity))

    def action_ledger(self) -> None:
        """Show the ledger of this run."""
        shown = self.workspace.shown_run
        if shown is not None and shown.run_number is not None:
            self.app.show_in("report", str(shown.run_number))

    @on(VirtualTable.RowSelected, "#entities")
    def _opened(self) -> None:
        entity = self.query_one(EntityTable).entity
        if entity is None or self._last is None:
            return

        def closed(answer: str | None) -> None:
            if answer:
                self._show_letters(answer)

        self.app.push_screen(EntityDialog(self._last.run, entity), closed)


def _key(key: str) -> tuple[str, str]:
    return key, "bold $text-accent"


def _offer(verb: str, line: RunLine, state: str) -> str:
    moved = f"{line.source} ─▶ {line.place}"
    return one_line(f"  {verb} run {line.number}, {state}: {moved}") + "\n"
