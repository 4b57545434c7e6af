"""Damage done to a good graph behind the product's back, and what validation must name for it.

Each kind of damage picks a place at random, changes the graph there through Grafeo itself, and
tells which keys of which rules are wrong now. `KINDS` holds them all by name.
"""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import grafeo

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OF, OWN, ROW, RUN, STEP
from geode_tui.target.model import NodeShape, RelationshipShape
from geode_tui.target.patterns import node_pattern, relationship_pattern
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Difference, Ledger

_TRIES = 200


@dataclass(frozen=True)
class Named:
    """What a ledger must name: the rule, the values in the key, the property that differs."""

    entity: str
    key: tuple[str, ...]
    property: str = ""

    def fits(self, difference: Difference) -> bool:
        """Whether a difference is about this rule and has all of these values in its key."""
        return difference.entity == self.entity and self.is_in(difference.key)

    def is_in(self, key: str) -> bool:
        """Whether a key as it is told has all of these values."""
        return all(
            re.search(rf"(?:^row |=){re.escape(value)}(?:$|, |\))", key) for value in self.key
        )

    def shows(self, difference: Difference) -> bool:
        """Whether a difference has the property side by side, where only it was changed."""
        return not self.property or any(name == self.property for name, _, _ in difference.values)


@dataclass(frozen=True)
class Damage:
    """What was done, and all that must be named; nothing else may be.

    With `spreads` relationships of a node that is gone or has another key are named besides.
    """

    what: str
    named: tuple[Named, ...]
    spreads: bool = False


@dataclass(frozen=True)
class Node:
    """A node as it was found."""

    entity: Entity
    id: int
    properties: dict[str, Any]
    labels: frozenset[str]

    @property
    def key(self) -> tuple[str, ...]:
        """The values of its key, as texts."""
        return tuple(str(self.properties[name]) for name in self.entity.shape.key if name != OF)

    def named(self, name: str = "") -> Named:
        """What must be named where this node is wrong.

        A row without a key is known by its content: another content is another row.
        """
        return Named(self.entity.id, self.key, "" if ROW in self.entity.shape.key else name)


@dataclass(frozen=True)
class Relationship:
    """A relationship as it was found."""

    entity: Entity
    id: int
    start: Node
    end: Node
    properties: dict[str, Any]

    def named(self, name: str = "") -> Named:
        """What must be named where this one is wrong: what the source knows its row by."""
        shape = self.entity.shape
        assert isinstance(shape, RelationshipShape)
        if shape.owned:
            return Named(self.entity.id, self.start.key, name)
        if ROW in shape.key:
            return Named(self.entity.id, (str(self.properties[ROW]),))
        return Named(self.entity.id, (*self.start.key, *self.end.key), name)


