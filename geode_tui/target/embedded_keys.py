"""How the embedded graph finds a node by its key: indexes, uniqueness, remembered ids.

Grafeo's indexes are of one property each, over all labels; a key of several properties is looked
up by one of them, the *lead*, and the rest is compared. So the lead must be the property that
tells most nodes apart: where it has few values, every look-up and every insert under a uniqueness
constraint goes through all nodes that share the value. At first the lead is the key's first
property; where the rows that are written show that another one tells far more, it takes over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.model import OF
from geode_tui.target.keys import comparable
from geode_tui.target.model import Key, NodeShape

_PREPARED = re.compile(
    r"CREATE (?P<kind>INDEX|CONSTRAINT) `(?P<prefix>key_[0-9a-f]{12}_[iu])"
    r".* ON \(n\.`(?P<lead>(?:[^`]|``)+)`",
    re.DOTALL,
)
_SHOW = {"CONSTRAINT": "SHOW CONSTRAINTS", "INDEX": "SHOW INDEXES"}
_NUMBER = re.compile(r"key_[0-9a-f]{12}_[iu](\d+)_")
_FIRST_LOOK = 1_000
_SHARED = 50
_BETTER = 4
_SLOTS = 1 << 15

Rows = list[dict[str, Any]]


def preparation(graph: str, shapes: Sequence[NodeShape], there: Collection[str] = ()) -> list[str]:
    """The statements that prepare a graph for nodes; `there` are names that it has already.

    Index, then constraint: a constraint alone makes every insert a scan.
    """
    # Nodes of another rule get this label too, and their keys are not of our table.
    given = {label for shape in shapes for label in (*shape.labels, *shape.by_value)}
    statements: dict[str, None] = {}
    for shape in shapes:
        order = first_order(shape)
        if not _with_prefix(there, _prefix(graph, shape, "i")):
            statements[_index(graph, shape, 0, order)] = None
        if shape.label not in given and not _with_prefix(there, _prefix(graph, shape, "u")):
            statements[_constraint(graph, shape, 0, order)] = None
    return list(statements)


def first_order(shape: NodeShape) -> tuple[int, ...]:
    """The positions of a key's properties while nothing is known of their values."""
    return tuple(sorted(range(len(shape.key)), key=lambda place: shape.key[place] == OF))


