"""The embedded graph: Grafeo, in process, in one file.

First writes take Grafeo's batch calls. Where something may be there already (a repeated chunk, or
a label without a uniqueness constraint) keys are looked up first, through the index 200 thousand a
second; what another run or program made is never changed. Relationships are made between node
ids; the ids of nodes just written are remembered (bounded), others are looked up by key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grafeo

from geode_tui.errors import BusyError, ConnectError, GeodeTuiError, UsageError
from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, RUN, STEP
from geode_tui.target.embedded_change import Changing
from geode_tui.target.embedded_keys import preparation
from geode_tui.target.embedded_session import UNIQUE, is_of, told
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipShape,
    Row,
    Written,
)

CHECKPOINT_BYTES = 256 * 1024 * 1024


class EmbeddedGraph(Changing):
    """A Grafeo file, or one named graph in it; open for one process at a time.

    What it tells and how it changes what is there is in `embedded_read` and `embedded_change`.
    """

    many_processes = False
    writers_collide = False

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

    def prepare(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Make indexes, then uniqueness, for each label; returns the statements that ran."""
        return self._keys.prepare(nodes)

    def missing(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements that `prepare` would run now."""
        return self._keys.missing(nodes)

    def statements(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements by which `prepare` makes what these nodes need, ran or not."""
        return preparation(self._graph_name, nodes)

    def unprepare(self, statements: Sequence[str]) -> None:
        """Drop the indexes and constraints that these statements of `prepare` made."""
        self._keys.unprepare(statements)

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes; rows the graph refuses are told apart one by one.

        One transaction for each further label that rows get by their values.
        """
        plan = _NodePlan(batch, [_filled(batch, row) for row in batch.rows])
        with self._keys.writing(batch.shape, plan.rows):
            return self._carry_out(plan, repeated)

    def _carry_out(self, plan: _NodePlan, repeated: bool) -> Written:
        batch = plan.batch
        if repeated or not self._keys.is_unique(batch.shape):
            self._sort_out(plan, repeated)
        else:
            plan.create = list(range(len(batch.rows)))
        written = 0
        for label, places in plan.by_label(plan.create):
            labels = _labels(batch.shape, label)
            result = self._each_or_all(
                plan.picked(places),
                lambda part, labels=labels: self._create_nodes(plan, labels, part),
            )
            written += plan.count(result, places)
        for label, places in plan.by_label(list(plan.replace)):
            labels = _labels(batch.shape, label)
            rows = [{"i": plan.replace[place], "p": plan.rows[place]} for place in places]
            result = self._each_or_all(
                rows, lambda part, labels=labels: self._replace_nodes(batch.shape, labels, part)
            )
            written += plan.count(result, places)
        refused = sorted(plan.refused, key=lambda refused: refused.position)
        return Written(written, (), tuple(refused))

    def _sort_out(self, plan: _NodePlan, repeated: bool) -> None:
        """Look keys up: what is to be made, what to be replaced, and what is another's."""
        shape, run = plan.batch.shape, plan.batch.run
        keys = [tuple(row[name] for name in shape.key) for row in plan.rows]
        seen = set()
        for place, nodes in enumerate(self._nodes_of(shape, keys)):
            key = comparable(keys[place])
            ours = next((node for node, own in nodes if own == run), None)
            if None not in key and key in seen:
                plan.refused.append(Refused(place, *UNIQUE))
            elif not nodes:
                plan.create.append(place)
            elif ours is not None and repeated:
                plan.replace[place] = ours
            else:
                plan.refused.append(Refused(place, *UNIQUE))
            seen.add(key)

    def _create_nodes(self, plan: _NodePlan, labels: list[str], rows: list[dict[str, Any]]) -> None:
        ids = self._graph.batch_create_nodes_with_props(labels, rows)
        self._ids.add(plan.batch.shape, plan.batch.run, rows, ids)

    def _replace_nodes(
        self, shape: NodeShape, labels: list[str], rows: list[dict[str, Any]]
    ) -> None:
        statement = "UNWIND $rows AS row MATCH (n) WHERE id(n) = row.i SET n = row.p"
        for label in labels[1:]:
            statement += f" SET n:{gql.quoted(label)}"
        for label in (label for label in shape.by_value if label not in labels):
            statement += f" REMOVE n:{gql.quoted(label)}"
        [row] = self._graph.execute(f"{statement} RETURN count(n) AS c", {"rows": rows})
        if row["c"] != len(rows):
            raise BusyError(
                "the graph is changed by others meanwhile", "nodes are gone", "try again"
            )

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships in one transaction; a row whose end is not there is an orphan."""
        shape = batch.shape
        first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
        starts = self._node_ids(shape.start, [row[:first] for row in batch.rows], batch.run)
        ends = self._node_ids(shape.end, [row[first:second] for row in batch.rows], batch.run)
        orphans, edges, places = [], [], []
        for position, (row, start, end) in enumerate(zip(batch.rows, starts, ends, strict=True)):
            if start is None or end is None:
                orphans.append(position)
                continue
            places.append(position)
            edges.append((start, end, shape.type, _filled(batch, row[second:])))
        there = 0
        if repeated:
            left = self._without_present(shape, batch.run, batch.step, edges)
            there = len(edges) - len(left)
            edges, places = [edges[n] for n in left], [places[n] for n in left]
        written = self._each_or_all(edges, self._graph.batch_create_edges)
        refused = tuple(
            Refused(places[r.position], r.error_class, r.reason) for r in written.refused
        )
        return Written(written.rows + there, tuple(orphans), refused)

    def _without_present(
        self, shape: RelationshipShape, run: str, step: int, edges: list[Any]
    ) -> list[int]:
        """The positions of what an interrupted attempt of this run has not written yet.

        What it wrote and is no more true goes, so that it can be written anew.
        """
        wanted: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        stale: list[int] = []
        for place, edge in enumerate(edges):
            key = comparable(edge[3][name] for name in shape.key)
            wanted[(edge[0], edge[1], *key)].append(place)
        left = set(range(len(edges)))
        for identity, edge_id, own in self._present(shape, set(wanted)):
            if own.get(RUN) != run or own.get(STEP) != step:
                continue  # another row's, which leads between the same nodes, or did
            same = (n for n in wanted[identity] if n in left and _is_same(edges[n][3], own))
            number = next(same, None)
            if number is None:
                stale.append(edge_id)
            else:
                left.remove(number)
        with told("the graph does not let go of a relationship"):
            for edge_id in stale:
                self._graph.delete_edge(edge_id)
        return sorted(left)

    def _present(
        self, shape: RelationshipShape, identities: set[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], int, dict[str, Any]]]:
        """The relationships with these identities; of a foreign key all that the starts have."""
        if not shape.owned:
            for identity, some in self._between(shape, identities).items():
                yield from ((identity, edge, own) for edge, own in some)
            return
        for start in {identity[0] for identity in identities}:
            for end, edge_id in self._graph.get_node_edges(start, "out", [shape.type]):
                edge = self._graph.get_edge(edge_id)
                if edge is not None and is_of(self._graph.get_node(end), shape.end):
                    own = edge.properties()
                    yield (start, end, *comparable(own.get(n) for n in shape.key)), edge_id, own

    def flush(self) -> None:
        """Write a checkpoint: the file is whole and the log before it is gone."""
        with told("cannot write the checkpoint"):
            self._database.wal_checkpoint()

    def close(self) -> None:
        """Close the file; another process may open it then."""
        if self._closed:
            return
        self._closed = True
        self._graph = None
        with told("cannot close the graph"):
            self._database.close()


@dataclass
class _NodePlan:
    """What is to become of each row of a batch, by its position."""

    batch: NodeBatch
    rows: list[dict[str, Any]]
    create: list[int] = field(default_factory=list)
    replace: dict[int, int] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    def by_label(self, places: Sequence[int]) -> list[tuple[str | None, Sequence[int]]]:
        """The positions apart by the label that the row's value gives."""
        if not self.batch.by_value:
            return [(None, places)]
        apart: dict[str | None, list[int]] = defaultdict(list)
        for place in places:
            apart[self.batch.by_value[place]].append(place)
        return list(apart.items())

    def picked(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """The rows at some positions."""
        return [self.rows[place] for place in places]

    def count(self, written: Written, places: Sequence[int]) -> int:
        """Note what the graph refused of the rows at some positions; how many it took."""
        self.refused += [replace(r, position=places[r.position]) for r in written.refused]
        return written.rows


def _labels(shape: NodeShape, by_value: str | None) -> list[str]:
    labels = [shape.label, *shape.labels]
    if by_value is not None and by_value not in labels:
        labels.append(by_value)
    return labels


def _filled(batch: NodeBatch | RelationshipBatch, values: Row) -> dict[str, Any]:
    """The properties of a row, with its fingerprint and who wrote it when."""
    filled = dict(zip((*batch.shape.properties, FINGERPRINT), values, strict=True))
    filled[RUN], filled[STEP] = batch.run, batch.step
    return filled


def _is_same(wanted: dict[str, Any], there: dict[str, Any]) -> bool:
    return bool(wanted[FINGERPRINT] == there.get(FINGERPRINT))


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