class Place:
    """An open graph, the rules that made it, and chance."""

    def __init__(
        self, graph: grafeo.GrafeoDB, entities: Sequence[Entity], rng: random.Random
    ) -> None:
        self.graph = graph
        self.rng = rng
        self.nodes = [e for e in entities if e.kind == "node"]
        self.relationships = [e for e in entities if e.kind == "relationship"]
        self._of_type: dict[str, list[Entity]] = {}

    def nodes_of(self, entity: Entity) -> list[Node]:
        """All nodes of a rule, in random order; of several that are alike in all none is told."""
        shape = entity.shape
        assert isinstance(shape, NodeShape)
        found = [
            Node(entity, row["id"], dict(row["p"]), frozenset(row["labels"]))
            for row in self.graph.execute(
                f"MATCH {node_pattern('n', shape)} "
                "RETURN id(n) AS id, properties(n) AS p, labels(n) AS labels ORDER BY id(n)"
            )
        ]
        return self._told_apart(found)

    def _told_apart[T: (Node, Relationship)](self, found: list[T]) -> list[T]:
        """Rows without a key are known by their content: those whose content is there once."""
        if found and ROW in found[0].entity.shape.key:
            often = Counter(one.properties[FINGERPRINT] for one in found)
            found = [one for one in found if often[one.properties[FINGERPRINT]] == 1]
        self.rng.shuffle(found)
        return found

    def node(self, *, keyed: bool = False) -> Node:
        """A node of any rule; with `keyed` of a table that has a key."""
        entities = [e for e in self.nodes if not keyed or ROW not in e.shape.key]
        return self.nodes_of(self.rng.choice(entities))[0]

    def relationships_of(self, entity: Entity) -> list[Relationship]:
        """All relationships of a rule, in random order; see `nodes_of`."""
        shape = entity.shape
        assert isinstance(shape, RelationshipShape)
        ends = {
            node.id: node
            for end in (shape.start, shape.end)
            for rule in self.nodes
            if rule.shape == end
            for node in self.nodes_of(rule)
        }
        rows = self.graph.execute(
            f"MATCH {relationship_pattern(shape)} "
            "RETURN id(r) AS id, id(a) AS a, id(b) AS b, properties(r) AS p ORDER BY id(r)"
        )
        return self._told_apart(
            [
                Relationship(entity, row["id"], ends[row["a"]], ends[row["b"]], dict(row["p"]))
                for row in rows
            ]
        )

    def relationship(self, fits: Callable[[RelationshipShape], bool] | None = None) -> Relationship:
        """A relationship of any rule whose shape fits."""
        entities = [
            e
            for e in self.relationships
            if isinstance(e.shape, RelationshipShape) and (fits is None or fits(e.shape))
        ]
        return self.relationships_of(self.rng.choice(entities))[0]

    # -- changes -----------------------------------------------------------------------------------

    def put(self, node: Node, name: str, value: Any) -> None:
        """Give a node a property, or with None take it away."""
        if value is None:
            self.graph.remove_node_property(node.id, name)
        else:
            self.graph.set_node_property(node.id, name, value)

    def unlink(self, relationship: Relationship) -> None:
        """Remove a relationship."""
        self.graph.delete_edge(relationship.id)

    def link(self, start: Node, end: Node, type_name: str, properties: dict[str, Any]) -> None:
        """Make a relationship."""
        self.graph.create_edge(start.id, end.id, type_name, properties)

    def allow_doubles(self) -> None:
        """Drop the constraints: keys may be there twice."""
        for row in list(self.graph.execute("SHOW CONSTRAINTS")):
            self.graph.execute(f"DROP CONSTRAINT {gql.quoted(row['name'])}")

    def new_key(self, node: Node) -> dict[str, Any]:
        """A key that no node has."""
        key = {}
        for name in [n for n in node.entity.shape.key if n != OF]:
            value = node.properties[name]
            number = self.rng.randrange(1_000_000, 2_000_000)
            key[name] = number if isinstance(value, int) else f"new-{number}"
        return key


type Act = Callable[[Place], Damage]


@dataclass(frozen=True)
class Kind:
    """A kind of damage; `plain` says that it is found by stored digests and counts alone."""

    name: str
    act: Act = field(repr=False)
    plain: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, plain: bool = False) -> Callable[[Act], Act]:
    """Put a kind of damage into `KINDS`."""

    def put(act: Act) -> Act:
        KINDS[name] = Kind(name, act, plain)
        return act

    return put


def missed(ledger: Ledger, damage: Damage) -> str:
    """What a ledger does not tell of a damage, or tells and is not so; empty when all is well."""
    if ledger.balanced:
        return "not found"
    wrong = []
    counted = {entry.id: entry.mismatched for entry in ledger.entries}
    for named in damage.named:
        fitting = [d for d in ledger.differences if named.fits(d)]
        if not fitting:
            wrong.append(f"{named} is not named")
        elif not any(named.shows(d) for d in fitting):
            wrong.append(f"{named.property} is not shown")
        elif not counted[named.entity]:
            wrong.append(f"{named.entity} has no mismatch: its digests do not differ")
    for difference in ledger.differences:
        if any(source == graph for _, source, graph in difference.values):
            wrong.append(f"{difference.entity} {difference.key} shows the same on both sides")
        if damage.spreads and difference.entity.startswith("("):
            continue
        if not any(named.fits(difference) for named in damage.named):
            wrong.append(f"{difference.entity} {difference.key} is named and is right")
    return "; ".join(wrong)


# -- values of nodes ------------------------------------------------------------------------------

type Change = Callable[[Any, random.Random], Any]


