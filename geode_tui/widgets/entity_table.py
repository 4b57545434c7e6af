"""Labels and relationships of a run: how far each is, and why it waits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual.content import Content

from geode_tui.migration.events import EntityProgress, EntityState
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import expected, rate, rows, span
from geode_tui.widgets.virtual_table import Row, TableColumn

STATES: dict[EntityState, tuple[str, str]] = {
    "waiting": ("…", "$text-muted"),
    "reading": ("▶", "$text-primary"),
    "writing": ("▶", "$text-primary"),
    "done": ("✓", "$text-success"),
    "failed": ("✗", "$text-error"),
    "stopped": ("■", "$text-warning"),
}
_WIDE = (
    TableColumn("entity", least=16),
    TableColumn("kind", 4),
    TableColumn("state", least=20),
    TableColumn("rows of estimate", 18, "right"),
    TableColumn("rate", 9, "right"),
    TableColumn("eta", 7, "right"),
    TableColumn("chunks", 6, "right"),
    TableColumn("retries", 7, "right"),
    TableColumn("dead", 6, "right"),
    TableColumn("orphans", 7, "right"),
)
_NARROW = (
    TableColumn("entity", least=13),
    TableColumn("state", 20),
    TableColumn("rows of estimate", 17, "right"),
    TableColumn("rate", 8, "right"),
    TableColumn("eta", 5, "right"),
    TableColumn("dead", 4, "right"),
    TableColumn("orph", 4, "right"),
)
_ROOM_FOR_ALL = 100
_RELATIONSHIP = re.compile(r"\((?P<start>.*)\)-\[(?P<type>.*)\]->\((?P<end>.*)\)", re.DOTALL)


def entity_title(entity: str) -> str:
    """`Order`, or `CONTAINS Order→Product` for a relationship's id."""
    found = _RELATIONSHIP.fullmatch(entity)
    return f"{found['type']} {found['start']}→{found['end']}" if found else entity


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
    """The entities of a run; only lines that changed are drawn again."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_WIDE, empty="no run yet", id=id)
        self._entities: Sequence[EntityProgress] = ()

    @property
    def entity(self) -> EntityProgress | None:
        """The entity under the cursor."""
        return self._entities[self.cursor] if self.cursor < len(self._entities) else None

    def show_entities(self, entities: Sequence[EntityProgress]) -> None:
        """Show the entities as they are now."""
        old, self._entities = self._entities, entities
        if [e.id for e in old] != [e.id for e in entities]:
            self.set_source(len(entities), self._cells)
            return
        for index, (before, now) in enumerate(zip(old, entities, strict=True)):
            if before != now:
                self.refresh_row(index)

    def on_resize(self) -> None:
        """Fewer columns where there is less room; the details have them all."""
        columns = _WIDE if self.size.width >= _ROOM_FOR_ALL else _NARROW
        if columns != self.columns:
            self.set_columns(columns)
            self.set_source(len(self._entities), self._cells)
        super().on_resize()

    def _cells(self, index: int) -> Row:
        entity = self._entities[index]
        going = entity.state in ("reading", "writing")
        state = Content.styled(state_text(entity), STATES[entity.state][1])
        speed = rate(entity.rate) if going else ""
        eta = eta_text(entity) if going else ""
        dead, orphans = _count(entity.dead), _count(entity.orphans)
        title = entity_title(entity.id)
        if self.columns == _NARROW:
            return (title, state, rows_text(entity), speed, eta, dead, orphans)
        return (
            title,
            "node" if entity.kind == "node" else "rel",
            state,
            rows_text(entity),
            speed,
            eta,
            rows(entity.chunks_done),
            _count(entity.retries),
            dead,
            orphans,
        )


def _count(number: int) -> Content | str:
    return Content.styled(rows(number), "$text-warning") if number else "0"
