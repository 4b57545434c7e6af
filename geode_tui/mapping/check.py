"""Does a mapping fit a catalog? Every misfit with its line and the nearest right word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geode_tui.catalog import Catalog, Table
from geode_tui.errors import MappingError
from geode_tui.mapping.file import MappingFile, Place, nearest
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, Property, RelationshipRule
from geode_tui.mapping.types import possible_types


@dataclass(frozen=True, slots=True)
class Problem:
    """One misfit: what is wrong at a place of the file, and what would be right."""

    place: Place
    what: str
    hint: str = ""


def check(file: MappingFile, catalog: Catalog) -> None:
    """Raise MappingError when the mapping names what the catalog does not have."""
    problems = list(find_problems(file.mapping, catalog))
    if not problems:
        return
    first = problems[0]
    line = file.line(first.place)
    where = f"{file.name} line {line}" if line else file.name
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise MappingError(f"{where}: {first.what}{more}", "", first.hint)


def find_problems(mapping: Mapping, catalog: Catalog) -> Iterator[Problem]:
    """All misfits of a mapping with a catalog, in the order of the file."""
    seen: dict[str, str] = {}
    for number, rule in enumerate(mapping.nodes):
        place: Place = ("nodes", number)
        if rule.label in seen:
            what = f"label {rule.label} is already made of {seen[rule.label]}"
            yield Problem((*place, "label"), what, "rename one of the two")
        seen.setdefault(rule.label, str(rule.table))
        yield from _node_problems(rule, place, catalog)
    taken: set[tuple[str, str, str]] = set()
    for number, relationship in enumerate(mapping.relationships):
        place = ("relationships", number)
        identity = (relationship.type, relationship.start.node, relationship.end.node)
        if identity in taken:
            what = f"{relationship.id} stands twice"
            yield Problem((*place, "type"), what, "rename the type of one of the two")
        taken.add(identity)
        yield from _relationship_problems(relationship, place, mapping, catalog)


def _node_problems(rule: NodeRule, place: Place, catalog: Catalog) -> Iterator[Problem]:
    table = catalog.table(rule.table)
    if table is None:
        yield _unknown_table(rule, place, catalog)
        return
    if table.kind not in ("table", "partitioned"):
        yield Problem((*place, "table"), f"{table.name} is a {table.kind}", "map a table")
        return
    yield from _property_problems(rule.properties, place, table)
    unnatural = _key_problem(rule, table)
    if unnatural:
        yield Problem((*place, "key"), unnatural, "use the columns of a primary or unique key")


def _key_problem(rule: NodeRule, table: Table) -> str:
    if not rule.key:
        return ""
    columns = {p.column for p in rule.properties if p.name in rule.key}
    keys = [k for k in (table.primary_key, *table.unique_keys) if k is not None]
    for key in keys:
        members = [table.column(name) for name in key.columns]
        required = all(c is not None and not c.nullable for c in members)
        if required and set(key.columns) == columns:
            return ""
    return f"({', '.join(rule.key)}) is no key of {table.name} without nulls"


def _relationship_problems(
    rule: RelationshipRule, place: Place, mapping: Mapping, catalog: Catalog
) -> Iterator[Problem]:
    table = catalog.table(rule.table)
    if table is None:
        yield _unknown_table(rule, place, catalog)
        return
    yield from _property_problems(rule.properties, place, table)
    for name, end in (("from", rule.start), ("to", rule.end)):
        yield from _end_problems(end, (*place, name), table, mapping, catalog)


def _end_problems(
    end: Endpoint, place: Place, table: Table, mapping: Mapping, catalog: Catalog
) -> Iterator[Problem]:
    node = mapping.node(end.node)
    if node is None:
        hint = nearest(end.node, (rule.id for rule in mapping.nodes))
        yield Problem((*place, "node"), f"no rule makes {end.node} nodes", hint)
        return
    for column in end.columns:
        if table.column(column) is None:
            yield _unknown_column(column, table, (*place, "columns"))
    target = catalog.table(node.table)
    if target is None:
        return
    for column in end.references:
        if target.column(column) is None:
            yield _unknown_column(column, target, (*place, "references"))
    if not end.columns and (node.table != table.name or node.key):
        yield Problem(place, "no columns", "name the columns that hold the other node's key")


def _property_problems(
    properties: tuple[Property, ...], place: Place, table: Table
) -> Iterator[Problem]:
    for number, item in enumerate(properties):
        inner = (*place, "properties", number)
        column = table.column(item.column)
        if column is None:
            yield _unknown_column(item.column, table, (*inner, "column"))
        elif item.type not in possible_types(column.type):
            possible = ", ".join(possible_types(column.type))
            what = f"{item.column} is {column.type.declared} and cannot become {item.type}"
            yield Problem((*inner, "type"), what, f"possible: {possible}")


def _unknown_table(rule: NodeRule | RelationshipRule, place: Place, catalog: Catalog) -> Problem:
    hint = nearest(str(rule.table), (str(table.name) for table in catalog.tables))
    what = f"no table {rule.table} in database {catalog.server.database}"
    return Problem((*place, "table"), what, hint)


def _unknown_column(column: str, table: Table, place: Place) -> Problem:
    hint = nearest(column, table.column_names)
    return Problem(place, f"no column {column} in {table.name}", hint)
