"""Writing SQL for a mapping: checked while it is typed, with its effect on real rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea
from textual.worker import Worker, WorkerState

from geode_tui.catalog import Column, DataType, Table
from geode_tui.errors import GeodeTuiError, MappingError
from geode_tui.mapping.expressions import (
    compile_condition,
    compile_expression,
    compile_ordering,
    quote_name,
)
from geode_tui.mapping.model import Property
from geode_tui.mapping.preview import (
    Preview,
    condition_preview,
    expression_preview,
    ordering_preview,
)
from geode_tui.mapping.ready_made import ReadyMade, make_text, ready_made_for
from geode_tui.mapping.types import conversion, possible_types
from geode_tui.migration.preview import PreviewRow, PreviewRows, PreviewSession
from geode_tui.screens.actions import ActionCommands
from geode_tui.screens.dialogs import (
    ChoiceDialog,
    ConfirmDialog,
    Dialog,
    PromptDialog,
    TextDialog,
)
from geode_tui.source.postgres import Source
from geode_tui.widgets.preview_table import (
    PreviewKind,
    PreviewTable,
    preview_summary,
    result_text,
)
from geode_tui.widgets.sql_editor import SqlEditor
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import VirtualTable

_CALM = 0.15
"""Seconds without a key after which what was typed is checked."""
_ROWS: dict[PreviewKind, int] = {"expression": 20, "condition": 200, "ordering": 200}
_TITLES: dict[PreviewKind, str] = {
    "expression": "expression of {}",
    "condition": "rows of {} that are moved: WHERE",
    "ordering": "first row of each key of {}: ORDER BY",
}
_HINTS: dict[PreviewKind, str] = {
    "expression": "SQL over the columns of a row, for example  upper(name)  or  price * 1.2",
    "condition": "SQL that is true for the rows to move, for example  deleted_at IS NULL",
    "ordering": "columns, for example  changed_at DESC",
}
_KEY_COLUMNS = 2
_COLUMNS_SHOWN = 6
"""So many columns show the rows of a table of which no condition is written yet."""
_WIDEST_NAME = 32
_PLACE = re.compile(r"^SQL at character (\d+)")


@dataclass(frozen=True)
class Subject:
    """What is written: an expression of a property, a condition, or the order of `key`'s rows."""

    kind: PreviewKind
    table: Table
    title: str
    text: str
    item: Property | None = None
    key: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What was accepted; an empty text stands for none. `graph_type` is an expression's."""

    text: str
    graph_type: str = ""


@dataclass(frozen=True)
class _Checked:
    """A text that was checked: its type, and the SELECT that tries it (None: nothing to try)."""

    text: str
    type: DataType | None = None
    graph_type: str = ""
    columns: tuple[str, ...] = ()
    preview: Preview | None = None


