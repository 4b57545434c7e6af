"""The run: what moves, how fast, and what everything waits for."""

from __future__ import annotations

import asyncio
import os
import time
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Log, Static

from geode_tui.catalog import Catalog
from geode_tui.errors import GeodeTuiError, RunStopped
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.extract import compile_extract
from geode_tui.migration.events import Event, PhaseProgress, PhaseState, RunSnapshot
from geode_tui.migration.dead_letters import DeadLetter
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.runner import Runner
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dead_letters import SHOWN, DeadLettersDialog, letter_text
from geode_tui.screens.dialogs import ConfirmDialog, TextDialog
from geode_tui.widgets.entity_table import EntityTable, eta_text, rows_text, state_text
from geode_tui.widgets.figures import expected, percent, rate, rows, span
from geode_tui.widgets.finding_text import findings_copied
from geode_tui.widgets.run_plan import plan_text
from geode_tui.widgets.statement import pretty_sql
from geode_tui.widgets.status_line import PRODUCTION, run_share
from geode_tui.widgets.text import one_line
from geode_tui.widgets.throughput import Throughput
from geode_tui.widgets.virtual_table import VirtualTable

_PHASES: dict[PhaseState, tuple[str, str]] = {
    "waiting": ("…", "$text-muted"),
    "running": ("▶", "$text-primary"),
    "done": ("✓", "$text-success"),
    "failed": ("✗", "$text-error"),
    "stopped": ("■", "$text-warning"),
}
_LEVELS = {"info": " ", "warning": "!", "error": "✗"}
_LOG_LINES = 5_000