@dataclass(frozen=True)
class _Values:
    """A change of a value of some graph types (all when empty); None: not to this value."""

    types: tuple[str, ...]
    change: Change
    column: str = ""

    def __call__(self, place: Place) -> Damage:
        """Change a property of a node that is not of its key."""
        for node, name in self._choices(place):
            before = node.properties[name]
            after = self.change(before, place.rng)
            if after is not None and repr(after) != repr(before):
                place.put(node, name, after)
                what = f"{node.key} {name}: {before!r} to {after!r}"
                return Damage(what, (node.named(name),))
        raise AssertionError("no value to change so")

    def _choices(self, place: Place) -> Iterator[tuple[Node, str]]:
        """Nodes and properties at random, a rule's as likely as another's."""
        named = [(e, name) for e in place.nodes for name in self._names(e)]
        place.rng.shuffle(named)
        for entity, name in named:
            yield from ((n, name) for n in place.nodes_of(entity) if name in n.properties)

    def _names(self, entity: Entity) -> list[str]:
        shape = entity.shape
        return [
            name
            for name, type_name in zip(shape.properties, shape.types, strict=True)
            if name not in shape.key
            and name not in OWN
            and (not self.types or type_name in self.types)
            and (not self.column or self.column == _column_type(entity, name))
        ]


def _column_type(entity: Entity, name: str) -> str:
    item = entity.rule.property_named(name)
    column = entity.extract.table.column(item.column) if item else None
    return column.type.resolved().name if column else ""


def _one_character(text: str, rng: random.Random) -> str | None:
    if not text:
        return None
    place = rng.randrange(len(text))
    return text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]


def _inserted(letter: str) -> Change:
    def change(text: str, rng: random.Random) -> str:
        place = rng.randint(0, len(text))
        return text[:place] + letter + text[place:]

    return change


def _one_number(text: str, rng: random.Random) -> str | None:
    numbers = list(re.finditer(r"\d+", text))
    if not numbers:
        return None
    found = rng.choice(numbers)
    return text[: found.start()] + str(int(found[0]) + 1) + text[found.end() :]


def _last_digit(value: Decimal, rng: random.Random) -> Decimal:
    return value + rng.choice((-1, 1)) * Decimal((0, (1,), int(value.as_tuple().exponent)))


def _ulp(value: float, rng: random.Random) -> float:
    return math.nextafter(value, rng.choice((-math.inf, math.inf)))


def _negative(value: Any, rng: random.Random) -> Any:
    return -value if value else None


def _hour(value: datetime, rng: random.Random) -> datetime:
    return value + timedelta(hours=rng.choice((-1, 1)))


def _instant(value: datetime, rng: random.Random) -> datetime:
    return value + timedelta(microseconds=rng.choice((-1, 1)))


def _day(value: date, rng: random.Random) -> date:
    return value + timedelta(days=rng.choice((-1, 1)))


def _clock(value: time, rng: random.Random) -> time:
    return value.replace(microsecond=value.microsecond ^ 1)


def _bit(value: bytes, rng: random.Random) -> bytes:
    changed = bytearray(value)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _other_item(item: Any) -> Any:
    if isinstance(item, list):
        return [_other_item(item[0]), *item[1:]]
    if isinstance(item, bool):
        return not item
    if isinstance(item, int | Decimal):
        return item + 1
    return item + timedelta(days=1) if isinstance(item, date) else item + "x"


def _element(value: list[Any], rng: random.Random) -> list[Any]:
    place = rng.choice([n for n, item in enumerate(value) if item is not None])
    return [*value[:place], _other_item(value[place]), *value[place + 1 :]]


def _null_filled(value: list[Any], rng: random.Random) -> list[Any] | None:
    if None not in value:
        return None
    like = next(item for item in value if item is not None)
    place = value.index(None)
    empty: Any = {str: "", int: 0, bool: False}.get(type(like), like)
    return [*value[:place], empty, *value[place + 1 :]]


def _null_put(value: list[Any], rng: random.Random) -> list[Any] | None:
    if isinstance(value[0], list):
        return None
    place = rng.choice([n for n, item in enumerate(value) if item is not None])
    return [*value[:place], None, *value[place + 1 :]]


def _dropped(value: list[Any], rng: random.Random) -> list[Any]:
    place = rng.randrange(len(value))
    return value[:place] + value[place + 1 :]


def _flattened(value: list[Any], rng: random.Random) -> list[Any] | None:
    if not isinstance(value[0], list):
        return None
    return [item for row in value for item in row]


