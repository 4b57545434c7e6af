"""One entity of a run: its figures, its chunks, and its rule with the statements."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.getters import app as app_of
from textual.widgets import Static

from geode_tui.catalog import Catalog
from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.extract import compile_extract
from geode_tui.mapping.model import Mapping, NodeRule, Rule
from geode_tui.migration.chunks import ChunkLine
from geode_tui.migration.events import EntityProgress
from geode_tui.migration.journal import Journal
from geode_tui.screens.base import WorkspaceApp
from geode_tui.screens.dialogs import Dialog
from geode_tui.source.dsn import without_password
from geode_tui.widgets.chunk_table import ChunkTable
from geode_tui.widgets.entity_table import (
    chunks_text,
    entity_title,
    eta_text,
    rows_text,
    state_text,
)
from geode_tui.widgets.figures import counted, rate, size
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.statement import pretty_sql, written_gql
from geode_tui.widgets.text import many_lines, one_line

_FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class EntityDetail:
    """What is read of an entity when it is opened: its rule, and its statements."""

    rule: str
    sql: str = ""
    gql: str = ""


class EntityDialog(Dialog[str | None]):
    """An entity; answers with its id where its dead letters are wanted."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="entity.copy", tooltip="Copy what has the focus"),
        Binding("tab", "pane(1)", "next", id="entity.next", tooltip="Next part"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous",
            show=False,
            id="entity.previous",
            tooltip="Previous part",
        ),
        Binding(
            "d",
            "dead_letters",
            "dead letters",
            id="entity.dead",
            tooltip="The dead letters of this entity",
        ),
    ]
    DEFAULT_CSS = """
    EntityDialog {
        & > .dialog { width: 96%; max-width: 150; height: 94%; }
        & #entity-facts { height: auto; max-height: 6; margin-bottom: 1; }
        & #entity-statements { height: 12; }
        & ChunkTable { background: $surface; }
        & Pane VerticalScroll { padding: 0 1; }
        & Pane Static { height: auto; }
        &.-narrow #entity-statements { height: auto; }
        &.-narrow #entity-statements.-holds-shown { height: 1fr; }
    }
    """

    app = app_of(WorkspaceApp)

    def __init__(self, run: int, entity: EntityProgress) -> None:
        super().__init__()
        self.title_text = entity_title(entity.id)
        self._run = run
        self._entity = entity
        self._detail = EntityDetail("")

    def compose_dialog(self) -> ComposeResult:
        """The figures, the chunks, the rule and both statements."""
        yield Static(facts_text(self._entity), id="entity-facts")
        with Panes():
            with Pane("chunks", id="entity-chunks"):
                yield ChunkTable(id="chunks")
            with Horizontal(id="entity-statements"):
                for name in ("rule", "SQL", "GQL"):
                    with (
                        Pane(name, id=f"pane-{name.lower()}"),
                        VerticalScroll(id=f"entity-{name.lower()}"),
                    ):
                        yield Static("…", markup=False)

    def on_mount(self) -> None:
        """Start on the chunks, and keep them fresh."""
        self.query_one(ChunkTable).focus()
        self._read()
        self._read_chunks(False)
        self.set_interval(_FRESH_SECONDS, lambda: self._read_chunks(True))

    @work(exclusive=True, group="entity", exit_on_error=False)
    async def _read(self) -> None:
        space = self.app.workspace
        source = without_password(space.source_dsn)
        try:
            self._detail = await asyncio.to_thread(
                read_detail, self._run, self._entity.id, space.catalog, source
            )
        except GeodeTuiError as error:
            self._detail = EntityDetail(str(error))
        shown = {"rule": self._detail.rule, "sql": self._detail.sql, "gql": self._detail.gql}
        for name, text in shown.items():
            static = self.query_one(f"#entity-{name}").query_one(Static)
            static.update(Content(many_lines(text or "–")))

    @work(group="entity-chunks", exit_on_error=False)
    async def _read_chunks(self, again: bool) -> None:
        if again and not self._goes():
            return
        with contextlib.suppress(GeodeTuiError):  # the run's screen says it
            chunks = await asyncio.to_thread(read_chunks, self._run, self._entity.id)
            self.query_one(ChunkTable).show_chunks(chunks, keep_cursor=again)

    def _goes(self) -> bool:
        """Whether the run goes; its newest figures are shown then."""
        shown = self.app.workspace.shown_run
        if shown is None or shown.finished or not self.is_current:
            return False
        for entity in shown.snapshot().entities:
            if entity.id == self._entity.id and entity != self._entity:
                self._entity = entity
                self.query_one("#entity-facts", Static).update(facts_text(entity))
        return True

    def action_pane(self, steps: int) -> None:
        """Go to another part."""
        self.query_one(Panes).go(steps)

    def action_dead_letters(self) -> None:
        """Close, and show the dead letters of this entity."""
        self.dismiss(self._entity.id)

    def action_copy(self) -> None:
        """Copy what has the focus."""
        focused = self.focused
        part = focused.id if focused is not None else None
        texts = {
            "entity-sql": self._detail.sql,
            "entity-gql": self._detail.gql,
            "entity-rule": self._detail.rule,
        }
        if isinstance(focused, ChunkTable) and focused.row_count:
            self.copy(focused.row_text(focused.cursor))
        else:
            self.copy(texts.get(part or "") or facts_text(self._entity).plain)


