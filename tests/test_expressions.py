"""Expressions of a mapping: what is permitted means the same to PostgreSQL, all else is refused."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from geode_tui.catalog import Column, DataType, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.expressions import (
    Expression,
    check_query,
    compile_condition,
    compile_expression,
    compile_ordering,
    quote_name,
)
from geode_tui.mapping.functions import functions, operators
from geode_tui.mapping.ready_made import READY_MADE, make_text, ready_made_for
from geode_tui.mapping.types import conversion, possible_types
from geode_tui.source.postgres import _SETTINGS, Source
from tests.conftest import MakeDatabase, run_now

SCRIPT = """
CREATE TYPE "Mood [/x]" AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN label AS varchar(20);
CREATE TABLE "[/foo]" (
  id int PRIMARY KEY, small int2, big int8, num numeric(12,3), f4 real, f8 double precision,
  name text, "Naïve ""col"" 🙂" text, vc varchar(20), ch char(6), ok bool, d date, tm time,
  ts timestamp, tz timestamptz, iv interval, raw bytea, uid uuid, j json, jb jsonb,
  tags text[], nums int[], mood "Mood [/x]", moods "Mood [/x]"[], pos posint, lab label,
  sysname name, "select" text, "user" text, "a.b" int, "'; DROP TABLE x; --" text, "$1" int,
  addr inet
);
INSERT INTO "[/foo]" VALUES
  (1, 2, 3000000000, 12.345, 1.5, 2.25, ' Ada Lovelace ', 'x', 'Vc', 'ab', true, '2024-02-29',
   '12:34:56', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56+02', '1 day 02:03', '\\x00ff',
   '6f1b2c3d-0000-4000-8000-000000000001', '{"a": {"b": [1, 2]}, "n": 5}',
   '{"a": {"b": [1, 2]}, "n": 5}', '{a,NULL,"c d"}', '{3,1,2}', 'ok', '{sad,ok}', 7, 'lab',
   'pg', 's', 'u', 5, 'q', 9, '10.0.0.1'),
  (2, -3, -1, -0.500, -0.1, 1e300, '', E'back\\\\slash''quote', '', '', false, '1999-12-31',
   '00:00', '1999-12-31 23:59:59', '1999-12-31 23:59:59+00', '-3 mons', '', NULL, '[]', '[]',
   '{}', '{}', 'it''s "fine"', '{}', 1, '', '', '', '', 0, '', 0, '::1'),
  (3, 0, 0, 7, 0, 0, 'straße 7', '42', '42', '42', true, '2000-01-01', '23:59:59',
   '2000-01-01', '2000-01-01', '0', 'a', NULL, '"s"', '{"n": "42"}', '{42}', '{42}', 'sad',
   '{sad}', 42, '42', '42', '42', '42', 42, '42', 42, '10.0.0.0/8');
