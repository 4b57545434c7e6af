"""The forms of a graph in files: JSON, JSON lines, and a folder of CSV with typed headers.

Each says in a header which entities it holds, with the type of every property, and how many
records of each. A record is one node or relationship (`file_records`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from geode_tui.errors import UsageError
from geode_tui.target.compression import SUFFIXES, Compression, suffix_of
from geode_tui.target.file_values import (
    ANY,
    Codec,
    codec_of,
)
from geode_tui.target.model import NodeShape, RelationshipShape

Format = Literal["json", "jsonl", "csv"]
Shape = NodeShape | RelationshipShape

FORMAT_NAME = "geode-tui graph"
FORMAT_VERSION = 1
HEADER_FILE = "graph.json"
"""The header of a folder of CSV."""
_EXTENSIONS: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_STEM_LENGTH = 80
_SHAPE = {"id", "key", "properties", "records", "digest", "file", "ids"}
_CSV_TYPES = {
    "BOOL": "boolean",
    "INT": "long",
    "FLOAT": "double",
    "DATE": "date",
    "TIME": "localtime",
    "TIMESTAMP": "localdatetime",
    "TIMESTAMPTZ": "datetime",
}


@dataclass(frozen=True, slots=True)
class FileForm:
    """The format of a graph in files, and how the files are compressed."""

    format: Format
    compression: Compression | None = None


def form_of(place: str, format_name: str | None = None, compression: str | None = None) -> FileForm:
    """The form that a place's name says: `.json`, `.jsonl`, each with `.gz` or `.zst`, or a folder.

    `format_name` and `compression` are what a person asked for, None where nothing; the files in
    a folder of CSV are compressed as `compression` says. Raises UsageError where name and wish
    differ, or the name says nothing.
    """
    path = Path(place)
    ends = [end.lower() for end in path.suffixes[-2:]]
    by_name = SUFFIXES.get(ends[-1]) if ends else None
    extension = ends[-2] if by_name and len(ends) > 1 else (ends[-1] if ends else "")
    named = _EXTENSIONS.get(extension)
    if format_name == "csv" or (format_name is None and named is None and path.is_dir()):
        if named or by_name:
            raise UsageError(f"{place} is no name for a folder of CSV", "", "name a folder")
        return FileForm("csv", _compression(compression))
    if named is None or format_name not in (None, named):
        wanted = format_name or "json, .jsonl or a folder of CSV"
        raise UsageError(
            f"{place} does not say what it holds" if named is None else f"{place} is {named}",
            f"the name must say the format: {wanted}",
            "name a file that ends in .json or .jsonl, with .gz or .zst after it, or a folder",
        )
    if compression is not None and _compression(compression) != by_name:
        end = suffix_of(_compression(compression))
        raise UsageError(f"{place} is not named {end}", "", f"name the file …{extension}{end}")
    return FileForm(named, by_name)


def _compression(name: str | None) -> Compression | None:
    if name in (None, "", "none"):
        return None
    found = next((kind for kind in SUFFIXES.values() if kind == name), None)
    if found is None:
        raise UsageError(f"{name} is no compression", "", "use gzip or zstd")
    return found


@dataclass(frozen=True)
class EntityHead:
    """What a header says of an entity.

    `start` and `end` are the ids of a relationship's ends. `stem` is what the ids of its nodes
    begin with in a folder of CSV (`end_stems`: those of its ends), `file` its file there. `records`
    and their `digest` are None before they are counted.
    """

    id: str
    shape: Shape
    start: str = ""
    end: str = ""
    stem: str = ""
    end_stems: tuple[str, str] = ("", "")
    file: str = ""
    records: int | None = None
    digest: int | None = None

    @property
    def kind(self) -> Literal["node", "relationship"]:
        """Whether its records are nodes or relationships."""
        return "node" if isinstance(self.shape, NodeShape) else "relationship"

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """The codecs of the properties."""
        return _codecs(self.shape)

    @property
    def key_codecs(self) -> tuple[Codec, ...]:
        """The codecs of a node's key."""
        assert isinstance(self.shape, NodeShape)
        return _key_codecs(self.shape)

    @property
    def end_codecs(self) -> tuple[tuple[Codec, ...], tuple[Codec, ...]]:
        """The codecs of the keys of a relationship's ends."""
        assert isinstance(self.shape, RelationshipShape)
        return _key_codecs(self.shape.start), _key_codecs(self.shape.end)

    @cached_property
    def key_at(self) -> tuple[int, ...]:
        """The positions of a node's key among its properties."""
        return tuple(self.shape.properties.index(name) for name in self.shape.key)


