"""Graphs in files: nothing is lost on the way out and in again, and damage is told by its line."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import ConnectError, GeodeTuiError, UsageError
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Rule
from geode_tui.source.postgres import Source
from geode_tui.target import file_check, file_parsing
from geode_tui.target.file_formats import Shape, form_of
from geode_tui.target.file_reading import GraphFiles, open_graph_files
from geode_tui.target.files import FileTarget
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
)
from geode_tui.validation.digest import fingerprint, fingerprints_of
from geode_tui.validation.entity import Entity, entity_of
from tests import test_nasty_schema as nasty
from tests.conftest import run_now
from tests.migrate import read_catalog

RUN = "run1"
FORMS = [
    ("graph.jsonl", None),
    ("graph.json", None),
    ("graph", None),
    ("graph.jsonl.gz", None),
    ("graph.jsonl.zst", None),
    ("graph.json.gz", None),
    ("graph.json.zst", None),
    ("graph", "gzip"),
    ("graph", "zstd"),
]
PLAIN = FORMS[:3]
every_form = pytest.mark.parametrize(("name", "compression"), FORMS)
plain_form = pytest.mark.parametrize(("name", "compression"), PLAIN)

PERSON = NodeShape(
    "Person",
    ("id",),
    ("id", "name", "born", "tags", "_of"),
    ("INT", "STRING", "DATE", "LIST<STRING>", "STRING"),
    ("Being",),
    ("Vip", "Old friend"),
    "person",
)
PLACE = NodeShape("Place", ("_row",), ("price", "_row"), ("DECIMAL", "STRING"))
SEAT = NodeShape("Seat", ("row", "number"), ("row", "number"), ("STRING", "INT"))
LIVES = RelationshipShape("LIVES_IN", PERSON, PLACE, (), ("since",), ("TIMESTAMPTZ",), True)
SITS = RelationshipShape("SITS_ON", PERSON, SEAT, ("at",), ("at",), ("TIME",))
ENTITIES: list[tuple[str, Shape]] = [
    ("person", PERSON),
    ("place", PLACE),
    ("seat", SEAT),
    ("(person)-[LIVES_IN]->(place)", LIVES),
    ("(person)-[SITS_ON]->(seat)", SITS),
]
PEOPLE: list[tuple[Any, ...]] = [
    (1, 'Ann "the one", O\'Neil', date(1999, 12, 31), ["a;b", None, "", "\\"], "person"),
    (2, "", None, [], "person"),
    (3, None, date(1, 1, 1), None, "person"),
    (4, "two\nlines\r\n\n", date(9999, 12, 31), [""], "person"),
    (5, "ж 🜚 \u2028", date(2024, 2, 29), [None], "person"),
]
LABELS = [None, "Vip", None, "Old friend", "Vip"]
PLACES: list[tuple[Any, ...]] = [(Decimal("1.50"), "(0,1)"), (None, "(0,2)"), (Decimal(3), "(0,3)")]
SEATS: list[tuple[Any, ...]] = [("a/b;c", 1), ("", 2), ("\\", 3)]
LIVING: list[tuple[Any, ...]] = [
    (1, "(0,1)", datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    (2, "(0,3)", None),
]
SITTING: list[tuple[Any, ...]] = [(1, "a/b;c", 1, time(9, 30)), (5, "", 2, time(0, 0, 0, 1))]
ROWS: dict[str, list[tuple[Any, ...]]] = dict(
    zip((name for name, _ in ENTITIES), (PEOPLE, PLACES, SEATS, LIVING, SITTING), strict=True)
)


@pytest.fixture(autouse=True)
def _nobody_cuts_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk takes most of the time of small exports, and shows nothing here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def _types(shape: Shape) -> list[tuple[str, str]]:
    own = list(zip(shape.properties, shape.types, strict=True))
    if isinstance(shape, NodeShape):
        return own
    ends = [
        (name, dict(zip(end.properties, end.types, strict=True))[name])
        for end in (shape.start, shape.end)
        for name in end.key
    ]
    return [*ends, *own]


def _marked(shape: Shape, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with the fingerprint that PostgreSQL would give them."""
    told = [kind if name not in ("_row", "_of") else "" for name, kind in _types(shape)]
    return [
        (*row, fingerprint((v, kind) for v, kind in zip(row, told, strict=True) if kind))
        for row in rows
    ]


def _target(folder: Path, name: str, compression: str | None = None) -> FileTarget:
    format_name = "csv" if "." not in name else None
    return FileTarget(folder / name, form_of(str(folder / name), format_name, compression))


def _write_chunk(
    target: FileTarget,
    shape: Shape,
    step: int,
    rows: Sequence[tuple[Any, ...]],
    labels: Sequence[str | None] = (),
) -> int:
    target.begin_chunk(shape, step)
    if isinstance(shape, NodeShape):
        written = target.write_nodes(NodeBatch(shape, rows, RUN, labels, step), False)
    else:
        written = target.write_relationships(RelationshipBatch(shape, rows, RUN, step), False)
    target.end_chunk(shape, step)
    return written.rows


def _export(folder: Path, name: str, compression: str | None = None) -> Path:
    """The sample graph in files."""
    target = _target(folder, name, compression)
    target.declare(RUN, ENTITIES)
    for step, (entity, shape) in enumerate(ENTITIES, 1):
        labels = LABELS if shape is PERSON else ()
        _write_chunk(target, shape, step, _marked(shape, ROWS[entity]), labels)
    target.flush()
    target.close()
    return folder / name


