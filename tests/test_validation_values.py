"""Values that are easily taken for others: validation raises no false alarm and misses none.

Every case is a row with one value and, where one is told, what the graph is made to hold instead:
the nearest value that is not the same.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grafeo
import pytest

from benchmarks.damages import Original, Trials
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.infer import infer
from geode_tui.validation.ledger import Cause, Difference, Ledger
from tests.command_line import execute
from tests.conftest import MakeDatabase
from tests.ground import MODES, Ground, prepared
from tests.migrate import migrate, read_catalog

LEAST = 5e-324
_MICRO = timedelta(microseconds=1)


class _Same:
    """The graph is made to hold a value that is the same one: nobody may complain."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _at(text: str, micros: int = 0) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) + micros * _MICRO


# Each case is a literal of the type, and what the graph is made to hold instead.
CASES: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "floats": (
        "float8",
        [
            ("'-0'", LEAST),
            ("'-0'", -LEAST),
            ("'-0'", _Same(0.0)),
            ("0", LEAST),
            ("0", _Same(-0.0)),
            ("'NaN'", math.inf),
            ("'NaN'", None),
            ("'NaN'", 0.0),
            ("'Infinity'", sys.float_info.max),
            ("'-Infinity'", -sys.float_info.max),
            ("'Infinity'", -math.inf),
            ("5e-324", 0.0),
            ("5e-324", 2 * LEAST),
            ("-5e-324", LEAST),
            ("2.2250738585072014e-308", math.nextafter(sys.float_info.min, 0)),
            ("1.7976931348623157e308", math.inf),
            ("0.1", math.nextafter(0.1, 1)),
            ("0.30000000000000004", 0.3),
            ("9007199254740993", 9007199254740994.0),
            ("1", 1),
            ("1", True),
            ("NULL", 0.0),
            ("NULL", math.nan),
        ],
    ),
    "floats of 32 bits": (
        "float4",
        [("0.1", 0.1), ("'NaN'", 0.0), ("'-0'", LEAST), ("1e-45", 0.0), ("3.4028235e38", math.inf)],
    ),
    "numbers with trailing zeros": (
        "numeric",
        [
            ("1.500", _Same(Decimal("1.5"))),
            ("1.5", _Same(Decimal("1.500"))),
            ("1.500", Decimal("1.501")),
            ("1.500", Decimal("1.50000000000000000000000000000001")),
            ("1.500", 1.5),
            ("1.500", "1.500"),
            ("0.000", Decimal("0.001")),
            ("0.000", _Same(Decimal("-0.0"))),
            ("0.000", None),
            ("100", Decimal("10")),
            ("100", _Same(Decimal("100.00"))),
            ("100", 100),
            ("1e20", Decimal("1e20") + 1),
            ("-0.10", Decimal("0.10")),
            (
                "1234567890123456789012345678.1234567890",
                Decimal("1234567890123456789012345678.1234567891"),
            ),
            ("0.00000000000000000000000000000000000001", Decimal(0)),
            ("NULL", Decimal(0)),
        ],
    ),
    "instants in several zones": (
        "timestamptz",
        [
            ("'2024-10-27 02:30+02'", _at("2024-10-27T02:30+01:00")),
            ("'2024-10-27 02:30+01'", _at("2024-10-27T02:30+02:00")),
            ("'2024-10-27 02:30+02'", _Same(_at("2024-10-27T00:30+00:00"))),
            ("'2024-10-27 02:30+02'", _at("2024-10-27T02:30+00:00")),
            ("'2024-06-01 12:00 Asia/Kathmandu'", _at("2024-06-01T12:00+05:30")),
            ("'2024-03-31 02:30 Europe/Berlin'", _at("2024-03-31T01:30+00:00", 1)),
            ("'0001-01-01 00:00+00'", datetime(1, 1, 1, 0, 0, 0, 1)),
            ("'9999-12-31 23:59:59.999999+00'", datetime(9999, 12, 31, 23, 59, 59, 999998)),
            ("'1883-11-18 12:03:58-04:56:02'", _at("1883-11-18T17:00:00+00:00", -1)),
            ("'1969-12-31 23:59:59.999999+00'", datetime(1970, 1, 1)),
            ("'2024-01-01 00:00+00'", date(2024, 1, 1)),
            ("'2024-01-01 00:00+00'", "2024-01-01 00:00:00+00"),
            ("NULL", datetime(1970, 1, 1)),
        ],
    ),
    "times without zone": (
        "timestamp",
        [
            ("'2024-03-31 02:30'", datetime(2024, 3, 31, 3, 30)),
            ("'2024-02-29'", datetime(2024, 2, 29, microsecond=1)),
            ("'0001-01-01'", datetime(1, 1, 1, microsecond=1)),
        ],
    ),
    "dates": (
        "date",
        [
            ("'0001-01-01'", date(1, 1, 2)),
            ("'9999-12-31'", date(9999, 12, 30)),
            ("'2024-02-29'", date(2024, 3, 1)),
            ("'1582-10-10'", date(1582, 10, 11)),
            ("'2024-02-29'", datetime(2024, 2, 29)),
        ],
    ),
    "times of day": (
        "time",
        [
            ("'23:59:59.999999'", time(23, 59, 59, 999998)),
            ("'00:00'", time(0, 0, 0, 1)),
            ("'00:00'", None),
        ],
    ),
    "JSON whose keys come in any order": (
        "jsonb",
        [
            ("""'{"b": 1, "a": 2}'""", _Same('{"a": 2, "b": 1}')),
            ("""'{"a":2,"b":1}'""", _Same('{"a": 2, "b": 1}')),
            ("""'{"a": 2, "b": 1}'""", '{"a": 2, "b": "1"}'),
            ("""'{"aa": 2, "b": 1}'""", '{"aa": 2, "b": 1, "c": null}'),
            ("""'{"a": 1.0}'""", '{"a": 1}'),
            ("""'{"a": [1, 2]}'""", '{"a": [2, 1]}'),
            ("""'{"a": 1, "a": 2}'""", '{"a": 1}'),
            ("""'{"a": "\\u00e5"}'""", '{"a": "a\u030a"}'),
            ("'null'", None),
            ("NULL", "null"),
            ("'{}'", "[]"),
            ("""'""'""", ""),
            ("'1e2'", "1e2"),
        ],
    ),
    "JSON as it was written": (
        "json",
        [
            ("""'{"b": 1, "a": 2}'""", '{"a": 2, "b": 1}'),
            ("""'{"a":  1}'""", '{"a": 1}'),
            ("""'{"a": 1, "a": 1}'""", '{"a": 1}'),
        ],
    ),
    "bytes": (
        "bytea",
        [
            (r"'\x'", b"\x00"),
            (r"'\x'", None),
            (r"'\x'", ""),
            (r"'\x00'", b""),
            (r"'\x00'", b"\x00\x00"),
            (r"'\x00ff'", b"\x00\xfe"),
            (r"'\x00ff'", b"\xff\x00"),
            (r"'\x6162'", "ab"),
            (r"'\x6162'", "6162"),
            (r"'\x5c78'", b"\\X"),
            ("NULL", b""),
        ],
    ),
    "arrays of texts": (
        "text[]",
        [
            ("ARRAY[NULL, 'NULL', '']", [None, None, ""]),
            ("ARRAY[NULL, 'NULL', '']", ["NULL", "NULL", ""]),
            ("ARRAY[NULL, 'NULL', '']", [None, "NULL", None]),
            ("'{}'", None),
            ("'{}'", [None]),
            ("'{}'", [""]),
            ("'{NULL}'", []),
            ("'{NULL}'", None),
            ("ARRAY['a', 'b']", ["ab"]),
            ("ARRAY['a,b']", ["a", "b"]),
            ("ARRAY['a', NULL]", ["a"]),
            ("ARRAY['\u00c5']", ["A\u030a"]),
            ("ARRAY['1:a']", ["1", "a"]),
            ("NULL", []),
        ],
    ),
    "nested arrays with nulls": (
        "int[]",
        [
            ("ARRAY[[1, NULL], [3, 4]]", [[1, 3], [None, 4]]),
            ("ARRAY[[1, NULL], [3, 4]]", [1, None, 3, 4]),
            ("ARRAY[[1, NULL], [3, 4]]", [[1, None, 3, 4]]),
            ("ARRAY[[1, NULL], [3, 4]]", [[1], [None], [3], [4]]),
            ("ARRAY[[1, NULL], [3, 4]]", [[1, 0], [3, 4]]),
            ("ARRAY[[NULL, NULL]]::int[]", [[None], [None]]),
            ("ARRAY[[NULL, NULL]]::int[]", [None, None]),
            ("ARRAY[[[1, NULL]], [[2, 3]]]", [[[1, None], [2, 3]]]),
            ("ARRAY[1, 2]", ["1", "2"]),
            ("ARRAY[12]", [1, 2]),
            ("ARRAY[1]", [[1]]),
        ],
    ),
    "arrays of other types": (
        "numeric[]",
        [
            ("ARRAY[1.50, NULL]", _Same([Decimal("1.5"), None])),
            ("ARRAY[1.50, NULL]", [Decimal("1.51"), None]),
            ("ARRAY[1.50, NULL]", [None, Decimal("1.50")]),
            ("ARRAY[0.00]", [None]),
        ],
    ),
    "arrays of instants": (
        "timestamptz[]",
        [
            ("ARRAY['2024-01-01 00:00+02', NULL]::timestamptz[]", [datetime(2024, 1, 1), None]),
            ("ARRAY['2024-01-01 00:00+00', NULL]::timestamptz[]", [datetime(2024, 1, 1)]),
        ],
    ),
    "arrays of bytes": (
        "bytea[]",
        [(r"ARRAY['\x00', NULL]::bytea[]", [b"\x00", b""]), (r"ARRAY['\x61']::bytea[]", ["a"])],
    ),
    "intervals": (
        "interval",
        [
            ("'1 month'", "P30D"),
            ("'1 day'", "PT24H"),
            ("'-1 mons +2 days -03:00:00'", "P-1M2DT3H"),
            ("'-1 mons +2 days -03:00:00'", "P1M2DT-3H"),
            ("'-00:00:00.000001'", "PT0.000001S"),
            ("'0'", ""),
            ("'0'", None),
            ("'1 year 1 month'", "P13M"),
            ("'178000000 years'", "P177999999Y"),
            ("NULL", "PT0S"),
            ("'infinity'", "-infinity"),
            ("'-infinity'", None),
            ("'infinity'", "P178000000Y"),
        ],
    ),
    "Unicode forms": (
        "text",
        [
            ("'\u00c5'", "A\u030a"),
            ("'A\u030a'", "\u00c5"),
            ("'\u212b'", "\u00c5"),
            ("'\u2126'", "\u03a9"),
            ("'\ufb01'", "fi"),
            ("'stra\u00dfe'", "strasse"),
            ("'\U0001f469\u200d\U0001f4bb'", "\U0001f469\U0001f4bb"),
            ("'\u2764\ufe0f'", "\u2764"),
            ("'\uac00'", "\u1100\u1161"),
            ("'e\u0323\u0302'", "e\u0302\u0323"),
            ("'a\u00a0b'", "a b"),
            ("'A'", "\u0410"),
            ("E'a\\r\\n'", "a\n"),
            ("''", None),
            ("''", "\u200b"),
            ("'\U00010000'", "\uffff"),
        ],
    ),
    "padded texts": ("char(4)", [("'ab'", "ab"), ("'ab'", "ab   "), ("''", "")]),
}

