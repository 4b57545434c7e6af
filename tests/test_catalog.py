"""The catalog hides nothing: whatever a table has, and whatever the role may not do, is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from geode_tui.catalog import Catalog, Check, Index, Table, TableName
from geode_tui.errors import ConnectError, PermissionRefusedError, RowError
from geode_tui.source.postgres import Source
from tests.conftest import MakeDatabase, run_now


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Source]:
    source = await Source.connect(dsn)
    try:
        yield source
    finally:
        await source.close()


def read(dsn: str, schemas: Sequence[str] = ()) -> Catalog:
    async def work() -> Catalog:
        async with connected(dsn) as source:
            return await source.catalog(schemas)

    return run_now(work())


def table_of(catalog: Catalog, name: str, schema: str = "public") -> Table:
    table = catalog.table(TableName(schema, name))
    assert table is not None
    return table


def as_role(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"{role}@{host}", parts.path, parts.query, ""))


@pytest.fixture
def shop(make_database: MakeDatabase) -> Catalog:
    """Tables with all that a table can have, under names that want quotes."""
    dsn = make_database("""
    CREATE TABLE parent (id int PRIMARY KEY, made timestamptz);
    CREATE TABLE "[/b] 😀" (
      "a ""b"" c" int CONSTRAINT "is [it]?" CHECK ("a ""b"" c" > 0), note text)
      INHERITS (parent);
    ALTER TABLE "[/b] 😀" ADD CONSTRAINT later CHECK (note <> '') NOT VALID;
    CREATE INDEX "by [note]" ON "[/b] 😀" (lower(note), "a ""b"" c") WHERE note IS NOT NULL;
    CREATE UNIQUE INDEX broken ON "[/b] 😀" ("a ""b"" c");
    CREATE UNIQUE INDEX sound ON "[/b] 😀" (id) INCLUDE (note);
    CREATE INDEX hashed ON "[/b] 😀" USING hash (note);
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass;
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER "on [/b]" AFTER INSERT ON "[/b] 😀" EXECUTE FUNCTION nothing();
    CREATE TRIGGER off AFTER DELETE ON "[/b] 😀" EXECUTE FUNCTION nothing();
    ALTER TABLE "[/b] 😀" DISABLE TRIGGER off;
    ALTER TABLE "[/b] 😀" ENABLE ROW LEVEL SECURITY;
    CREATE POLICY "own [rows]" ON "[/b] 😀" FOR SELECT TO PUBLIC USING (id > 7);
    CREATE POLICY few ON "[/b] 😀" AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (id < 9);
    COMMENT ON TABLE "[/b] 😀" IS 'what it''s for';
    COMMENT ON COLUMN "[/b] 😀".note IS 'a note';
    CREATE TABLE child (id int PRIMARY KEY REFERENCES parent, of int REFERENCES parent);
    """)
    return read(dsn)


def test_a_table_tells_its_parents_checks_and_comments(shop: Catalog) -> None:
    """Whatever it inherits counts as its own, and the parent knows its children."""
    table = table_of(shop, "[/b] 😀")
    assert table.inherits == (TableName("public", "parent"),)
    assert shop.children == {TableName("public", "parent"): (table.name,)}
    assert table.column_names == ("id", "made", 'a "b" c', "note")
    assert table.checks == (
        Check("is [it]?", '("a ""b"" c" > 0)'),
        Check("later", "(note <> ''::text)", validated=False),
    )
    assert (table.comment, table.columns[3].comment) == ("what it's for", "a note")
    assert table.owner == "postgres"


def test_a_table_tells_every_index_but_only_sound_ones_are_keys(shop: Catalog) -> None:
    """An index that failed to build, a partial one or one of expressions identifies no row."""
    table = table_of(shop, "[/b] 😀")
    assert table.indexes == (
        Index("broken", ('a "b" c',), unique=True, valid=False),
        Index("by [note]", ("", 'a "b" c'), predicate="(note IS NOT NULL)"),
        Index("hashed", ("note",), method="hash"),
        Index("sound", ("id",), unique=True),
    )
    assert [(key.name, key.columns) for key in table.unique_keys] == [("sound", ("id",))]
    assert table_of(shop, "parent").indexes == (Index("parent_pkey", ("id",), unique=True),)
    assert table_of(shop, "parent").unique_keys == ()


def test_a_table_tells_its_triggers_and_policies(shop: Catalog) -> None:
    """Those of constraints are the server's own affair."""
    table = table_of(shop, "[/b] 😀")
    assert [(t.name, t.enabled) for t in table.triggers] == [("off", False), ("on [/b]", True)]
    assert table.triggers[1].definition.startswith('CREATE TRIGGER "on [/b]" AFTER INSERT ON')
    assert table.policies == (
        "few AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (true) WITH CHECK ((id < 9))",
        '"own [rows]" FOR SELECT TO PUBLIC USING ((id > 7))',
    )
    assert table_of(shop, "child").triggers == ()


