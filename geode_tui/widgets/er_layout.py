"""Where the tables around one table stand on a grid of cells, and how their foreign keys run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.widgets.er_model import (
    Box,
    Diagram,
    Incoming,
    Link,
    More,
    Row,
    Side,
    box_of,
    ends_of,
    incoming_keys,
    is_unique,
    linked_columns,
    with_less_of_types,
    with_types,
)
from geode_tui.widgets.er_routing import Lanes, Net, lanes_of, trace

MOST_NEIGHBOURS = 9
_LEAST_WIDTH = 14
_SIDES: tuple[Side, Side] = ("left", "right")
_HIGHEST_MIDDLE = 6
_NO_LANE = 6


def layout(
    catalog: Catalog,
    table: Table,
    width: int,
    *,
    incoming: Incoming | None = None,
    most: int | None = MOST_NEIGHBOURS,
    whole: bool = False,
) -> Diagram:
    """The neighbourhood of `table`, in `width` cells where the boxes can be made so small.

    Tables that reference it stand at the left, those it references at the right, at most `most`
    a side. `whole` shows all columns of all tables, else the neighbours' linked ones only.
    """
    links = _links(table, incoming_keys(catalog) if incoming is None else incoming)
    middle = box_of(table, table.name, linked_columns(links, table.name), "middle", True, whole)
    middle = with_types(middle, table)
    sides: list[list[Box]] = []
    more: list[More] = []
    for side in _SIDES:
        boxes = _neighbours(catalog, links, middle, side, whole)
        shown = boxes if most is None else boxes[:most]
        if len(boxes) > len(shown):
            more.append(More(side, len(boxes) - len(shown)))
        sides.append(shown)
    left, right = sides
    shown_names = {middle.table, *(box.table for box in (*left, *right))}
    links = [link for link in links if link.neighbour in shown_names]
    heights = [sum(box.height for box in boxes) for boxes in sides]
    free = (max(*heights, middle.height) - middle.height) // 2
    middle = replace(middle, y=min(free, _HIGHEST_MIDDLE))
    left = _stacked(left, middle, [link for link in links if link.side == "left"])
    right = _stacked(right, middle, [link for link in links if link.side == "right"])
    return _Placing(middle, left, right, links, more).diagram(width)


def _links(table: Table, incoming: Incoming) -> list[Link]:
    """The foreign keys from and to a table. A table at both ends stands at the right."""
    name = table.name
    pointed_at = {key.to_table for key in table.foreign_keys}
    links = [
        Link(name, key, key.to_table, "right", is_unique(table, key)) for key in table.foreign_keys
    ]
    for referrer, key in incoming.get(name, ()):
        if referrer.name != name:
            side: Side = "right" if referrer.name in pointed_at else "left"
            links.append(Link(referrer.name, key, referrer.name, side, is_unique(referrer, key)))
    return links


def _neighbours(
    catalog: Catalog, links: Sequence[Link], middle: Box, side: Side, whole: bool
) -> list[Box]:
    """The boxes of one side, in the order of the middle's rows that they are linked with."""
    first: dict[TableName, int] = {}
    for link in links:
        if link.side == side and link.neighbour != middle.table:
            at = min(map(middle.row_of, _columns_at(link, middle.table)))
            first[link.neighbour] = min(at, first.get(link.neighbour, at))
    boxes = []
    for name in sorted(first, key=lambda name: (first[name], name)):
        own = linked_columns([link for link in links if link.neighbour == name], name)
        boxes.append(
            box_of(catalog.table(name), name, own, side, False, whole, middle.table.schema)
        )
    return boxes


def _columns_at(link: Link, table: TableName) -> tuple[str, ...]:
    return link.key.columns if link.owner == table else link.key.to_columns


def _stacked(boxes: Sequence[Box], middle: Box, links: Sequence[Link]) -> list[Box]:
    """The boxes of a side below one another, near the rows they are linked with."""
    wishes, height = [], 0
    for box in boxes:
        link = next(link for link in links if link.neighbour == box.table)
        own, other = _columns_at(link, box.table), _columns_at(link, middle.table)
        wishes.append(middle.row_of(other[0]) - box.row_of(own[0]) - height)
        height += box.height
    y = max(0, round(sum(wishes) / len(wishes))) if wishes else 0
    placed: list[Box] = []
    for box in boxes:
        box = _free_place(replace(box, y=y), placed, middle, links)
        placed.append(box)
        y = box.y + box.height
    return placed


def _free_place(box: Box, placed: list[Box], middle: Box, links: Sequence[Link]) -> Box:
    """The box as high as no two lines seem one; below the middle that always holds."""
    while box.y <= middle.y + middle.height:
        boxes = {some.table: some for some in (*placed, box, middle)}
        nets = [net for net, _ in _nets(boxes, middle.table, box.side, links)]
        if not lanes_of(nets).clashes:
            break
        box = replace(box, y=box.y + 1)
    return box


def _nets(
    boxes: Mapping[TableName, Box], middle: TableName, side: Side, links: Sequence[Link]
) -> list[tuple[Net, list[Link]]]:
    """The lines of a gutter: foreign keys to the same key share one."""
    shared: dict[object, list[Link]] = {}
    for link in links:
        if link.neighbour in boxes:
            shared.setdefault((link.key.to_table, link.key.to_columns), []).append(link)
    return [(_net(some, boxes, middle, side), some) for some in shared.values()]


