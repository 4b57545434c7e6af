"""Records as texts and back: a record is one node or relationship.

A record that is read is a tuple: the keys of both ends (of a relationship), the properties, the
fingerprint, the label that a value gave, where to find it (a cursor, and its number from there),
its line.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Protocol

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.model import FINGERPRINT, OF, ROW
from geode_tui.target.file_formats import EntityHead, Format, Shape
from geode_tui.target.file_parsing import DamagedError
from geode_tui.target.file_values import (
    ANY,
    BadValueError,
    Codec,
    cell_of,
    codec_of,
    joined_text,
    quoted_json,
    split_text,
    text_of,
)
from geode_tui.target.model import NodeShape, RelationshipShape, Row

FileRecord = tuple[Any, ...]
Cursor = tuple[str, ...]
DIGESTS = 2**63
_INT = codec_of("INT")
_CSV_TYPES = {
    "BOOL": "boolean",
    "INT": "long",
    "FLOAT": "double",
    "DATE": "date",
    "TIME": "localtime",
    "TIMESTAMP": "localdatetime",
    "TIMESTAMPTZ": "datetime",
}

# -- records --------------------------------------------------------------------------------------


class RecordWriter(Protocol):
    """Makes the texts of an entity's records."""

    def texts(self, rows: Sequence[Row], by_value: Sequence[str | None]) -> list[str]:
        """The text of each row of a batch. Raises BadValueError."""
        ...


def record_writer(head: EntityHead, format_name: Format) -> RecordWriter:
    """The writer of an entity's records in a format."""
    return CsvRecords(head) if format_name == "csv" else JsonRecords(head)


class RecordDigest:
    """Sums what tells records apart: in a header, it tells of records that were changed or swapped.

    Beside the fingerprints that is the places of rows, which do not go into a fingerprint.
    """

    def __init__(self, head: EntityHead) -> None:
        shape = head.shape
        names = shape.properties
        if isinstance(shape, RelationshipShape):
            names = (*shape.start.key, *shape.end.key, *names)
        self._places = [at for at, name in enumerate(names) if name == ROW]
        self._mark = len(names)

    def __call__(self, rows: Sequence[Row]) -> int:
        """The digest of some rows, or records; those of parts add up, modulo 2**63."""
        wanted = {place: [row[place] for row in rows] for place in (*self._places, self._mark)}
        return self.columns(wanted)

    def columns(self, columns: Mapping[int, Sequence[Any]] | Sequence[Sequence[Any]]) -> int:
        """The digest of some rows, given their columns."""
        total: int = sum(columns[self._mark])
        for place in self._places:
            total += sum(_crc(str(value)) for value in columns[place] if value is not None)
        return total % DIGESTS


def _crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def separator_of(format_name: Format) -> tuple[str, str]:
    """What is between two records of one part, and after the last one."""
    return (",\n", "") if format_name == "json" else ("\n", "\n")


def labels_of(shape: NodeShape, by_value: str | None) -> list[str]:
    """All labels of a node, its own first."""
    labels = list(dict.fromkeys((shape.label, *shape.labels)))
    return labels if by_value is None or by_value in labels else [*labels, by_value]


def width_of(shape: Shape) -> int:
    """How many values a row of a batch has: keys of the ends, properties, the fingerprint."""
    ends = len(shape.start.key) + len(shape.end.key) if isinstance(shape, RelationshipShape) else 0
    return ends + len(shape.properties) + 1


class JsonRecords:
    """Records as JSON objects, each in one line."""

    def __init__(self, head: EntityHead) -> None:
        shape = head.shape
        self._head = head
        keys = () if isinstance(shape, NodeShape) else tuple(chain(*head.end_codecs))
        self._codecs = (*keys, *head.codecs, _INT)
        named = [f"{quoted_json(name)}:\0" for name in shape.properties]
        rest = f'"properties":{{{",".join(named)}}},"{FINGERPRINT}":\0}}'
        if isinstance(shape, NodeShape):
            self._start, self._rest = f'{{"node":{quoted_json(head.id)},"labels":', f",{rest}"
            self._templates = {
                label: self._node_template(shape, label) for label in (None, *shape.by_value)
            }
            return
        start, end = (",".join(["\0"] * len(codecs)) for codecs in head.end_codecs)
        self._templates = {
            None: _template(
                f'{{"relationship":{quoted_json(head.id)},"type":{quoted_json(shape.type)},'
                f'"start":[{start}],"end":[{end}],{rest}'
            )
        }

    def _node_template(self, shape: NodeShape, label: str | None) -> str:
        labels = ",".join(map(quoted_json, labels_of(shape, label)))
        return _template(f"{self._start}[{labels}]{self._rest}")

    def texts(self, rows: Sequence[Row], by_value: Sequence[str | None]) -> list[str]:
        """The text of each row of a batch. Raises BadValueError."""
        columns = _columns(self._head, rows)
        coded = zip(self._codecs, columns, strict=True)
        encoded = zip(*(codec.json_column(column) for codec, column in coded), strict=True)
        if not by_value:
            return list(map(self._templates[None].__mod__, encoded))
        templates = self._templates
        return [templates[of] % row for of, row in zip(by_value, encoded, strict=True)]


