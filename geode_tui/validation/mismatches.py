"""What differs, for a person: the key, the values side by side, the cause, the two queries."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OWN
from geode_tui.target.model import Marked, NodeShape, RelationshipShape, Target
from geode_tui.validation.compare import Candidate, ends_of
from geode_tui.validation.digest import is_of, same_value, told_fingerprint
from geode_tui.validation.entity import Entity, Record, told
from geode_tui.validation.ledger import Cause, Difference

NAMED_AT_MOST = 1_000
"""Mismatches of an entity that are named one by one."""
_READ_AT_ONCE = 200
Values = list[tuple[str, str, str]]


def named(
    target: Target,
    entity: Entity,
    candidates: Sequence[Candidate],
    strict: bool,
    missing: Set[Any] = frozenset(),
) -> Iterator[tuple[Candidate, Difference]]:
    """The first `NAMED_AT_MOST` candidates, each with its differences.

    With `strict` further labels and properties are told, too. `missing` are the nodes that have
    been found missing, by label and key: relationships of theirs lack an end.
    """
    some = candidates[:NAMED_AT_MOST]
    for begin in range(0, len(some), _READ_AT_ONCE):
        part = some[begin : begin + _READ_AT_ONCE]
        found = _read(target, entity, part)
        further = _held_besides(target, entity, part)
        for number, (candidate, there) in enumerate(zip(part, found, strict=True)):
            doubled = candidate.doubled or number in further
            for one in _differences(entity, candidate, there, doubled, strict, missing):
                yield candidate, one


def _held_besides(target: Target, entity: Entity, candidates: Sequence[Candidate]) -> set[int]:
    """The places of those that have no row here, and of whose key the graph holds more.

    What has another digest is in another part, which may be the same on both sides.
    """
    alone = {n: c for n, c in enumerate(candidates) if c.things and not (c.rows or c.doubled)}
    keys: list[Any] = [candidate.things[0].key for candidate in alone.values()]
    if not keys:
        return set()
    if isinstance(entity.shape, NodeShape):
        counts = target.count_keyed(entity.shape, keys)
    else:
        counts = [len(some) for some in target.read_relationships(entity.shape, keys)]
    pairs = zip(alone.items(), counts, strict=True)
    return {place for (place, candidate), count in pairs if count > len(candidate.things)}


def _read(
    target: Target, entity: Entity, candidates: Sequence[Candidate]
) -> list[tuple[dict[str, Any], frozenset[str]] | None]:
    """What the graph holds for candidates that are on both sides."""
    both = {n: c.things[0] for n, c in enumerate(candidates) if c.rows and c.things}
    found: list[tuple[dict[str, Any], frozenset[str]] | None] = [None] * len(candidates)
    keys: list[Any] = [thing.key for thing in both.values()]
    if isinstance(entity.shape, NodeShape):
        images = target.node_images(entity.shape, keys)
        for place, image in zip(both, images, strict=True):
            found[place] = (image.properties, frozenset(image.labels)) if image else None
        return found
    relationships = target.read_relationships(entity.shape, keys)
    for (place, thing), some in zip(both.items(), relationships, strict=True):
        own = next((one for one in some if one.get(FINGERPRINT) == thing.mark), None)
        if some:
            found[place] = (own or some[0], frozenset())
    return found


def _differences(
    entity: Entity,
    candidate: Candidate,
    found: tuple[dict[str, Any], frozenset[str]] | None,
    doubled: bool,
    strict: bool,
    missing: Set[Any],
) -> Iterator[Difference]:
    rows, things = list(candidate.rows), list(candidate.things)
    names = [entity.key_text(row) for row in rows]
    if rows and things and found is not None:
        yield _of_both(entity, rows.pop(0), things.pop(0), *found, strict)
    for row in rows:
        yield _of_source(entity, row, missing)
    for thing in things:  # what has a row is called as its row is
        key = names[-1] if names else _key_text(entity.shape, thing.key)
        yield _of_graph(entity, thing, key, doubled or bool(names))


def _of_source(entity: Entity, row: Record, missing: Set[Any]) -> Difference:
    cause: Cause = "missing"
    if entity.kind == "relationship" and not missing.isdisjoint(ends_of(entity, row)):
        cause = "end missing"
    sql, statement = queries(entity, row)
    mark = str(row[entity.extract.fingerprint_at])
    key = entity.key_text(row)
    return Difference(entity.id, key, "source", (), sql, statement, cause, mark)


def refused(entity: Entity, row: Record) -> Difference:
    """A row that cannot be carried and is in no dead letter: it is missing, and here is why."""
    why = entity.rejected(row) or ""
    sql = entity.extract.look_sql(entity.cursor(row)) if entity.extract.keyed else ""
    values = (("cannot be carried", why, "null"),)
    mark = str(row[entity.extract.fingerprint_at])
    return Difference(
        entity.id, entity.key_text(row), "source", values, sql, cause="refused", mark=mark
    )


def _of_graph(entity: Entity, thing: Marked, key: str, doubled: bool) -> Difference:
    cause: Cause = "doubled" if doubled else "extra"
    return Difference(entity.id, key, "graph", (), "", _look(entity.shape, thing.key), cause)


def _of_both(
    entity: Entity,
    row: Record,
    thing: Marked,
    found: dict[str, Any],
    labels: frozenset[str],
    strict: bool,
) -> Difference:
    values = differing_values(entity, row, found)
    mark = row[entity.extract.fingerprint_at]
    others = [*_other_labels(entity, row, labels, strict), *_others(entity, found, strict)]
    cause = _cause(entity, row, found, values)
    if not values and others:
        cause = "labels" if others[0][0] == "labels" else "edited"
    values += others
    if not values and (ends := _typed_ends(entity, row, thing)):
        values, cause = ends, "type"
    if not values:
        values.append((FINGERPRINT, shown(mark), shown(found.get(FINGERPRINT))))
        cause = "edited" if _reckoned(entity, found) == mark else "stale"
    sql, statement = queries(entity, row)
    return Difference(entity.id, entity.key_text(row), "both", tuple(values), sql, statement, cause)


def differing_values(entity: Entity, row: Record, found: dict[str, Any]) -> Values:
    """The properties of which the two sides hold different values, or another type."""
    types = dict(zip(entity.extract.properties, entity.extract.property_types, strict=True))
    return [
        (name, shown(value), _typed(found.get(name), types[name]))
        for name, value in entity.properties(row).items()
        if not same_value(value, found.get(name), types[name])
    ]


def _typed_ends(entity: Entity, row: Record, thing: Marked) -> Values:
    """The keys of a relationship's ends that are of another type in the graph."""
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return []
    values: Values = []
    ends = zip((shape.start, shape.end), entity.relationship_key(row), thing.key, strict=False)
    for end, wanted, there in ends:
        types = dict(zip(end.properties, end.types, strict=True))
        for name, source, graph in zip(end.key, wanted, there, strict=True):
            if name in types and not is_of(graph, types[name]):
                told = f"{end.label}.{name}"
                values.append((told, shown(source), _typed(graph, types[name])))
    return values