@dataclass(frozen=True)
class Header:
    """The header of a graph in files: the run that wrote it, and its entities, nodes first."""

    run: str
    entities: tuple[EntityHead, ...]

    def counted(self, counts: Sequence[tuple[int, int]]) -> Header:
        """The header with the number and the digest of each entity's records."""
        heads = [
            replace(head, records=records, digest=digest)
            for head, (records, digest) in zip(self.entities, counts, strict=True)
        ]
        return Header(self.run, tuple(heads))

    @cached_property
    def places(self) -> dict[Shape, int]:
        """The position of each entity by its shape."""
        return {head.shape: place for place, head in enumerate(self.entities)}


def header_of(
    run: str, entities: Iterable[tuple[str, Shape]], compression: Compression | None = None
) -> Header:
    """The header of some entities (id and shape); a node that is only an end is added.

    `compression` is that of the files of a folder. Raises UsageError where two entities have the
    same id, or the same shape.
    """
    given = list(entities)
    nodes = [(name, shape) for name, shape in given if isinstance(shape, NodeShape)]
    edges = [(name, shape) for name, shape in given if isinstance(shape, RelationshipShape)]
    for shape in dict.fromkeys(chain.from_iterable((s.start, s.end) for _, s in edges)):
        if shape not in [known for _, known in nodes]:
            nodes.append((shape.of or shape.label, shape))
    ids = {shape: name for name, shape in nodes}
    heads = [EntityHead(name, shape) for name, shape in nodes]
    heads += [EntityHead(name, s, ids[s.start], ids[s.end]) for name, s in edges]
    _refuse_twins(heads)
    stems = _stems([head.id for head in heads])
    stem_of = dict(zip(ids.values(), stems, strict=False))
    end = f".csv{suffix_of(compression)}"
    named = [
        replace(
            head,
            stem=stem,
            file=f"{head.kind}s_{stem}{end}",
            end_stems=(stem_of.get(head.start, ""), stem_of.get(head.end, "")),
        )
        for head, stem in zip(heads, stems, strict=True)
    ]
    return Header(run, tuple(named))


def _refuse_twins(heads: Sequence[EntityHead]) -> None:
    seen: set[str | Shape] = set()
    for head in heads:
        if head.id in seen or head.shape in seen:
            raise UsageError(f"there are two entities {head.id}", "", "give one another name")
        seen |= {head.id, head.shape}


def _stems(names: Sequence[str]) -> list[str]:
    """Names for files, each another one where upper and lower case are the same too."""
    stems: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name)[:_STEM_LENGTH].strip("_") or "entity"
        stem, number = plain, 2
        while stem.lower() in stems:
            stem, number = f"{plain}_{number}", number + 1
        stems[stem.lower()] = stem
    return list(stems.values())


# -- the header as JSON ---------------------------------------------------------------------------


def header_json(header: Header, folder: bool) -> dict[str, Any]:
    """A header as what JSON can hold; that of a folder names the files."""
    told = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "run": header.run,
        "nodes": [_node_json(head, folder) for head in header.entities if head.kind == "node"],
        "relationships": [
            _relationship_json(head, folder)
            for head in header.entities
            if head.kind == "relationship"
        ],
    }
    return told | {"crc32": _checksum(told)}


