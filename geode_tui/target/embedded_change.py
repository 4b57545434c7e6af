"""What changes things that are in the embedded graph: rollback, reconciliation, a new mapping.

Everything here can be done again after it was interrupted, and leaves alone what no run wrote:
nodes and relationships without `_run` are somebody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.mapping.model import RUN, STEP
from geode_tui.target.embedded_read import Reading, after
from geode_tui.target.embedded_session import (
    PARAMETER_ROWS,
    from_starts,
    keyed,
    ranges,
    told,
)
from geode_tui.target.images import changed, difference, last, may_change
from geode_tui.target.model import (
    Answers,
    Key,
    NodeImage,
    NodeShape,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
    Statement,
)
from geode_tui.target.patterns import node_pattern, relationship_pattern

_STAMPED = f"{gql.member('n', RUN)} IS NOT NULL"
_START_PAGE = 1_000
_TYPE_ROWS = 5_000


class Changing(Reading):
    """The part of the embedded graph that changes what is there."""

    def run_together(
        self, statements: Sequence[Statement], check: Callable[[Answers], None]
    ) -> None:
        """Run statements with parameters in one transaction, which `check` may still undo."""
        try:
            with told("the graph refused a statement"), self._graph.begin_transaction() as open_:
                answers = [
                    [dict(row) for row in open_.execute(text, dict(parameters))]
                    for text, parameters in statements
                ]
                check(answers)
                open_.commit()
        finally:
            self._ids.forget()

    # -- what a run wrote -------------------------------------------------------------------------

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the nodes of a shape that a run wrote, with their relationships."""
        where = f"{gql.member('n', RUN)} = $run"
        return self._delete_nodes(node_pattern("n", shape), where, {"run": run})

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the relationships of a shape that a run wrote."""
        where = f"{gql.member('r', RUN)} = $run"
        match = f"MATCH {relationship_pattern(shape)} WHERE {where}"
        return self._delete_edges(
            self._edges(match, shape.type, {"run": run}),
            lambda edge, own: own.get(RUN) == run and self._is_between(edge, shape),
        )

    def delete_run(self, run: str) -> tuple[int, int]:
        """Remove all that a run wrote; returns how many nodes and relationships."""
        return self.delete_after(run, 0)

    def delete_after(self, run: str, step: int) -> tuple[int, int]:
        """Remove all that a run wrote in steps after `step` (0: all), relationships first.

        A relationship that somebody else has made to one of the nodes goes with the node.
        """
        given = {"run": run, "step": step}
        relationships = self._delete_edges(
            self._edges(f"MATCH ()-[r]->() WHERE {after('r', step)}", None, given),
            lambda _, own: own.get(RUN) == run and (step <= 0 or _is_above(own.get(STEP), step)),
        )
        return self._delete_nodes("(n)", after("n", step), given), relationships

    def _delete_nodes(self, pattern: str, where: str, parameters: dict[str, Any]) -> int:
        try:
            removed = self._change_nodes(pattern, where, "DETACH DELETE n", parameters)
        finally:
            self._ids.forget()
        count = f"MATCH {pattern} WHERE {where} RETURN count(n) AS c"
        if left := self._number(count, parameters):
            raise GeodeTuiError("the graph does not let go of nodes", f"{left} are left")
        return removed

    def _delete_edges(
        self, edges: Iterator[Any], wanted: Callable[[Any, dict[str, Any]], bool]
    ) -> int:
        removed = 0
        with told("the graph does not let go of a relationship"):
            for edge in edges:
                if wanted(edge, edge.properties()):
                    removed += bool(self._graph.delete_edge(edge.id))
        return removed

    # -- as an image says -------------------------------------------------------------------------

    def put_nodes(
        self,
        shape: NodeShape,
        images: Sequence[tuple[Key, NodeImage | None]],
        run: str | None = None,
    ) -> None:
        """Make the node of each key what the image says: made, replaced or (None) removed.

        In one transaction, repeatable. A node that stays keeps its relationships, and its
        properties that are as in the image are not written again. Of several images of a key the
        last counts. Where several nodes have the key it is the one of `run`, else one of any run.
        A node that no run wrote stays as it is, unless the image is of such a node itself.
        """
        images = last(images)
        removed: list[int] = []
        made: list[NodeImage] = []
        changes: dict[_Labels, list[dict[str, Any]]] = defaultdict(list)
        there = self._wholes(shape, [key for key, _ in images], run)
        for (_, image), (node, now) in zip(images, there, strict=True):
            ours = now is not None and may_change(now.properties, image, run)
            if image is None:
                removed += [node] if ours else []
            elif now is None or not ours:
                made.append(image)
            else:
                labels = _Labels.between(now, image)
                properties = difference(now.properties, image.properties)
                if properties or labels.clauses():
                    changes[labels].append({"i": node, "p": properties})
        try:
            self._put(removed, made, changes)
        finally:
            self._ids.forget()

    def _put(
        self,
        removed: Sequence[int],
        made: Sequence[NodeImage],
        changes: dict[_Labels, list[dict[str, Any]]],
    ) -> None:
        by_labels: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for image in made:
            by_labels[image.labels].append({"p": image.properties})
        with told("the graph refused to be put back"), self._graph.begin_transaction() as open_:
            _run_parts(
                open_, "UNWIND $rows AS x MATCH (n) WHERE id(n) = x DETACH DELETE n", removed
            )
            for labels, rows in changes.items():
                match = "UNWIND $rows AS row MATCH (n) WHERE id(n) = row.i SET n += row.p"
                _run_parts(open_, match + labels.clauses(), rows)
            for (first, *others), rows in by_labels.items():
                create = f"UNWIND $rows AS row CREATE {gql.node_with('n', first)} SET n = row.p"
                _run_parts(open_, create + _Labels(tuple(others)).clauses(), rows)
            open_.commit()

    def put_relationships(
        self,
        shape: RelationshipShape,
        images: Sequence[tuple[RelationshipKey, RelationshipImage | None]],
        run: str | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        """Make the relationship of each key what the image says; see `put_nodes`.

        With `steps` those that other steps wrote stay as they are.
        A relationship of which an end is not there is left out. New ones are made in one
        transaction, the others are changed one by one.
        """
        images = last(images)
        keys = [key for key, _ in images]
        starts = self._node_ids(shape.start, [key[0] for key in keys])
        ends = self._node_ids(shape.end, [key[1] for key in keys])
        there = self._relationships_of(shape, keys)
        made = []
        with told("the graph refused to be put back"):
            for (_, image), start, end, some in zip(images, starts, ends, there, strict=True):
                ours = [
                    (edge, own)
                    for edge, own in some
                    if may_change(own, image, run) and (steps is None or own.get(STEP) in steps)
                ]
                if image is None:
                    for edge, _ in ours:
                        self._graph.delete_edge(edge)
                elif ours:
                    edge, own = ours[0]
                    self._set(edge, difference(own, image.properties))
                elif start is not None and end is not None:
                    made.append((start, end, shape.type, image.properties))
            if made:
                self._graph.batch_create_edges(made)

    def _set(self, edge: int, properties: dict[str, Any]) -> None:
        """Set properties of a relationship; None removes one."""
        for name, value in properties.items():
            if value is None:
                self._graph.remove_edge_property(edge, name)
            else:
                self._graph.set_edge_property(edge, name, value)

    # -- from one mapping to the next -------------------------------------------------------------

    def update_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: Sequence[tuple[Key, Row]]
    ) -> int:
        """Set some properties (None removes one) of the nodes of some keys; how many there were."""
        if not names:
            return 0
        sets = ", ".join(f"{gql.member('n', name)} = row.v{n}" for n, name in enumerate(names))
        statement = (
            f"UNWIND $rows AS row MATCH {self._matched('n', shape, 'k')} WHERE {_STAMPED} "
            f"SET {sets} RETURN count(n) AS c"
        )
        given = [
            keyed(shape, key, n) | {f"v{place}": value for place, value in enumerate(values)}
            for n, (key, values) in enumerate(rows)
        ]
        with told("the graph refused a value"), self._graph.begin_transaction() as open_:
            count = sum(int(row["c"]) for row in _run_parts(open_, statement, given))
            open_.commit()
        self._forget_if_key(shape, *names)
        return count

    def update_relationships(
        self,
        shape: RelationshipShape,
        names: Sequence[str],
        rows: Sequence[tuple[RelationshipKey, Row]],
    ) -> int:
        """Set some properties (None removes one) of the relationships of some keys."""
        count = 0
        found = self._relationships_of(shape, [key for key, _ in rows])
        with told("the graph refused a value"):
            for (_, values), some in zip(rows, found, strict=True):
                wanted = dict(zip(names, values, strict=True))
                for edge, own in some:
                    if own.get(RUN) is not None:
                        self._set(edge, changed(own, wanted))
                        count += 1
        return count

    def rename_property(self, shape: NodeShape | RelationshipShape, old: str, new: str) -> int:
        """Give a property another name wherever it is; how many had it. Repeatable."""
        if old == new:
            return 0
        if isinstance(shape, RelationshipShape):
            return self._change_edges(shape, old, lambda value: {new: value, old: None})
        before, now = gql.member("n", old), gql.member("n", new)
        where, action = f"{_STAMPED} AND {before} IS NOT NULL", f"SET {now} = {before}"
        count = self._change_nodes(node_pattern("n", shape), where, f"{action} REMOVE {before}")
        self._forget_if_key(shape, old, new)
        return count

    def remove_property(self, shape: NodeShape | RelationshipShape, name: str) -> int:
        """Remove a property; how many had it. Repeatable."""
        if isinstance(shape, RelationshipShape):
            return self._change_edges(shape, name, lambda _: {name: None})
        value = gql.member("n", name)
        where = f"{_STAMPED} AND {value} IS NOT NULL"
        count = self._change_nodes(node_pattern("n", shape), where, f"REMOVE {value}")
        self._forget_if_key(shape, name)
        return count

    def add_label(self, shape: NodeShape, label: str) -> int:
        """Give every node of a shape one more label; how many had it not. Repeatable."""
        quoted = gql.quoted(label)
        where = f"{_STAMPED} AND NOT n:{quoted}"
        try:
            return self._change_nodes(node_pattern("n", shape), where, f"SET n:{quoted}")
        finally:
            self._ids.forget()

    def remove_label(self, shape: NodeShape, label: str) -> int:
        """Take a label from all nodes of a shape that have another besides; how many did."""
        quoted = gql.quoted(label)
        where = f"{_STAMPED} AND n:{quoted} AND size(labels(n)) > 1"
        try:
            return self._change_nodes(node_pattern("n", shape), where, f"REMOVE n:{quoted}")
        finally:
            self._ids.forget()

    def rename_type(self, shape: RelationshipShape, new: str) -> int:
        """Give the relationships of a shape another type, all properties kept. Repeatable."""
        if shape.type == new:
            return 0
        pattern, stamped = relationship_pattern(shape), f"{gql.member('r', RUN)} IS NOT NULL"
        first, last, count = self._span(f"MATCH {pattern} WHERE {stamped}", "a", {})
        statement = (
            f"{from_starts(shape)} WHERE {stamped} "
            f"WITH a, r, b LIMIT {_TYPE_ROWS} CREATE (a){gql.relationship_with('s', new)}(b) "
            "SET s = properties(r) DELETE r RETURN count(*) AS c"
        )
        for low, high in ranges(first, last, _START_PAGE):
            while self._number(statement, {"first": low, "last": high}) == _TYPE_ROWS:
                pass
        return count

    def _change_edges(
        self, shape: RelationshipShape, name: str, change: Callable[[Any], dict[str, Any]]
    ) -> int:
        """Change every relationship of a shape that has a property; how many had it."""
        count = 0
        with told("the graph refused a value"):
            for edge in self._edges(f"MATCH {relationship_pattern(shape)}", shape.type):
                own = edge.properties()
                value = own.get(name)
                if value is None or own.get(RUN) is None or not self._is_between(edge, shape):
                    continue
                self._set(edge.id, change(value))
                count += 1
        return count

    def _forget_if_key(self, shape: NodeShape, *names: str) -> None:
        if not set(names).isdisjoint(shape.key):
            self._ids.forget()


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels that nodes get and lose."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def between(cls, now: NodeImage, wanted: NodeImage) -> _Labels:
        """What leads from one image's labels to the other's."""
        before, after_ = set(now.labels), set(wanted.labels)
        return cls(tuple(sorted(after_ - before)), tuple(sorted(before - after_)))

    def clauses(self) -> str:
        """The clauses for the nodes `n`."""
        added = [f" SET n:{gql.quoted(label)}" for label in self.added]
        return "".join(added + [f" REMOVE n:{gql.quoted(label)}" for label in self.removed])


def _is_above(value: Any, step: int) -> bool:
    return isinstance(value, int) and value > step


def _run_parts(transaction: Any, statement: str, rows: Sequence[Any]) -> list[Any]:
    """Run a statement for all rows, in parts; returns what all parts return."""
    returned: list[Any] = []
    for begin in range(0, len(rows), PARAMETER_ROWS):
        returned += transaction.execute(statement, {"rows": rows[begin : begin + PARAMETER_ROWS]})
    return returned
