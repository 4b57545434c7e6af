"""A table under screens that have `h` and `l` for themselves."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from geode_tui.widgets.virtual_table import VirtualTable

_SIDEWAYS = ("table.left", "table.right")


def _without_letters() -> list[BindingType]:
    """The keys of a table, sideways by the arrows alone."""
    kept: list[BindingType] = [
        binding
        for binding in VirtualTable.BINDINGS
        if not (isinstance(binding, Binding) and binding.id in _SIDEWAYS)
    ]
    left = Binding("left", "aside(-8)", "Left", show=False, id="table.left", tooltip="Scroll left")
    right = Binding(
        "right", "aside(8)", "Right", show=False, id="table.right", tooltip="Scroll right"
    )
    return [*kept, left, right]


class FigureTable(VirtualTable, inherit_bindings=False):
    """A table that scrolls sideways by the arrows alone."""

    BINDINGS: ClassVar[list[BindingType]] = _without_letters()

    def on_mount(self) -> None:
        """Have widths before the first size is known."""
        self._measure()
