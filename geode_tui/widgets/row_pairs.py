"""Sampled rows before and after: what PostgreSQL holds, and the graph value it becomes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from textual.content import Content

from geode_tui.catalog import Table
from geode_tui.mapping.extract import Extract
from geode_tui.mapping.model import NodeRule, Rule
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

_WIDEST = 30
_ARROW = " ─▶ "


@dataclass(frozen=True, slots=True)
class Pair:
    """A value on both sides; `before` is None where the source row was not sampled."""

    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether the graph shows the value in another form."""
        return self.before is not None and self.before != self.after

    @property
    def text(self) -> str:
        """`12.3400 ─▶ 12.34`, or the value alone where both are written alike."""
        return f"{self.before}{_ARROW}{self.after}" if self.changed else self.after


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Titles, rows of pairs, and for each row why it cannot be carried (empty: it can)."""

    titles: tuple[str, ...]
    rows: tuple[tuple[Pair, ...], ...]
    rejections: tuple[str, ...]


def pair_rows(
    extract: Extract, before: Sequence[Sequence[str | None]], after: Sequence[Sequence[Any]]
) -> PairedRows:
    """Put graph rows next to the source rows with the same key."""
    rule, table = extract.rule, extract.table
    columns = [_source_column(rule, name) for name in extract.properties]
    titles = []
    if not isinstance(rule, NodeRule):
        titles += [f"start {rule.start.node}.{name}" for name in extract.start_key]
        titles += [f"end {rule.end.node}.{name}" for name in extract.end_key]
    titles += [
        column if column in (name, f"ƒ {name}") else f"{column}{_ARROW}{name}"
        for column, name in zip(columns, extract.properties, strict=True)
    ]
    sampled = _by_key(table, extract.cursor_columns, before)
    ends = len(extract.start_key) + len(extract.end_key)
    rows = []
    for values in after:
        key = tuple(values[extract.cursor_at :])
        source = sampled.get(key) if key else None
        pairs = [Pair(None, graph_text(value)) for value in values[:ends]]
        for column, value in zip(columns, values[extract.property_slice], strict=True):
            text = _source_text(source, table, column)
            same = text is not None and _alike(text, value)
            pairs.append(Pair(None, text or "") if same else Pair(text, graph_text(value)))
        if extract.label_at is not None:
            label = values[extract.label_at]
            pairs.append(Pair(None, f":{label}" if label else "–"))
        rows.append(tuple(pairs))
    if extract.label_at is not None:
        titles.append("label")
    reasons = tuple(values[extract.fingerprint_at + 1] or "" for values in after)
    return PairedRows(tuple(titles), tuple(rows), reasons)


def _source_column(rule: Rule, name: str) -> str:
    """The column that a property is read from: `ƒ name`, `join.column` where it is not its own."""
    item = rule.property_named(name)
    if item is None:
        return name
    if item.expression:
        return f"ƒ {name}"
    return f"{item.join}.{item.column}" if item.join else item.column


def graph_text(value: Any) -> str:
    """A graph value as a person reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"\\x{value[:32].hex()}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(graph_text, value))}]"
    return str(value)


def _by_key(
    table: Table, key: Sequence[str], rows: Sequence[Sequence[str | None]]
) -> dict[tuple[str | None, ...], Sequence[str | None]]:
    places = [table.column_names.index(name) for name in key]
    return {tuple(row[place] for place in places): row for row in rows} if places else {}


def _source_text(row: Sequence[str | None] | None, table: Table, column: str) -> str | None:
    if row is None or column not in table.column_names:
        return None
    text = row[table.column_names.index(column)]
    return "null" if text is None else text


def _alike(text: str, value: Any) -> bool:
    """Whether a source text and a graph value differ in their spelling only."""
    if isinstance(value, bool):
        return text == ("t" if value else "f")
    if isinstance(value, datetime.datetime):
        try:
            parsed = datetime.datetime.fromisoformat(text)
        except ValueError:
            return False
        return parsed == value
    return text == graph_text(value)


class RowPairs(VirtualTable):
    """Sampled rows of the selected rule; only cells that change are lit."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(empty="no rows", id=id, classes=classes)
        self._shown = PairedRows((), (), ())

    def show_message(self, text: str) -> None:
        """Show a text in place of rows."""
        self._shown = PairedRows((), (), ())
        self.set_columns(())
        self.set_empty(text)
        self.set_rows(())

    def show_rows(self, shown: PairedRows) -> None:
        """Show these rows."""
        self._shown = shown
        widths = [cell_len(one_line(title)) for title in shown.titles]
        for row in shown.rows:
            widths = [max(w, cell_len(one_line(p.text))) for w, p in zip(widths, row, strict=True)]
        columns = [TableColumn("state", 9)] if any(shown.rejections) else []
        columns += [
            TableColumn(one_line(title), min(_WIDEST, max(4, width)))
            for title, width in zip(shown.titles, widths, strict=True)
        ]
        self.set_columns(columns)
        self.set_empty("the table is empty")
        self.set_source(len(shown.rows), self._cells, keep_cursor=False)

    def _cells(self, index: int) -> Row:
        cells = [_lit(pair) for pair in self._shown.rows[index]]
        if any(self._shown.rejections):
            dead = bool(self._shown.rejections[index])
            state = ("! dead", "$text-warning") if dead else ("✓ moves", "$text-success")
            return [Content.styled(*state), *cells]
        return cells

    @property
    def rejection(self) -> str:
        """Why the row under the cursor cannot be carried, empty when it can."""
        reasons = self._shown.rejections
        return reasons[self.cursor] if self.cursor < len(reasons) else ""


def _lit(pair: Pair) -> Content | str:
    if not pair.changed:
        return pair.text
    return Content.assemble(
        (pair.before or "", "$text-muted"), (_ARROW, "$text-muted"), (pair.after, "$text-primary")
    )