class CsvRecords:
    """Records as lines of CSV, in the form that graph bulk loaders read."""

    def __init__(self, head: EntityHead) -> None:
        self._head = head
        self._codecs = (*head.codecs, _INT)
        shape = head.shape
        self._labels: dict[str | None, str] = {}
        if isinstance(shape, NodeShape):
            for label in (None, *shape.by_value):
                self._labels[label] = label_cell(shape, label)

    def texts(self, rows: Sequence[Row], by_value: Sequence[str | None]) -> list[str]:
        """The text of each row of a batch. Raises BadValueError."""
        if not rows:
            return []
        columns = _columns(self._head, rows)
        shape = self._head.shape
        if isinstance(shape, NodeShape):
            stem, at = self._head.stem, self._head.key_at
            keys = [columns[place] for place in at]
            ends = [id_cells(stem, [self._codecs[place] for place in at], keys)]
            labels = self._labels
            last = [labels[of] for of in by_value] if by_value else [labels[None]] * len(rows)
            own = columns
        else:
            ends, own = self._end_cells(columns)
            last = [cell_of(shape.type)] * len(rows)
        coded = zip(self._codecs, own, strict=True)
        *cells, marks = (codec.cell_column(column) for codec, column in coded)
        return list(map(",".join, zip(*ends, *cells, last, marks, strict=True)))

    def _end_cells(self, columns: list[Any]) -> tuple[list[list[str]], list[Any]]:
        head, (start, end) = self._head, self._head.end_codecs
        first, second = len(start), len(start) + len(end)
        stems = head.end_stems
        ends = [
            id_cells(stems[0], start, columns[:first]),
            id_cells(stems[1], end, columns[first:second]),
        ]
        return ends, columns[second:]


def _template(text: str) -> str:
    return text.replace("%", "%%").replace("\0", "%s")


def _columns(head: EntityHead, rows: Sequence[Row]) -> list[Any]:
    width = width_of(head.shape)
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * width
    if len(columns) != width:
        raise GeodeTuiError(
            f"{head.id}: a row has {len(columns)} values, not {width}",
            "what was read does not fit what is written",
            "this is a defect of geode-tui: keep the journal and report it",
        )
    _marks(columns[-1])
    return columns


def id_cells(stem: str, codecs: Sequence[Codec], columns: Sequence[Sequence[Any]]) -> list[str]:
    """The cells with the ids of nodes: one id for each key, no other node in the folder has it."""
    if len(codecs) == 1:
        texts = codecs[0].text_column(columns[0])
        return [
            cell_of(f"{stem}/{text}") if value is not None else f'"{stem}"'
            for text, value in zip(texts, columns[0], strict=True)
        ]
    parts = [codec.text_column(column) for codec, column in zip(codecs, columns, strict=True)]
    keys = zip(*columns, strict=True)
    return [
        cell_of(f"{stem}/{_composite(texts, key)}")
        for texts, key in zip(zip(*parts, strict=True), keys, strict=True)
    ]


def _composite(texts: Sequence[str], key: Sequence[Any]) -> str:
    pairs = zip(texts, key, strict=True)
    return joined_text(None if value is None else text for text, value in pairs)


def label_cell(shape: NodeShape, by_value: str | None) -> str:
    """The cell with a node's labels."""
    return cell_of(joined_text(labels_of(shape, by_value)))


def csv_header(head: EntityHead) -> list[str]:
    """The names and types of an entity's columns."""
    shape = head.shape
    kinds = shape.types or (ANY,) * len(shape.properties)
    named = [
        f"{name}:{_csv_type(kind)}" for name, kind in zip(shape.properties, kinds, strict=True)
    ]
    last = f"{FINGERPRINT}:long"
    if isinstance(shape, NodeShape):
        return [f":ID({head.stem})", *named, ":LABEL", last]
    start, end = head.end_stems
    return [f":START_ID({start})", f":END_ID({end})", *named, ":TYPE", last]


def csv_header_line(head: EntityHead) -> str:
    """The first line of an entity's file of CSV."""
    return ",".join(_header_cell(name) for name in csv_header(head)) + "\n"