_INFINITE = """
CREATE TABLE infinite (id int PRIMARY KEY, day date, at timestamptz);
INSERT INTO infinite VALUES (1, 'infinity', NULL), (2, '-infinity', NULL), (3, NULL, 'infinity'),
  (4, NULL, '-infinity'), (5, '2024-01-01', '2024-01-01'), (6, '9999-12-31', NULL);
"""
_FORMS = """
CREATE TABLE word (text text PRIMARY KEY, no int);
INSERT INTO word VALUES (E'caf\\u00e9', 1), (E'cafe\\u0301', 2), ('Cafe', 3), ('cafe', 4),
  (E'\\u212b', 5), (E'\\u00c5', 6), (E'A\\u030a', 7);
CREATE TABLE line (id int PRIMARY KEY, word text REFERENCES word);
INSERT INTO line SELECT no, text FROM word;
"""


def _sql() -> str:
    made = []
    for number, (kind, rows) in enumerate(CASES.values()):
        made.append(f"CREATE TABLE case{number} (id int PRIMARY KEY, value {kind});")
        values = ", ".join(f"({n}, {literal})" for n, (literal, _) in enumerate(rows))
        made.append(f"INSERT INTO case{number} VALUES {values};")
    return "\n".join([*made, _INFINITE, _FORMS])


