"""Dead letters: a line each, and one of them whole."""

from __future__ import annotations

import json

from textual.content import Content

from geode_tui.migration.dead_letters import DeadLetter, LetterState
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.paged_table import PagedTable
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

STATES: dict[LetterState, tuple[str, str]] = {
    "open": ("!", "$text-warning"),
    "written": ("✓", "$text-success"),
    "skipped": ("–", "$text-muted"),
}
_WIDE = (
    *(TableColumn("state", 9), TableColumn("entity", 24), TableColumn("key", 28)),
    *(TableColumn("class", 8), TableColumn("reason", least=24)),
)
_NARROW = (
    *(TableColumn("state", 9), TableColumn("entity", 18), TableColumn("key", 16)),
    *(TableColumn("class", 8), TableColumn("reason", least=24)),
)
_ROOM_FOR_KEYS = 100


class LetterTable(PagedTable[DeadLetter]):
    """Dead letters, the oldest first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_NARROW, empty="reading the journal …", id=id)

    def on_resize(self) -> None:
        """Longer names and keys where there is room."""
        columns = _WIDE if self.size.width >= _ROOM_FOR_KEYS else _NARROW
        if columns != self.columns:
            count, cursor = self.row_count, self.cursor
            self.set_columns(columns)
            self.show_count(count)
            self.cursor = cursor
        super().on_resize()

    def cells(self, item: DeadLetter) -> Row:
        """State, entity, key, class and reason."""
        glyph, style = STATES[item.state]
        state = Content.styled(f"{glyph} {item.state}", style)
        return (state, entity_title(item.entity), item.key, item.error_class, item.reason)


def letter_facts(letter: DeadLetter) -> list[tuple[str, str]]:
    """What there is to know of a letter beside its values."""
    facts = [
        ("entity", letter.entity),
        ("key", letter.key),
        ("class", letter.error_class),
        ("reason", letter.reason),
        ("state", letter.state + (f": {letter.note}" if letter.note else "")),
    ]
    return [*facts, ("by", letter.who)] if letter.who else facts


def letter_values(letter: DeadLetter) -> list[tuple[str, str]]:
    """The properties of the row with their values; one nameless text where it was cut."""
    try:
        found = json.loads(letter.values)
    except ValueError:
        return [("", letter.values)]
    if not isinstance(found, dict):
        return [("", letter.values)]
    return [(name, _value(value)) for name, value in found.items()]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def letter_content(letter: DeadLetter) -> Content:
    """A letter with all its values, to read."""
    parts: list[tuple[str, str]] = []
    for name, text in letter_facts(letter):
        style = "bold" if name == "reason" else ""
        parts += [(f"{name:<8}", "$text-muted"), (f"{many_lines(text)}\n", style)]
    parts.append(("\nvalues\n", "$text-muted"))
    for name, text in letter_values(letter):
        label = f"  {one_line(name)}  " if name else "  "
        parts += [(label, "$text-accent"), (f"{many_lines(text)}\n", "")]
    return Content.assemble(*parts)


def letter_text(letter: DeadLetter) -> str:
    """A letter on several lines, to copy."""
    lines = [f"{name:<8}{text}" for name, text in letter_facts(letter)]
    return "\n".join([*lines, f"{'values':<8}{letter.values}"])
