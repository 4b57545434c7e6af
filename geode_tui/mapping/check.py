"""Does a mapping fit a catalog? Every misfit with its line and the nearest right word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from geode_tui.catalog import Catalog, DataType, Table
from geode_tui.errors import MappingError
from geode_tui.mapping.ends import own_ends
from geode_tui.mapping.expressions import (
    compile_condition,
    compile_expression,
    compile_ordering,
)
from geode_tui.mapping.file import MappingFile, Place, nearest
from geode_tui.mapping.model import (
    ROW,
    Endpoint,
    Join,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
)
from geode_tui.mapping.pairs import check_gql, check_sql
from geode_tui.mapping.statistics import EVERY, statistic
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
    first: dict[str, NodeRule] = {}
    for number, rule in enumerate(mapping.nodes):
        place: Place = ("nodes", number)
        if rule.id in seen:
            what = f"label {rule.label} is already made of {seen[rule.id]}"
            hint = "rename one of the two; or keep the label and give this rule a name of its own"
            yield Problem((*place, "label"), what, hint)
        seen.setdefault(rule.id, str(rule.table))
        yield from _shared_label_problems(rule, place, first.setdefault(rule.label, rule))
        yield from _node_problems(rule, place, catalog)
    taken: set[str] = set()
    for number, relationship in enumerate(mapping.relationships):
        place = ("relationships", number)
        if relationship.id in taken:
            what = f"{relationship.id} stands twice"
            yield Problem((*place, "type"), what, "rename the type of one of the two")
        taken.add(relationship.id)
        yield from _relationship_problems(relationship, place, mapping, catalog)
    yield from _wave_problems(mapping)
    yield from _statistic_problems(mapping)
    yield from _pair_problems(mapping)


def _wave_problems(mapping: Mapping) -> Iterator[Problem]:
    """A wave has a name of its own; each rule is in one wave at most."""
    ids = {rule.id: rule for rule in mapping.rules}
    names: set[str] = set()
    waves: dict[str, str] = {}
    for number, wave in enumerate(mapping.waves):
        place: Place = ("waves", number)
        if not wave.name.strip():
            yield Problem((*place, "name"), "the wave has no name", "name it")
        elif wave.name in names:
            yield Problem((*place, "name"), f"wave {wave.name} stands twice", "rename one of them")
        names.add(wave.name)
        for position, rule in enumerate(wave.rules):
            inner: Place = (*place, "rules", position)
            if rule not in ids:
                yield Problem(inner, f"no rule {rule}", nearest(rule, ids))
            elif rule in waves:
                what = f"{rule} is in wave {waves[rule]} already"
                yield Problem(inner, what, "name it in one wave")
            waves.setdefault(rule, wave.name)


def _statistic_problems(mapping: Mapping) -> Iterator[Problem]:
    """A statistic names a rule, and a property that it moves."""
    rules = {rule.id: rule for rule in mapping.rules}
    for number, name in enumerate(mapping.statistics):
        place: Place = ("statistics", number)
        rule_id, wanted = statistic(name)
        rule = rules.get(rule_id)
        if name in mapping.statistics[:number]:
            yield Problem(place, f"{name} stands twice", "remove one of them")
        elif not wanted:
            hint = 'write Label.property, Label.*, or "*" for all'
            yield Problem(place, f"{name!r} names no property", hint)
        elif rule_id == EVERY:
            continue
        elif rule is None:
            yield Problem(place, f"no rule {rule_id}", nearest(rule_id, rules))
        elif wanted != EVERY and wanted not in (item.name for item in rule.included_properties):
            hint = nearest(wanted, (item.name for item in rule.included_properties))
            yield Problem(place, f"{rule_id} moves no property {wanted}", hint)


def _pair_problems(mapping: Mapping) -> Iterator[Problem]:
    """A check has a name of its own, SQL that only reads, and GQL that does."""
    names: set[str] = set()
    for number, pair in enumerate(mapping.checks):
        place: Place = ("checks", number)
        if not pair.name.strip():
            yield Problem((*place, "name"), "the check has no name", "name it")
        elif pair.name in names:
            yield Problem((*place, "name"), f"check {pair.name} stands twice", "rename one of them")
        names.add(pair.name)
        for field, text, checked in (("sql", pair.sql, check_sql), ("gql", pair.gql, check_gql)):
            try:
                checked(text)
            except MappingError as error:
                why = f": {error.why}" if error.why else ""
                yield Problem((*place, field), f"{error.what}{why}", error.next_step)


def _shared_label_problems(rule: NodeRule, place: Place, first: NodeRule) -> Iterator[Problem]:
    """Nodes of one label are found by one index: its rules have keys of the same names."""
    if (first.key or (ROW,)) != (rule.key or (ROW,)):
        what = f"{rule.id} and {first.id} both make {rule.label} nodes, with different keys"
        hint = f"name the key's properties alike: {', '.join(first.key) or 'no key'}"
        yield Problem((*place, "key"), what, hint)


def _node_problems(rule: NodeRule, place: Place, catalog: Catalog) -> Iterator[Problem]:
    table = catalog.table(rule.table)
    if table is None:
        yield _unknown_table(rule, place, catalog)
        return
    joined: dict[str, Table] = {}
    for number, join in enumerate(rule.joins):
        inner: Place = (*place, "joins", number)
        other = catalog.table(join.table)
        if join.name in joined:
            yield Problem((*inner, "name"), f"join {join.name} stands twice", "rename one of them")
        if other is None:
            hint = nearest(str(join.table), (str(each.name) for each in catalog.tables))
            yield Problem((*inner, "table"), f"no table {join.table}", hint)
            continue
        joined[join.name] = other
        yield from _join_problems(join, inner, table, other)
    yield from _property_problems(rule.properties, place, table, joined)
    yield from _compiled(rule.where, (*place, "where"), table, compile_condition)
    yield from _compiled(rule.keep_first, (*place, "keep_first"), table, compile_ordering)
    yield from _label_by_problems(rule, place, table, joined)
    unnatural = _key_problem(rule, table)
    if unnatural:
        hint = "use the columns of a primary or unique key, or say which row to keep: keep_first"
        yield Problem((*place, "key"), unnatural, hint)


def _join_problems(join: Join, place: Place, table: Table, other: Table) -> Iterator[Problem]:
    missing = False
    for name, of, columns in (
        ("columns", table, join.columns),
        ("references", other, join.references),
    ):
        for column in columns:
            if of.column(column) is None:
                missing = True
                yield _unknown_column(column, of, (*place, name))
    if not missing and not _unique_in(other, join.references):
        what = f"({', '.join(join.references)}) is no unique key of {other.name}"
        hint = "at most one row may belong to each node: reference a primary or unique key"
        yield Problem((*place, "references"), what, hint)


def _label_by_problems(
    rule: NodeRule, place: Place, table: Table, joined: dict[str, Table]
) -> Iterator[Problem]:
    by = rule.labels_by
    if by is None:
        return
    inner = (*place, "labels_by")
    of = joined.get(by.join) if by.join else table
    if of is None:
        yield Problem(
            (*inner, "join"), f"{rule.id} has no join {by.join}", nearest(by.join, joined)
        )
    elif of.column(by.column) is None:
        yield _unknown_column(by.column, of, (*inner, "column"))
    if not by.labels:
        yield Problem((*inner, "labels"), "no value gives a label", "write {value: Label}")
    for value, label in by.labels:
        if any(c == "\0" or 0xD800 <= ord(c) < 0xE000 for c in value):
            what = f"no text in PostgreSQL is {value!r}, which gives the label {label}"
            yield Problem((*inner, "labels"), what, "remove it")


def _compiled(
    text: str, place: Place, table: Table, compiled: Callable[[str, Table], object]
) -> Iterator[Problem]:
    if not text:
        return
    try:
        compiled(text, table)
    except MappingError as error:
        why = f": {error.why}" if error.why else ""
        yield Problem(place, f"{error.what}{why}", error.next_step)


def _key_problem(rule: NodeRule, table: Table) -> str:
    """Why the rule's key does not identify a row, empty where it does or nobody can tell."""
    if not rule.key:
        return f"{rule.id} keeps the first of each key, and has no key" if rule.keep_first else ""
    items = [item for item in rule.properties if item.name in rule.key]
    joined = next((item for item in items if item.join), None)
    if joined is not None:
        return f"{joined.name} is of a joined table and cannot be part of the key"
    if rule.keep_first or table.kind not in ("table", "partitioned"):
        return ""
    columns = {item.column for item in items if not item.expression}
    for key in table.keys:
        if not set(key.columns) <= columns:
            continue
        members = [table.column(name) for name in key.columns]
        if all(column is not None and not column.nullable for column in members):
            return ""
    return f"({', '.join(rule.key)}) is no key of {table.name} without nulls"


