"""What the engine asks of a graph, whichever graph it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the target said of itself."""

    kind: str
    version: str
    place: str
    graph: str
    nodes: int
    relationships: int


@dataclass(frozen=True, slots=True)
class NodeShape:
    """A label with its key and all properties that nodes of it get (graph names).

    `labels` are further labels of every node, `by_value` those that some nodes get. `of` is the
    value of the property `_of` where several rules share a label, else empty.
    """

    label: str
    key: tuple[str, ...]
    properties: tuple[str, ...]
    types: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    by_value: tuple[str, ...] = ()
    of: str = ""


@dataclass(frozen=True, slots=True)
class RelationshipShape:
    """A relationship type between two labels.

    `key` names the properties that tell apart relationships between the same two nodes.
    `owned` says that each start node has at most one relationship of this rule (a foreign key).
    """

    type: str
    start: NodeShape
    end: NodeShape
    key: tuple[str, ...]
    properties: tuple[str, ...]
    types: tuple[str, ...] = ()
    owned: bool = False


@dataclass(frozen=True, slots=True)
class NodeBatch:
    """Nodes to write: `rows` hold the values of `shape.properties`, then the fingerprint.

    `by_value` holds for each row the further label that a value of it gives, None for none; it is
    empty where the shape has no such labels.
    """

    shape: NodeShape
    rows: Sequence[Row]
    run: str
    by_value: Sequence[str | None] = ()


@dataclass(frozen=True, slots=True)
class RelationshipBatch:
    """Relationships to write.

    `rows` hold the start's key, the end's key, the values of `shape.properties`, then the
    fingerprint.
    """

    shape: RelationshipShape
    rows: Sequence[Row]
    run: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the target could not take: its position in the batch, and why."""

    position: int
    error_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch; every row of it is counted once."""

    rows: int
    orphans: tuple[int, ...] = ()
    refused: tuple[Refused, ...] = ()


class Target(Protocol):
    """A graph that can be written and read.

    Methods block and may be called from several threads at once; each write is one transaction.
    They raise GeodeTuiError.
    """

    @property
    def place(self) -> str:
        """Where the graph is, without secrets."""
        ...

    def describe(self) -> TargetFacts:
        """What the target is and holds."""
        ...

    def prepare(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Make indexes, then uniqueness, for each label; returns the statements that ran."""
        ...

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes in one transaction; `repeated` says that some may be there already."""
        ...

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships in one transaction; a row whose end is not there is an orphan."""
        ...

    def count_nodes(self, shape: NodeShape) -> int:
        """How many nodes there are of the shape, told apart from others with its label."""
        ...

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a further label."""
        ...

    def count_label(self, label: str) -> int:
        """How many nodes have the label, whatever made them."""
        ...

    def count_present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property that is not null."""
        ...

    def count_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships of the type lead from the start's label to the end's."""
        ...

    def count_type(self, type_name: str) -> int:
        """How many relationships have the type, whatever their ends."""
        ...

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """How many keys are on more than one node."""
        ...

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships are there more than once."""
        ...

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none."""
        ...

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node."""
        ...

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[tuple[Key, Key, Key]]
    ) -> list[list[dict[str, Any]]]:
        """For each start key, end key and own key: the properties of the relationships there."""
        ...

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has (a scan)."""
        ...

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit` (a scan)."""
        ...

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the nodes of a shape that a run wrote, with their relationships."""
        ...

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the relationships of a shape that a run wrote."""
        ...

    def delete_run(self, run: str) -> tuple[int, int]:
        """Remove all that a run wrote; returns how many nodes and relationships."""
        ...

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable and compact."""
        ...

    def close(self) -> None:
        """Let the graph go."""
        ...
