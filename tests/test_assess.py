"""The assessment: findings with evidence, SQL that mends, waivers, and counts on request."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geode_tui.catalog import (
    Catalog,
    Check,
    Column,
    ColumnProfile,
    DataType,
    Key,
    Profile,
    ServerFacts,
    Table,
    TableName,
    Trigger,
)
from geode_tui.errors import MappingError
from geode_tui.mapping import mend
from geode_tui.mapping.assess import CODES, Finding, assess, unwaive, waive
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.edits import replace_rule, set_included, set_property_type
from geode_tui.mapping.file import dump, parse
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Join, Mapping, Property
from geode_tui.source.hazards import count_hazards
from geode_tui.source.postgres import Source
from tests.catalogs import INT, SHOP, TEXT, catalog, table
from tests.conftest import MakeDatabase, run_now

NUMBER = DataType("numeric", "numeric")
WIDE = DataType("numeric(50,2)", "numeric", precision=50, scale=2)
DATE = DataType("date", "date")
SERVER = ServerFacts("18.1", 180001, "shop", "dba")


def _with(name: str, *columns: Column, **fields: Any) -> Table:
    made = table(name, "id", "id")
    return replace(made, columns=(*made.columns, *columns), **fields)


def _found(*tables: Table, **known: Any) -> dict[str, Finding]:
    """The findings of the inferred mapping by their codes; a code stands once in these tests."""
    source = replace(catalog(*tables), server=SERVER)
    findings = assess(infer(source), source, **known)
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings)
    assert by_code.keys() <= CODES
    return by_code


# -- SQL ----------------------------------------------------------------------------------------

_NAMES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    st.from_regex(r"[a-z_][a-z0-9_$]*", fullmatch=True),
)


@given(st.lists(_NAMES, min_size=200, max_size=200))
@settings(max_examples=5, deadline=None)
def test_names_are_quoted_as_postgresql_quotes_them(postgres: Any, names: list[str]) -> None:
    """Every name reads back as itself, keywords and hostile names too."""
    statement = (
        "SELECT word FROM (SELECT word FROM pg_get_keywords()"
        " UNION ALL SELECT unnest($1::text[])) w(word)"
    )

    async def work() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(postgres.dsn())
        try:
            rows = await connection.fetch(
                f"SELECT word, quote_ident(word) FROM ({statement}) x", names
            )
            return [(row[0], row[1]) for row in rows]
        finally:
            await connection.close()

    told = run_now(work())
    assert len(told) > 500
    for name, quoted in told:
        made = mend.identifier(name)
        # A keyword of a later version may be quoted already.
        assert made == quoted or (quoted == name and made == f'"{name}"' and name.isidentifier())


def test_the_sql_of_a_finding_can_be_run_as_it_is(make_database: MakeDatabase) -> None:
    """What a person copies into psql is accepted, whatever the names."""
    dsn = make_database("""
        CREATE SCHEMA "S 1";
        CREATE TABLE "S 1"."Order Items" ("select" int, "a""b" int UNIQUE);
        CREATE TABLE "S 1"."[/foo]" ("Id" int PRIMARY KEY);
        CREATE TABLE "S 1".plain (said text);
        INSERT INTO "S 1"."[/foo]" VALUES (1);
        INSERT INTO "S 1"."Order Items" VALUES (1, 1), (1, 2);
        ALTER TABLE "S 1"."Order Items" ADD CONSTRAINT "my fk" FOREIGN KEY ("select")
          REFERENCES "S 1"."[/foo]" NOT VALID;
        DO $$ BEGIN
          IF current_setting('server_version_num')::int >= 180000 THEN
            ALTER TABLE "S 1".plain ADD foo int,
              ADD CONSTRAINT "by word" FOREIGN KEY (foo) REFERENCES "S 1"."[/foo]" NOT ENFORCED;
          END IF;
        END $$;
        CREATE ROLE "Reader 1" LOGIN;
    """)
    try:
        found = _assessed(dsn)
        sql = {(finding.code, finding.subject): finding.sql for finding in found}
        assert sql["not_validated", "S 1.Order Items"].endswith(
            'ALTER TABLE "S 1"."Order Items" VALIDATE CONSTRAINT "my fk";'
        )
        assert sql["no_key", "S 1.Order Items"] == (
            'ALTER TABLE "S 1"."Order Items" ALTER COLUMN "a""b" SET NOT NULL;'
        )
        assert ("never_analyzed", "statistics") in sql
        _run(dsn, *(statement for text in sql.values() for statement in text.split("\n")))
        codes = {finding.code for finding in _assessed(dsn)}
        assert codes.isdisjoint({"not_validated", "no_key", "never_analyzed"})

        missing = [f for f in _assessed(dsn, role="Reader 1") if f.code == "no_permission"]
        missing.sort(key=lambda finding: finding.subject)
        assert [finding.blocks for finding in missing] == [True] * 3
        assert 'GRANT SELECT ON "S 1"."Order Items" TO "Reader 1";' in missing[0].sql
        _run(dsn, *(statement for f in missing for statement in f.sql.split("\n")))
        after = {finding.code for finding in _assessed(dsn, role="Reader 1")}
        assert "no_permission" not in after
    finally:
        _run(dsn, 'DROP OWNED BY "Reader 1"', 'DROP ROLE "Reader 1"')


def _assessed(dsn: str, role: str = "", count: bool = False) -> tuple[Finding, ...]:
    async def work() -> tuple[Finding, ...]:
        source = await Source.connect(dsn if not role else _as(dsn, role))
        try:
            found = await source.catalog()
            mapping = infer(found)
            counts = None
            if count:
                reader = await source.reader()
                counts = await count_hazards(reader, mapping, found)
                await reader.close()
            return assess(mapping, found, counts=counts)
        finally:
            await source.close()

    return run_now(work())


def _as(dsn: str, role: str) -> str:
    return re.sub(r"//[^@/]*@", f"//{role.replace(' ', '%20')}@", dsn)


def _run(dsn: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                if statement:
                    await connection.execute(statement)
        finally:
            await connection.close()

    run_now(work())


# -- what is found ------------------------------------------------------------------------------


def test_many_columns_of_one_table_are_one_finding_with_their_names() -> None:
    """Two thousand tables stay readable: a code stands once for each table."""
    found = _found(_with("events", *(Column(f"d{n}", DATE) for n in range(30))))
    dates = found["date_out_of_range"]
    assert (dates.severity, dates.subject) == ("information", "public.events")
    assert dates.message.startswith("30 columns: infinity and years outside 1 to 9999")
    assert "d0 date, d1 date" in dates.evidence
    assert dates.evidence.endswith("and 10 more")


def test_a_number_wider_than_the_graph_carries_is_a_risk() -> None:
    """Declared too wide is worse than not declared; what fits is no finding."""
    assert _found(_with("a", Column("n", WIDE)))["number_out_of_range"].severity == "risk"
    assert _found(_with("a", Column("n", NUMBER)))["number_out_of_range"].severity == "information"
    fits = DataType("numeric(9,2)", "numeric", precision=9, scale=2)
    assert "number_out_of_range" not in _found(_with("a", Column("n", fits)))


def test_a_lossy_type_is_a_risk_and_an_unknown_type_is_told() -> None:
    """A rounded number is not exact; a range is kept as text, with its extension named."""
    source = catalog(_with("a", Column("n", NUMBER)))
    mapping = infer(source)
    mapping = set_property_type(mapping, mapping.nodes[0], "n", "FLOAT")
    lossy = [f for f in assess(mapping, source) if f.code == "lossy_type"]
    assert [(f.severity, f.subject) for f in lossy] == [("risk", "public.a.n")]
    shape = DataType("geometry", "geometry", extension="postgis")
    span = DataType("int4range", "int4range", "range", INT)
    found = _found(_with("a", Column("g", shape), Column("r", span), Column("t", TEXT)))
    assert found["unsupported_type"].evidence == (
        "g geometry → STRING (extension postgis), r int4range → STRING"
    )


def test_what_the_graph_does_not_do_is_one_finding_a_kind_with_numbers_and_names() -> None:
    """Triggers, checks, numbering and policies stay behind; nobody reads 2,000 lines of it."""
    tables = [
        _with(
            f"t{n}",
            Column("n", INT, default="nextval('s')"),
            triggers=(Trigger("audit", "CREATE TRIGGER"), Trigger("off", "", enabled=False)),
            checks=(Check("positive", "n > 0"),),
            policies=("own rows",),
        )
        for n in range(30)
    ]
    source = catalog(*tables)
    found = {f.subject: f for f in assess(infer(source), source) if f.code == "not_carried"}
    assert set(found) == {"triggers", "check constraints", "numbering", "policies"}
    assert found["triggers"].evidence.startswith("30 on 30 tables: public.t0 (audit), ")
    assert found["triggers"].evidence.endswith("and 10 more")
    assert "off" not in found["triggers"].evidence


def test_views_stay_behind_as_one_finding() -> None:
    """All views are told together, with their names."""
    views = [Table(TableName("public", f"v{n}"), "view", (Column("a", INT),)) for n in range(3)]
    source = catalog(table("a", "id", "id"), *views)
    [found] = [f for f in assess(infer(source), source) if f.subject == "views"]
    assert (found.code, found.message) == ("not_moved", "3 views: not moved")
    assert found.evidence == "public.v0, public.v1, public.v2"


def test_row_security_and_missing_rights_stop_a_run_and_cannot_be_waived() -> None:
    """Nobody can accept what PostgreSQL refuses."""
    hidden = _with("hidden", row_security=True, policies=("own rows",))
    column = replace(INT)
    secret = _with("secret", Column("s", column, readable=False), readable=False)
    source = replace(catalog(hidden, secret), server=SERVER)
    mapping = infer(source)
    found = {f.code: f for f in assess(mapping, source) if f.blocks}
    assert set(found) == {"row_security", "no_permission"}
    assert found["row_security"].sql == "ALTER ROLE dba BYPASSRLS;"
    assert found["no_permission"].evidence == "it may not read 1 of 2 columns: s"
    for finding in found.values():
        with pytest.raises(MappingError, match="cannot be waived"):
            waive(mapping, finding, "we know")
    left = set_included(set_included(mapping, mapping.nodes[0], False), mapping.nodes[1], False)
    assert not any(finding.blocks for finding in assess(left, source))


def test_a_table_without_a_key_is_told_what_could_be_one() -> None:
    """A unique column, the parent's key, a column that is distinct by its statistics."""
    nullable = _with("a", Column("code", INT), primary_key=None)
    nullable = replace(nullable, unique_keys=(Key("a_code", ("code",)),))
    assert _found(nullable)["no_key"].sql == "ALTER TABLE public.a ALTER COLUMN code SET NOT NULL;"

    parent, child = table("parent", "id", "id"), table("child", "id x")
    child = replace(child, inherits=(parent.name,))
    no_key = _found(parent, child)["no_key"]
    assert no_key.sql == "ALTER TABLE public.child ADD PRIMARY KEY (id);"
    assert "the key of public.parent is not inherited" in no_key.message

    profile = Profile({(TableName("public", "log"), "at"): ColumnProfile(0, 10, 4)})
    found = _found(table("log", "at what?"), profile=profile)["no_key"]
    assert (found.sql, found.evidence.split(";")[0]) == (
        "ALTER TABLE public.log ADD PRIMARY KEY (at);",
        "±10 rows",
    )


