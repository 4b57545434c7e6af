"""What the values of a source look like is told from statistics, or counted in little time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from geode_tui.catalog import Catalog, FanOut, Orphans, Table, TableName
from geode_tui.errors import MappingError, PermissionRefusedError
from geode_tui.mapping.model import Query
from geode_tui.source import postgres, profile
from geode_tui.source.postgres import Source
from tests.conftest import MakeDatabase, run_now

ORDERS = """
CREATE TABLE customer (id bigint PRIMARY KEY, code varchar(9) UNIQUE, country text);
INSERT INTO customer SELECT n, 'c' || n, (ARRAY['NL', 'BE', NULL])[1 + n % 3]
  FROM generate_series(1, 90) n;
CREATE TABLE "order [/]" (id int PRIMARY KEY, "customer \"\"s" int, code text, note text);
INSERT INTO "order [/]" SELECT n, CASE WHEN n <= 500 THEN 7 ELSE 10 + n % 50 END,
  'c' || n % 120, CASE WHEN n % 4 > 0 THEN repeat('é', n % 10) END
  FROM generate_series(1, 1000) n;
CREATE INDEX ON "order [/]" ("customer \"\"s");
CREATE VIEW orders AS TABLE "order [/]";
ANALYZE;
"""
CUSTOMER = 'customer "s'


class Opened:
    """A source, with its catalog."""

    def __init__(self, source: Source, catalog: Catalog) -> None:
        self.source = source
        self.catalog = catalog

    def table(self, name: str) -> Table:
        table = self.catalog.table(TableName("public", name))
        assert table is not None
        return table


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Opened]:
    source = await Source.connect(dsn)
    try:
        yield Opened(source, await source.catalog())
    finally:
        await source.close()


def test_statistics_are_told_for_columns_that_were_analyzed(make_database: MakeDatabase) -> None:
    """Partitioned tables by those of all their rows; the names may be hostile."""
    dsn = make_database(
        ORDERS
        + """
        CREATE TABLE p (id int, kind text) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
        INSERT INTO p SELECT n, CASE WHEN n < 100 THEN 'a' ELSE 'b, "c"' END
          FROM generate_series(0, 199) n;
        ANALYZE p;
        CREATE TABLE never (id int);
        """
    )

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.profile(at.catalog)
            country = found.column(TableName("public", "customer"), "country")
            assert country is not None
            assert country.null_share == pytest.approx(1 / 3, abs=0.01)
            assert {value for value, _ in country.common} == {"NL", "BE"}
            assert country.distinct == 2
            key = found.column(TableName("public", "customer"), "id")
            assert key is not None
            assert (key.distinct, key.width, key.common) == (90, 8, ())
            top = found.column(TableName("public", "order [/]"), CUSTOMER)
            assert top is not None
            assert top.common[0] == ("7", 0.5)
            kind = found.column(TableName("public", "p"), "kind")
            assert kind is not None
            assert sorted(kind.common) == [("a", 0.5), ('b, "c"', 0.5)]
            assert found.column(TableName("public", "never"), "id") is None

    run_now(work())


def test_the_values_of_a_column_are_counted(make_database: MakeDatabase) -> None:
    """The commonest first, nulls apart; of a view the first rows at most."""
    dsn = make_database(ORDERS)

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.column_values(at.table("customer"), "country", 1)
            assert found is not None
            assert (found.values, found.distinct, found.rows) == ((("BE", 30),), 2, 90)
            assert found.exact
            of_view = await at.source.column_values(at.table("orders"), CUSTOMER, 2)
            assert of_view is not None
            assert (of_view.values, of_view.distinct) == ((("7", 500), ("10", 10)), 51)
            assert of_view.exact

    run_now(work())


def test_a_big_table_and_a_long_view_are_looked_at_in_part(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the answer says that it is of a part."""
    monkeypatch.setattr(profile, "WHOLE_BYTES", 40 * 8192)
    monkeypatch.setattr(profile, "FIRST_ROWS", 70)
    dsn = make_database("""
    CREATE TABLE big AS SELECT n % 5 AS n, repeat('x', 100) AS filler
      FROM generate_series(1, 20000) n;
    CREATE VIEW v AS TABLE big;
    """)

    async def work() -> None:
        async with opened(dsn) as at:
            table, view = at.table("big"), at.table("v")
            found = await at.source.column_values(table, "n", 10)
            assert found is not None
            assert 0 < found.rows < 20_000
            assert sum(count for _, count in found.values) == found.rows
            assert not found.exact
            of_view = await at.source.column_values(view, "n", 10)
            assert of_view is not None
            assert (of_view.rows, of_view.exact) == (70, False)
            inclusion = await at.source.inclusion(table, ["n"], table, ["n"])
            assert inclusion is not None
            assert (inclusion.tested, inclusion.found, inclusion.exact) == (5, 5, False)

    run_now(work())


