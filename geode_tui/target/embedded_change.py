"""What changes things that are in the embedded graph: rollback, reconciliation, a new mapping.

Everything here can be done again after it was interrupted, and leaves alone what no run wrote:
nodes and relationships without `_run` are somebody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from geode_tui.errors import BusyError, GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.mapping.model import RUN, STEP
from geode_tui.target.embedded_read import Reading, after
from geode_tui.target.embedded_session import (
    PARAMETER_ROWS,
    chosen,
    keyed,
    node_pattern,
    relationship_pattern,
    told,
)
from geode_tui.target.model import (
    Key,
    NodeImage,
    NodeShape,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
)

_STAMPED = f"{gql.member('n', RUN)} IS NOT NULL"
_START_PAGE = 1_000
_TYPE_ROWS = 5_000


class Changing(Reading):
    """The part of the embedded graph that changes what is there."""

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
        properties that are as in the image are not written again. Where several nodes have the
        key it is the one of `run`, else one of any run. A node that no run wrote stays as it is,
        unless the image is of such a node itself.
        """
        there = self._wholes(shape, [key for key, _ in images], run)
        removed, made = [], []
        changes: dict[_Labels, list[dict[str, Any]]] = defaultdict(list)
        for (_, image), whole in zip(images, there, strict=True):
            if whole is None:
                made += [image] if image is not None else []
            elif image is None:
                removed += [whole[0]] if RUN in whole[1].properties else []
            elif RUN in whole[1].properties or RUN not in image.properties:
                labels, changed = _difference(whole[1], image)
                if changed or labels != _SAME_LABELS:
                    changes[labels].append({"i": whole[0], "p": changed})
            else:
                made.append(image)
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
                _run_parts(open_, create + _Labels(tuple(others), ()).clauses(), rows)
            open_.commit()
