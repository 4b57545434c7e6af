"""What a rule makes of the graph, drawn in box characters: its node or both ends, and around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from geode_tui.mapping.model import ROW, Mapping, NodeRule, RelationshipRule, Rule
from geode_tui.widgets.canvas import Canvas, Line, clipped
from geode_tui.widgets.figures import clip

NEIGHBOURS_SHOWN = 40
_BESIDE = 12
"""At most so many neighbours stand on each side of a node."""
_BOXED = 4
"""At most so many neighbours are boxes where they stand below one another."""
_PROPERTIES = 12
_ROOM_FOR_ARMS = 24
_LEAST = 16

_MIDDLE, _TITLE = "$text-primary", "bold $text-primary"
_OTHER, _TYPE, _MUTED = "$text-muted", "$foreground", "$text-muted"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node one relationship away; `outward` says that the arrow leaves us."""

    type: str
    title: str
    outward: bool
    active: bool
    loop: bool = False


def node_title(rule_id: str, mapping: Mapping) -> str:
    """A node's label; with its rule's name where that is another: `Party (Supplier)`."""
    rule = mapping.node(rule_id)
    return titled(rule) if rule is not None else rule_id


def titled(rule: NodeRule) -> str:
    """The label, and the rule's name where it is another."""
    return rule.label if rule.id == rule.label else f"{rule.label} ({rule.id})"


def neighbours(
    rule: NodeRule, mapping: Mapping, but: RelationshipRule | None = None
) -> list[Neighbour]:
    """The relationships of a node `but` one, those that leave first; a loop appears once."""
    active = set(map(id, mapping.active_relationships))

    def other(r: RelationshipRule, end: str, outward: bool) -> Neighbour:
        loop = r.start.node == r.end.node
        return Neighbour(r.type, node_title(end, mapping), outward, id(r) in active, loop)

    own = rule.id
    some = [r for r in mapping.relationships if own in (r.start.node, r.end.node) and r is not but]
    leaving = [other(r, r.end.node, True) for r in some if r.start.node == own]
    arriving = [other(r, r.start.node, False) for r in some if r.start.node != own]
    return leaving + arriving


def pattern(rule: Rule, mapping: Mapping | None = None) -> str:
    """The rule as a GQL pattern: `(Order)-[:CONTAINS]->(Product)`, `(:Order:Sale {id})`."""
    if isinstance(rule, NodeRule):
        labels = ":".join((rule.label, *rule.labels))
        return f"(:{labels} {{{', '.join(rule.key or (ROW,))}}})"
    start, end = rule.start.node, rule.end.node
    if mapping is not None:
        start, end = node_title(start, mapping), node_title(end, mapping)
    return f"({start})-[:{rule.type}]->({end})"


def label_lines(rule: NodeRule) -> list[Line]:
    """The labels that a node gets besides its own, and those that a value gives."""
    lines = [(f":{label}", "$text-primary") for label in rule.labels]
    if rule.labels_by is not None:
        lines += [
            (f":{label} if {rule.labels_by.column} = {value}", "$text-secondary")
            for value, label in rule.labels_by.labels[:_PROPERTIES]
        ]
    return lines


def draw(rule: Rule, mapping: Mapping, width: int, height: int = 24) -> Canvas:
    """The picture of a rule, no wider than `width` cells (at least 16).

    Where there is little room it tries to stay within `height` lines.
    """
    return draw_all(rule, mapping, width, height)[0]


def draw_all(rule: Rule, mapping: Mapping, width: int, height: int) -> tuple[Canvas, bool]:
    """The picture as of `draw`, and whether the rule's properties are in it."""
    width = max(_LEAST, width)
    if isinstance(rule, NodeRule):
        around = neighbours(rule, mapping)
        star = _star(rule, around, width)
        return (star, True) if star else (_below(rule, around, width, height), False)
    if rule.start.node == rule.end.node:
        return _looped(rule, mapping, width), False
    return _side_by_side(rule, mapping, width) or _stacked(rule, mapping, width), False


