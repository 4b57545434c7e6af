"""An entity-relationship diagram as lines of text, each piece with the part that it plays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from geode_tui.catalog import TableName
from geode_tui.widgets.er_model import Box, Diagram, Link, More, Row, Side
from geode_tui.widgets.er_routing import LEFT, RIGHT, glyph
from geode_tui.widgets.text import fit

Role = Literal["border", "middle", "title", "name", "type", "mark", "note", "line", "more"]

MANY_AT_LEFT, MANY_AT_RIGHT, ONE = ">", "<", "1"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text at column `x` of a line; `table` and `column` say what it belongs to, where it does."""

    x: int
    text: str
    role: Role
    table: TableName | None = None
    column: str = ""


def draw(diagram: Diagram, chosen: Link | None = None) -> list[list[Piece]]:
    """The pieces of each line, from left to right; the line of `chosen` lies above the others."""
    lines: list[list[Piece]] = [[] for _ in range(diagram.height)]
    joints = {(x, y) for link in diagram.links for x, y in (*link.starts, *link.ends)}
    for box in diagram.boxes:
        _draw_box(box, lines, joints)
    for (x, y), character in _line_cells(diagram, chosen).items():
        lines[y].append(Piece(x, character, "line"))
    for some in diagram.more:
        lines[some.y].append(_more(some))
    for line in lines:
        line.sort(key=lambda piece: piece.x)
    return lines


def text(diagram: Diagram) -> str:
    """The diagram as plain text."""
    made = []
    for line in draw(diagram):
        shown = ""
        for piece in line:
            shown += " " * (piece.x - cell_len(shown)) + piece.text
        made.append(shown)
    return "\n".join(made)


def _more(some: More) -> Piece:
    return Piece(some.x, some.text, "more")


def _draw_box(box: Box, lines: list[list[Piece]], joints: set[tuple[int, int]]) -> None:
    frame: Role = "middle" if box.side == "middle" else "border"
    table, right = box.table, box.x + box.width - 1
    inner = box.width - 2
    title = box.title if cell_len(box.title) <= inner - 4 else fit(box.title, max(1, inner - 4))
    rest = "─" * (inner - 3 - cell_len(title))
    lines[box.y] += [
        Piece(box.x, "╭─ ", frame, table),
        Piece(box.x + 3, title, "title", table),
        Piece(box.x + 3 + cell_len(title), f" {rest}╮", frame, table),
    ]
    for y, row in enumerate(box.rows, box.y + 1):
        beside = (box.x - 1, y) in joints, (right + 1, y) in joints
        line = lines[y]
        line.append(Piece(box.x, "┤" if beside[0] else "│", frame, table))
        line.extend(_row_pieces(box, row))
        line.append(Piece(right, "├" if beside[1] else "│", frame, table))
    note = f" {box.note} " if box.note and len(box.note) + 4 <= inner else ""
    left = "╰" + "─" * (inner - len(note) - 1)
    lines[box.y + box.height - 1] += [
        Piece(box.x, left, frame, table),
        Piece(box.x + len(left), note, "note", table),
        Piece(box.x + len(left) + len(note), "─╯", frame, table),
    ]


def _row_pieces(box: Box, row: Row) -> Iterable[Piece]:
    """Name, type and key marks of a row, in columns of their own where they fit."""
    room = box.width - 4
    marks = max((len(some.mark) for some in box.rows), default=0)
    types = max((cell_len(some.type) for some in box.rows), default=0)
    room -= (marks + 1 if marks else 0) + (types + 1 if types else 0)
    x = box.x + 1
    name = " " + fit(row.text, room)
    yield Piece(x, name, "name" if row.column else "note", box.table, row.column)
    x += cell_len(name)
    if types:
        yield Piece(x, " " + fit(row.type, types), "type", box.table, row.column)
        x += types + 1
    if marks:
        yield Piece(x, " " + row.mark.ljust(marks), "mark", box.table, row.column)
        x += marks + 1
    yield Piece(x, " ", "name", box.table, row.column)


def _line_cells(diagram: Diagram, chosen: Link | None) -> dict[tuple[int, int], str]:
    """The characters of all lines by cell."""
    bits: dict[tuple[int, int], list[int]] = {}
    for line in diagram.lines:
        joined: dict[tuple[int, int], int] = {}
        for link in line:
            for cell, some in link.cells.items():
                joined[cell] = joined.get(cell, 0) | some
        for cell, some in joined.items():
            bits.setdefault(cell, []).append(some)
    shown = {cell: glyph(some) for cell, some in bits.items()}
    for link in diagram.links:
        _set_marks(link, diagram, shown)
    for cell, some in chosen.cells.items() if chosen else ():
        if some == LEFT | RIGHT and shown[cell] == "│":
            shown[cell] = "─"
    return shown


def _set_marks(link: Link, diagram: Diagram, shown: dict[tuple[int, int], str]) -> None:
    """Many or one at the foreign key, one at the key; many wins where they meet."""
    for cell in link.ends:
        if shown[cell] not in (MANY_AT_LEFT, MANY_AT_RIGHT):
            shown[cell] = ONE
    many = MANY_AT_LEFT if _is_at_left(link, diagram) else MANY_AT_RIGHT
    for cell in link.starts:
        if not link.one:
            shown[cell] = many
        elif shown[cell] not in (MANY_AT_LEFT, MANY_AT_RIGHT):
            shown[cell] = ONE


def _is_at_left(link: Link, diagram: Diagram) -> bool:
    """Whether the foreign key's table is left of the line."""
    side: Side = link.side
    return (link.owner == diagram.table) == (side == "right")
