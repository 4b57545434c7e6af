"""What a finished graph in files holds, found by reading it: counts, and records by their key."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import IO, Any

from geode_tui.errors import UsageError
from geode_tui.mapping.model import FINGERPRINT
from geode_tui.target.file_check import Counted
from geode_tui.target.file_entity import FileEntity
from geode_tui.target.file_formats import Shape
from geode_tui.target.file_reading import GraphFiles, open_graph_files
from geode_tui.target.file_records import FileRecord, labels_of
from geode_tui.target.keys import comparable
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape, Row

_READ_ROWS = 5_000
_RANGE_BYTES = 1 << 40
_DIGEST_BYTES = 16
_BUCKETS = 64


class FinishedGraph:
    """A finished graph in files, checked when it is opened."""

    def __init__(self, files: GraphFiles, counted: dict[str, Counted]) -> None:
        self._files = files
        self._entities = {entity.shape: entity for entity in files.entities}
        self._counted = counted

    @classmethod
    def open(cls, place: str) -> FinishedGraph:
        """Read all of it once. Raises UsageError where it is damaged."""
        files = open_graph_files(place)
        return cls(files, files.check().counted)

    def close(self) -> None:
        """Let the files go."""
        self._files.close()

    @property
    def nodes(self) -> list[NodeShape]:
        """The shapes of nodes."""
        return [shape for shape in self._entities if isinstance(shape, NodeShape)]

    @property
    def relationships(self) -> list[RelationshipShape]:
        """The shapes of relationships."""
        return [shape for shape in self._entities if isinstance(shape, RelationshipShape)]

    def counted(self, shape: Shape) -> Counted:
        """What was counted of a shape."""
        entity = self._entities.get(shape)
        return self._counted[entity.id] if entity else Counted()

    def labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a label."""
        counted = self.counted(shape)
        if label in (shape.label, *shape.labels):
            return counted.records
        return counted.labels[label]

    def present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property."""
        counted = self.counted(shape)
        return counted.present[shape.properties.index(name)] if counted.present else 0

    def duplicates(self, shape: Shape) -> tuple[int, int]:
        """The identities that more than one record has, and the records beyond the first."""
        entity = self._entities.get(shape)
        if entity is None:
            return 0, 0
        identity = _identity(entity)
        return _duplicates(identity(row) for rows in self._rows(entity) for row in rows)

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none."""
        found: list[dict[str, Any] | None] = [None] * len(keys)
        for entity, place, row in self._found(shape, keys, FileEntity.node_key):
            found[place] = _told(entity, row)
        return found

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node."""
        found: list[frozenset[str]] = [frozenset()] * len(keys)
        for entity, place, row in self._found(shape, keys, FileEntity.node_key):
            found[place] = frozenset(labels_of(shape, entity.label(row)))
        return found

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[dict[str, Any]]]:
        """The properties of the relationships at each key."""
        found: list[list[dict[str, Any]]] = [[] for _ in keys]
        for entity, place, row in self._found(shape, keys, FileEntity.relationship_key):
            found[place].append(_told(entity, row))
        return found

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has."""
        wanted = set(fingerprints)
        return {row[entity.fingerprint_at] for entity, row in self._marked(shape, wanted)}

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit`."""
        marked = self._marked(shape, set(fingerprints))
        return [_told(entity, row) for (entity, row), _ in zip(marked, range(limit), strict=False)]

    def scan_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[Key, Row]]]:
        """The key and some properties of every node of a shape, in lists."""
        entity = self._entity(shape)
        places = [entity.properties_at + shape.properties.index(name) for name in names]
        for some in self._rows(entity, rows):
            yield [(entity.node_key(row), tuple(row[n] for n in places)) for row in some]

    def scan_relationships(
        self, shape: RelationshipShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[RelationshipKey, Row]]]:
        """The key and some properties of every relationship of a shape, in lists."""
        entity = self._entity(shape)
        places = [entity.properties_at + shape.properties.index(name) for name in names]
        for some in self._rows(entity, rows):
            yield [(entity.relationship_key(row), tuple(row[n] for n in places)) for row in some]

    def _entity(self, shape: Shape) -> FileEntity:
        entity = self._entities.get(shape)
        if entity is None:
            raise UsageError("the files hold no such entity", "", "look at their header")
        return entity

    def _rows(self, entity: FileEntity, limit: int = _READ_ROWS) -> Iterator[list[FileRecord]]:
        for low, high in self._files.cut(entity, _RANGE_BYTES):
            yield from self._files.rows(entity, low, high, limit)

    def _found(
        self,
        shape: Shape,
        keys: Sequence[Any],
        key_of: Callable[[FileEntity, FileRecord], Any],
    ) -> Iterator[tuple[FileEntity, int, FileRecord]]:
        """The records with one of the keys, each with the key's place."""
        entity = self._entities.get(shape)
        if entity is None or not keys:
            return
        wanted: dict[Any, list[int]] = {}
        for place, key in enumerate(keys):
            wanted.setdefault(comparable(key), []).append(place)
        for rows in self._rows(entity):
            for row in rows:
                for place in wanted.get(comparable(key_of(entity, row)), ()):
                    yield entity, place, row

    def _marked(
        self, shape: NodeShape, wanted: set[int]
    ) -> Iterator[tuple[FileEntity, FileRecord]]:
        entity = self._entities.get(shape)
        if entity is None:
            return
        for rows in self._rows(entity):
            yield from ((entity, row) for row in rows if row[entity.fingerprint_at] in wanted)


def _told(entity: FileEntity, row: FileRecord) -> dict[str, Any]:
    """The properties that a node or relationship made of a record has."""
    present = {name: v for name, v in entity.properties(row).items() if v is not None}
    return present | {FINGERPRINT: row[entity.fingerprint_at]}


def _identity(entity: FileEntity) -> Callable[[FileRecord], Any]:
    """What no two records of an entity have in common."""
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return entity.node_key
    if not shape.owned:
        return entity.relationship_key

    def of_start(row: FileRecord) -> Any:
        start, _, own = entity.relationship_key(row)
        return start, own

    return of_start


def _duplicates(identities: Iterable[Any]) -> tuple[int, int]:
    """How many identities there are more than once, and how many there are beyond the first.

    Their digests go to files first, so that only a small part of them is in memory at a time.
    """
    buckets: list[IO[bytes]] = []
    try:
        buckets += (
            tempfile.TemporaryFile()  # noqa: SIM115
            for _ in range(_BUCKETS)
        )
        for identity in identities:
            text = repr(_written_alike(comparable(identity)))
            digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
            buckets[digest[0] % _BUCKETS].write(digest)
        several = more = 0
        for bucket in buckets:
            bucket.seek(0)
            counts = Counter(iter(lambda: bucket.read(_DIGEST_BYTES), b""))  # noqa: B023
            several += sum(count > 1 for count in counts.values())
            more += counts.total() - len(counts)
        return several, more
    finally:
        for bucket in buckets:
            bucket.close()


def _written_alike(value: Any) -> Any:
    """Equal decimals are written alike: 1.50 is 1.5."""
    if isinstance(value, tuple):
        return tuple(map(_written_alike, value))
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value