def test_rows_of_children_that_no_rule_moves_are_a_risk() -> None:
    """A parent's rule moves its own rows only: a child that is left out is not forgotten."""
    parent, child = table("parent", "id", "id"), table("child", "id", "id")
    child = replace(child, inherits=(parent.name,))
    source = catalog(parent, child)
    mapping = infer(source)
    left = set_included(mapping, mapping.nodes[1], False)
    told = [
        [f.severity for f in assess(each, source) if f.code == "inheritance"]
        for each in (mapping, left)
    ]
    assert told == [["information"], ["risk"]]


def test_names_that_lost_something_are_told() -> None:
    """A number that tells two names apart, and a label with nothing of the table's name."""
    twins = _with("things", Column("a b", INT), Column("a_b", INT), Column("n2", INT))
    found = _found(twins, table("日本", "id", "id"))
    assert found["name_collision"].evidence == "aB2 of column a_b"
    assert found["unnamed_label"].subject == "public.日本"


def test_a_rows_size_and_number_of_columns_are_told() -> None:
    """Wide rows, large values and hundreds of properties are known before a run."""
    wide = _with("wide", bytes=10 * 200_000)
    assert _found(wide)["wide_row"].evidence == "200,000 bytes a row on average"
    large = _with("large", Column("body", TEXT))
    counts = Counts(widest={(large.name, "body"): 5_000_000})
    assert "5,000,000 bytes" in _found(large, counts=counts)["wide_value"].evidence
    many = _with("many", *(Column(f"c{n}x", INT) for n in range(299)))
    assert _found(many)["many_columns"].evidence == "300 properties"


