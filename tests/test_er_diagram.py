"""The entity-relationship diagram: every foreign key leads from its row to the key's row."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from geode_tui.catalog import (
    Catalog,
    Column,
    DataType,
    ForeignKey,
    Key,
    ServerFacts,
    Table,
    TableName,
)
from geode_tui.widgets.er_drawing import draw, text
from geode_tui.widgets.er_layout import layout
from geode_tui.widgets.er_model import Box, Diagram, Link, ends_of
from geode_tui.widgets.er_routing import DOWN, LEFT, RIGHT, UP
from tests.catalogs import SHOP, catalog, table

HOSTILE = ("[/foo]", "🦄🦄", "客户订单", "ü" * 31 + "x", 'a"b.c', "select", "a\nb", " ", "[b]x")
Grid = dict[tuple[int, int], str]

SHOP_ORDERS = """\
╭─ order_items ──╮      ╭─ public.orders ────╮
│ order_id PK FK ├>────1┤ id      integer PK │      ╭─ users ────╮
╰────────── ±10 ─╯      │ user_id integer FK ├>────1┤ id      PK │
                        │ ship_to integer    │      ╰────── ±10 ─╯
                        ╰────────────── ±10 ─╯"""
SHOP_USERS = """\
╭─ orders ───╮      ╭─ public.users ──────────╮
│ user_id FK ├>────1┤ id          integer PK  ├1─╮
╰────── ±10 ─╯      │ name        integer     │  │
                    │ referred_by integer FK? ├>─╯
                    ╰─────────────────── ±10 ─╯"""
FLIGHTS = catalog(
    table("airports", "id", "id"),
    table("seats", "flight day number", "flight day number"),
    table(
        "tickets",
        "id from_id to_id? flight day number",
        "id",
        (
            ("from_id", "airports", "id"),
            ("to_id", "airports", "id"),
            ("flight day number", "seats", "flight day number"),
        ),
    ),
)
TICKETS = """\
╭─ public.tickets ────╮      ╭─ airports ─╮
│ id      integer PK  │  ╭──1┤ id      PK │
│ from_id integer FK  ├>─┤   ╰────── ±10 ─╯
│ to_id   integer FK? ├>─╯   ╭─ seats ────╮
│ flight  integer FK  ├>─┬──1┤ flight  PK │
│ day     integer FK  ├>─┼──1┤ day     PK │
│ number  integer FK  ├>─┴──1┤ number  PK │
╰─────────────── ±10 ─╯      ╰────── ±10 ─╯"""


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("orders", SHOP_ORDERS), ("users", SHOP_USERS)],
    ids=["orders", "users"],
)
def test_a_neighbourhood_is_drawn_with_its_keys(name: str, drawn: str) -> None:
    """Who references at the left, what is referenced at the right, a self reference as a loop."""
    assert _drawn(SHOP, name) == drawn


def test_two_keys_to_one_table_and_a_composite_key_have_lines_of_their_own() -> None:
    assert _drawn(FLIGHTS, "tickets") == TICKETS


def _diagram(of: Catalog, name: str, width: int, whole: bool = False) -> Diagram:
    found = of.table(TableName("public", name))
    assert found is not None
    return layout(of, found, width, whole=whole)


@pytest.mark.parametrize("seed", range(60))
def test_every_foreign_key_runs_from_its_row_to_the_row_of_the_key(seed: int) -> None:
    """Read off the drawn characters alone, for wild schemas, in every width."""
    wild = _wild(random.Random(seed))
    for width in (30, 76, 150):
        for some in wild.tables:
            diagram = layout(wild, some, width, most=None)
            grid = _grid(diagram)
            assert _links_told(diagram) == _foreign_keys(wild, some)
            for link in diagram.links:
                _assert_is_drawn(link, diagram, grid)


def _drawn(of: Catalog, name: str) -> str:
    """The diagram, where there is room for all of it."""
    return textwrap.dedent(text(_diagram(of, name, 120)))


def _foreign_keys(of: Catalog, middle: Table) -> list[tuple[TableName, str]]:
    return sorted(
        (some.name, key.name)
        for some in of.tables
        for key in some.foreign_keys
        if middle.name in (some.name, key.to_table)
    )


def _links_told(diagram: Diagram) -> list[tuple[TableName, str]]:
    return sorted((link.owner, link.key.name) for link in diagram.links)


def _assert_is_drawn(link: Link, diagram: Diagram, grid: Grid) -> None:
    """One can go from each row of the foreign key to each row of its key, and nowhere wrong."""
    (owner, columns), (to_table, to_columns) = ends_of(link)
    starts = {_cell(diagram, owner, column, link) for column in columns}
    ends = {_cell(diagram, to_table, column, link) for column in to_columns}
    assert set(link.starts) == starts
    assert set(link.ends) == ends
    allowed = _sharing(link, diagram)
    for start in starts:
        reached = _walk(grid, start, diagram)
        assert ends <= reached, text(diagram)
        if not diagram.clashes:
            assert reached <= allowed, text(diagram)


def _cell(diagram: Diagram, name: TableName, column: str, link: Link) -> tuple[int, int]:
    """The cell beside a column's row, at the side where the link runs."""
    box = diagram.box(name)
    right = (name == diagram.table) == (link.side == "right")
    return box.x + box.width if right else box.x - 1, box.row_of(column)