# A node, with what leads to it on its left and what it leads to on its right.


def _star(rule: NodeRule, around: Sequence[Neighbour], width: int) -> Canvas | None:
    """None where there is not enough room."""
    left = [n for n in around if not n.outward and not n.loop]
    right = [n for n in around if n.outward and not n.loop]
    body = [(titled(rule), _TITLE), *label_lines(rule), *_property_lines(rule)]
    for cap in (36, 24, 18, 14):
        sides = [_Side(some[:_BESIDE], cap) for some in (left, right)]
        inner = max(cell_len(text) for text, _ in clipped(body, cap + 8))
        if sides[0].width + inner + 4 + sides[1].width <= width:
            break
    else:
        return None
    canvas = Canvas()
    loops = [n for n in around if n.loop]
    top = 1 if loops else 0
    rows = max(len(side.shown) for side in sides) * 3
    lines = clipped(body, cap + 8)
    lines += [("", "")] * max(0, rows - 2 - len(lines))
    wide = max(inner + 4, _loop_width(loops, cap)) if loops else inner + 4
    if sides[0].width + wide + sides[1].width > width:
        wide = inner + 4
    x = sides[0].width
    canvas.box(x, top, lines, _MIDDLE, wide)
    _draw_loops(canvas, loops, x, top, wide)
    for number, neighbour in enumerate(sides[0].shown):
        _draw_left(canvas, neighbour, sides[0], top + 3 * number)
    for number, neighbour in enumerate(sides[1].shown):
        _draw_right(canvas, neighbour, sides[1], x + wide, top + 3 * number)
    for some, at in ((left, 0), (right, x + wide)):
        if len(some) > _BESIDE:
            canvas.put(at, top + 3 * _BESIDE, f"and {len(some) - _BESIDE:,} more", _MUTED)
    return canvas


class _Side:
    """The neighbours on one side: how wide their boxes and the lines to them are."""

    def __init__(self, shown: Sequence[Neighbour], cap: int) -> None:
        self.shown = shown
        self.cap = cap
        self.box = max((cell_len(clip(n.title, cap)) for n in shown), default=-4) + 4
        self.gap = max((cell_len(self.type_of(n)) for n in shown), default=-2) + 2

    @property
    def width(self) -> int:
        return self.box + self.gap

    def type_of(self, neighbour: Neighbour) -> str:
        """The relationship's type; with a dash before it where it moves nothing."""
        return clip(neighbour.type if neighbour.active else f"– {neighbour.type}", self.cap)


def _draw_left(canvas: Canvas, neighbour: Neighbour, side: _Side, y: int) -> None:
    title = clip(neighbour.title, side.cap)
    x = side.box - cell_len(title) - 4
    canvas.box(x, y, [(title, "")], _OTHER)
    canvas.put(side.box + 1, y, side.type_of(neighbour), _type_style(neighbour))
    canvas.put(side.box - 1, y + 1, "├", _OTHER)
    canvas.put(side.box, y + 1, _line(neighbour) * (side.gap - 1) + "▶", _OTHER)


def _draw_right(canvas: Canvas, neighbour: Neighbour, side: _Side, x: int, y: int) -> None:
    canvas.put(x + 1, y, side.type_of(neighbour), _type_style(neighbour))
    canvas.put(x - 1, y + 1, "├", _MIDDLE)
    canvas.put(x, y + 1, _line(neighbour) * (side.gap - 1) + "▶", _OTHER)
    canvas.box(x + side.gap, y, [(clip(neighbour.title, side.cap), "")], _OTHER)


def _line(neighbour: Neighbour) -> str:
    return "─" if neighbour.active else "╌"


def _type_style(neighbour: Neighbour) -> str:
    return _TYPE if neighbour.active else _MUTED


def _loop_text(loops: Sequence[Neighbour]) -> str:
    return ", ".join(n.type if n.active else f"– {n.type}" for n in loops)


def _loop_width(loops: Sequence[Neighbour], cap: int) -> int:
    return cell_len(clip(_loop_text(loops), cap)) + 9