def test_a_misfit_names_the_line_of_its_file() -> None:
    """Whoever edits the file is led to the line."""
    file = parse(dump(infer(SHOP)).replace("column: referred_by", "column: refered_by"), "m.yaml")
    misfits = [f for f in assess(file.mapping, SHOP, file=file) if f.code == "mapping_misfit"]
    assert misfits[0].message == "m.yaml line 13: no column refered_by in public.users"
    assert (misfits[0].subject, misfits[0].mend) == ("User", "did you mean referred_by?")


def test_a_condition_tells_how_many_rows_it_leaves_out() -> None:
    """What a WHERE leaves behind is counted where somebody counted."""
    mapping = infer(SHOP)
    user = mapping.nodes[0]
    some = replace_rule(mapping, user, replace(user, where="id > 3"))
    [found] = [f for f in _conditions(some, None)]
    assert found.evidence == ""
    [found] = [f for f in _conditions(some, Counts(left_out={"User": 3}))]
    assert (found.subject, found.evidence) == ("User", "leaves out 3 rows")


def _conditions(mapping: Any, counts: Counts | None) -> list[Finding]:
    findings = assess(mapping, SHOP, counts=counts)
    return [finding for finding in findings if finding.code == "condition"]


def test_an_expression_that_may_fail_is_a_risk() -> None:
    """A division by a column and a cast of a text end a run at the first bad row."""
    source = catalog(_with("a", Column("n", INT), Column("said", TEXT)))
    mapping = infer(source)
    texts = {"p": "id / n", "q": "id / NULLIF(n, 0) + id % 7", "r": "said::date", "s": "id + n"}
    made = tuple(
        Property(name, "", "DATE" if name == "r" else "INT", expression=text)
        for name, text in texts.items()
    )
    rule = mapping.nodes[0]
    mapping = replace_rule(mapping, rule, replace(rule, properties=(*rule.properties, *made)))
    [found] = [f for f in assess(mapping, source) if f.severity != "information"]
    assert (found.code, found.subject) == ("expression", "A")
    assert found.evidence == 'p: divides by "t"."n", which may be 0, r: casts a text to date'