def _as_number(text: str, rng: random.Random) -> int | None:
    return int(text) if re.fullmatch(r"[1-9]\d{0,17}", text) else None


_LISTS = tuple(f"LIST<{name}>" for name in ("STRING", "INT", "DECIMAL", "DATE", "BOOL"))
_INSTANTS = ("TIMESTAMP", "TIMESTAMPTZ")
_TEXT = ("STRING",)
_VALUES = {
    "a text changed by one character": _Values(_TEXT, _one_character),
    "a space after a text": _Values(_TEXT, lambda v, rng: v + " "),
    "an invisible character in a text": _Values(_TEXT, _inserted("\u200b")),
    "a text in another case": _Values(_TEXT, lambda v, rng: v.swapcase()),
    "a text emptied": _Values(_TEXT, lambda v, rng: "" if v else None),
    "a text cut off": _Values(_TEXT, lambda v, rng: v[:-1] if len(v) > 1 else None),
    "a text in another Unicode form": _Values(
        _TEXT, lambda v, rng: unicodedata.normalize("NFD", v)
    ),
    "a text that is a number stored as one": _Values(_TEXT, _as_number),
    "a trailing zero after a number in a text": _Values(
        _TEXT, lambda v, rng: f"{v}.0" if v.isdigit() else None
    ),
    "a value in a JSON text changed": _Values(_TEXT, _one_number, "jsonb"),
    "the spaces of a JSON text gone": _Values(_TEXT, lambda v, rng: v.replace(" ", ""), "jsonb"),
    "a UUID in another case": _Values(_TEXT, lambda v, rng: v.upper(), "uuid"),
    "an interval changed": _Values(_TEXT, _one_number, "interval"),
    "a zero after a number": _Values(("INT",), lambda v, rng: v * 10 if abs(v) < 10**17 else None),
    "a number off by one": _Values(("INT",), lambda v, rng: v + rng.choice((-1, 1))),
    "a number's sign flipped": _Values(("INT", "DECIMAL", "FLOAT"), _negative),
    "a number stored as text": _Values(("INT",), lambda v, rng: str(v)),
    "a number stored as a float": _Values(("INT",), lambda v, rng: float(v)),
    "a decimal's last digit changed": _Values(("DECIMAL",), _last_digit),
    "a decimal stored as a float": _Values(("DECIMAL",), lambda v, rng: float(v)),
    "a decimal stored as text": _Values(("DECIMAL",), lambda v, rng: str(v)),
    "a float changed by the least there is": _Values(("FLOAT",), _ulp),
    "a truth flipped": _Values(("BOOL",), lambda v, rng: not v),
    "a truth stored as a number": _Values(("BOOL",), lambda v, rng: int(v)),
    "an instant moved by an hour": _Values(_INSTANTS, _hour),
    "an instant moved by a microsecond": _Values(_INSTANTS, _instant),
    "an instant stored as text": _Values(_INSTANTS, lambda v, rng: v.isoformat()),
    "a date moved by a day": _Values(("DATE",), _day),
    "a date stored as text": _Values(("DATE",), lambda v, rng: v.isoformat()),
    "a time moved by a microsecond": _Values(("TIME",), _clock),
    "a bit of bytes flipped": _Values(("BYTES",), _bit),
    "bytes stored as text": _Values(("BYTES",), lambda v, rng: v.hex()),
    "an element of a list changed": _Values(_LISTS, _element),
    "the order of a list changed": _Values(_LISTS, lambda v, rng: v[::-1]),
    "a null in a list filled": _Values(_LISTS, _null_filled),
    "an element of a list nulled": _Values(_LISTS, _null_put),
    "an element of a list dropped": _Values(_LISTS, _dropped),
    "an element of a list doubled": _Values(_LISTS, lambda v, rng: [*v, v[-1]]),
    "a nested list flattened": _Values(_LISTS, _flattened),
    "a list stored as text": _Values(_LISTS, lambda v, rng: str(v)),
}
for _name, _act in _VALUES.items():
    kind(_name)(_act)


@kind("a value turned to null")
def _nulled(place: Place) -> Damage:
    changed = _Values((), lambda v, rng: v)
    node, name = next(changed._choices(place))
    place.put(node, name, None)
    return Damage(f"{node.key} {name}: {node.properties[name]!r} to null", (node.named(name),))


