"""A few rows of the source with what an expression, a condition or an order makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len
from textual.content import Content

from geode_tui.migration.preview import PreviewRow, PreviewRows
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import counted
from geode_tui.widgets.row_pairs import graph_text
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

PreviewKind = Literal["expression", "condition", "ordering"]

_WIDEST = 28
_WORDS = {"condition": ("✓ moved", "– left out"), "ordering": ("✓ kept", "– left out")}


class PreviewTable(FigureTable):
    """Rows before and after; a row that PostgreSQL refuses has its message."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(empty="", id=id)
        self._rows: Sequence[PreviewRow] = ()
        self._kind: PreviewKind = "expression"

    @property
    def chosen(self) -> PreviewRow | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def show_message(self, text: str) -> None:
        """Show a text in place of rows."""
        self._rows = ()
        self.set_columns(())
        self.set_empty(text)
        self.set_rows(())

    def show_rows(self, shown: PreviewRows, result: str, kind: PreviewKind) -> None:
        """Show rows under the titles of their columns, with the result last."""
        self._rows, self._kind = shown.rows, kind
        columns = [TableColumn("", 10)]
        for number, name in enumerate(shown.columns):
            texts = [row.before[number] or "null" for row in shown.rows]
            columns.append(TableColumn(one_line(name), _width(name, texts)))
        if kind == "expression":
            results = [result_text(row) for row in shown.rows]
            columns.append(TableColumn(f"─▶ {one_line(result)}", max(24, _width(result, results))))
        else:
            columns.append(TableColumn("", least=24))
        self.set_columns(columns)
        self.set_empty("the table is empty")
        self.set_source(len(shown.rows), self._cells, keep_cursor=False)
        failed = shown.failed
        if failed is not None:
            self.cursor = shown.rows.index(failed)

    def _cells(self, index: int) -> Row:
        row = self._rows[index]
        before = [
            Content.styled("null" if text is None else one_line(text), "$text-muted")
            for text in row.before
        ]
        return (Content.styled(*self._state(row)), *before, *self._result(row))

    def _state(self, row: PreviewRow) -> tuple[str, str]:
        if row.failure:
            return "✗ refused", "$text-error"
        if self._kind != "expression":
            words = _WORDS[self._kind]
            return (words[0], "$text-success") if row.after else (words[1], "$text-muted")
        if row.reason:
            return "! dead", "$text-warning"
        return "✓ moves", "$text-success"

    def _result(self, row: PreviewRow) -> tuple[Content]:
        if row.failure:
            return (Content.styled(one_line(row.failure), "$text-error"),)
        if self._kind != "expression":
            return (Content(""),)
        if row.reason:
            return (Content.styled(one_line(row.reason), "$text-warning"),)
        return (Content.styled(one_line(result_text(row)), "$text-primary"),)


def result_text(row: PreviewRow) -> str:
    """What becomes of a row, or why nothing does."""
    return row.failure or row.reason or graph_text(row.after)


def preview_summary(shown: PreviewRows, kind: PreviewKind) -> tuple[str, str]:
    """What the rows say as a whole, and its style."""
    rows = [row for row in shown.rows if not row.failure]
    refused = len(shown.rows) - len(rows)
    if refused:
        more = "" if shown.complete else " at least"
        word = f"✗ PostgreSQL refuses{more} {counted(refused, 'row')}: a run would stop there"
        return word, "$text-error"
    if not rows:
        return "", ""  # the table says so itself
    if kind == "expression":
        dead = sum(bool(row.reason) for row in rows)
        if dead:
            return f"! {dead:,} of {counted(len(rows), 'row')} go to the dead letters", (
                "$text-warning"
            )
        return f"✓ {counted(len(rows), 'row')}, before ─▶ after", "$text-success"
    kept = sum(bool(row.after) for row in rows)
    word = "moved" if kind == "condition" else "kept"
    return f"{kept:,} of {counted(len(rows), 'row')} {word}, {len(rows) - kept:,} left out", ""


def _width(title: str, texts: Sequence[str]) -> int:
    widest = max([cell_len(one_line(title)), *(cell_len(one_line(text)) for text in texts)])
    return min(_WIDEST, max(4, widest))
