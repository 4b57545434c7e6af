"""How a cutover is done: its budget, its watch window, how writes are stopped, commands to run."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalScroll
from textual.widgets import Input, Static

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import (
    BUDGET_SECONDS,
    WATCH_SECONDS,
    CutoverRequest,
    Method,
)
from geode_tui.migration.replication.hooks import HOOKS
from geode_tui.migration.replication.leftover import hooks_of
from geode_tui.screens.dialogs import Dialog
from geode_tui.widgets.text import one_line

_NUMBERS = {"budget": "seconds that writes may stand", "watch": "seconds of the watch window"}
_METHODS = "how: auto, lock, trigger, hook"


@dataclass(frozen=True)
class CutoverOptions:
    """What a person sets of a cutover; hooks are command lines, empty ones are left out."""

    budget: float = BUDGET_SECONDS
    watch: float = WATCH_SECONDS
    method: str = "auto"
    hooks: Mapping[str, str] = field(default_factory=dict)

    def request(
        self, run: int, source: str | None, password: str | None, *, rehearse: bool = False
    ) -> CutoverRequest:
        """The request of a cutover or a rehearsal."""
        return CutoverRequest(
            run,
            rehearse,
            cast(Method, self.method),
            self.budget,
            self.watch,
            dict(self.hooks),
            source=source,
            password=password,
        )

    @property
    def flags(self) -> list[str]:
        """The same as options of the command line."""
        words = []
        if self.method != "auto":
            words += ["--method", self.method]
        if self.budget != BUDGET_SECONDS:
            words += ["--budget", f"{self.budget:g}"]
        if self.watch != WATCH_SECONDS:
            words += ["--watch", f"{self.watch:g}"]
        for name, command in self.hooks.items():
            words += [f"--{name}", command]
        return words


def options_of(run: int) -> CutoverOptions:
    """The options of the newest cutover or rehearsal of a run, else the usual ones."""
    with contextlib.closing(Journal()) as journal:
        cut = journal.cutovers.newest(run)
    if cut is None:
        return CutoverOptions()
    watch = float(cut.options.get("watch", WATCH_SECONDS))
    hooks = hooks_of(cut, {})
    method = "hook" if cut.method == "hook" else "auto"
    return CutoverOptions(cut.budget, watch, method, hooks)


class CutoverOptionsDialog(Dialog[CutoverOptions | None]):
    """A line for each option; ctrl+s or enter takes them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+s,enter",
            "accept",
            "accept",
            key_display="enter",
            id="dialog.accept",
            tooltip="Take these options",
        ),
        Binding("down", "app.focus_next", show=False, id="options.down", tooltip="Next"),
        Binding("up", "app.focus_previous", show=False, id="options.up", tooltip="Previous"),
    ]
    DEFAULT_CSS = """
    CutoverOptionsDialog {
        & > .dialog { width: 96%; max-width: 100; }
        & .dialog-scroll { max-height: 70vh; }
        & .options-line { margin-top: 0; align-horizontal: left; }
        & .options-line Static { width: 34; color: $text-muted; }
        & .options-line Input { width: 1fr; }
    }
    """

    def __init__(self, options: CutoverOptions) -> None:
        super().__init__()
        self.title_text = "options of the cutover"
        self._options = options

    def compose_dialog(self) -> ComposeResult:
        """Numbers, the method, the hooks."""
        options = self._options
        values = {"budget": f"{options.budget:g}", "watch": f"{options.watch:g}"}
        with VerticalScroll(classes="dialog-scroll", can_focus=False):
            for name, words in _NUMBERS.items():
                yield from _line(name, words, values[name])
            yield from _line("method", _METHODS, options.method)
            for hook in HOOKS:
                yield from _line(hook, f"command {hook}", options.hooks.get(hook, ""))
        yield Static(id="problem", classes="dialog-problem", markup=False)

    @on(Input.Changed)
    def _changed(self) -> None:
        self.query_one("#problem", Static).update("")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_accept()

    def action_accept(self) -> None:
        """Close with what is written, if it can be."""
        try:
            options = self._read()
            options.request(0, None, None).check()
        except ValueError as error:
            self.query_one("#problem", Static).update(one_line(str(error)))
        except GeodeTuiError as error:
            self.query_one("#problem", Static).update(one_line(f"{error.what}; {error.next_step}"))
        else:
            self.dismiss(options)

    def _read(self) -> CutoverOptions:
        text = {box.id or "": box.value.strip() for box in self.query(Input)}
        method = text["method"] or "auto"
        if method not in get_args(Method):
            raise ValueError(f"{method} is no way to stop writes: {_METHODS}")
        hooks: dict[str, str] = {hook: text[hook] for hook in HOOKS if text[hook]}
        for hook, command in hooks.items():
            _check_words(hook, command)
        return CutoverOptions(_number(text["budget"]), _number(text["watch"]), method, hooks)


def _line(name: str, words: str, value: str) -> ComposeResult:
    with HorizontalGroup(classes="options-line"):
        yield Static(words, markup=False)
        yield Input(value, id=name, compact=True)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text or 'nothing'} is no number of seconds") from None
    if not 0 < number < 86_400 * 7:
        raise ValueError("more than 0 seconds, and at most a week")
    return number


def _check_words(hook: str, command: str) -> None:
    try:
        shlex.split(command)
    except ValueError as error:
        raise ValueError(f"the command {hook} cannot be read: {error}") from error
