"""Dialogs: an error, a question, a choice, a text to type or to read. All by keyboard first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from geode_tui.errors import GeodeTuiError
from geode_tui.widgets.text import many_lines, one_line

_SHOWN_CHARACTERS = 50_000


class Dialog[T](ModalScreen[T]):
    """A box in the middle of the screen; esc leaves it with nothing done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "back", id="dialog.cancel", tooltip="Close, nothing is done"),
    ]
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        & > .dialog {
            width: 72;
            max-width: 96%;
            height: auto;
            max-height: 90%;
            background: $surface;
            border: round $border;
            border-title-color: $foreground;
            border-title-style: bold;
            padding: 0 1;
        }
        & .dialog-text { height: auto; margin: 0 0 1 0; }
        & .dialog-scroll { height: auto; max-height: 16; }
        & .dialog-problem { height: auto; color: $text-error; }
        & HorizontalGroup { align-horizontal: right; margin-top: 1; }
        & Button { margin-left: 1; min-width: 12; }
        & Input { padding: 0 1; background: $boost; }
        & OptionList { height: auto; max-height: 14; padding: 0; background: $surface; }
    }
    """

    title_text = ""
    """What the box is about, shown in its border."""

    def compose(self) -> ComposeResult:
        """The box with the dialog's parts, and the keys."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(one_line(self.title_text))
            yield from self.compose_dialog()
        yield Footer(show_command_palette=False, compact=True)

    def compose_dialog(self) -> ComposeResult:
        """What is in the box."""
        raise NotImplementedError

    def action_cancel(self) -> None:
        """Close with None."""
        self.dismiss(None)

    def copy(self, text: str) -> None:
        """Put `text` into the terminal's clipboard and say so."""
        self.app.copy_to_clipboard(text)
        self.notify(f"copied {len(text):,} characters", timeout=3, markup=False)


class ErrorDialog(Dialog[None]):
    """What went wrong, why, and what to do next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="dialog.copy", tooltip="Copy the message"),
        Binding("enter", "cancel", "close", id="dialog.close", tooltip="Close"),
    ]
    DEFAULT_CSS = """
    ErrorDialog {
        & > .dialog { border: round $error; border-title-color: $text-error; }
    }
    """

    def __init__(self, error: GeodeTuiError) -> None:
        super().__init__()
        self._error = error
        self.title_text = "✗ error"

    def compose_dialog(self) -> ComposeResult:
        """What, why, next."""
        parts = [(many_lines(self._error.what), "bold")]
        if self._error.why:
            parts += [("\n\nwhy   ", "$text-muted"), (many_lines(self._error.why), "")]
        if self._error.next_step:
            parts += [("\n\nnext  ", "$text-muted"), (many_lines(self._error.next_step), "")]
        with VerticalScroll(classes="dialog-scroll"):
            yield Static(Content.assemble(*parts), classes="dialog-text")

    def action_copy(self) -> None:
        """Copy the whole message."""
        self.copy(str(self._error))


class ConfirmDialog(Dialog[bool]):
    """A question that is answered no unless a person says yes.

    With `type_name` the answer yes needs that name typed: for what cannot be taken back, and for
    whatever is labelled PROD.
    """

    def __init__(
        self, title: str, message: str, *, yes: str = "yes", no: str = "no", type_name: str = ""
    ) -> None:
        super().__init__()
        self.title_text = title
        self._message = message
        self._yes = yes
        self._no = no
        self._name = type_name

    def compose_dialog(self) -> ComposeResult:
        """The question, the name to type, and the two answers with no in front."""
        with VerticalScroll(classes="dialog-scroll", can_focus=False):
            yield Static(Content(many_lines(self._message)), classes="dialog-text")
        if self._name:
            hint = Content.assemble(("type ", "$text-muted"), (one_line(self._name), "bold"))
            yield Static(hint)
            yield Input(id="name", compact=True)
        with HorizontalGroup():
            yield Button(Content(one_line(self._no)), id="no", compact=True)
            yield Button(
                Content(one_line(self._yes)),
                id="yes",
                variant="warning",
                compact=True,
                disabled=bool(self._name),
            )

    def on_mount(self) -> None:
        """Start where nothing can go wrong."""
        self.query_one("#name" if self._name else "#no").focus()

    def action_cancel(self) -> None:
        """Esc is no."""
        self.dismiss(False)

    @on(Input.Changed, "#name")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = event.value != self._name

    @on(Input.Submitted, "#name")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value == self._name:
            self.dismiss(True)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class PromptDialog(Dialog[str | None]):
    """One line to type; None when left.

    `check` gets the text and returns what is wrong with it, empty when nothing is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "accept", id="dialog.accept", tooltip="Take this text"),
    ]

    def __init__(
        self,
        title: str,
        value: str = "",
        *,
        check: Callable[[str], str] | None = None,
        message: str = "",
        password: bool = False,
    ) -> None:
        super().__init__()
        self.title_text = title
        self._value = value
        self._check = check or (lambda text: "")
        self._message = message
        self._password = password

    def compose_dialog(self) -> ComposeResult:
        """The input and what is wrong with it."""
        if self._message:
            yield Static(Content(many_lines(self._message)), classes="dialog-text")
        yield Input(self._value, id="value", password=self._password, compact=True)
        yield Static(id="problem", classes="dialog-problem")

    @on(Input.Changed, "#value")
    def _changed(self, event: Input.Changed) -> None:
        self.query_one("#problem", Static).update(Content(one_line(self._check(event.value))))

    @on(Input.Submitted, "#value")
    def _submitted(self, event: Input.Submitted) -> None:
        self.action_accept()

    def action_accept(self) -> None:
        """Close with the text unless something is wrong with it."""
        value = self.query_one("#value", Input).value
        problem = self._check(value)
        if problem:
            self.query_one("#problem", Static).update(Content(one_line(problem)))
        else:
            self.dismiss(value)