class RunScreen(GeodeScreen):
    """The run of the workspace, sampled a few times a second."""

    MODE = "run"
    HELP = """
# Run

Moves the rows: **assess** the mapping, **prepare** the graph, **backfill** all labels and then all
relationships, **verify** by counting and comparing both sides. The source is only read.

- **r** shows the plan in words and starts. On a source labelled PROD its name must be typed.
- **s** stops safely: the chunks in flight are finished; **R** goes on from there, also after a
  crash.
- **enter** on an entity shows its SELECT, its counts and its dead letters.
- **d** lists the dead letters: rows that the graph refused, each with its reason.
- **l** shows the log alone, and again all.

`±` marks an estimate of the planner. An orphan is a relationship row whose node is not there.
The run goes on while you look at other screens; it ends when geode-tui ends.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "start", "run", id="run.start", tooltip="Show the plan and start a run"),
        Binding(
            "R", "resume", "resume", id="run.resume", tooltip="Go on with the run that stopped"
        ),
        Binding("s", "stop", "stop safely", id="run.stop", tooltip="Stop after the rows in flight"),
        Binding(
            "d", "dead_letters", "dead letters", id="run.dead", tooltip="Rows that were refused"
        ),
        Binding("l", "log", "log", id="run.log", tooltip="The log alone, and again all"),
    ]
    CSS = """
    RunScreen {
        #run-phases, #run-totals, #run-workers { height: auto; max-height: 3; padding: 0 1; }
        #run-workers { color: $text-muted; }
        #run-empty { height: 1fr; padding: 1 2; }
        #run-log { height: 8; background: $surface; border-top: solid $foreground 25%; }
        #run-log { border-title-color: $text-muted; padding: 0 1; scrollbar-size: 0 1; }
        &.-narrow #run-log { height: 5; }
        &.-short #run-log, &.-short #run-workers, &.-short #throughput { display: none; }
        &.-short #run-totals, &.-short #run-phases { height: 1; }
        #run-going { height: 1fr; }
        &.-log #run-log { display: block; height: 1fr; }
        &.-log #run-going { display: none; }
        &.-empty #run-going, &.-empty #run-log { display: none; }
        #run-empty { display: none; }
        &.-empty #run-empty { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._runner: Runner | None = None
        self._last: RunSnapshot | None = None
        self._told = False
        self._texts: dict[str, Content] = {}
        self._resumable: RunRecord | None = None
        self._looked_at: Catalog | None = None
        self._findings: tuple[Finding, ...] = ()

    def compose_body(self) -> ComposeResult:
        """Phases, entities, totals, throughput, workers, log; or what to do first."""
        with VerticalScroll(id="run-empty"):
            yield Static(id="run-empty-text", markup=False)
        with Vertical(id="run-going"):
            yield Static(id="run-phases", markup=False)
            yield EntityTable(id="entities")
            yield Static(id="run-totals", markup=False)
            yield Throughput(id="throughput")
            yield Static(id="run-workers", markup=False)
        log = Log(id="run-log", max_lines=_LOG_LINES)
        log.border_title = "log"
        yield log

    def on_mount(self) -> None:
        """Sample the run, less often over a slow line."""
        super().on_mount()
        self.add_class("-empty")
        self.set_interval(1.0 if "SSH_CONNECTION" in os.environ else 0.25, self._tick)

    @property
    def _going(self) -> bool:
        runner = self.workspace.runner
        return runner is not None and not runner.finished

    def refresh_view(self) -> None:
        """Show the run as it is now, or what to do first."""
        self._tick()
        if self.workspace.runner is None:
            self._look_up()

    @work(exclusive=True, group="lookup", exit_on_error=False)
    async def _look_up(self) -> None:
        """Find what can be resumed and what the assessment says, for the empty screen."""
        self._looked_at = self.workspace.catalog
        self._resumable = await asyncio.to_thread(newest_resumable)
        self._findings = await asyncio.to_thread(self.workspace.findings)
        self.query_one("#run-empty-text", Static).update(self._what_first())
        self.refresh_bindings()

    def _what_first(self) -> Content:
        space = self.workspace
        parts: list[tuple[str, str]] = [("no run yet\n\n", "bold")]
        if space.source is None or space.history is None or space.catalog is None:
            parts += [
                ("1", "bold $text-accent"),
                ("  connect to a source, and name a target\n", ""),
            ]
        elif not space.target_place:
            parts += [("1", "bold $text-accent"), ("  name a target, such as shop.grafeo\n", "")]
        else:
            parts += [("r", "bold $text-accent"), ("  start this run:\n\n", "")]
            parts.append((self._plan() + "\n", ""))
        if self._resumable is not None:
            record = self._resumable
            moved = f"{record.source} ─▶ {record.target}"
            what = f"  go on with run {record.number}, {record.state}: {moved}"
            parts += [("\nR", "bold $text-accent"), (one_line(what), ""), ("\n", "")]
        return Content.assemble(*parts)

    def _plan(self) -> str:
        space = self.workspace
        assert space.source is not None
        assert space.history is not None
        assert space.catalog is not None
        return plan_text(
            space.source.name,
            space.label,
            space.target_place,
            space.history.current,
            space.catalog,
            self._findings,
            space.saved,
        )

    # Sampling.

    def _tick(self) -> None:
        runner = self.workspace.runner
        self.set_class(runner is None, "-empty")
        if runner is None:
            if self.is_current and self._looked_at is not self.workspace.catalog:
                self._look_up()
            return
        if runner is not self._runner:
            self._begin(runner)
        # Asked before the sample: whoever has finished then has its last counters in it.
        finished = runner.finished
        snapshot = runner.snapshot()
        with self.app.batch_update():
            self._write_log(runner.events())
            self.show_snapshot(snapshot)
        if finished and not self._told:
            self._told = True
            self._tell_end(runner, snapshot)

    def _begin(self, runner: Runner) -> None:
        self._runner, self._last, self._told = runner, None, False
        self.query_one(Throughput).clear()
        self.query_one(Log).clear()
        self.refresh_bindings()
        if self.is_current:
            self.query_one(EntityTable).focus()

    def show_snapshot(self, snapshot: RunSnapshot) -> None:
        """Show the counters; what did not change is not drawn."""
        if snapshot.state == "running":
            self.query_one(Throughput).add(time.monotonic(), snapshot.rate)
        if snapshot == self._last:
            return
        self._last = snapshot
        self.query_one(EntityTable).show_entities(snapshot.entities)
        self._update("#run-phases", phases_text(snapshot))
        self._update("#run-totals", totals_text(snapshot))
        self._update("#run-workers", workers_text(snapshot))
        self.refresh_status()

    def _update(self, selector: str, text: Content) -> None:
        if self._texts.get(selector) != text:
            self._texts[selector] = text
            self.query_one(selector, Static).update(text)

    def _write_log(self, events: list[Event]) -> None:
        if events:
            self.query_one(Log).write_lines([log_line(event) for event in events])

    def _tell_end(self, runner: Runner, snapshot: RunSnapshot) -> None:
        """Say how the run ended, on whatever screen one is."""
        self.refresh_bindings()
        self._resumable = None
        if snapshot.state in ("stopped", "failed"):
            self._look_up()
        error = runner.error
        if error is None:
            ledger = runner.ledger
            differing = sum(not entry.balanced for entry in ledger.entries) if ledger else 0
            verdict = f"{differing} entries differ" if differing else "balanced"
            severity = "warning" if differing else "information"
            self._toast(f"run {snapshot.run} is done: {verdict} · 5 report", severity)
        elif isinstance(error, RunStopped):
            self._toast(f"run {snapshot.run} stopped safely · R on screen 4 goes on", "warning")
        elif self.is_current:
            self.show_error(error)
        else:
            self._toast(f"the run failed: {error.what} · 4 run", "error")

    def _toast(self, message: str, severity: str) -> None:
        kind = "information" if severity == "information" else severity
        self.app.notify(one_line(message), severity=kind, timeout=10, markup=False)  # type: ignore[arg-type]

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now is offered."""
        if action == "start":
            return not self._going
        if action == "resume":
            return not self._going and self._resumable is not None
        if action == "stop":
            return self._going
        if action in ("dead_letters", "log"):
            return self.workspace.runner is not None
        return action != "filter"

    def copied(self) -> str:
        """The log when it has the focus, else the row under the cursor."""
        if isinstance(self.focused, Log):
            return "\n".join(self.focused.lines)
        return super().copied()

    @work(exclusive=True, group="start", exit_on_error=False)
    async def action_start(self) -> None:
        """Show the plan in words; start when a person says so."""
        space = self.workspace
        if space.source is None or space.history is None or space.catalog is None:
            self.say("connect to a source first: press 1")
            return
        if not space.target_place:
            self.say("name a target first: press 1")
            return
        self._findings = await asyncio.to_thread(space.findings)
        blocking = [finding for finding in self._findings if finding.blocks]
        if blocking:
            title = f"cannot start: {len(blocking)} findings must be mended first"
            self.app.push_screen(TextDialog(title, findings_copied(blocking)))
            return
        answer = await self.app.push_screen_wait(
            ConfirmDialog(
                "start a run?",
                self._plan(),
                yes="start",
                no="not now",
                type_name=self._name_to_type(),
            )
        )
        if answer:
            self._try(space.start_run)

    @work(exclusive=True, group="start", exit_on_error=False)
    async def action_resume(self) -> None:
        """Go on with the run that stopped."""
        record = await asyncio.to_thread(newest_resumable)
        if record is None:
            self.say("there is no run to go on with")
            return
        text = (
            f"run {record.number}, {record.state}\nfrom  {record.source}\nto    {record.target}\n"
            f"{record.error}\n\nRows that were written stay; it goes on after them."
        )
        name = self._name_to_type()
        dialog = ConfirmDialog("resume?", text, yes="resume", no="not now", type_name=name)
        if await self.app.push_screen_wait(dialog):
            self._try(lambda: self.workspace.resume_run(record.number))

    def _name_to_type(self) -> str:
        space = self.workspace
        production = space.label.upper() == PRODUCTION
        return space.catalog.server.database if production and space.catalog else ""

    def _try(self, begin: object) -> None:
        assert callable(begin)
        try:
            begin()
        except GeodeTuiError as error:
            self.show_error(error)
        self._tick()
        self.refresh_status()

    @work(exclusive=True, group="start", exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop after the rows in flight, when a person says so."""
        runner = self.workspace.runner
        if runner is None:
            return
        text = "The chunks in flight are finished and journaled; R goes on from there."
        dialog = ConfirmDialog("stop safely?", text, yes="stop", no="keep running")
        if await self.app.push_screen_wait(dialog):
            runner.stop()
            self.say("stopping after the chunks in flight")

    def action_log(self) -> None:
        """The log alone, or again all."""
        alone = not self.has_class("-log")
        self.set_class(alone, "-log")
        (self.query_one(Log) if alone else self.query_one(EntityTable)).focus()

    def action_back(self) -> None:
        """From the log back to all."""
        if self.has_class("-log"):
            self.action_log()

    @work(exclusive=True, group="letters", exit_on_error=False)
    async def action_dead_letters(self) -> None:
        """List the rows that were refused."""
        runner = self.workspace.runner
        number = runner.run_number if runner else None
        letters = await asyncio.to_thread(dead_letters, number) if number is not None else []
        self.app.push_screen(DeadLettersDialog(f"dead letters of run {number or '–'}", letters))

    @on(VirtualTable.RowSelected, "#entities")
    def _opened(self) -> None:
        self._show_details()

    @work(exclusive=True, group="letters", exit_on_error=False)
    async def _show_details(self) -> None:
        entity = self.query_one(EntityTable).entity
        if entity is None:
            return
        number = self._last.run if self._last else 0
        letters = await asyncio.to_thread(dead_letters, number) if entity.dead else []
        own = [letter_text(letter) for letter in letters if letter.entity == entity.id]
        lines = [
            f"state     {state_text(entity)}",
            f"rows      {rows_text(entity)}",
            f"rate      {rate(entity.rate)}, eta {eta_text(entity)}",
            f"chunks    {rows(entity.chunks_done)}, retried {rows(entity.retries)}",
            f"left out  {rows(entity.dead)} dead letters, {rows(entity.orphans)} orphans",
        ]
        statement = self._statement(entity.id)
        text = "\n".join(lines) + (f"\n\n{statement}" if statement else "")
        if own:
            text += "\n\ndead letters\n\n" + "\n\n".join(own)
        self.app.push_screen(TextDialog(entity.id, text))

    def _statement(self, entity: str) -> str:
        space = self.workspace
        if space.history is None or space.catalog is None:
            return ""
        rule = space.history.current.rule(entity)
        if rule is None:
            return ""
        try:
            extract = compile_extract(rule, space.history.current, space.catalog)
        except GeodeTuiError:
            return ""
        return pretty_sql(extract.first_sql if extract.keyed else extract.sample_sql(None))


def newest_resumable() -> RunRecord | None:
    """The newest run that can be resumed: no later run went to the same graph."""
    journal = Journal()
    try:
        records = journal.runs()
    finally:
        journal.close()
    seen = set()
    for record in records:
        place = (record.target, record.graph)
        if record.resumable and place not in seen:
            return record
        seen.add(place)
    return None


def dead_letters(number: int) -> list[DeadLetter]:
    """The first dead letters of a run."""
    journal = Journal()
    try:
        return journal.dead_letters.of(number, SHOWN)
    finally:
        journal.close()


def phases_text(snapshot: RunSnapshot) -> Content:
    """`✓ assess ─ ✓ prepare ─ ▶ backfill 62 % ─ … verify`, with the reason of the last below."""
    parts: list[tuple[str, str]] = [(f"run {snapshot.run}  ", "bold")] if snapshot.run else []
    for number, phase in enumerate(snapshot.phases):
        glyph, style = _PHASES[phase.state]
        parts.append((" ─ " if number else "", "$text-muted"))
        parts.append((f"{glyph} {phase.name}{_phase_detail(phase, snapshot)}", style))
    reasons = [f"{p.name}: {one_line(p.reason)}" for p in snapshot.phases if p.reason]
    if reasons:
        parts.append(("\n" + " · ".join(reasons), "$text-muted"))
    if snapshot.error:
        parts.append((f"\n✗ {one_line(snapshot.error)}", "$text-error"))
    return Content.assemble(*parts)


def _phase_detail(phase: PhaseProgress, snapshot: RunSnapshot) -> str:
    if phase.state == "waiting":
        return ""
    if phase.state != "running":
        known = phase.started is not None and phase.ended is not None
        return f" {span((phase.ended or 0) - (phase.started or 0))}" if known else f" {phase.state}"
    share = run_share(snapshot) if phase.name == "backfill" else None
    return f" {percent(min(share, 0.99))}" if share is not None else " running"


def totals_text(snapshot: RunSnapshot) -> Content:
    """`rows 1,234 of ±2.0 M · 38.7 k/s · elapsed 1:02 · snapshot 0:41 old`."""
    sizes = [entity.rows_estimated for entity in snapshot.entities]
    exact = all(entity.estimate_exact for entity in snapshot.entities)
    total = None if None in sizes else sum(size or 0 for size in sizes)
    of = "" if snapshot.state == "done" else f" of {expected(total, exact)}"
    parts: list[tuple[str, str]] = [
        ("rows ", "$text-muted"),
        (rows(snapshot.rows_written), "bold"),
        (of, ""),
        (" · ", "$text-muted"),
        (_speed(snapshot), "bold"),
        (" · elapsed ", "$text-muted"),
        (span(snapshot.elapsed), ""),
    ]
    if snapshot.snapshot_age is not None:
        parts += [(" · snapshot held ", "$text-muted"), (span(snapshot.snapshot_age), "")]
    return Content.assemble(*parts)


def _speed(snapshot: RunSnapshot) -> str:
    """The rate of now, once it is over that of the whole run."""
    if snapshot.state == "running":
        return rate(snapshot.rate)
    return f"{rate(snapshot.rows_written / max(snapshot.elapsed, 0.001))} over all"


def workers_text(snapshot: RunSnapshot) -> Content:
    """What each worker does or waits for."""
    doing = " · ".join(one_line(worker) for worker in snapshot.workers)
    return Content(f"workers  {doing}" if doing else "workers  none at work")


def log_line(event: Event) -> str:
    """`14:02:01 ! message`."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{clock} {_LEVELS[event.level]} {one_line(event.message)}"
