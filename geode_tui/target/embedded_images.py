"""What a step wrote in the embedded graph, and putting back what was there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.model import RUN, STEP
from geode_tui.target.model import (
    Key,
    NodeImage,
    NodeShape,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
)

ENGINE = frozenset({"_id", "_labels", "_source", "_target", "_type"})


class Images:
    """The part of the embedded graph that reads and puts images."""

    _graph: Any

    def query_with(self, statement: str, parameters: dict[str, Any] | None) -> list[dict[str, Any]]:
        raise NotImplementedError

    def node_keys(self, shape: NodeShape, run: str, steps: Sequence[int]) -> list[tuple[int, Key]]:
        """The step and the key of every node of a shape that a run wrote in some steps (a scan)."""
        statement = (
            f"MATCH {gql.node_with('n', shape.label)} WHERE {gql.member('n', RUN)} = $run AND "
            f"{gql.member('n', STEP)} IN $steps RETURN {gql.member('n', STEP)} AS s, "
            f"{gql.returned('n', shape.key, 'k')}"
        )
        rows = self.query_with(statement, {"run": run, "steps": list(steps)})
        return [(row["s"], tuple(row[f"k{n}"] for n in range(len(shape.key)))) for row in rows]

    def relationship_keys(
        self, shape: RelationshipShape, run: str, steps: Sequence[int]
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of every relationship that a run wrote in some steps (a scan)."""
        returned = [
            f"{gql.member('r', STEP)} AS s",
            gql.returned("a", shape.start.key, "a"),
            gql.returned("b", shape.end.key, "b"),
        ]
        if shape.key:
            returned.append(gql.returned("r", shape.key, "o"))
        statement = (
            f"MATCH {gql.node_with('a', shape.start.label)}"
            f"{gql.relationship_with('r', shape.type)}{gql.node_with('b', shape.end.label)} "
            f"WHERE {gql.member('r', RUN)} = $run AND {gql.member('r', STEP)} IN $steps "
            f"RETURN {', '.join(returned)}"
        )
        rows = self.query_with(statement, {"run": run, "steps": list(steps)})
        return [(row["s"], _key_of(shape, row)) for row in rows]

    def node_images(self, shape: NodeShape, keys: Sequence[Key]) -> list[NodeImage | None]:
        """The node of each key as it is, None where there is none."""
        found: list[NodeImage | None] = [None] * len(keys)
        for place, node, labels in self._nodes_at(shape, keys):
            found[place] = NodeImage(tuple(sorted(labels)), _own(node))
        return found

    def relationship_images(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[RelationshipImage | None]:
        """The relationship of each key as it is, None where there is none."""
        found: list[RelationshipImage | None] = [None] * len(keys)
        for place, properties in self._relationships_at(shape, keys):
            found[place] = RelationshipImage(properties)
        return found

    def put_nodes(self, shape: NodeShape, images: Sequence[tuple[Key, NodeImage | None]]) -> None:
        """Make the node of each key what the image says: made, replaced or (None) removed."""
        there = {place: node for place, node, _ in self._nodes_at(shape, [k for k, _ in images])}
        with self._graph.begin_transaction() as tx:
            for place, (key, image) in enumerate(images):
                found = there.get(place)
                matched = gql.node_with("n", shape.label, _bound(shape.key, "k"))
                bound = {f"k{n}": value for n, value in enumerate(key)}
                if image is None:
                    if found is not None:
                        tx.execute(f"MATCH {matched} DETACH DELETE n", bound)
                elif found is None:
                    labels = "".join(f":{gql.quoted(label)}" for label in image.labels)
                    tx.execute(f"CREATE (n{labels}) SET n = $p", {"p": image.properties})
                else:
                    self._replace(tx, matched, bound, image)
            tx.commit()
        self._forget()

    def _replace(
        self, tx: Any, matched: str, bound: dict[str, Any], image: NodeImage
    ) -> None:
        (row,) = list(tx.execute(f"MATCH {matched} RETURN labels(n) AS labels", bound))
        tx.execute(f"MATCH {matched} SET n = $p", bound | {"p": image.properties})
        for label in set(row["labels"]) - set(image.labels):
            tx.execute(f"MATCH {matched} REMOVE n:{gql.quoted(label)}", bound)
        for label in set(image.labels) - set(row["labels"]):
            tx.execute(f"MATCH {matched} SET n:{gql.quoted(label)}", bound)

    def put_relationships(
        self,
        shape: RelationshipShape,
        images: Sequence[tuple[RelationshipKey, RelationshipImage | None]],
    ) -> None:
        """Make the relationship of each key what the image says."""
        there = {place for place, _ in self._relationships_at(shape, [k for k, _ in images])}
        a = gql.node_with("a", shape.start.label, _bound(shape.start.key, "a"))
        b = gql.node_with("b", shape.end.label, _bound(shape.end.key, "b"))
        r = gql.relationship_with("r", shape.type, _bound(shape.key, "o"))
        new = gql.relationship_with("r", shape.type)
        with self._graph.begin_transaction() as tx:
            for place, (key, image) in enumerate(images):
                bound = _bound_values(key)
                if image is None:
                    if place in there:
                        tx.execute(f"MATCH {a}{r}{b} DELETE r", bound)
                elif place in there:
                    tx.execute(f"MATCH {a}{r}{b} SET r = $p", bound | {"p": image.properties})
                else:
                    made = f"MATCH {a}, {b} CREATE (a){new}(b) SET r = $p"
                    tx.execute(made, bound | {"p": image.properties})
            tx.commit()

    def _forget(self) -> None:
        raise NotImplementedError

    def _nodes_at(
        self, shape: NodeShape, keys: Sequence[Key]
    ) -> list[tuple[int, dict[str, Any], list[str]]]:
        rows = [
            {"i": n} | {f"k{m}": value for m, value in enumerate(key)} for n, key in enumerate(keys)
        ]
        fields = [(name, f"row.k{n}") for n, name in enumerate(shape.key)]
        statement = (
            f"UNWIND $rows AS row MATCH {gql.node_with('n', shape.label, fields)} "
            "RETURN row.i AS i, n AS n, labels(n) AS labels"
        )
        found = self.query_with(statement, {"rows": rows})
        return [(row["i"], row["n"], row["labels"]) for row in found]

    def _relationships_at(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[tuple[int, dict[str, Any]]]:
        rows = [{"i": n} | _bound_values(key) for n, key in enumerate(keys)]
        start = [(name, f"row.a{n}") for n, name in enumerate(shape.start.key)]
        end = [(name, f"row.b{n}") for n, name in enumerate(shape.end.key)]
        own = [(name, f"row.o{n}") for n, name in enumerate(shape.key)]
        statement = (
            f"UNWIND $rows AS row MATCH {gql.node_with('a', shape.start.label, start)}"
            f"{gql.relationship_with('r', shape.type, own)}"
            f"{gql.node_with('b', shape.end.label, end)} RETURN row.i AS i, r AS r"
        )
        return [(row["i"], _own(row["r"])) for row in self.query_with(statement, {"rows": rows})]


def _own(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ENGINE}


def _bound(names: Sequence[str], prefix: str) -> list[tuple[str, str]]:
    return [(name, f"${prefix}{n}") for n, name in enumerate(names)]


def _bound_values(key: RelationshipKey) -> dict[str, Any]:
    return {f"{p}{n}": v for p, part in zip("abo", key, strict=True) for n, v in enumerate(part)}


def _key_of(shape: RelationshipShape, row: dict[str, Any]) -> RelationshipKey:
    return (
        tuple(row[f"a{n}"] for n in range(len(shape.start.key))),
        tuple(row[f"b{n}"] for n in range(len(shape.end.key))),
        tuple(row[f"o{n}"] for n in range(len(shape.key))),
    )
