"""Files as a target: each chunk is written as a part, and the parts are joined at the end.

Many processes write at once, each its own parts. Nothing is at the place itself before `flush`
has joined all parts there, in one step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from geode_tui.errors import ConnectError, GeodeTuiError, UsageError
from geode_tui.target import file_reading
from geode_tui.target.compression import member
from geode_tui.target.file_formats import (
    HEADER_FILE,
    FileForm,
    Header,
    RecordWriter,
    Shape,
    csv_header_line,
    folder_header,
    header_json,
    header_line,
    header_of,
    read_header,
    record_writer,
    separator_of,
)
from geode_tui.target.file_parts import (
    OpenPart,
    Parts,
    copy_part,
    sync,
    sync_folder,
    written_to,
)
from geode_tui.target.file_values import BadValueError, paired_surrogates
from geode_tui.target.model import (
    Key,
    NodeBatch,
    NodeImage,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
    TargetFacts,
    Written,
)

_OUTPUT = "output"
_HEADER = "header.json"


@dataclass
class _OpenChunk:
    part: OpenPart
    writer: RecordWriter


class FileTarget:
    """A graph in files at a place; see `target.model.Target`.

    The parent says once what the entities are (`declare`) and joins the parts at the end
    (`flush`); workers, in whatever process, write chunks: `begin_chunk`, batches, `end_chunk`.
    """

    many_processes = True
    writers_collide = False
    chunked = True

    def __init__(self, place: str | Path, form: FileForm) -> None:
        self._output = Path(place)
        self._form = form
        self._parts = Parts(self._output.parent / f".{self._output.name}.parts")
        self._chunks: dict[tuple[Shape, int], _OpenChunk] = {}
        self._known: Header | None = None
        self._counted: tuple[tuple[int, int], file_reading.Checked] | None = None

    # -- the life of an export --------------------------------------------------------------------

    @property
    def place(self) -> str:
        """The file or folder."""
        return str(self._output)

    def declare(self, run: str, entities: Sequence[tuple[str, Shape]]) -> None:
        """Say which entities (id and shape) a run will write; the same again when it is resumed.

        Raises UsageError, before anything is written, where something is at the place already
        that is not this run's; ConnectError where the folder cannot be written.
        """
        header = header_of(run, entities, self._form.compression)
        self._refuse_foreign(run)
        known = self._declared()
        if known is None:
            self._write_declared(header)
        elif known.run != run:
            raise UsageError(
                f"{self._parts.folder} holds the parts of another export",
                f"run {known.run} has not ended",
                "resume that run or roll it back, or remove the folder",
            )
        elif known != header:
            raise UsageError(
                "the entities are not those that the export began with",
                "the mapping has changed",
                "roll the run back, and export again",
            )
        self._known = header

    def prepare(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Files need no indexes."""
        return []

    def unprepare(self, statements: Sequence[str]) -> None:
        """Remove what `declare` made: the folder of parts, with all that is in it."""
        self._parts.clear()
        self._known = None

    def begin_chunk(self, shape: Shape, step: int) -> None:
        """Begin the part of a chunk; what an earlier try wrote of it will be replaced."""
        header = self._header()
        entity = header.places.get(shape)
        if entity is None:
            raise _defect(f"{_named(shape)} was not declared")
        if old := self._chunks.pop((shape, step), None):
            old.part.discard()
        form = self._form
        part = self._parts.begin(entity, step, form.compression, separator_of(form.format))
        writer = record_writer(header.entities[entity], form.format)
        self._chunks[shape, step] = _OpenChunk(part, writer)

    def end_chunk(self, shape: Shape, step: int) -> None:
        """End the part of a chunk: from now on it counts."""
        chunk = self._chunks.pop((shape, step), None)
        if chunk is None:
            raise _defect(f"no chunk {step} of {_named(shape)} was begun")
        chunk.part.finish()

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes of the chunk that was begun."""
        return self._write(batch.shape, batch.step, batch.rows, batch.by_value)

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships of the chunk that was begun; their ends are not looked for."""
        return self._write(batch.shape, batch.step, batch.rows, ())

    def flush(self) -> None:
        """Join all parts at the place, in one step; what an interrupted call left is done again.

        Raises UsageError where something else is there.
        """
        header = self._declared()
        if header is None:
            return
        self._refuse_foreign(header.run)
        if not self._is_there():
            self._join(header)
        self._parts.clear()

    def close(self) -> None:
        """Leave nothing of chunks that were not ended."""
        for chunk in self._chunks.values():
            chunk.part.discard()
        self._chunks.clear()

    # -- writing ----------------------------------------------------------------------------------

    def _write(
        self, shape: Shape, step: int, rows: Sequence[Row], by_value: Sequence[str | None]
    ) -> Written:
        chunk = self._chunks.get((shape, step))
        if chunk is None:
            raise _defect(f"no chunk {step} of {_named(shape)} was begun")
        try:
            return self._write_rows(chunk, rows, by_value)
        except ConnectError:
            del self._chunks[shape, step]  # some of the batch may be in it
            chunk.part.discard()
            raise

    def _write_rows(
        self, chunk: _OpenChunk, rows: Sequence[Row], by_value: Sequence[str | None]
    ) -> Written:
        """Write rows; those that have no form in the file are found by halving."""
        try:
            chunk.part.write(chunk.writer.texts(rows, by_value))
            return Written(len(rows))
        except BadValueError as error:
            if len(rows) == 1:
                return Written(0, (), (Refused(0, "value", str(error)),))
        except UnicodeEncodeError:
            if len(rows) == 1:
                return self._write_surrogates(chunk, rows, by_value)
        middle = len(rows) // 2
        left = self._write_rows(chunk, rows[:middle], by_value[:middle])
        right = self._write_rows(chunk, rows[middle:], by_value[middle:])
        moved = (Refused(r.position + middle, r.error_class, r.reason) for r in right.refused)
        return Written(left.rows + right.rows, (), (*left.refused, *moved))

    def _write_surrogates(
        self, chunk: _OpenChunk, rows: Sequence[Row], by_value: Sequence[str | None]
    ) -> Written:
        """Half characters are not text; JSON can hold them as escapes, unless two make a whole."""
        text = chunk.writer.texts(rows, by_value)
        if self._form.format == "csv" or paired_surrogates(text[0]):
            reason = "a text holds half a character, which is not Unicode"
            return Written(0, (), (Refused(0, "value", reason),))
        chunk.part.write(text, "backslashreplace")
        return Written(1)

    # -- joining ----------------------------------------------------------------------------------

    def _join(self, header: Header) -> None:
        counts = [self._parts.records(entity) for entity in range(len(header.entities))]
        counted = header.counted(counts)
        made = self._parts.folder / _OUTPUT
        join = {"jsonl": self._join_lines, "json": self._join_document, "csv": self._join_folder}
        with written_to(made):
            join[self._form.format](made, counted)
            made.rename(self._output)
            sync_folder(self._output.parent)

    def _join_lines(self, path: Path, header: Header) -> None:
        with path.open("wb") as out:
            self._put(out, header_line(header) + "\n")
            for entity in range(len(header.entities)):
                self._put_parts(out, entity)
            sync(out)

    def _join_document(self, path: Path, header: Header) -> None:
        kinds = [head.kind for head in header.entities]
        nodes = range(kinds.count("node"))
        with path.open("wb") as out:
            self._put(out, f'{{"header":{header_line(header)},\n"nodes":[\n')
            self._put_list(out, nodes)
            self._put(out, '\n],\n"relationships":[\n')
            self._put_list(out, range(len(nodes), len(kinds)))
            self._put(out, "\n]}\n")
            sync(out)

    def _join_folder(self, path: Path, header: Header) -> None:
        path.mkdir(exist_ok=True)
        for entity, head in enumerate(header.entities):
            with (path / head.file).open("wb") as out:
                self._put(out, csv_header_line(head))
                self._put_parts(out, entity)
                sync(out)
        with (path / HEADER_FILE).open("wb") as out:
            out.write(folder_header(header).encode())
            sync(out)
        sync_folder(path)

    def _put_parts(self, out: BinaryIO, entity: int) -> None:
        for path, size, _ in self._parts.contents(entity):
            copy_part(path, size, out)

    def _put_list(self, out: BinaryIO, entities: range) -> None:
        first = True
        for entity in entities:
            for path, size, records in self._parts.contents(entity):
                if not records:
                    continue
                if not first:
                    self._put(out, ",\n")
                first = False
                copy_part(path, size, out)

    def _put(self, out: BinaryIO, text: str) -> None:
        out.write(member(self._form.compression, text.encode()))

    # -- what is there ----------------------------------------------------------------------------

    def _is_there(self) -> bool:
        """Whether something is at the place; an empty folder is as nothing for CSV."""
        if self._form.format == "csv" and self._output.is_dir():
            return any(self._output.iterdir())
        return os.path.lexists(self._output)

    def _refuse_foreign(self, run: str) -> None:
        """Refuse what is at the place unless it is the finished export of a run."""
        with written_to(self._output):
            if not self._output.parent.is_dir():
                raise ConnectError(
                    f"cannot write {self._output}",
                    f"no folder {self._output.parent}",
                    "make it first",
                )
            if not self._is_there() or self._finished_run() == run:
                return
        raise UsageError(
            f"{self._output} exists already",
            "an export never writes over what is there",
            "name another place, or remove it",
        )

    def _finished_run(self) -> str | None:
        """The run whose finished export is at the place, None where there is no export."""
        try:
            files = file_reading.open_graph_files(self.place)
        except GeodeTuiError:
            return None
        files.close()
        return files.header.run

    def _finished(self) -> Header | None:
        """The header of the finished export at the place, None where nothing is there."""
        if not self._is_there():
            return None
        files = file_reading.open_graph_files(self.place)
        files.close()
        return files.header

    def _declared(self) -> Header | None:
        """What `declare` said, in whichever process."""
        path = self._parts.folder / _HEADER
        with written_to(path):
            if not path.exists():
                return None
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                return read_header(told)
            except ValueError as error:
                raise GeodeTuiError(
                    f"{path} is damaged", str(error), "remove the folder, and export again"
                ) from error

    def _write_declared(self, header: Header) -> None:
        folder = self._parts.folder
        text = json.dumps(header_json(header, True), ensure_ascii=False)
        with written_to(folder):
            folder.mkdir(exist_ok=True)
            made = folder / f"{_HEADER}.tmp"
            with made.open("wb") as out:
                out.write(text.encode())
                sync(out)
            made.replace(folder / _HEADER)
            sync_folder(folder)
            sync_folder(folder.parent)

    def _header(self) -> Header:
        if self._known is None:
            self._known = self._declared()
        if self._known is None:
            raise _defect("no entities were declared")
        return self._known


def _named(shape: Shape) -> str:
    return shape.label if isinstance(shape, NodeShape) else shape.type


def _defect(what: str) -> GeodeTuiError:
    return GeodeTuiError(
        what, "files are written by chunks", "this is a defect of geode-tui: report it"
    )
