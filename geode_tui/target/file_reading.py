"""Graphs in files, read: checked whole in one pass, then in chunks, in memory that does not grow.

`open_graph_files` reads the header. `check` reads everything once and tells what is damaged, with
the line, before anything is written anywhere. `cut` and `rows` read an entity in chunks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

from geode_tui.errors import UsageError
from geode_tui.mapping.model import FINGERPRINT, OF
from geode_tui.target.compression import ByteStream, DamagedStreamError, suffix_of
from geode_tui.target.file_formats import (
    HEADER_FILE,
    EntityHead,
    FileForm,
    Header,
    Shape,
    csv_header,
    form_of,
    id_cells,
    label_cell,
    labels_of,
    read_header,
)
from geode_tui.target.file_parsing import (
    CsvText,
    DamagedError,
    Group,
    JsonText,
    Place,
    cells_of,
    document_parts,
    element_groups,
    line_groups,
)
from geode_tui.target.file_values import BadValueError, Codec, codec_of, json_value, text_of
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape

FileRecord = tuple[Any, ...]
"""Keys of both ends (of a relationship), the properties, the fingerprint, the label that a value
gives, the cursor at which to read on, the line."""
Cursor = tuple[str, ...]
Fingerprint = Callable[[Iterable[tuple[Any, str]]], int]
Progress = Callable[[int, int], None]

SPAN_BYTES = 1024 * 1024
"""Where chunks can be cut: about so many bytes apart."""
MOST_SPANS = 100_000
"""Most places remembered for one entity; of a bigger file each place covers more bytes."""
YIELD_BYTES = 8 * 1024 * 1024
_MASK = (1 << 63) - 1


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
        return (*row[-2], str(row[-1]))


def _told(names: Sequence[str], values: Sequence[Any]) -> str:
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{name}={value}" for name, value in pairs if name != OF)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one pass found of an entity.

    `digest` is the sum of the fingerprints in 63 bits, `labels` how many records have each label
    that a value gives, `present` how many have each property.
    """

    records: int = 0
    digest: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    present: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: `identity` tells these very files from all others, `bytes` on disk."""

    identity: str
    bytes: int
    counted: dict[str, Counted]

    @property
    def records(self) -> dict[str, int]:
        """The number of records of each entity."""
        return {name: counted.records for name, counted in self.counted.items()}


@dataclass(slots=True)
class _Span:
    """Bytes in which an entity has records; `member` is where decompressing may begin."""

    start: Place
    end: int
    member: tuple[int, int]


class GraphFiles:
    """A graph in files, open for reading by one thread at a time."""

    def __init__(self, path: Path, form: FileForm, header: Header) -> None:
        self.path = path
        self.form = form
        self.header = header
        self._decoders = [_decoder(head, form) for head in header.entities]
        self._by_id = {(head.kind, head.id): n for n, head in enumerate(header.entities)}
        self._spans: list[list[_Span]] | None = None
        self._checked: Checked | None = None
        self._streams: dict[Path, ByteStream] = {}

    @property
    def entities(self) -> list[FileEntity]:
        """The entities, nodes first."""
        checked = self._checked
        return [
            FileEntity(head, checked.counted[_key(head)].records if checked else head.records, n)
            for n, head in enumerate(self.header.entities)
        ]