class KeyIndexes:
    """The indexes and uniqueness constraints that we make in one graph of a file."""

    def __init__(
        self, graph: str, query: Callable[[str], Rows], has_index: Callable[[str], bool]
    ) -> None:
        self._graph = graph
        self._query = query
        self._has_index = has_index
        self._lock = threading.RLock()
        self._gate = _Gate()
        self._orders: dict[NodeShape, tuple[int, ...]] = {}
        self._unique: dict[NodeShape, bool] = {}
        self._spreads: dict[NodeShape, _Spread] = {}

    def prepare(self, shapes: Sequence[NodeShape]) -> list[str]:
        """Make what is not there; returns the statements that ran."""
        with self._lock:
            missing = self.missing(shapes)
            for statement in missing:
                self._query(statement)
            self._forget()
            for shape in shapes:
                self._tidy(shape)
        return missing

    def missing(self, shapes: Sequence[NodeShape]) -> list[str]:
        """The statements that make what is not there."""
        indexes = self._query("SHOW INDEXES")
        names = {row["name"] for row in (*indexes, *self._query("SHOW CONSTRAINTS"))}
        named = {row["property"] for row in indexes}
        found = []
        for statement in preparation(self._graph, shapes, names):
            lead = _lead(statement)
            index = statement.startswith("CREATE INDEX")
            if index and lead not in named and self._has_index(lead):
                continue  # somebody made it with a call: it has no name, and serves as well
            named.add(lead)
            found.append(statement)
        return found

    def unprepare(self, statements: Sequence[str]) -> None:
        """Drop what these statements of `prepare` made, and nothing else."""
        with self._lock:
            found = [match for match in map(_PREPARED.match, statements) if match]
            for match in sorted(found, key=lambda match: match["kind"]):  # constraints first
                self._drop(match["kind"], self._named(match["kind"], match["prefix"]))
            for match in found:
                self._mend(_unquoted(match["lead"]))
            self._forget()

    def order(self, shape: NodeShape) -> tuple[int, ...]:
        """The positions of a key's properties, the one that nodes are found by first."""
        known = self._orders.get(shape)
        if known is None:
            known = self._orders[shape] = self._order(shape)
        return known

    def is_unique(self, shape: NodeShape) -> bool:
        """Whether the graph itself refuses a second node of the same key."""
        known = self._unique.get(shape)
        if known is None:
            prefix = _prefix(self._graph, shape, "u")
            known = self._unique[shape] = bool(self._named("CONSTRAINT", prefix))
        return known

    @contextlib.contextmanager
    def writing(self, shape: NodeShape, rows: Rows) -> Iterator[None]:
        """Around making nodes of these properties: afterwards the lead may be another one."""
        with self._gate.shared():
            yield
        if sum(name != OF for name in shape.key) > 1:
            with self._lock:
                spread = self._spreads.setdefault(shape, _Spread(shape))
                better = spread.look(rows, self.order(shape)[0])
            if better is not None:
                self._lead_by(shape, better)

    def _lead_by(self, shape: NodeShape, lead: int) -> None:
        """Let another property of the key lead, while nobody makes nodes.

        Never without the constraint: the new one is there before the old one goes.
        """
        with self._gate.alone(), self._lock:
            if self.order(shape)[0] == lead:
                return
            order = (lead, *(place for place in self.order(shape) if place != lead))
            old = self._named("INDEX", _prefix(self._graph, shape, "i"))
            number = 1 + max(map(_number, old), default=0)
            self._query(_index(self._graph, shape, number, order))
            if self.is_unique(shape):
                self._query(_constraint(self._graph, shape, number, order))
            self._forget()
            self._tidy(shape)

    def _tidy(self, shape: NodeShape) -> None:
        """Drop what an earlier lead has left, also where that was interrupted."""
        for kind, letter in (("CONSTRAINT", "u"), ("INDEX", "i")):
            names = self._named(kind, _prefix(self._graph, shape, letter))
            self._drop(kind, sorted(names, key=_number)[:-1])
        for name in shape.key:
            self._mend(name)

    def _order(self, shape: NodeShape) -> tuple[int, ...]:
        order, prefix = first_order(shape), _prefix(self._graph, shape, "i")
        rows = [row for row in self._query("SHOW INDEXES") if row["name"].startswith(prefix)]
        if not rows:
            return order
        lead = shape.key.index(max(rows, key=lambda row: _number(row["name"]))["property"])
        return (lead, *(place for place in order if place != lead))

    def _named(self, kind: str, prefix: str) -> list[str]:
        return _with_prefix({row["name"] for row in self._query(_SHOW[kind])}, prefix)

    def _drop(self, kind: str, names: Iterable[str]) -> None:
        for name in names:
            self._query(f"DROP {kind} {gql.quoted(name)}")

    def _mend(self, name: str) -> None:
        """Make the index of a property again where there should be one.

        Dropping one of several indexes of a property takes away what all of them find by.
        """
        if self._has_index(name):
            return
        for row in self._query("SHOW INDEXES"):
            if row["property"] == name:
                pattern, field = gql.node_with("n", row["label"]), gql.member("n", name)
                self._query(f"CREATE INDEX {gql.quoted(row['name'])} FOR {pattern} ON ({field})")
                return

    def _forget(self) -> None:
        self._orders = {}
        self._unique = {}


