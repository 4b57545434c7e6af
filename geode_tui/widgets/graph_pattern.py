"""What the selected rule makes, drawn in box characters."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from geode_tui.mapping.model import ROW, Mapping, NodeRule, RelationshipRule, Rule
from geode_tui.widgets.figures import clip
from geode_tui.widgets.text import fit, one_line

NEIGHBOURS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A label one relationship away; `outward` says that the arrow leaves us."""

    type: str
    label: str
    outward: bool
    active: bool


def neighbours(rule: NodeRule, mapping: Mapping) -> list[Neighbour]:
    """The relationships of a label, those that leave first; a loop appears once."""
    active = set(map(id, mapping.active_relationships))
    leaving = [
        Neighbour(r.type, r.end.node, True, id(r) in active)
        for r in mapping.relationships
        if r.start.node == rule.label
    ]
    arriving = [
        Neighbour(r.type, r.start.node, False, id(r) in active)
        for r in mapping.relationships
        if r.end.node == rule.label and r.start.node != rule.label
    ]
    return leaving + arriving


def pattern(rule: Rule) -> str:
    """The rule as a GQL pattern: `(Order)-[:CONTAINS]->(Product)`, `(:Order {id})`."""
    if isinstance(rule, NodeRule):
        return f"(:{rule.label} {{{', '.join((rule.key or (ROW,)))}}})"
    return f"({rule.start.node})-[:{rule.type}]->({rule.end.node})"


def draw(rule: Rule, mapping: Mapping, width: int) -> list[str]:
    """The picture's lines, none wider than `width` cells (at least 12)."""
    width = max(12, width)
    if isinstance(rule, NodeRule):
        return _draw_node(rule, mapping, width)
    if rule.start.node == rule.end.node:
        return _draw_loop(rule, width)
    return _draw_side_by_side(rule, width) or _draw_stack(rule, width)


def _box(label: str, width: int) -> tuple[str, str, str]:
    shown = clip(label, width - 4)
    bar = "─" * (cell_len(shown) + 2)
    return f"╭{bar}╮", f"│ {shown} │", f"╰{bar}╯"


def _draw_node(rule: NodeRule, mapping: Mapping, width: int) -> list[str]:
    top, middle, bottom = _box(rule.label, width)
    found = neighbours(rule, mapping)
    if not found:
        return [top, middle, bottom]
    shown = found[:NEIGHBOURS_SHOWN]
    bottom = bottom[:2] + "┬" + bottom[3:]
    longest = max(cell_len(n.type) for n in shown)
    room = max(4, min(longest, (width - 10) // 2))
    lines = [top, middle, bottom]
    for number, neighbour in enumerate(shown):
        last = number == len(found) - 1
        lines.append(clip(_arm(neighbour, rule.label, "╰" if last else "├", room), width))
    if len(found) > len(shown):
        lines.append(f"  ╰ and {len(found) - len(shown):,} more")
    return lines


def _arm(neighbour: Neighbour, label: str, corner: str, room: int) -> str:
    shown = clip(neighbour.type, room)
    line = shown + " " + "─" * (room - cell_len(shown) + 1)
    loop = " ↺" if neighbour.label == label else ""
    inactive = "" if neighbour.active else " (inactive)"
    arm = f"{corner}─ {line}─▶" if neighbour.outward else f"{corner}◀ {line}──"
    return f"  {arm} {neighbour.label}{loop}{inactive}"


def _draw_side_by_side(rule: RelationshipRule, width: int) -> list[str]:
    start, end = _box(rule.start.node, 999), _box(rule.end.node, 999)
    between = cell_len(rule.type) + 2
    if cell_len(start[0]) + between + cell_len(end[0]) > width:
        return []
    return [
        f"{start[0]} {rule.type} {end[0]}",
        f"{start[1][:-1]}├{'─' * (between - 1)}▶{end[1]}",
        f"{start[2]}{' ' * between}{end[2]}",
    ]


def _draw_stack(rule: RelationshipRule, width: int) -> list[str]:
    start, end = _box(rule.start.node, width), _box(rule.end.node, width)
    return [
        start[0],
        start[1],
        start[2][:2] + "┬" + start[2][3:],
        "  │ " + clip(rule.type, width - 4),
        end[0][:2] + "▼" + end[0][3:],
        end[1],
        end[2],
    ]


def _draw_loop(rule: RelationshipRule, width: int) -> list[str]:
    top, middle, bottom = _box(rule.start.node, max(12, width - 8))
    inner = cell_len(middle) - 3
    return [
        top,
        f"{middle[:-1]}├──╮",
        f"{bottom[:2]}▲{bottom[3:]}  │ {clip(rule.type, width - cell_len(bottom) - 4)}",
        f"  ╰{'─' * (inner + 2)}╯",
    ]


class GraphPattern(Static):
    """The picture of one rule, with its properties below."""

    DEFAULT_CSS = """
    GraphPattern { width: 1fr; height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._rule: Rule | None = None
        self._mapping: Mapping | None = None

    def show_rule(self, rule: Rule | None, mapping: Mapping | None) -> None:
        """Draw `rule` as it stands in `mapping`."""
        self._rule, self._mapping = rule, mapping
        self._draw()

    def on_resize(self) -> None:
        """Draw anew in the new width."""
        self._draw()

    def _draw(self) -> None:
        if self._rule is None or self._mapping is None:
            self.update("")
            return
        width = max(12, self.size.width or 40)
        lines = draw(self._rule, self._mapping, width)
        parts: list[Content | tuple[str, str]] = [("\n".join(lines), "$text-primary")]
        for item in self._rule.included_properties[:NEIGHBOURS_SHOWN]:
            mark = "◆" if item.name in self._rule.key else "·"
            parts.append((f"\n{mark} {fit(one_line(item.name), min(24, width - 14))} ", ""))
            parts.append((item.type, "$text-muted"))
        more = len(self._rule.included_properties) - NEIGHBOURS_SHOWN
        if more > 0:
            parts.append((f"\n  and {more:,} more", "$text-muted"))
        self.update(Content.assemble(*parts))
