"""The embedded graph: Grafeo, in process, in one file.

First writes take Grafeo's batch calls, a repeated chunk the MERGE of GQL. Relationships are made
between node ids; the ids of nodes just written are remembered (bounded), others are looked up by
key through the index, 135 thousand a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grafeo

from geode_tui.errors import ConnectError, GeodeTuiError, UsageError
from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OF, RUN, STEP
from geode_tui.target.embedded_images import Images
from geode_tui.target.model import (
    Key,
    NodeBatch,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipShape,
    Row,
    TargetFacts,
    Written,
)

REMEMBERED_IDS = 1_000_000
"""Most node ids kept in memory, about 150 bytes each."""
CHECKPOINT_BYTES = 256 * 1024 * 1024
_DELETE_ROWS = 20_000


class EmbeddedGraph(Images):
    """A Grafeo file, or one named graph in it; open for one process at a time."""

    many_processes = False
    writers_collide = False

    def __init__(self, database: grafeo.GrafeoDB, path: Path, graph: str | None) -> None:
        self._database = database
        self._path = path
        self._graph_name = graph or ""
        self._graph: Any = database.graph(graph) if graph else database
        self._ids = _RememberedIds(REMEMBERED_IDS)
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, graph: str | None, *, create: bool = True, read_only: bool = False
    ) -> EmbeddedGraph:
        """Open or make the file, and the named graph in it.

        Raises ConnectError when the file is in use, foreign or cannot be written.
        """
        if not create and not path.exists():
            raise ConnectError(f"no graph at {path}", "the file does not exist", "check --target")
        if not path.parent.is_dir():
            raise ConnectError(f"cannot open {path}", f"no folder {path.parent}", "make it first")
        try:
            if read_only:
                database = grafeo.GrafeoDB.open_read_only(str(path))
            else:
                database = grafeo.GrafeoDB(str(path))
                database.set_checkpoint_triggers(wal_bytes=CHECKPOINT_BYTES)
            if graph and graph not in database.list_graphs():
                if not create:
                    database.close()
                    raise ConnectError(
                        f"no graph {graph} in {path}", "", "name one that is there with --graph"
                    )
                database.create_graph(graph)
            return cls(database, path, graph)
        except (grafeo.GrafeoError, OSError, ValueError) as error:
            raise _open_error(path, error) from error

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

    def prepare(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Index, then constraint: a constraint alone makes every insert a scan."""
        found = (*self.query("SHOW INDEXES"), *self.query("SHOW CONSTRAINTS"))
        statements = preparation(self._graph_name, nodes, {row["name"] for row in found})
        for statement in statements:
            self._execute(statement)
        return statements

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes in one transaction; rows the graph refuses are told apart one by one."""
        names = (*batch.shape.properties, FINGERPRINT)
        rows = [_filled(names, row, batch.run, batch.step) for row in batch.rows]
        if not batch.by_value:
            return self._write_labelled(batch.shape, rows, None, repeated)
        written, refused = 0, []
        for label in dict.fromkeys(batch.by_value):
            places = [place for place, own in enumerate(batch.by_value) if own == label]
            some = [rows[place] for place in places]
            result = self._write_labelled(batch.shape, some, label, repeated)
            written += result.rows
            refused += [replace(r, position=places[r.position]) for r in result.refused]
        return Written(written, (), tuple(refused))

    def _write_labelled(
        self, shape: NodeShape, rows: list[dict[str, Any]], label: str | None, repeated: bool
    ) -> Written:
        """Write nodes that all get the same labels."""
        labels = [shape.label, *shape.labels]
        if label is not None and label not in labels:
            labels.append(label)
        write = self._merge_nodes if repeated else self._create_nodes
        return self._each_or_all(rows, lambda part: write(shape, labels, part))

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships in one transaction; a row whose end is not there is an orphan."""
        shape = batch.shape
        first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
        starts = self._node_ids(shape.start, [row[:first] for row in batch.rows])
        ends = self._node_ids(shape.end, [row[first:second] for row in batch.rows])
        names = (*shape.properties, FINGERPRINT)
        orphans, edges, places = [], [], []
        for position, (row, start, end) in enumerate(zip(batch.rows, starts, ends, strict=True)):
            if start is None or end is None:
                orphans.append(position)
                continue
            places.append(position)
            edges.append((start, end, shape.type, _filled(names, row[second:], batch.run, batch.step)))
        if repeated:
            edges, places, there = self._without_present(shape, edges, places)
        else:
            there = 0
        written = self._each_or_all(edges, self._create_edges)
        refused = tuple(
            Refused(places[r.position], r.error_class, r.reason) for r in written.refused
        )
        return Written(written.rows + there, tuple(orphans), refused)

    def count_nodes(self, shape: NodeShape) -> int:
        """How many nodes there are of the shape, told apart from others with its label."""
        return self._number(f"MATCH {_node('n', shape)} RETURN count(n) AS c")

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a further label."""
        condition = f"n:{gql.quoted(label)}"
        return self._number(f"MATCH {_node('n', shape)} WHERE {condition} RETURN count(n) AS c")

    def count_label(self, label: str) -> int:
        """How many nodes have the label, whatever made them."""
        return self._number(f"MATCH {gql.node_with('n', label)} RETURN count(n) AS c")

    def count_present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property that is not null."""
        value = gql.member("n", name)
        return self._number(f"MATCH {_node('n', shape)} RETURN count({value}) AS c")

    def count_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships of the type lead from the start's label to the end's."""
        return self._number(f"MATCH {_pattern(shape)} RETURN count(r) AS c")

    def count_type(self, type_name: str) -> int:
        """How many relationships have the type, whatever their ends."""
        middle = gql.relationship_with("r", type_name)
        return self._number(f"MATCH (){middle}() RETURN count(r) AS c")

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """How many keys are on more than one node."""
        keys = gql.returned("n", shape.key, "k")
        return self._number(
            f"MATCH {_node('n', shape)} WITH {keys}, count(n) AS c WHERE c > 1 RETURN count(*) AS c"
        )

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships there are beyond the first of their identity."""
        identity = ["id(a) AS a0"] if shape.owned else ["id(a) AS a0", "id(b) AS b0"]
        identity += [f"{gql.member('r', name)} AS k{n}" for n, name in enumerate(shape.key)]
        return self._number(
            f"MATCH {_pattern(shape)} WITH {', '.join(identity)}, count(r) AS c "
            "WHERE c > 1 RETURN coalesce(sum(c - 1), 0) AS c"
        )

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none."""
        found: list[dict[str, Any] | None] = [None] * len(keys)
        rows = [_keyed(shape, key, number) for number, key in enumerate(keys)]
        statement = (
            f"UNWIND $rows AS row MATCH {_matched('n', shape, 'k')} RETURN row.i AS i, n AS n"
        )
        for row in self.query_with(statement, {"rows": rows}):
            found[row["i"]] = _properties(row["n"])
        return found

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node."""
        found: list[frozenset[str]] = [frozenset()] * len(keys)
        rows = [_keyed(shape, key, number) for number, key in enumerate(keys)]
        statement = (
            f"UNWIND $rows AS row MATCH {_matched('n', shape, 'k')} "
            "RETURN row.i AS i, labels(n) AS labels"
        )
        for row in self.query_with(statement, {"rows": rows}):
            found[row["i"]] = frozenset(row["labels"])
        return found

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[tuple[Key, Key, Key]]
    ) -> list[list[dict[str, Any]]]:
        """For each start key, end key and own key: the properties of the relationships there."""
        found: list[list[dict[str, Any]]] = [[] for _ in keys]
        rows = []
        for number, (start, end, own) in enumerate(keys):
            row: dict[str, Any] = {"i": number}
            row |= {f"a{n}": value for n, value in enumerate(start)}
            row |= {f"b{n}": value for n, value in enumerate(end)}
            row |= {f"o{n}": value for n, value in enumerate(own)}
            rows.append(row)
        fields = [(name, f"row.o{n}") for n, name in enumerate(shape.key)]
        statement = (
            f"UNWIND $rows AS row MATCH {_matched('a', shape.start, 'a')}"
            f"{gql.relationship_with('r', shape.type, fields)}"
            f"{_matched('b', shape.end, 'b')} RETURN row.i AS i, r AS r"
        )
        for row in self.query_with(statement, {"rows": rows}):
            found[row["i"]].append(_properties(row["r"]))
        return found

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has (a scan)."""
        wanted = set(fingerprints)
        statement = (
            f"MATCH {_node('n', shape)} WHERE {gql.member('n', FINGERPRINT)} IN $marks "
            f"RETURN DISTINCT {gql.member('n', FINGERPRINT)} AS mark"
        )
        return {row["mark"] for row in self.query_with(statement, {"marks": list(wanted)})}

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit` (a scan)."""
        statement = (
            f"MATCH {_node('n', shape)} WHERE {gql.member('n', FINGERPRINT)} IN $marks "
            f"RETURN n LIMIT {limit}"
        )
        found = self.query_with(statement, {"marks": list(set(fingerprints))})
        return [_properties(row["n"]) for row in found]

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the nodes of a shape that a run wrote, with their relationships."""
        self._ids.forget()
        return self._delete(_node("n", shape), "n", run, "DETACH DELETE n")

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the relationships of a shape that a run wrote."""
        return self._delete(_pattern(shape), "r", run, "DELETE r")

    def delete_run(self, run: str) -> tuple[int, int]:
        """Remove all that a run wrote; returns how many nodes and relationships."""
        self._ids.forget()
        relationships = self._delete("()-[r]->()", "r", run, "DELETE r")
        return self._delete("(n)", "n", run, "DETACH DELETE n"), relationships

    def _forget(self) -> None:
        self._ids.forget()

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        return self.query_with(statement, None)

    def query_with(self, statement: str, parameters: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Run one statement with parameters and return its rows."""
        return [dict(row) for row in self._execute(statement, parameters)]

    def flush(self) -> None:
        """Write a checkpoint: the file is whole and the log before it is gone."""
        with _told("cannot write the checkpoint"):
            self._database.wal_checkpoint()

    def close(self) -> None:
        """Close the file; another process may open it then."""
        if self._closed:
            return
        self._closed = True
        self._graph = None
        with _told("cannot close the graph"):
            self._database.close()

    def _create_nodes(
        self, shape: NodeShape, labels: list[str], rows: list[dict[str, Any]]
    ) -> None:
        ids = self._graph.batch_create_nodes_with_props(labels, rows)
        self._ids.add(shape, rows, ids)

    def _merge_nodes(self, shape: NodeShape, labels: list[str], rows: list[dict[str, Any]]) -> None:
        pattern = [(name, f"row.k{n}") for n, name in enumerate(shape.key)]
        keyed = [
            {"p": row} | {f"k{n}": row[name] for n, name in enumerate(shape.key)} for row in rows
        ]
        statement = (
            f"UNWIND $rows AS row MERGE {gql.node_with('n', shape.label, pattern)} SET n = row.p"
        )
        for label in labels[1:]:
            statement += f" SET n:{gql.quoted(label)}"
        for label in (label for label in shape.by_value if label not in labels):
            statement += f" REMOVE n:{gql.quoted(label)}"
        list(self._graph.execute(statement, {"rows": keyed}))

    def _create_edges(self, edges: list[Any]) -> None:
        self._graph.batch_create_edges(edges)

    def _each_or_all(self, rows: list[Any], write: Any) -> Written:
        """Write all rows at once; where the graph refuses, find the rows that it refuses."""
        if not rows:
            return Written(0)
        try:
            write(rows)
            return Written(len(rows))
        except (grafeo.GrafeoError, ValueError, TypeError, OverflowError) as error:
            if _is_fatal(error):
                raise _write_error(error) from error
            if len(rows) == 1:
                return Written(0, (), (_refused(error),))
        middle = len(rows) // 2
        left = self._each_or_all(rows[:middle], write)
        right = self._each_or_all(rows[middle:], write)
        moved = (Refused(r.position + middle, r.error_class, r.reason) for r in right.refused)
        return Written(left.rows + right.rows, (), (*left.refused, *moved))

    def _node_ids(self, shape: NodeShape, keys: list[Row]) -> list[int | None]:
        found = self._ids.find(shape, keys)
        missing = {
            _hashable(key): key for key, node in zip(keys, found, strict=True) if node is None
        }
        if not missing:
            return found
        looked_up = self._look_up(shape, list(missing.values()))
        return [
            node if node is not None else looked_up.get(_hashable(key))
            for key, node in zip(keys, found, strict=True)
        ]

    def _look_up(self, shape: NodeShape, keys: list[Row]) -> dict[Row, int]:
        rows = [_keyed(shape, key, number) for number, key in enumerate(keys)]
        statement = (
            f"UNWIND $rows AS row MATCH {_matched('n', shape, 'k')} RETURN row.i AS i, id(n) AS id"
        )
        found = {}
        for row in self.query_with(statement, {"rows": rows}):
            found[_hashable(keys[row["i"]])] = row["id"]
        self._ids.remember(shape, found)
        return found

    def _without_present(
        self, shape: RelationshipShape, edges: list[Any], places: list[int]
    ) -> tuple[list[Any], list[int], int]:
        """Leave out what an interrupted attempt wrote; what it wrote and is no more true goes.

        Returns the relationships to write, their places, and how many are there already.
        """
        wanted = {self._identity(shape, edge) for edge in edges}
        present: set[tuple[Any, ...]] = set()
        for start in {edge[0] for edge in edges}:
            for identity, edge_id in self._outgoing(shape, start):
                if identity in wanted and identity not in present:
                    present.add(identity)
                elif shape.owned or identity in present:
                    self._graph.delete_edge(edge_id)
        kept = [
            (edge, place)
            for edge, place in zip(edges, places, strict=True)
            if self._identity(shape, edge) not in present
        ]
        left = len(edges) - len(kept)
        return [edge for edge, _ in kept], [place for _, place in kept], left

    def _identity(self, shape: RelationshipShape, edge: Any) -> tuple[Any, ...]:
        return (edge[0], edge[1], *_hashable(edge[3][name] for name in shape.key))

    def _outgoing(
        self, shape: RelationshipShape, start: int
    ) -> Iterator[tuple[tuple[Any, ...], int]]:
        """The relationships of a rule that leave a node, with their identity and id."""
        for end, edge_id in self._graph.get_node_edges(start, "out", [shape.type]):
            if not _is_of(self._graph.get_node(end), shape.end):
                continue
            own = self._graph.get_edge(edge_id).properties() if shape.key else {}
            yield (start, end, *_hashable(own.get(name) for name in shape.key)), edge_id

    def _delete(self, pattern: str, variable: str, run: str, action: str) -> int:
        removed = 0
        where = f"WHERE {gql.member(variable, RUN)} = $run"
        count = f"MATCH {pattern} {where} RETURN count({variable}) AS c"
        statement = f"MATCH {pattern} {where} WITH {variable} LIMIT {_DELETE_ROWS} {action}"
        while left := self._number(count, {"run": run}):
            self._execute(statement, {"run": run})
            after = self._number(count, {"run": run})
            if after >= left:
                raise GeodeTuiError("the graph does not let go of rows", f"{left} are left")
            removed += left - after
        return removed

    def _number(self, statement: str, parameters: dict[str, Any] | None = None) -> int:
        rows = self.query_with(statement, parameters)
        return int(rows[0]["c"]) if rows else 0

    def _execute(self, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        with _told("the graph refused a statement"):
            return list(self._graph.execute(statement, parameters))



def preparation(graph: str, nodes: Sequence[NodeShape], there: Collection[str]) -> list[str]:
    """The statements that prepare a graph for nodes; `there` names what it has already."""
    # Nodes of another rule get this label too, and their keys are not of our table.
    given = {label for shape in nodes for label in (*shape.labels, *shape.by_value)}
    known, statements = set(there), []
    for shape in nodes:
        fields = ", ".join(gql.member("n", name) for name in shape.key)
        pattern = gql.node_with("n", shape.label)
        name = _constraint_name(graph, shape)
        unique = f"{name}_u"
        if not known.intersection((name, unique)):
            statements.append(f"CREATE INDEX {gql.quoted(name)} FOR {pattern} ON ({fields})")
        if shape.label not in given and unique not in known:
            constraint = f"CREATE CONSTRAINT {gql.quoted(unique)} FOR {pattern}"
            statements.append(f"{constraint} ON ({fields}) UNIQUE")
            known.add(unique)
        known.add(name)
    return statements


def _constraint_name(graph: str, shape: NodeShape) -> str:
    """Names of constraints are shared by all graphs of a file: the graph's is part of it."""
    digest = hashlib.sha256(graph.encode()).hexdigest()[:8]
    return f"key_{digest}_{shape.label}"


class _RememberedIds:
    """The ids of nodes by label and key, at most `limit` of them; safe for several threads."""

    def __init__(self, limit: int) -> None:
        self._room = self._limit = limit
        self._ids: dict[str, dict[Any, int]] = {}
        self._lock = threading.Lock()

    def add(self, shape: NodeShape, rows: Sequence[dict[str, Any]], ids: Sequence[int]) -> None:
        if self._room < len(ids):
            return
        keys: Iterable[Any]
        if len(shape.key) == 1:
            keys = [_hashable((row[shape.key[0]],))[0] for row in rows]
        else:
            keys = [_hashable(row[name] for name in shape.key) for row in rows]
        self._update(shape.label, dict(zip(keys, ids, strict=True)))

    def remember(self, shape: NodeShape, found: dict[Row, int]) -> None:
        if self._room < len(found):
            return
        single = len(shape.key) == 1
        self._update(shape.label, {(k[0] if single else k): node for k, node in found.items()})

    def find(self, shape: NodeShape, keys: Sequence[Row]) -> list[int | None]:
        known = self._ids.get(shape.label)
        if not known:
            return [None] * len(keys)
        if len(shape.key) == 1:
            return [known.get(_hashable(key)[0]) for key in keys]
        return [known.get(_hashable(key)) for key in keys]

    def forget(self) -> None:
        with self._lock:
            self._ids.clear()
            self._room = self._limit

    def _update(self, label: str, found: dict[Any, int]) -> None:
        with self._lock:
            known = self._ids.setdefault(label, {})
            before = len(known)
            known.update(found)
            self._room -= len(known) - before


def _filled(names: tuple[str, ...], row: Row, run: str, step: int) -> dict[str, Any]:
    filled = dict(zip(names, row, strict=True))
    filled[RUN] = run
    filled[STEP] = step
    return filled


def _hashable(key: Iterable[Any]) -> Row:
    """A key to compare by: instants without their zone, lists as tuples, NaN equal to itself."""
    return tuple([_comparable(value) if type(value) in _UNLIKE else value for value in key])


_UNLIKE = frozenset({datetime, list, float})


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, list):
        return _hashable(value)
    return "NaN" if value != value else value


