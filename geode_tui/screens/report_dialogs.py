"""What is asked before a validation begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup
from textual.content import Content
from textual.widgets import Button, Checkbox, Static

from geode_tui.screens.dialogs import Dialog
from geode_tui.widgets.text import many_lines


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """What a validation looks at beside the ledger and the digests."""

    deep: bool = False
    constraints: bool = False
    references: bool = False
    statistics: bool = False

    @property
    def flags(self) -> list[str]:
        """The same as options of the command line."""
        names = {
            "--deep": self.deep,
            "--check-constraints": self.constraints,
            "--check-references": self.references,
            "--statistics": self.statistics,
        }
        return [name for name, wanted in names.items() if wanted]


_CHOICES = (
    ("deep", "deep: digests made anew of the values in the graph"),
    ("constraints", "constraints and indexes are there"),
    ("references", "relationships made anew, degrees of nodes"),
    ("statistics", "statistics of columns: nulls, least, most, sums"),
)


class MarkedBox(Checkbox):
    """A box with a mark where it is chosen, and nothing in it where it is not."""

    def __init__(self, words: str, value: bool, *, id: str) -> None:
        self.BUTTON_INNER = _mark(value)
        super().__init__(Content(words), value, id=id, compact=True)

    def watch_value(self) -> None:
        """Draw the mark, or none."""
        self.BUTTON_INNER = _mark(self.value)
        super().watch_value()
        self.refresh()


def _mark(value: bool) -> str:
    return "✓" if value else " "


class ValidateDialog(Dialog[ValidateOptions | None]):
    """The options of a validation; `v` begins it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "begin", "validate", id="validate.begin", tooltip="Begin the validation"),
        Binding("down,j", "app.focus_next", show=False, id="validate.down", tooltip="Next"),
        Binding("up,k", "app.focus_previous", show=False, id="validate.up", tooltip="Previous"),
    ]
    DEFAULT_CSS = """
    ValidateDialog Checkbox { background: $surface; padding: 0; width: 1fr; }
    """

    def __init__(self, message: str, options: ValidateOptions) -> None:
        super().__init__()
        self.title_text = "validate now?"
        self._message = message
        self._options = options

    def compose_dialog(self) -> ComposeResult:
        """What is compared, the options, the answers."""
        yield Static(Content(many_lines(self._message)), classes="dialog-text")
        for name, words in _CHOICES:
            value = getattr(self._options, name)
            yield MarkedBox(words, value, id=f"validate-{name}")
        with HorizontalGroup():
            yield Button("not now", id="no", compact=True)
            yield Button("validate", id="yes", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Start at the first option."""
        self.query_one("#validate-deep").focus()

    def action_begin(self) -> None:
        """Close with what is chosen."""
        chosen = {name: self.query_one(f"#validate-{name}", Checkbox).value for name, _ in _CHOICES}
        self.dismiss(ValidateOptions(**chosen))

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self.action_begin()
        else:
            self.dismiss(None)