def test_views_and_foreign_tables_are_there_with_columns_and_definition(
    make_database: MakeDatabase,
) -> None:
    """What is no table can be looked at all the same."""
    catalog = read(
        make_database("""
        CREATE TABLE t (id int PRIMARY KEY, price numeric(10, 2));
        CREATE VIEW "v [/]" AS SELECT id, price * 2 AS "double" FROM t;
        CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
        CREATE INDEX ON m (id);
        CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE f (id int NOT NULL, note text) SERVER s;
        """)
    )
    view, materialized = table_of(catalog, "v [/]"), table_of(catalog, "m")
    assert (view.kind, view.column_names) == ("view", ("id", "double"))
    # Older servers qualify the columns.
    definition = " ".join(view.definition.split()).replace("(t.", "(").replace(" t.", " ")
    assert definition == "SELECT id, (price * (2)::numeric) AS double FROM public.t;"
    assert (materialized.kind, materialized.column_names) == ("materialized view", ("id",))
    assert "FROM public.t" in materialized.definition
    assert [index.columns for index in materialized.indexes] == [("id",)]
    assert table_of(catalog, "f").kind == "foreign table"
    assert [column.nullable for column in table_of(catalog, "f").columns] == [False, True]
    assert table_of(catalog, "t").definition == ""


def test_types_tell_what_they_are_made_of(make_database: MakeDatabase) -> None:
    """Composites their fields, ranges their bound's type, domains their conditions."""
    catalog = read(
        make_database("""
        CREATE EXTENSION citext;
        CREATE TYPE inside AS (n numeric(8, 3), "a [b]" text[]);
        CREATE TYPE part AS (i inside, at date);
        CREATE DOMAIN "at most" AS numeric(6, 2) CONSTRAINT low CHECK (VALUE < 5);
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE TABLE t (p part, parts part[], r int4range, s span, d "at most", c citext,
                        cs citext[], n numeric(12, 4)[], w numeric(5, -2));
        """)
    )
    types = {column.name: column.type for column in table_of(catalog, "t").columns}
    part = types["p"]
    assert [(name, field.declared) for name, field in part.fields] == [
        ("i", "public.inside"),
        ("at", "date"),
    ]
    inside = part.fields[0][1]
    assert [(name, f.declared, f.kind) for name, f in inside.fields] == [
        ("n", "numeric(8,3)", "base"),
        ("a [b]", "text[]", "array"),
    ]
    assert (inside.fields[0][1].precision, inside.fields[0][1].scale) == (8, 3)
    assert types["parts"].base == part
    ranges = [types[name].base for name in ("r", "s")]
    assert [base and base.declared for base in ranges] == ["integer", "double precision"]
    assert types["d"].checks == (Check("low", "(VALUE < (5)::numeric)"),)
    base = types["d"].base
    assert base is not None
    assert (base.precision, base.scale) == (6, 2)
    assert types["c"].extension == "citext"
    assert types["cs"].base == types["c"]
    assert types["n"].declared == "numeric(12,4)[]"
    assert types["w"].declared == "numeric(5,-2)"
    assert types["w"].scale == -2


def test_a_role_sees_what_it_may_do_and_which_columns_it_may_read(
    make_database: MakeDatabase,
) -> None:
    """Tables that it may not read are not hidden from it."""
    dsn = make_database("""
    DROP ROLE IF EXISTS catalog_reader; CREATE ROLE catalog_reader LOGIN;
    CREATE TABLE open (a int, b int); GRANT SELECT, INSERT ON open TO catalog_reader;
    CREATE TABLE half (a int, b int); GRANT SELECT (b), UPDATE ON half TO catalog_reader;
    CREATE TABLE shut (a int, b int);
    CREATE SCHEMA closed; CREATE TABLE closed.open (a int);
    GRANT SELECT ON closed.open TO catalog_reader;
    """)
    catalog = read(as_role(dsn, "catalog_reader"))
    found = {
        str(table.name): (
            table.readable,
            table.privileges,
            [column.name for column in table.columns if column.readable],
        )
        for table in catalog.tables
    }
    assert found == {
        "closed.open": (False, ("SELECT",), ["a"]),
        "public.half": (False, ("UPDATE",), ["b"]),
        "public.open": (True, ("SELECT", "INSERT"), ["a", "b"]),
        "public.shut": (False, (), []),
    }
    everything = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    assert table_of(read(dsn), "shut").privileges == everything


def test_references_out_of_the_schemas_that_are_read_keep_their_names(
    make_database: MakeDatabase,
) -> None:
    """Columns pair up as the key says, also when the other table is not read."""
    dsn = make_database("""
    CREATE SCHEMA "other [/]"; CREATE TABLE "other [/]".o (x int, y int, "z .z" int,
      PRIMARY KEY ("z .z", x));
    CREATE TABLE t (a int, b int, FOREIGN KEY (a, b) REFERENCES "other [/]".o (x, "z .z")
      ON DELETE CASCADE);
    """)
    for catalog in (read(dsn), read(dsn, ["public"])):
        (key,) = table_of(catalog, "t").foreign_keys
        assert (key.to_table, key.columns) == (TableName("other [/]", "o"), ("a", "b"))
        assert (key.to_columns, key.on_delete) == (("x", "z .z"), "cascade")