def _properties(found: dict[str, Any]) -> dict[str, Any]:
    """Properties as stored, without the engine's own `_id`, `_labels`, `_source`, …"""
    engine = {"_id", "_labels", "_source", "_target", "_type"}
    return {name: value for name, value in found.items() if name not in engine}


def _keyed(shape: NodeShape, key: Row, number: int) -> dict[str, Any]:
    return {"i": number} | {f"k{n}": value for n, value in enumerate(key[: len(shape.key)])}


def _matched(variable: str, shape: NodeShape, prefix: str) -> str:
    fields = [(name, f"row.{prefix}{n}") for n, name in enumerate(shape.key)]
    return gql.node_with(variable, shape.label, fields)


def _node(variable: str, shape: NodeShape) -> str:
    """The pattern of a shape's nodes: their label, and whose they are where it is shared."""
    fields = [(OF, gql.literal(shape.of))] if OF in shape.key else []
    return gql.node_with(variable, shape.label, fields)


def _is_of(node: Any, shape: NodeShape) -> bool:
    if shape.label not in node.labels:
        return False
    return OF not in shape.key or node.properties().get(OF) == shape.of


def _pattern(shape: RelationshipShape) -> str:
    middle = gql.relationship_with("r", shape.type)
    return f"{_node('a', shape.start)}{middle}{_node('b', shape.end)}"


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except grafeo.GrafeoError as error:
        if "read-only transaction" in str(error):
            raise UsageError("the graph is open for reading only", str(error)) from error
        if _is_fatal(error):
            raise _write_error(error) from error
        raise GeodeTuiError(what, str(error)) from error
    except (ValueError, TypeError) as error:
        raise UsageError(what, str(error)) from error


