"""Where the records of a graph in files are, by its header."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geode_tui.errors import UsageError
from geode_tui.target.compression import ByteStream, DamagedStreamError
from geode_tui.target.file_formats import (
    HEADER_FILE,
    EntityHead,
    FileForm,
    Header,
    form_of,
    read_header,
)
from geode_tui.target.file_parsing import (
    CsvText,
    DamagedError,
    Group,
    JsonText,
    Place,
    document_parts,
    element_groups,
    first_line,
    line_groups,
)
from geode_tui.target.file_records import csv_header
from geode_tui.target.file_values import json_value

_READ_BYTES = 1024 * 1024


class Layout:
    """A graph in files, of which the header was read."""

    def __init__(self, path: Path, form: FileForm, header: Header) -> None:
        self.path = path
        self.form = form
        self.header = header
        places = {(head.kind, head.id): n for n, head in enumerate(header.entities)}
        self._nodes = {name: n for (kind, name), n in places.items() if kind == "node"}
        self._relationships = {name: n for (kind, name), n in places.items() if kind != "node"}

    def file_of(self, head: EntityHead) -> Path:
        """The file that holds an entity."""
        return self.path / head.file if self.form.format == "csv" else self.path

    def groups(
        self, stream: ByteStream, head: EntityHead, place: Place, end: int | None
    ) -> Iterator[Group]:
        """The records from a place on, in groups."""
        if self.form.format == "csv":
            return CsvText(len(csv_header(head))).groups(stream, place, end)
        if self.form.format == "json":
            return element_groups(stream, place, end)
        return line_groups(stream, place, end)

    def places_of(self, group: Group) -> list[int]:
        """The entity of each record of a group. Raises DamagedError."""
        nodes, relationships = self._nodes, self._relationships
        for name, table in (("node", nodes), ("relationship", relationships)):
            with contextlib.suppress(LookupError, TypeError):
                return [table[record[name]] for record in group.records]
        places: list[int] = []
        for record, line in zip(group.records, group.lines, strict=True):
            try:
                name = record.get("node")
                table = nodes if name is not None else relationships
                places.append(table[record["relationship"] if name is None else name])
            except (AttributeError, LookupError, TypeError) as error:
                raise DamagedError(line, _unknown(record)) from error
        return places


def _unknown(record: Any) -> str:
    if not isinstance(record, dict):
        return "a record is an object in braces"
    name = record.get("node", record.get("relationship"))
    return f"the header knows no {name}" if name else "no node and no relationship"


def open_layout(place: str) -> Layout:
    """Open a graph in files: the form is told by the name, the header is read and validated.

    Raises UsageError: nothing is there, the name says no format, the header is damaged.
    """
    path = Path(place)
    form = form_of(place)
    if form.format == "csv":
        file = path / HEADER_FILE
        with telling(file):
            header = _folder_header(path, file)
        return Layout(path, form, header)
    with telling(path):
        stream = ByteStream(path, form.compression)
        try:
            read = _document_header if form.format == "json" else _lines_header
            return Layout(path, form, read(stream))
        finally:
            stream.close()


def _folder_header(folder: Path, file: Path) -> Header:
    stream = ByteStream(file, None)
    try:
        header = header_of_text(whole_text(stream))
    finally:
        stream.close()
    for head in header.entities:
        if not head.file or not head.stem:
            raise DamagedError(1, f"{head.id} has no file")
        if not (folder / head.file).is_file():
            raise DamagedError(1, f"the file {head.file} of {head.id} is not there")
    return header


def _document_header(stream: ByteStream) -> Header:
    text = JsonText(stream, Place(), None)
    for name, found in document_parts(text):
        if name == "header":
            return header_of_json(found, text.line)
    raise DamagedError(text.line, "there is no header")


def _lines_header(stream: ByteStream) -> Header:
    line, _ = first_line(stream)
    return header_of_text(line)


def whole_text(stream: ByteStream) -> str:
    data = b"".join(iter(lambda: stream.read(_READ_BYTES), b""))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DamagedError(line, "a byte is not UTF-8") from error


def header_of_text(text: str) -> Header:
    try:
        told = json_value(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        reason = getattr(error, "msg", str(error))
        raise DamagedError(line, f"the header is not JSON: {reason}") from error
    return header_of_json(told, 1)


def header_of_json(told: Any, line: int) -> Header:
    try:
        return read_header(told)
    except ValueError as error:
        raise DamagedError(line, str(error)) from error


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Around reading a file: what is wrong with it becomes an error for people."""
    try:
        yield
    except DamagedError as error:
        raise UsageError(
            f"{path} is damaged in line {error.line}",
            error.reason,
            "export it again, or mend the line",
        ) from error
    except DamagedStreamError as error:
        raise UsageError(f"{path} is damaged", str(error), "export it again") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{path} cannot be read", reason, "check the path and its rights"
        ) from error