class ChoiceDialog(Dialog[str | None]):
    """One of several answers: `choices` are pairs of id and text; None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", show=False, id="dialog.down", tooltip="Next"),
        Binding("k", "move(-1)", show=False, id="dialog.up", tooltip="Previous"),
    ]

    def __init__(
        self,
        title: str,
        choices: Sequence[tuple[str, str]],
        *,
        message: str = "",
        chosen: str | None = None,
    ) -> None:
        super().__init__()
        self.title_text = title
        self._choices = tuple(choices)
        self._message = message
        self._chosen = chosen

    def compose_dialog(self) -> ComposeResult:
        """The answers, the one that holds now under the cursor."""
        if self._message:
            yield Static(Content(many_lines(self._message)), classes="dialog-text")
        shown = [Option(Content(one_line(text))) for _, text in self._choices]
        options = OptionList(*shown, compact=True)
        ids = [choice for choice, _ in self._choices]
        options.highlighted = ids.index(self._chosen) if self._chosen in ids else 0
        yield options

    def action_move(self, rows: int) -> None:
        """Move the cursor down, or up when `rows` is negative."""
        options = self.query_one(OptionList)
        if rows > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index][0])


class TextDialog(Dialog[None]):
    """A text to read and copy: a value, a statement."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="dialog.copy", tooltip="Copy the whole text"),
        Binding("enter,space,q", "cancel", "close", show=False, id="dialog.close", tooltip="Close"),
    ]
    DEFAULT_CSS = """
    TextDialog {
        & > .dialog { width: 96%; max-width: 120; }
        & .dialog-scroll { max-height: 70vh; height: auto; }
        & .dialog-text { margin: 0; }
    }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self.title_text = title
        self._text = text

    def compose_dialog(self) -> ComposeResult:
        """The text, scrollable."""
        with VerticalScroll(classes="dialog-scroll"):
            shown = Content(many_lines(self._text[:_SHOWN_CHARACTERS]))
            yield Static(shown, classes="dialog-text")
        left = len(self._text) - _SHOWN_CHARACTERS
        if left > 0:
            note = f"… {left:,} more characters; y copies all of them"
            yield Static(Content(note), classes="dialog-problem")

    def action_copy(self) -> None:
        """Copy the whole text."""
        self.copy(self._text)