def _header_cell(name: str) -> str:
    return cell_of(name) if re.search(r'[",\r\n]', name) else name


def _csv_type(graph_type: str) -> str:
    """The nearest type that bulk loaders know; the exact one is in the header's file."""
    if graph_type.startswith("LIST<"):
        return _csv_type(graph_type[5:-1]) + "[]"
    return _CSV_TYPES.get(graph_type, "string")


# -- reading --------------------------------------------------------------------------------------


class RecordReader(Protocol):
    """Understands an entity's records."""

    def read(
        self,
        records: Sequence[Any],
        lines: Sequence[int],
        cursor: Cursor = (),
        numbers: Sequence[int] = (),
    ) -> list[FileRecord]:
        """The records, given what was parsed of each, its line, and its number from the cursor.

        Raises DamagedError.
        """
        ...


def record_reader(head: EntityHead, format_name: Format) -> RecordReader:
    """The reader of an entity's records in a format."""
    return CsvRecordReader(head) if format_name == "csv" else JsonRecordReader(head)


class _Reader:
    """Reads many records at once, column by column; where one is bad, finds out which."""

    def read(
        self,
        records: Sequence[Any],
        lines: Sequence[int],
        cursor: Cursor = (),
        numbers: Sequence[int] = (),
    ) -> list[FileRecord]:
        """The records; see `RecordReader`."""
        try:
            columns = self._columns(records)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if len(records) == 1:
                raise DamagedError(lines[0], _reason(error)) from error
        else:
            numbers = numbers or range(len(records))
            return list(zip(*columns, repeat(cursor), numbers, lines, strict=False))
        for record, line in zip(records, lines, strict=True):
            self.read([record], [line])
        raise AssertionError("records that are good one by one are good together")

    def _columns(self, records: Sequence[Any]) -> list[Sequence[Any]]:
        raise NotImplementedError


def _reason(error: Exception) -> str:
    if isinstance(error, BadValueError):
        return str(error)
    if isinstance(error, KeyError):
        return f"the record has no {error.args[0]}"
    return "the record is not as the header says"


class JsonRecordReader(_Reader):
    """Reads records that `JsonRecords` wrote."""

    def __init__(self, head: EntityHead) -> None:
        shape = head.shape
        self._head, self._shape = head, shape
        self._names = list(shape.properties)
        self._known = frozenset(shape.properties)
        self._codecs = head.codecs
        self._members = 4 if isinstance(shape, NodeShape) else 6
        if isinstance(shape, NodeShape):
            self._labels = labels_of(shape, None)
        else:
            self._end_codecs = head.end_codecs

    def _columns(self, records: Sequence[Any]) -> list[Sequence[Any]]:
        if set(map(len, records)) != {self._members}:
            raise BadValueError("the record has members that nobody knows, or lacks some")
        names = self._names
        rows = [
            told.values() if list(told) == names else self._values(told)
            for told in [record["properties"] for record in records]
        ]
        own = list(zip(*rows, strict=True)) if self._names else []
        coded = zip(self._names, self._codecs, own, strict=True)
        values = [_named(name, codec, column) for name, codec, column in coded]
        _check_owner(self._shape, values)
        marks = _marks(_INT.values_of_json([record[FINGERPRINT] for record in records]))
        labels: Sequence[str | None] = [None] * len(records)
        ends: list[Sequence[Any]] = []
        if isinstance(self._shape, NodeShape):
            usual = self._labels
            labels = [
                None if told == usual else self._label(told)
                for told in [record["labels"] for record in records]
            ]
        else:
            ends = self._ends(records)
            if any(record["type"] != self._shape.type for record in records):
                raise BadValueError(f"the type is not {self._shape.type}")
        return [*ends, *values, marks, labels]

    def _values(self, properties: dict[str, Any]) -> Sequence[Any]:
        if not self._known.issuperset(properties):
            unknown = next(name for name in properties if name not in self._known)
            raise BadValueError(f"the header knows no property {unknown}")
        return [properties.get(name) for name in self._names]

    def _label(self, labels: list[str]) -> str | None:
        assert isinstance(self._shape, NodeShape)
        if labels[:-1] != self._labels or labels[-1] not in self._shape.by_value:
            raise BadValueError("the labels are not those that the header tells")
        return labels[-1]

    def _ends(self, records: Sequence[Any]) -> list[Sequence[Any]]:
        found: list[Sequence[Any]] = []
        for name, codecs in zip(("start", "end"), self._end_codecs, strict=True):
            keys = [record[name] for record in records]
            if any(type(key) is not list or len(key) != len(codecs) for key in keys):
                raise BadValueError(f"the key of the {name} is not whole")
            columns = zip(codecs, zip(*keys, strict=True), strict=True)
            found += [_named(name, codec, column) for codec, column in columns]
        return found


