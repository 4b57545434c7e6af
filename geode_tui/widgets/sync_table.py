"""What changes did to each label and relationship."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from geode_tui.migration.replication.state import SyncEntity
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.figures import rows
from geode_tui.widgets.text import one_line, short_count
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn

_KIND = TableColumn("kind", 4)
_WIDTHS = {"written": 9, "removed": 8, "pending": 7, "dead": 5, "orphans": 7}
_COUNTS = tuple(TableColumn(title, width, "right") for title, width in _WIDTHS.items())
_WIDE = (TableColumn("entity", least=16), _KIND, *_COUNTS)


class SyncTable(FigureTable):
    """The entities, those that changes came to first; only lines that changed are drawn again."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_WIDE, empty="nothing told yet", id=id)
        self._entities: Sequence[SyncEntity] = ()

    @property
    def entity(self) -> SyncEntity | None:
        """The entity under the cursor."""
        return self._entities[self.cursor] if self.cursor < len(self._entities) else None

    def show_entities(self, entities: Sequence[SyncEntity]) -> None:
        """Show the entities as they are now."""
        under = self.entity
        old, self._entities = self._entities, sorted(entities, key=_is_calm)
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

    def _cells(self, index: int) -> Row:
        entity = self._entities[index]
        return (
            one_line(entity_title(entity.id)),
            "node" if entity.kind == "node" else "rel",
            rows(entity.written),
            rows(entity.removed),
            _count(entity.pending, "$text-primary"),
            _count(entity.dead, "$text-warning"),
            _count(entity.orphans, "$text-warning"),
        )


def _is_calm(entity: SyncEntity) -> bool:
    """Whether no change came to it yet."""
    counts = entity.written, entity.removed, entity.pending, entity.dead, entity.orphans
    return not any(counts)


def _count(number: int, colour: str) -> Cell:
    text = rows(number) if number < 10**7 else short_count(number)
    return Content.styled(text, colour) if number else "0"