def _cause(entity: Entity, row: Record, found: dict[str, Any], values: Values) -> Cause:
    """Why the values of a row and of what the graph holds differ."""
    shape = entity.shape
    types = dict(zip(shape.properties, shape.types, strict=True))
    names = [name for name, _, _ in values]
    if any(not is_of(found.get(name), types[name]) for name in names):
        return "type"
    wanted = entity.properties(row)
    if names and all(_is_other_form(wanted[name], found.get(name)) for name in names):
        return "form"
    if names and all(_is_collated(wanted[name], found.get(name)) for name in names):
        return "collation"
    stamp = found.get(FINGERPRINT)
    if stamp == row[entity.extract.fingerprint_at] or _reckoned(entity, found) != stamp:
        return "edited"
    return "stale"


def _reckoned(entity: Entity, found: dict[str, Any]) -> int | None:
    """The digest of what a node holds now; of a relationship, whose ends count, None."""
    shape = entity.shape
    if isinstance(shape, RelationshipShape):
        return found.get(FINGERPRINT)
    return told_fingerprint(shape, found)


def _is_other_form(source: Any, graph: Any) -> bool:
    if not (isinstance(source, str) and isinstance(graph, str)):
        return False
    return unicodedata.normalize("NFC", source) == unicodedata.normalize("NFC", graph)