def _filled(types: tuple[str, ...], value: Any) -> Act:
    def act(place: Place) -> Damage:
        entities = [(e, name) for e in place.nodes for name in _Values(types, _bit)._names(e)]
        place.rng.shuffle(entities)
        for entity, name in entities:
            for node in place.nodes_of(entity):
                if name not in node.properties:
                    place.put(node, name, value)
                    return Damage(f"{node.key} {name}: null to {value!r}", (node.named(name),))
        raise AssertionError("no null to fill")

    return act


kind("a null turned to empty text")(_filled(_TEXT, ""))
kind("a null turned to the text null")(_filled(_TEXT, "null"))
kind("a null turned to zero")(_filled(("INT",), 0))
kind("a null turned to false")(_filled(("BOOL",), False))
kind("a null turned to an empty list")(_filled(_LISTS, []))


# -- nodes ----------------------------------------------------------------------------------------


@kind("a node gone", plain=True)
def _node_gone(place: Place) -> Damage:
    node = place.node()
    place.graph.execute("MATCH (n) WHERE id(n) = $id DETACH DELETE n", {"id": node.id})
    return Damage(f"{node.key} deleted", (node.named(),), spreads=True)


@kind("a node too many, marked as ours", plain=True)
def _node_more(place: Place) -> Damage:
    return _one_more(place, ours=True)


@kind("a node too many, not marked", plain=True)
def _node_strange(place: Place) -> Damage:
    return _one_more(place, ours=False)


def _one_more(place: Place, ours: bool) -> Damage:
    node = place.node(keyed=True)
    kept = {n: v for n, v in node.properties.items() if ours or n == OF or n not in OWN}
    made = Node(node.entity, 0, kept | place.new_key(node), node.labels)
    place.graph.create_node(list(node.labels), made.properties)
    return Damage(f"{made.key} made like {node.key}", (made.named(),))


@kind("a node doubled", plain=True)
def _node_doubled(place: Place) -> Damage:
    node = place.node()
    place.allow_doubles()
    place.graph.create_node(list(node.labels), node.properties)
    return Damage(f"{node.key} doubled", (node.named(),))


@kind("a node doubled with fewer values")
def _node_doubled_unlike(place: Place) -> Damage:
    node = place.node(keyed=True)
    place.allow_doubles()
    names = [n for n in node.properties if n not in (*node.entity.shape.key, RUN, STEP)]
    properties = {n: v for n, v in node.properties.items() if n != place.rng.choice(names)}
    place.graph.create_node(list(node.labels), properties)
    return Damage(f"{node.key} doubled with fewer values", (node.named(),))


@kind("a node's key changed")
def _key_changed(place: Place) -> Damage:
    node = place.node(keyed=True)
    key = place.new_key(node)
    name = place.rng.choice(list(key))
    place.put(node, name, key[name])
    now = Node(node.entity, 0, node.properties | {name: key[name]}, node.labels)
    return Damage(f"{node.key} has the key {now.key}", (node.named(), now.named()), spreads=True)


def _key_as(other: Callable[[Any], Any]) -> Act:
    def act(place: Place) -> Damage:
        numbered = [entity for entity in place.nodes if "id" in entity.shape.key]
        node = place.nodes_of(place.rng.choice(numbered))[0]
        place.put(node, "id", other(node.properties["id"]))
        return Damage(f"{node.key} has another type", (node.named(),), spreads=True)

    return act


kind("a node's key stored as text")(_key_as(str))
kind("a node's key stored as a float")(_key_as(float))


@kind("a node marked as another rule's", plain=True)
def _of_changed(place: Place) -> Damage:
    entities = [e for e in place.nodes if OF in e.shape.key]
    place.rng.shuffle(entities)
    one, other = entities[:2]
    node = place.nodes_of(one)[0]
    assert isinstance(other.shape, NodeShape)
    place.allow_doubles()
    place.put(node, OF, other.shape.of)
    key = tuple(str(node.properties.get(name)) for name in other.shape.key if name != OF)
    named = (node.named(), Named(other.id, key))
    return Damage(f"{one.id} {node.key} put to {other.id}", named, spreads=True)