INSERT INTO "[/foo]" (id) VALUES (4);
"""

HOSTILE_NAME = 'Naïve "col" 🙂'


@pytest.fixture
def dsn(make_database: MakeDatabase) -> str:
    return make_database(SCRIPT)


async def _table(dsn: str) -> Table:
    source = await Source.connect(dsn)
    try:
        table = (await source.catalog()).table(TableName("public", "[/foo]"))
    finally:
        await source.close()
    assert table is not None
    return table


def _column(name: str, type_name: str, **more: Any) -> Column:
    return Column(name, DataType(type_name, type_name, **more))


STATUS = DataType("public.status", "status", "enum", labels=("new", "paid"))
PURE = Table(
    TableName("public", "t"),
    columns=(
        _column("id", "int4"),
        _column("amount", "numeric"),
        _column("name", "text"),
        _column("Mixed", "text"),
        _column("ok", "bool"),
        _column("born", "date"),
        _column("at", "timestamptz"),
        _column("data", "jsonb"),
        Column("tags", DataType("text[]", "_text", "array", DataType("text", "text"))),
        Column("status", STATUS),
        _column("place", "point"),
        _column("user", "text"),
    ),
)

# Each of these is refused; the second part, where there is one, is a word of the message.
HOSTILE = [
    # Not one expression
    ("", "expected"),
    ("   ", "expected"),
    (";", "semicolon"),
    ("name;", "semicolon"),
    ("name; DROP TABLE t", "semicolon"),
    ("name; SELECT 1", "semicolon"),
    ("name, id", "end here"),
    ("name AS x", "end here"),
    ("name x", "end here"),
    ("name FROM t", "not a query"),
    ("name INTO x", "not a query"),
    ("name UNION SELECT 1", "not a query"),
    ("name INTERSECT SELECT 1", "not a query"),
    ("name EXCEPT SELECT 1", "not a query"),
    ("name WHERE ok", "end here"),
    ("name LIMIT 1", "end here"),
    ("name ORDER BY id", "end here"),
    ("SELECT 1", "query"),
    ("WITH x AS (SELECT 1) SELECT * FROM x", "query"),
    ("VALUES (1)", "query"),
    ("TABLE t", "query"),
    ("INSERT INTO t VALUES (1)", ""),
    ("DROP TABLE t", ""),
    ("COPY t TO PROGRAM 'id'", ""),
    ("DO $$ BEGIN END $$", "dollar"),
    ("name)", "end here"),
    ("(name", "expected"),
    (") OR (true", "value is expected"),
    ("name) FROM t --", "comment"),
    ("name)::text, (SELECT 1", ""),
    # Comments
    ("name -- x", "comment"),
    ("name --\n", "comment"),
    ("/* x */ name", "comment"),
    ("name /* /* */ */", "comment"),
    ("name/**/", "comment"),
    ("1--2", "comment"),
    ("1+-- 2\n3", "comment"),
    ("id */* x */ 2", "comment"),
    ("name # x", ""),
    # Subqueries and rows
    ("(SELECT 1)", "subquery"),
    ("(SELECT passwd FROM pg_shadow LIMIT 1)", "subquery"),
    ("(WITH x AS (SELECT 1) SELECT 1)", "subquery"),
    ("(VALUES (1))", "subquery"),
    ("(TABLE t)", "subquery"),
    ("((SELECT 1))", "subquery"),
    ("EXISTS (SELECT 1)", "not supported"),
    ("ARRAY(SELECT 1)", "subquery"),
    ("id IN (SELECT 1)", "query"),
    ("id = ANY (SELECT 1)", "ANY"),
    ("id = ALL (ARRAY[1])", "ALL"),
    ("id = SOME (ARRAY[1])", "SOME"),
    ("name LIKE ANY (tags)", "ANY"),
    ("lower((SELECT 'x'))", "subquery"),
    ("lower(SELECT 'x')", "subquery"),
    ("coalesce((SELECT 1), 2)", "subquery"),
    ("CASE WHEN (SELECT true) THEN 1 END", "subquery"),
    ("tags[(SELECT 1)]", "subquery"),
    ("CAST((SELECT 1) AS int)", "subquery"),
    ("EXTRACT(year FROM (SELECT born))", "subquery"),
    ("(id, name)", "row"),
    ("ROW(1, 2)", "not supported"),
    ("ROW(1)", "not supported"),
    ("(1, 2) = (1, 2)", "row"),
    ("(id, name) IN ((1, 'x'))", "row"),
    ("(born, born) OVERLAPS (born, born)", "row"),
    # Stars and parameters
    ("*", "stands for"),
    ("t.*", "stands for"),
    ("count(*)", "stands for"),
    ("lower(*)", "stands for"),
    ("$1", "parameters"),
    ("name || $1", "parameters"),
    ("$1::text", "parameters"),
    (":x", "parameters"),
    ("name || :x", "parameters"),
    ("?", "parameter"),
    ("name || ?", ""),
    ("%s", "operand"),
    ("%(x)s", "operand"),
    ("@x", "operand"),
    ("{{ name }}", "no meaning"),
    ("${name}", "dollar"),
    ("\\", "no meaning"),
    ("`name`", "operand"),
    ("[name]", "expected"),
    # Strings that two readers could read differently
    ("E'a'", "escape"),
    ("e'\\'' || 'x'", "escape"),
    ("E'\\'; DROP TABLE t; --'", "escape"),
    ("U&'\\0041'", "Unicode"),
    ("u&'d!0061t' UESCAPE '!'", "Unicode"),
    ('U&"\\0041"', "Unicode"),
    ("B'01'", "bit string"),
    ("X'1F'", "bit string"),
    ("x'1F'::int", "bit string"),
    ("N'a'", "national"),
    ("$$a$$", "dollar"),
    ("$tag$a$tag$", "dollar"),
    ("'a' 'b'", "two texts"),
    ("'a'\n'b'", "two texts"),
    ("'a", "not closed"),
    ("'a\\' || pg_sleep(1) || '\\'", "permitted"),
    ('"name', "not closed"),
    ('""', "empty name"),
    ("‘a’", "no meaning"),
    ("“name”", "no meaning"),
    ("'a\x00b'", "control"),
    ("name\x00", "control"),
    ("name\x1b[0m", "no meaning"),
    ("name\x08", "no meaning"),
    ("'\ud800'", "control"),
    ("name\u00a0", "no meaning"),
    ("name\u200b", "no meaning"),
    ("na\u0301me", ""),
    ("ｎame", "no column"),
    ("e 'x'", "no value"),
    ("point '1,2'", "no value"),
    ("money '1'", "no value"),
    ("regclass 't'", "no value"),
    ("xml '<a/>'", "no value"),
    # Columns
    ("nme", "did you mean name"),
    ("Mixed", "folded"),
    ("mixed", "folded"),
    ('"Name"', "no column"),
    ("t.name", "dot"),
    ("public.t.name", "dot"),
    ("db.public.t.name", "dot"),
    ('"t"."name"', "dot"),
    ("(data).x", "field"),
    ("(t).name", "no column"),
    ("t", "no column"),
    ("ctid", "system column"),
    ('"ctid"', "system column"),
    ("xmin", "system column"),
    ("tableoid", "system column"),
    ("cmax::text", "system column"),
    ("name.lower", "dot"),
    ("select", "query"),
    ("user", "depends on who"),
    ("order", "keyword"),
    ("left", "keyword"),
    # The clock and the session
    ("now()", "each run"),
    ("NOW ( )", "each run"),
    ("current_date", "each run"),
    ("current_timestamp", "each run"),
    ("CURRENT_TIMESTAMP(3)", "each run"),
    ("localtime", "each run"),
    ("localtimestamp", "each run"),
    ("clock_timestamp()", "each run"),
    ("statement_timestamp()", "each run"),
    ("transaction_timestamp()", "each run"),
    ("timeofday()", "each run"),
    ("age(at)", "arguments"),
    ("date 'now'", "each run"),
    ("'now'::timestamptz", "each run"),
    ("CAST(' Today ' AS date)", "each run"),
    ("at > 'now'", "each run"),
    ("born = 'yesterday'", "each run"),
    ("born BETWEEN 'tomorrow' AND '2030-01-01'", "each run"),
    ("coalesce(born, 'today')", "each run"),
    ("CASE WHEN ok THEN born ELSE 'today 00:00' END", "each run"),
    ("current_user", "who is connected"),
    ("session_user", "who is connected"),
    ("current_role", "who is connected"),
    ("current_catalog", "who is connected"),
    ("current_schema", "who is connected"),
    ("current_schema()", "who is connected"),
    ("current_database()", "who is connected"),
    ("current_setting('x')", "who is connected"),
    ("current_query()", "who is connected"),
    ("random()", "each run"),
    ("gen_random_uuid()", "each run"),
    ("nextval('s')", "each run"),
    # Functions with effects, and unknown ones
    ("pg_sleep(10)", "permitted"),
    ("PG_SLEEP(10)", "permitted"),
    ('"pg_sleep"(10)', "quotes"),
    ('"lower"(name)', "quotes"),
    ("pg_catalog.pg_sleep(1)", "dot"),
    ("pg_catalog.lower(name)", "dot"),
    ("public.f(name)", "dot"),
    ('"public"."f"(name)', "dot"),
    ("pg_sleep_for('1 s')", "permitted"),
    ("pg_read_file('x')", "permitted"),
    ("pg_ls_dir('.')", "permitted"),
    ("pg_stat_file('x')", "permitted"),
    ("lo_import('x')", "permitted"),
    ("lo_export(1, 'x')", "permitted"),
    ("lo_get(1)", "permitted"),
    ("dblink('x', 'y')", "permitted"),
    ("dblink_exec('x', 'y')", "permitted"),
    ("set_config('role', 'x', false)", "permitted"),
    ("pg_terminate_backend(1)", "permitted"),
    ("pg_cancel_backend(1)", "permitted"),
    ("pg_reload_conf()", "permitted"),
    ("pg_advisory_lock(1)", "permitted"),
    ("pg_notify('a', 'b')", "permitted"),
    ("query_to_xml('SELECT 1', true, true, '')", "permitted"),
    ("table_to_xml('t', true, true, '')", "permitted"),
    ("database_to_xml(true, true, '')", "permitted"),
    ("cursor_to_xml('c', 1, true, true, '')", "permitted"),
    ("xmlparse(document '<a/>')", "not supported"),
    ("xpath('/a', name)", "not in the list"),
    ("pg_export_snapshot()", "permitted"),
    ("pg_logical_emit_message(true, 'a', 'b')", "permitted"),
    ("ts_stat('SELECT 1')", "permitted"),
    ("has_table_privilege('t', 'SELECT')", "permitted"),
    ("inet_server_addr()", "permitted"),
    ("version()", "permitted"),
    ("txid_current()", "each run"),
    ("setseed(0.1)", "each run"),
    ("repeat('x', 1000000000)", "permitted"),
    ("lwer(name)", "did you mean lower"),
    ("no_such(name)", "permitted"),
    # Aggregates, windows, sets
    ("count(id)", "aggregate"),
    ("sum(amount)", "aggregate"),
    ("max(id)", "aggregate"),
    ("string_agg(name, ',')", "aggregate"),
    ("array_agg(id)", "aggregate"),
    ("row_number()", "window"),
    ("lag(id)", "window"),
    ("row_number() OVER ()", "window"),
    ("lower(name) OVER ()", "OVER"),
    ("lower(name) FILTER (WHERE ok)", "FILTER"),
    ("unnest(tags)", "set of rows"),
    ("generate_series(1, 3)", "set of rows"),
    ("regexp_matches(name, 'x')", "set of rows"),
    ("jsonb_array_elements(data)", "set of rows"),
    ("lower(DISTINCT name)", "DISTINCT"),
    ("lower(ALL name)", "ALL"),
    ("lower(name ORDER BY id)", "ORDER BY"),
    ("concat(VARIADIC tags)", "VARIADIC"),
    ("make_date(year => 1, month => 1, day => 1)", "=>"),
    ("lower(name := 'x')", "expected"),
    # Types
    ("name::regclass", "not supported"),
    ("'t'::regclass::oid", "not supported"),
    ("CAST(name AS regproc)", "not supported"),
    ("name::xml", "not supported"),
    ("name::money", "not supported"),
    ("name::public.mytype", "dot"),
    ('name::"text"', "without quotes"),
    ("name::pg_catalog.text", "dot"),
    ("name::bit(3)", "not supported"),
    ("name::bit varying", "not supported"),
    ("name::record", "not supported"),
    ("name::void", "not supported"),
    ("name::text[][]", "one []"),
    ("name::text[3]", "subscript"),
    ("name::numeric(0)", "does not take"),
    ("name::numeric(1001)", "does not take"),
    ("name::numeric(3, 5)", "scale"),
    ("name::numeric(1,2,3)", "does not take"),
    ("name::numeric(x)", "whole number"),
    ("name::varchar(99999999)", "does not take"),
    ("name::int(4)", "does not take"),
    ("name::timestamp(9)", "does not take"),
    ("ok::bigint", "cannot be cast"),
    ("born::int", "cannot be cast"),
    ("interval '1' year", "end here"),
    ("name::", "name of a type"),
    ("CAST(name text)", "AS is expected"),
    ("TREAT(name AS text)", ""),
    # Operators and their types
    ("id OPERATOR(pg_catalog.+) 1", "sign alone"),
    ("name OPERATOR(public.~) 'x'", "sign alone"),
    ("name SIMILAR TO 'x'", "regular expression"),
    ("name ISNULL", "IS NULL"),
    ("name NOTNULL", "IS NOT NULL"),
    ("name IS DOCUMENT", "expected"),
    ("name IS JSON", "expected"),
    ("name IS NORMALIZED", "expected"),
    ("data ? 'a'", "JSON key"),
    ("data ?| tags", "not supported"),
    ("data @? '$.a'", "not supported"),
    ("name @@ 'x'", "not supported"),
    ("|/ 25", "operand"),
    ("@ -5", "operand"),
    ("~ 5", "operand"),
    ("id <-> 1", "not supported"),
    ("id ** 2", "not supported"),
    ("id == 1", "not supported"),
    ("id => 1", "not supported"),
    ("id = 1 = 2", "parentheses"),
    ("1 < id < 3", "parentheses"),
    ("ok IS TRUE IS TRUE", "parentheses"),
    ("id = NOT ok", "keyword"),
    ("name = 5", "no operator"),
    ("name + 1", "no operator"),
    ("id || id", "no operator"),
    ("born + born", "no operator"),
    ("place = place", "no operator"),
    ("place < place", "no operator"),
    ("name AND ok", "true or false"),
    ("NOT id", "true or false"),
    ("id IS TRUE", "true or false"),
    ("CASE WHEN id THEN 1 END", "true or false"),
    ("CASE WHEN ok THEN 1 ELSE 'x' END", "no integer"),
    ("CASE WHEN ok THEN id ELSE born END", "no common type"),
    ("CASE END", "keyword"),
    ("CASE WHEN ok THEN 1", "END is expected"),
    ("coalesce()", "at least one"),
    ("coalesce(id, born)", "no common type"),
    ("nullif(id)", "2 arguments"),
    ("greatest(data, '{}'::json)", "no common type"),
    ("id = 'abc'", "no integer"),
    ("ok = 'maybe'", "no boolean"),
    ("status = 'nww'", "did you mean new"),
    ("status IN ('new', 'gone')", "no value"),
    ("status < name", "order of their own"),
    ("lower(id)", "types do not fit"),
    ("lower(name, name)", "takes 1"),
    ("lower()", "takes 1"),
    ("substring(name)", ""),
    ("array_length(name, 1)", "types do not fit"),
    ("place::int", "cannot be cast"),
    ("extract(year FROM name)", "nothing can be extracted"),
    ("extract(hour FROM born)", "no hour"),
    ("extract(evil FROM at)", "no evil"),
    ("extract(year, at)", "FROM is expected"),
    ("name AT TIME ZONE 'UTC'", "no time zone"),
    ("at AT TIME ZONE name", "name of a time zone"),
    ("at AT LOCAL", "TIME is expected"),
    ('name COLLATE "de_DE"', "collations"),
    ("name COLLATE de", "collations"),
    ('name COLLATE pg_catalog."C"', "collations"),
    ('id COLLATE "C"', "only texts"),
    ("name LIKE 'a' ESCAPE name", "one character"),
    ("name LIKE 'a' ESCAPE 'ab'", "one character"),
    ("id BETWEEN 1", "AND is expected"),
    ("id BETWEEN 1 AND", "none"),
    ("id IN ()", "expected"),
    ("id IN 1", "expected"),
    ("id[1]", "no array"),
    ("data['a']", "no array"),
    ("tags[1:2]", "slices"),
    ("tags[:]", "slices"),
    ("tags['x']", "no integer"),
    ("ARRAY[]", "at least one"),
    ("ARRAY[[1],[2]]", "dimension"),
    ("ARRAY[tags, tags]", "dimension"),
    ("'{1}'[1]", "subscript"),
    ("NULL", "not known"),
    # Too much
    ("1e99999", "exponent"),
    ("9" * 101, "digits"),
    ("0x1F", "goes on"),
    ("1_000", "goes on"),
    ("1.2.3", "goes on"),
    ("12abc", "goes on"),
    ("(" * 40 + "id" + ")" * 40, "deeper"),
    ("(" * 4000 + "id" + ")" * 4000, "deeper"),
    ("- " * 4000 + "id", "deeper"),
    ("NOT " * 2000 + "ok", "deeper"),
    ("lower(" * 1000 + "name" + ")" * 1000, "deeper"),
    ("id" + " + 1" * 100, "deeper"),
    ("id" + "::int" * 100, "deeper"),
    ("CASE WHEN ok THEN " * 100 + "1" + " END" * 100, "deeper"),
    ("data -> 'a' <@ NULL AND NULL <@ NULL", "no operator"),
    ("name" + " || 'x'" * 600, "operands"),
    ("concat(" + ", ".join(["1"] * 101) + ")", "arguments"),
    ("id IN (" + ", ".join(["1"] * 501) + ")", "items"),
    ("'" + "x" * 10_001 + "'", "longer"),
]


def test_a_hostile_expression_is_refused_without_a_server() -> None:
    """Each with its place, and a word of the reason."""
    wrong = []
    for text, word in HOSTILE:
        try:
            compile_expression(text, PURE)
        except MappingError as error:
            if word not in str(error) or "character " not in error.what:
                wrong.append((text[:60], str(error)))
        else:
            wrong.append((text[:60], "accepted"))
    assert wrong == []


def test_there_are_hundreds_of_hostile_expressions() -> None:
    assert len({text for text, _ in HOSTILE}) >= 200


@pytest.mark.parametrize(
    ("text", "place", "shown"),
    [
        ("lower(name) || pg_sleep(1)", 16, "pg_sleep(1)"),
        ("id + (SELECT 1)", 7, "SELECT 1)"),
        ("name -- x", 6, "-- x"),
        ("coalesce(name, nme)", 16, "nme)"),
        ("id::regclass", 5, "regclass"),
        ("status = 'nww'", 10, "'nww'"),
        ("name || E'x'", 9, "E'x'"),
        ("(id", 4, "the end"),
        ("'a\x00'", 3, "\\u0000'"),
    ],
)
def test_a_refusal_names_the_place_and_the_words(text: str, place: int, shown: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_expression(text, PURE)
    assert f"character {place}, " in caught.value.what
    assert shown in caught.value.what


@pytest.mark.parametrize("text", ["id", "name", "'true'", "id + 1", "NULL"])
def test_a_condition_is_true_or_false(text: str) -> None:
    with pytest.raises(MappingError):
        compile_condition(text, PURE)


def test_a_condition_over_columns_is_accepted() -> None:
    found = compile_condition("ok AND id BETWEEN 1 AND 5 OR status = 'paid'", PURE)
    assert found.columns == ("ok", "id", "status")
    assert found.type.name == "bool"


def test_an_ordering_keeps_its_directions() -> None:
    found = compile_ordering("id DESC NULLS LAST, lower(name), born NULLS FIRST, ok DESC", PURE)
    assert found.columns == ("id", "name", "born", "ok")
    assert [term.sql("postgres") for term in found.sql("t")] == [
        '"t"."id" DESC NULLS LAST',
        'LOWER("t"."name") ASC',
        '"t"."born" ASC NULLS FIRST',
        '"t"."ok" DESC',
    ]


@pytest.mark.parametrize(
    "text", ["", "1", "'x'", "id;", "id, ", "id USING <", "id DESC ASC", "random()", "data::json"]
)
def test_an_ordering_that_orders_nothing_is_refused(text: str) -> None:
    with pytest.raises(MappingError):
        compile_ordering(text, PURE)


def test_a_bare_column_keeps_its_own_type() -> None:
    assert compile_expression("status", PURE).type is STATUS
    assert compile_expression('"Mixed"', PURE).columns == ("Mixed",)


def test_a_tree_is_fresh_each_time_and_hostile_aliases_are_quoted() -> None:
    found = compile_expression("name || 'x'", PURE)
    first, second = found.sql('a"b'), found.sql("b")
    assert first.sql("postgres") == """("a""b"."name" || CAST('x' AS text))"""
    assert second.sql("postgres") == """("b"."name" || CAST('x' AS text))"""


def test_equal_tables_share_no_columns_of_another() -> None:
    other = Table(TableName("public", "t"), columns=(_column("name", "int4"),))
    assert compile_expression("name", PURE).type.name == "text"
    assert compile_expression("name", other).type.name == "int4"


# Hand-picked expressions whose meaning differs between careless readers, and one of each form.
MEANT = [
    "-2 ^ 2",
    "2 ^ 3 ^ 2",
    "- id ^ 2",
    "id + small * big % 7 - num / 3",
    "7 / 2",
    "-7 % 3",
    "id / 2.0",
    "-2147483648",
    "2147483648",
    "-9223372036854775808",
    "9223372036854775808",
    "1.",
    ".5",
    "1.50",
    "1e3",
    "-1.5e-3",
    "'a\\b' || '\\'",
    "'--' || '/*' || 'x'",
    "'it''s'",
    "NOT ok AND id > 1 OR name IS NULL",
    "NOT id = 1",
    "id = 1 IS NOT NULL",
    "ok IS NOT TRUE",
    "ok IS UNKNOWN",
    "ok = ok IS DISTINCT FROM (id = 2)",
    "name IS NOT DISTINCT FROM vc",
    "num IS DISTINCT FROM NULL",
    "addr IS NOT NULL",
    "addr::text",
    "mood",
    "mood = 'ok'",
    "mood > 'sad'",
    "mood IN ('ok', 'sad')",
    "mood BETWEEN 'sad' AND 'ok'",
    "mood IS DISTINCT FROM 'ok'",
    "mood::text || '!'",
    "coalesce(mood, 'sad')",
    "CASE mood WHEN 'ok' THEN 1 ELSE 2 END",
    "moods[1]",
    "moods[1] = 'sad'",
    "array_length(moods, 1)",
    "array_to_string(moods, '/')",
    "moods = '{sad}'",
    "greatest(mood, 'ok')",
    "concat(mood, id, ok, tags, jb, tz)",
    "format('%s: %L', id, name)",
    "format('plain')",
    "name LIKE '%a%'",
    "name NOT ILIKE '%A!%' ESCAPE '!'",
    "name LIKE 'a' ESCAPE ''",
    "ch LIKE 'ab%'",
    "ch = 'ab'",
    "ch = vc",
    "length(ch)",
    "ch || '|'",
    "upper(ch)",
    "vc || ch || name",
    "id || name",
    "ok || ''",
    "jb || '{\"z\": 1}'",
    "raw || '\\x01'",
    "tags || 'x'::text",
    "'x'::text || tags",
    "tags || '{y,z}'",
    "tags || tags",
    "tags[2] IS NULL",
    "tags[id]",
    "tags @> ARRAY['a']",
    "tags && '{a,b}'",
    "nums <@ ARRAY[1, 2, 3]",
    "tags = ARRAY['42']",
    "ARRAY[1, 2.5, small]",
    "ARRAY['a', vc]",
    "array_append(nums, 5)",
    "array_prepend(5, nums)",
    "array_cat(tags, '{q}')",
    "array_position(tags, 'a')",
    "array_remove(tags, 'a')",
    "array_replace(nums, 3, 4)",
    "cardinality(tags)",
    "f4 IN (0.1, -0.1, 1.5)",
    "f4 = -0.1",
    "f4 = -0.1::float4",
    "id IN (1, 2.0, 3)",
    "id IN ('1', '2')",
    "id NOT IN (1, big, small)",
    "num IN (7)",
    "id BETWEEN SYMMETRIC 3 AND 2",
    "id NOT BETWEEN small AND big",
    "d BETWEEN '2000-01-01' AND '2024-12-31'",
    "d = tz",
    "d < ts",
    "ts - d::timestamp",
    "d - 1",
    "d - d",
    "d + tm",
    "d + iv",
    "tz + '1 day'",
    "tz - ts",
    "iv * 2",
    "iv / 2.5",
    "tm + iv",
    "- iv",
    "date '2020-02-30' IS NULL",
    "date '2020-02-28' + 1",
    "interval '1 day' + d",
    "timestamp '2020-01-01 12:00' AT TIME ZONE 'Europe/Berlin'",
    "tz AT TIME ZONE 'America/New_York'",
    "d AT TIME ZONE 'Asia/Tokyo'",
    "tz AT TIME ZONE 'UTC' + iv",
    "extract(epoch FROM tz)",
    "extract('year' FROM d)",
    "extract(dow FROM d)::int",
    "extract(microseconds FROM tm)",
    "extract(hour FROM iv)",
    "date_part('month', d)",
    "date_trunc('month', d)",
    "date_trunc('hour', ts)",
    "date_trunc('day', tz, 'Europe/Berlin')",
    "make_date(2000 + id, 1, 1)",
    "make_timestamptz(2000, 1, 2, 3, 4, 5.5, 'Asia/Tokyo')",
    "age(tz, ts)",
    "age(d, d)",
    "to_char(num, 'FM999990.00')",
    "to_char(tz, 'YYYY-MM-DD')",
    "to_char(d, 'Day')",
    "to_date('31.12.1999', 'DD.MM.YYYY')",
    "to_timestamp('2000', 'YYYY')",
    "to_timestamp(id)",
    "j -> 'a'",
    "j ->> 'n'",
    "jb -> 'a' -> 'b' -> 0",
    "jb -> 'a' -> 'b' ->> 1 || '!'",
    "jb #>> '{a,b,1}'",
    "j #> '{a}'",
    "jb @> '{\"n\": 5}'",
    "jb - 'a'",
    "jb = '[]'",
    "(jb ->> 'n')::int + 1",
    "(jb -> 'n')::text",
    "jb::text",
    "jsonb_extract_path_text(jb, 'a', 'b')",
    "json_typeof(j)",
    "to_jsonb(nums)",
    "to_json(name)",
    "jsonb_build_object('a', id, 'b', tags)",
    "json_build_array(id, NULL, 'x')",
    "jsonb_set(nullif(jb, '\"s\"'), '{q}', '1')",
    "trim(name)",
    "trim(leading 'A ' FROM name)",
    "trim(trailing FROM name)",
    "trim(both from name)",
    "substring(name FROM 2 FOR 3)",
    "substring(name FOR 3)",
    "substring(name FROM '[A-Z].')",
    "substring(name, 2)",
    "substring(raw FROM 1 FOR 1)",
    "position('a' IN name)",
    "left(name, -2)",
    "right(vc, 1)",
    "split_part(name, ' ', 2)",
    "regexp_replace(name, '(\\w)', '<\\1>', 'g')",
    "regexp_match(name, '(A)(d)')",
    "name ~ '^\\s'",
    "name !~* 'ADA'",
    "string_to_array(name, ' ')",
    "string_to_array('1,2,', ',', '')::int[]",
    "encode(sha256(convert_to(name, 'UTF8')), 'hex')",
    "md5(name)",
    "md5(raw)",
    "decode('ff', 'hex')",
    "round(num, 1)",
    "round(f8)",
    "round(id)",
    "trunc(num)",
    "abs(small)",
    "abs('-1')",
    "mod(big, 7)",
    "power(id, 2)",
    "power(num, 2)",
    "sqrt(id + 5)",
    "log(2, 8)",
    "sign(num)",
    "pi()",
    "greatest(id, num, small)",
    "greatest(vc, name)",
    "least('b', vc, 'a')",
    "coalesce(vc, name)",
    "coalesce(ch, 'x')",
    "coalesce(lab, 'x')",
    "coalesce(pos, 0)",
    "pos + 1",
    "pos",
    "lab || 'x'",
    "nullif(vc, '')",
    "nullif(id, 1.0)",
    "nullif(mood, 'ok')",
    "nullif(tags, '{}')",
    "sysname = 'pg'",
    "lower(sysname)",
    "CASE WHEN ok THEN id WHEN id > 2 THEN num END",
    "CASE id WHEN 1 THEN 'one' WHEN 2 THEN vc ELSE ch END",
    "CASE WHEN id = 1 THEN NULL ELSE NULL END",
    "CASE WHEN ok THEN d ELSE tz END",
    "num::int",
    "num::numeric(4,1)",
    "f8::text",
    "name::varchar(3)",
    "name::char(3)",
    "name::char",
    "d::timestamptz",
    "tz::date",
    "ts::timestamp(0)",
    "ok::int",
    "id::bool",
    "nums::text[]",
    "tags::text",
    "uid::text",
    "raw::text",
    "'{1,2}'::int[]",
    "NULL::numeric",
    "vc::double precision",
    "vc = '42' AND vc::int = 42",
    "name COLLATE \"C\" < 'Z'",
    '"Naïve ""col"" 🙂" || "\'; DROP TABLE x; --"',
    '"select" || "user"',
    '"a.b" + "$1"',
    "id & 3 | 4 # 1",
    "1 << id",
    "small << id",
    "id + 1 || 'x'",
    "id < 3 AND NOT name = '' OR ok",
    "name || id + 1",
    "'abc'",
    "num_nulls(name, id, d)",
    "concat_ws('-', name, NULL, id)",
    "json_object(tags)",
    "normalize(name)",
    "initcap(name)",
    "chr(65 + id)",
    "addr = '10.0.0.1'",
    "addr IN ('10.0.0.1', '::1')",
    "addr > '10.0.0.0'",
    "coalesce(addr, '::1')",
]


# We know a domain's value by its base type: the graph value is the same.
_DOMAINS = {"label": "character varying", "posint": "integer"}


async def _settled(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, server_settings=_SETTINGS)
    await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    return connection


async def _answers(connection: asyncpg.Connection[asyncpg.Record], sql: str) -> list[Any] | str:
    """The types and texts of an expression's values on all rows, or how it fails."""
    query = (
        f"SELECT format_type(pg_typeof(x.v)::oid, NULL), x.v::text FROM "
        f'(SELECT {sql} AS v FROM public."[/foo]" AS t ORDER BY t.id) AS x'
    )
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    except asyncpg.PostgresError as error:
        return type(error).__name__


