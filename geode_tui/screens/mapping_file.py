"""The mapping and its file: saving, what differs, and one's own editor."""

from __future__ import annotations

import asyncio
import difflib
import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType

from geode_tui.errors import GeodeTuiError, MappingError, UsageError
from geode_tui.mapping.difference import Change, changes, compare
from geode_tui.mapping.file import dump, parse
from geode_tui.mapping.model import Mapping
from geode_tui.screens.dialogs import ChoiceDialog, TextDialog
from geode_tui.screens.mapping_advice import MappingAdvice
from geode_tui.source.introspect import collector_at_rest
from geode_tui.widgets.panes import Pane

_MANY = 500
_SIGNS = {"come": "+", "go": "-", "rename": "~", "change": "~"}


class MappingFileKeys(MappingAdvice):
    """The keys of the mapping's file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "save", id="mapping.save", tooltip="Save the mapping's file"),
        Binding(
            "d",
            "diff",
            "diff",
            show=False,
            id="mapping.diff",
            tooltip="What saving would change in the file",
        ),
        Binding(
            "E",
            "editor",
            "$EDITOR",
            show=False,
            id="mapping.editor",
            tooltip="Change the mapping's text in your own editor",
        ),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a mapping there is no file."""
        if action in ("save", "diff", "editor"):
            return self.history is not None
        return super().check_action(action, parameters)

    @work(exclusive=True, group="file", exit_on_error=False)
    async def action_save(self) -> None:
        """Write the file."""
        path = await self.workspace.write_mapping()
        self.query_one("#mapping-rules", Pane).set_title("rules")
        self.refresh_status()
        self.say(f"saved {path}")

    @work(exclusive=True, group="file", exit_on_error=False)
    async def action_diff(self) -> None:
        """Show what saving would change."""
        history, path = self.history, self.workspace.mapping_path
        if history is None:
            return
        if len(history.current.rules) > _MANY:
            self.say("comparing …")
        async with collector_at_rest():
            text = await asyncio.to_thread(difference_text, path, history.current)
        self.app.push_screen(TextDialog(f"what saving changes in {path.name}", text))

    @work(exclusive=True, group="editor", exit_on_error=False)
    async def action_editor(self) -> None:
        """Open the mapping as text in one's own editor, and take what comes back."""
        history = self.history
        if history is None:
            return
        command = editor_command()
        path = _draft_path(self.workspace.mapping_path)
        before = await asyncio.to_thread(dump, history.current)
        await asyncio.to_thread(_write, path, before)
        try:
            while await self._edited(command, path, before):
                pass
        finally:
            with suppress(OSError):
                await asyncio.to_thread(path.unlink)

    async def _edited(self, command: Sequence[str], path: Path, before: str) -> bool:
        """Let the text be edited once; returns whether to edit again."""
        try:
            with self.app.suspend():
                _run_editor(command, path)
        except SuspendNotSupported:
            raise UsageError(
                "this terminal cannot be lent to an editor",
                "geode-tui does not run in a terminal of its own",
                f"save with ctrl+s and edit {self.workspace.mapping_path} outside",
            ) from None
        content = await asyncio.to_thread(_read, path)
        if content == before:
            self.say("nothing changed")
            return False
        try:
            name = self.workspace.mapping_path.name
            await self.workspace.take_mapping(content, name, "edited the file's text")
        except GeodeTuiError as error:
            return await self._asked_again(error)
        self.refresh_view()
        self.refresh_status()
        self.say("edited the file's text · u takes it back")
        return False

    async def _asked_again(self, error: GeodeTuiError) -> bool:
        choices = [("again", "edit again"), ("drop", "drop what was edited")]
        dialog = ChoiceDialog("the text cannot be taken", choices, message="\n".join(error.lines()))
        return await self.app.push_screen_wait(dialog) == "again"


def editor_command() -> list[str]:
    """The person's own editor. Raises UsageError where none is named."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"$EDITOR is not a command: {command}", str(error)) from None
    if not words:
        raise UsageError(
            "no editor is named",
            "neither $VISUAL nor $EDITOR is set",
            "leave, run export EDITOR=vi (or what you like), and come back",
        )
    return words


def difference_text(path: Path, mapping: Mapping) -> str:
    """What saving changes in a file: the changes in words, then in the file's text.

    Raises MappingError where the file cannot be read.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"cannot read {path}", str(error)) from None
    new = dump(mapping)
    lines = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), "saved", "now", lineterm="")
    )
    if not lines:
        return f"nothing: {path} is up to date"
    return "\n".join([*_changes_of(old, mapping), *lines])


def _changes_of(old: str, mapping: Mapping) -> list[str]:
    """The changes in words, where the old text is a mapping."""
    if not old:
        return ["the file does not exist yet", ""]
    try:
        found = changes(compare(parse(old).mapping, mapping))
    except MappingError:
        return ["the file holds no mapping that can be read", ""]
    return [*map(change_text, found), ""] if found else []


def change_text(change: Change) -> str:
    """A change on one line: `~ User property name: fullName → name`."""
    of = f"{change.rule} " if change.rule and change.rule != change.name else ""
    what = f"{_SIGNS[change.way]} {of}{change.kind} {change.name}"
    if change.old and change.new:
        return f"{what}: {change.old} → {change.new}"
    rest = change.new or change.old
    return f"{what}: {rest}" if rest else what


def _draft_path(path: Path) -> Path:
    """A file of its own beside the mapping's, so that this one is only written by saving."""
    return path.with_name(f".{path.stem}.{os.getpid()}.edit{path.suffix or '.yaml'}")


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise MappingError(f"cannot write {path}", error.strerror or str(error)) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"cannot read {path}", str(error)) from None


def _run_editor(command: Sequence[str], path: Path) -> None:
    try:
        subprocess.run([*command, str(path)], check=True)
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be started", error.strerror or "", "check $VISUAL and $EDITOR"
        ) from None
    except subprocess.CalledProcessError as error:
        raise UsageError(
            f"{command[0]} ended with code {error.returncode}", "what it wrote was not taken"
        ) from None