def _is_fatal(error: Exception) -> bool:
    """Whether the graph itself is in trouble, not the row."""
    message = str(error).lower()
    signs = ("no space", "os error", "i/o", "closed", "corrupt", "disk", "poison", "read-only")
    return isinstance(error, grafeo.DatabaseClosedError) or any(s in message for s in signs)


def _write_error(error: Exception) -> GeodeTuiError:
    message = str(error)
    full = "no space" in message.lower()
    what = "the disk of the graph is full" if full else "the graph cannot be written"
    next_step = "free space" if full else "check the disk"
    return ConnectError(what, message, f"{next_step}, then: geode-tui resume")


def _refused(error: Exception) -> Refused:
    """Why a row could not be written, in words where they are ours to choose."""
    if "UNIQUE" in str(error):
        return Refused(0, "unique", "another node has the same key")
    return Refused(0, "value", str(error))


def _open_error(path: Path, error: Exception) -> GeodeTuiError:
    message = str(error)
    if "locked" in message:
        return ConnectError(
            f"{path} is in use", "another process has the graph open", "end that process, or wait"
        )
    if "magic" in message or "not a Grafeo" in message or "not a database" in message:
        return UsageError(
            f"{path} is no Grafeo graph", message, "name a new file, or one that geode-tui made"
        )
    return ConnectError(f"cannot open {path}", message, "check the path and its rights")