async def _difference(
    connection: asyncpg.Connection[asyncpg.Record], found: Expression
) -> str | None:
    """How our SQL's answers differ from those of the person's text, None where they do not."""
    ours = await _answers(connection, found.sql("t").sql("postgres"))
    theirs = await _answers(connection, f"({found.text})")
    if ours != theirs:
        return f"{found.text}: {ours} is not {theirs}"
    if isinstance(ours, list):
        named = found.type.resolved().declared if found.type.kind != "domain" else ""
        plain = named.replace("public.", "").partition("(")[0]
        told = {name.replace("public.", "") for name, _ in ours}
        types = {_DOMAINS.get(name, name) for name in told}
        if found.type.kind != "domain" and types != {plain}:
            return f"{found.text}: {types} is not {found.type.declared}"
    return None


async def _differences(dsn: str, texts: list[str]) -> list[str]:
    table = await _table(dsn)
    connection = await _settled(dsn)
    try:
        found = [await _difference(connection, compile_expression(text, table)) for text in texts]
    finally:
        await connection.close()
    return [one for one in found if one is not None]


def test_an_expression_means_to_us_what_it_means_to_postgresql(dsn: str) -> None:
    """Types and values of a list of tricky expressions are those of the text itself."""
    assert run_now(_differences(dsn, MEANT)) == []


