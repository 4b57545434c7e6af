"""The rows that are not in the graph, each with its reason and its values; skip and retry."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from geode_tui.migration import child
from geode_tui.migration.dead_letters import DeadLetter, LetterCount, Selection
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, PromptDialog, TextDialog
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figures import counted, rows
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.letter_table import STATES, LetterTable, letter_content, letter_text
from geode_tui.widgets.paged_table import PAGE, PagedTable
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_CALM = 0.2
"""Seconds without a key before the filter reads the journal."""


@dataclass(frozen=True)
class Letters:
    """What a look at the journal found: the run, how many letters of what, the ids to show."""

    record: RunRecord
    counts: Sequence[LetterCount]
    ids: array[int]


class DeadLettersScreen(GeodeScreen):
    """The dead letters of a run, or those of one entity of it."""

    HELP = """
# Dead letters

Rows that were read and are not in the graph, each with the reason and its values (masked where the
mapping masks). An **orphan** is a relationship one of whose nodes is not there.

- **enter** shows a letter whole; **/** keeps those with all the words that you type, in entity,
  key, class, reason or state.
- **r** retries: reads the row again and writes it. Mend the source or the mapping first.
- **s** skips: gives rows up, with your reason, which goes into the audit trail. They still count
  as left out of the graph.
- **y** copies the letter, **c** the command that lists them. **esc** goes back.

A letter is *open*, *written* (by a retry) or *skipped*.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "retry", "retry", id="letters.retry", tooltip="Read and write rows again"),
        Binding("s", "skip", "skip", id="letters.skip", tooltip="Give rows up, with a reason"),
        Binding("escape", "back", "back", id="letters.back", tooltip="Back to the run"),
        Binding("tab", "pane(1)", "next pane", show=False, id="letters.next", tooltip="Next pane"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="letters.previous",
            tooltip="Previous pane",
        ),
    ]
    CSS = """
    DeadLettersScreen {
        #letters-head { height: auto; max-height: 2; padding: 0 1; }
        #pane-letters { height: 3fr; }
        #pane-letter { height: 2fr; }
        #pane-letter VerticalScroll { padding: 0 1; }
        #letter-text { height: auto; }
        &.-narrow Pane.-shown { height: 1fr; }
        &.-short #pane-letter { display: none; }
    }
    """

    def __init__(self, run: int, entity: str = "", mode: str = "run") -> None:
        super().__init__()
        self.MODE = mode  # the screen that they were opened from
        self._run = run
        self._entity = entity
        self._ids: array[int] = array("q")
        self._text = ""
        self._counts: Sequence[LetterCount] = ()
        self._record: RunRecord | None = None
        self._working = ""
        self._head = Content("")

    def compose_body(self) -> ComposeResult:
        """How many of what, the filter, the list, and the letter under the cursor."""
        yield Static(Content.styled("reading the journal …", "$text-muted"), id="letters-head")
        yield FilterInput("letters", placeholder="/ filter by entity, key, class, reason, state")
        with Panes():
            with Pane("dead letters", id="pane-letters"):
                yield LetterTable(id="letters")
            with Pane("the letter", id="pane-letter", brief="letter"), VerticalScroll():
                yield Static(id="letter-text", markup=False)

    def on_mount(self) -> None:
        """Start on the list."""
        super().on_mount()
        self.query_one(LetterTable).focus()
        self.set_interval(0.5, self._show_head)

    def refresh_view(self) -> None:
        """Read the journal anew."""
        self._read(keep_cursor=True)

    @work(exclusive=True, group="letters", exit_on_error=False)
    async def _read(self, keep_cursor: bool = False, calm: float = 0.0) -> None:
        await asyncio.sleep(calm)
        found = await asyncio.to_thread(read_letters, self._run, self._entity, self._text)
        same = found.ids == self._ids and found.counts == self._counts
        self._ids, self._counts, self._record = found.ids, found.counts, found.record
        self._show_head()
        table = self.query_one(LetterTable)
        table.set_empty(_nothing(self._text, bool(found.counts)))
        if same and table.row_count == len(found.ids) and keep_cursor and found.ids:
            return
        table.show_count(len(found.ids), keep_cursor=keep_cursor)
        title = rows(len(found.ids)) if found.ids else ""
        self.query_one("#pane-letters", Pane).set_title(f"dead letters {title}".strip())
        self.refresh_bindings()
        if not found.ids:
            self.query_one("#letter-text", Static).update(Content(""))

    def _show_head(self) -> None:
        if self._record is None or not self.is_current:
            return
        text = headline(self._record, self._counts, self._entity, self._working)
        if text != self._head:
            self._head = text
            self.query_one("#letters-head", Static).update(text)

    @on(PagedTable.PageWanted)
    def _page_wanted(self, event: PagedTable.PageWanted) -> None:
        self._read_page(event.number)

    @work(group="letter-pages", exit_on_error=False)
    async def _read_page(self, number: int) -> None:
        ids = self._ids
        some = tuple(ids[number * PAGE : (number + 1) * PAGE])
        letters = await asyncio.to_thread(read_page, self._run, some)
        if ids is self._ids:
            self.query_one(LetterTable).take_page(number, letters)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._text = event.value
        self._read(calm=_CALM)

    @on(VirtualTable.RowHighlighted, "#letters")
    def _highlighted(self) -> None:
        letter = self.query_one(LetterTable).item
        text = letter_content(letter) if letter else Content("")
        self.query_one("#letter-text", Static).update(text)

    @on(VirtualTable.RowSelected, "#letters")
    def _opened(self) -> None:
        letter = self.query_one(LetterTable).item
        if letter is not None:
            self.app.push_screen(TextDialog("a dead letter", letter_content(letter).plain))

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Skip and retry are there where there are letters."""
        if action in ("skip", "retry"):
            return len(self._ids) > 0 and not self._working
        return super().check_action(action, parameters)

    def copied(self) -> str:
        """The letter under the cursor."""
        letter = self.query_one(LetterTable).item
        return letter_text(letter) if letter else ""

    def action_copy_command(self) -> None:
        """Copy the command that lists them."""
        command = f"geode-tui deadletters list {self._run}"
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """Back to the screen before; from the letter to the list where only one is shown."""
        panes = self.query_one(Panes)
        if self.has_class("-narrow") and panes.shown is not panes.panes[0]:
            panes.go_to(panes.panes[0])
        else:
            self.dismiss()

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_skip(self) -> None:
        """Give rows up, with a reason."""
        selection = await self._choose("skip")
        if selection is None:
            return
        dialog = PromptDialog(
            "why are they given up?",
            message="The reason is kept with each row and in the audit trail.",
            check=lambda text: "" if text.strip() else "a reason is needed",
        )
        reason = await self.app.push_screen_wait(dialog)
        if reason is None:
            return
        number = await asyncio.to_thread(skip, self._run, selection, reason.strip())
        self.say(f"{counted(number, 'dead letter')} skipped")
        self._read(keep_cursor=True)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_retry(self) -> None:
        """Read rows again and write them."""
        selection = await self._choose("retry")
        if selection is None:
            return
        here = await asyncio.to_thread(self._source_here)
        source, password = here if here is not None else (None, None)
        self._working = "retrying"
        self._show_head()
        try:
            work = (child.retry, self._run, selection, source, password)
            told = await child.in_child(*work, tell=self._hear)
            self.app.notify(f"retried: {told}", timeout=10, markup=False)
        finally:
            self._working = ""
            self._read(keep_cursor=True)

    def _source_here(self) -> tuple[str, str | None] | None:
        """The source connected to with its password, where it is the run's."""
        with contextlib.closing(Journal()) as journal:
            return self.workspace.access(journal.run(self._run))

    def _hear(self, text: str) -> None:
        """What the retry tells, in its thread."""
        self._working = text

    async def _choose(self, verb: str) -> Selection | None:
        """Which rows: the one under the cursor, those like it, or all that are open."""
        letter = self.query_one(LetterTable).item
        if letter is None:
            return None
        choices = choices_of(letter, self._counts)
        shown = [(str(n), f"{verb} {text}") for n, (text, _) in enumerate(choices)]
        answer = await self.app.push_screen_wait(ChoiceDialog(f"{verb} which rows?", shown))
        return choices[int(answer)][1] if answer is not None else None


def choices_of(letter: DeadLetter, counts: Sequence[LetterCount]) -> list[tuple[str, Selection]]:
    """What can be chosen at a letter, each with its number of open letters."""
    opened = [count for count in counts if count.state == "open"]
    own = [count for count in opened if count.entity == letter.entity]
    alike = [count for count in own if count.error_class == letter.error_class]
    title = one_line(entity_title(letter.entity))
    found = [(f"this row: {one_line(letter.key)}", Selection(ids=(letter.id,)))]
    for text, some, selection in (
        (
            f"of {title} with class {letter.error_class}",
            alike,
            Selection(entity=letter.entity, error_class=letter.error_class, state="open"),
        ),
        (f"of {title}", own, Selection(entity=letter.entity, state="open")),
        ("of the whole run", opened, Selection(state="open")),
    ):
        number = sum(count.letters for count in some)
        if number > 1:
            found.append((f"all {rows(number)} open {text}", selection))
    return found


def headline(
    record: RunRecord, counts: Sequence[LetterCount], entity: str, working: str = ""
) -> Content:
    """`run 7 · 12 dead letters · 10 open · 2 skipped`, and below what is being done, or where."""
    some = [count for count in counts if not entity or count.entity == entity]
    total = sum(count.letters for count in some)
    parts: list[tuple[str, str]] = [
        (f"run {record.number}", "bold"),
        (f" · {one_line(entity_title(entity))}" if entity else "", "bold"),
        (f" · {counted(total, 'dead letter')}", "bold"),
    ]
    for state, (glyph, style) in STATES.items():
        number = sum(count.letters for count in some if count.state == state)
        if number:
            parts += [(" · ", "$text-muted"), (f"{glyph} {rows(number)} {state}", style)]
    if working:
        parts.append((f"\n▶ {one_line(working)} …", "$text-primary"))
    else:
        parts.append((f"\n{one_line(record.source)} ─▶ {one_line(record.place)}", "$text-muted"))
    return Content.assemble(*parts)


def _nothing(text: str, any_there: bool) -> str:
    if any_there:
        return "no dead letter has these words" if text else "no dead letter of this entity"
    return "✓ no dead letter: every row was written"


def read_letters(run: int, entity: str, text: str) -> Letters:
    """The ids of a run's dead letters, and how many there are of what. Raises GeodeTuiError."""
    with contextlib.closing(Journal()) as journal:
        letters = journal.dead_letters
        ids = letters.ids(run, Selection(entity=entity), text)
        return Letters(journal.run(run), letters.counts(run), ids)


def read_page(run: int, ids: tuple[int, ...]) -> list[DeadLetter]:
    """The letters of these ids, in their order. Raises GeodeTuiError."""
    if not ids:
        return []
    with contextlib.closing(Journal()) as journal:
        return journal.dead_letters.of(run, len(ids), 0, Selection(ids=ids))


def skip(run: int, selection: Selection, reason: str) -> int:
    """Give letters up; returns how many. Raises GeodeTuiError."""
    with contextlib.closing(Journal()) as journal:
        return journal.dead_letters.skip(run, selection, reason)
