"""All runs, a line each, and what is known of one of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from geode_tui.migration.run_list import RunFacts, RunLine, RunSums
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import counted, rows, span
from geode_tui.widgets.run_states import run_state_content
from geode_tui.widgets.text import many_lines, one_line, short_count
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn

_MARK = TableColumn("", 1)
_NUMBER = TableColumn("run", 5, "right")
_KIND = TableColumn("kind", 8)
_STATE = TableColumn("state", 14)
_SOURCE = TableColumn("source", least=12)
_TARGET = TableColumn("target", least=12)
_BEGUN = TableColumn("begun", 16)
_TOOK = TableColumn("took", 7, "right")
_ROWS = TableColumn("rows", 10, "right")
_DEAD = TableColumn("dead", 5, "right")
_LEDGER = TableColumn("ledger", 15)
_WIDE = (_MARK, _NUMBER, _KIND, _STATE, _SOURCE, _TARGET, _BEGUN, _TOOK, _ROWS, _DEAD, _LEDGER)
_NARROW = (
    *(_MARK, TableColumn("run", 4, "right"), _STATE, TableColumn("target", least=12), _BEGUN),
    *(TableColumn("rows", 8, "right"), TableColumn("ledger", 12)),
    *(_SOURCE, _KIND, _TOOK, _DEAD),
)
"""The last four are reached by scrolling sideways."""
_ROOM_FOR_ALL = 100
_READING = "…"


class RunTable(FigureTable):
    """Runs, the newest first; a place is shown by its end, which tells it from others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "open", id="table.select", tooltip="Open the run"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_WIDE, empty="reading the journal …", id=id)
        self._lines: Sequence[RunLine] = ()
        self._sums: Mapping[int, RunSums] = {}
        self._marked: int | None = None
        self._now = 0.0

    @property
    def line(self) -> RunLine | None:
        """The run under the cursor."""
        return self._lines[self.cursor] if self.cursor < len(self._lines) else None

    def show_lines(
        self,
        lines: Sequence[RunLine],
        sums: Mapping[int, RunSums],
        marked: int | None,
        now: float,
    ) -> None:
        """Show these runs; the cursor stays on the run it was on, where that is still there."""
        under = self.line
        stays = under.number if under is not None else 0
        self._lines, self._sums, self._marked, self._now = lines, sums, marked, now
        self.set_source(len(lines), self._cells)
        place = next((n for n, line in enumerate(lines) if line.number == stays), None)
        if place is not None:
            self.cursor = place

    def go_to(self, number: int) -> None:
        """Put the cursor on a run."""
        for place, line in enumerate(self._lines):
            if line.number == number:
                self.cursor = place

    def on_resize(self) -> None:
        """Fewer columns where there is less room; the rest is a scroll away."""
        columns = _WIDE if self.size.width >= _ROOM_FOR_ALL else _NARROW
        if columns != self.columns:
            self.set_columns(columns)
            self.set_source(len(self._lines), self._cells)
        super().on_resize()

    def _cells(self, index: int) -> Row:
        line = self._lines[index]
        sums = self._sums.get(line.number)
        widths = {
            column.title: width for column, width in zip(self.columns, self._widths, strict=False)
        }
        cells: dict[str, Cell] = {
            "": Content.styled("●", "$text-accent") if line.number == self._marked else " ",
            "run": str(line.number),
            "kind": line.kind,
            "state": run_state_content(line.state),
            "source": one_line(line.source),
            "target": _ending(one_line(line.place), widths.get("target", 14)),
            "begun": _moment(line.started),
            "took": span((line.ended or self._now) - line.started) if _known(line) else "",
            "rows": _READING if sums is None else _count(sums.rows),
            "dead": _READING if sums is None else _left_out(sums),
            "ledger": ledger_content(line, sums),
        }
        return tuple(cells[column.title] for column in self.columns)


def _known(line: RunLine) -> bool:
    """Whether it is known how long the run took: it ended in order, or goes on."""
    return line.ended is not None or line.state in ("running", "rolling back")


def _count(number: int) -> str:
    return rows(number) if number < 10**7 else short_count(number)


def _left_out(sums: RunSums) -> Cell:
    number = sums.dead + sums.orphans
    return Content.styled(short_count(number), "$text-warning") if number else "0"


def _ending(text: str, width: int) -> str:
    """The end of a text that is too long: of a path that is what tells."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return f"…{text}"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def ledger_content(line: RunLine, sums: RunSums | None) -> Content:
    """`✓ balanced`, `✗ 2/14 differ`, `– none`."""
    if not line.has_ledger:
        return Content.styled("– none", "$text-muted")
    if sums is None or sums.entries is None:
        return Content.styled(_READING, "$text-muted")
    if sums.differing:
        return Content.styled(f"✗ {sums.differing}/{sums.entries} differ", "$text-error")
    return Content.styled("✓ balanced", "$text-success")


def run_facts_content(facts: RunFacts) -> Content:
    """What is known of a run beside its line in the table."""
    record = facts.record
    workers = counted(facts.knobs.parallel or record.parallel, "worker")
    size = facts.knobs.batch_rows or record.batch_rows
    batch = f"{size:,} rows a transaction" if size else "transactions adapt"
    limit = "no limit" if record.dead_limit is None else f"{record.dead_limit:,} an entity"
    steps = counted(record.steps, "step")
    label = f" ({record.label})" if record.label else ""
    wave = f", up to wave {record.last_wave}" if record.last_wave else ""
    lines = [
        ("from", f"{record.source}{label}"),
        ("to", record.place),
        (
            "mapping",
            f"{record.mapping_hash[:12]} · {counted(facts.entities, 'entity', 'entities')}",
        ),
        ("chunks", f"{facts.chunks:,} of {facts.planned:,} done, in {steps}"),
        ("asked", f"{record.strategy}{wave}, {workers}, {batch}, dead letters: {limit}"),
        ("begun", f"{_moment(record.started)} by {facts.who or 'unknown'}, {_ended(record.ended)}"),
        ("checkpoints", checkpoints_text(facts)),
    ]
    parts: list[tuple[str, str]] = []
    if record.error:
        parts.append((f"✗ {many_lines(record.error)}\n", "$text-error"))
    for name, text in lines:
        parts += [(f"{name:<12}", "$text-muted"), (f"{one_line(text)}\n", "")]
    return Content.assemble(*parts)


def _ended(ended: float | None) -> str:
    return f"ended {_moment(ended)}" if ended else "not ended"


def checkpoints_text(facts: RunFacts) -> str:
    """`begin 14:02:07 · backfill 14:02:08 · wave a 14:03:00`."""
    clocks = (time.strftime("%H:%M:%S", time.localtime(c.at)) for c in facts.checkpoints)
    named = zip(facts.checkpoints, clocks, strict=True)
    return " · ".join(f"{checkpoint.name} {clock}" for checkpoint, clock in named) or "none"
