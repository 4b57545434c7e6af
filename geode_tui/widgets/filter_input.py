"""The one-line filter above a list."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class FilterInput(Input):
    """A filter over the widget with id `over`: enter or down goes there, esc clears and goes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape",
            "leave(True)",
            "clear filter",
            id="filter.clear",
            tooltip="Show everything again and go back to the list",
        ),
        Binding(
            "enter,down",
            "leave(False)",
            "to the list",
            key_display="⏎",
            id="filter.done",
            tooltip="Keep the filter and go to the list",
        ),
    ]

    DEFAULT_CSS = """
    FilterInput {
        height: 1;
        border: none;
        padding: 0 1;
        background: $surface;
        &:focus { border: none; background: $boost; }
    }
    """

    def __init__(self, over: str, *, id: str = "filter", placeholder: str = "/ filter") -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self._over = over

    def action_leave(self, clear: bool) -> None:
        """Go to the filtered widget, showing all of it again when `clear`."""
        if clear:
            self.value = ""
        self.screen.query_one(f"#{self._over}").focus()