@kind("two nodes' keys swapped")
def _keys_swapped(place: Place) -> Damage:
    entity = place.rng.choice(
        [e for e in place.nodes if len(e.shape.key) == 1 and ROW not in e.shape.key]
    )
    one, other = place.nodes_of(entity)[:2]
    [name] = entity.shape.key
    place.allow_doubles()
    place.put(one, name, other.properties[name])
    place.put(other, name, one.properties[name])
    named = (one.named(), other.named())
    return Damage(f"{entity.id} {one.key} and {other.key} swapped", named, spreads=True)


def _swapped(with_digests: bool) -> Act:
    def act(place: Place) -> Damage:
        one, other = _two_unlike(place)
        names = set(one.properties) | set(other.properties)
        for name in names - set(one.entity.shape.key) - {RUN, STEP}:
            if name != FINGERPRINT or with_digests:
                place.put(one, name, other.properties.get(name))
                place.put(other, name, one.properties.get(name))
        what = f"values of {one.key} and {other.key} swapped"
        return Damage(what, (one.named(), other.named()))

    return act


def _two_unlike(place: Place) -> tuple[Node, Node]:
    """Two nodes of a rule with other values; and with the same labels, for they stay."""
    for _ in range(_TRIES):
        one = place.node(keyed=True)
        for other in place.nodes_of(one.entity):
            names = set(one.entity.shape.properties) - set(one.entity.shape.key)
            unlike = any(one.properties.get(n) != other.properties.get(n) for n in names)
            if other.id != one.id and unlike and other.labels == one.labels:
                return one, other
    raise AssertionError("no two nodes that are unlike")


kind("two nodes' values swapped")(_swapped(False))
kind("two nodes' values swapped with their digests")(_swapped(True))


@kind("a node's label gone", plain=True)
def _label_gone(place: Place) -> Damage:
    node = place.node()
    label = node.entity.shape.label if isinstance(node.entity.shape, NodeShape) else ""
    place.graph.remove_node_label(node.id, label)
    return Damage(f"{node.key} without {label}", (node.named(),), spreads=True)


@kind("a label that a value gave gone")
def _given_label_gone(place: Place) -> Damage:
    node, given = _with_given_label(place)
    place.graph.remove_node_label(node.id, given)
    return Damage(f"{node.key} without {given}", (node.named("labels"),))


@kind("a label that a value gave exchanged")
def _given_label_exchanged(place: Place) -> Damage:
    node, given = _with_given_label(place)
    shape = node.entity.shape
    assert isinstance(shape, NodeShape)
    other = place.rng.choice([label for label in shape.by_value if label != given])
    place.graph.remove_node_label(node.id, given)
    place.graph.add_node_label(node.id, other)
    return Damage(f"{node.key} {other} instead of {given}", (node.named("labels"),))


def _with_given_label(place: Place) -> tuple[Node, str]:
    for entity in place.nodes:
        shape = entity.shape
        if isinstance(shape, NodeShape) and shape.by_value:
            node = next(n for n in place.nodes_of(entity) if n.labels & set(shape.by_value))
            return node, next(iter(node.labels & set(shape.by_value)))
    raise AssertionError("no rule gives labels by value")


@kind("a label too many that no rule gives")
def _label_more(place: Place) -> Damage:
    node = place.node()
    place.graph.add_node_label(node.id, "Stranger")
    return Damage(f"{node.key} is a Stranger", (node.named("labels"),))


@kind("a label too many that another rule gives")
def _foreign_label(place: Place) -> Damage:
    node = place.node(keyed=True)
    others = [e for e in place.nodes if e.id != node.entity.id and OF not in e.shape.key]
    other = place.rng.choice(others)
    assert isinstance(other.shape, NodeShape)
    place.allow_doubles()
    place.graph.add_node_label(node.id, other.shape.label)
    key = tuple(str(node.properties.get(name)) for name in other.shape.key)
    what = f"{node.entity.id} {node.key} is a {other.shape.label}"
    return Damage(what, (node.named("labels"), Named(other.id, key)), spreads=True)


@kind("a property that no rule makes")
def _property_more(place: Place) -> Damage:
    node = place.node()
    place.put(node, "rumour", place.rng.choice(("true", 1, [1], False)))
    return Damage(f"{node.key} has a rumour", (node.named("rumour"),))


@kind("a node's digest changed", plain=True)
def _node_digest(place: Place) -> Damage:
    node = place.node(keyed=True)
    place.put(node, FINGERPRINT, node.properties[FINGERPRINT] ^ 1 << place.rng.randrange(48))
    return Damage(f"{node.key} with another digest", (node.named(FINGERPRINT),))