def _migrated(dsn: str, folder: Path) -> Original:
    migrate(dsn, folder, infer(read_catalog(dsn)))
    return Original.of(dsn, folder)


@pytest.fixture(scope="module")
def ground(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """All cases, migrated once."""
    folder = tmp_path_factory.mktemp("values")
    with prepared(postgres, "value_cases", _sql(), folder, _migrated) as made:
        yield made


@MODES
def test_no_value_is_a_false_alarm(ground: Ground, deep: bool) -> None:
    """A graph that nobody touched is as the source, whatever the values."""
    ledger = ground.ledger(ground.original.graph_file, deep)
    assert [(e.id, e.verdict) for e in ledger.entries if not e.balanced] == []
    assert ledger.differences == ()


@pytest.mark.parametrize("what", CASES)
def test_the_nearest_other_value_is_found(ground: Ground, tmp_path: Path, what: str) -> None:
    """Each row whose value is another now is named with the value, and no other row is."""
    label = f"Case{list(CASES).index(what)}"
    rows = CASES[what][1]
    set_value = f"MATCH (n:{label} {{id: $id}}) SET n.value = $value"
    changes = [
        (set_value, {"id": n, "value": new.value if isinstance(new, _Same) else new})
        for n, (_, new) in enumerate(rows)
    ]
    ledger = ground.ledger(ground.changed(tmp_path, *changes), deep=True)
    wanted = {f"id={n}" for n, (_, new) in enumerate(rows) if not isinstance(new, _Same)}
    assert {one.key for one in ledger.differences} == wanted
    assert {one.entity for one in ledger.differences} == {label}
    assert {name for one in ledger.differences for name, _, _ in one.values} == {"value"}
    [entry] = [entry for entry in ledger.entries if entry.id == label]
    assert entry.mismatched == len(wanted)


_CAUSES: tuple[tuple[str, Any, Cause], ...] = (
    ("caf\u00e9", "cafe\u0301", "form"),
    ("caf\u00e9", "cafe", "collation"),
    ("caf\u00e9", "CAF\u00c9", "collation"),
    ("caf\u00e9", "caf\u00e9  ", "collation"),
    ("stra\u00dfe", "STRASSE", "collation"),
    ("caf\u00e9", " caf\u00e9", "edited"),
    ("caf\u00e9", "cafes", "edited"),
    ("caf\u00e9", "", "edited"),
    ("", " ", "collation"),
    ("5", 5, "type"),
    ("caf\u00e9", None, "edited"),
)


def test_what_differs_is_told_with_its_cause(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Another form, a collation's idea of the same, another type, or simply edited."""
    rows = ", ".join(f"({n}, '{text}')" for n, (text, _, _) in enumerate(_CAUSES))
    dsn = make_database(
        f"CREATE TABLE word (id int PRIMARY KEY, text text); INSERT INTO word VALUES {rows}"
    )
    original = _migrated(dsn, tmp_path)
    graph = grafeo.GrafeoDB(str(original.graph_file))
    for number, (_, value, _) in enumerate(_CAUSES):
        given = {"id": number, "value": value}
        graph.execute("MATCH (n:Word {id: $id}) SET n.text = $value", given)
    graph.close()

    async def work() -> Ledger:
        async with Trials(original, tmp_path) as trials:
            return await trials.ledger(original.graph_file, True)

    found = {one.key: one.cause for one in asyncio.run(work()).differences}
    assert found == {f"id={n}": cause for n, (_, _, cause) in enumerate(_CAUSES)}


@MODES
def test_settings_of_the_server_change_nothing(
    make_database: MakeDatabase, tmp_path: Path, deep: bool
) -> None:
    """Another time zone and other formats than at the copy raise no alarm."""
    dsn = make_database(_sql())
    settings = {"TimeZone": "Asia/Kathmandu", "DateStyle": "ISO, MDY"}
    _set(dsn, settings)
    migrate(dsn, tmp_path, infer(read_catalog(dsn)))
    other = {
        "TimeZone": "America/St_Johns",
        "DateStyle": "SQL, DMY",
        "IntervalStyle": "postgres_verbose",
        "extra_float_digits": "-3",
        "bytea_output": "escape",
        "default_transaction_isolation": "serializable",
    }
    _set(dsn, other)

    async def work() -> Ledger:
        async with Trials(Original.of(dsn, tmp_path), tmp_path) as trials:
            return await trials.ledger(tmp_path / "graph.grafeo", deep)

    ledger = asyncio.run(work())
    assert [(e.id, e.verdict) for e in ledger.entries if not e.balanced] == []
    assert ledger.differences == ()


def _set(dsn: str, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        change = f"format('ALTER DATABASE %I SET {name} = %L', current_database(), '{value}')"
        execute(dsn, f"DO $$ BEGIN EXECUTE {change}; END $$")


# -- dates that are none --------------------------------------------------------------------------


@MODES
def test_infinite_dates_are_dead_letters_and_no_alarm(ground: Ground, deep: bool) -> None:
    """Rows on no day are in the dead letters; the ledger balances with them."""
    ledger = ground.ledger(ground.original.graph_file, deep)
    [entry] = [entry for entry in ledger.entries if entry.id == "Infinite"]
    assert (entry.source_rows, entry.in_graph, entry.dead) == (6, 2, 4)
    assert entry.balanced


@MODES
def test_a_dead_letter_that_came_into_the_graph_is_named(
    ground: Ground, tmp_path: Path, deep: bool
) -> None:
    """Nobody may put the largest date in the place of infinity: such a node is too many."""
    changed = ground.changed(
        tmp_path,
        ("CREATE (n:Infinite {id: 1, day: $day})", {"day": date(9999, 12, 31)}),
    )
    ledger = ground.ledger(changed, deep)
    assert [_told(one) for one in ledger.differences] == [("Infinite", "id=1", "graph")]


@MODES
def test_a_row_without_infinity_is_not_covered_by_dead_letters(
    ground: Ground, tmp_path: Path, deep: bool
) -> None:
    """Where a row is gone that was carried, the dead letters of others are no excuse."""
    changed = ground.changed(tmp_path, ("MATCH (n:Infinite {id: 6}) DELETE n", {}))
    ledger = ground.ledger(changed, deep)
    assert [_told(one) for one in ledger.differences] == [("Infinite", "id=6", "source")]


# -- keys in several Unicode forms ----------------------------------------------------------------


@pytest.mark.parametrize("word", ["caf\u00e9", "cafe\u0301", "cafe", "\u212b", "\u00c5", "A\u030a"])
@MODES
def test_a_key_is_not_taken_for_its_other_unicode_form(
    ground: Ground, tmp_path: Path, word: str, deep: bool
) -> None:
    """Of words that look the same, the one whose node is gone is named, and its relationship."""
    changed = ground.changed(
        tmp_path, ("MATCH (n:Word {text: $word}) DETACH DELETE n", {"word": word})
    )
    ledger = ground.ledger(changed, deep)
    nodes = [one for one in ledger.differences if one.entity == "Word"]
    assert [_told(one) for one in nodes] == [("Word", f"text={word}", "source")]
    relationships = [one for one in ledger.differences if one.entity != "Word"]
    assert [(one.cause, one.where) for one in relationships] == [("end missing", "source")]


@MODES
def test_a_relationship_to_the_other_form_is_wrong(
    ground: Ground, tmp_path: Path, deep: bool
) -> None:
    """One that leads to the word in another form is missing here and too many there."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    changed = ground.changed(
        tmp_path,
        ("MATCH (:Line {id: 1})-[r]->(:Word) DELETE r", {}),
        (
            "MATCH (a:Line {id: 1}) MATCH (b:Word {text: $word}) CREATE (a)-[:HAS_WORD]->(b)",
            {"word": decomposed},
        ),
    )
    ledger = ground.ledger(changed, deep)
    told = {_told(one)[1:] for one in ledger.differences}
    assert told == {("id=1", "source"), (f"(id=1) to (text={decomposed})", "graph")}
    assert composed != decomposed


def _told(difference: Difference) -> tuple[str, str, str]:
    return difference.entity, difference.key, difference.where


def test_a_float_kept_as_number_and_a_number_kept_as_float_are_told_apart(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A numeric column that the mapping makes a float balances, rounded as the mapping says."""
    dsn = make_database(
        "CREATE TABLE price (id int PRIMARY KEY, amount numeric);"
        "INSERT INTO price VALUES (1, 0.1), (2, 0.10000000000000000001), (3, 1e400 / 1e399)"
    )
    mapping = infer(read_catalog(dsn))
    [rule] = mapping.nodes
    properties = tuple(
        replace(item, type="FLOAT") if item.name == "amount" else item for item in rule.properties
    )
    mapping = replace(mapping, nodes=(replace(rule, properties=properties),))
    migrate(dsn, tmp_path, mapping)

    async def work(graph_file: Path) -> Ledger:
        async with Trials(Original.of(dsn, tmp_path), tmp_path) as trials:
            return await trials.ledger(graph_file, True)

    assert asyncio.run(work(tmp_path / "graph.grafeo")).balanced
    copy = Original.of(dsn, tmp_path).copy(tmp_path / "changed.grafeo")
    database = grafeo.GrafeoDB(str(copy))
    database.execute("MATCH (n:Price {id: 1}) SET n.amount = $v", {"v": Decimal("0.1")})
    database.close()
    assert [one.key for one in asyncio.run(work(copy)).differences] == ["id=1"]