class _Gate:
    """Many may pass at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class _Spread:
    """About how many values each property of a key has, in the rows seen so far.

    By linear counting: 32 kB a property, good up to some hundred thousand values.
    """

    def __init__(self, shape: NodeShape) -> None:
        self._places = {n: name for n, name in enumerate(shape.key) if name != OF}
        self._slots = {place: bytearray(_SLOTS) for place in self._places}
        self._rows = 0
        self._next_look = _FIRST_LOOK

    def look(self, rows: Rows, lead: int) -> int | None:
        """Take more rows in; the position of a property that tells far more than the lead."""
        self._rows += len(rows)
        for place, name in self._places.items():
            slots = self._slots[place]
            for row in rows:
                slots[hash(comparable((row[name],))) % _SLOTS] = 1
        if self._rows < self._next_look or lead not in self._places:
            return None
        self._next_look = 2 * self._rows
        best = max(self._places, key=self._values)
        values, most = self._values(lead), self._values(best)
        return best if self._rows > _SHARED * values and most > _BETTER * values else None

    def _values(self, place: int) -> float:
        free = self._slots[place].count(0)
        return max(1.0, min(self._rows, _SLOTS * math.log(_SLOTS / max(free, 0.5))))


def _index(graph: str, shape: NodeShape, number: int, order: Sequence[int]) -> str:
    name = gql.quoted(f"{_prefix(graph, shape, 'i')}{number}_{shape.label}")
    field = gql.member("n", shape.key[order[0]])
    return f"CREATE INDEX {name} FOR {gql.node_with('n', shape.label)} ON ({field})"


def _constraint(graph: str, shape: NodeShape, number: int, order: Sequence[int]) -> str:
    name = gql.quoted(f"{_prefix(graph, shape, 'u')}{number}_{shape.label}")
    fields = ", ".join(gql.member("n", shape.key[place]) for place in order)
    pattern = gql.node_with("n", shape.label)
    return f"CREATE CONSTRAINT {name} FOR {pattern} ON ({fields}) UNIQUE"


def _prefix(graph: str, shape: NodeShape, letter: str) -> str:
    """How the names begin that are ours for a label and key: all graphs of a file share names."""
    text = json.dumps([graph, shape.label, sorted(shape.key)])
    return f"key_{hashlib.sha256(text.encode()).hexdigest()[:12]}_{letter}"


def _with_prefix(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _number(name: str) -> int:
    match = _NUMBER.match(name)
    return int(match[1]) if match else 0


def _lead(statement: str) -> str:
    match = _PREPARED.match(statement)
    return _unquoted(match["lead"]) if match else ""


def _unquoted(name: str) -> str:
    return name.replace("``", "`")


class RememberedIds:
    """The ids of nodes by key, at most `limit` of them; safe for several threads.

    They are kept apart by run: of two nodes with the same key, a run's relationships take its own.
    """

    def __init__(self, limit: int) -> None:
        self._room = self._limit = limit
        self._ids: dict[Any, dict[Any, int]] = {}
        self._lock = threading.Lock()

    def add(
        self, shape: NodeShape, run: str | None, rows: Sequence[dict[str, Any]], ids: Sequence[int]
    ) -> None:
        """Remember the ids of nodes just made of these properties."""
        if self._room < len(ids):
            return
        keys: Iterable[Any]
        if len(shape.key) == 1:
            keys = [comparable((row[shape.key[0]],))[0] for row in rows]
        else:
            keys = [comparable(row[name] for name in shape.key) for row in rows]
        self._update(_place(shape, run), dict(zip(keys, ids, strict=True)))

    def remember(self, shape: NodeShape, run: str | None, found: dict[Key, int]) -> None:
        """Remember ids that were looked up, by comparable keys."""
        if self._room < len(found):
            return
        single = len(shape.key) == 1
        some = {(key[0] if single else key): node for key, node in found.items()}
        self._update(_place(shape, run), some)

    def find(self, shape: NodeShape, run: str | None, keys: Sequence[Key]) -> list[int | None]:
        """The ids that are remembered, None for the others."""
        known = self._ids.get(_place(shape, run))
        if not known:
            return [None] * len(keys)
        if len(shape.key) == 1:
            return [known.get(comparable(key)[0]) for key in keys]
        return [known.get(comparable(key)) for key in keys]

    def forget(self) -> None:
        """Forget all: nodes have been removed or are found by other keys now."""
        with self._lock:
            self._ids = {}
            self._room = self._limit

    def _update(self, place: Any, found: dict[Any, int]) -> None:
        with self._lock:
            known = self._ids.setdefault(place, {})
            before = len(known)
            known.update(found)
            self._room -= len(known) - before


def _place(shape: NodeShape, run: str | None) -> tuple[Any, ...]:
    return shape.label, shape.key, run
