"""An entity of a graph in files, as the engine knows entities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from geode_tui.mapping.model import OF
from geode_tui.target.file_formats import EntityHead, Shape
from geode_tui.target.file_records import DIGESTS, FileRecord
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape


@dataclass(frozen=True)
class FileEntity:
    """An entity of a graph in files: what the engine knows of it, and of its records."""

    head: EntityHead
    estimate: int | None
    place: int

    @property
    def id(self) -> str:
        """The id that the header gives."""
        return self.head.id

    @property
    def kind(self) -> Literal["node", "relationship"]:
        """Whether its records are nodes or relationships."""
        return self.head.kind

    @property
    def shape(self) -> Shape:
        """How it looks in the graph."""
        return self.head.shape

    @property
    def fingerprint_at(self) -> int:
        """The position of the fingerprint in a record."""
        return self.properties_at + len(self.shape.properties)

    @property
    def properties_at(self) -> int:
        """The position of the first property in a record."""
        if isinstance(self.shape, NodeShape):
            return 0
        return len(self.shape.start.key) + len(self.shape.end.key)

    def digest(self, rows: Sequence[FileRecord]) -> int:
        """The sum of what tells records apart, modulo 2**63; sums of parts add up."""
        at = self.fingerprint_at
        total = 0
        for row in rows:
            label = row[at + 1]
            if label is None:
                total += row[at]
            else:
                told = hashlib.sha256(f"{row[at]}/{label}/".encode()).digest()
                total += int.from_bytes(told[:6], "big")
        return total % DIGESTS

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of its ends."""
        return tuple(dict.fromkeys(name for name in (self.head.start, self.head.end) if name))

    @property
    def restarts(self) -> bool:
        """A file can be read from any chunk on."""
        return False

    def rejected(self, row: FileRecord) -> str | None:
        """What is in a checked file can be carried."""
        return None

    def values(self, row: FileRecord) -> tuple[Any, ...]:
        """What a target is given: keys, properties and the fingerprint."""
        return row[: self.fingerprint_at + 1]

    def label(self, row: FileRecord) -> str | None:
        """The label that a value of the record gave, None where none did."""
        label: str | None = row[self.fingerprint_at + 1]
        return label

    def line(self, row: FileRecord) -> int:
        """The line in which a record begins."""
        return int(row[-1])

    def properties(self, row: FileRecord) -> dict[str, Any]:
        """The property values of a record by name."""
        values = row[self.properties_at : self.fingerprint_at]
        return dict(zip(self.shape.properties, values, strict=True))

    def node_key(self, row: FileRecord) -> Key:
        """The key of the node that a record makes."""
        return tuple(row[place] for place in self.head.key_at)

    def relationship_key(self, row: FileRecord) -> RelationshipKey:
        """The keys of the relationship that a record makes."""
        assert isinstance(self.shape, RelationshipShape)
        first, second = len(self.shape.start.key), self.properties_at
        own = tuple(row[second + place] for place in self.head.key_at)
        return tuple(row[:first]), tuple(row[first:second]), own

    def key_text(self, row: FileRecord) -> str:
        """A record's key for a person: `id=12`."""
        if isinstance(self.shape, NodeShape):
            return _told(self.shape.key, self.node_key(row))
        start, end, _ = self.relationship_key(row)
        return f"({_told(self.shape.start.key, start)}) to ({_told(self.shape.end.key, end)})"

    def letter_place(self, row: FileRecord) -> tuple[str, ...] | None:
        """Where to read the record again (`GraphFiles.again`)."""
        return (*row[-3], str(row[-2]), str(row[-1]))


def _told(names: Sequence[str], values: Sequence[Any]) -> str:
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{name}={value}" for name, value in pairs if name != OF)