def facts_text(entity: EntityProgress) -> Content:
    """State, rows, rates, chunks and what was left out, in four lines."""
    now = f"{rate(entity.rate)} now, " if entity.rate else ""
    average = (
        f"{rate(entity.average_rate)} average"
        if entity.average_rate
        else ("" if entity.rate else "–")
    )
    eta = f", {eta_text(entity)} left" if entity.eta_seconds is not None else ""
    retried = counted(entity.retries, "retry", "retries")
    left_out = counted(entity.dead, "dead letter") + ", " + counted(entity.orphans, "orphan")
    wave = f" · wave {one_line(entity.wave)}" if entity.wave else ""
    lines = (
        ("state", f"{one_line(state_text(entity))}{wave}"),
        ("rows", f"{rows_text(entity)} · {size(entity.bytes)} read"),
        ("speed", f"{now}{average}{eta}"),
        ("chunks", f"{chunks_text(entity) or 'none yet'} · {retried}"),
        ("left out", left_out),
    )
    parts: list[tuple[str, str]] = []
    for name, text in lines:
        parts += [(f"{name:<9}", "$text-muted"), (f"{text}\n", "")]
    return Content.assemble(*parts[:-1], (parts[-1][0].rstrip("\n"), ""))


def read_chunks(run: int, entity: str) -> Sequence[ChunkLine]:
    """The chunks of an entity. Raises GeodeTuiError."""
    with contextlib.closing(Journal()) as journal:
        return journal.chunks.lines(run, entity)


def read_detail(run: int, entity: str, catalog: Catalog | None, source: str) -> EntityDetail:
    """The rule of an entity by the run's own mapping; `catalog` is that of `source`.

    The SELECT is there where the catalog is that of the run's source. Raises GeodeTuiError.
    """
    with contextlib.closing(Journal()) as journal:
        record, mapping = journal.run(run), journal.mapping(run)
    rule = mapping.rule(entity)
    if rule is None:
        return EntityDetail("no rule of the mapping")
    sql = "the SELECT is shown when this sitting is connected to the run's source"
    if catalog is not None and record.source_dsn == source:
        sql = _select(rule, mapping, catalog)
    return EntityDetail(rule_text(rule, mapping), sql, written_gql(rule, mapping))


def _select(rule: Rule, mapping: Mapping, catalog: Catalog) -> str:
    try:
        extract = compile_extract(rule, mapping, catalog)
    except GeodeTuiError as error:
        return str(error)
    return pretty_sql(extract.first_sql if extract.keyed else extract.sample_sql(None))


def rule_text(rule: Rule, mapping: Mapping) -> str:
    """What a rule makes of which table, in words."""
    if isinstance(rule, NodeRule):
        lines = [f"{rule.table} ─▶ node {rule.label}"]
        lines.append(f"key  {', '.join(rule.key) or 'none: the place of the row'}")
    else:
        lines = [f"{rule.table} ─▶ relationship {rule.type}"]
        lines.append(f"from {rule.start.node} to {rule.end.node}")
    if rule.where:
        lines.append(f"where {rule.where}")
    if isinstance(rule, NodeRule) and rule.keep_first:
        lines.append(f"keeps the first by {rule.keep_first}")
    wave = next((wave.name for wave in mapping.waves if rule.id in wave.rules), "")
    if wave:
        lines.append(f"wave {wave}")
    names = [item.name for item in rule.included_properties]
    lines.append(f"{counted(len(names), 'property', 'properties')}: {', '.join(names)}")
    if rule.because:
        lines.append(f"because: {rule.because}")
    return "\n".join(lines)