def _draw_loops(
    canvas: Canvas, loops: Sequence[Neighbour], x: int, top: int, wide: int, style: str = _TYPE
) -> None:
    """An arc above the box that leaves it and comes back."""
    if not loops or wide < 8:
        return
    room = wide - 8
    text = clip(_loop_text(loops), room) if room > 0 else ""
    active = any(n.active for n in loops)
    line = "─" if active else "╌"
    shown = f" {text} " if text else ""
    bar = line + shown + line * (wide - 6 - cell_len(shown) - 1)
    canvas.put(x + 2, top - 1, f"╭{bar}╮", _OTHER)
    canvas.put(x + 5, top - 1, text, style if active else _MUTED)
    canvas.put(x + 2, top, "┴", _MIDDLE)
    canvas.put(x + wide - 3, top, "▼", _MIDDLE)


def _property_lines(rule: Rule) -> list[Line]:
    items = rule.included_properties
    lines = []
    for item in items[:_PROPERTIES]:
        mark = "◆" if item.name in rule.key else "ƒ" if item.expression else "·"
        lines.append((f"{mark} {item.name} {item.type}", ""))
    if len(items) > _PROPERTIES:
        lines.append((f"  and {len(items) - _PROPERTIES:,} more", _MUTED))
    return lines


# A node with its neighbours below, where there is little room.


def _below(rule: NodeRule, around: Sequence[Neighbour], width: int, height: int) -> Canvas:
    canvas = Canvas()
    loops = [n for n in around if n.loop]
    others = [n for n in around if not n.loop]
    top = 1 if loops else 0
    body = clipped([(titled(rule), _TITLE), *label_lines(rule)], width - 4)
    least = min(_loop_width(loops, width), width) if loops else 0
    wide = canvas.box(0, top, body, _MIDDLE, least)
    _draw_loops(canvas, loops, 0, top, wide)
    boxed = len(others) <= _BOXED and canvas.height + 3 * len(others) <= height
    _draw_arms(canvas, others, 0, canvas.height, width, boxed=boxed)
    return canvas