def _unique_in(table: Table, columns: tuple[str, ...]) -> bool:
    """Whether at most one row has these values; of a view or query nobody can tell."""
    if table.kind not in ("table", "partitioned"):
        return True
    return any(set(key.columns) <= set(columns) for key in table.keys)


def _relationship_problems(
    rule: RelationshipRule, place: Place, mapping: Mapping, catalog: Catalog
) -> Iterator[Problem]:
    table = catalog.table(rule.table)
    if table is None:
        yield _unknown_table(rule, place, catalog)
        return
    yield from _property_problems(rule.properties, place, table, {})
    yield from _compiled(rule.where, (*place, "where"), table, compile_condition)
    own = own_ends(rule, mapping)
    for name, end, itself in (("from", rule.start, own[0]), ("to", rule.end, own[1])):
        yield from _end_problems(end, itself, (*place, name), table, mapping, catalog)


def _end_problems(
    end: Endpoint, own: bool, place: Place, table: Table, mapping: Mapping, catalog: Catalog
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
    missing = [column for column in end.references if target.column(column) is None]
    for column in missing:
        yield _unknown_column(column, target, (*place, "references"))
    if not end.columns and node.table != table.name:
        yield Problem(place, "no columns", "name the columns that hold the other node's key")
    elif not own and not missing:
        yield from _reference_problems(end, place, node, target)


def _reference_problems(
    end: Endpoint, place: Place, node: NodeRule, target: Table
) -> Iterator[Problem]:
    by_key = {node_property.column for node_property in node.key_properties}
    if not _unique_in(target, end.references) and not (
        node.keep_first and by_key == set(end.references)
    ):
        what = f"({', '.join(end.references)}) is no unique key of {target.name}"
        yield Problem((*place, "references"), what, "reference a primary or unique key")
    if not node.key and not target.has_storage:
        what = f"{node.id} nodes have no key, so no relationship can end at them"
        hint = f"name the properties that identify a row of {target.name}: key: […]"
        yield Problem((*place, "node"), what, hint)


def _property_problems(
    properties: tuple[Property, ...], place: Place, table: Table, joined: dict[str, Table]
) -> Iterator[Problem]:
    for number, item in enumerate(properties):
        inner: Place = (*place, "properties", number)
        of = joined.get(item.join) if item.join else table
        if of is None:
            what = f"no join {item.join} for property {item.name}"
            yield Problem((*inner, "join"), what, nearest(item.join, joined))
            continue
        column = of.column(item.column)
        if item.column and column is None:
            yield _unknown_column(item.column, of, (*inner, "column"))
            continue
        try:
            data_type = property_type(item, of)
        except MappingError as error:
            why = f": {error.why}" if error.why else ""
            yield Problem((*inner, "expression"), f"{error.what}{why}", error.next_step)
            continue
        if item.type not in possible_types(data_type):
            possible = ", ".join(possible_types(data_type))
            source = item.expression or item.column
            what = f"{source} is {data_type.declared} and cannot become {item.type}"
            yield Problem((*inner, "type"), what, f"possible: {possible}")


def property_type(item: Property, table: Table) -> DataType:
    """The PostgreSQL type of a property's values, which come from `table`.

    Raises MappingError when its expression does not compile or its column is not there.
    """
    if item.expression:
        return compile_expression(item.expression, table).type
    column = table.column(item.column)
    if column is None:
        raise MappingError(f"no column {item.column} in {table.name}")
    return column.type


def _unknown_table(rule: NodeRule | RelationshipRule, place: Place, catalog: Catalog) -> Problem:
    hint = nearest(str(rule.table), (str(table.name) for table in catalog.tables))
    what = f"no table {rule.table} in database {catalog.server.database}"
    return Problem((*place, "table"), what, hint)


def _unknown_column(column: str, table: Table, place: Place) -> Problem:
    hint = nearest(column, table.column_names)
    return Problem(place, f"no column {column} in {table.name}", hint)