def _is_collated(source: Any, graph: Any) -> bool:
    """Whether two texts are the same to a collation that knows neither case nor accents."""
    if not (isinstance(source, str) and isinstance(graph, str)):
        return False
    return _loose(source) == _loose(graph)


def _loose(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in apart if not unicodedata.combining(one)).rstrip()


def _other_labels(
    entity: Entity, row: Record, labels: frozenset[str], strict: bool
) -> Iterable[tuple[str, str, str]]:
    shape = entity.shape
    if isinstance(shape, RelationshipShape):
        return []
    own = entity.label(row)
    wanted = {shape.label, *shape.labels} | ({own} if own else set())
    ours = labels if strict else labels & {shape.label, *shape.labels, *shape.by_value}
    return [("labels", joined(wanted), joined(ours))] if wanted != ours else []


def _others(entity: Entity, found: dict[str, Any], strict: bool) -> Iterable[tuple[str, str, str]]:
    """Properties that no rule made."""
    if not strict:
        return []
    names = sorted(found.keys() - OWN - set(entity.shape.properties))
    return [(name, "null", shown(found[name])) for name in names]


def queries(entity: Entity, row: Record) -> tuple[str, str]:
    """The SQL and the GQL that show a row on each side."""
    sql = entity.extract.look_sql(entity.cursor(row)) if entity.extract.keyed else ""
    return sql, _look(entity.shape, entity.key(row))


def _look(shape: NodeShape | RelationshipShape, key: Any) -> str:
    if isinstance(shape, NodeShape):
        return f"MATCH {_node('n', shape, key)} RETURN n"
    start, end, own = key
    middle = gql.relationship_with("r", shape.type, _literals(shape.key, own))
    return f"MATCH {_node('a', shape.start, start)}{middle}{_node('b', shape.end, end)} RETURN r"


def is_free(target: Target, shape: NodeShape, key: Any) -> bool:
    """Whether just one node has a key, and no relationship, whoever made it, hangs on it."""
    node = _node("n", shape, key)
    statements = (
        f"MATCH {node} RETURN count(n) AS c",
        f"MATCH {node}-[r]->() RETURN count(r) AS c",
        f"MATCH ()-[r]->{node} RETURN count(r) AS c",
    )
    return [int(target.query(statement)[0]["c"]) for statement in statements] == [1, 0, 0]


def _node(variable: str, shape: NodeShape, key: Sequence[Any]) -> str:
    return gql.node_with(variable, shape.label, _literals(shape.key, key))


def _literals(names: Sequence[str], values: Sequence[Any]) -> list[tuple[str, str]]:
    return [(name, gql.literal(value)) for name, value in zip(names, values, strict=True)]


def _key_text(shape: NodeShape | RelationshipShape, key: Any) -> str:
    if isinstance(shape, NodeShape):
        return told(shape.key, key)
    start, end, own = key
    text = f"({told(shape.start.key, start)}) to ({told(shape.end.key, end)})"
    return f"{text}, {told(shape.key, own)}" if shape.key else text


def joined(labels: Iterable[str]) -> str:
    """Labels as one text."""
    return ":".join(sorted(labels))


def shown(value: Any) -> str:
    """A value for a person: null and empty text are told apart."""
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str | bytes) else str(value)


def _typed(value: Any, graph_type: str) -> str:
    """A value of the graph, with its type where that is another than the rule's."""
    if is_of(value, graph_type):
        return shown(value)
    return f"{shown(value)} ({type(value).__name__}, not {graph_type})"
