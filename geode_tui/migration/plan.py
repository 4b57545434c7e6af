"""What a run will do, entity by entity, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from geode_tui.catalog import Catalog
from geode_tui.mapping.model import Mapping
from geode_tui.validation.entity import Entity, entity_of


@dataclass(frozen=True)
class Plan:
    """All entities of a run: first every label, then every relationship, big ones first."""

    entities: tuple[Entity, ...]

    @property
    def nodes(self) -> tuple[Entity, ...]:
        """The entities that make nodes."""
        return tuple(e for e in self.entities if e.kind == "node")

    @property
    def relationships(self) -> tuple[Entity, ...]:
        """The entities that make relationships."""
        return tuple(e for e in self.entities if e.kind == "relationship")

    def entity(self, entity_id: str) -> Entity:
        """The entity of that id; KeyError when there is none."""
        return next(e for e in self.entities if e.id == entity_id)


def make_plan(mapping: Mapping, catalog: Catalog) -> Plan:
    """Compile a mapping to a plan. Raises MappingError when it does not fit the catalog."""
    made = [entity_of(rule, mapping, catalog) for rule in mapping.active_rules()]
    made.sort(key=lambda e: (e.kind != "node", -(e.estimate or 0), e.id))
    return Plan(tuple(made))
