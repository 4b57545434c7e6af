"""Where a run's rows come from: a database, or files; one protocol for both.

The engine asks an origin for the run's entities, cuts them into chunks, and gives each worker a
feed: a session of its own that reads the rows of one chunk after the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from typing import Any, Literal, Protocol

from geode_tui.mapping.assess import Finding
from geode_tui.migration.chunks import Chunk, Range
from geode_tui.source.load import LoadProbe
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape, Target
from geode_tui.validation.entity import Record
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.left_out import LeftOut


class Movable(Protocol):
    """What the engine knows of an entity, whether it comes from a table or from a file.

    `validation.entity.Entity` is one. A record of it is a tuple: keys of both ends (of a
    relationship), the properties, the fingerprint, and more that only the entity understands.
    """

    @property
    def id(self) -> str:
        """The rule's id."""
        ...

    @property
    def kind(self) -> Literal["node", "relationship"]:
        """Whether it makes nodes or relationships."""
        ...

    @property
    def shape(self) -> NodeShape | RelationshipShape:
        """How its things look in the graph."""
        ...

    @property
    def estimate(self) -> int | None:
        """About how many rows there are, None where nobody knows."""
        ...

    def digest(self, rows: Sequence[Record]) -> int:
        """The sum of what tells records apart, modulo 2**63; sums of parts add up."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the entities that must be done before this one: its ends."""
        ...

    @property
    def restarts(self) -> bool:
        """Whether it can only be read from its beginning again after the snapshot is gone."""
        ...

    def rejected(self, row: Record) -> str | None:
        """Why a record cannot be carried, None when it can."""
        ...

    def values(self, row: Record) -> tuple[Any, ...]:
        """What a target is given: keys, properties and the fingerprint."""
        ...

    def label(self, row: Record) -> str | None:
        """The label that a value of the record gives, None where none does."""
        ...

    def properties(self, row: Record) -> dict[str, Any]:
        """The property values of a record by name."""
        ...

    def node_key(self, row: Record) -> Key:
        """The key of the node that a record makes."""
        ...

    def relationship_key(self, row: Record) -> RelationshipKey:
        """The keys of the relationship that a record makes."""
        ...

    def key_text(self, row: Record) -> str:
        """A record's key for a person: `id=12`."""
        ...

    def letter_place(self, row: Record) -> tuple[str, ...] | None:
        """Where to read the record again, None where that is not possible."""
        ...


class Feed(Protocol):
    """A session that reads chunks. It raises LostError when it broke and can be replaced."""

    def rows(self, entity: Any, chunk: Chunk, limit: int) -> AsyncIterator[Sequence[Record]]:
        """The records of a chunk in lists of at most `limit`, read as they are wanted."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...


class FeedPlan(Protocol):
    """What a worker needs to open a feed; it can be given to another process (pickled)."""

    async def open(self) -> Feed:
        """A new session on the snapshot. Raises SnapshotLostError when that is gone."""
        ...


class Origin(Protocol):
    """The side that rows come from, for one run."""

    @property
    def identity(self) -> str:
        """What tells this source from another: a resumed run must find the same."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the assessment found, once the entities were asked for."""
        ...

    async def open(self) -> None:
        """Connect, or open and check the files. Raises GeodeTuiError."""
        ...

    async def entities(self) -> Sequence[Any]:
        """The entities to move (`Movable`), checked. Raises GeodeTuiError."""
        ...

    async def fields(self) -> dict[str, str]:
        """What must be the same when the run goes on, field by field, as names and texts."""
        ...

    def load_probe(self) -> LoadProbe | None:
        """What tells the governor how the source fares, None where there is nothing to ask."""
        ...

    async def begin(self) -> str:
        """Take a snapshot that all feeds share, and return its fence (its name for a person)."""
        ...

    async def alive(self) -> bool:
        """Whether the snapshot is still held; asking also keeps it from being cut as idle."""
        ...

    async def cut(self, entity: Any) -> list[Range]:
        """The chunks to read an entity in."""
        ...

    def feed_plan(self) -> FeedPlan:
        """What a worker needs to open a feed on the present snapshot."""
        ...

    async def digest(self, entity: Any, chunk: Chunk) -> tuple[int, int]:
        """The rows of a chunk in the present snapshot, and the sum of their fingerprints."""
        ...

    async def ledger(
        self,
        target: Target,
        entities: Sequence[Any],
        left_out: Mapping[str, LeftOut],
        before: Mapping[str, int],
        progress: Callable[[str], None],
        runs: Set[str] = frozenset(),
    ) -> Ledger:
        """Compare both sides under the snapshot; `before` is what was in the graph already.

        `runs` are the marks of the runs that wrote since.
        """
        ...

    async def end(self) -> None:
        """Let the snapshot go."""
        ...

    async def close(self) -> None:
        """Let the source go."""
        ...
