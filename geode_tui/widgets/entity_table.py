"""Labels and relationships of a run: how far each is, and why it waits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual.content import Content

from geode_tui.migration.events import EntityProgress, EntityState
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import expected, rows, size, span
from geode_tui.widgets.text import one_line, short_count
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn

STATES: dict[EntityState, tuple[str, str]] = {
    "waiting": ("…", "$text-muted"),
    "reading": ("▶", "$text-primary"),
    "writing": ("▶", "$text-primary"),
    "done": ("✓", "$text-success"),
    "failed": ("✗", "$text-error"),
    "stopped": ("■", "$text-warning"),
}
_TITLE = TableColumn("entity", least=16)
_KIND = TableColumn("kind", 4)
_WAVE = TableColumn("wave", 10)
_STATE = TableColumn("state", least=18)
_ROWS = TableColumn("rows of estimate", 18, "right")
_BYTES = TableColumn("bytes", 9, "right")
_RATE = TableColumn("rows/s", 7, "right")
_AVERAGE = TableColumn("average", 7, "right")
_ETA = TableColumn("eta", 5, "right")
_CHUNKS = TableColumn("chunks", 9, "right")
_RETRIES = TableColumn("retr", 4, "right")
_DEAD = TableColumn("dead", 5, "right")
_ORPHANS = TableColumn("orph", 4, "right")
_FIGURES = (_ROWS, _RATE, _AVERAGE, _ETA, _BYTES, _CHUNKS, _RETRIES, _DEAD, _ORPHANS)
_WIDEST = (_TITLE, _KIND, _WAVE, _STATE, *_FIGURES)
_WIDE = (_TITLE, _STATE, *_FIGURES)
_NARROW = (
    *(TableColumn("entity", 13), TableColumn("state", 19), _ROWS),
    *(TableColumn("rows/s", 6, "right"), _ETA, TableColumn("chunks", 7, "right")),
    *(TableColumn("dead", 4, "right"), _ORPHANS, _RETRIES, _BYTES, _AVERAGE),
)
"""The last four are reached by scrolling sideways."""
_ROOM_FOR_ALL, _ROOM_FOR_WAVES = 100, 144
_RELATIONSHIP = re.compile(r"\((?P<start>.*)\)-\[(?P<type>.*)\]->\((?P<end>.*)\)", re.DOTALL)
_PLAIN_RELATIONSHIP = re.compile(r"\([^()]*\)-\[[^\]]*\]->\([^()]*\)")


def entity_title(entity: str) -> str:
    """`Order`, or `CONTAINS Order→Product` for a relationship's id."""
    found = _RELATIONSHIP.fullmatch(entity)
    return f"{found['type']} {found['start']}→{found['end']}" if found else entity


def brief(text: str) -> str:
    """A text in which a relationship's id is told as its title."""
    return _PLAIN_RELATIONSHIP.sub(lambda found: entity_title(found[0]), text)


def state_text(entity: EntityProgress) -> str:
    """Glyph, word and reason: `… waits for a worker`, `▶ writing`, `✗ failed: disk full`."""
    glyph = STATES[entity.state][0]
    if entity.state == "waiting" and entity.reason:
        return f"{glyph} {entity.reason}"
    return (
        f"{glyph} {entity.state}: {entity.reason}" if entity.reason else f"{glyph} {entity.state}"
    )


def rows_text(entity: EntityProgress) -> str:
    """`612,430 of ±1.0 M`; the rows alone once it is done."""
    if entity.state == "done":
        return rows(entity.rows_written)
    return f"{rows(entity.rows_written)} of {_expected(entity)}"


def _expected(entity: EntityProgress) -> str:
    return expected(entity.rows_estimated, entity.estimate_exact)


def eta_text(entity: EntityProgress) -> str:
    """Time left, `–` where there is nothing to base it on."""
    return "–" if entity.eta_seconds is None else span(entity.eta_seconds)


class EntityTable(FigureTable):
    """The entities of a run, those at work first; only lines that changed are drawn again."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_WIDE, empty="no run yet", id=id)
        self._entities: Sequence[EntityProgress] = ()

    @property
    def entity(self) -> EntityProgress | None:
        """The entity under the cursor."""
        return self._entities[self.cursor] if self.cursor < len(self._entities) else None

    def show_entities(self, entities: Sequence[EntityProgress]) -> None:
        """Show the entities as they are now."""
        under = self.entity
        old, self._entities = self._entities, sorted(entities, key=_place)
        entities = self._entities
        if [e.id for e in old] != [e.id for e in entities]:
            self.set_source(len(entities), self._cells)
            if under is not None and self.cursor:  # who went to an entity stays there
                ids = [entity.id for entity in entities]
                self.cursor = ids.index(under.id) if under.id in ids else self.cursor
            return
        top = self.scroll_offset.y
        for index in range(top, min(len(entities), top + self.size.height)):
            if old[index] != entities[index]:
                self.refresh_row(index)

    def on_resize(self) -> None:
        """Fewer columns where there is less room; the rest is a scroll away."""
        columns = self._fitting()
        if columns != self.columns:
            self.set_columns(columns)
            self.set_source(len(self._entities), self._cells)
        super().on_resize()

    def _fitting(self) -> tuple[TableColumn, ...]:
        width = self.size.width
        if width < _ROOM_FOR_ALL:
            return _NARROW
        return _WIDEST if width >= _ROOM_FOR_WAVES else _WIDE

    def _cells(self, index: int) -> Row:
        entity = self._entities[index]
        going = entity.state in ("reading", "writing")
        cells: dict[str, Cell] = {
            "entity": entity_title(entity.id),
            "kind": "node" if entity.kind == "node" else "rel",
            "wave": entity.wave,
            "state": Content.styled(one_line(state_text(entity)), STATES[entity.state][1]),
            "rows of estimate": rows_text(entity),
            "rows/s": short_count(round(entity.rate)) if going else "",
            "average": short_count(round(entity.average_rate)) if entity.average_rate else "",
            "eta": eta_text(entity) if going else "",
            "bytes": size(entity.bytes) if entity.bytes else "",
            "chunks": chunks_text(entity),
            "retr": _count(entity.retries),
            "dead": _count(entity.dead),
            "orph": _count(entity.orphans),
        }
        return tuple(cells[column.title] for column in self.columns)


def _place(entity: EntityProgress) -> int:
    """What is at work or has failed comes first, what is done last."""
    if entity.state in ("reading", "writing", "failed"):
        return 0
    return 2 if entity.state == "done" else 1


def chunks_text(entity: EntityProgress) -> str:
    """`61/100`; the done ones alone before the table is cut."""
    if entity.chunks_planned is None:
        return rows(entity.chunks_done) if entity.chunks_done else ""
    return f"{entity.chunks_done}/{entity.chunks_planned}"


def _count(number: int) -> Content | str:
    text = rows(number) if number < 10_000 else short_count(number).replace(" ", "")
    return Content.styled(text, "$text-warning") if number else "0"