# Generated expressions: by family, each grown out of smaller ones.
_SMALLEST = {
    "number": ["id", "small", "big", "num", "f4", "f8", "pos", "0", "1", "-7", "2.50", "1e2"],
    "text": ["name", "vc", "ch", "lab", quote_name(HOSTILE_NAME), "'x'", "''", "'it''s \\'"],
    "truth": ["ok", "TRUE", "FALSE", "NULL::bool", "mood = 'ok'", "mood < 'ok'"],
    "moment": ["d", "ts", "tz", "date '2024-02-29'", "timestamptz '2000-01-01 00:00+05'"],
    "span": ["iv", "interval '1 mon 2 days 03:04'"],
    "json": ["jb", "(jb -> 'a')", "'[1, {\"k\": null}]'::jsonb"],
    "list": ["tags", "nums::text[]", "ARRAY['a', 'b']", "'{}'::text[]"],
}
_GROWN = {
    "number": [
        "{number} {arithmetic} {number}",
        "- {number}",
        "({number})",
        "abs({number})",
        "round({number})",
        "coalesce({number}, {number}, 5)",
        "greatest({number}, {number})",
        "nullif({number}, {number})",
        "CASE WHEN {truth} THEN {number} ELSE {number} END",
        "length({text})",
        "extract(epoch FROM {span})",
        "date_part('year', {moment})",
        "cardinality({list})",
        "strpos({text}, {text})",
        "({number})::numeric(30, 3)",
        "({number})::float8",
    ],
    "text": [
        "{text} || {text}",
        "({number})::text || {text}",
        "lower({text})",
        "btrim({text}, {text})",
        "left({text}, 2)",
        "replace({text}, 'a', {text})",
        "coalesce({text}, {text})",
        "CASE {text} WHEN {text} THEN {text} ELSE {text} END",
        "({list})[1]",
        "(({json}) ->> 'n')",
        "(jb #>> ({list}))",
        "concat({number}, {truth}, {moment}, {text}, {list})",
        "array_to_string({list}, {text})",
        "to_char({moment}, 'YYYY-MM-DD HH24:MI')",
        "md5({text})",
        "substring({text} FROM 2 FOR 3)",
        "({moment})::text",
        "least({text}, {text})",
        "({text})::varchar(2)",
    ],
    "truth": [
        "{number} {comparison} {number}",
        "{text} {comparison} {text}",
        "{moment} {comparison} {moment}",
        "NOT {truth}",
        "{truth} AND {truth}",
        "{truth} OR NOT {truth} AND {truth}",
        "{text} LIKE {text}",
        "{text} IS NOT DISTINCT FROM {text}",
        "({number}) IS NULL",
        "({truth}) IS NOT TRUE",
        "id IN (1, {number}::int, 3)",
        "({text})::text NOT IN ({text}, 'x')",
        "{number} BETWEEN 0 AND 100",
        "({list}) @> ({list})",
        "({json}) @> ({json})",
        "{span} > {span}",
    ],
    "moment": [
        "{moment} + {span}",
        "{moment} - {span}",
        "date_trunc('month', {moment})",
        "coalesce({moment}, {moment})",
        "({moment})::date",
        "({moment}) AT TIME ZONE 'Europe/Berlin'",
        "({moment})::date + 1",
    ],
    "span": ["{span} + {span}", "{span} * 2", "- {span}", "age({moment}, {moment})"],
    "json": [
        "{json} || {json}",
        "to_jsonb(({text})::text)",
        "jsonb_build_object('k', {number}, {text} || 'k', {list})",
        "jsonb_build_array({text}, {truth})",
    ],
    "list": [
        "({list}) || ({list})",
        "array_append({list}, {text})",
        "string_to_array({text}, ',')",
        "ARRAY[({text})::text, {text}, NULL]",
    ],
}
_SIGNS = {"arithmetic": ["+", "-", "*", "/"], "comparison": ["=", "<>", "<", ">=", "!="]}