def _sharing(link: Link, diagram: Diagram) -> set[tuple[int, int]]:
    """The rows of the link, of those that share a row with it, and so on."""
    rows = {*link.starts, *link.ends}
    grown = True
    while grown:
        grown = False
        for line in diagram.lines:
            own = {cell for some in line for cell in (*some.starts, *some.ends)}
            if own & rows and not own <= rows:
                rows |= own
                grown = True
    return rows


_WAYS = {
    "─": LEFT | RIGHT,
    "│": UP | DOWN,
    "╭": DOWN | RIGHT,
    "╮": DOWN | LEFT,
    "╰": UP | RIGHT,
    "╯": UP | LEFT,
    "├": UP | DOWN | RIGHT,
    "┤": UP | DOWN | LEFT,
    "┬": DOWN | LEFT | RIGHT,
    "┴": UP | LEFT | RIGHT,
    "┼": UP | DOWN | LEFT | RIGHT,
    ">": LEFT | RIGHT,
    "<": LEFT | RIGHT,
    "1": LEFT | RIGHT,
}
_STEPS = {UP: (0, -1), DOWN: (0, 1), LEFT: (-1, 0), RIGHT: (1, 0)}
_BACK = {UP: DOWN, DOWN: UP, LEFT: RIGHT, RIGHT: LEFT}


def _walk(grid: Grid, start: tuple[int, int], diagram: Diagram) -> set[tuple[int, int]]:
    """The row ends that one comes to along the drawn lines. What meets a line from its side, and
    is no joint, passes under it."""
    gutter = _gutter_cells(diagram)
    seen: set[tuple[tuple[int, int], int]] = set()
    todo = [(start, LEFT), (start, RIGHT)]
    reached = set()
    while todo:
        (x, y), way = todo.pop()
        if ((x, y), way) in seen:
            continue
        seen.add(((x, y), way))
        if grid[x, y] in "><1":
            reached.add((x, y))
        dx, dy = _STEPS[way]
        after = (x + dx, y + dy)
        if after not in gutter:
            continue
        ways = _WAYS[grid[after]]
        if not ways & _BACK[way]:
            todo.append((after, way))
        else:
            todo += [(after, some) for some in _STEPS if some & ways and some != _BACK[way]]
    return reached


def _gutter_cells(diagram: Diagram) -> set[tuple[int, int]]:
    return {cell for link in diagram.links for cell in link.cells}


@pytest.mark.parametrize("seed", range(40))
def test_no_line_runs_through_a_box_and_no_box_over_another(seed: int) -> None:
    wild = _wild(random.Random(1_000 + seed))
    for some in wild.tables:
        diagram = layout(wild, some, 76, most=None, whole=seed % 2 == 0)
        cells = [cell for box in diagram.boxes for cell in _cells(box)]
        assert len(cells) == len(set(cells))
        assert not set(cells) & _gutter_cells(diagram)
        assert all(0 <= x < diagram.width and 0 <= y < diagram.height for x, y in cells)
        assert not diagram.clashes


def _cells(box: Box) -> Iterator[tuple[int, int]]:
    for y in range(box.y, box.y + box.height):
        for x in range(box.x, box.x + box.width):
            yield x, y


@pytest.mark.parametrize("width", [40, 76, 300])
def test_names_are_cut_with_dots_and_never_left_out(width: int) -> None:
    """Double-width letters count as two cells, so the frames stay straight."""
    tables = [table("home", "id", "id")]
    tables += [table(n, f"id home{i}", "id", ((f"home{i}", "home", "id"),)) for i, n in
               enumerate(HOSTILE)]  # fmt: skip
    diagram = _diagram(catalog(*tables), "home", width)
    lines = draw(diagram)
    titles = [piece.text for line in lines for piece in line if piece.role == "title"]
    assert len(titles) == len(HOSTILE) + 1
    for line in lines:
        end = 0
        for piece in line:
            assert piece.x >= end
            end = piece.x + cell_len(piece.text)
            assert piece.text.isprintable()
        assert end <= diagram.width
    whole = "\n".join(titles)
    assert "🦄🦄" in whole
    assert "[/foo]" in whole
    assert ("ü" * 31 + "x" in whole) == (width > 40)
    assert ("ü…" in whole) == (width == 40)