def test_a_node_with_very_many_relationships_is_told_without_its_value() -> None:
    """How many is a fact, which one is data: the value stands in no finding."""
    users = table("users", "id", "id")
    orders = table("orders", "id user_id", "id", (("user_id", "users", "id"),))
    orders = replace(orders, estimated_rows=1_000_000)
    seen = ColumnProfile(0, 1_000, 4, common=(("4711", 0.4),))
    profile = Profile({(orders.name, "user_id"): seen})
    source = catalog(users, orders)
    findings = assess(infer(source), source, profile)
    [found] = [f for f in findings if f.code == "supernode"]
    assert (found.severity, found.subject) == ("risk", "(Order)-[HAS_USER]->(User)")
    assert found.evidence == "±400,000 at one node, 40% of them all"
    assert not any("4711" in repr(finding) for finding in findings)


# -- waivers ------------------------------------------------------------------------------------


def test_a_waived_finding_stays_with_its_reason_and_comes_last() -> None:
    """Accepted is not forgotten; taken back it counts again."""
    mapping = infer(SHOP)
    [finding] = [f for f in assess(mapping, SHOP) if f.code == "no_key"]
    accepted = waive(mapping, finding, "append-only log")
    found = assess(accepted, SHOP)
    assert found[-1] == replace(finding, waived="append-only log")
    assert len(found) == len(assess(mapping, SHOP))
    assert assess(unwaive(accepted, finding), SHOP) == assess(mapping, SHOP)
    assert parse(dump(accepted)).mapping == accepted
    with pytest.raises(MappingError, match="needs a reason"):
        waive(mapping, finding, "  ")


def test_a_waiver_of_one_column_leaves_the_others() -> None:
    """A column is accepted by its own name; what comes later is not accepted with it."""
    source = catalog(_with("a", Column("x", WIDE), Column("y", WIDE)))
    mapping = infer(source)
    one = replace(assess(mapping, source)[0], subject="public.a.x")
    found = [f for f in assess(waive(mapping, one, "small"), source) if f.severity == "risk"]
    assert [(f.subject, f.waived) for f in found] == [("public.a.y", ""), ("public.a.x", "small")]


def test_a_waiver_of_nothing_is_told() -> None:
    """A wrong word in a waiver, or one whose finding is mended, does not stay unseen."""
    mapping = infer(SHOP)
    wrong = waive(mapping, Finding("risk", "no_kye", "public.log", ""), "typo")
    [found] = [f for f in assess(wrong, SHOP) if f.code == "idle_waiver"]
    assert (found.subject, found.severity) == ("public.log", "information")


# -- counts -------------------------------------------------------------------------------------