def test_a_partitioned_table_is_one_table_with_the_size_of_its_leaves(
    make_database: MakeDatabase,
) -> None:
    """Its partitions are no tables of their own, and belong to it wherever they lie."""
    dsn = make_database("""
    CREATE SCHEMA "parts [/]";
    CREATE TABLE p (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
    CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
    CREATE TABLE "parts [/]".p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
    ALTER TABLE "parts [/]".p2 ALTER note SET STORAGE EXTERNAL;
    INSERT INTO p VALUES (1, 'x'), (11, repeat('y', 80000));
    """)
    for catalog in (read(dsn), read(dsn, ["public"])):
        (table,) = catalog.tables
        assert (table.kind, table.inherits) == ("partitioned", ())
        leaves = sorted(table.leaves)
        assert leaves == [TableName("parts [/]", "p2"), TableName("public", "p11")]
        assert table.bytes > 80_000


def test_a_catalog_takes_as_many_questions_for_many_tables_as_for_one(
    make_database: MakeDatabase,
) -> None:
    """Its time grows with the rows that come, not with trips to the server."""
    table = "CREATE TABLE t{0} (id int PRIMARY KEY CHECK (id > 0), of int REFERENCES t{0});"
    view = "CREATE VIEW v{0} AS TABLE t{0};"
    few = make_database((table + view).format(1))
    many = make_database("".join((table + view).format(n) for n in range(40)))

    async def questions(dsn: str) -> list[str]:
        asked: list[str] = []
        async with connected(dsn) as source:
            with source._connection.query_logger(lambda record: asked.append(record.query)):
                await source.catalog()
        return asked

    assert len(run_now(questions(many))) == len(run_now(questions(few)))


def test_a_snapshot_takes_whatever_a_mapping_reads(make_database: MakeDatabase) -> None:
    """What cannot be locked is read all the same; a table that is gone is told."""
    dsn = make_database("""
    CREATE TABLE "t [/]" (id int); CREATE VIEW v AS TABLE "t [/]";
    CREATE MATERIALIZED VIEW m AS TABLE "t [/]";
    CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
    CREATE FOREIGN TABLE f (id int) SERVER s;
    """)
    names = [TableName("public", name) for name in ("t [/]", "v", "m", "f")]
    locks = (
        "SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " WHERE l.mode = 'AccessShareLock' AND c.relkind IN ('r', 'v', 'm', 'f')"
        " AND c.relname = ANY ('{t [/],v,m,f}') AND l.pid <> pg_backend_pid() ORDER BY 1"
    )

    async def work() -> None:
        async with connected(dsn) as source:
            holder = await source.snapshot([*names, TableName("query", "q")])
            other = await asyncpg.connect(dsn)
            assert [row[0] for row in await other.fetch(locks)] == ["t [/]", "v"]
            await other.close()
            await holder.close()
            holder = await source.snapshot([])
            await holder.close()
            with pytest.raises(ConnectError, match="gone"):
                await source.snapshot([*names, TableName("public", "gone")])

    run_now(work())


def test_a_stream_gives_all_rows_in_pieces(make_database: MakeDatabase) -> None:
    """A result of any size is read in little memory; its errors are told in words."""
    dsn = make_database("CREATE TABLE t AS SELECT n FROM generate_series(1, 25) n")

    async def work() -> None:
        async with connected(dsn) as source:
            reader = await source.reader()
            pieces = [
                [row["n"] for row in rows]
                async for rows in reader.stream(
                    "SELECT n FROM public.t WHERE n > $1 ORDER BY n", 5, rows=8
                )
            ]
            assert pieces == [list(range(6, 14)), list(range(14, 22)), list(range(22, 26))]
            with pytest.raises(RowError, match="division by zero"):
                async for _ in reader.stream("SELECT 1 / (n - 9) FROM public.t", rows=3):
                    pass
            await reader.close()

    run_now(work())


def test_a_stream_of_a_table_that_may_not_be_read_says_so(make_database: MakeDatabase) -> None:
    """The way out is a GRANT."""
    dsn = make_database("""
    DROP ROLE IF EXISTS stream_reader; CREATE ROLE stream_reader LOGIN; CREATE TABLE t (n int);
    """)

    async def work() -> None:
        async with connected(as_role(dsn, "stream_reader")) as source:
            reader = await source.reader()
            with pytest.raises(PermissionRefusedError, match="permission denied for table t"):
                async for _ in reader.stream("SELECT n FROM public.t", rows=3):
                    pass
            await reader.close()

    run_now(work())
