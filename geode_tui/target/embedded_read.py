"""What the embedded graph tells: counts, the properties behind keys, everything of a shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any

import grafeo

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OF, RUN, STEP
from geode_tui.target.embedded_session import (
    PAGE,
    PARAMETER_ROWS,
    Session,
    chosen,
    from_starts,
    is_of,
    keyed,
    ranges,
)
from geode_tui.target.keys import comparable
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
from geode_tui.target.patterns import node_pattern, pattern_of, relationship_pattern

Ends = tuple[int, int]
AT_ONCE = 200_000
"""Nodes or relationships that are grouped in one statement, about 400 bytes of memory each."""
SCANNED = 500_000
"""Nodes or relationships that one statement reckons of: Grafeo ends each after 30 seconds."""
_STAMPED = f"{gql.member('n', RUN)} IS NOT NULL"
_OF_RUN = f"{gql.member('n', RUN)} = $run"


class Reading(Session):
    """The part of the embedded graph that changes nothing."""

    @property
    def place(self) -> str:
        """The file, and the graph's name where it has one."""
        return f"{self._path}#{self._graph_name}" if self._graph_name else str(self._path)

    def describe(self) -> TargetFacts:
        """What the file is and holds."""
        nodes = self._number("MATCH (n) RETURN count(n) AS c")
        relationships = self._number("MATCH ()-[r]->() RETURN count(r) AS c")
        version = str(grafeo.build_info()["version"])
        return TargetFacts("Grafeo", version, self.place, self._graph_name, nodes, relationships)

    @property
    def probed(self) -> None:
        """Nothing was asked."""
        return

    def facts(self) -> list[tuple[str, str]]:
        """Nothing: all that this version of Grafeo can is known beforehand."""
        return []

    # -- counts -----------------------------------------------------------------------------------

    def count_nodes(self, shape: NodeShape) -> int:
        """How many nodes there are of the shape, told apart from others with its label."""
        return self._number(f"MATCH {node_pattern('n', shape)} RETURN count(n) AS c")

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a further label."""
        pattern, condition = node_pattern("n", shape), f"n:{gql.quoted(label)}"
        return self._number(f"MATCH {pattern} WHERE {condition} RETURN count(n) AS c")

    def count_label(self, label: str) -> int:
        """How many nodes have the label, whatever made them."""
        return self._number(f"MATCH {gql.node_with('n', label)} RETURN count(n) AS c")

    def count_present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property that is not null."""
        value = gql.member("n", name)
        return self._number(f"MATCH {node_pattern('n', shape)} RETURN count({value}) AS c")

    def count_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships of the type lead from the start's label to the end's."""
        return self._number(f"MATCH {relationship_pattern(shape)} RETURN count(r) AS c")

    def count_type(self, type_name: str) -> int:
        """How many relationships have the type, whatever their ends."""
        middle = gql.relationship_with("r", type_name)
        return self._number(f"MATCH (){middle}() RETURN count(r) AS c")

    def count_of_run(self, shape: NodeShape | RelationshipShape, run: str) -> int:
        """How many nodes or relationships of a shape a run wrote."""
        if isinstance(shape, NodeShape):
            statement = f"MATCH {node_pattern('n', shape)} WHERE {_OF_RUN} RETURN count(n) AS c"
        else:
            where = f"{gql.member('r', RUN)} = $run"
            statement = f"MATCH {relationship_pattern(shape)} WHERE {where} RETURN count(r) AS c"
        return self._number(statement, {"run": run})

    def count_after(self, run: str, step: int) -> tuple[int, int]:
        """How many nodes and relationships a run wrote in steps after `step`."""
        given = {"run": run, "step": step}
        nodes = f"MATCH (n) WHERE {after('n', step)} RETURN count(n) AS c"
        relationships = f"MATCH ()-[r]->() WHERE {after('r', step)} RETURN count(r) AS c"
        return self._number(nodes, given), self._number(relationships, given)

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """How many keys are on more than one node.

        Of many nodes each key is looked up, since grouping takes memory for every node.
        """
        lead = shape.key[self._keys.order(shape)[0]]
        if self.count_nodes(shape) > AT_ONCE and self._has_index(lead):
            return len(self._doubled_keys(shape))
        keys, pattern = gql.returned("n", shape.key, "k"), node_pattern("n", shape)
        return self._number(
            f"MATCH {pattern} WITH {keys}, count(n) AS c WHERE c > 1 RETURN count(*) AS c"
        )

    def _doubled_keys(self, shape: NodeShape) -> set[Key]:
        doubled = set()
        pattern, size = self._matched("n", shape, "k"), len(shape.key)
        statement = (
            f"UNWIND $rows AS row MATCH {pattern} "
            "WITH row.i AS i, count(n) AS c WHERE c > 1 RETURN i"
        )
        returned = gql.returned("n", shape.key, "k")
        for page in self._node_pages(node_pattern("n", shape), "", returned, PARAMETER_ROWS):
            keys = [key for row in page if None not in (key := _values(row, "k", size))]
            if self._surely_single(shape, keys):
                continue
            rows = [keyed(shape, key, place) for place, key in enumerate(keys)]
            for row in self._execute(statement, {"rows": rows}):
                doubled.add(comparable(keys[row["i"]]))
        return doubled

    def _surely_single(self, shape: NodeShape, keys: Sequence[Key]) -> bool:
        """Whether so many nodes have the keys as there are keys: a quick look, three times faster.

        For keys of one property, which may be marked with the rule.
        """
        if sum(name != OF for name in shape.key) > 1:
            return False
        lead = self._keys.order(shape)[0]
        fields = [(shape.key[lead], "x")]
        fields += [(OF, gql.literal(shape.of))] if OF in shape.key else []
        pattern = gql.node_with("n", shape.label, fields)
        statement = f"UNWIND $keys AS x MATCH {pattern} RETURN count(n) AS c"
        return self._number(statement, {"keys": [key[lead] for key in keys]}) == len(keys)

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships there are beyond the first of their identity."""
        pattern = relationship_pattern(shape)
        identity = ["id(a) AS a0"] if shape.owned else ["id(a) AS a0", "id(b) AS b0"]
        identity += [f"{gql.member('r', name)} AS k{n}" for n, name in enumerate(shape.key)]
        counted = (
            f"WITH {', '.join(identity)}, count(r) AS c WHERE c > 1 "
            "RETURN coalesce(sum(c - 1), 0) AS c"
        )
        first, last, count = self._span(f"MATCH {pattern}", "a", {})
        if count <= AT_ONCE:
            return self._number(f"MATCH {pattern} {counted}")
        statement = f"{from_starts(shape)} {counted}"
        return sum(
            self._number(statement, {"first": low, "last": high})
            for low, high in ranges(first, last, PAGE)
        )

    # -- by key -----------------------------------------------------------------------------------

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none."""
        found: list[dict[str, Any] | None] = [None] * len(keys)
        for place, row in self._found(shape, keys, "properties(n) AS p"):
            found[place] = dict(row["p"])
        return found

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node."""
        found: list[frozenset[str]] = [frozenset()] * len(keys)
        for place, row in self._found(shape, keys, "labels(n) AS labels"):
            found[place] = frozenset(row["labels"])
        return found

    def count_keyed(self, shape: NodeShape, keys: Sequence[Key]) -> list[int]:
        """How many nodes have each key."""
        return [len(nodes) for nodes in self._nodes_of(shape, keys)]

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[dict[str, Any]]]:
        """For each start key, end key and own key: the properties of the relationships there."""
        found = self._relationships_of(shape, keys)
        return [[properties for _, properties in some] for some in found]

    def node_images(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None = None
    ) -> list[NodeImage | None]:
        """The node of each key as it is, None where there is none.

        Where several have the key: the one of `run`, else one of any run, else any.
        """
        return [image for _, image in self._wholes(shape, keys, run)]

    def relationship_images(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey], run: str | None = None
    ) -> list[RelationshipImage | None]:
        """The relationship of each key as it is, None where there is none; see `node_images`."""
        images: list[RelationshipImage | None] = []
        for some in self._relationships_of(shape, keys):
            runs = [(place, own.get(RUN)) for place, (_, own) in enumerate(some)]
            images.append(RelationshipImage(some[chosen(runs, run)][1]) if some else None)
        return images

    def node_keys(self, shape: NodeShape, run: str, steps: Sequence[int]) -> list[tuple[int, Key]]:
        """The step and the key of every node of a shape that a run wrote in some steps (a scan)."""
        if not steps:
            return []
        statement = (
            f"MATCH {node_pattern('n', shape)} WHERE {_OF_RUN} AND {_in_steps('n')} "
            f"RETURN {gql.member('n', STEP)} AS step, {gql.returned('n', shape.key, 'k')}"
        )
        wanted, size = set(steps), len(shape.key)
        rows = self._execute(statement, _bounds(run, steps))
        return [(r["step"], _values(r, "k", size)) for r in rows if r["step"] in wanted]

    def relationship_keys(
        self, shape: RelationshipShape, run: str, steps: Sequence[int]
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of every relationship that a run wrote in some steps (a scan)."""
        if not steps:
            return []
        statement = (
            f"MATCH {relationship_pattern(shape)} "
            f"WHERE {gql.member('r', RUN)} = $run AND {_in_steps('r')} "
            f"RETURN {gql.member('r', STEP)} AS step, {_keys(shape)}"
        )
        wanted = set(steps)
        rows = self._execute(statement, _bounds(run, steps))
        return [(r["step"], _relationship_key(shape, r)) for r in rows if r["step"] in wanted]

    def leading_from(
        self, shape: RelationshipShape, starts: Sequence[Key], run: str
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of what a run wrote of a shape and leads away from some nodes."""
        collected = []
        for start in {n for n in self._node_ids(shape.start, starts, run) if n is not None}:
            for end, edge_id in self._graph.get_node_edges(start, "out", [shape.type]):
                edge = self._graph.get_edge(edge_id)
                own = edge.properties() if edge is not None else {}
                if own.get(RUN) == run and is_of(self._graph.get_node(end), shape.end):
                    collected.append(((start, end), own))
        return [(own.get(STEP) or 0, key) for key, own in self._keyed_edges(shape, collected)]

    # -- digests ----------------------------------------------------------------------------------

    def digest_parts(self, shape: NodeShape | RelationshipShape, parts: int, modulus: int) -> Parts:
        """Everything of a shape by `_fp % parts`: how many, and the sum of `_fp % modulus`."""
        variable = pattern_of(shape)[1]
        mark = gql.member(variable, FINGERPRINT)
        returned = f"{mark} % {parts} AS p, count({variable}) AS c, sum({mark} % {modulus}) AS s"
        found: Parts = {}
        for row in (row for page in self._scanned(shape, "", returned) for row in page):
            count, total = found.get(row["p"], (0, 0))
            found[row["p"]] = count + row["c"], total + (row["s"] or 0)
        return found

    def in_parts(
        self, shape: NodeShape | RelationshipShape, parts: int, wanted: Sequence[int | None]
    ) -> Iterator[list[Marked]]:
        """What of a shape is in some parts, in lists."""
        variable = pattern_of(shape)[1]
        mark = gql.member(variable, FINGERPRINT)
        keys = gql.returned("n", shape.key, "k") if isinstance(shape, NodeShape) else _keys(shape)
        items = ", ".join((keys, f"{mark} AS m", f"{gql.member(variable, RUN)} AS run"))
        numbers = sorted(number for number in wanted if number is not None)
        conditions = [f"{mark} % {parts} IN [{', '.join(map(str, numbers))}]"] if numbers else []
        conditions += [f"{mark} IS NULL"] if None in wanted else []
        for condition in conditions:
            for page in self._scanned(shape, condition, items):
                yield [Marked(_key(shape, row), row["m"], row["run"]) for row in page]

    def scan_whole(self, shape: NodeShape | RelationshipShape, rows: int) -> Iterator[list[Whole]]:
        """Everything of a shape, whatever wrote it, as it is, in lists of about `rows`."""
        if isinstance(shape, RelationshipShape):
            yield from self._whole_relationships(shape, rows)
            return
        returned = "properties(n) AS p, labels(n) AS labels"
        for page in self._node_pages(node_pattern("n", shape), "", returned, rows):
            yield [
                Whole(tuple([p.get(n) for n in shape.key]), p, frozenset(row["labels"]))
                for row in page
                for p in (row["p"],)
            ]

    def _whole_relationships(self, shape: RelationshipShape, rows: int) -> Iterator[list[Whole]]:
        for edges in batched(self._edges(f"MATCH {relationship_pattern(shape)}", shape.type), rows):
            collected = [((e.source_id, e.target_id), e.properties()) for e in edges]
            yield [Whole(key, own) for key, own in self._keyed_edges(shape, collected)]

    # -- everything of a shape --------------------------------------------------------------------

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has (a scan)."""
        return {mark for some in self._marked(shape, fingerprints) for _, mark in some}

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit` (a scan)."""
        found: list[dict[str, Any]] = []
        statement = "UNWIND $ids AS x MATCH (n) WHERE id(n) = x RETURN properties(n) AS p"
        for some in self._marked(shape, fingerprints):
            ids = [node for node, _ in some][: limit - len(found)]
            found += [dict(row["p"]) for row in self._execute(statement, {"ids": ids})]
            if len(found) >= limit:
                break
        return found

    def _marked(
        self, shape: NodeShape, fingerprints: Sequence[int]
    ) -> Iterator[list[tuple[int, int]]]:
        """The ids of the nodes with one of the fingerprints, and theirs.

        The graph compares each node with each of a list's values: a set is much faster.
        """
        wanted, mark = set(fingerprints), gql.member("n", FINGERPRINT)
        returned, pattern = f"id(n) AS id, {mark} AS m", node_pattern("n", shape)
        for page in self._node_pages(pattern, f"{mark} IS NOT NULL", returned, PAGE):
            if some := [(row["id"], row["m"]) for row in page if row["m"] in wanted]:
                yield some

    def scan_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[Key, Row]]]:
        """The key and some properties of every node that a run wrote, in lists of about `rows`."""
        returned = ", ".join(
            gql.returned("n", some, prefix)
            for some, prefix in ((shape.key, "k"), (names, "v"))
            if some
        )
        key, values = len(shape.key), len(names)
        collected: list[tuple[Key, Row]] = []
        for page in self._node_pages(node_pattern("n", shape), _STAMPED, returned, rows):
            collected += [(_values(r, "k", key), _values(r, "v", values)) for r in page]
            if len(collected) >= rows:
                yield collected
                collected = []
        if collected:
            yield collected

    def scan_relationships(
        self, shape: RelationshipShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[RelationshipKey, Row]]]:
        """The key and some properties of every relationship that a run wrote, in lists."""
        collected: list[tuple[Ends, dict[str, Any]]] = []
        for edge in self._edges(f"MATCH {relationship_pattern(shape)}", shape.type):
            own = edge.properties()
            if own.get(RUN) is None:
                continue
            collected.append(((edge.source_id, edge.target_id), own))
            if len(collected) >= rows:
                if some := self._named_edges(shape, names, collected):
                    yield some
                collected = []
        if some := self._named_edges(shape, names, collected):
            yield some

    def _named_edges(
        self,
        shape: RelationshipShape,
        names: Sequence[str],
        edges: Sequence[tuple[Ends, dict[str, Any]]],
    ) -> list[tuple[RelationshipKey, Row]]:
        return [
            (key, tuple(own.get(name) for name in names))
            for key, own in self._keyed_edges(shape, edges)
        ]

    def _wholes(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None
    ) -> list[tuple[int, NodeImage | None]]:
        """The node of each key with its id; see `node_images`."""
        found: dict[int, dict[int, NodeImage]] = defaultdict(dict)
        returned = "id(n) AS id, labels(n) AS labels, properties(n) AS p"
        for place, row in self._found(shape, keys, returned):
            found[place][row["id"]] = NodeImage(tuple(sorted(row["labels"])), dict(row["p"]))
        wholes: list[tuple[int, NodeImage | None]] = [(-1, None)] * len(keys)
        for place, nodes in found.items():
            runs = [(node, image.properties.get(RUN)) for node, image in sorted(nodes.items())]
            node = chosen(runs, run)
            wholes[place] = (node, nodes[node])
        return wholes

    def _keyed_edges(
        self,
        shape: RelationshipShape,
        edges: Sequence[tuple[Ends, dict[str, Any]]],
    ) -> list[tuple[RelationshipKey, dict[str, Any]]]:
        """The relationships with the keys of their ends, those between the right labels."""
        starts = self._keys_of(shape.start, {ends[0] for ends, _ in edges})
        ends_ = self._keys_of(shape.end, {ends[1] for ends, _ in edges})
        return [
            ((starts[start], ends_[end], tuple([own.get(name) for name in shape.key])), own)
            for (start, end), own in edges
            if start in starts and end in ends_
        ]

    def _keys_of(self, shape: NodeShape, ids: set[int]) -> dict[int, Key]:
        """The keys of those nodes that are of the shape, by id."""
        statement = (
            f"UNWIND $ids AS x MATCH {node_pattern('n', shape)} WHERE id(n) = x "
            f"RETURN x, {gql.returned('n', shape.key, 'k')}"
        )
        wanted, found = list(ids), {}
        for begin in range(0, len(wanted), PARAMETER_ROWS):
            for row in self._execute(statement, {"ids": wanted[begin : begin + PARAMETER_ROWS]}):
                found[row["x"]] = _values(row, "k", len(shape.key))
        return found

    def _relationships_of(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[tuple[int, dict[str, Any]]]]:
        """The ids and properties of the relationships of each key."""
        starts = self._node_ids(shape.start, [start for start, _, _ in keys])
        ends = self._node_ids(shape.end, [end for _, end, _ in keys])
        identities = [
            None if a is None or b is None else (a, b, *comparable(own))
            for a, b, (_, _, own) in zip(starts, ends, keys, strict=True)
        ]
        found = self._between(shape, {identity for identity in identities if identity})
        return [found.get(identity, []) if identity else [] for identity in identities]

    def _between(
        self, shape: RelationshipShape, identities: set[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], list[tuple[int, dict[str, Any]]]]:
        """The relationships of each identity: start's id, end's id, and the own key.

        They are looked for from the side that has more nodes, so that the relationships of a hub
        are not gone through again and again.
        """
        pairs = {(identity[0], identity[1]) for identity in identities}
        starts, ends = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
        outward = len(starts) >= len(ends)
        found: dict[tuple[Any, ...], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for node in starts if outward else ends:
            direction = "out" if outward else "in"
            for other, edge_id in self._graph.get_node_edges(node, direction, [shape.type]):
                pair = (node, other) if outward else (other, node)
                edge = self._graph.get_edge(edge_id) if pair in pairs else None
                if edge is None:
                    continue
                own = edge.properties()
                identity = (*pair, *comparable(own.get(name) for name in shape.key))
                if identity in identities:
                    found[identity].append((edge_id, own))
        return found

    def _scanned(
        self, shape: NodeShape | RelationshipShape, where: str, returned: str
    ) -> Iterator[list[dict[str, Any]]]:
        """What `returned` gives of everything of a shape, in as many statements as it takes.

        Each is about nodes of a range of ids, or about the relationships that start at them.
        """
        owner = shape if isinstance(shape, NodeShape) else shape.start
        first, last, count = self._span(f"MATCH {node_pattern('n', owner)}", "n", {})
        if isinstance(shape, RelationshipShape):
            count = self.count_type(shape.type)
        if count <= SCANNED:
            condition = f"WHERE {where} " if where else ""
            yield self.query(f"MATCH {pattern_of(shape)[0]} {condition}RETURN {returned}")
            return
        ids = last - first + 1
        for low, high in ranges(first, last, max(1, min(SCANNED, SCANNED * ids // count))):
            given = {"first": low, "last": high}
            yield self.query_with(f"{_from_range(shape, where)} RETURN {returned}", given)

    def _node_pages(
        self, pattern: str, where: str, returned: str, rows: int
    ) -> Iterator[list[dict[str, Any]]]:
        """What `returned` gives of every node `n` of a pattern and condition, by ranges of ids."""
        condition = f"WHERE {where}" if where else ""
        first, last, _ = self._span(f"MATCH {pattern} {condition}", "n", {})
        statement = (
            f"UNWIND range($first, $last) AS x MATCH {pattern} WHERE id(n) = x "
            f"{'AND ' if where else ''}{where} RETURN {returned}"
        )
        for low, high in ranges(first, last, rows):
            yield self.query_with(statement, {"first": low, "last": high})


def _from_range(shape: NodeShape | RelationshipShape, where: str) -> str:
    """The clauses that match what there is of a shape in a range of ids, and on a condition."""
    if isinstance(shape, RelationshipShape):
        return f"{from_starts(shape)} WHERE {where}" if where else from_starts(shape)
    pattern, condition = node_pattern("n", shape), f" AND ({where})" if where else ""
    return f"UNWIND range($first, $last) AS x MATCH {pattern} WHERE id(n) = x{condition}"


def after(variable: str, step: int) -> str:
    """The condition that a run wrote it after a step; after step 0 is all that it wrote."""
    condition = f"{gql.member(variable, RUN)} = $run"
    return f"{condition} AND {gql.member(variable, STEP)} > $step" if step > 0 else condition


def _keys(shape: RelationshipShape) -> str:
    lists = (("a", shape.start.key, "a"), ("b", shape.end.key, "b"), ("r", shape.key, "o"))
    return ", ".join(gql.returned(*some) for some in lists if some[1])


def _key(shape: NodeShape | RelationshipShape, row: Any) -> Key | RelationshipKey:
    if isinstance(shape, NodeShape):
        return _values(row, "k", len(shape.key))
    return _relationship_key(shape, row)


def _in_steps(variable: str) -> str:
    step = gql.member(variable, STEP)
    return f"{step} >= $first AND {step} <= $last"


def _bounds(run: str, steps: Sequence[int]) -> dict[str, Any]:
    return {"run": run, "first": min(steps), "last": max(steps)}


def _values(row: Any, prefix: str, size: int) -> tuple[Any, ...]:
    return tuple([row[f"{prefix}{n}"] for n in range(size)])


def _relationship_key(shape: RelationshipShape, row: Any) -> RelationshipKey:
    return (
        _values(row, "a", len(shape.start.key)),
        _values(row, "b", len(shape.end.key)),
        _values(row, "o", len(shape.key)),
    )
