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
from geode_tui.target.compression import member
from geode_tui.target.file_contents import FinishedGraph
from geode_tui.target.file_formats import (
    HEADER_FILE,
    FileForm,
    Header,
    Shape,
    folder_header,
    header_json,
    header_line,
    header_of,
    read_header,
)
from geode_tui.target.file_parts import (
    OpenPart,
    Parts,
    copy_part,
    sync,
    sync_folder,
    written_to,
)
from geode_tui.target.file_reading import open_graph_files
from geode_tui.target.file_records import (
    RecordDigest,
    RecordWriter,
    csv_header_line,
    record_writer,
    separator_of,
)
from geode_tui.target.file_values import BadValueError, paired_surrogates
from geode_tui.target.model import (
    Key,
    NodeBatch,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipKey,
    RelationshipShape,
    Row,
    TargetFacts,
    Written,
)
from geode_tui.target.written_once import WrittenOnce, unsupported

_OUTPUT = "output"
_HEADER = "header.json"
_KINDS = {"json": "JSON", "jsonl": "JSON lines", "csv": "CSV"}


@dataclass
class _OpenChunk:
    part: OpenPart
    writer: RecordWriter
    digest: RecordDigest


class FileTarget(WrittenOnce):
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
        self._read: FinishedGraph | None = None

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

    def missing(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Files need no indexes."""
        return []

    def statements(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Files need no indexes."""
        return []

    def unprepare(self, statements: Sequence[str]) -> None:
        """Remove what `declare` made: the folder of parts, with all that is in it."""
        self._parts.clear(_HEADER)
        self._known = None

    def begin_chunk(self, shape: Shape, step: int) -> None:
        """Begin the part of a chunk; what an earlier try wrote of it will be replaced.

        Raises UsageError where the export is finished.
        """
        if self._is_there():
            raise unsupported(f"the export {self._output} is finished")
        header = self._header()
        entity = header.places.get(shape)
        if entity is None:
            raise _defect(f"{_named(shape)} was not declared")
        if old := self._chunks.pop((shape, step), None):
            old.part.discard()
        form = self._form
        part = self._parts.begin(entity, step, form.compression, separator_of(form.format))
        head = header.entities[entity]
        writer = record_writer(head, form.format)
        self._chunks[shape, step] = _OpenChunk(part, writer, RecordDigest(head))

    def end_chunk(self, shape: Shape, step: int) -> None:
        """End the part of a chunk: from now on it counts."""
        chunk = self._chunks.pop((shape, step), None)
        if chunk is None:
            raise _defect(f"no chunk {step} of {_named(shape)} was begun")
        chunk.part.finish()

    def drop_chunk(self, shape: Shape, step: int) -> None:
        """Remove the part of a chunk that will be written anew under another step."""
        if step and (entity := self._header().places.get(shape)) is not None:
            self._parts.drop(entity, step)

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
        self._parts.clear(_HEADER)

    def close(self) -> None:
        """Leave nothing of chunks that were not ended."""
        for chunk in self._chunks.values():
            chunk.part.discard()
        self._chunks.clear()
        self._forget()

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
            texts = chunk.writer.texts(rows, by_value)
            chunk.part.write(texts, chunk.digest(rows))
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
        chunk.part.write(text, chunk.digest(rows), "backslashreplace")
        return Written(1)

    # -- joining ----------------------------------------------------------------------------------

    def _join(self, header: Header) -> None:
        entities = range(len(header.entities))
        counts = [(self._parts.records(each), self._parts.digest(each)) for each in entities]
        counted = header.counted(counts)
        made = self._parts.folder / _OUTPUT
        join = {"jsonl": self._join_lines, "json": self._join_document, "csv": self._join_folder}
        with written_to(made):
            join[self._form.format](made, counted)
            self._refuse_foreign(header.run)  # joining takes a while
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

    # -- what is there, counted by reading it -----------------------------------------------------

    @property
    def probed(self) -> None:
        """Nothing was asked."""
        return

    def facts(self) -> list[tuple[str, str]]:
        """Nothing: files take whatever they are given."""
        return []

    def describe(self) -> TargetFacts:
        """What the files are and hold."""
        header = self._finished()
        heads = header.entities if header else ()
        nodes = sum(head.records or 0 for head in heads if head.kind == "node")
        rest = sum(head.records or 0 for head in heads if head.kind == "relationship")
        return TargetFacts(_KINDS[self._form.format], "1", self.place, "", nodes, rest)

    def count_nodes(self, shape: NodeShape) -> int:
        """How many nodes there are of the shape."""
        return self._count(shape)

    def count_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships there are of the shape."""
        return self._count(shape)

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """How many nodes of the shape have a further label."""
        graph = self._graph()
        return graph.labelled(shape, label) if graph else 0

    def count_label(self, label: str) -> int:
        """How many nodes have the label, whatever made them."""
        graph = self._graph()
        return sum(graph.labelled(shape, label) for shape in graph.nodes) if graph else 0

    def count_type(self, type_name: str) -> int:
        """How many relationships have the type, whatever their ends."""
        graph = self._graph()
        if graph is None:
            return 0
        some = [shape for shape in graph.relationships if shape.type == type_name]
        return sum(graph.counted(shape).records for shape in some)

    def count_present(self, shape: NodeShape, name: str) -> int:
        """How many nodes of the shape have a property that is not null."""
        graph = self._graph()
        return graph.present(shape, name) if graph else 0

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """How many keys are on more than one node."""
        graph = self._graph()
        return graph.duplicates(shape)[0] if graph else 0

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """How many relationships there are beyond the first of their identity."""
        graph = self._graph()
        return graph.duplicates(shape)[1] if graph else 0

    def read_nodes(self, shape: NodeShape, keys: Sequence[Key]) -> list[dict[str, Any] | None]:
        """The properties of the node of each key, None where there is none (a scan)."""
        graph = self._graph()
        return graph.read_nodes(shape, keys) if graph else [None] * len(keys)

    def read_labels(self, shape: NodeShape, keys: Sequence[Key]) -> list[frozenset[str]]:
        """The labels of the node of each key, none where there is no node (a scan)."""
        graph = self._graph()
        return graph.read_labels(shape, keys) if graph else [frozenset()] * len(keys)

    def read_relationships(
        self, shape: RelationshipShape, keys: Sequence[RelationshipKey]
    ) -> list[list[dict[str, Any]]]:
        """The properties of the relationships at each key (a scan)."""
        graph = self._graph()
        return graph.read_relationships(shape, keys) if graph else [[] for _ in keys]

    def present_fingerprints(self, shape: NodeShape, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that some node of the shape has (a scan)."""
        graph = self._graph()
        return graph.present_fingerprints(shape, fingerprints) if graph else set()

    def read_marked(
        self, shape: NodeShape, fingerprints: Sequence[int], limit: int
    ) -> list[dict[str, Any]]:
        """The properties of nodes with one of the fingerprints, at most `limit` (a scan)."""
        graph = self._graph()
        return graph.read_marked(shape, fingerprints, limit) if graph else []

    def scan_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[Key, Row]]]:
        """The key and some properties of every node of a shape, in lists."""
        graph = self._graph()
        return graph.scan_nodes(shape, names, rows) if graph else iter(())

    def scan_relationships(
        self, shape: RelationshipShape, names: Sequence[str], rows: int
    ) -> Iterator[list[tuple[RelationshipKey, Row]]]:
        """The key and some properties of every relationship of a shape, in lists."""
        graph = self._graph()
        return graph.scan_relationships(shape, names, rows) if graph else iter(())

    def _count(self, shape: Shape) -> int:
        graph = self._graph()
        if graph is not None:
            return graph.counted(shape).records
        return self._parts_of(shape, self._declared())

    def _parts_of(self, shape: Shape, header: Header | None) -> int:
        entity = header.places.get(shape) if header else None
        return 0 if entity is None else self._parts.records(entity)

    def _graph(self) -> FinishedGraph | None:
        """The finished export, checked once; None before it is finished."""
        if not self._is_there():
            return None
        if self._read is None:
            self._read = FinishedGraph.open(self.place)
        return self._read

    # -- taking back ------------------------------------------------------------------------------

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the parts of an entity."""
        return self._delete(shape, run)

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the parts of an entity."""
        return self._delete(shape, run)

    def delete_after(self, run: str, step: int) -> tuple[int, int]:
        """Remove the parts of a run's later steps (0: all); a finished export goes whole.

        Raises UsageError for a step after which a finished export holds more.
        """
        removed = self.count_after(run, step)
        header = self._declared()
        if header is not None and header.run == run:
            for entity in range(len(header.entities)):
                self._parts.remove(entity, step or -1)
        if step == 0 and self._is_there() and self._finished_run() == run:
            self._forget()
            self._remove_output()
        return removed

    def count_after(self, run: str, step: int) -> tuple[int, int]:
        """How many nodes and relationships a run wrote in steps after `step`."""
        finished = self._finished()
        if finished is not None and finished.run == run:
            if step > 0:
                raise unsupported("a finished export can only be rolled back whole")
            facts = self.describe()
            return facts.nodes, facts.relationships
        header = self._declared()
        counts = {"node": 0, "relationship": 0}
        if header is not None and header.run == run:
            for entity, head in enumerate(header.entities):
                counts[head.kind] += self._parts.records(entity, step or -1)
        return counts["node"], counts["relationship"]

    def count_of_run(self, shape: Shape, run: str) -> int:
        """How many nodes or relationships of a shape a run wrote."""
        finished = self._finished()
        if finished is not None:
            return self._count(shape) if finished.run == run else 0
        header = self._declared()
        return self._parts_of(shape, header) if header and header.run == run else 0

    def _delete(self, shape: Shape, run: str) -> int:
        if self._is_there():
            raise unsupported("a finished export can only be rolled back whole")
        header = self._declared()
        entity = header.places.get(shape) if header and header.run == run else None
        return 0 if entity is None else self._parts.remove(entity)

    def _remove_output(self) -> None:
        """Remove the export; what is half removed is not at its place any more."""
        with written_to(self._output):
            if not self._output.is_dir():
                self._output.unlink()
                return
            self._parts.folder.mkdir(exist_ok=True)
            self._output.rename(self._parts.folder / f"{_OUTPUT}.removed")
        self._parts.clear(_HEADER)
        self._known = None

    def _forget(self) -> None:
        if self._read is not None:
            self._read.close()
        self._read = None

    # -- what is at the place ----------------------------------------------------------------------

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
            files = open_graph_files(self.place)
        except GeodeTuiError:
            return None
        files.close()
        return files.header.run

    def _finished(self) -> Header | None:
        """The header of the finished export at the place, None where nothing is there."""
        if not self._is_there():
            return None
        files = open_graph_files(self.place)
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
