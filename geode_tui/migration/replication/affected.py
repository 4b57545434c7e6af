"""Which things of the graph a change of a table's row may touch, known before any change comes.

An entity is touched by the rows of its own table; by the rows of a table that it joins; and, where
it is a relationship, by the rows at its ends, when a node there comes or goes without a change of
the row that points at it. What cannot be told row by row is compared or read anew as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.mapping.identity import (
    Dependents,
    Identity,
    compile_dependents,
    compile_identity,
)
from geode_tui.mapping.model import Endpoint, NodeRule, RelationshipRule
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.mapping.relation import table_named
from geode_tui.migration.replication.spool import Kept
from geode_tui.validation.entity import Entity


@dataclass(frozen=True)
class Pointing:
    """A relationship one of whose ends is a node of another row, found by that row's columns.

    `held` says that the row pointed at is there for certain and always has its node, so that only
    a node that was refused, or is now, makes a difference. `direct` says that the pointing row
    holds the node's key itself, `filtered` that a change of any column may make the node come or
    go.
    """

    entity: Entity
    node: str
    dependents: Dependents
    held: bool
    direct: bool
    filtered: bool

    def matters(self, change: Kept) -> bool:
        """Whether a change of the row pointed at may lead those that point at it elsewhere."""
        if change.operation != "update" or self.filtered or not self.direct:
            return True
        names = self.dependents.references
        return any(name not in change.old or change.differs(name) for name in names)


@dataclass
class TablePlan:
    """What the changes of one table's rows may touch; `columns` of each row must be kept.

    `joined` are node entities with the rows that belong to rows of this table.
    """

    name: TableName
    own: list[Entity] = field(default_factory=list)
    joined: list[tuple[Entity, Dependents]] = field(default_factory=list)
    pointing: list[Pointing] = field(default_factory=list)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangePlan:
    """All tables whose changes matter, the keys of rows as they were, and what is read anew.

    `identities` are by entity; those without one are read anew as a whole when a table of
    `whole_by` is touched: it names such entities by table.
    """

    tables: Mapping[TableName, TablePlan]
    identities: Mapping[str, Identity]
    whole_by: Mapping[TableName, Sequence[Entity]]

    @property
    def names(self) -> tuple[TableName, ...]:
        """The tables to capture, in order."""
        return tuple(sorted(self.tables))


_PlanOf = Callable[[TableName], TablePlan]
_WholeBy = dict[TableName, list[Entity]]


def make_change_plan(
    entities: Sequence[Entity], mapping: GraphMapping, catalog: Catalog
) -> ChangePlan:
    """Work out what changes may touch. Raises MappingError when the mapping does not fit."""
    tables: dict[TableName, TablePlan] = {}
    identities: dict[str, Identity] = {}
    whole_by: dict[TableName, list[Entity]] = defaultdict(list)

    def plan_of(name: TableName) -> TablePlan:
        return tables.setdefault(name, TablePlan(name))

    for entity in entities:
        plan_of(entity.rule.table).own.append(entity)
        identity = compile_identity(entity.rule, mapping, catalog)
        by_row = identity is not None and entity.extract.keyed and not entity.restarts
        if by_row and identity is not None:
            identities[entity.id] = identity
        else:
            whole_by[entity.rule.table].append(entity)
        if isinstance(entity.rule, NodeRule):
            _plan_joins(entity, entity.rule, by_row, catalog, plan_of, whole_by)
        else:
            _plan_ends(entity, entity.rule, by_row, mapping, catalog, plan_of, whole_by)
    for plan in tables.values():
        plan.columns = _columns(plan, identities)
    return ChangePlan(tables, identities, whole_by)


def _plan_joins(
    entity: Entity,
    rule: NodeRule,
    by_row: bool,
    catalog: Catalog,
    plan_of: _PlanOf,
    whole_by: _WholeBy,
) -> None:
    table = table_named(catalog, rule.table)
    for join in rule.joins:
        if not by_row:
            plan_of(join.table)
            whole_by[join.table].append(entity)
            continue
        other = table_named(catalog, join.table)
        dependents = compile_dependents(table, join.columns, other, join.references)
        plan_of(join.table).joined.append((entity, dependents))


def _plan_ends(
    entity: Entity,
    rule: RelationshipRule,
    by_row: bool,
    mapping: GraphMapping,
    catalog: Catalog,
    plan_of: _PlanOf,
    whole_by: _WholeBy,
) -> None:
    table = table_named(catalog, rule.table)
    for own, end in zip(entity.own_ends, (rule.start, rule.end), strict=True):
        node = mapping.node(end.node)
        if own or node is None:
            continue
        direct = _direct(end, node)
        held = direct and _held(end, node, table)
        if by_row:
            other = table_named(catalog, node.table)
            dependents = compile_dependents(table, end.columns, other, end.references)
            filtered = bool(node.where or node.keep_first)
            pointing = Pointing(entity, node.id, dependents, held, direct, filtered)
            plan_of(node.table).pointing.append(pointing)
        elif not held:
            plan_of(node.table)
            whole_by[node.table].append(entity)


def _held(end: Endpoint, node: NodeRule, table: Table) -> bool:
    """Whether a valid foreign key sees to it that the row at an end is there, with a node."""
    enforced = {key.columns for key in table.foreign_keys if key.validated}
    return end.columns in enforced and not node.where and not node.keep_first


def _direct(end: Endpoint, node: NodeRule) -> bool:
    """Whether the pointing row's columns are the node's key."""
    key = [item.column for item in node.key_properties if not item.expression]
    return len(key) == len(node.key) and set(key) == set(end.references)


def _columns(plan: TablePlan, identities: Mapping[str, Identity]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for entity in plan.own:
        names |= dict.fromkeys(entity.extract.cursor_columns)
        identity = identities.get(entity.id)
        names |= dict.fromkeys(identity.columns if identity else ())
    for _, dependents in plan.joined:
        names |= dict.fromkeys(dependents.references)
    for pointing in plan.pointing:
        names |= dict.fromkeys(pointing.dependents.references)
    return tuple(names)