def _draw_arms(
    canvas: Canvas, around: Sequence[Neighbour], x: int, y: int, width: int, *, boxed: bool = False
) -> None:
    """Neighbours below the box that ends at line `y`, on a trunk from its left."""
    if not around:
        return
    canvas.put(x + 2, y - 1, "┬", _MIDDLE)
    shown = around[:NEIGHBOURS_SHOWN]
    room = max(4, (width - x - 12) // 2)
    widest = min(room, max(cell_len(_word(n)) for n in shown))
    for number, neighbour in enumerate(shown):
        last = number == len(around) - 1
        if boxed:
            canvas.put(x + 2, y, "│", _OTHER)
            y += 1
        behind = _draw_arm(canvas, neighbour, x + 2, y, last, widest)
        title = f"{neighbour.title} ↺" if neighbour.loop else neighbour.title
        title = clip(title, max(1, width - behind - (4 if boxed else 1)))
        if not boxed:
            canvas.put(behind + 1, y, title, "" if neighbour.active else _MUTED)
            y += 1
            continue
        canvas.box(behind, y - 1, [(title, "")], _OTHER)
        if not neighbour.outward:
            canvas.put(behind, y, "┤", _OTHER)
        if not last:
            canvas.put(x + 2, y + 1, "│", _OTHER)
        y += 2
    if len(around) > len(shown):
        canvas.put(x + 2, y, f"╰ and {len(around) - len(shown):,} more", _MUTED)


def _word(neighbour: Neighbour) -> str:
    return neighbour.type if neighbour.active else f"– {neighbour.type}"


def _draw_arm(canvas: Canvas, neighbour: Neighbour, x: int, y: int, last: bool, widest: int) -> int:
    """`├─ CONTAINS ─▶` or `├◀ PLACED ───`; returns the column behind it."""
    line = _line(neighbour)
    canvas.put(x, y, "╰" if last else "├", _OTHER)
    canvas.put(x + 1, y, line if neighbour.outward else "◀", _OTHER)
    word = clip(_word(neighbour), widest)
    behind = canvas.put(x + 3, y, word, _type_style(neighbour))
    rest = line * (widest - cell_len(word) + 1)
    return canvas.put(behind + 1, y, rest + ("▶" if neighbour.outward else line), _OTHER)


# A relationship between its two ends.


def _ends(rule: RelationshipRule, mapping: Mapping) -> list[tuple[str, list[Neighbour]]]:
    """Both ends: their titles, and their other relationships."""
    ends = []
    for end in (rule.start.node, rule.end.node):
        node = mapping.node(end)
        around = neighbours(node, mapping, rule) if node is not None else []
        ends.append((node_title(end, mapping), around))
    return ends


def _side_by_side(rule: RelationshipRule, mapping: Mapping, width: int) -> Canvas | None:
    (start, near), (end, far) = _ends(rule, mapping)
    left, right = cell_len(start) + 4, cell_len(end) + 4
    gap = cell_len(rule.type) + 2
    if left + gap + right > width or (far and width - left - gap < _ROOM_FOR_ARMS):
        return None
    canvas = Canvas()
    canvas.box(0, 0, [(start, _TITLE)], _MIDDLE)
    canvas.put(left + 1, 0, rule.type, f"bold {_TYPE}")
    canvas.put(left - 1, 1, "├", _MIDDLE)
    canvas.put(left, 1, "─" * (gap - 1) + "▶", _MIDDLE)
    canvas.box(left + gap, 0, [(end, _TITLE)], _MIDDLE)
    _draw_arms(canvas, far, left + gap, 3, width)
    below = canvas.height
    if near:
        canvas.put(2, 2, "┬", _MIDDLE)
        for y in range(3, below):
            canvas.put(2, y, "│", _OTHER)
        _draw_arms_only(canvas, near, below, width)
    return canvas


def _draw_arms_only(canvas: Canvas, around: Sequence[Neighbour], y: int, width: int) -> None:
    """Arms on a trunk that leads down already."""
    above = canvas.cell(2, y - 1)
    _draw_arms(canvas, around, 0, y, width)
    canvas.put(2, y - 1, above, _MIDDLE if above == "┬" else _OTHER)


def _stacked(rule: RelationshipRule, mapping: Mapping, width: int) -> Canvas:
    (start, near), (end, far) = _ends(rule, mapping)
    canvas = Canvas()
    canvas.box(0, 0, [(clip(start, width - 4), _TITLE)], _MIDDLE)
    _draw_arms(canvas, near, 0, 3, width)
    _straighten(canvas, 3)
    canvas.put(2, 2, "┬", _MIDDLE)
    y = canvas.height
    canvas.put(2, y, "│", _MIDDLE)
    canvas.put(4, y, clip(rule.type, width - 4), f"bold {_TYPE}")
    canvas.box(0, y + 1, [(clip(end, width - 4), _TITLE)], _MIDDLE)
    canvas.put(2, y + 1, "▼", _MIDDLE)
    _draw_arms(canvas, far, 0, canvas.height, width)
    return canvas


def _straighten(canvas: Canvas, y: int) -> None:
    """Let a trunk go on below its last arm."""
    for line in range(y, canvas.height):
        if canvas.cell(2, line) == "╰":
            canvas.put(2, line, "├", _OTHER)


def _looped(rule: RelationshipRule, mapping: Mapping, width: int) -> Canvas:
    """A relationship from a node to nodes of the same rule."""
    (title, around), _ = _ends(rule, mapping)
    canvas = Canvas()
    loop = [Neighbour(rule.type, title, True, True, True)]
    wide = canvas.box(
        0, 1, [(clip(title, width - 4), _TITLE)], _MIDDLE, min(_loop_width(loop, width), width)
    )
    _draw_loops(canvas, loop, 0, 1, wide, f"bold {_TYPE}")
    _draw_arms(canvas, around, 0, 4, width)
    return canvas