def test_a_fan_out_is_counted(make_database: MakeDatabase) -> None:
    """Median, 99th percentile, and where most rows are."""
    dsn = make_database(ORDERS)

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.fan_out(at.table("order [/]"), [CUSTOMER])
            assert found == FanOut(10, 500, 500, "7", 1000, exact=True)
            pair = await at.source.fan_out(at.table("orders"), [CUSTOMER, "note"])
            assert pair == FanOut(10, 50, 50, "7, é", 750, exact=True)

    run_now(work())


def test_the_fan_out_of_a_big_table_is_drawn_by_its_index(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference with many rows is drawn often and must not count for many references."""
    monkeypatch.setattr(postgres, "COUNTED_BYTES", 0)
    dsn = make_database(ORDERS)

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.fan_out(at.table("order [/]"), [CUSTOMER])
            assert found == FanOut(10, 500, 500, "7", 1000, exact=False)

    run_now(work())


def test_without_an_index_the_fan_out_is_guessed_by_the_statistics(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rows were looked at then; without statistics nothing is known."""
    monkeypatch.setattr(postgres, "COUNTED_BYTES", 0)
    dsn = make_database(ORDERS + 'DROP INDEX "order [/]_customer ""s_idx"')

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.fan_out(at.table("order [/]"), [CUSTOMER])
            assert found == FanOut(10, 500, 500, "7", 0, exact=False)
            assert await at.source.fan_out(at.table("order [/]"), ["code", "note"]) is None

    run_now(work())


def test_how_many_values_there_are_on_the_other_side(make_database: MakeDatabase) -> None:
    """Whatever the types of the two columns are."""
    dsn = make_database(
        ORDERS
        + """
        CREATE TABLE loose (customer text, "C" text COLLATE "C", doc json, a int, b text);
        INSERT INTO loose VALUES ('7', 'c7', '{}', 7, 'c7'), ('700', 'c700', '[]', 7, 'c8'),
                                 (NULL, NULL, NULL, 1, NULL);
        """
    )

    async def work() -> None:
        async with opened(dsn) as at:
            orders, customer, loose = (at.table(n) for n in ("order [/]", "customer", "loose"))

            async def share(
                table: Table, columns: list[str], to: Table, to_columns: list[str]
            ) -> tuple[int, int, bool]:
                found = await at.source.inclusion(table, columns, to, to_columns)
                assert found is not None
                return found.tested, found.found, found.exact

            assert await share(orders, [CUSTOMER], customer, ["id"]) == (51, 51, True)
            assert await share(orders, ["code"], customer, ["code"]) == (120, 90, True)
            assert await share(loose, ["customer"], customer, ["id"]) == (2, 1, True)
            assert await share(loose, ["C"], customer, ["code"]) == (2, 1, True)
            assert await share(loose, ["doc"], loose, ["doc"]) == (2, 2, True)
            assert await share(loose, ["a", "b"], customer, ["id", "code"]) == (2, 1, True)
            few = await at.source.inclusion(orders, ["code"], customer, ["code"], sample=5)
            assert few is not None
            assert (few.tested, few.exact) == (5, False)

    run_now(work())


def test_rows_that_point_at_nothing_are_counted_and_shown(make_database: MakeDatabase) -> None:
    """Nulls point nowhere on purpose."""
    dsn = make_database(ORDERS)

    async def work() -> None:
        async with opened(dsn) as at:
            orders, customer = at.table("order [/]"), at.table("customer")
            found = await at.source.orphans(orders, ["code"], customer, ["code"], 2)
            assert found == Orphans(240, (("c0",), ("c100",)))
            none = await at.source.orphans(orders, [CUSTOMER], customer, ["id"])
            assert none == Orphans(0)

    run_now(work())


def test_the_widest_values_and_the_nulls_are_measured(make_database: MakeDatabase) -> None:
    """In bytes, for any number of columns."""
    many = ", ".join(f"c{n} int DEFAULT {n}" for n in range(1100))
    dsn = make_database(ORDERS + f"CREATE TABLE wide ({many}); INSERT INTO wide DEFAULT VALUES;")

    async def work() -> None:
        async with opened(dsn) as at:
            found = await at.source.widest(at.table("order [/]"))
            assert found is not None
            assert (found.longest["note"], found.null_shares["note"]) == (18, 0.25)
            assert (found.longest["id"], found.null_shares["id"]) == (4, 0)
            assert (found.rows, found.exact) == (1000, True)
            wide = await at.source.widest(at.table("wide"))
            assert wide is not None
            assert wide.longest == {f"c{n}": len(str(n)) for n in range(1100)}

    run_now(work())


def test_what_takes_too_long_is_not_known(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session goes on afterwards."""
    monkeypatch.setattr(postgres, "_LOOK_SETTINGS", "SET LOCAL statement_timeout = '50ms'")
    dsn = make_database("CREATE VIEW slow AS SELECT 1 AS n, pg_sleep(5)::text AS t")

    async def work() -> None:
        async with opened(dsn) as at:
            slow = at.table("slow")
            assert await at.source.column_values(slow, "t") is None
            assert await at.source.widest(slow) is None
            assert await at.source.fan_out(slow, ["t"]) is None
            assert await at.source.inclusion(slow, ["t"], slow, ["t"]) is None
            assert await at.source.orphans(slow, ["t"], slow, ["t"]) == Orphans(None)
            assert len((await at.source.catalog()).tables) == 1

    run_now(work())


def test_a_query_is_a_table_with_the_types_of_its_columns(make_database: MakeDatabase) -> None:
    """It is not run for that; rules can then read it like any other."""
    dsn = make_database("""
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE DOMAIN age AS int CHECK (VALUE > 0);
    CREATE COLLATION "my [C]" (locale = 'C');
    CREATE TABLE t (id int PRIMARY KEY, m mood, a age, name text COLLATE "my [C]", n numeric(9, 2));
    """)
    sql = """
    SELECT id, m AS "my [mood]", a, name, n, name || '!' AS loud, ARRAY[m] AS moods,
           pg_sleep(60)::text AS slow, count(*) OVER () AS "count"
    FROM public.t WHERE 1 / (random() * 0)::int = 1"""

    async def work() -> None:
        async with opened(dsn) as at:
            table = await at.source.describe_query(sql, "people")
            assert (table.name, table.kind, table.definition) == (
                TableName("query", "people"),
                "query",
                sql,
            )
            assert {c.name: (c.type.declared, c.type.kind) for c in table.columns} == {
                "id": ("integer", "base"),
                "my [mood]": ("public.mood", "enum"),
                "a": ("public.age", "domain"),
                "name": ("text", "base"),
                "n": ("numeric", "base"),
                "loud": ("text", "base"),
                "moods": ("public.mood[]", "array"),
                "slow": ("text", "base"),
                "count": ("bigint", "base"),
            }
            columns = {column.name: column for column in table.columns}
            assert columns["my [mood]"].type.labels == ("sad", "ok")
            collations = [columns[name].collation for name in ("id", "name", "loud", "slow")]
            own = 'public."my [C]"'
            assert collations == ["", own, own, 'pg_catalog."default"']
            plain = Query("plain", "SELECT t.id, t.n FROM public.t AS t")
            catalog = await at.source.described(at.catalog, [plain])
            assert catalog.tables[:-1] == at.catalog.tables
            assert catalog.tables[-1].name == plain.table
            assert catalog.tables[-1].column_names == ("id", "n")

    run_now(work())


def test_the_rows_of_a_query_can_be_looked_at(make_database: MakeDatabase) -> None:
    """Like those of a table."""
    dsn = make_database(ORDERS)

    async def work() -> None:
        async with opened(dsn) as at:
            table = await at.source.describe_query("TABLE public.customer -- all", "q")
            values = await at.source.column_values(table, "country")
            assert values is not None
            assert values.values == (("BE", 30), ("NL", 30))
            assert len(await at.source.sample(table, 3)) == 3

    run_now(work())


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT 1 AS a,\n  nothing AS b", 'column "nothing" does not exist (line 2, column 3)'),
        ("SELECT 1 AS a, 2 AS a", "several columns are called a"),
        ("SELECT 1", "a column has no name"),
        ("SELECT FROM public.t", "it has no columns"),
        ("SELECT id FROM t", 'relation "t" does not exist (line 1, column 16)'),
        ("DELETE FROM public.t RETURNING id", 'syntax error at or near "FROM"'),
    ],
)
def test_a_query_that_cannot_be_read_says_why_and_where(
    make_database: MakeDatabase, sql: str, why: str
) -> None:
    """In the server's own words, with the place in the query."""
    dsn = make_database("CREATE TABLE t (id int)")

    async def work() -> None:
        async with opened(dsn) as at:
            with pytest.raises(MappingError) as raised:
                await at.source.describe_query(sql, "mine")
            assert "query mine" in raised.value.what
            assert why in raised.value.why

    run_now(work())


def test_a_query_of_a_table_that_may_not_be_read_says_so(make_database: MakeDatabase) -> None:
    """Before a run finds out."""
    dsn = make_database("""
    DROP ROLE IF EXISTS query_reader; CREATE ROLE query_reader LOGIN;
    CREATE TABLE t (id int); GRANT SELECT ON t TO query_reader; CREATE TABLE shut (id int);
    """)

    async def work() -> None:
        async with opened(dsn.replace("//postgres@", "//query_reader@")) as at:
            with pytest.raises(PermissionRefusedError, match="permission denied for table shut"):
                await at.source.describe_query("SELECT id FROM public.shut", "q")

    run_now(work())