@pytest.mark.parametrize("name", ["订" * 7, "🦄" * 7, "订" * 21, "ü" * 31])
def test_a_long_name_of_wide_letters_is_cut_to_its_box(name: str) -> None:
    """Cut by the cells it takes, not by its letters: the frame ends where the box does."""
    wide = catalog(table("home", "id", "id"), table(name, "h", "h", (("h", "home", "id"),)))
    diagram = _diagram(wide, "home", 40)
    box = next(box for box in diagram.boxes if box.side == "left")
    top = [piece for piece in draw(diagram)[box.y] if piece.table == box.table]
    assert "…" in top[1].text
    assert sum(cell_len(piece.text) for piece in top) == box.width


def test_forty_neighbours_are_told_and_shown_when_wanted() -> None:
    tables = [table("home", "id", "id")]
    tables += [
        table(f"t{number:02}", "id home", "id", (("home", "home", "id"),)) for number in range(40)
    ]
    wide = catalog(*tables)
    few = _diagram(wide, "home", 76)
    assert "+31 more" in text(few)
    assert len(few.links) == 9
    home = wide.tables[0]
    every = layout(wide, home, 76, most=None)
    assert "more" not in text(every)
    assert len(every.links) == 40


def test_a_table_in_a_schema_that_was_not_read_has_its_place() -> None:
    lonely = table("a", "id b_id", "id", (("b_id", "gone", "id"),))
    drawn = text(_diagram(catalog(lonely), "a", 76))
    assert "╭─ gone ─" in drawn
    assert " not read ─╯" in drawn


def test_a_table_of_its_own_is_drawn_alone() -> None:
    assert _drawn(SHOP, "log") == (
        "╭─ public.log ─╮\n│ at   integer │\n│ what integer │\n╰──────── ±10 ─╯"
    )


def test_a_table_without_columns_is_a_box_too() -> None:
    assert _drawn(catalog(table("zero", "")), "zero") == ("╭─ public.zero ─╮\n╰───────── ±10 ─╯")


def test_very_many_columns_are_counted_unless_wanted() -> None:
    names = " ".join(f"c{number}" for number in range(1_600))
    broad = catalog(table("broad", names, "c1599"))
    few = text(_diagram(broad, "broad", 76))
    assert "c1599" in few
    assert "+1,576 columns" in few
    assert len(_diagram(broad, "broad", 76, whole=True).boxes[0].rows) == 1_600


def test_one_or_many_at_a_foreign_key() -> None:
    """A key that is unique, or part of a unique one, has one row at its end."""
    person = table("person", "id", "id")
    profile = table("profile", "person_id", "person_id", (("person_id", "person", "id"),))
    drawn = text(_diagram(catalog(person, profile), "person", 76))
    assert "│ person_id PK FK ├1────1┤ id" in drawn


def test_two_tables_that_reference_each_other_stand_side_by_side() -> None:
    pair = catalog(
        table("a", "id b_id", "id", (("b_id", "b", "id"),)),
        table("b", "id a_id", "id", (("a_id", "a", "id"),)),
    )
    diagram = _diagram(pair, "a", 76)
    assert len(diagram.boxes) == 2
    assert len(diagram.links) == 2


def _grid(diagram: Diagram) -> Grid:
    grid: Grid = {}
    for y, line in enumerate(draw(diagram)):
        for piece in line:
            x = piece.x
            for character in piece.text:
                grid[x, y] = character
                x += cell_len(character)
    return grid


def _wild(dice: random.Random) -> Catalog:
    """Tables with foreign keys at random: to themselves, both ways, composite, several."""
    integer = DataType("integer", "int4")
    tables = []
    names = [TableName("public", name) for name in (*HOSTILE, "orders", "t")][: dice.randint(1, 11)]
    for name in names:
        columns = [f"{name.name[:20]}{n}" for n in range(6)]
        keys = []
        for number in range(dice.randint(0, 5)):
            other = dice.choice(names)
            size = dice.choice((1, 1, 1, 2, 3))
            own = tuple(dice.sample(columns, size))
            theirs = tuple(f"{other.name[:20]}{n}" for n in dice.sample(range(3), size))
            keys.append(ForeignKey(f"fk{number}", own, other, theirs))
        tables.append(
            Table(
                name,
                columns=tuple(Column(c, integer) for c in columns),
                primary_key=Key("pk", tuple(columns[:1])),
                foreign_keys=tuple(keys),
            )
        )
    return Catalog(ServerFacts(), tuple(tables))
