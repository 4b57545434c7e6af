"""The embedded graph's session: statements, what errors mean, and walks over everything in it.

Whatever changes many nodes or relationships goes by ranges of Grafeo's internal ids, which are
given in order and never twice: each range is a small transaction, the walk is as long as the
graph and no longer, and it may be done again after it was interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grafeo

from geode_tui.errors import BusyError, ConnectError, GeodeTuiError, UsageError
from geode_tui.mapping import gql
from geode_tui.mapping.model import OF, RUN
from geode_tui.target.embedded_keys import KeyIndexes, RememberedIds
from geode_tui.target.keys import comparable
from geode_tui.target.model import Key, NodeShape, Refused, RelationshipShape, Written
from geode_tui.target.patterns import node_pattern

REMEMBERED_IDS = 1_000_000
"""Most node ids kept in memory, about 150 bytes each."""
PAGE = 5_000
"""Ids in a range: nodes or relationships that one transaction changes."""
PARAMETER_ROWS = 2_000
"""Rows in a statement's parameters: the interpreter's lock is held while they are converted."""

REFUSALS = (grafeo.GrafeoError, ValueError, TypeError, OverflowError)
"""What Grafeo raises for a row that it cannot take, and for graver things: see `grave`."""
_OF_ROWS = ("grafeo-v", "grafeo-q")
"""How errors begin that a value or a statement has made."""
_IN_THE_WAY = ("conflict", "serialization", "deadlock", "timeout")
_TROUBLE = ("no space", "os error", "i/o", "closed", "corrupt", "disk", "poison", "read-only")


class Session:
    """An open Grafeo file, or one named graph in it. Safe for several threads."""

    def __init__(self, database: grafeo.GrafeoDB, path: Path, graph: str | None) -> None:
        self._database = database
        self._path = path
        self._graph_name = graph or ""
        self._graph: Any = database.graph(graph) if graph else database
        self._ids = RememberedIds(REMEMBERED_IDS)
        self._keys = KeyIndexes(self._graph_name, self.query, self._has_index)
        self._closed = False

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        return self.query_with(statement, None)

    def query_with(self, statement: str, parameters: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Run one statement with parameters and return its rows."""
        return [dict(row) for row in self._execute(statement, parameters)]

    def _execute(self, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        with told("the graph refused a statement"):
            return list(self._graph.execute(statement, parameters))

    def _number(self, statement: str, parameters: dict[str, Any] | None = None) -> int:
        rows = self.query_with(statement, parameters)
        return int(rows[0]["c"]) if rows else 0

    def _has_index(self, name: str) -> bool:
        return bool(self._graph.has_property_index(name))

    # -- nodes by key -----------------------------------------------------------------------------

    def _matched(self, variable: str, shape: NodeShape, prefix: str) -> str:
        """The pattern of the node of a key in `row`: the property that tells most comes first."""
        fields = [(shape.key[place], f"row.{prefix}{place}") for place in self._keys.order(shape)]
        return gql.node_with(variable, shape.label, fields)

    def _found(
        self, shape: NodeShape, keys: Sequence[Key], returned: str, where: str = ""
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """What `returned` gives of the nodes of the keys, with the key's position; `n` is one."""
        pattern = self._matched("n", shape, "k")
        statement = f"UNWIND $rows AS row MATCH {pattern} {where} RETURN row.i AS i, {returned}"
        for begin in range(0, len(keys), PARAMETER_ROWS):
            part = keys[begin : begin + PARAMETER_ROWS]
            rows = [keyed(shape, key, begin + number) for number, key in enumerate(part)]
            for row in self.query_with(statement, {"rows": rows}):
                yield row["i"], row

    def _nodes_of(self, shape: NodeShape, keys: Sequence[Key]) -> list[list[tuple[int, Any]]]:
        """The ids of the nodes of each key with their runs, the oldest first."""
        found: list[list[tuple[int, Any]]] = [[] for _ in keys]
        for place, row in self._found(shape, keys, f"id(n) AS id, {gql.member('n', RUN)} AS run"):
            found[place].append((row["id"], row["run"]))
        for nodes in found:
            nodes.sort(key=lambda node: node[0])
        return found

    def _node_ids(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None = None
    ) -> list[int | None]:
        """The id of the node of each key, that of `run` where there are others of the key."""
        found = self._ids.find(shape, run, keys)
        missing = {
            comparable(key): key for key, node in zip(keys, found, strict=True) if node is None
        }
        if not missing:
            return found
        candidates = self._nodes_of(shape, list(missing.values()))
        looked_up = {
            key: chosen(nodes, run) for key, nodes in zip(missing, candidates, strict=True) if nodes
        }
        self._ids.remember(shape, run, looked_up)
        return [
            node if node is not None else looked_up.get(comparable(key))
            for key, node in zip(keys, found, strict=True)
        ]

    # -- ranges of ids ----------------------------------------------------------------------------

    def _change_nodes(
        self, pattern: str, where: str, action: str, parameters: dict[str, Any] | None = None
    ) -> int:
        """Do something to every node `n` of a pattern and condition; returns how many."""
        given = dict(parameters or {})
        first, last, count = self._span(f"MATCH {pattern} WHERE {where}", "n", given)
        statement = (
            f"UNWIND range($first, $last) AS x MATCH {pattern} WHERE id(n) = x AND {where} {action}"
        )
        for low, high in ranges(first, last, PAGE):
            self._execute(statement, given | {"first": low, "last": high})
        return count

    def _span(self, match: str, variable: str, parameters: dict[str, Any]) -> tuple[int, int, int]:
        """The lowest and the highest id of what matches, and how many there are."""
        statement = (
            f"{match} RETURN min(id({variable})) AS a, max(id({variable})) AS b, "
            f"count({variable}) AS c"
        )
        [row] = self.query_with(statement, parameters)
        return (row["a"], row["b"], row["c"]) if row["c"] else (0, -1, 0)

    def _edges(
        self, match: str, type_name: str | None, parameters: dict[str, Any] | None = None
    ) -> Iterator[Any]:
        """The relationships `r` between the lowest and the highest id of what matches.

        Of that type if one is given. What has been removed meanwhile is left out; the caller
        checks the rest, for others lie between.
        """
        first, last, _ = self._span(match, "r", parameters or {})
        for edge_id in range(first, last + 1):
            edge = self._graph.get_edge(edge_id)
            if edge is not None and type_name in (None, edge.edge_type):
                yield edge

    def _is_between(self, edge: Any, shape: RelationshipShape) -> bool:
        start, end = self._graph.get_node(edge.source_id), self._graph.get_node(edge.target_id)
        return is_of(start, shape.start) and is_of(end, shape.end)

    def _each_or_all(self, rows: list[Any], write: Any) -> Written:
        """Write all rows at once; where the graph refuses, find the rows that it refuses."""
        if not rows:
            return Written(0)
        try:
            write(rows)
            return Written(len(rows))
        except REFUSALS as error:
            if (problem := grave(error)) is not None:
                raise problem from error
            if len(rows) == 1:
                return Written(0, (), (_refused(error),))
        middle = len(rows) // 2
        left = self._each_or_all(rows[:middle], write)
        right = self._each_or_all(rows[middle:], write)
        moved = (Refused(r.position + middle, r.error_class, r.reason) for r in right.refused)
        return Written(left.rows + right.rows, (), (*left.refused, *moved))


def ranges(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of `size` from `first` to `last`, both ends included."""
    for low in range(first, last + 1, size):
        yield low, min(low + size - 1, last)


def chosen(nodes: Sequence[tuple[int, Any]], run: str | None) -> int:
    """Of the nodes of a key: the one of the run, else one of any run, else any."""
    ours = next((node for node, own in nodes if own == run), None)
    if ours is not None:
        return ours
    return next((node for node, own in nodes if own is not None), nodes[0][0])


def keyed(shape: NodeShape, key: Key, number: int) -> dict[str, Any]:
    """A row that names the key's values `k0`, `k1`, … and its position `i`."""
    return {"i": number} | {f"k{n}": value for n, value in enumerate(key[: len(shape.key)])}


def from_starts(shape: RelationshipShape) -> str:
    """The clauses that match a shape's relationships from the start nodes of a range of ids.

    In two parts: in one, Grafeo would try every start for every id.
    """
    start, end = node_pattern("a", shape.start), node_pattern("b", shape.end)
    return (
        f"UNWIND range($first, $last) AS x MATCH {start} WHERE id(a) = x WITH a "
        f"MATCH (a){gql.relationship_with('r', shape.type)}{end}"
    )


def is_of(node: Any, shape: NodeShape) -> bool:
    """Whether a node (None: it is gone) is one of the shape."""
    if node is None or shape.label not in node.labels:
        return False
    return OF not in shape.key or node.properties().get(OF) == shape.of


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn Grafeo's errors into errors that a person reads."""
    try:
        yield
    except grafeo.GrafeoError as error:
        if "read-only transaction" in str(error):
            raise UsageError("the graph is open for reading only", str(error)) from error
        raise grave(error) or GeodeTuiError(what, str(error)) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(what, str(error)) from error


def grave(error: Exception) -> GeodeTuiError | None:
    """The error where the graph itself is busy or in trouble; None where a row or statement is."""
    message = str(error).lower()
    if message.startswith("grafeo-q003"):
        return BusyError("the graph did not answer in time", str(error), "try again")
    if message.startswith(_OF_ROWS):  # its text may quote any value
        return None
    transaction = message.startswith("grafeo-t")
    if transaction and any(sign in message for sign in _IN_THE_WAY):
        return BusyError("another writer is at the same node", str(error), "try again")
    if transaction or any(sign in message for sign in _TROUBLE):
        return _write_error(error)
    return _write_error(error) if isinstance(error, grafeo.DatabaseClosedError) else None


def _write_error(error: Exception) -> GeodeTuiError:
    message = str(error)
    full = "no space" in message.lower()
    what = "the disk of the graph is full" if full else "the graph cannot be written"
    next_step = "free space" if full else "check the disk"
    return ConnectError(what, message, f"{next_step}, then: geode-tui resume")


def _refused(error: Exception) -> Refused:
    """Why a row could not be written, in words where they are ours to choose."""
    if "UNIQUE" in str(error):
        return Refused(0, *UNIQUE)
    return Refused(0, "value", str(error))


UNIQUE = ("unique", "another node has the same key")
"""The class and the reason of a row whose key is taken."""
