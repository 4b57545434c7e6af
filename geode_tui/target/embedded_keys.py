"""How the embedded graph finds a node by its key: indexes, uniqueness, remembered ids.

Grafeo's indexes are of one property each, over all labels; a key of several properties is looked
up by one of them, the *lead*, and the rest is compared. So the lead must be the property that
tells most nodes apart: with a lead of few values every look-up and every insert under a
uniqueness constraint is a walk over the nodes that share the value. At first the lead is the key's
first property; where the rows show that another one tells far more, it changes.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.model import OF
from geode_tui.target.keys import comparable
from geode_tui.target.model import Key, NodeShape

_PREPARED = re.compile(
    r"CREATE (?:INDEX|CONSTRAINT) `(?P<prefix>key_[0-9a-f]{12}_)"
    r".* ON \(n\.`(?P<lead>(?:[^`]|``)+)`",
    re.DOTALL,
)


class KeyIndexes:
    """The indexes and uniqueness constraints that we made in one graph of a file."""

    def __init__(
        self,
        graph: str,
        query: Callable[[str], list[dict[str, Any]]],
        has_index: Callable[[str], bool],
    ) -> None:
        self._graph = graph
        self._query = query
        self._has_index = has_index
        self._lock = threading.RLock()
        self._orders: dict[NodeShape, tuple[int, ...]] = {}
        self._unique: dict[NodeShape, bool] = {}

    def prepare(self, shapes: Sequence[NodeShape]) -> list[str]:
        """Index, then constraint: a constraint alone makes every insert a scan."""
        # Nodes of another rule get this label too, and their keys are not of our table.
        given = {label for shape in shapes for label in (*shape.labels, *shape.by_value)}
        ran: list[str] = []
        with self._lock:
            foreign = {row["property"] for row in self._indexes()}
            for shape in shapes:
                ran += self._index(shape, foreign)
                if shape.label not in given:
                    ran += self._constraint(shape)
            self._forget()
        return ran

    def unprepare(self, statements: Sequence[str]) -> None:
        """Drop what these statements of `prepare` made, and nothing else."""
        with self._lock:
            for match in filter(None, map(_PREPARED.match, statements)):
                self._drop(match["prefix"], match["lead"].replace("``", "`"))
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
            names = {row["name"] for row in self._query("SHOW CONSTRAINTS")}
            prefix = self._prefix(shape)
            known = any(name.startswith(prefix) for name in names)
            self._unique[shape] = known
        return known

    def _index(self, shape: NodeShape, foreign: set[str]) -> list[str]:
        prefix, lead = self._prefix(shape), shape.key[self.order(shape)[0]]
        ours = any(row["name"].startswith(prefix) for row in self._indexes())
        if self._has_index(lead) and (ours or lead not in foreign):
            return []
        name = gql.quoted(f"{prefix}{shape.label}")
        pattern, field = gql.node_with("n", shape.label), gql.member("n", lead)
        return self._run(f"CREATE INDEX {name} FOR {pattern} ON ({field})")

    def _constraint(self, shape: NodeShape) -> list[str]:
        prefix = self._prefix(shape)
        if any(row["name"].startswith(prefix) for row in self._query("SHOW CONSTRAINTS")):
            return []
        name, pattern = gql.quoted(f"{prefix}{shape.label}"), gql.node_with("n", shape.label)
        fields = ", ".join(gql.member("n", shape.key[place]) for place in self.order(shape))
        return self._run(f"CREATE CONSTRAINT {name} FOR {pattern} ON ({fields}) UNIQUE")

    def _drop(self, prefix: str, lead: str) -> None:
        for row in self._query("SHOW CONSTRAINTS"):
            if row["name"].startswith(prefix):
                self._query(f"DROP CONSTRAINT {gql.quoted(row['name'])}")
        for row in self._indexes():
            if row["name"].startswith(prefix):
                self._query(f"DROP INDEX {gql.quoted(row['name'])}")
        if not self._has_index(lead):
            self._make_again(lead)

    def _make_again(self, name: str) -> None:
        """Dropping one index of a property takes what all others of the property find by."""
        for row in self._indexes():
            if row["property"] == name:
                pattern, field = gql.node_with("n", row["label"]), gql.member("n", name)
                index = gql.quoted(row["name"])
                self._query(f"CREATE INDEX {index} FOR {pattern} ON ({field})")
                return

    def _order(self, shape: NodeShape) -> tuple[int, ...]:
        places = range(len(shape.key))
        return tuple(sorted(places, key=lambda place: shape.key[place] == OF))

    def _indexes(self) -> list[dict[str, Any]]:
        return self._query("SHOW INDEXES")

    def _run(self, statement: str) -> list[str]:
        self._query(statement)
        return [statement]

    def _prefix(self, shape: NodeShape) -> str:
        """The beginning of the names that are ours for this label and key in this graph.

        Names of indexes and constraints are shared by all graphs of a file.
        """
        text = json.dumps([self._graph, shape.label, sorted(shape.key)])
        return f"key_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:12]}_"

    def _forget(self) -> None:
        self._orders = {}
        self._unique = {}


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