@st.composite
def _generated(draw: st.DrawFn, family: str, levels: int) -> str:
    if not levels or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(_SMALLEST[family]))
    form = draw(st.sampled_from(_GROWN[family]))
    made, rest = "", form
    while "{" in rest:
        before, _, rest = rest.partition("{")
        part, _, rest = rest.partition("}")
        if part in _SIGNS:
            made += before + draw(st.sampled_from(_SIGNS[part]))
        else:
            grown = draw(_generated(part, levels - 1))
            made += f"{before}({grown})" if draw(st.booleans()) else before + grown
    return made + rest


_BATCH = st.lists(
    st.sampled_from(sorted(_GROWN)).flatmap(lambda family: _generated(family, 3)),
    min_size=40,
    max_size=40,
)


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=_BATCH)
def test_a_generated_expression_has_the_type_and_values_that_postgresql_gives_it(
    dsn: str, texts: list[str]
) -> None:
    assert run_now(_differences(dsn, texts)) == []


def test_a_permitted_function_exists_returns_what_we_say_and_changes_nothing(dsn: str) -> None:
    """The closed list is compared with the server's own, operators too."""
    assert run_now(_wrong_signatures(dsn)) == []


_PROCEDURE = """
SELECT format_type(prorettype, NULL) = format_type($2::text::regtype, NULL) AND provolatile <> 'v'
  AND NOT proretset AND prokind = 'f' FROM pg_proc WHERE oid = to_regprocedure($1)
"""
_OPERATOR = """
SELECT format_type(o.oprresult, NULL) = format_type($2::text::regtype, NULL)
  AND p.provolatile <> 'v' FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
WHERE o.oid = to_regoperator($1)
"""


