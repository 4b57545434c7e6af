"""What is known of one table, as the rows of tables on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from textual.content import Content

from geode_tui.catalog import Column, DataType, ForeignKey, Key, Table, TableName
from geode_tui.catalog.model import Check
from geode_tui.widgets.er_model import Incoming, key_mark
from geode_tui.widgets.schema_tree import KIND_GLYPHS
from geode_tui.widgets.text import estimate, one_line, short_bytes
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn

COLUMN_COLUMNS = (
    TableColumn("column", least=14),
    TableColumn("type", least=14),
    TableColumn("null", 4),
    TableColumn("key", 5),
    TableColumn("default", least=12),
    TableColumn("comment", least=10),
)
KEY_COLUMNS = (
    TableColumn("key", 13),
    TableColumn("columns", least=14),
    TableColumn("other table", least=18),
    TableColumn("name", least=10),
)
_WIDEST = 32
_NULL = Content.styled("∅ null", "italic $text-muted")


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line of a page: its cells, the table that enter leads to, and all that is known."""

    cells: Row
    whole: str
    leads_to: TableName | None = None


def facts_line(table: Table) -> Content:
    """Kind, rows, size, partitions, what stands in the way of reading, comment."""
    parts: list[Content | str] = [f"{KIND_GLYPHS[table.kind]} {table.kind}"]
    if table.has_storage and table.estimated_rows is not None:
        parts += [f"{estimate(table.estimated_rows)} rows", short_bytes(table.bytes)]
    elif table.has_storage and table.bytes:
        parts += ["rows unknown: never analyzed", short_bytes(table.bytes)]
    elif table.has_storage:
        parts.append("rows unknown")
    if table.kind == "partitioned":
        parts.append(f"{len(table.leaves):,} partitions")
    if not table.readable:
        parts.append(Content.styled("✗ the role may not SELECT", "$text-error"))
    if table.row_security:
        parts.append(Content.styled("! row security hides rows", "$text-warning"))
    line = Content(" · ").join([Content(p) if isinstance(p, str) else p for p in parts])
    comment = f" · {one_line(table.comment)}" if table.comment else ""
    return Content.assemble(line, (comment, "$text-muted"))


def column_rows(table: Table) -> list[Row]:
    """A row for each column."""
    return [_column_row(table, column) for column in table.columns]


def sized(columns: Sequence[TableColumn], rows: Sequence[Row]) -> list[TableColumn]:
    """The columns as wide as their cells need, within reason; the last takes what is left."""
    made = []
    for index, column in enumerate(columns):
        if column.width is None and index < len(columns) - 1:
            cells = [row[index] for row in rows]
            texts = [one_line(cell if isinstance(cell, str) else cell.plain) for cell in cells]
            widest = max([cell_len(column.title), *map(cell_len, texts)])
            column = replace(column, width=min(_WIDEST, widest))
        made.append(column)
    return made


def _column_row(table: Table, column: Column) -> Row:
    return (
        column.name,
        Content.styled(one_line(column.type.declared), "$text-accent"),
        "yes" if column.nullable else Content.styled("no", "$text-muted"),
        Content.styled(key_mark(table, column.name), "$text-warning"),
        _origin(column),
        column.comment or Content.styled(one_line(type_note(column.type)), "$text-muted"),
    )


def _origin(column: Column) -> str:
    """Where a value comes from that nobody gives."""
    if column.identity:
        return "identity"
    if column.generated is not None:
        return f"generated: {column.generated}"
    return column.default or ""


def type_note(data_type: DataType) -> str:
    """What a type is made of, where its name does not say."""
    if data_type.kind == "domain" and data_type.base:
        return f"domain over {data_type.base.declared}"
    if data_type.labels:
        return f"enum: {', '.join(data_type.labels)}"
    return "" if data_type.kind in ("base", "array") else data_type.kind


def column_text(table: Table, column: Column) -> str:
    """All that is known of a column, a line each."""
    facts = [
        ("column", column.name),
        ("table", str(table.name)),
        ("type", column.type.declared),
        ("", type_note(column.type)),
        ("null", "allowed" if column.nullable else "not allowed"),
        ("key", key_mark(table, column.name)),
        ("default", _origin(column)),
        ("comment", column.comment),
    ]
    return "\n".join(f"{name:<9}{value}" for name, value in facts if value)


def key_lines(table: Table, incoming: Incoming) -> list[PageLine]:
    """Primary and unique keys, what the table references, who references it, and checks."""
    lines = []
    if table.primary_key:
        lines.append(_own_key("primary", table.primary_key))
    lines += [_own_key("unique", key) for key in table.unique_keys]
    for key in table.foreign_keys:
        other = f"{key.to_table} {_columns(key.to_columns)}"
        lines.append(_reference("references →", key.columns, other, key, key.to_table))
    for referrer, key in incoming.get(table.name, ()):
        other = f"{referrer.name} {_columns(key.columns)}"
        lines.append(_reference("← referenced", key.to_columns, other, key, referrer.name))
    return lines + [_check(check) for check in table.checks]


def _own_key(kind: str, key: Key) -> PageLine:
    name = f"{key.name}, deferrable" if key.deferrable else key.name
    cells = (Content.styled(kind, "$text-warning"), _columns(key.columns), "", name)
    return PageLine(cells, f"{kind} key {name}\n{_columns(key.columns)}")


def _reference(
    kind: str, columns: Iterable[str], other: str, key: ForeignKey, leads_to: TableName
) -> PageLine:
    notes = [key.name]
    if not key.validated:
        notes.append("! not validated")
    if key.deferrable:
        notes.append("deferrable")
    if key.on_delete != "no action":
        notes.append(f"on delete {key.on_delete}")
    if key.obstacle:
        notes.append(f"! {key.obstacle}")
    cells = Content.styled(kind, "$text-accent"), _columns(columns), other, ", ".join(notes)
    whole = f"{kind}\n{_columns(columns)}\n{other}\n" + "\n".join(notes)
    return PageLine(cells, whole, leads_to)


def _check(check: Check) -> PageLine:
    name = check.name if check.validated else f"{check.name}, ! not validated"
    kind = Content.styled("check", "$text-muted")
    return PageLine((kind, check.expression, "", name), f"check {name}\n{check.expression}")


def _columns(names: Iterable[str]) -> str:
    return f"({', '.join(names)})"


def line_columns(lines: Sequence[PageLine], columns: Sequence[TableColumn]) -> list[TableColumn]:
    """The columns of a page, as wide as its lines need."""
    return sized(columns, [line.cells for line in lines])


def sample_columns(table: Table, rows: Sequence[Sequence[str | None]]) -> list[TableColumn]:
    """The columns of the sample, each as wide as its values need, within reason."""
    columns = []
    for index, column in enumerate(table.columns):
        texts = [one_line((row[index] or "")[:_WIDEST]) for row in rows]
        widest = max([6, cell_len(one_line(column.name)), *map(cell_len, texts)])
        columns.append(TableColumn(one_line(column.name), min(_WIDEST, widest)))
    return columns


def sample_row(row: Sequence[str | None]) -> Row:
    """The cells of a sampled row; null stands apart from every text."""
    return [_NULL if value is None else _start(value) for value in row]


def _start(value: str) -> Cell:
    return value[: _WIDEST * 2]


def row_text(table: Table, row: Sequence[str | None]) -> str:
    """A sampled row with its values whole, a paragraph each."""
    pairs = zip(table.column_names, row, strict=True)
    return "\n\n".join(f"{name}\n{'∅ null' if value is None else value}" for name, value in pairs)
