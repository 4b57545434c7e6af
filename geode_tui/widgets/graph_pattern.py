"""What the selected rule makes of the graph, as a diagram that follows the cursor."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from geode_tui.mapping.model import Mapping, NodeRule, Rule
from geode_tui.widgets.rule_diagram import draw_all
from geode_tui.widgets.text import fit, one_line

_PROPERTIES_SHOWN = 40


class GraphPattern(Static):
    """The picture of one rule among its neighbours."""

    DEFAULT_CSS = """
    GraphPattern { width: 1fr; height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._rule: Rule | None = None
        self._mapping: Mapping | None = None
        self._picture = ""

    @property
    def picture(self) -> str:
        """The picture as plain text."""
        return self._picture

    def show_rule(self, rule: Rule | None, mapping: Mapping | None) -> None:
        """Draw `rule` as it stands in `mapping`."""
        self._rule, self._mapping = rule, mapping
        self._draw()

    def on_resize(self) -> None:
        """Draw anew in the new width."""
        self._draw()

    def _draw(self) -> None:
        if self._rule is None or self._mapping is None:
            self._picture = ""
            self.update("")
            return
        width = max(12, self.content_size.width or 40)
        room = self.parent.size.height if isinstance(self.parent, Widget) else 0
        canvas, has_properties = draw_all(self._rule, self._mapping, width, room or 24)
        parts: list[Content | tuple[str, str]] = [canvas.content()]
        if not has_properties:
            parts += _properties(self._rule, width)
        content = Content.assemble(*parts)
        self._picture = content.plain
        self.update(content)


def _properties(rule: Rule, width: int) -> list[tuple[str, str]]:
    """The properties below the picture, a line each."""
    parts: list[tuple[str, str]] = []
    shown = rule.included_properties[:_PROPERTIES_SHOWN]
    for item in shown:
        mark = "◆" if item.name in rule.key else "ƒ" if item.expression else "·"
        parts.append((f"\n{mark} {fit(one_line(item.name), min(24, width - 14))} ", ""))
        parts.append((item.type, "$text-muted"))
    more = len(rule.included_properties) - len(shown)
    if more > 0:
        parts.append((f"\n  and {more:,} more", "$text-muted"))
    if isinstance(rule, NodeRule) and rule.keep_first:
        parts.append((f"\nfirst by {one_line(rule.keep_first)}", "$text-muted"))
    return parts