def _checksum(told: dict[str, Any]) -> int:
    """Tells a header that was damaged, however it is laid out."""
    rest = {name: value for name, value in told.items() if name != "crc32"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _node_json(head: EntityHead, folder: bool) -> dict[str, Any]:
    shape = head.shape
    assert isinstance(shape, NodeShape)
    told: dict[str, Any] = {"id": head.id, "label": shape.label}
    if shape.labels:
        told["labels"] = list(shape.labels)
    if shape.by_value:
        told["labels_by_value"] = list(shape.by_value)
    if shape.of:
        told["of"] = shape.of
    return told | _shape_json(head, folder)


def _relationship_json(head: EntityHead, folder: bool) -> dict[str, Any]:
    shape = head.shape
    assert isinstance(shape, RelationshipShape)
    told = {"id": head.id, "type": shape.type, "start": head.start, "end": head.end}
    return told | {"owned": shape.owned} | _shape_json(head, folder)


def _shape_json(head: EntityHead, folder: bool) -> dict[str, Any]:
    shape = head.shape
    kinds = shape.types or (None,) * len(shape.properties)
    properties = [
        {"name": name} | ({"type": kind} if kind else {})
        for name, kind in zip(shape.properties, kinds, strict=True)
    ]
    told: dict[str, Any] = {"key": list(shape.key), "properties": properties}
    if head.records is not None:
        told |= {"records": head.records, "digest": head.digest}
    return told | {"file": head.file, "ids": head.stem} if folder else told


def read_header(told: Any) -> Header:
    """The header that `header_json` made. Raises ValueError, saying what is wrong with it."""
    if not isinstance(told, dict) or told.get("format") != FORMAT_NAME:
        raise ValueError("there is no header of a geode-tui graph")
    if told.get("version") != FORMAT_VERSION:
        raise ValueError(f"the version of the format is {told.get('version')!r}, not 1")
    try:
        return _read_header(told)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the header is not whole: {error}") from error


def _read_header(told: dict[str, Any]) -> Header:
    heads: dict[str, EntityHead] = {}
    _refuse_unknown(told, {"format", "version", "run", "nodes", "relationships", "crc32"})
    if told.get("crc32", wanted := _checksum(told)) != wanted:
        raise ValueError("the header is not as it was written")
    for node in told["nodes"]:
        _refuse_unknown(node, _SHAPE | {"label", "labels", "labels_by_value", "of"})
        names, kinds, key = _properties_of(node)
        shape = NodeShape(
            _string(node["label"]),
            key,
            names,
            kinds,
            _strings(node.get("labels", [])),
            _strings(node.get("labels_by_value", [])),
            _string(node.get("of", "")),
        )
        _add(heads, _head(node, shape))
    nodes = dict(heads)
    for told_one in told["relationships"]:
        _refuse_unknown(told_one, _SHAPE | {"type", "start", "end", "owned"})
        names, kinds, key = _properties_of(told_one)
        start, end = (nodes[told_one[place]] for place in ("start", "end"))
        assert isinstance(start.shape, NodeShape)
        assert isinstance(end.shape, NodeShape)
        kind = _string(told_one["type"])
        owned = told_one["owned"] is True
        edge = RelationshipShape(kind, start.shape, end.shape, key, names, kinds, owned)
        stems = (start.stem, end.stem)
        head = replace(_head(told_one, edge), start=start.id, end=end.id, end_stems=stems)
        _add(heads, head)
    return Header(_string(told.get("run", "")), tuple(heads.values()))


def _refuse_unknown(told: dict[str, Any], known: Collection[str]) -> None:
    unknown = [name for name in told if name not in known]
    if unknown:
        raise ValueError(f"the header has a member {unknown[0]} that nobody knows")


def _add(heads: dict[str, EntityHead], head: EntityHead) -> None:
    if head.id in heads:
        raise ValueError(f"the header tells of {head.id} twice")
    heads[head.id] = head


def _head(told: dict[str, Any], shape: Shape) -> EntityHead:
    records, digest = told.get("records"), told.get("digest")
    for number in (records, digest):
        if number is not None and (type(number) is not int or number < 0):
            raise ValueError(f"the records of {told['id']} are not told well")
    file, stem = _string(told.get("file", "")), _string(told.get("ids", ""))
    if file != Path(file).name:
        raise ValueError(f"the file of {told['id']} is not in the folder")
    return EntityHead(
        _string(told["id"]), shape, stem=stem, file=file, records=records, digest=digest
    )


def _properties_of(
    told: dict[str, Any],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    for item in told["properties"]:
        _refuse_unknown(item, {"name", "type"})
    names = tuple(_string(item["name"]) for item in told["properties"])
    kinds = tuple(_string(item["type"]) for item in told["properties"] if "type" in item)
    if len(set(names)) != len(names) or len(kinds) not in (0, len(names)):
        raise ValueError(f"the properties of {told['id']} are not told well")
    for kind in kinds:
        codec_of(kind)
    key = _strings(told["key"])
    if not set(key) <= set(names):
        raise ValueError(f"the key of {told['id']} names no property")
    return names, kinds, key


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(_string(value) for value in values)


def header_line(header: Header) -> str:
    """A header as one line of JSON."""
    return json.dumps(header_json(header, False), ensure_ascii=False, separators=(",", ":"))


def folder_header(header: Header) -> str:
    """A header as the file of a folder of CSV."""
    return json.dumps(header_json(header, True), ensure_ascii=False, indent=2) + "\n"


def _codecs(shape: Shape) -> tuple[Codec, ...]:
    kinds = shape.types or (ANY,) * len(shape.properties)
    return tuple(codec_of(kind) for kind in kinds)


def _key_codecs(shape: NodeShape) -> tuple[Codec, ...]:
    kinds = dict(zip(shape.properties, shape.types or (), strict=False))
    return tuple(codec_of(kinds.get(name, ANY)) for name in shape.key)