def _net(
    links: Sequence[Link], boxes: Mapping[TableName, Box], middle: TableName, side: Side
) -> Net:
    inner: set[int] = set()
    outer: set[int] = set()
    for link in links:
        for table, columns in ends_of(link):
            rows = inner if table == middle else outer
            rows.update(map(boxes[table].row_of, columns))
    left, right = (outer, inner) if side == "left" else (inner, outer)
    return Net(frozenset(left), frozenset(right))


@dataclass
class _Placing:
    """Gives boxes their columns and widths, and links their cells."""

    middle: Box
    left: list[Box]
    right: list[Box]
    links: list[Link]
    more: list[More]

    def diagram(self, width: int) -> Diagram:
        """The diagram, its boxes made narrower where `width` asks for it."""
        boxes = {box.table: box for box in (*self.left, self.middle, *self.right)}
        nets: dict[Side, list[tuple[Net, list[Link]]]] = {}
        lanes: dict[Side, Lanes] = {}
        for side in _SIDES:
            links = [link for link in self.links if link.side == side]
            nets[side] = _nets(boxes, self.middle.table, side, links)
            lanes[side] = lanes_of([net for net, _ in nets[side]])
        gutters = [_gutter(lanes[side], len(nets[side])) for side in _SIDES]
        self._place(width, gutters)
        placed = {box.table: box for box in (*self.left, self.middle, *self.right)}
        lines = []
        for side in _SIDES:
            for (_, links), lane in zip(nets[side], lanes[side].of, strict=True):
                lines.append(tuple(self._traced(link, placed, side, lane) for link in links))
        links = sorted((link for line in lines for link in line), key=_reading_order)
        more = tuple(self._below(some) for some in self.more)
        ends = [box.y + box.height for box in placed.values()] + [some.y + 1 for some in more]
        wide = max(
            max(box.x + box.width for box in placed.values()) + (gutters[1] * (not self.right)),
            *(some.x + len(some.text) for some in more),
            0,
        )
        return Diagram(
            self.middle.table,
            wide,
            max(ends),
            tuple(placed.values()),
            tuple(links),
            more,
            sum(lanes[side].clashes for side in lanes),
            tuple(lines),
        )

    def _place(self, width: int, gutters: Sequence[int]) -> None:
        columns = [self.left, [self.middle], self.right]
        room = width - sum(gutters)
        over = sum(map(_natural, columns)) - room
        if over > 0:
            self.middle = with_less_of_types(self.middle, over)
            columns[1] = [self.middle]
        widths = _narrowed([_natural(boxes) for boxes in columns], room)
        x = max(0, (room - sum(widths)) // 2)
        starts = (x, x + widths[0] + gutters[0], x + sum(widths[:2]) + sum(gutters))
        placed = [
            [replace(box, x=start, width=wide) for box in boxes]
            for boxes, start, wide in zip(columns, starts, widths, strict=True)
        ]
        self.left, (self.middle,), self.right = placed

    def _traced(self, link: Link, boxes: Mapping[TableName, Box], side: Side, lane: int) -> Link:
        """The link with its line; its two ends may be at the same side of the gutter."""
        middle = self.middle
        if side == "right":
            first = middle.x + middle.width
            last = self.right[0].x - 1 if self.right else first + _least_gutter(lane) - 1
        else:
            first, last = self.left[0].x + self.left[0].width, middle.x - 1
        at_left: set[int] = set()
        at_right: set[int] = set()
        ends = []
        for table, columns in ends_of(link):
            inner = table == middle.table
            at_first = inner == (side == "right")
            rows = [boxes[table].row_of(column) for column in columns]
            (at_left if at_first else at_right).update(rows)
            ends.append(tuple((first if at_first else last, row) for row in rows))
        cells = trace(at_left, at_right, first, last, first + 2 + 2 * lane)
        return replace(link, starts=ends[0], ends=ends[1], cells=cells)

    def _below(self, more: More) -> More:
        boxes = self.left if more.side == "left" else self.right
        return replace(more, x=boxes[-1].x + 2, y=boxes[-1].y + boxes[-1].height)


def _reading_order(link: Link) -> tuple[bool, int, int]:
    """From the top down at the neighbour, the left side first."""
    rows = [y for _, y in (link.ends if link.neighbour == link.key.to_table else link.starts)]
    return link.side == "right", min(rows), min(y for _, y in link.starts)


def _least_gutter(lane: int) -> int:
    return 2 * lane + 5


def _gutter(lanes: Lanes, nets: int) -> int:
    """The width of a gutter: none where no line runs."""
    return max(_NO_LANE, 2 * lanes.count + 3) if nets else 0


def _natural(boxes: Sequence[Box]) -> int:
    """The width of a column of boxes that cuts nothing off."""
    widths = [0]
    for box in boxes:
        widths += [_LEAST_WIDTH, cell_len(box.title) + 6, len(box.note) + 6]
        widths.append(_rows_width(box.rows) + 4)
    return max(widths)


def _rows_width(rows: Sequence[Row]) -> int:
    name = max((cell_len(row.text) for row in rows), default=0)
    kind = max((cell_len(row.type) for row in rows), default=0)
    mark = max((len(row.mark) for row in rows), default=0)
    return name + (kind + 1 if kind else 0) + (mark + 1 if mark else 0)


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """The widths cut to fit, the widest first, none below what shows a few letters."""
    cut = list(widths)
    while sum(cut) > room and max(cut) > _LEAST_WIDTH:
        cut[cut.index(max(cut))] -= 1
    return cut