@kind("a node's digest gone", plain=True)
def _node_digest_gone(place: Place) -> Damage:
    node = place.node(keyed=True)
    place.put(node, FINGERPRINT, None)
    return Damage(f"{node.key} without digest", (node.named(FINGERPRINT),))


# -- relationships --------------------------------------------------------------------------------


def _same_labels(shape: RelationshipShape) -> bool:
    return shape.start == shape.end


def _keyed_ends(shape: RelationshipShape) -> bool:
    return ROW not in shape.key


@kind("a relationship gone", plain=True)
def _relationship_gone(place: Place) -> Damage:
    one = place.relationship()
    place.unlink(one)
    return Damage(f"{one.start.key} to {one.end.key} deleted", (one.named(),))


@kind("a relationship doubled", plain=True)
def _relationship_doubled(place: Place) -> Damage:
    one = place.relationship()
    place.link(one.start, one.end, _type(one), one.properties)
    return Damage(f"{one.start.key} to {one.end.key} doubled", (one.named(),))


@kind("a relationship doubled with another property")
def _relationship_doubled_unlike(place: Place) -> Damage:
    one = place.relationship(lambda shape: bool(set(shape.properties) - {ROW}))
    name = place.rng.choice(sorted(set(one.entity.shape.properties) - {ROW}))
    properties = one.properties | {name: _other_item(one.properties[name])}
    place.link(one.start, one.end, _type(one), properties)
    what = f"{one.start.key} to {one.end.key} doubled with another {name}"
    return Damage(what, (one.named(),))


@kind("a relationship reversed", plain=True)
def _reversed(place: Place) -> Damage:
    return _turned(place, place.relationship(lambda shape: not _same_labels(shape)))


@kind("a relationship reversed between nodes of one label")
def _reversed_alike(place: Place) -> Damage:
    one = place.relationship(_same_labels)
    while one.start.id == one.end.id:
        one = place.relationship(_same_labels)
    return _turned(place, one)


def _turned(place: Place, one: Relationship) -> Damage:
    place.unlink(one)
    place.link(one.end, one.start, _type(one), one.properties)
    return Damage(f"{one.entity.id} {one.start.key} to {one.end.key} reversed", (one.named(),))


@kind("a relationship's end moved")
def _end_moved(place: Place) -> Damage:
    one = place.relationship()
    taken = _pairs(place, one.entity)
    other = next(n for n in place.nodes_of(one.end.entity) if (one.start.id, n.id) not in taken)
    place.unlink(one)
    place.link(one.start, other, _type(one), one.properties)
    moved = Relationship(one.entity, 0, one.start, other, one.properties)
    what = f"{one.entity.id} {one.start.key} to {one.end.key} moved to {other.key}"
    return Damage(what, (one.named(), moved.named()))


@kind("a relationship's start moved")
def _start_moved(place: Place) -> Damage:
    one = place.relationship(lambda shape: not shape.owned)
    taken = _pairs(place, one.entity)
    other = next(n for n in place.nodes_of(one.start.entity) if (n.id, one.end.id) not in taken)
    place.unlink(one)
    place.link(other, one.end, _type(one), one.properties)
    moved = Relationship(one.entity, 0, other, one.end, one.properties)
    what = f"{one.entity.id} {one.start.key} to {one.end.key} moved to begin at {other.key}"
    return Damage(what, (one.named(), moved.named()))


@kind("the ends of two relationships swapped")
def _ends_swapped(place: Place) -> Damage:
    one, other = _crossing(place)
    crossed = (
        Relationship(one.entity, 0, one.start, other.end, one.properties),
        Relationship(one.entity, 0, other.start, one.end, other.properties),
    )
    for each in (one, other):
        place.unlink(each)
    for each in crossed:
        place.link(each.start, each.end, _type(one), each.properties)
    what = f"{one.entity.id}: the ends of {one.start.key} and {other.start.key} swapped"
    named = dict.fromkeys(each.named() for each in (one, other, *crossed))
    return Damage(what, tuple(named))