def _records(files: GraphFiles, size: int = 1 << 30) -> dict[str, list[tuple[Any, ...]]]:
    """All records as a target is given them, with the label that a value gave."""
    return {
        entity.id: [
            (*entity.values(row), entity.label(row))
            for low, high in files.cut(entity, size)
            for rows in files.rows(entity, low, high, 1000)
            for row in rows
        ]
        for entity in files.entities
    }


def _expected() -> dict[str, list[tuple[Any, ...]]]:
    expected = {}
    for name, shape in ENTITIES:
        labels = LABELS if shape is PERSON else [None] * len(ROWS[name])
        rows = _marked(shape, ROWS[name])
        expected[name] = [(*row, label) for row, label in zip(rows, labels, strict=True)]
    return expected


def _exact(value: Any) -> Any:
    """A value with its type, so that 1, 1.0 and True, 1.5 and 1.50, 0.0 and -0.0 differ."""
    if isinstance(value, list | tuple):
        return ("list", *map(_exact, value))
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return (float, "nan")
    if isinstance(value, datetime):
        return (datetime, value.replace(tzinfo=None), value.utcoffset())
    return (type(value), repr(value))


def _files_of(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else [place]


# -- what goes out comes in -----------------------------------------------------------------------

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans(),
    "INT": st.integers() | st.integers(-(2**80), 2**80),
    "FLOAT": st.floats(),
    "DECIMAL": st.decimals(),
    "STRING": _TEXTS | st.sampled_from(['"', '""', ",", "\r", "\n", "\\N", "\\", ";", "\\J[]"]),
    "BYTES": st.binary(max_size=12),
    "DATE": st.dates(),
    "TIME": st.times().map(lambda value: value.replace(fold=0)),
    "TIMESTAMP": st.datetimes().map(lambda value: value.replace(fold=0)),
    "TIMESTAMPTZ": st.datetimes(
        timezones=st.just(UTC)
        | st.builds(timezone, st.integers(-86399, 86399).map(lambda s: timedelta(seconds=s)))
    ),
}
_LISTS = {
    f"LIST<{kind}>": st.lists(st.none() | of, max_size=3)
    | st.lists(st.lists(st.none() | of, max_size=2), min_size=1, max_size=2)
    for kind, of in _SCALARS.items()
}
_OF_TYPES = _SCALARS | _LISTS
_ANYTHING = st.recursive(
    st.one_of(st.none(), *_SCALARS.values()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "$type", "$value", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
_VALUE_NAMES = tuple(kind.lower() for kind in _OF_TYPES)
_VALUES = NodeShape("Value", ("n",), ("n", *_VALUE_NAMES, "any"), ("INT", *_OF_TYPES, "ANY"))
_ROW = st.tuples(*(st.none() | of for of in _OF_TYPES.values()), _ANYTHING)
_numbers = itertools.count()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(_ROW, min_size=1, max_size=4))
def test_every_value_of_every_type_survives_every_format(
    tmp_path: Path, rows: list[tuple[Any, ...]]
) -> None:
    """What was exported is imported as it was: type, digits, sign, null or empty."""
    values = [(n, *row, 7) for n, row in enumerate(rows)]
    for name, compression in PLAIN:
        folder = tmp_path / str(next(_numbers))
        folder.mkdir()
        target = _target(folder, name, compression)
        target.declare(RUN, [("values", _VALUES)])
        assert _write_chunk(target, _VALUES, 1, values) == len(values)
        target.flush()
        files = open_graph_files(str(folder / name))
        assert files.check().records == {"values": len(values)}
        assert _exact([row[:-1] for row in _records(files)["values"]]) == _exact(values)
        files.close()


_KEYS = st.tuples(*_SCALARS.values())


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=st.lists(_KEYS, min_size=2, max_size=2), kind=st.sampled_from(sorted(_SCALARS)))
def test_keys_of_any_type_lead_to_the_same_nodes_again(
    tmp_path: Path, keys: list[tuple[Any, ...]], kind: str
) -> None:
    """Composite keys and single ones, of whatever type, survive as ends of relationships."""
    names = tuple(_SCALARS)
    many, one = NodeShape("M", names, names, names), NodeShape("O", ("k",), ("k",), (kind,))
    link = RelationshipShape("LINK", many, one, (), (), ())
    single = keys[1][names.index(kind)]
    for name, compression in PLAIN:
        folder = tmp_path / str(next(_numbers))
        folder.mkdir()
        target = _target(folder, name, compression)
        target.declare(RUN, [("m", many), ("o", one), ("l", link)])
        _write_chunk(target, many, 1, [(*keys[0], 1)])
        _write_chunk(target, one, 2, [(single, 2)])
        _write_chunk(target, link, 3, [(*keys[0], single, 3)])
        target.flush()
        files = open_graph_files(str(folder / name))
        files.check()
        assert _exact(_records(files)["l"][0][:-1]) == _exact((*keys[0], single, 3))
        entity = files.entities[2]
        (rows,) = files.rows(entity, *files.cut(entity, 1)[0], 10)
        assert _exact(entity.relationship_key(rows[0])) == _exact((keys[0], (single,), ()))


