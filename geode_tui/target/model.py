"""What the engine asks of a graph, whichever graph it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]
Key = tuple[Any, ...]
Parts = dict[int | None, tuple[int, int]]
"""How many rows each part has, and their sum; None is the part of those without a digest."""


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
    step: int = 0


@dataclass(frozen=True, slots=True)
class RelationshipBatch:
    """Relationships to write.

    `rows` hold the start's key, the end's key, the values of `shape.properties`, then the
    fingerprint.
    """

    shape: RelationshipShape
    rows: Sequence[Row]
    run: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class NodeImage:
    """A node as it is: its labels and all its properties, those of ours too."""

    labels: tuple[str, ...]
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RelationshipImage:
    """A relationship as it is: its properties, those of ours too."""

    properties: dict[str, Any]


RelationshipKey = tuple[Key, Key, Key]
"""The start's key, the end's key, and the relationship's own key."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A node's or a relationship's key, its digest, and the run that wrote it, where it has them.

    What is not of the type that it should be is None.
    """

    key: Key | RelationshipKey
    mark: int | None
    run: str | None


@dataclass(frozen=True, slots=True)
class Whole:
    """A node or a relationship with all that it has; relationships have no labels."""

    key: Key | RelationshipKey
    properties: dict[str, Any]
    labels: frozenset[str] = frozenset()


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


Statement = tuple[str, Mapping[str, Any]]
"""A statement and its parameters."""
Answers = list[list[dict[str, Any]]]
"""The rows of each of several statements."""


class Target(Protocol):
    """A graph that can be written and read.

    Methods block and may be called from several threads at once; each write is one transaction.
    They raise GeodeTuiError: LostError or BusyError where trying again may help.

    `many_processes` says that several processes may write at once, `writers_collide` that two
    transactions which touch one node at the same time are in each other's way. Everything written
    carries the run (`_run`) and its step (`_step`). A write never changes what another run wrote:
    a node with the same key that is of another run makes the row refused (`unique`).
    """

    many_processes: bool
    writers_collide: bool

    @property
    def place(self) -> str:
        """Where the graph is, without secrets."""
        ...

    def describe(self) -> TargetFacts:
        """What the target is and holds."""
        ...

    @property
    def probed(self) -> Any:
        """What was found out of the target and another process need not ask; can be pickled."""
        ...

    def facts(self) -> list[tuple[str, str]]:
        """What was found out of the target and decides how it is written, by name, in words."""
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

    def missing(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements that `prepare` would run now, to be journaled before it does."""
        ...

    def statements(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements by which `prepare` makes what these nodes need, ran or not."""
        ...

    def unprepare(self, statements: Sequence[str]) -> None:
        """Drop the indexes and constraints that these statements of `prepare` made."""
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

    def count_keyed(self, shape: NodeShape, keys: Sequence[Key]) -> list[int]:
        """How many nodes have each key."""
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

    # -- digests ----------------------------------------------------------------------------------

    def digest_parts(self, shape: NodeShape | RelationshipShape, parts: int, modulus: int) -> Parts:
        """Everything of a shape by `_fp % parts`: how many, and the sum of `_fp % modulus`."""
        ...

    def in_parts(
        self, shape: NodeShape | RelationshipShape, parts: int, wanted: Sequence[int | None]
    ) -> Iterator[list[Marked]]:
        """What of a shape is in some parts, in lists."""
        ...

    def scan_whole(self, shape: NodeShape | RelationshipShape, rows: int) -> Iterator[list[Whole]]:
        """Everything of a shape, whatever wrote it, as it is, in lists of about `rows`."""
        ...

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the nodes of a shape that a run wrote, with their relationships."""
        ...

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the relationships of a shape that a run wrote."""
        ...

    def delete_after(self, run: str, step: int) -> tuple[int, int]:
        """Remove all that a run wrote in steps after `step` (0: all), relationships first.

        In transactions of bounded size; repeatable after an interruption. Returns how many nodes
        and relationships.
        """
        ...

    def count_after(self, run: str, step: int) -> tuple[int, int]:
        """How many nodes and relationships a run wrote in steps after `step`."""
        ...

    def count_of_run(self, shape: NodeShape | RelationshipShape, run: str) -> int:
        """How many nodes or relationships of a shape a run wrote."""
        ...

    # -- what a step wrote, and putting back what was there ---------------------------------------

    def node_keys(self, shape: NodeShape, run: str, steps: Sequence[int]) -> list[tuple[int, Key]]:
        """The step and the key of every node of a shape that a run wrote in some steps (a scan)."""
        ...

    def relationship_keys(
        self, shape: RelationshipShape, run: str, steps: Sequence[int]
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of every relationship that a run wrote in some steps (a scan)."""
        ...

    def node_images(
        self, shape: NodeShape, keys: Sequence[Key], run: str | None = None
    ) -> list[NodeImage | None]:
        """The node of each key as it is, None where there is none; of several that of `run`."""
        ...

    def relationship_images(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey], run: str | None = None
    ) -> list[RelationshipImage | None]:
        """The relationship of each key as it is, None where there is none; see `node_images`."""
        ...

    def leading_from(
        self, shape: RelationshipShape, starts: Sequence[Key], run: str
    ) -> list[tuple[int, RelationshipKey]]:
        """The step and the key of what a run wrote of a shape and leads away from some nodes."""
        ...

    def put_nodes(
        self,
        shape: NodeShape,
        images: Sequence[tuple[Key, NodeImage | None]],
        run: str | None = None,
    ) -> None:
        """Make the node of each key what the image says: made, replaced or (None) removed.

        In one transaction, repeatable. A node that stays keeps its relationships. With `run` the
        nodes of other runs stay as they are.
        """
        ...

    def put_relationships(
        self,
        shape: RelationshipShape,
        images: Sequence[tuple[RelationshipKey, RelationshipImage | None]],
        run: str | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        """Make the relationship of each key what the image says; see `put_nodes`.

        A relationship of which an end is not there is left out. With `steps` those that other
        steps wrote stay as they are, also between the same two nodes.
        """
        ...

    # -- leading a live graph from one mapping to the next ----------------------------------------

    def scan_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[Key, Row]]]:
        """The key and some properties of every node of a shape, in lists of about `rows`."""
        ...

    def scan_relationships(
        self, shape: RelationshipShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[RelationshipKey, Row]]]:
        """The key and some properties of every relationship of a shape, in lists."""
        ...

    def update_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: Sequence[tuple[Key, Row]]
    ) -> int:
        """Set some properties (None removes one) of the nodes of some keys; how many there were."""
        ...

    def update_relationships(
        self,
        shape: RelationshipShape,
        names: Sequence[str],
        rows: Sequence[tuple[RelationshipKey, Row]],
    ) -> int:
        """Set some properties (None removes one) of the relationships of some keys."""
        ...

    def rename_property(self, shape: NodeShape | RelationshipShape, old: str, new: str) -> int:
        """Give a property another name wherever it is; how many had it. Repeatable."""
        ...

    def remove_property(self, shape: NodeShape | RelationshipShape, name: str) -> int:
        """Remove a property; how many had it. Repeatable."""
        ...

    def add_label(self, shape: NodeShape, label: str) -> int:
        """Give every node of a shape one more label. Repeatable."""
        ...

    def remove_label(self, shape: NodeShape, label: str) -> int:
        """Take a label (not the shape's own first one alone) from every node of a shape."""
        ...

    def rename_type(self, shape: RelationshipShape, new: str) -> int:
        """Give the relationships of a shape another type, all properties kept. Repeatable."""
        ...

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        ...

    def run_together(
        self, statements: Sequence[Statement], check: Callable[[Answers], None]
    ) -> None:
        """Run statements with parameters in one transaction, which `check` may still undo.

        It is given the rows of each statement, and undoes all by raising an error.
        """
        ...

    def flush(self) -> None:
        """Make everything written so far durable and compact."""
        ...

    def close(self) -> None:
        """Let the graph go."""
        ...