async def _wrong_signatures(dsn: str) -> list[str]:
    asked = []
    for name, signatures in functions().items():
        for one in signatures:
            types = ", ".join(one.takes)
            if one.exact and not one.variadic and (name, one.takes) not in _BY_DEFAULTS:
                asked.append((_PROCEDURE, f'pg_catalog."{name}"({types})', one.gives))
    for sign, signatures in operators().items():
        for one in signatures:
            if "citext" not in one.takes:
                types = ", ".join(("NONE", *one.takes)[-2:])
                asked.append((_OPERATOR, f"pg_catalog.{sign}({types})", one.gives))
    connection = await _settled(dsn)
    try:
        answers = [await connection.fetchval(*question) for question in asked]
    finally:
        await connection.close()
    assert len(answers) > 400
    return [what for (_, what, _), answer in zip(asked, answers, strict=True) if not answer]


# Arguments with defaults: the server's signature has more.
_BY_DEFAULTS: set[tuple[str, tuple[str, ...]]] = {
    ("json_strip_nulls", ("json",)),
    ("jsonb_strip_nulls", ("jsonb",)),
    ("jsonb_set", ("jsonb", "_text", "jsonb")),
    ("jsonb_insert", ("jsonb", "_text", "jsonb")),
    ("normalize", ("text",)),
}