class ExpressionEditor(Dialog[Written | None]):
    """An SQL expression, condition or order to write."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", "accept", id="editor.accept", tooltip="Take this SQL"),
        Binding(
            "f2", "ready_made", "ready-made", id="editor.ready-made", tooltip="Pick an expression"
        ),
        Binding("f3", "column", "column", id="editor.column", tooltip="Write a column's name"),
        Binding("f4", "type", "type", id="editor.type", tooltip="Change the graph type"),
        Binding(
            "f5", "copy", "copy", show=False, id="editor.copy", tooltip="Copy the SELECT that tries"
        ),
    ]
    COMMANDS: ClassVar[set[Any]] = {ActionCommands}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]  # noqa: RUF012
    DEFAULT_CSS = """
    ExpressionEditor {
        &.-narrow > .dialog { width: 100%; max-width: 100%; height: 1fr; }
        &.-narrow #sql { height: 4; }
        & > .dialog { width: 96%; max-width: 130; height: 94%; max-height: 44; }
        & #sql { height: 5; background: $boost; padding: 0 1; border: none; }
        & #verdict { height: auto; max-height: 5; padding: 0 1; margin: 0 0 1 0; }
        & #summary { height: 1; padding: 0 1; }
        & #preview { height: 1fr; }
    }
    """

    def __init__(self, subject: Subject, source: Source | None) -> None:
        super().__init__()
        self.title_text = _TITLES[subject.kind].format(subject.title)
        self._subject = subject
        self._type = subject.item.type if subject.item else ""
        self._session = PreviewSession(source) if source is not None else None
        self._calm: Timer | None = None
        self._checked: _Checked | None = None
        self._rows: PreviewRows | None = None
        self._wanted: _Checked | None = None
        self._reading = False

    def compose_dialog(self) -> ComposeResult:
        """The text, what is said of it, and the rows."""
        yield SqlEditor(self._subject.text, hint=_HINTS[self._subject.kind], id="sql")
        yield Static(id="verdict", markup=False)
        yield Static(id="summary", markup=False)
        yield PreviewTable(id="preview")

    @property
    def _editor(self) -> SqlEditor:
        return self.query_one("#sql", SqlEditor)

    @property
    def _table(self) -> PreviewTable:
        return self.query_one("#preview", PreviewTable)

    def on_mount(self) -> None:
        """Start behind the text."""
        self._editor.focus()
        self._editor.move_cursor(self._editor.document.end)
        self._check()

    async def on_unmount(self) -> None:
        """End the session that read the rows."""
        if self._session is not None:
            await self._session.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ready-made expressions and graph types belong to properties."""
        if action in ("ready_made", "type"):
            return self._subject.kind == "expression"
        return super().check_action(action, parameters)

    # Checking and trying.

    @on(TextArea.Changed)
    def _changed(self) -> None:
        if self._calm is not None:
            self._calm.stop()
        self._calm = self.set_timer(_CALM, self._check)

    @work(exclusive=True, group="check", exit_on_error=False)
    async def _check(self) -> None:
        text = self._editor.text.strip()
        try:
            checked = await asyncio.to_thread(self._compiled, text)
        except MappingError as error:
            self._show_error(error)
            return
        self._show_checked(checked)
        self._try(checked)

    def _compiled(self, text: str) -> _Checked:
        """Check a text. Raises MappingError."""
        subject = self._subject
        table = subject.table
        if subject.kind == "condition":
            some = compile_condition(text, table).columns if text else table.column_names
            columns = self._shown_columns(some if text else some[:_COLUMNS_SHOWN])
            return _Checked(text, preview=condition_preview(table, text or "true", columns))
        if subject.kind == "ordering":
            if not text:
                return _Checked(text)
            keys = tuple(item.column for item in subject.key if item.column)
            columns = tuple(dict.fromkeys((*keys, *compile_ordering(text, table).columns)))
            preview = ordering_preview(table, text, subject.key, columns)
            return _Checked(text, preview=preview)
        return self._compiled_expression(text)

    def _compiled_expression(self, text: str) -> _Checked:
        item, table = self._subject.item, self._subject.table
        assert item is not None
        written = text
        if not text:
            if table.column(item.column) is None:
                raise MappingError("write an expression", "the property has no column of its own")
            written = quote_name(item.column)
        found = compile_expression(written, table)
        possible = possible_types(found.type)
        graph_type = self._type if self._type in possible else possible[0]
        trial = Property(item.name, item.column, graph_type, expression=written)
        columns = self._shown_columns(found.columns)
        preview = expression_preview(table, trial, columns)
        return _Checked(text, found.type, graph_type, found.columns, preview)

    def _shown_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns to show beside the result: the key's first."""
        key = self._subject.table.primary_key
        first = key.columns[:_KEY_COLUMNS] if key else ()
        return tuple(dict.fromkeys((*first, *columns)))

    def _show_error(self, error: MappingError) -> None:
        self._checked = None
        self._wanted = None
        place = _PLACE.match(error.what)
        offset = len(self._editor.text) - len(self._editor.text.lstrip())
        self._editor.show_mark(offset + int(place[1]) - 1 if place else -1)
        first, *rest = error.lines()
        content = Content.assemble(
            (f"✗ {one_line(first)}", "$text-error"),
            *((f"\n  {one_line(line)}", "$text-muted") for line in rest),
        )
        self.query_one("#verdict", Static).update(content)
        if self._rows is not None:
            self._show_summary("below: the last text that could be read", "$text-muted")

    def _show_checked(self, checked: _Checked) -> None:
        self._checked = checked
        self._editor.show_mark(-1)
        parts = [("✓ ", "$text-success"), *self._verdict(checked)]
        self.query_one("#verdict", Static).update(Content.assemble(*parts))

    def _verdict(self, checked: _Checked) -> list[tuple[str, str]]:
        kind = self._subject.kind
        if kind != "expression":
            words = {
                ("condition", True): "rows for which this is true are moved",
                ("condition", False): "no condition: all rows are moved",
                ("ordering", True): "of rows with the same key the first is kept",
                ("ordering", False): "no order: the key is unique, all rows are moved",
            }
            return [(words[kind, bool(checked.text)], "")]
        assert checked.type is not None
        found = conversion(checked.type, checked.graph_type)
        others = [name for name in possible_types(checked.type) if name != checked.graph_type]
        parts = [
            ("" if checked.text else "the column as it is: ", ""),
            (f"{one_line(checked.type.declared)} ─▶ {checked.graph_type}", "bold"),
            (f" · {found.note}" if found.note else "", "$text-muted"),
        ]
        if checked.columns:
            parts.append((f" · reads {one_line(', '.join(checked.columns))}", "$text-muted"))
        if others:
            parts.append((f" · F4: {', '.join(others)}", "$text-muted"))
        return parts

    def _try(self, checked: _Checked) -> None:
        """Let the rows follow, one question after another: a session answers one at a time."""
        if self._session is None:
            self._rows = None
            self._show_summary("no rows: the source is a DDL file", "$text-muted")
            return
        if checked.preview is None:
            self._wanted, self._rows = None, None
            self._show_summary("", "")
            self._table.show_message("")
            return
        self._wanted = checked
        if not self._reading:
            self._reading = True
            self._read_rows(self._session)

    @work(group="preview", exit_on_error=False)
    async def _read_rows(self, session: PreviewSession) -> None:
        try:
            while (wanted := self._wanted) is not None and wanted.preview is not None:
                self._wanted = None
                self._show_summary("reading …", "$text-muted")
                try:
                    rows = await session.rows(wanted.preview, _ROWS[self._subject.kind])
                except GeodeTuiError as error:
                    self._rows = None
                    self._show_summary(f"✗ {' · '.join(error.lines())}", "$text-error")
                    continue
                if self._wanted is None:
                    self._show_rows(rows)
        finally:
            self._reading = False

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """What no one foresaw is told, not waited for."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            self._show_summary(f"✗ {type(error).__name__}: {error}", "$text-error")

    def _show_rows(self, rows: PreviewRows) -> None:
        self._rows = rows
        name = self._subject.item.name if self._subject.item else ""
        self._table.show_rows(rows, name, self._subject.kind)
        self._show_summary(*preview_summary(rows, self._subject.kind))

    def _show_summary(self, text: str, style: str) -> None:
        self.query_one("#summary", Static).update(Content.styled(one_line(text), style))

    # What a person does.

    @on(VirtualTable.RowSelected, "#preview")
    def _row_opened(self) -> None:
        row, rows = self._table.chosen, self._rows
        if row is None or rows is None:
            return
        lines = [
            f"{name}: {'null' if text is None else text}"
            for name, text in zip(rows.columns, row.before, strict=True)
        ]
        self.app.push_screen(TextDialog("a row", "\n".join([*lines, f"─▶ {result_text(row)}"])))

    @work(exclusive=True, group="accept", exit_on_error=False)
    async def action_accept(self) -> None:
        """Take the text, unless something is wrong with it."""
        text = self._editor.text.strip()
        if self._checked is None or self._checked.text != text:
            try:
                self._show_checked(await asyncio.to_thread(self._compiled, text))
            except MappingError as error:
                self._show_error(error)
                return
        checked = self._checked
        assert checked is not None
        failed = self._rows.failed if self._rows and self._wanted is None else None
        if failed is not None and checked.text:
            question = ConfirmDialog(
                "PostgreSQL refuses a row",
                f"{self._named(failed)}\n{many_lines(failed.failure)}\n\nA run would stop there.",
                yes="take it all the same",
                no="go on writing",
            )
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(Written(checked.text, checked.graph_type))

    def _named(self, row: PreviewRow) -> str:
        """A row by the values that are shown of it: `id 7 · credit 7.0000`."""
        columns = self._rows.columns if self._rows else ()
        pairs = zip(columns, row.before, strict=False)
        return one_line(" · ".join(f"{name} {text or 'null'}" for name, text in pairs))

    def action_cancel(self) -> None:
        """Leave with nothing done; a text that would be lost is asked about."""
        self._leave()

    @work(exclusive=True, group="accept", exit_on_error=False)
    async def _leave(self) -> None:
        if self._editor.text.strip() != self._subject.text.strip():
            question = ConfirmDialog(
                "leave without taking this SQL?",
                self._editor.text,
                yes="leave it",
                no="go on writing",
            )
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(None)

    @work(exclusive=True, group="accept", exit_on_error=False)
    async def action_ready_made(self) -> None:
        """Pick an expression for a column, and answer what it asks."""
        column = await self._column_for_ready_made()
        if column is None:
            return
        offered = ready_made_for(column)
        chosen = await self.app.push_screen_wait(
            ChoiceDialog(
                f"ready-made expressions for {column.name}",
                aligned([(one.id, one.title, one.description) for one in offered]),
            )
        )
        one = next((one for one in offered if one.id == chosen), None)
        if one is None:
            return
        answers = await self._answers(one, column)
        if answers is not None:
            self._type = one.graph_type
            self._editor.text = make_text(one, column, answers)
            self._editor.move_cursor(self._editor.document.end)

    async def _column_for_ready_made(self) -> Column | None:
        item, table = self._subject.item, self._subject.table
        column = table.column(item.column) if item else None
        if column is None:
            name = await self.app.push_screen_wait(self._column_dialog())
            column = table.column(name) if name is not None else None
        return column

    async def _answers(self, one: ReadyMade, column: Column) -> dict[str, str] | None:
        answers: dict[str, str] = {}
        for name, prompt, default in one.inputs:

            def problem(text: str, name: str = name) -> str:
                try:
                    made = make_text(one, column, answers | {name: text})
                    compile_expression(made, self._subject.table)
                except MappingError as error:
                    return error.what
                return ""

            answer = await self.app.push_screen_wait(
                PromptDialog(f"{one.title}: {prompt}", default, check=problem)
            )
            if answer is None:
                return None
            answers[name] = answer
        return answers

    @work(exclusive=True, group="accept", exit_on_error=False)
    async def action_column(self) -> None:
        """Write a column's name at the cursor."""
        name = await self.app.push_screen_wait(self._column_dialog())
        if name is not None:
            self._editor.insert(_spelled(name, self._subject.table))

    def _column_dialog(self) -> ChoiceDialog:
        columns = self._subject.table.columns
        choices = aligned([(c.name, c.name, c.type.declared) for c in columns])
        return ChoiceDialog(f"columns of {self._subject.table.name}", choices)

    @work(exclusive=True, group="accept", exit_on_error=False)
    async def action_type(self) -> None:
        """Pick another graph type for the result."""
        checked = self._checked
        if checked is None or checked.type is None:
            return
        choices = type_choices(checked.type)
        dialog = ChoiceDialog("graph type", choices, chosen=checked.graph_type)
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None:
            self._type = chosen
            self._check()

    def action_copy(self) -> None:
        """Copy the SELECT that tries the text."""
        if self._checked is not None and self._checked.preview is not None:
            self.copy(self._checked.preview.sql)


def aligned(choices: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Choices of an id, a name and what is said of it, with the latter below one another."""
    widest = max((cell_len(one_line(name)) for _, name, _ in choices), default=0)
    width = min(_WIDEST_NAME, widest)
    named = [(choice, one_line(name), said) for choice, name, said in choices]
    return [
        (choice, f"{name}{' ' * max(0, width - cell_len(name))}  {said}".rstrip())
        for choice, name, said in named
    ]


def type_choices(column_type: DataType) -> list[tuple[str, str]]:
    """The graph types that a PostgreSQL type can become, with what happens to the values."""
    some = possible_types(column_type)
    return aligned([(name, name, conversion(column_type, name).note) for name in some])


def _spelled(name: str, table: Table) -> str:
    """A column's name as one would write it: quoted only where it must be."""
    try:
        return name if compile_expression(name, table).columns == (name,) else quote_name(name)
    except MappingError:
        return quote_name(name)