def test_counts_are_exact_and_become_evidence(make_database: MakeDatabase) -> None:
    """Infinity, BC, NaN, too many digits, orphans and large values are counted in the source."""
    dsn = make_database("""
        CREATE TABLE owner (id int PRIMARY KEY);
        CREATE TABLE "Pet's" (id int PRIMARY KEY, owner_id int, born date, seen timestamptz,
                              weight numeric, tag numeric(5,2), note text, at time, "d[]" date[]);
        INSERT INTO owner VALUES (1);
        INSERT INTO "Pet's" VALUES
          (1, 1, 'infinity', '-infinity', 'NaN', 'NaN', repeat('x', 2000000), '24:00', null),
          (2, 9, '0044-03-15 BC', '12000-01-01', 1e40, 1, 'y', '10:00', '{infinity}'),
          (3, null, '2000-01-01', '2000-01-01', 1.5, 2, null, '11:00', '{2000-01-01}'),
          (4, 8, null, null, null, null, null, null, null);
        ALTER TABLE "Pet's" ADD CONSTRAINT loose FOREIGN KEY (owner_id) REFERENCES owner NOT VALID;
    """)
    found = {f"{f.code} {f.subject}": f for f in _assessed(dsn, count=True)}
    seen = {name: (f.severity, f.evidence) for name, f in found.items()}
    assert seen["orphans public.Pet's"] == ("risk", "2 of 4 rows by loose")
    assert seen["date_out_of_range public.Pet's"] == (
        "risk",
        "born date: 1 infinity + 1 before year 1 of 4 rows counted,"
        " seen timestamp with time zone: 1 infinity + 1 after year 9999 of 4 rows counted,"
        " at time without time zone: 1 out of range of 4 rows counted,"
        " d[] date[]: 1 out of range of 4 rows counted",
    )
    assert seen["number_out_of_range public.Pet's"] == (
        "risk",
        "weight numeric: 1 NaN + 1 over 38 digits of 4 rows counted,"
        " tag numeric(5,2): 1 NaN of 4 rows counted",
    )
    assert "2,000,000 bytes" in seen["wide_value public.Pet's.note"][1]
    refused = [
        _rows(dsn, statement)
        for name in ("date_out_of_range", "number_out_of_range", "orphans")
        for statement in found[f"{name} public.Pet's"].sql.split("\n")
    ]
    assert refused == [2, 2, 1, 1, 2, 1, 2]


def test_a_table_that_takes_too_long_is_left_out_and_named(make_database: MakeDatabase) -> None:
    """A count never keeps a person waiting for ever, and says what it left out."""
    dsn = make_database("""
        CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE sql AS 'SELECT true FROM pg_sleep(9)';
        CREATE TABLE quick (id int PRIMARY KEY);
        CREATE TABLE slow (id int PRIMARY KEY);
        INSERT INTO quick VALUES (1); INSERT INTO slow VALUES (1);
    """)

    async def work() -> Counts:
        source = await Source.connect(dsn)
        reader = await source.reader()
        try:
            found = await source.catalog()
            lazy = replace(
                found.tables[1],
                kind="query",
                definition="SELECT id FROM public.slow WHERE public.slow(id)",
            )
            source_catalog = Catalog(found.server, (found.tables[0], lazy))
            return await count_hazards(reader, infer(found), source_catalog, seconds=0.2)
        finally:
            await reader.close()
            await source.close()

    counts = run_now(work())
    assert counts.rows == {TableName("public", "quick"): 1}
    assert "statement timeout" in counts.not_counted[TableName("public", "slow")]


def test_rows_of_a_joined_table_that_may_belong_to_no_node_are_told() -> None:
    """A fold that a foreign key vouches for loses nothing; a lookup and a guess may."""
    sheet = table("sheets", "owner", "owner", (("owner", "owners", "id"),))
    owners = table("owners", "id kind", "id", (("kind", "kinds", "id"),))
    source = catalog(owners, sheet, table("kinds", "id", "id"), table("loose", "id", "id"))
    whole = infer(source)
    joins = (
        Join("sheet", sheet.name, ("id",), ("owner",)),
        Join("kind", TableName("public", "kinds"), ("kind",), ("id",)),
        Join("loose", TableName("public", "loose"), ("id",), ("id",)),
    )
    owner = next(rule for rule in whole.nodes if rule.table == owners.name)
    findings = assess(Mapping((replace(owner, joins=joins),)), source)
    told = {f.subject: f.severity for f in findings if f.code == "joined_rows"}
    assert told == {"Owner.kind": "information", "Owner.loose": "risk"}
    assert not any(f.code == "not_mapped" for f in findings)


def _rows(dsn: str, statement: str) -> int:
    async def work() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM ({statement[:-1]}) x"))
        finally:
            await connection.close()

    return run_now(work())
