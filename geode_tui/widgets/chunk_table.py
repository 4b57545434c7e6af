"""The chunks of an entity: their ranges, what became of their rows, how often they were tried."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from geode_tui.migration.chunks import ChunkLine, Cursor
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import rows, span
from geode_tui.widgets.virtual_table import Row, TableColumn

_STATES = {
    "planned": ("…", "$text-muted"),
    "started": ("▶", "$text-primary"),
    "done": ("✓", "$text-success"),
}
_COLUMNS = (
    TableColumn("chunk", 6, "right"),
    TableColumn("state", 9),
    TableColumn("range", least=20),
    TableColumn("rows", 10, "right"),
    TableColumn("took", 6, "right"),
    TableColumn("dead", 5, "right"),
    TableColumn("orph", 5, "right"),
    TableColumn("tries", 5, "right"),
    TableColumn("step", 6, "right"),
    TableColumn("snapshot", 8, "right"),
)


def range_text(low: Cursor | None, high: Cursor | None) -> str:
    """`> 1000 to 2000`, from the beginning or to the end where a side is open."""
    if low is None and high is None:
        return "all rows"
    start = "from the beginning" if low is None else f"after {_cursor(low)}"
    end = "to the end" if high is None else f"to {_cursor(high)}"
    return f"{start} {end}"


def _cursor(cursor: Cursor) -> str:
    return ", ".join(cursor) if len(cursor) == 1 else f"({', '.join(cursor)})"


class ChunkTable(FigureTable):
    """Chunks, a line each, those that are not done in view first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="reading the journal …", id=id)
        self._chunks: Sequence[ChunkLine] = ()

    def show_chunks(self, chunks: Sequence[ChunkLine], *, keep_cursor: bool = False) -> None:
        """Show these chunks; the cursor goes to the first that is not done."""
        self._chunks = chunks
        self.set_empty("not cut into chunks yet")
        self.set_source(len(chunks), self._cells, keep_cursor=keep_cursor)
        if not keep_cursor:
            self.cursor = next((n for n, x in enumerate(chunks) if x.state != "done"), 0)

    def _cells(self, index: int) -> Row:
        chunk = self._chunks[index]
        done = chunk.state == "done"
        glyph, style = _STATES.get(chunk.state, ("", ""))
        took = (chunk.ended or 0) - (chunk.started or 0) if done and chunk.started else None
        return (
            str(chunk.number),
            Content.styled(f"{glyph} {chunk.state}", style),
            range_text(chunk.low, chunk.high),
            rows(chunk.rows) if done else "",
            "" if took is None else span(took),
            _marked(chunk.dead) if done else "",
            _marked(chunk.orphans) if done else "",
            str(chunk.attempts) if chunk.attempts <= 1 else _marked(chunk.attempts),
            str(chunk.step or ""),
            str(chunk.snapshot or ""),
        )


def _marked(number: int) -> Content | str:
    return Content.styled(rows(number), "$text-warning") if number else "0"