def test_a_function_of_the_same_name_in_another_schema_is_never_called(
    make_database: MakeDatabase,
) -> None:
    """Even where it fits the types better, and its schema is searched."""
    dsn = make_database(
        """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.trap() RETURNS text LANGUAGE plpgsql
          AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
        CREATE FUNCTION evil.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
        CREATE FUNCTION evil.concat(text, varchar) RETURNS text LANGUAGE sql
          AS 'SELECT evil.trap()';
        CREATE FUNCTION evil.array_length(text[], int) RETURNS int LANGUAGE sql
          AS 'SELECT evil.trap()::int';
        CREATE FUNCTION evil.eq(varchar, varchar) RETURNS bool LANGUAGE sql
          AS 'SELECT evil.trap()::bool';
        CREATE FUNCTION evil.eq(text[], text[]) RETURNS bool LANGUAGE sql
          AS 'SELECT evil.trap()::bool';
        CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = varchar, RIGHTARG = varchar);
        CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = text[], RIGHTARG = text[]);
        CREATE TABLE t (vc varchar, tags text[]);
        INSERT INTO t VALUES ('A', '{a}');
        """
    )
    texts = {
        "lower(vc)": "a",
        "concat('x', vc)": "xA",
        "array_length(tags, 1)": "1",
        "vc = 'A'": "true",
        "tags = '{a}'": "true",
    }
    table = Table(
        TableName("public", "t"),
        columns=(
            _column("vc", "varchar"),
            Column("tags", DataType("text[]", "_text", "array", DataType("text", "text"))),
        ),
    )

    async def run() -> tuple[dict[str, Any], list[str]]:
        connection = await _settled(dsn)
        await connection.execute("SET search_path = pg_catalog, evil")
        ours, trapped = {}, []
        for text in texts:
            sql = compile_expression(text, table).sql("t").sql("postgres")
            ours[text] = await connection.fetchval(f"SELECT ({sql})::text FROM public.t AS t")
            try:
                await connection.fetchval(f"SELECT {text} FROM public.t AS t")
            except asyncpg.PostgresError:
                trapped.append(text)
        await connection.close()
        return ours, trapped

    ours, trapped = run_now(run())
    assert ours == texts
    assert trapped == list(texts)  # the traps do work for the text itself


def test_a_text_with_regard_to_case_of_its_own_type_compares_as_the_extension_does(
    make_database: MakeDatabase,
) -> None:
    dsn = make_database(
        """CREATE EXTENSION citext;
        CREATE TABLE t (id int, mail citext, other text);
        INSERT INTO t VALUES (1, 'Ada@X.org', 'ada@x.org'), (2, NULL, '')"""
    )
    texts = [
        "mail = 'ADA@x.org'",
        "mail = other",
        "mail LIKE 'ada%'",
        "mail LIKE other",
        "mail IN ('x', 'ada@x.ORG')",
        "mail || '!'",
        "lower(mail)",
        "coalesce(mail, 'x')",
        "mail::text = 'ada@x.org'",
        "greatest(mail, 'x')",
        "nullif(mail, 'ADA@X.ORG')",
        "CASE mail WHEN 'ADA@X.ORG' THEN 1 ELSE 0 END",
        "mail BETWEEN 'ada' AND 'adb'",
        "mail IS DISTINCT FROM 'ADA@X.ORG'",
    ]

    async def run() -> list[tuple[str, Any, Any]]:
        source = await Source.connect(dsn)
        table = (await source.catalog()).table(TableName("public", "t"))
        await source.close()
        assert table is not None
        connection = await _settled(dsn)
        await connection.execute("SET search_path = pg_catalog, public")
        wrong = []
        for text in texts:
            ours = compile_expression(text, table).sql("t").sql("postgres")
            query = (
                "SELECT array_agg(ROW(pg_typeof(v), v::text)::text) FROM (SELECT {} AS v FROM t) x"
            )
            answers = [await connection.fetchval(query.format(one)) for one in (ours, text)]
            if answers[0] != answers[1]:
                wrong.append((text, *answers))
        await connection.close()
        return wrong

    assert run_now(run()) == []


# Ready-made expressions.


def test_every_ready_made_expression_runs_on_a_table_of_hostile_names(dsn: str) -> None:
    ran = run_now(_run_ready_made(dsn))
    assert {one.id for one in READY_MADE} == {name for name, _ in ran}
    assert ("trim_lower", HOSTILE_NAME) in ran
    assert ("mask", "'; DROP TABLE x; --") in ran


async def _run_ready_made(dsn: str) -> set[tuple[str, str]]:
    table = await _table(dsn)
    connection = await _settled(dsn)
    ran = set()
    for column in table.columns:
        for one in ready_made_for(column):
            found = compile_expression(make_text(one, column, {}), table)
            assert found.columns == (column.name,)
            assert one.graph_type in possible_types(found.type), one.id
            value = conversion(found.type, one.graph_type).value(found.sql("t"))
            query = f'SELECT {value.sql("postgres")} FROM ONLY public."[/foo]" AS t'
            try:
                await connection.fetch(f"{query} WHERE {_is_set(column)}")
            except asyncpg.DataError:
                assert one.id in _CAN_FAIL, one.id
            ran.add((one.id, column.name))
    await connection.close()
    return ran


_CAN_FAIL = {"text_to_date", "text_to_timestamp", "text_to_integer", "text_to_decimal"} | {
    "json_number"
}


def _is_set(column: Column) -> str:
    return f"{quote_name(column.name)} IS NOT NULL"


@pytest.mark.parametrize(
    ("name", "answers", "value", "expected"),
    [
        ("trim_lower", {}, "  ÄB c ", "äb c"),
        ("trim_upper", {}, " de ", "DE"),
        ("one_space", {}, " a \t\n b ", "a b"),
        ("digits", {}, "+49 (0)30-12", "4903012"),
        ("empty_to_null", {}, "   ", None),
        ("null_to_text", {"default": "it's \\"}, None, "it's \\"),
        ("split_part", {"separator": "'", "part": "2"}, "a'b'c", "b"),
        ("split_list", {"separator": ";"}, "a;b", "{a,b}"),
        ("mail_domain", {}, "Ada@X.Org", "x.org"),
        ("text_to_date", {"format": "DD.MM.YYYY"}, "31.12.1999", "1999-12-31"),
        ("text_to_integer", {}, " 42 ", "42"),
        ("text_to_decimal", {}, "1.50", "1.50"),
        ("text_to_bool", {"yes": "J", "no": "N"}, " j", "true"),
        ("hash", {}, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "hash",
            {"salt": "a"},
            "bc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("mask", {}, "4111111111111234", "************1234"),
        ("mask", {}, "123", "****"),
        ("mask", {"kept": "2"}, None, None),
    ],
)
def test_a_ready_made_expression_does_what_it_says(
    shop_dsn: str, name: str, answers: dict[str, str], value: str | None, expected: str | None
) -> None:
    column = _column('we"ird [/x]', "text")
    table = Table(TableName("public", "t"), columns=(column,))
    one = next(one for one in READY_MADE if one.id == name)
    sql = compile_expression(make_text(one, column, answers), table).sql("t").sql("postgres")

    async def run() -> Any:
        connection = await _settled(shop_dsn)
        query = f"SELECT ({sql})::text FROM (SELECT $1::text AS {quote_name(column.name)}) AS t"
        try:
            return await connection.fetchval(query, value)
        finally:
            await connection.close()

    assert run_now(run()) == expected


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("split_part", {"part": "0"}),
        ("split_part", {"part": "1); DROP TABLE x"}),
        ("mask", {"kept": "-1"}),
        ("mask", {"kept": "²"}),
        ("null_to_number", {"default": "1; x"}),
        ("null_to_number", {"default": ""}),
    ],
)
def test_an_answer_that_is_no_number_is_refused(name: str, answers: dict[str, str]) -> None:
    one = next(one for one in READY_MADE if one.id == name)
    with pytest.raises(MappingError):
        make_text(one, _column("id", "int4"), answers)


