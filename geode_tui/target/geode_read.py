"""What a graph in Geode tells: counts, the properties behind keys, everything of a shape.

Nodes and relationships come whole over the wire, with ids of the server that no statement takes:
they tell apart what was read, never what is looked for. Scans are one statement each, whose pages
are taken as they come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.model import FINGERPRINT, RUN, STEP
from geode_tui.target.geode_dialect import Dialect
from geode_tui.target.geode_session import Sessions
from geode_tui.target.geode_statements import (
    Statements,
    given_ends,
    given_of,
    key_row,
    keyed_node,
    labelled,
    led,
    named,
    numbered,
    of_run,
    plain,
    related,
    relationship_row,
    restored,
    returned,
    told_apart,
    typed_key,
)
from geode_tui.target.geode_wire import GraphEdge, GraphNode
from geode_tui.target.model import (
    Key,
    Marked,
    NodeImage,
    NodeShape,
    Parts,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
    TargetFacts,
    Whole,
)


class Reading:
    """The part of the target that changes nothing."""

    def __init__(self, sessions: Sessions, statements: Statements, read_only: bool) -> None:
        self._sessions = sessions
        self._statements = statements
        self._read_only = read_only
        self._unique_names: set[str] | None = None

    @property
    def place(self) -> str:
        """The server's address and the graph, without a password."""
        return self._sessions.address.place

    @property
    def dialect(self) -> Dialect:
        """What the probe found out of the server."""
        return self._statements.dialect

    @property
    def probed(self) -> Dialect:
        """What another process need not ask the server again."""
        return self.dialect

    def facts(self) -> list[tuple[str, str]]:
        """What the connection is and what the server understands, by name, in words."""
        address = self._sessions.address
        if not address.tls:
            safety = "plaintext: NOT encrypted"
        elif not address.verify:
            safety = "TLS, the certificate is NOT verified"
        else:
            safety = "TLS, verified"
        return [("transport", f"{address.scheme}, {safety}"), *self.dialect.facts()]

    def describe(self) -> TargetFacts:
        """What the target is and holds."""
        nodes = self._number("MATCH (n) RETURN count(n) AS c")
        relationships = self._number(f"MATCH ()-[r]->() RETURN {self.dialect.edges} AS c")
        graph = self._sessions.address.graph
        return TargetFacts("Geode", "", self.place, graph, nodes, relationships)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows; opened to read, what it changes is taken back."""
        if not self._read_only:
            answer = self._statements.run(plain(statement))
        else:
            answer = self._statements.looked(plain(statement))
        names = told_apart(answer.columns)
        return [dict(zip(names, row, strict=True)) for row in answer.rows]

    def _number(self, text: str, parameters: dict[str, Any] | None = None) -> int:
        return self._statements.number(text, parameters)

    # -- counts -----------------------------------------------------------------------------------

    def count_nodes(self, shape: NodeShape) -> int:
        """How many nodes there are of the shape, told apart from others with its label."""
        return self._number(f"MATCH {labelled('n', shape)} RETURN count(n) AS c", given_of(n=shape))

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a further label."""
        pattern = labelled("n", shape).replace("(n:", f"(n:{named(label)}:", 1)
        return self._number(f"MATCH {pattern} RETURN count(n) AS c", given_of(n=shape))

    def count_label(self, label: str) -> int:
        """How many nodes have the label, whatever made them."""
        return self._number(f"MATCH (n:{named(label)}) RETURN count(n) AS c")

    def count_present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property that is not null."""
        where = f"n.{named(name)} IS NOT NULL"
        text = f"MATCH {labelled('n', shape)} WHERE {where} RETURN count(n) AS c"
        return self._number(text, given_of(n=shape))

    def count_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships of the type lead from the start's label to the end's."""
        return self._number(f"MATCH {related(shape)} RETURN count(r) AS c", given_ends(shape))

    def count_type(self, type_name: str) -> int:
        """How many relationships have the type, whatever their ends."""
        pattern = f"()-[r:{named(type_name)}]->()"
        return self._number(f"MATCH {pattern} RETURN {self.dialect.edges} AS c")

    def count_of_run(self, shape: NodeShape | RelationshipShape, run: str) -> int:
        """How many nodes or relationships of a shape a run wrote."""
        if isinstance(shape, NodeShape):
            text = f"MATCH {labelled('n', shape)} WHERE {of_run('n')} RETURN count(n) AS c"
            return self._number(text, given_of(n=shape) | {"run": run})
        text = f"MATCH {related(shape)} WHERE {of_run('r')} RETURN count(r) AS c"
        return self._number(text, given_ends(shape) | {"run": run})

    def count_after(self, run: str, step: int) -> tuple[int, int]:
        """How many nodes and relationships a run wrote in steps after `step`."""
        nodes = f"MATCH (n) WHERE {after('n', step)} RETURN count(n) AS c"
        edges = self.dialect.edges
        relationships = f"MATCH ()-[r]->() WHERE {after('r', step)} RETURN {edges} AS c"
        given = bounds(run, step)
        return self._number(nodes, given), self._number(relationships, given)

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """How many keys are on more than one node."""
        keys = ", ".join(f"n.{named(name)} AS k{n}" for n, name in enumerate(shape.key))
        text = (
            f"MATCH {labelled('n', shape)} WITH {keys}, count(n) AS c WHERE c > 1 "
            "RETURN count(c) AS c"
        )
        return self._number(text, given_of(n=shape))

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships there are beyond the first of their identity."""
        items = returned("a", shape.start.key)
        items += [] if shape.owned else returned("b", shape.end.key)
        items += returned("r", shape.key)
        text = (
            f"MATCH {related(shape)} WITH {numbered(items)}, count(r) AS c WHERE c > 1 "
            "RETURN sum(c - 1) AS c"
        )
        return self._number(text, given_ends(shape))

    # -- by key -----------------------------------------------------------------------------------

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none."""
        found: list[dict[str, Any] | None] = [None] * len(keys)
        for place, nodes in enumerate(self._nodes_of(shape, keys)):
            if nodes:
                found[place] = restored(shape, nodes[-1].properties)
        return found

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node."""
        found = []
        for nodes in self._nodes_of(shape, keys):
            found.append(frozenset(_labels(shape, nodes[-1].labels) if nodes else ()))
        return found

    def count_keyed(self, shape: NodeShape, keys: Sequence[Key]) -> list[int]:
        """How many nodes have each key."""
        return [len(nodes) for nodes in self._marks_of(shape, keys)]

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[dict[str, Any]]]:
        """For each start key, end key and own key: the properties of the relationships there."""
        return [
            [restored(shape, edge.properties) for edge in edges]
            for edges in self._edges_of(shape, keys)
        ]

    def node_images(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None = None
    ) -> list[NodeImage | None]:
        """The node of each key as it is, None where there is none.

        Where several have the key: the one of `run`, else one of any run, else any.
        """
        images: list[NodeImage | None] = []
        for nodes in self._nodes_of(shape, keys):
            node = _chosen(nodes, run)
            if node is None:
                images.append(None)
                continue
            labels = tuple(sorted(_labels(shape, node.labels)))
            images.append(NodeImage(labels, restored(shape, node.properties)))
        return images

    def relationship_images(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey], run: str | None = None
    ) -> list[RelationshipImage | None]:
        """The relationship of each key as it is, None where there is none; see `node_images`."""
        images: list[RelationshipImage | None] = []
        for edges in self._edges_of(shape, keys):
            edge = _chosen(edges, run)
            images.append(RelationshipImage(restored(shape, edge.properties)) if edge else None)
        return images

    def node_keys(self, shape: NodeShape, run: str, steps: Sequence[int]) -> list[tuple[int, Key]]:
        """The step and the key of every node of a shape that a run wrote in some steps (a scan)."""
        if not steps:
            return []
        items = [f"n.{STEP}", *returned("n", shape.key)]
        text = f"MATCH {labelled('n', shape)} WHERE {_in_steps('n')} RETURN {numbered(items)}"
        given, wanted = given_of(n=shape) | _span(run, steps), set(steps)
        return [
            (row[0], typed_key(shape, row[1:]))
            for page in self._statements.stream(text, given)
            for row in page
            if row[0] in wanted
        ]

    def relationship_keys(
        self, shape: RelationshipShape, run: str, steps: Sequence[int]
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of every relationship that a run wrote in some steps (a scan)."""
        if not steps:
            return []
        items = [f"r.{STEP}", *_identity(shape)]
        text = f"MATCH {related(shape)} WHERE {_in_steps('r')} RETURN {numbered(items)}"
        given, wanted = given_ends(shape) | _span(run, steps), set(steps)
        return [
            (row[0], _relationship_key(shape, row[1:]))
            for page in self._statements.stream(text, given)
            for row in page
            if row[0] in wanted
        ]

    def leading_from(
        self, shape: RelationshipShape, starts: Sequence[Key], run: str
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of what a run wrote of a shape and leads away from some nodes."""
        items = [f"r.{STEP}", *_identity(shape)]
        pattern = f"{keyed_node('a', shape.start, 'a')}{led(shape)}{labelled('b', shape.end)}"
        text = f"MATCH {pattern} WHERE r.{RUN} = row.run RETURN {numbered(items)}"
        rows = [key_row(shape.start, key, "a") | {"run": run} for key in starts]
        found = self._statements.ask(text, rows, given_of(b=shape.end))
        return [(row[0] or 0, _relationship_key(shape, row[1:])) for row in found]

    def _nodes_of(self, shape: NodeShape, keys: Sequence[Key]) -> list[list[GraphNode]]:
        """The nodes of each key, the oldest first."""
        found: list[list[GraphNode]] = [[] for _ in keys]
        rows = [key_row(shape, key, "k") | {"i": n} for n, key in enumerate(keys)]
        text = f"MATCH {keyed_node('n', shape, 'k')} RETURN row.i AS i, n AS n"
        for place, node in self._statements.ask(text, rows):
            found[place].append(node)
        for nodes in found:
            nodes.sort(key=lambda node: node.id)
        return found

    def _marks_of(self, shape: NodeShape, keys: Sequence[Key]) -> list[list[tuple[Any, Any]]]:
        """The run and the fingerprint of the nodes of each key."""
        found: list[list[tuple[Any, Any]]] = [[] for _ in keys]
        rows = [key_row(shape, key, "k") | {"i": n} for n, key in enumerate(keys)]
        text = (
            f"MATCH {keyed_node('n', shape, 'k')} "
            f"RETURN row.i AS i, n.{RUN} AS run, n.{FINGERPRINT} AS f"
        )
        for place, run, mark in self._statements.ask(text, rows):
            found[place].append((run, mark))
        return found

    def _edges_of(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[GraphEdge]]:
        """The relationships of each key."""
        found: list[dict[int, GraphEdge]] = [{} for _ in keys]
        groups: dict[tuple[bool, ...], list[dict[str, Any]]] = defaultdict(list)
        for place, key in enumerate(keys):
            nulls = tuple(value is None for value in key[2])
            groups[nulls].append(relationship_row(shape, key) | {"i": place})
        for nulls, rows in groups.items():
            text = f"{match_edge(shape, nulls)} RETURN row.i AS i, r AS r"
            for place, edge in self._statements.ask(text, rows):
                found[place][edge.id] = edge
        return [[edges[number] for number in sorted(edges)] for edges in found]

    # -- digests ----------------------------------------------------------------------------------

    def digest_parts(self, shape: NodeShape | RelationshipShape, parts: int, modulus: int) -> Parts:
        """Everything of a shape by `_fp % parts`: how many, and the sum of `_fp % modulus`.

        A server that does not reckon so sends every digest instead.
        """
        pattern, variable, given = _matched(shape)
        mark = f"{variable}.{FINGERPRINT}"
        text = (
            f"MATCH {pattern} RETURN {mark} % {parts} AS p, count({variable}) AS c, "
            f"sum({mark} % {modulus}) AS s"
        )
        try:
            found = self._statements.run(text, given).rows
        except UsageError:
            return self._counted_parts(shape, parts, modulus)
        return {None if p is None else int(p): (int(c), int(s or 0)) for p, c, s in found}

    def _counted_parts(
        self, shape: NodeShape | RelationshipShape, parts: int, modulus: int
    ) -> Parts:
        pattern, variable, given = _matched(shape)
        found: Parts = {}
        text = f"MATCH {pattern} RETURN {variable}.{FINGERPRINT} AS f"
        for page in self._statements.stream(text, given):
            for (mark,) in page:
                part = mark % parts if isinstance(mark, int) else None
                count, total = found.get(part, (0, 0))
                more = mark % modulus if part is not None else 0
                found[part] = count + 1, total + more
        return found

    def in_parts(
        self, shape: NodeShape | RelationshipShape, parts: int, wanted: Sequence[int | None]
    ) -> Iterator[list[Marked]]:
        """What of a shape is in some parts, in lists."""
        pattern, variable, given = _matched(shape)
        mark, numbers = f"{variable}.{FINGERPRINT}", [n for n in wanted if n is not None]
        keys = returned("n", shape.key) if isinstance(shape, NodeShape) else _identity(shape)
        items = [*keys, mark, f"{variable}.{RUN}"]
        conditions = [f"{mark} % {parts} = {number}" for number in numbers]
        conditions += [f"{mark} IS NULL"] if None in wanted else []
        text = f"MATCH {pattern} WHERE {' OR '.join(conditions)} RETURN {numbered(items)}"
        for page in self._statements.stream(text, given):
            yield [Marked(_key(shape, row[:-2]), row[-2], row[-1]) for row in page]

    def scan_whole(self, shape: NodeShape | RelationshipShape, rows: int) -> Iterator[list[Whole]]:
        """Everything of a shape, whatever wrote it, as it is, in lists of about `rows`."""
        pattern, _, given = _matched(shape)
        if isinstance(shape, NodeShape):
            for part in self._parts(f"MATCH {pattern} RETURN n AS n", given, rows):
                yield [
                    Whole(tuple([p.get(name) for name in shape.key]), p, frozenset(labels))
                    for (node,) in part
                    for p in (restored(shape, node.properties),)
                    for labels in (_labels(shape, node.labels),)
                ]
            return
        text = f"MATCH {pattern} RETURN {numbered([*_identity(shape), 'r'])}"
        for part in self._parts(text, given, rows):
            yield [
                Whole(_relationship_key(shape, row[:-1]), restored(shape, row[-1].properties))
                for row in part
            ]

    # -- everything of a shape --------------------------------------------------------------------

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has (a scan)."""
        wanted = set(fingerprints)
        text = f"MATCH {labelled('n', shape)} RETURN n.{FINGERPRINT} AS f"
        pages = self._statements.stream(text, given_of(n=shape))
        return {mark for page in pages for (mark,) in page if mark in wanted}

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit` (a scan)."""
        present = sorted(self.present_fingerprints(shape, fingerprints))[:limit]
        text = f"MATCH {labelled('n', shape)} WHERE n.{FINGERPRINT} = row.f RETURN n AS n"
        found = self._statements.ask(text, [{"f": mark} for mark in present], given_of(n=shape))
        return [restored(shape, node.properties) for (node,) in found[:limit]]

    def scan_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[Key, Row]]]:
        """The key and some properties of every node that a run wrote, in lists of about `rows`."""
        items = [*returned("n", shape.key), *returned("n", names)]
        where = f"n.{RUN} IS NOT NULL"
        text = f"MATCH {labelled('n', shape)} WHERE {where} RETURN {numbered(items)}"
        size = len(shape.key)
        for part in self._parts(text, given_of(n=shape), rows):
            yield [
                (typed_key(shape, row[:size]), _values(shape, names, row[size:])) for row in part
            ]

    def scan_relationships(
        self, shape: RelationshipShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[RelationshipKey, Row]]]:
        """The key and some properties of every relationship that a run wrote, in lists."""
        items = [*_identity(shape), *returned("r", names)]
        where = f"r.{RUN} IS NOT NULL"
        text = f"MATCH {related(shape)} WHERE {where} RETURN {numbered(items)}"
        size = len(items) - len(names)
        for part in self._parts(text, given_ends(shape), rows):
            yield [
                (_relationship_key(shape, row[:size]), _values(shape, names, row[size:]))
                for row in part
            ]

    def _parts(
        self, text: str, given: dict[str, Any], rows: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        collected: list[tuple[Any, ...]] = []
        for page in self._statements.stream(text, given):
            collected += page
            while len(collected) >= rows:
                yield collected[:rows]
                collected = collected[rows:]
        if collected:
            yield collected

    def _must_write(self) -> None:
        if self._read_only:
            raise UsageError("the graph is open for reading only")

    def _must_delete_relationships(self) -> None:
        if not self.dialect.delete_relationship:
            raise GeodeTuiError(
                "relationships cannot be removed from this server",
                "its DELETE of a relationship removes nodes or does nothing: the probe showed it",
                "use a Geode that removes relationships alone",
            )


def after(variable: str, step: int) -> str:
    """The condition that the run `$run` wrote it after a step; after step 0: all that it wrote."""
    condition = of_run(variable)
    return f"{condition} AND {variable}.{STEP} > $step" if step > 0 else condition


def bounds(run: str, step: int) -> dict[str, Any]:
    """The parameters of `after`."""
    return {"run": run, "step": step} if step > 0 else {"run": run}


def match_edge(shape: RelationshipShape, nulls: Sequence[bool]) -> str:
    """The clause that matches the relationship `r` of the key in `row`; null is a value too."""
    own = [
        f"r.{named(name)} IS NULL" if null else f"r.{named(name)} = row.o{n}"
        for n, (name, null) in enumerate(zip(shape.key, nulls, strict=True))
    ]
    where = f" WHERE {' AND '.join(own)}" if own else ""
    start, end = keyed_node("a", shape.start, "a"), keyed_node("b", shape.end, "b")
    return f"MATCH {start}{led(shape)}{end}{where}"


def _matched(shape: NodeShape | RelationshipShape) -> tuple[str, str, dict[str, Any]]:
    """The pattern of a shape, the variable of what it is about, and the parameters."""
    if isinstance(shape, NodeShape):
        return labelled("n", shape), "n", given_of(n=shape)
    return related(shape), "r", given_ends(shape)


def _in_steps(variable: str) -> str:
    step = f"{variable}.{STEP}"
    return f"{of_run(variable)} AND {step} >= $first AND {step} <= $last"


def _span(run: str, steps: Sequence[int]) -> dict[str, Any]:
    return {"run": run, "first": min(steps), "last": max(steps)}


def _identity(shape: RelationshipShape) -> list[str]:
    ends = [*returned("a", shape.start.key), *returned("b", shape.end.key)]
    return [*ends, *returned("r", shape.key)]


def _relationship_key(shape: RelationshipShape, values: Sequence[Any]) -> RelationshipKey:
    first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
    return (
        typed_key(shape.start, values[:first]),
        typed_key(shape.end, values[first:second]),
        typed_key(shape, values[second:]),
    )


def _key(shape: NodeShape | RelationshipShape, values: Sequence[Any]) -> Key | RelationshipKey:
    if isinstance(shape, NodeShape):
        return typed_key(shape, values)
    return _relationship_key(shape, values)


def _values(
    shape: NodeShape | RelationshipShape, names: Sequence[str], values: Sequence[Any]
) -> Row:
    pairs = dict(zip(names, values, strict=True))
    found = restored(shape, {named(name): value for name, value in pairs.items()})
    return tuple([found.get(name) for name in names])


def _labels(shape: NodeShape, labels: Sequence[str]) -> list[str]:
    """Labels that were read, under the mapping's names where they are of the shape."""
    names = {named(name): name for name in (shape.label, *shape.labels, *shape.by_value)}
    return [names.get(label, label) for label in labels]


def _chosen[Thing: GraphNode | GraphEdge](things: Sequence[Thing], run: str | None) -> Thing | None:
    """Of the nodes or relationships of a key: that of the run, else of any run, else any."""
    stamped = [thing for thing in things if thing.properties.get(RUN) is not None]
    ours = [thing for thing in stamped if thing.properties[RUN] == run]
    return next(iter([*ours, *stamped, *things]), None)