def _crossing(place: Place) -> tuple[Relationship, Relationship]:
    """Two relationships of a rule whose ends can be swapped, and are not there so already."""
    for _ in range(_TRIES):
        one = place.relationship()
        taken = _pairs(place, one.entity)
        for other in place.relationships_of(one.entity):
            new = {(one.start.id, other.end.id), (other.start.id, one.end.id)}
            if other.id != one.id and len(new) == 2 and not new & taken:
                return one, other
    raise AssertionError("no two relationships whose ends can be swapped")


@kind("a property of a relationship changed")
def _relationship_property(place: Place) -> Damage:
    one = place.relationship(lambda shape: bool(set(shape.properties) - {ROW}))
    name = place.rng.choice(sorted(set(one.entity.shape.properties) - {ROW}))
    value = one.properties[name]
    place.graph.set_edge_property(one.id, name, _other_item(value))
    what = f"{one.start.key} to {one.end.key} {name}: {value!r} to {_other_item(value)!r}"
    return Damage(what, (one.named(name),))


@kind("a property of a relationship gone")
def _relationship_property_gone(place: Place) -> Damage:
    one = place.relationship(lambda shape: bool(set(shape.properties) - {ROW}))
    name = place.rng.choice(sorted(set(one.entity.shape.properties) - {ROW}))
    place.graph.remove_edge_property(one.id, name)
    what = f"{one.start.key} to {one.end.key} without {name}"
    return Damage(what, (one.named(name),))


@kind("a property of a relationship that no rule makes")
def _relationship_property_more(place: Place) -> Damage:
    one = place.relationship()
    place.graph.set_edge_property(one.id, "rumour", "true")
    what = f"{one.start.key} to {one.end.key} has a rumour"
    return Damage(what, (one.named("rumour"),))


@kind("a relationship of another type", plain=True)
def _other_type(place: Place) -> Damage:
    one = place.relationship()
    others = sorted({_type_of(e) for e in place.relationships} - {_type(one)})
    new = place.rng.choice([*others, "RUMOURED"])
    place.unlink(one)
    place.link(one.start, one.end, new, one.properties)
    between = (one.start.entity.shape, one.end.entity.shape)
    extra = [
        Named(e.id, (*one.start.key, *one.end.key))
        for e in place.relationships
        if isinstance(e.shape, RelationshipShape)
        and (e.shape.type, e.shape.start, e.shape.end) == (new, *between)
    ]
    what = f"{one.start.key} to {one.end.key} is {new}, not {_type(one)}"
    return Damage(what, (one.named(), *extra))


@kind("a relationship too many, marked as ours", plain=True)
def _relationship_more(place: Place) -> Damage:
    return _one_relationship_more(place, ours=True)


@kind("a relationship too many, not marked", plain=True)
def _relationship_strange(place: Place) -> Damage:
    return _one_relationship_more(place, ours=False)


def _one_relationship_more(place: Place, ours: bool) -> Damage:
    one = place.relationship(_keyed_ends)
    shape = one.entity.shape
    assert isinstance(shape, RelationshipShape)
    taken = _pairs(place, one.entity)
    pairs = (
        (a, b) for a in place.nodes_of(one.start.entity) for b in place.nodes_of(one.end.entity)
    )
    start, end = next((a, b) for a, b in pairs if (a.id, b.id) not in taken)
    place.link(start, end, shape.type, one.properties if ours else {})
    what = f"{one.entity.id} {start.key} to {end.key} made"
    return Damage(what, (Named(one.entity.id, (*start.key, *end.key)),))


@kind("a relationship's digest changed", plain=True)
def _relationship_digest(place: Place) -> Damage:
    one = place.relationship(_keyed_ends)
    mark = one.properties[FINGERPRINT] ^ 1 << place.rng.randrange(48)
    place.graph.set_edge_property(one.id, FINGERPRINT, mark)
    what = f"{one.start.key} to {one.end.key} with another digest"
    return Damage(what, (one.named(FINGERPRINT),))


def _type(one: Relationship) -> str:
    return _type_of(one.entity)


def _type_of(entity: Entity) -> str:
    assert isinstance(entity.shape, RelationshipShape)
    return entity.shape.type


def _pairs(place: Place, entity: Entity) -> set[tuple[int, int]]:
    rows = place.graph.execute(
        f"MATCH (a){gql.relationship_with('r', _type_of(entity))}(b) RETURN id(a) AS a, id(b) AS b"
    )
    return {(row["a"], row["b"]) for row in rows}