def _named(name: str, codec: Codec, column: Sequence[Any]) -> Sequence[Any]:
    try:
        return codec.values_of_json(column)
    except BadValueError as error:
        raise BadValueError(f"{name}: {error}") from error


def _check_owner(shape: Shape, values: Sequence[Sequence[Any]]) -> None:
    """The name of the rule that made a node is that of its entity."""
    if OF in shape.properties and isinstance(shape, NodeShape) and shape.of:
        owners = values[shape.properties.index(OF)]
        if any(owner != shape.of for owner in owners):
            raise BadValueError(f"{OF}: the node is not of {shape.of}")


def _marks(column: Sequence[Any]) -> Sequence[Any]:
    if None in column:
        raise BadValueError(f"there is no {FINGERPRINT}")
    return column


class CsvRecordReader(_Reader):
    """Reads cells that `CsvRecords` wrote."""

    def __init__(self, head: EntityHead) -> None:
        shape = head.shape
        self._head, self._shape = head, shape
        self._codecs = head.codecs
        self._names = shape.properties
        self._lasts: dict[str, str | None] = {}
        if isinstance(shape, NodeShape):
            self._key_codecs, self._key_at = head.key_codecs, head.key_at
            for label in (*reversed(shape.by_value), None):
                self._lasts[label_cell(shape, label)] = label
        else:
            self._end_codecs = head.end_codecs
            self._lasts[cell_of(shape.type)] = None

    def _columns(self, records: Sequence[Any]) -> list[Sequence[Any]]:
        columns = list(zip(*records, strict=True))
        ends = 1 if isinstance(self._shape, NodeShape) else 2
        own = columns[ends : ends + len(self._codecs)]
        values: list[Sequence[Any]] = []
        for name, codec, column in zip(self._names, self._codecs, own, strict=True):
            values.append(_named_cells(name, codec, column))
        _check_owner(self._shape, values)
        labels = self._last(columns[-2])
        marks = _marks(_named_cells(FINGERPRINT, _INT, columns[-1]))
        if isinstance(self._shape, NodeShape):
            self._check_ids(columns[0], [values[place] for place in self._key_at])
            return [*values, marks, labels]
        keys: list[Sequence[Any]] = []
        for place in (0, 1):
            stem, codecs = self._head.end_stems[place], self._end_codecs[place]
            keys += _keys_of_cells(stem, codecs, columns[place])
        return [*keys, *values, marks, labels]

    def _check_ids(self, cells: Sequence[str], keys: Sequence[Sequence[Any]]) -> None:
        expected = id_cells(self._head.stem, self._key_codecs, keys)
        for cell, wanted in zip(cells, expected, strict=True):
            if cell != wanted and (not cell or text_of(cell) != text_of(wanted)):
                raise BadValueError("the id does not fit the key")

    def _last(self, cells: Sequence[str]) -> list[str | None]:
        """The label that a value gave, of the cells with all labels (or the type)."""
        try:
            return [self._lasts[cell] for cell in cells]
        except KeyError:
            plain = {text_of(cell): label for cell, label in self._lasts.items()}
        try:
            return [plain[text_of(cell)] for cell in cells]
        except LookupError:
            what = "labels are" if isinstance(self._shape, NodeShape) else "type is"
            raise BadValueError(f"the {what} not what the header tells") from None


def _named_cells(name: str, codec: Codec, cells: Sequence[str]) -> list[Any]:
    try:
        return codec.values_of_cells(cells)
    except BadValueError as error:
        raise BadValueError(f"{name}: {error}") from error


def _keys_of_cells(stem: str, codecs: Sequence[Codec], cells: Sequence[str]) -> list[Sequence[Any]]:
    """The keys that `id_cells` wrote, a column for each of their parts."""
    texts = [text_of(cell) for cell in cells]
    prefix = f"{stem}/"
    if len(codecs) == 1:
        parts: list[Sequence[str | None]] = [
            [None if text == stem else _after(prefix, text) for text in texts]
        ]
    else:
        rows = [split_text(_after(prefix, text)) for text in texts]
        if any(len(row) != len(codecs) for row in rows):
            raise BadValueError("an id is not whole")
        parts = list(zip(*rows, strict=True))
    return [codec.values_of_texts(part) for codec, part in zip(codecs, parts, strict=True)]


def _after(prefix: str, text: str) -> str:
    if not text.startswith(prefix):
        raise BadValueError("an id is not of the node that the header tells")
    return text[len(prefix) :]
