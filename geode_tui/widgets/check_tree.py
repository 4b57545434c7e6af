"""The tree of checks: folded and drawn only as far as it is looked at."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from geode_tui.validation.ledger import Difference
from geode_tui.widgets.check_model import MARKS, Branch, matching, state_text
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_INDENT = "  "
_LEAST_STATE, _MOST_STATE = 14, 26
_NOTHING = "not validated yet"
_NO_MATCH = "nothing has all these words\n\nesc shows everything again"


@dataclass(frozen=True, slots=True)
class Place:
    """What a line of the tree is: a row, or the last of the branches that it is in."""

    branches: tuple[Branch, ...]
    row: Difference | None = None

    @property
    def branch(self) -> Branch:
        """The innermost branch."""
        return self.branches[-1]

    def of(self, level: str) -> Branch | None:
        """The branch of that level that it is in."""
        return next((branch for branch in self.branches if branch.level == level), None)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Lines that follow each other: a branch alone, or the rows of one."""

    branches: tuple[Branch, ...]
    rows: tuple[Difference, ...] = ()


class CheckTree(FigureTable):
    """Kinds of checks, entities, causes and rows; what is filtered is unfolded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "fold", "Fold", show=False, id="checks.fold", tooltip="Fold the branch"),
        Binding(
            "right", "unfold", "Unfold", show=False, id="checks.unfold", tooltip="Unfold the branch"
        ),
        Binding("space", "turn", "Fold", show=False, id="checks.toggle", tooltip="Fold or unfold"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_columns(()), empty=_NOTHING, id=id)
        self._all: tuple[Branch, ...] = ()
        self._shown: tuple[Branch, ...] = ()
        self._filtered = False
        self._open: set[tuple[str, ...]] = set()
        self._folded: set[tuple[str, ...]] = set()
        self._starts: list[int] = []
        self._stretches: list[_Stretch] = []
        self._seen_lines = 0

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The whole tree, whatever the filter."""
        return self._all

    @property
    def shown(self) -> tuple[Branch, ...]:
        """The tree as far as the filter shows it."""
        return self._shown

    @property
    def filtered(self) -> bool:
        """Whether only some of it is shown."""
        return self._filtered

    @property
    def place(self) -> Place | None:
        """What is under the cursor."""
        return self._place(self.cursor) if self._starts else None

    def show_branches(
        self, branches: tuple[Branch, ...], shown: tuple[Branch, ...] | None = None
    ) -> None:
        """Show a tree, or of it what a filter left; the cursor stays where it was."""
        if not self._all and branches:
            self._open |= {branch.path for branch in branches if branch.state == "mismatched"}
        self._all, self._filtered = branches, shown is not None
        self._shown = branches if shown is None else shown
        self._folded.clear()
        self.set_empty(_NO_MATCH if shown is not None else _NOTHING)
        columns = _columns(self._shown)
        place = self.place
        if columns != self.columns:
            self.set_columns(columns)
        self._rebuild(place)

    def filter(self, text: str) -> None:
        """Show what has all words of a text; for a big tree find it first, in a thread."""
        self.show_branches(self._all, matching(self._all, text) if text.strip() else None)

    def go_to(self, path: tuple[str, ...]) -> bool:
        """Put the cursor on a branch, unfolded; whether it is there."""
        for length in range(1, len(path) + 1):
            self._set_open(path[:length], True)
        self._rebuild(None)
        for start, stretch in zip(self._starts, self._stretches, strict=True):
            if stretch.branches[-1].path == path and not stretch.rows:
                self.cursor = start
                return True
        return False

    def on_resize(self) -> None:
        """Where it was hidden show what is above the cursor, too."""
        height = self._lines_in_view
        if self._seen_lines <= 1 < height:
            self.scroll_to(y=max(0, self.cursor - height // 2), animate=False, force=True)
        self._seen_lines = height
        super().on_resize()

    def action_select(self) -> None:
        """Fold or unfold a branch; a row or a check is opened."""
        place = self.place
        if place is not None and place.row is None and not place.branch.leafless:
            self.action_turn()
        else:
            super().action_select()

    def action_turn(self) -> None:
        """Fold or unfold the branch under the cursor."""
        place = self.place
        if place is not None and place.row is None and self._is_open(place.branch):
            self.action_fold()
        elif place is not None and place.row is None:
            self.action_unfold()

    def action_fold(self) -> None:
        """Fold the branch that the cursor is on or in, and go to its line."""
        place = self.place
        if place is None:
            return
        branches = place.branches
        if place.row is None and (place.branch.leafless or not self._is_open(place.branch)):
            branches = branches[:-1] or branches
        self._set_open(branches[-1].path, False)
        self._rebuild(Place(branches))

    def action_unfold(self) -> None:
        """Unfold the branch under the cursor."""
        place = self.place
        if place is not None and place.row is None:
            self._set_open(place.branch.path, True)
            self._rebuild(place)

    def _is_open(self, branch: Branch) -> bool:
        if self._filtered:
            return branch.path not in self._folded
        return branch.path in self._open

    def _set_open(self, path: tuple[str, ...], wanted: bool) -> None:
        if self._filtered:
            (self._folded.discard if wanted else self._folded.add)(path)
        else:
            (self._open.add if wanted else self._open.discard)(path)

    def _rebuild(self, place: Place | None) -> None:
        """Make the lines anew: one for each open branch, and one for all rows of a cause."""
        self._starts, self._stretches = [], []
        count = 0
        todo: list[tuple[Branch, ...]] = [(branch,) for branch in reversed(self._shown)]
        while todo:
            branches = todo.pop()
            branch = branches[-1]
            count = self._add(count, _Stretch(branches), 1)
            if self._is_open(branch):
                if branch.rows:
                    count = self._add(count, _Stretch(branches, branch.rows), len(branch.rows))
                todo += [(*branches, inner) for inner in reversed(branch.branches)]
        cursor = self._index_of(place) if place is not None else None
        self.set_source(count, self._cells, keep_cursor=True)
        if cursor is not None and cursor != self.cursor:
            self.cursor = cursor
        elif count:
            self.post_message(self.RowHighlighted(self, self.cursor))

    def _add(self, start: int, stretch: _Stretch, lines: int) -> int:
        self._starts.append(start)
        self._stretches.append(stretch)
        return start + lines

    def _index_of(self, place: Place) -> int | None:
        """Where it is now: the row, else the innermost branch that is still shown."""
        best, depth = None, 0
        path = place.branch.path
        for start, stretch in zip(self._starts, self._stretches, strict=True):
            own = stretch.branches[-1].path
            if own != path[: len(own)]:
                continue
            if not stretch.rows and len(own) > depth:
                best, depth = start, len(own)
            elif stretch.rows and place.row is not None and own == path:
                key = place.row.key
                at = next((n for n, one in enumerate(stretch.rows) if one.key == key), None)
                return best if at is None else start + at
        return best

    def _place(self, index: int) -> Place:
        at = bisect_right(self._starts, index) - 1
        stretch = self._stretches[at]
        row = stretch.rows[index - self._starts[at]] if stretch.rows else None
        return Place(stretch.branches, row)

    def _cells(self, index: int) -> Row:
        place = self._place(index)
        if place.row is not None:
            return _row_cells(place.row, len(place.branches))
        branch = place.branch
        glyph = " " if branch.leafless else "▾" if self._is_open(branch) else "▸"
        indent = _INDENT * (len(place.branches) - 1)
        title = (one_line(branch.title), "bold" if branch.level == "kind" else "")
        name = Content.assemble((f"{indent}{glyph} ", "$text-muted"), title)
        count = f"{branch.count:,}" if branch.count is not None else ""
        return name, Content.styled(count, "$text-muted"), _styled(branch)


def _row_cells(row: Difference, depth: int) -> Row:
    names = ", ".join(one_line(name) for name, _, _ in row.values)
    parts = [(f"{_INDENT * depth}  ", ""), (one_line(row.key), "")]
    parts.append((f" · {names}" if names else "", "$text-muted"))
    state = Content.styled(state_text(row.state), MARKS[row.state][1])
    return Content.assemble(*parts), "", state


def _styled(branch: Branch) -> Content:
    return Content.styled(branch.told, MARKS[branch.state][1])


def _columns(branches: Sequence[Branch]) -> tuple[TableColumn, ...]:
    told = [cell_len(one.told) for branch in branches for one in (branch, *branch.branches)]
    state = min(_MOST_STATE, max([_LEAST_STATE, *told]))
    return (
        TableColumn("check", least=20),
        TableColumn("count", 6, "right"),
        TableColumn("state", state),
    )
