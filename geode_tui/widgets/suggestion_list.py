"""What the mapping could gain: suggestions, a line each, the surest first."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from geode_tui.mapping.suggest import Certainty, Suggestion
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_SHOWN: dict[Certainty, tuple[str, str]] = {
    "sure": ("✓ sure", "$text-success"),
    "likely": ("~ likely", "$text-primary"),
    "guess": ("? guess", "$text-muted"),
}
_COLUMNS = (TableColumn("certainty", 9), TableColumn("suggestion", least=24))


class SuggestionList(FigureTable):
    """The suggestions of a mapping."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="–", header=False, id=id, classes=classes)
        self._suggestions: Sequence[Suggestion] = ()

    @property
    def suggestion(self) -> Suggestion | None:
        """The suggestion under the cursor."""
        return self._suggestions[self.cursor] if self.cursor < len(self._suggestions) else None

    @property
    def suggestions(self) -> Sequence[Suggestion]:
        """All that are shown."""
        return self._suggestions

    def show_suggestions(self, suggestions: Sequence[Suggestion], nothing: str) -> None:
        """Show these, or say that there is `nothing`; the cursor stays where it is."""
        self._suggestions = suggestions
        self.set_empty(nothing)
        self.set_source(len(suggestions), self._cells)

    def go_to(self, table: str) -> bool:
        """Put the cursor on the first suggestion of a table."""
        for index, suggestion in enumerate(self._suggestions):
            if str(suggestion.table) == table:
                self.cursor = index
                return True
        return False

    def _cells(self, index: int) -> Row:
        suggestion = self._suggestions[index]
        return (Content.styled(*_SHOWN[suggestion.certainty]), suggestion.title)


def suggestion_content(suggestion: Suggestion) -> Content:
    """The evidence and the effect of a suggestion."""
    parts = [
        ("because ", "$text-muted"),
        (many_lines(suggestion.because), ""),
        ("\neffect  ", "$text-muted"),
        (many_lines(suggestion.effect), ""),
    ]
    if suggestion.alternatives:
        titles = " · ".join(one_line(title) for title, _ in suggestion.alternatives)
        parts += [("\nor      ", "$text-muted"), (titles, "")]
    return Content.assemble(*parts)


def suggestion_text(suggestion: Suggestion) -> str:
    """A suggestion as plain text."""
    return (
        f"{_SHOWN[suggestion.certainty][0]}: {suggestion.title}\n"
        f"{suggestion_content(suggestion).plain}"
    )
