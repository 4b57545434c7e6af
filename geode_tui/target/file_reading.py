"""Graphs in files, read: checked whole in one pass, then in chunks, in memory that does not grow.

`open_graph_files` reads the header. `check` reads everything once and tells what is damaged, with
the line, before anything is written anywhere. `cut` and `rows` read an entity in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geode_tui.target.compression import ByteStream, compression_of
from geode_tui.target.file_check import Check, Checked, FingerprintsOf, Progress, Span, Tally
from geode_tui.target.file_entity import FileEntity
from geode_tui.target.file_formats import Header
from geode_tui.target.file_layout import Layout, open_layout, telling
from geode_tui.target.file_parsing import Group, Place
from geode_tui.target.file_records import Cursor, FileRecord, record_reader

YIELD_BYTES = 8 * 1024 * 1024


class GraphFiles:
    """A graph in files, open for reading by one thread at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        heads = layout.header.entities
        self._readers = [record_reader(head, layout.form.format) for head in heads]
        self._tallies: list[Tally] | None = None
        self._streams: dict[Path, ByteStream] = {}

    @property
    def header(self) -> Header:
        """What the files say of themselves."""
        return self._layout.header

    @property
    def entities(self) -> list[FileEntity]:
        """The entities, nodes first; their estimates are exact once the files are checked."""
        counts = [head.records for head in self.header.entities]
        if self._tallies is not None:
            counts = [tally.records for tally in self._tallies]
        heads = enumerate(self.header.entities)
        return [FileEntity(head, counts[place], place) for place, head in heads]

    def check(
        self, fingerprints_of: FingerprintsOf | None = None, progress: Progress | None = None
    ) -> Checked:
        """Read everything once: every record can be understood, and none is missing.

        `fingerprints_of` makes digests of values by their types; where it is given, each record
        must have the one that its values give. `progress` is told the bytes read and all bytes.
        Raises UsageError with the file, the line and the reason.
        """
        check = Check(self._layout, fingerprints_of, progress)
        identity, size = check.run()
        self._tallies = check.tallies
        counted = {
            head.id: tally.counted()
            for head, tally in zip(self.header.entities, check.tallies, strict=True)
        }
        return Checked(identity, size, counted)

    def cut(self, entity: FileEntity, size: int) -> list[tuple[Cursor, Cursor]]:
        """The ranges, of about `size` bytes each, in which a checked file holds an entity."""
        assert self._tallies is not None, "files are checked before they are cut"
        ranges: list[tuple[Cursor, Cursor]] = []
        first: Span | None = None
        covered = 0
        for span in self._tallies[entity.place].spans:
            first = first or span
            covered += span.end - span.start.offset
            last = span
            if covered >= size:
                ranges.append((first.cursor, (str(last.end),)))
                first, covered = None, 0
        if first is not None:
            ranges.append((first.cursor, (str(last.end),)))
        return ranges

    def rows(
        self, entity: FileEntity, low: Cursor, high: Cursor, limit: int
    ) -> Iterator[list[FileRecord]]:
        """The records of an entity in a range of `cut`, in lists of at most `limit`.

        Raises UsageError where the file is not what was checked.
        """
        waiting: list[FileRecord] = []
        size = 0
        for records, bytes_ in self._read(entity, low, int(high[0])):
            waiting += records
            size += bytes_
            while len(waiting) >= limit or (size >= YIELD_BYTES and waiting):
                yield waiting[:limit]
                waiting = waiting[limit:]
                size = 0
        if waiting:
            yield waiting

    def again(self, entity: FileEntity, place: Sequence[str]) -> FileRecord | None:
        """The record at a place of `FileEntity.letter_place`, None where there is none."""
        *cursor, number, _ = place
        left = int(number)
        with telling(self._layout.file_of(entity.head)):
            for group in self._groups(entity, tuple(cursor), None):
                if left >= len(group.records):
                    left -= len(group.records)
                    continue
                if left not in self._of_entity(group, entity.place):
                    return None
                records, lines = [group.records[left]], [group.lines[left]]
                reader = self._readers[entity.place]
                return reader.read(records, lines, tuple(cursor), [int(number)])[0]
        return None

    def close(self) -> None:
        """Let the files go."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _read(
        self, entity: FileEntity, low: Cursor, end: int
    ) -> Iterator[tuple[list[FileRecord], int]]:
        """The records of an entity in a range, a group at a time, with its bytes."""
        reader = self._readers[entity.place]
        with telling(self._layout.file_of(entity.head)):
            for group in self._groups(entity, low, end):
                start = group.start_of(0)
                cursor = (str(start), str(group.lines[0]), *low[2:])
                chosen = self._of_entity(group, entity.place)
                records, lines = group.records, group.lines
                if len(chosen) != len(records):
                    records = [records[number] for number in chosen]
                    lines = [lines[number] for number in chosen]
                if records:
                    yield reader.read(records, lines, cursor, chosen), group.end - start

    def _groups(self, entity: FileEntity, low: Cursor, end: int | None) -> Iterator[Group]:
        """The records of any entity from a cursor on, in groups."""
        offset, line, *member = map(int, low)
        stream = self._stream(self._layout.file_of(entity.head))
        stream.seek(offset, (member[0], member[1]))
        return self._layout.groups(stream, entity.head, Place(offset, line), end)

    def _of_entity(self, group: Group, place: int) -> Sequence[int]:
        """The numbers of the records of an entity in a group."""
        every = range(len(group.records))
        if self._layout.form.format == "csv":
            return every
        of = self._layout.places_of(group)
        return every if of.count(place) == len(of) else [n for n in every if of[n] == place]

    def _stream(self, path: Path) -> ByteStream:
        if path not in self._streams:
            self._streams[path] = ByteStream(path, compression_of(path))
        return self._streams[path]


def open_graph_files(place: str) -> GraphFiles:
    """Open a graph in files: the form is told by the name, the header is read and validated.

    Raises UsageError: nothing is there, the name says no format, the header is damaged.
    """
    return GraphFiles(open_layout(place))