@every_form
def test_a_graph_comes_back_with_labels_keys_and_fingerprints(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Nodes and relationships, further labels, labels by value, `_of`, `_row` and `_fp`."""
    files = open_graph_files(str(_export(tmp_path, name, compression)))
    checked = files.check(fingerprints_of)
    assert [(entity.id, entity.shape) for entity in files.entities] == ENTITIES
    assert checked.records == {entity: len(rows) for entity, rows in ROWS.items()}
    assert checked.counted["person"].labels == {"Vip": 2, "Old friend": 1}
    assert checked.counted["person"].present == (5, 4, 4, 4, 5)
    assert _exact(list(_records(files).values())) == _exact(list(_expected().values()))
    needs = {entity.id: entity.needs for entity in files.entities}
    assert needs["(person)-[LIVES_IN]->(place)"] == ("person", "place")
    assert needs["person"] == ()


_HOSTILE = ['"[/foo]"', "a b,c", "🜚'; DROP", "%s %(x)s", "a:b", "{}\\", "MATCH", "x\ny", "\t"]


@plain_form
def test_hostile_names_survive(tmp_path: Path, name: str, compression: str | None) -> None:
    """Rules, labels, types and properties are called what they are called."""
    properties = tuple(_HOSTILE)
    kinds = ("STRING",) * len(properties)
    entities: list[tuple[str, Shape]] = []
    for number, own in enumerate([*_HOSTILE, "A", "a", "../a", "x" * 300, "é" * 40]):
        node = NodeShape(
            f"{own}{number}",
            (own,) if own in properties else (properties[0],),
            properties,
            kinds,
            (f"{own};",),
            (own,),
        )
        entities.append((own, node))
        edge = RelationshipShape(own, node, node, (), properties, kinds)
        entities.append((f"({own})-[{own}]->({own})", edge))
    target = _target(tmp_path, name, compression)
    target.declare(RUN, entities)
    for step, (own, shape) in enumerate(entities):
        keys = (own, own) if isinstance(shape, RelationshipShape) else ()
        labels = (own,) if isinstance(shape, NodeShape) else ()
        _write_chunk(target, shape, step, [(*keys, *properties, step)], labels)
    target.flush()
    files = open_graph_files(str(tmp_path / name))
    files.check()
    assert {entity.id: entity.shape for entity in files.entities} == dict(entities)
    records = _records(files)
    for step, (own, shape) in enumerate(entities):
        keys = (own, own) if isinstance(shape, RelationshipShape) else ()
        label = own if isinstance(shape, NodeShape) else None
        assert records[own] == [(*keys, *properties, step, label)]
    places = [path.resolve().parent for path in _files_of(tmp_path / name)]
    assert set(places) == {(tmp_path / name).resolve()} or not (tmp_path / name).is_dir()


def test_a_row_without_a_form_in_the_file_does_not_take_its_batch_along(tmp_path: Path) -> None:
    """Of 100 rows one has a value of another type, one half a character: 98 are in, two told."""
    shape = NodeShape("A", ("id",), ("id", "name"), ("INT", "STRING"))
    rows: list[tuple[Any, ...]] = [(n, f"name {n}", n) for n in range(100)]
    rows[7] = (7, 7, 7)
    rows[55] = (55, "half \ud83d", 55)
    target = _target(tmp_path, "graph", None)
    target.declare(RUN, [("a", shape)])
    target.begin_chunk(shape, 1)
    written = target.write_nodes(NodeBatch(shape, rows, RUN, (), 1), False)
    target.end_chunk(shape, 1)
    target.flush()
    assert written.rows == 98
    assert [(r.position, r.error_class) for r in written.refused] == [(7, "value"), (55, "value")]
    assert target.count_nodes(shape) == 98


@pytest.mark.parametrize("name", ["graph.json", "graph.jsonl"])
def test_half_a_character_survives_json(tmp_path: Path, name: str) -> None:
    """JSON can escape it; two halves that a reader would join are refused."""
    shape = NodeShape("A", ("id",), ("id", "name"), ("INT", "STRING"))
    target = _target(tmp_path, name)
    target.declare(RUN, [("a", shape)])
    rows = [(1, "\udc00 \ud83d", 1), (2, "\ud83d\ude00", 2)]
    assert _write_chunk(target, shape, 1, rows) == 1
    target.flush()
    files = open_graph_files(str(tmp_path / name))
    files.check()
    assert _records(files)["a"] == [(*rows[0], None)]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(*(st.none() | of for of in _OF_TYPES.values())), max_size=3))
def test_fingerprints_of_many_rows_are_those_of_each(rows: list[tuple[Any, ...]]) -> None:
    """The check of files makes them by the column, the rest of the program by the row."""
    rows = [tuple(map(_finite, row)) for row in rows]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_OF_TYPES)
    found = fingerprints_of(list(_OF_TYPES))(columns, len(rows))
    assert found == [fingerprint(zip(row, _OF_TYPES, strict=True)) for row in rows]
    assert fingerprints_of([])([], 2) == [fingerprint([])] * 2


def _finite(value: Any) -> Any:
    """Decimals as graphs have them: finite."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return Decimal(0) if isinstance(value, Decimal) and not value.is_finite() else value


def test_the_nastiest_database_survives(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Every row of it that a graph can hold, with names, types and values of all kinds."""
    dsn = postgres.dsn("nasty_files")
    run_now(nasty.on_server(postgres.dsn(), "CREATE DATABASE nasty_files TEMPLATE template0"))
    try:
        run_now(nasty.build(dsn))
        catalog = read_catalog(dsn)
        mapping = infer(catalog)
        rules: list[Rule] = [*mapping.active_nodes, *mapping.active_relationships]
        entities = [entity_of(rule, mapping, catalog) for rule in rules]
        rows = run_now(_carried(dsn, entities))
    finally:
        run_now(nasty.on_server(postgres.dsn(), "DROP DATABASE nasty_files WITH (FORCE)"))
    declared = [(entity.id, entity.shape) for entity in entities]
    for name, compression in PLAIN:
        target = _target(tmp_path, name, compression)
        target.declare(RUN, declared)
        for step, entity in enumerate(entities, 1):
            values = [entity.values(row) for row in rows[entity.id]]
            labels = [entity.label(row) for row in rows[entity.id]] if entity.kind == "node" else ()
            assert _write_chunk(target, entity.shape, step, values, labels) == len(values)
        target.flush()
        files = open_graph_files(target.place)
        files.check(fingerprints_of)
        found = _records(files)
        for entity in entities:
            expected = [(*entity.values(row), entity.label(row)) for row in rows[entity.id]]
            assert _exact(found[entity.id]) == _exact(expected), entity.id
    assert sum(map(len, rows.values())) > 200


async def _carried(dsn: str, entities: Sequence[Entity]) -> dict[str, list[Any]]:
    """The rows of each entity that a graph can hold."""
    source = await Source.connect(dsn)
    try:
        reader = await source.reader()
        found = {each.id: await reader.fetch(each.extract.stream_sql) for each in entities}
        await reader.close()
    finally:
        await source.close()
    return {
        each.id: [row for row in found[each.id] if each.rejected(row) is None] for each in entities
    }


# -- the forms themselves, read without the product -----------------------------------------------


def test_csv_has_the_columns_that_bulk_loaders_read(tmp_path: Path) -> None:
    """Ids, labels, starts, ends and types; an id is unique in the folder; null is not empty."""
    folder = _export(tmp_path, "graph")
    assert sorted(path.name for path in folder.iterdir()) == [
        "graph.json",
        "nodes_person.csv",
        "nodes_place.csv",
        "nodes_seat.csv",
        "relationships_person_LIVES_IN_place.csv",
        "relationships_person_SITS_ON_seat.csv",
    ]
    tables = {}
    for path in folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            tables[path.stem] = list(csv.reader(file, strict=True))
    people = tables["nodes_person"]
    assert people[0] == [
        *(":ID(person)", "id:long", "name:string", "born:date", "tags:string[]", "_of:string"),
        *(":LABEL", "_fp:long"),
    ]
    assert people[1][:4] == ["person/1", "1", 'Ann "the one", O\'Neil', "1999-12-31"]
    assert [row[-2] for row in people[1:]] == [
        *("Person;Being", "Person;Being;Vip", "Person;Being", "Person;Being;Old friend"),
        "Person;Being;Vip",
    ]
    lives = tables["relationships_person_LIVES_IN_place"]
    assert lives[0] == [
        ":START_ID(person)",
        ":END_ID(place)",
        "since:datetime",
        ":TYPE",
        "_fp:long",
    ]
    assert lives[1][:4] == [
        "person/1",
        "place/(0,1)",
        "2024-01-02T03:04:05.000006+00:00",
        "LIVES_IN",
    ]
    ids = [row[0] for stem, rows in tables.items() if "nodes" in stem for row in rows[1:]]
    assert len(ids) == len(set(ids)) == 11
    ends = [
        end for stem, rows in tables.items() if "rel" in stem for row in rows[1:] for end in row[:2]
    ]
    assert set(ends) <= set(ids)
    lines = (folder / "nodes_person.csv").read_text().split("\n")
    assert lines[2].startswith('"person/2",2,"",,"",')
    assert lines[3].startswith('"person/3",3,,0001-01-01,,')


def test_json_and_json_lines_hold_the_same_plain_objects(tmp_path: Path) -> None:
    """Any reader of JSON finds nodes with labels and properties, relationships with their ends."""
    lines = _export(tmp_path, "graph.jsonl").read_text(encoding="utf-8").split("\n")
    header, *records = map(json.loads, filter(None, lines))
    document = json.loads(_export(tmp_path, "graph.json").read_bytes())
    assert document == {
        "header": header,
        "nodes": [record for record in records if "node" in record],
        "relationships": [record for record in records if "relationship" in record],
    }
    assert records[1]["properties"] == {
        "id": 2,
        "name": "",
        "born": None,
        "tags": [],
        "_of": "person",
    }
    assert records[1]["labels"] == ["Person", "Being", "Vip"]
    assert (records[-1]["type"], records[-1]["start"], records[-1]["end"]) == (
        "SITS_ON",
        [5],
        ["", 2],
    )
    assert [node["records"] for node in header["nodes"]] == [5, 3, 3]


def test_other_programs_read_the_compressed_files(tmp_path: Path) -> None:
    """Joined members are one gzip file, joined frames one zstd file."""
    plain = _export(tmp_path, "graph.jsonl").read_bytes()
    assert gzip.decompress(_export(tmp_path, "graph.jsonl.gz").read_bytes()) == plain
    zstandard = pytest.importorskip("zstandard")
    packed = _export(tmp_path, "graph.jsonl.zst").open("rb")
    with packed, zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as out:
        assert out.read() == plain


def _resaved(document: dict[str, Any], how: str) -> str:
    if how == "one line":
        return json.dumps(document)
    if how == "indented":
        return json.dumps(document, indent=3, ensure_ascii=False).replace("\n", "\r\n")
    order = ["relationships", "nodes", "header"]
    return " " + json.dumps({name: document[name] for name in order}, separators=("\t,", " : "))


@pytest.mark.parametrize("how", ["one line", "indented", "header last"])
@pytest.mark.parametrize("block", [7, 64, 1 << 18])
def test_a_document_may_be_laid_out_in_any_way(
    tmp_path: Path, how: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program saved is the same graph, wherever the blocks it is read in end."""
    monkeypatch.setattr(file_parsing, "BLOCK_BYTES", block)
    place = _export(tmp_path, "graph.json")
    document = json.loads(place.read_bytes())
    place.write_text(_resaved(document, how), encoding="utf-8", newline="")
    files = open_graph_files(str(place))
    files.check(fingerprints_of)
    assert _exact(list(_records(files).values())) == _exact(list(_expected().values()))
    for entity in files.entities:  # several may be in one line
        for low, high in files.cut(entity, 1 << 30):
            rows = list(itertools.chain.from_iterable(files.rows(entity, low, high, 1)))
            assert [files.again(entity, entity.letter_place(row) or ()) for row in rows] == rows


def test_records_in_any_order_are_the_same_graph(tmp_path: Path) -> None:
    """JSON lines that were shuffled are imported right."""
    place = _export(tmp_path, "graph.jsonl")
    header, *records = place.read_text(encoding="utf-8").rstrip("\n").split("\n")
    place.write_text("\n".join([header, *records[::-1]]), encoding="utf-8")
    files = open_graph_files(str(place))
    files.check()
    found = _records(files)
    expected = {name: rows[::-1] for name, rows in _expected().items()}
    assert _exact(list(found.values())) == _exact(list(expected.values()))


def test_csv_that_a_spreadsheet_saved_is_the_same_graph(tmp_path: Path) -> None:
    """Other quotes and other line ends mean the same, where nothing hangs on them."""
    folder = _export(tmp_path, "graph")
    path = folder / "nodes_place.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n").writerows(rows)
    files = open_graph_files(str(folder))
    files.check(fingerprints_of)
    assert _exact(_records(files)["place"]) == _exact(_expected()["place"])


# -- chunks ---------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("block", [50, 1 << 18])
def test_chunks_together_hold_every_record_once(
    tmp_path: Path,
    name: str,
    compression: str | None,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However small the chunks are cut and the blocks are read, in whatever order."""
    place = str(_export(tmp_path, name, compression))
    monkeypatch.setattr(file_parsing, "BLOCK_BYTES", block)
    monkeypatch.setattr(file_check, "SPAN_BYTES", 10)
    files, other = open_graph_files(place), open_graph_files(place)
    files.check()
    chunks = 0
    for entity, expected in zip(files.entities, _expected().values(), strict=True):
        cuts = files.cut(entity, 1)
        chunks += len(cuts)
        found = []
        for low, high in reversed(cuts):
            rows = list(itertools.chain.from_iterable(other.rows(entity, low, high, 2)))
            found.append([(*entity.values(row), entity.label(row)) for row in rows])
            for row in rows:
                assert other.again(entity, entity.letter_place(row) or ()) == row
        assert _exact(list(itertools.chain.from_iterable(found[::-1]))) == _exact(expected)
    assert chunks > len(ENTITIES) or block > 50


def test_a_resumed_import_knows_changed_files(tmp_path: Path) -> None:
    """The identity is of the contents; a chunk of a file that changed is an error, not a guess."""
    place = _export(tmp_path, "graph.jsonl")
    files = open_graph_files(str(place))
    first = files.check()
    assert open_graph_files(str(place)).check().identity == first.identity
    low, high = files.cut(files.entities[0], 1 << 30)[0]
    place.write_bytes(place.read_bytes().replace(b'"_fp":', b'"_fp" : ', 1))
    assert open_graph_files(str(place)).check().identity != first.identity
    with pytest.raises(UsageError, match="is damaged in line"):
        list(files.rows(files.entities[0], low, high, 10))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Eight times the file takes the same memory to write, to check and to read."""
    shape = NodeShape("A", ("id",), ("id", "text"), ("INT", "STRING"))
    peaks = []
    for chunks in (2, 16):
        target = _target(tmp_path, f"graph{chunks}.jsonl.gz")
        target.declare(RUN, [("a", shape)])
        tracemalloc.start()
        for step in range(chunks):
            rows = [(n, "x" * 500, n) for n in range(step * 1000, step * 1000 + 1000)]
            _write_chunk(target, shape, step, rows)
        target.flush()
        files = open_graph_files(target.place)
        assert files.check().records == {"a": chunks * 1000}
        count = 0
        for low, high in files.cut(files.entities[0], 1 << 40):
            count += sum(map(len, files.rows(files.entities[0], low, high, 500)))
        assert count == chunks * 1000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2, peaks


# -- parts ----------------------------------------------------------------------------------------

A = NodeShape("A", ("id",), ("id",), ("INT",))
A_ONLY: list[tuple[str, Shape]] = [("a", A)]


def _ids(place: Path) -> list[int]:
    files = open_graph_files(str(place))
    files.check()
    return [row[0] for row in _records(files)["a"]]


@plain_form
def test_a_chunk_that_is_written_again_replaces_its_part(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """A part counts once it is whole; parts are joined by step, whenever they were written."""
    target = _target(tmp_path, name, compression)
    target.declare(RUN, A_ONLY)
    _write_chunk(target, A, 11, [(5, 5)])
    _write_chunk(target, A, 2, [(1, 1), (2, 2), (3, 3)])
    _write_chunk(target, A, 9, [])
    target.begin_chunk(A, 2)
    target.write_nodes(NodeBatch(A, [(8, 8)], RUN, (), 2), True)
    assert target.count_after(RUN, 0) == (4, 0)  # the old part still counts
    again = _target(tmp_path, name, compression)  # another process takes the chunk over
    again.declare(RUN, A_ONLY)
    _write_chunk(again, A, 2, [(1, 1), (2, 2)])
    again.flush()
    assert _ids(tmp_path / name) == [1, 2, 5]
    assert [path.name for path in tmp_path.iterdir()] == [name]


_KILLED = """
    import os, pathlib, shutil, sys
    from geode_tui.target import file_parts
    from geode_tui.target.file_formats import form_of
    from geode_tui.target.files import FileTarget
    name, at, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    form = form_of(name, None if "." in name else "csv")

    def dying(call, left=[number]):
        def wrapped(*arguments, **named):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), 9)
            return call(*arguments, **named)
        return wrapped

    if at == "rename":
        pathlib.Path.rename = dying(pathlib.Path.rename)
    elif at == "fsync":
        os.fsync = dying(os.fsync)
    else:
        os.unlink = dying(os.unlink)
        os.rmdir = dying(os.rmdir)
    FileTarget(name, form).flush()
"""


@pytest.mark.parametrize("name", ["graph.json", "graph"])
@pytest.mark.parametrize(
    "at", ["fsync 1", "fsync 2", "rename 1", "unlink 1", "unlink 3", "unlink 6"]
)
def test_a_flush_that_was_killed_is_repeated(tmp_path: Path, name: str, at: str) -> None:
    """At whatever line: either nothing is at the place, or everything."""
    target = _target(tmp_path, name)
    target.declare(RUN, A_ONLY)
    for step in (1, 2, 3):
        _write_chunk(target, A, step, [(step, step)])
    script = textwrap.dedent(_KILLED)
    arguments = [sys.executable, "-c", script, str(tmp_path / name), *at.split()]
    done = subprocess.run(arguments, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert done.returncode == -9
    if (tmp_path / name).exists():
        assert _ids(tmp_path / name) == [1, 2, 3]
    again = _target(tmp_path, name)
    again.flush()
    again.declare(RUN, A_ONLY)
    again.flush()
    assert _ids(tmp_path / name) == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_several_processes_write_one_graph(tmp_path: Path) -> None:
    """Each opens the place by itself; what the parent declared is enough for them."""
    target = _target(tmp_path, "graph.jsonl")
    target.declare(RUN, A_ONLY)
    script = """
        import sys
        from geode_tui.target.file_formats import form_of
        from geode_tui.target.files import FileTarget
        from geode_tui.target.model import NodeBatch, NodeShape
        place, first = sys.argv[1], int(sys.argv[2])
        shape = NodeShape("A", ("id",), ("id",), ("INT",))
        target = FileTarget(place, form_of(place))
        for step in range(first, 10, 2):
            target.begin_chunk(shape, step)
            rows = [(n, n) for n in range(step * 100, step * 100 + 100)]
            target.write_nodes(NodeBatch(shape, rows, "run1", (), step), False)
            target.end_chunk(shape, step)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), target.place]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    writers = [subprocess.Popen([*command, first], env=environment) for first in ("0", "1")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    target.flush()
    assert _ids(tmp_path / "graph.jsonl") == list(range(1000))


@plain_form
def test_an_export_never_writes_over_what_is_there(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Refused before anything is written: a file of others, another run's export or parts."""
    place = tmp_path / name
    if "." in name:
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    target = _target(tmp_path, name, compression)
    with pytest.raises(UsageError, match="exists already"):
        target.declare(RUN, A_ONLY)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    other = tmp_path / "other"
    other.mkdir()
    target = _target(other, name, compression)
    target.declare(RUN, A_ONLY)
    with pytest.raises(UsageError, match="parts of another export"):
        _target(other, name, compression).declare("run2", A_ONLY)
    with pytest.raises(UsageError, match="not those that the export began with"):
        _target(other, name, compression).declare(RUN, [("b", A)])
    target.flush()
    with pytest.raises(UsageError, match="exists already"):
        _target(other, name, compression).declare("run2", A_ONLY)
    _target(other, name, compression).declare(RUN, A_ONLY)


@plain_form
def test_what_an_export_wrote_can_be_taken_back(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Steps before the join, an entity before the join, everything after it."""
    target = _target(tmp_path, name, compression)
    target.declare(RUN, ENTITIES)
    for step, (entity, shape) in enumerate(ENTITIES, 1):
        _write_chunk(target, shape, step, _marked(shape, ROWS[entity]), ())
    assert target.count_of_run(PERSON, RUN) == 5
    assert target.count_of_run(PERSON, "run2") == 0
    assert target.delete_after("run2", 0) == (0, 0)
    assert target.count_after(RUN, 2) == target.delete_after(RUN, 2) == (3, 4)
    assert target.delete_nodes(PLACE, RUN) == 3
    assert target.count_after(RUN, 0) == (5, 0)
    _write_chunk(target, PLACE, 6, _marked(PLACE, PLACES))
    target.flush()
    assert (target.count_nodes(PERSON), target.count_nodes(PLACE)) == (5, 3)
    with pytest.raises(UsageError, match="is finished"):
        target.begin_chunk(PERSON, 7)  # its part would never be joined
    with pytest.raises(UsageError, match="rolled back whole"):
        target.delete_after(RUN, 2)
    assert target.delete_after("run2", 0) == (0, 0)
    assert target.delete_after(RUN, 0) == (8, 0)
    assert list(tmp_path.iterdir()) == []
    assert target.delete_after(RUN, 0) == (0, 0)
    target.declare("run2", A_ONLY)
    target.unprepare([])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_the_chunk_and_not_the_export(tmp_path: Path) -> None:
    """The error says so; with space again the chunk is written, and everything is there."""
    target = _target(tmp_path, "graph.jsonl")
    target.declare(RUN, A_ONLY)
    _write_chunk(target, A, 1, [(1, 1)])
    rows = [(n, n) for n in range(2, 20_000)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(ConnectError, match="cannot be written"):
            _write_chunk(target, A, 2, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(GeodeTuiError, match="no chunk 2 of A was begun"):
        target.write_nodes(NodeBatch(A, [(2, 2)], RUN, (), 2), False)
    _write_chunk(target, A, 2, rows)
    target.flush()
    assert _ids(tmp_path / "graph.jsonl") == list(range(1, 20_000))


@plain_form
def test_a_finished_export_is_counted_by_reading_it(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Counts, duplicates and samples come from the files, as from a graph."""
    target = _target(tmp_path, name, compression)
    graph: Target = target
    assert graph.count_nodes(PERSON) == 0
    target.declare(RUN, ENTITIES)
    assert graph.prepare([PERSON, PLACE, SEAT]) == []
    for step, (entity, shape) in enumerate(ENTITIES, 1):
        labels = LABELS if shape is PERSON else ()
        _write_chunk(target, shape, step, _marked(shape, ROWS[entity]), labels)
    twice = [*_marked(PLACE, PLACES[:1]), *_marked(LIVES, [])]
    _write_chunk(target, PLACE, 10, twice)
    _write_chunk(target, LIVES, 11, _marked(LIVES, [(1, "(0,3)", None)]))
    assert graph.count_nodes(PLACE) == 4
    target.flush()
    facts = graph.describe()
    assert (facts.nodes, facts.relationships) == (12, 5)
    assert [graph.count_nodes(shape) for shape in (PERSON, PLACE, SEAT)] == [5, 4, 3]
    assert [graph.count_relationships(shape) for shape in (LIVES, SITS)] == [3, 2]
    assert graph.count_type("LIVES_IN") == 3
    told = ("Person", "Being", "Vip", "Nobody")
    assert [graph.count_labelled(PERSON, label) for label in told] == [5, 5, 2, 0]
    assert [graph.count_label(label) for label in told] == [5, 5, 2, 0]
    assert [graph.count_present(PERSON, name) for name in ("name", "born")] == [4, 4]
    assert [graph.duplicate_nodes(shape) for shape in (PERSON, PLACE)] == [0, 1]
    assert [graph.duplicate_relationships(shape) for shape in (LIVES, SITS)] == [1, 0]
    found = graph.read_nodes(PERSON, [(2,), (99,), (1,)])
    assert [node and node.get("name") for node in found] == ["", None, PEOPLE[0][1]]
    assert found[0] is not None
    assert "born" not in found[0]
    assert graph.read_labels(PERSON, [(2,), (99,)]) == [
        frozenset({"Person", "Being", "Vip"}),
        frozenset(),
    ]
    key = ((1,), ("a/b;c", 1), (time(9, 30),))
    assert [len(some) for some in graph.read_relationships(SITS, [key, key])] == [1, 1]
    mark = _marked(PERSON, PEOPLE)[0][-1]
    assert graph.present_fingerprints(PERSON, [mark, 1]) == {mark}
    assert [node["id"] for node in graph.read_marked(PERSON, [mark], 5)] == [1]
    scanned = [pair for some in graph.scan_nodes(PERSON, ["name"], 2) for pair in some]
    assert scanned[1] == ((2,), ("",))
    scanned_edges = [pair for some in graph.scan_relationships(SITS, [], 9) for pair in some]
    assert scanned_edges[0] == (key, ())
    with pytest.raises(UsageError, match="cannot be queried"):
        graph.query("MATCH (n) RETURN n")
    with pytest.raises(UsageError, match="not changed"):
        graph.rename_type(LIVES, "X")
    target.close()


# -- damage ---------------------------------------------------------------------------------------


def _read_whole(place: Path) -> Any:
    """Everything that an import would take from the files, after the check that it makes."""
    files = open_graph_files(str(place))
    try:
        files.check(fingerprints_of)
        shapes = [(entity.id, entity.shape) for entity in files.entities]
        return shapes, _exact(list(_records(files).values()))
    finally:
        files.close()


def _damage(place: Path, path: Path, data: bytes, whole: Any) -> str:
    """What is said of damaged files; empty where the damage changed nothing."""
    path.write_bytes(data)
    try:
        found = _read_whole(place)
    except UsageError as error:
        told = error
    else:
        assert found == whole, f"silent damage: {data!r}"
        return ""
    assert "is damaged" in told.what
    assert told.why
    return told.what


@every_form
def test_a_file_that_ends_anywhere_too_early_is_told(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Whatever is cut off, down to the last byte that means something."""
    place = _export(tmp_path, name, compression)
    whole = _read_whole(place)
    for path in _files_of(place):
        data = path.read_bytes()
        stride = max(1, len(data) // (40 if place.is_dir() else 100))
        for size in {*range(0, len(data), stride), *range(len(data) - 10, len(data))}:
            told = _damage(place, path, data[:size], whole)
            assert told or not data[size:].strip(), f"{path.name} cut at {size}"
        path.write_bytes(data)


@every_form
def test_a_byte_that_flipped_is_told_or_changes_nothing(
    tmp_path: Path, name: str, compression: str | None
) -> None:
    """Never is a changed value imported: each record must still give its fingerprint."""
    place = _export(tmp_path, name, compression)
    whole = _read_whole(place)
    for path in _files_of(place):
        data = bytearray(path.read_bytes())
        run = data.find(RUN.encode()) if path.suffix not in (".gz", ".zst") else -1
        stride = max(1, len(data) // (60 if place.is_dir() else 250))
        for at in range(0, len(data), stride):
            if run <= at < run + len(RUN):
                continue
            data[at] ^= 1 << (at // stride % 8)
            _damage(place, path, bytes(data), whole)
            data[at] ^= 1 << (at // stride % 8)
        path.write_bytes(data)


_LINES = {
    "more after the record": (b'"_fp":', b'"_fp":1} {"_fp":', "there is more after the record"),
    "no JSON": (b'"labels":[', b'"labels":', "not JSON"),
    "wrong type": (b'"id":4', b'"id":"4"', "id: a text is no INT"),
    "wrong date": (b'"9999-12-31"', b'"9999-12-32"', "born: a value is no DATE"),
    "unknown property": (b'"name":', b'"nama":', "the header knows no property nama"),
    "unknown entity": (b'{"node":"person"', b'{"node":"parson"', "the header knows no parson"),
    "unknown label": (b'"Old friend"', b'"Old fiend"', "the labels are not those"),
    "no fingerprint": (b'"_fp":', b'"fp":', "the record has no _fp"),
    "not a number": (b'"_fp":', b'"_fp":NaN ,"x":', "not JSON: NaN is not JSON"),
    "not UTF-8": (b"two", b"tw\xff", "a byte is not UTF-8"),
    "deep": (b'"tags":[', b'"tags":' + b"[" * 100_000, "the JSON is nested too deep"),
    "other value": (b'"two', b'"too', "the values do not give the record's fingerprint"),
}


@pytest.mark.parametrize("name", ["graph.jsonl", "graph.json"])
@pytest.mark.parametrize(("old", "new", "reason"), _LINES.values(), ids=list(_LINES))
def test_a_damaged_line_of_json_is_named_with_the_reason(
    tmp_path: Path, name: str, old: bytes, new: bytes, reason: str
) -> None:
    """The fourth person is in line 5, or 6 of the document, which begins with two lines."""
    place = _export(tmp_path, name)
    lines = place.read_bytes().split(b"\n")
    at = next(n for n, line in enumerate(lines) if b'{"id":4' in line)
    assert old in lines[at]
    lines[at] = lines[at].replace(old, new)
    place.write_bytes(b"\n".join(lines))
    if name == "graph.json" and reason == "there is more after the record":
        reason = "not JSON: , or ] is expected, not '{'"
    with pytest.raises(UsageError) as caught:
        open_graph_files(str(place)).check(fingerprints_of)
    assert caught.value.what == f"{place} is damaged in line {at + 1}"
    assert reason in caught.value.why


_CELLS = {
    "a cell too few": (b'2,"",,', b'2,"",', "7 cells, not 8"),
    "a cell too many": (b'2,"",,', b'2,"",,,', "9 cells, not 8"),
    "a quote too many": (b'2,"",,', b'2,""",,', "a quote is where none can be"),
    "a quote too few": (b'2,"",,', b'2,",,', "a quote is where none can be"),
    "wrong type": (b'"person/2",2,', b'"person/2",2.0,', "id: a value is no INT"),
    "another id": (b'"person/2",2,', b'"person/3",2,', "the id does not fit the key"),
    "unknown label": (b"Vip", b"Wip", "the labels are not what the header tells"),
    "a null that was empty": (
        b'2,"",,',
        b"2,,,",
        "the values do not give the record's fingerprint",
    ),
}


@pytest.mark.parametrize(("old", "new", "reason"), _CELLS.values(), ids=list(_CELLS))
def test_a_damaged_line_of_csv_is_named_with_the_reason(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    """The second person is in line 3 of the file of people."""
    folder = _export(tmp_path, "graph")
    path = folder / "nodes_person.csv"
    lines = path.read_bytes().split(b"\n")
    assert old in lines[2]
    lines[2] = lines[2].replace(old, new)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UsageError) as caught:
        open_graph_files(str(folder)).check(fingerprints_of)
    assert caught.value.what == f"{path} is damaged in line 3"
    assert reason in caught.value.why


def test_what_is_no_graph_in_files_is_told(tmp_path: Path) -> None:
    """Nothing there, another format, a newer version, a file that points elsewhere."""
    with pytest.raises(UsageError, match="No such file"):
        open_graph_files(str(tmp_path / "no.jsonl"))
    with pytest.raises(UsageError, match="does not say what it holds"):
        open_graph_files(str(tmp_path / "graph.parquet"))
    place = tmp_path / "graph.jsonl"
    for text, why in (
        ("", "the header is not JSON"),
        ("[]", "there is no header of a geode-tui graph"),
        ('{"format": "geode-tui graph", "version": 2}', "the version of the format is 2, not 1"),
        ('{"format": "geode-tui graph", "version": 1}', "the header is not whole"),
    ):
        place.write_text(text)
        with pytest.raises(UsageError, match=why):
            open_graph_files(str(place))
    folder = _export(tmp_path, "graph")
    header = folder / "graph.json"
    told = json.loads(header.read_text())
    del told["crc32"]  # who edits a header leaves it out
    told["nodes"][2]["file"] = "../nodes_seat.csv"
    header.write_text(json.dumps(told))
    with pytest.raises(UsageError, match="is not in the folder"):
        open_graph_files(str(folder))


def test_the_name_says_the_form(tmp_path: Path) -> None:
    """`.json`, `.jsonl`, compressed or not, or a folder; a wish that differs is refused."""
    told = [form_of(name) for name in ("a.JSON", "b.x.jsonl.gz", "c.ndjson.zst", str(tmp_path))]
    assert [(form.format, form.compression) for form in told] == [
        ("json", None),
        ("jsonl", "gzip"),
        ("jsonl", "zstd"),
        ("csv", None),
    ]
    for place, wish, compression in (
        ("a.json", "jsonl", None),
        ("a.json", "csv", None),
        ("a.json", "json", "gzip"),
        ("a", None, None),
        ("a", "csv", "rar"),
        ("a.gz", None, None),
    ):
        with pytest.raises(UsageError):
            form_of(place, wish, compression)
