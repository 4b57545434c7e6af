"""One pass over a graph in files: every record can be understood, and none is missing."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geode_tui.mapping.model import OF, ROW
from geode_tui.target.compression import ByteStream, compression_of
from geode_tui.target.file_entity import FileEntity
from geode_tui.target.file_formats import HEADER_FILE, Header, Shape
from geode_tui.target.file_layout import Layout, header_of_json, header_of_text, telling, whole_text
from geode_tui.target.file_parsing import (
    DamagedError,
    Group,
    JsonText,
    Place,
    document_parts,
    line_groups,
)
from geode_tui.target.file_records import (
    DIGESTS,
    Cursor,
    FileRecord,
    RecordDigest,
    csv_header,
    record_reader,
)
from geode_tui.target.file_values import ANY, text_of
from geode_tui.target.model import NodeShape, RelationshipShape

Fingerprints = Callable[[Sequence[Sequence[Any]], int], Sequence[int]]
FingerprintsOf = Callable[[Sequence[str]], Fingerprints]
"""Of the types of some columns makes what gives the fingerprints of so many rows of them."""
Progress = Callable[[int, int], None]

SPAN_BYTES = 1024 * 1024
"""Where chunks can be cut: about so many bytes apart."""
MOST_SPANS = 100_000
"""Most places remembered for one entity; of a bigger file each place covers more bytes."""


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
class Span:
    """Bytes in which an entity has records; `member` is where decompressing may begin."""

    start: Place
    end: int
    member: tuple[int, int]

    @property
    def cursor(self) -> Cursor:
        """Where to begin to read."""
        places = (self.start.offset, self.start.line, *self.member)
        return tuple(map(str, places))


class Tally:
    """What a check has found of one entity so far."""

    def __init__(self, entity: FileEntity) -> None:
        self.entity = entity
        self.records = 0
        self.content = 0
        self._content_of = RecordDigest(entity.head)
        self.spans: list[Span] = []
        self._digest = 0
        self._labels: Counter[str] = Counter()
        self._present = [0] * len(entity.shape.properties)
        self._span_bytes = SPAN_BYTES

    def add(self, rows: list[FileRecord], columns: Sequence[Sequence[Any]]) -> None:
        """Count some records."""
        entity = self.entity
        first, mark = entity.properties_at, entity.fingerprint_at
        self.records += len(rows)
        self.content = (self.content + self._content_of.columns(columns)) % DIGESTS
        labelled = isinstance(entity.shape, NodeShape) and bool(entity.shape.by_value)
        added = entity.digest(rows) if labelled else sum(columns[mark])
        self._digest = (self._digest + added) % DIGESTS
        for place, column in enumerate(columns[first:mark]):
            self._present[place] += len(rows) - column.count(None)
        if labelled:
            self._labels.update(label for label in columns[mark + 1] if label is not None)

    def add_span(self, span: Span) -> None:
        """Remember where there are records; near ones are taken together."""
        spans = self.spans
        if spans and span.end - spans[-1].start.offset <= self._span_bytes:
            spans[-1].end = span.end
            return
        spans.append(span)
        if len(spans) > MOST_SPANS:
            for left, right in zip(spans[::2], spans[1::2], strict=False):
                left.end = right.end
            del spans[1::2]
            self._span_bytes *= 2

    def counted(self) -> Counted:
        """What was found."""
        return Counted(self.records, self._digest, self._labels, tuple(self._present))


class Check:
    """One pass over all files."""

    def __init__(
        self, files: Layout, fingerprints_of: FingerprintsOf | None, progress: Progress | None
    ) -> None:
        self._files = files
        self._progress = progress
        self._readers = [record_reader(h, files.form.format) for h in files.header.entities]
        self._fingerprints: list[tuple[list[int], Fingerprints] | None] = []
        for head in files.header.entities:
            told = _told_by(head.shape) if fingerprints_of else None
            made = (told[0], fingerprints_of(told[1])) if told and fingerprints_of else None
            self._fingerprints.append(made)
        self._line = 1
        self._done = 0
        self._bytes = 0
        heads = enumerate(files.header.entities)
        self.tallies = [Tally(FileEntity(head, None, place)) for place, head in heads]

    def run(self) -> tuple[str, int]:
        """Read all; returns what tells these files from others, and their bytes."""
        files = self._files
        heads = files.header.entities
        paths = [files.path]
        if files.form.format == "csv":
            paths = [files.path / HEADER_FILE, *(files.file_of(head) for head in heads)]
        for path in paths:
            with telling(path):
                self._bytes += path.stat().st_size
        told = hashlib.sha256()
        for number, path in enumerate(paths):
            told.update(f"{path.name}/{self._checked(path, number - 1)}/".encode())
        if len(paths) == 1:
            with telling(files.path):
                self._compare(range(len(heads)))
        return f"{self._bytes}:{told.hexdigest()}", self._bytes

    def _checked(self, path: Path, entity: int) -> str:
        """Check one file, and return its digest."""
        with telling(path):
            stream = ByteStream(path, compression_of(path), hashed=True)
            try:
                self._read_file(stream, entity)
                return stream.digest()
            finally:
                self._done += stream.file_position
                stream.close()

    def _read_file(self, stream: ByteStream, entity: int) -> None:
        files = self._files
        match files.form.format:
            case "json":
                self._read_document(stream)
            case "jsonl":
                for group in line_groups(stream, Place(), None):
                    self._add(stream, _without_header(group, files.header))
            case "csv" if entity < 0:
                text = whole_text(stream)
                if header_of_text(text) != files.header:
                    raise DamagedError(1, "the header has changed")
            case "csv":
                self._read_csv(stream, entity)

    def _read_document(self, stream: ByteStream) -> None:
        text = JsonText(stream, Place(), None)
        for name, found in document_parts(text):
            if name == "header" and header_of_json(found, text.line) != self._files.header:
                raise DamagedError(1, "the header has changed")
            if isinstance(found, Group):
                self._add(stream, found)
        self._line = text.line

    def _read_csv(self, stream: ByteStream, entity: int) -> None:
        head, first = self._files.header.entities[entity], True
        self._line = 1
        for group in self._files.groups(stream, head, Place(), None):
            self._line = group.lines[-1]
            rest = group
            if first:
                if [text_of(cell) if cell else "" for cell in group.records[0]] != csv_header(head):
                    raise DamagedError(1, f"the columns are not those that {HEADER_FILE} tells")
                rest, first = _without_first(group), False
            if rest.records:
                self._add_run(stream, rest, entity, range(len(rest.records)))
        if first:
            raise DamagedError(1, "the names of the columns are missing")
        self._compare(range(entity, entity + 1))

    def _add(self, stream: ByteStream, group: Group) -> None:
        """Check the records of a group, whosever they are."""
        files = self._files
        if not group.records:
            return
        self._line = group.lines[-1]
        of = files.places_of(group)
        for entity in dict.fromkeys(of):
            head = files.header.entities[entity]
            places: Sequence[int] = range(len(of))
            if of.count(entity) != len(of):
                places = [place for place, own in enumerate(of) if own == entity]
            if group.kind not in ("", head.kind):
                line = group.lines[places[0]]
                raise DamagedError(line, f"a {head.kind} is among the {group.kind}s")
            self._add_run(stream, group, entity, places)

    def _add_run(
        self, stream: ByteStream, group: Group, entity: int, places: Sequence[int]
    ) -> None:
        records = [group.records[place] for place in places]
        lines = [group.lines[place] for place in places]
        rows = self._readers[entity].read(records, lines)
        tally = self.tallies[entity]
        columns = list(zip(*rows, strict=True))
        self._compare_fingerprints(entity, columns)
        tally.add(rows, columns)
        start = Place(group.start_of(places[0]), lines[0])
        last = places[-1] + 1
        end = group.end if last == len(group.records) else group.start_of(last)
        tally.add_span(Span(start, end, _member_before(stream, start.offset)))
        if self._progress is not None:
            self._progress(self._done + stream.file_position, self._bytes)

    def _compare_fingerprints(self, entity: int, columns: Sequence[Sequence[Any]]) -> None:
        told = self._fingerprints[entity]
        if told is None:
            return
        places, fingerprints = told
        lines = columns[-1]
        marks = columns[self.tallies[entity].entity.fingerprint_at]
        try:
            found = fingerprints([columns[place] for place in places], len(lines))
        except UnicodeEncodeError as error:
            if len(lines) == 1:
                raise DamagedError(lines[0], "a text holds half a character") from error
            for number in range(len(lines)):
                self._compare_fingerprints(entity, [column[number:][:1] for column in columns])
            return
        for mark, wanted, line in zip(marks, found, lines, strict=True):
            if mark != wanted:
                raise DamagedError(line, "the values do not give the record's fingerprint")

    def _compare(self, entities: range) -> None:
        for entity in entities:
            head, tally = self._files.header.entities[entity], self.tallies[entity]
            if head.records not in (None, tally.records):
                told = (
                    f"the file ends with {tally.records} records of {head.id}, not {head.records}"
                )
                raise DamagedError(self._line, told)
            if head.digest not in (None, tally.content):
                raise DamagedError(
                    self._line, f"the records of {head.id} are not those that were written"
                )


def _told_by(shape: Shape) -> tuple[list[int], list[str]] | None:
    """The columns that a fingerprint is of, and their types; None where a type is not known.

    Places of rows and names of rules do not go into it.
    """
    shapes: list[tuple[tuple[str, ...], Shape]] = [(shape.properties, shape)]
    if isinstance(shape, RelationshipShape):
        shapes = [(shape.start.key, shape.start), (shape.end.key, shape.end), *shapes]
    every: list[tuple[str, str]] = []
    for names, of in shapes:
        known = dict(zip(of.properties, of.types, strict=False))
        every += [(name, known.get(name, ANY)) for name in names]
    told = [place for place, (name, _) in enumerate(every) if name not in (ROW, OF)]
    types = [every[place][1] for place in told]
    return None if ANY in types else (told, types)


def _member_before(stream: ByteStream, offset: int) -> tuple[int, int]:
    """The last compressed member that begins at or before an offset; earlier ones are let go."""
    place = bisect_right(stream.members, offset, key=lambda member: member[1]) - 1
    del stream.members[: max(0, place)]
    return stream.members[0]


def _without_header(group: Group, header: Header) -> Group:
    """A group of JSON lines without the header that the first line is."""
    if group.lines[0] != 1:
        return group
    if header_of_json(group.records[0], 1) != header:
        raise DamagedError(1, "the header has changed")
    return _without_first(group)


def _without_first(group: Group) -> Group:
    return Group(group.records[1:], group.lines[1:], lambda n: group.start_of(n + 1), group.end)