# Queries of a mapping.

HOSTILE_QUERIES = [
    "",
    "name",
    "VALUES (1)",
    "TABLE public.t",
    "DELETE FROM public.t",
    "EXPLAIN ANALYZE SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE public.t",
    "SELECT 1 INTO x",
    "SELECT * INTO TEMP x FROM public.t",
    "SELECT * FROM public.t FOR UPDATE",
    "SELECT * FROM public.t FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT * FROM (SELECT * FROM public.t FOR SHARE) AS x",
    "WITH x AS (DELETE FROM public.t RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO public.t VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE public.t SET a = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (MERGE INTO public.t USING public.u ON true WHEN MATCHED THEN DELETE) SELECT 1",
    "SELECT pg_sleep(1)",
    'SELECT "pg_sleep"(1)',
    "SELECT pg_catalog.pg_sleep(1)",
    'SELECT pg_catalog . "pg_sleep" (1)',
    "SELECT (SELECT pg_sleep(1))",
    "SELECT * FROM pg_sleep(1)",
    "SELECT * FROM pg_sleep(1) AS x",
    "SELECT * FROM public.t, LATERAL pg_read_file('x') AS f(a)",
    "SELECT * FROM ROWS FROM (pg_ls_dir('.')) AS x",
    "SELECT 1 WHERE pg_sleep(1) IS NULL",
    "SELECT 1 ORDER BY random()",
    "SELECT count(*) FILTER (WHERE nextval('s') > 1) FROM public.t",
    "SELECT sum(a) OVER (ORDER BY random()) FROM public.t",
    "SELECT by(1)",
    "SELECT filter(1), over(2)",
    "SELECT sets(1)",
    "SELECT a, pg_sleep(1) AS (SELECT 1)",
    "SELECT * FROM public.a, dblink('x', 'y') AS (a int)",
    "SELECT now()",
    "SELECT current_date",
    "SELECT current_user",
    "SELECT user",
    "SELECT a > 'now' FROM public.t",
    "SELECT date 'today'",
    "SELECT a::regclass FROM public.t",
    "SELECT CAST(a AS regclass) FROM public.t",
    "SELECT CAST(CAST(a AS text) AS oid) FROM public.t",
    "SELECT regclass 'x'",
    "SELECT \"regclass\" 'x'",
    "SELECT a::public.evil FROM public.t",
    "SELECT a::text.evil FROM public.t",
    "SELECT CAST(a AS date.evil) FROM public.t",
    "SELECT evil.date '2000-01-01'",
    "SELECT a OPERATOR(public.+) b FROM public.t",
    "SELECT a <-> b FROM public.t",
    "SELECT ctid FROM public.t",
    "SELECT t.xmin FROM public.t AS t",
    "SELECT * FROM public.t TABLESAMPLE SYSTEM (1)",
    "SELECT * FROM t",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT * FROM pg_shadow",
    'SELECT * FROM "pg_catalog"."pg_authid"',
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM other.public.t",
    "SELECT query_to_xml('DELETE FROM t', true, true, '')",
    "SELECT /* x */ 1",
    "SELECT 1 -- x",
    "SELECT $1",
    "SELECT :x",
    "SELECT $$a$$",
    "SELECT E'a'",
    "SELECT U&'a'",
    "SELECT 'a' 'b'",
    "SELECT 'a",
    "SELECT (1",
    "SELECT 1)",
    "SELECT " + "(" * 60 + "1" + ")" * 60,
    "SELECT FROM WHERE",
    "SELECT concat(VARIADIC tags) FROM public.t",
    "SELECT '\x00'",
]


def test_a_query_that_does_more_than_read_is_refused() -> None:
    assert [sql for sql in HOSTILE_QUERIES if _is_accepted(sql)] == []


def _is_accepted(sql: str) -> bool:
    try:
        check_query(sql)
    except MappingError:
        return False
    return True


QUERIES = [
    'SELECT id, name AS "N [/x]" FROM public."[/foo]" ORDER BY id',
    'SELECT * FROM public."[/foo]";',
    """SELECT a.id, count(*) AS n, sum(b.num) FILTER (WHERE b.ok) AS s
       FROM public."[/foo]" AS a LEFT JOIN public."[/foo]" AS b ON a.id <= b.id
       GROUP BY a.id HAVING count(*) > 1 ORDER BY 1 DESC""",
    'SELECT id, unnest(tags) AS tag FROM public."[/foo]" ORDER BY 1, 2',
    """WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5),
       other(a, b) AS MATERIALIZED (SELECT 1, 2) SELECT n, b FROM r CROSS JOIN other ORDER BY n""",
    """SELECT id, row_number() OVER w, lag(id, 1) OVER (PARTITION BY ok ORDER BY id)
       FROM public."[/foo]" WINDOW w AS (ORDER BY id DESC) ORDER BY id""",
    """SELECT id FROM public."[/foo]" WHERE id = -2 ^ 2 IS NOT NULL AND ok IS UNKNOWN
       OR name NOT LIKE 'x' AND EXISTS (SELECT 1 FROM public."[/foo]") ORDER BY id""",
    """SELECT DISTINCT ON (ok) ok, id, jb -> 'a' -> 'b' ->> 0, CAST(num AS numeric(5,1)),
       extract(year FROM d), substring(name FROM 2 FOR 3), tags[1], 7 / 2, 'a\\'
       FROM public."[/foo]" ORDER BY ok, id""",
    "SELECT g.i, k.v FROM generate_series(1, 3) AS g(i), LATERAL (VALUES (g.i * 2)) AS k(v)",
    """SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id), string_agg(name, ',' ORDER BY id),
       mode() WITHIN GROUP (ORDER BY ok) FROM public."[/foo]" """,
    """(SELECT id FROM public."[/foo]" UNION SELECT 7) EXCEPT SELECT 1 ORDER BY 1
       FETCH FIRST 2 ROWS ONLY""",
    """SELECT e.key, e.value FROM public."[/foo]" AS t CROSS JOIN LATERAL jsonb_each_text(t.jb) AS e
       WHERE t.id = 1 AND t.id = ANY (ARRAY[1, 2]) AND (t.id, t.ok) IN ((1, true)) ORDER BY 1""",
    """SELECT ok, mood, GROUPING(ok), count(*) FROM public."[/foo]"
       GROUP BY GROUPING SETS ((ok), (mood), ()) ORDER BY 1, 2, 3""",
]


def test_a_query_that_reads_gives_the_rows_that_its_own_text_gives(dsn: str) -> None:
    async def run() -> list[tuple[Any, Any]]:
        connection = await _settled(dsn)
        found = []
        for sql in QUERIES:
            ours = await connection.fetch(check_query(sql).sql("postgres"))
            theirs = await connection.fetch(sql)
            assert theirs
            found.append(([tuple(row.items()) for row in ours], [tuple(r.items()) for r in theirs]))
        await connection.close()
        return found

    for ours, theirs in run_now(run()):
        assert ours == theirs
