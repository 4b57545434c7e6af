"""The lines between two columns of boxes: which lane each takes, and where it turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
Cells = dict[tuple[int, int], int]
"""Cells (x, y) of a line, with the directions in which it goes on from each."""

_CLASH = 1_000
_MOST_SWAPS = 40


@dataclass(frozen=True, slots=True)
class Net:
    """Rows that one line joins: those at the left side of a gutter and those at its right."""

    left: frozenset[int]
    right: frozenset[int]

    @property
    def rows(self) -> frozenset[int]:
        """All rows of the line."""
        return self.left | self.right

    @property
    def straight(self) -> bool:
        """Whether it needs no lane: one row, the same at both sides."""
        return len(self.rows) == 1


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lane of each net, counted from the left; `clashes` lines would seem one where they are
    not."""

    of: tuple[int, ...]
    count: int
    clashes: int


def lanes_of(nets: Sequence[Net]) -> Lanes:
    """Give each net a lane, with few crossings and where possible without a clash."""
    turning = [index for index, net in enumerate(nets) if not net.straight]
    costs = {(a, b): _cost(nets[a], nets[b]) for a in turning for b in turning if a != b}
    order = _order(turning, costs)
    lane = dict.fromkeys(range(len(nets)), 0)
    for position, index in enumerate(order):
        before = [other for other in order[:position] if _meet(nets[other], nets[index])]
        lane[index] = max((lane[other] + 1 for other in before), default=0)
    total = sum(costs[a, b] for n, a in enumerate(order) for b in order[n + 1 :])
    count = max((lane[index] + 1 for index in turning), default=0)
    return Lanes(tuple(lane.values()), count, total // _CLASH)


def _cost(a: Net, b: Net) -> int:
    """Crossings when the lane of `a` is left of that of `b`; a clash costs more than all."""
    crossings = sum(min(b.rows) <= row <= max(b.rows) for row in a.right)
    crossings += sum(min(a.rows) <= row <= max(a.rows) for row in b.left)
    clashes = sum(row not in a.left and row not in b.right for row in a.right & b.left)
    return crossings + _CLASH * clashes


def _meet(a: Net, b: Net) -> bool:
    """Whether two nets need different lanes."""
    return min(a.rows) <= max(b.rows) and min(b.rows) <= max(a.rows)


def _order(indexes: Iterable[int], costs: dict[tuple[int, int], int]) -> list[int]:
    order: list[int] = []
    for index in indexes:
        order.insert(_best_place(index, order, costs), index)
    for _ in range(_MOST_SWAPS):
        for place, index in enumerate(order):
            rest = [*order[:place], *order[place + 1 :]]
            best = _best_place(index, rest, costs)
            if best != place and _worth(index, rest, best, costs) < _worth(
                index, rest, place, costs
            ):
                order = [*rest[:best], index, *rest[best:]]
                break
        else:
            break
    return order


def _worth(index: int, rest: list[int], place: int, costs: dict[tuple[int, int], int]) -> int:
    before = sum(costs[other, index] for other in rest[:place])
    return before + sum(costs[index, other] for other in rest[place:])


def _best_place(index: int, order: list[int], costs: dict[tuple[int, int], int]) -> int:
    """Where in the order a net crosses least."""
    cost = best = sum(costs[index, other] for other in order)
    place = 0
    for position, other in enumerate(order, 1):
        cost += costs[other, index] - costs[index, other]
        if cost < best:
            best, place = cost, position
    return place


def trace(left: Iterable[int], right: Iterable[int], x_left: int, x_right: int, x: int) -> Cells:
    """The cells of a line from rows at the left to rows at the right, by way of the lane at `x`.

    `x_left` and `x_right` are the first and the last cell of the gutter.
    """
    left, right = set(left), set(right)
    cells: Cells = {}
    if len(left | right) == 1 and not (left and right):  # a column that references itself
        row = next(iter(left | right))
        return {(x_left, row): LEFT} if left else {(x_right, row): RIGHT}
    for row in left:
        _run(cells, row, x_left, x)
    for row in right:
        _run(cells, row, x, x_right)
    rows = left | right
    for row in range(min(rows), max(rows) + 1):
        bits = (UP if row > min(rows) else 0) | (DOWN if row < max(rows) else 0)
        if bits:
            cells[x, row] = cells.get((x, row), 0) | bits
    # At the gutter's edges a line goes on into a box.
    for row in left:
        cells[x_left, row] |= LEFT
    for row in right:
        cells[x_right, row] |= RIGHT
    return cells


def _run(cells: Cells, row: int, start: int, end: int) -> None:
    for x in range(start, end + 1):
        bits = (LEFT if x > start else 0) | (RIGHT if x < end else 0)
        cells[x, row] = cells.get((x, row), 0) | bits


GLYPHS = {
    LEFT: "─",
    RIGHT: "─",
    UP: "│",
    DOWN: "│",
    LEFT | RIGHT: "─",
    UP | DOWN: "│",
    DOWN | RIGHT: "╭",
    DOWN | LEFT: "╮",
    UP | RIGHT: "╰",
    UP | LEFT: "╯",
    UP | DOWN | RIGHT: "├",
    UP | DOWN | LEFT: "┤",
    DOWN | LEFT | RIGHT: "┬",
    UP | LEFT | RIGHT: "┴",
    UP | DOWN | LEFT | RIGHT: "┼",
}


def glyph(bits: Sequence[int]) -> str:
    """The character of a cell that some nets share. One that only passes goes under: a joint is
    drawn only where lines join."""
    if len(bits) > 1 and UP | DOWN in bits and LEFT | RIGHT in bits:
        rest = [some for some in bits if some != LEFT | RIGHT]
        if all(some == UP | DOWN for some in rest):
            return "│"
    joined = 0
    for some in bits:
        joined |= some
    return GLYPHS.get(joined, "┼")
