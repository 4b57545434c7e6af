"""A schema file gives the catalog and the mapping that the live database would give."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geode_tui.catalog import Catalog, DataType, Table
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import UsageError
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.source.ddl import is_ddl_file, parse_ddl, read_ddl
from geode_tui.source.introspect import read_catalog, read_facts
from tests.conftest import MakeDatabase, run_now
from tests.migrate import read_catalog as catalog_of
from tests.test_nasty_schema import build

SCHEMAS = ("shop", '[/foo] "x".y 😀')
HOSTILE = [
    "[/foo]", 'a "b".c', "it's; --", "/* x */", "$$", "😀", "日本語", "A b", "Ab", "AB", "select",
    "order", "user", "key", "type", "name", "exclude", "period", "like_", "serial", "a" * 63,
    "ä" * 31, "b" * 70, "x_y", "x", "y", "x_y_key", "\\", "tab\there", "new\nline", "%s", "{}",
    "$1", "E'", "begin", "end",
]  # fmt: skip
SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
KEY_TYPES = [
    "int", "integer", "bigint", "int2", "text", "varchar(20)", "character varying", "uuid", "date",
    "numeric(10,2)", "dec", "char(3)", "timestamptz(3)", "timestamp without time zone", "citext",
    "SHOP.mood", "shop.small", '"shop"."two words"', "pg_catalog.int8",
]  # fmt: skip
PLAIN_TYPES = [
    *KEY_TYPES, "int[]", "text[][]", "integer ARRAY", "int ARRAY[3]", "varchar(5)[]",
    "numeric(4)[]",
    "double precision", "float(10)", "float", "real", "bool", "json", "jsonb", "bytea", '"char"',
    "time(2) with time zone", "interval", "interval year to month", "interval day to second(3)",
    "bit varying(7)", "bit(4)", "bit", "char", "bpchar", "national character varying(9)", "money",
    "inet", "tsvector", "int4range", "_int4", "shop.part", "shop.mood[]", "shop.small[]",
    "shop.spread", "citext[]", "numeric(5)", "numeric(3,-1)", "name", 'text COLLATE "C"',
    "point",
]  # fmt: skip
PREAMBLE = """
CREATE SCHEMA shop; CREATE SCHEMA "[/foo] ""x"".y 😀";
CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;
SET search_path TO shop, "$user", public;
CREATE TYPE shop.mood AS ENUM ('sad', 'it''s', E'back\\\\slash', '😀');
CREATE DOMAIN shop.small AS numeric(6,2) CHECK (VALUE < 100) DEFAULT 1;
CREATE DOMAIN shop."two words" text NOT NULL CONSTRAINT "[c]" CHECK (length(VALUE) > 0);
CREATE TYPE shop.part AS (x int, "y z" varchar(3), m shop.mood[]);
CREATE TYPE shop.spread AS RANGE (subtype = float8);
ALTER TYPE shop.mood ADD VALUE 'new' BEFORE 'it''s';
"""
NOISE = [
    "CREATE FUNCTION shop.f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN CREATE TABLE no (a int);"
    " RETURN 1; END $f$;\nDROP FUNCTION shop.f();",
    "CREATE FUNCTION shop.g(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a > 1"
    " THEN 1 END; SELECT 2; END;\nDROP FUNCTION shop.g(int);",
    "/* CREATE TABLE no (a int); /* nested; */ still ' a comment */",
    "-- CREATE TABLE no (a int); it's",
    "DO $$ BEGIN PERFORM 1; END $$;",
    "SET statement_timeout = 0; SELECT pg_catalog.set_config('lock_timeout', '0', false);",
    "GRANT SELECT ON ALL TABLES IN SCHEMA shop TO public;",
    "CREATE SEQUENCE shop.x_x_seq; DROP SEQUENCE shop.x_x_seq;",
    ";;",
]
DUMPED = """
CREATE SCHEMA "[/s]"; SET search_path = "[/s]";
CREATE TYPE mood AS ENUM ('a', 'it''s');
CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  m mood DEFAULT 'a', at timestamptz DEFAULT now() NOT NULL,
  n numeric(8,2) CHECK (n > 0), u text UNIQUE);
CREATE TABLE child (id serial PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE, q int,
  g int GENERATED ALWAYS AS (q * 2) STORED, FOREIGN KEY (q) REFERENCES child DEFERRABLE);
CREATE VIEW seen AS SELECT c.id, p.u AS "the u", count(*) AS n, c.q::text AS t
  FROM child c JOIN parent p ON p.id = c.p GROUP BY c.id, p.u, c.q;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM child;
CREATE INDEX ON child (lower(id::text), p) WHERE q > 1;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE child DISABLE TRIGGER touched;
CREATE POLICY own ON child FOR SELECT TO public USING (q > 1);
COMMENT ON TABLE child IS E'line\\nit''s \\\\ here';
COMMENT ON COLUMN child.q IS 'a "q"';
CREATE TABLE heir (extra text) INHERITS (child); RESET search_path;
"""


# A schema drawn at random


@dataclass
class Drawn:
    """A table that was drawn: its name as written, its columns and the keys that others can use."""

    schema: str
    name: str
    columns: dict[str, str]
    primary: tuple[str, ...] = ()
    keys: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def quoted(name: str) -> str:
    """The name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def clipped(name: str) -> str:
    """The name as the server keeps it."""
    return name.encode()[:63].decode(errors="ignore")


NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"]),
        min_size=1,
        max_size=25,
    ),
)


class Draw:
    """Draws the statements of a schema."""

    def __init__(self, draw: Callable[..., object]) -> None:
        self._draw = draw
        self.statements: list[str] = []
        self.later: list[str] = []
        self.renames: list[str] = []
        self.tables: list[Drawn] = []
        self._taken: set[tuple[str, str]] = set()
        self._numbers = itertools.count()

    def pick[T](self, among: st.SearchStrategy[T]) -> T:
        """A value of a strategy."""
        return self._draw(among)  # type: ignore[return-value]

    def chance(self) -> bool:
        """Heads or tails."""
        return self.pick(st.booleans())

    def one[T](self, *among: T) -> T:
        """One of these."""
        return self.pick(st.sampled_from(among))

    def new_name(self, taken: set[str]) -> str:
        """A name that the server does not take for one of these."""
        name = clipped(self.pick(NAMES))
        while name in taken:
            name = clipped(f"{len(taken)}{name}")
        taken.add(name)
        return name

    def named(self, word: str) -> str:
        """Sometimes `CONSTRAINT name`."""
        return f"CONSTRAINT {quoted(f'{word} {next(self._numbers)} [c]')} " if self.chance() else ""

    def relation(self, schema: str) -> str:
        """A name for a table."""
        taken = {name for own, name in self._taken if own == schema}
        name = self.new_name(taken)
        self._taken.add((schema, name))
        return name

    def table(self) -> None:
        """A table with columns, keys and foreign keys."""
        schema = self.one(*SCHEMAS)
        table = Drawn(schema, self.relation(schema), {})
        used = set(SYSTEM_COLUMNS)
        parts = [self.column(table, used) for _ in range(self.pick(st.integers(1, 5)))]
        parts += self.references(table, used)
        parts += self.key_constraints(table)
        partitioned = bool(table.primary) and self.pick(st.integers(0, 3)) == 0
        partition = f" PARTITION BY HASH ({quoted(table.primary[0])})" if partitioned else ""
        self.statements.append(f"CREATE TABLE {table.quoted} (\n  {', '.join(parts)}){partition};")
        if partitioned:
            self.partitions(table)
        self.tables.append(table)
        self.after(table, partitioned)

    def column(self, table: Drawn, used: set[str]) -> str:
        name = self.new_name(used)
        kind = self.pick(st.sampled_from(PLAIN_TYPES))
        table.columns[name] = kind
        text = f"{quoted(name)} {kind}"
        if kind in ("int", "bigint") and self.chance():
            text = self.one(
                f"{quoted(name)} bigserial",
                f"{text} GENERATED BY DEFAULT AS IDENTITY (START 3)",
                f"{text} DEFAULT 1 NOT NULL CHECK ({quoted(name)} > 0)",
                f"{text} DEFAULT CASE WHEN 1 IS NOT NULL THEN 2 END",
            )
            table.columns[name] = "bigint" if "serial" in text else kind
        return text + (" NOT NULL" if self.chance() else "")

    def references(self, table: Drawn, used: set[str]) -> list[str]:
        """Foreign keys to tables that are there, or to the table itself afterwards."""
        parts: list[str] = []
        for _ in range(self.pick(st.integers(0, 2))):
            target = self.one(*self.tables) if self.tables else None
            if target is None or not target.keys:
                continue
            key = self.one(*target.keys)
            own = [self.new_name(used) for _ in key]
            table.columns.update(zip(own, (target.columns[c] for c in key), strict=True))
            action = self.one("", " MATCH FULL")
            action += self.one("", " ON DELETE CASCADE", " ON UPDATE RESTRICT ON DELETE SET NULL")
            action += self.one("", " DEFERRABLE INITIALLY DEFERRED", " NOT DEFERRABLE")
            implied = key == target.primary and self.chance()
            end = target.quoted + ("" if implied else f" ({names(key)})")
            needed = self.one("", " NOT NULL")
            typed = [f"{quoted(n)} {target.columns[c]}" for n, c in zip(own, key, strict=True)]
            if len(key) == 1:
                reference = f"{self.named('fk')}REFERENCES {end}{action}"
                parts.append(f"{typed[0]}{needed} {reference}")
            else:
                parts += [column + needed for column in typed]
                foreign = f"FOREIGN KEY ({names(own)}) REFERENCES {end}{action}"
                if self.chance():
                    parts.append(self.named("fk") + foreign)
                else:
                    self.later.append(f"ALTER TABLE {table.quoted} ADD {foreign};")
        return parts

    def key_constraints(self, table: Drawn) -> list[str]:
        usable = [name for name, kind in table.columns.items() if kind in KEY_TYPES]
        if not usable:
            return []
        parts: list[str] = []
        if self.chance():
            table.primary = self.subset(usable)
            table.keys.append(table.primary)
            parts.append(f"{self.named('pk')}PRIMARY KEY ({names(table.primary)})")
        return parts

    def subset(self, among: list[str]) -> tuple[str, ...]:
        return tuple(
            self.pick(st.lists(st.sampled_from(among), min_size=1, max_size=3, unique=True))
        )

    def partitions(self, table: Drawn) -> None:
        for remainder in range(self.pick(st.integers(0, 2))):
            part = f"{quoted(table.schema)}.{quoted(self.relation(table.schema))}"
            bound = f"FOR VALUES WITH (MODULUS 2, REMAINDER {remainder})"
            if self.chance():
                self.statements.append(f"CREATE TABLE {part} PARTITION OF {table.quoted} {bound};")
                continue
            like = f"LIKE {table.quoted} INCLUDING ALL EXCLUDING IDENTITY"
            self.statements += [
                f"CREATE TABLE {part} ({like});",
                f"ALTER TABLE ONLY {table.quoted} ATTACH PARTITION {part} {bound};",
            ]

    def after(self, table: Drawn, partitioned: bool) -> None:
        """What ALTER TABLE and others add to a table."""
        usable = [name for name, kind in table.columns.items() if kind in KEY_TYPES]
        if usable and not partitioned:
            for _ in range(self.pick(st.integers(0, 2))):
                self.statements.append(self.unique(table, self.subset(usable)))
            if not table.primary and self.chance():
                table.primary = self.subset(usable)
                table.keys.append(table.primary)
                on = self.one("ONLY ", "") + table.quoted
                key = f"{self.named('pk')}PRIMARY KEY ({names(table.primary)})"
                self.statements.append(f"ALTER TABLE {on} ADD {key};")
        if self.chance():
            self.statements.append(f"COMMENT ON TABLE {table.quoted} IS 'it''s' ;")
        if self.chance():
            self.changed(table, partitioned)
        if table.keys and self.chance():
            self.self_reference(table)

    def unique(self, table: Drawn, columns: tuple[str, ...]) -> str:
        on, listed = table.quoted, names(columns)
        index = f"CREATE UNIQUE INDEX {self.one('', quoted(f'i {len(self.statements)} [i]'))}"
        made = self.one(
            f"ALTER TABLE {on} ADD {self.named('uq')}UNIQUE ({listed});",
            f"ALTER TABLE ONLY {on} ADD UNIQUE ({listed}) DEFERRABLE;",
            f"{index} ON {on} ({listed});",
            f"{index} ON ONLY {on} USING btree ({listed}) INCLUDE ({names(columns[:1])}) ;",
            f"{index} ON {on} ({listed}) WHERE {quoted(columns[0])} IS NOT NULL;",
            f"{index} ON {on} ({listed}, (1 + 1), abs(2));",
        )
        if "WHERE" not in made and "abs" not in made and "DEFERRABLE" not in made:
            table.keys.append(columns)
        return made

    def changed(self, table: Drawn, partitioned: bool) -> None:
        used = {*table.columns, *SYSTEM_COLUMNS}
        on, new = table.quoted, self.new_name(used)
        self.statements.append(
            self.one(
                f"ALTER TABLE {on} ADD {quoted(new)} text DEFAULT 'x, y' NOT NULL UNIQUE;"
                if not partitioned
                else f"ALTER TABLE {on} ADD {quoted(new)} text;",
                f"ALTER TABLE {on} ADD COLUMN {quoted(new)} int, ALTER {quoted(new)} SET NOT NULL;",
                f"ALTER TABLE {on} ADD {quoted(new)} int; ALTER TABLE {on} DROP {quoted(new)};",
                f"ALTER TABLE {on} ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL;",
                f"CREATE VIEW {quoted(table.schema)}.{quoted(self.relation(table.schema))}"
                f" AS SELECT * FROM {on};",
                f"CREATE TABLE {quoted(table.schema)}.{quoted(self.relation(table.schema))}"
                f" (LIKE {on} INCLUDING ALL EXCLUDING INDEXES);",
                *(
                    []
                    if partitioned
                    else [
                        f"CREATE TABLE {quoted(table.schema)}.{quoted(self.relation(table.schema))}"
                        f" ({quoted(new)} text UNIQUE) INHERITS ({on});",
                        f"CREATE TABLE {quoted(table.schema)}.{quoted(self.relation(table.schema))}"
                        f" (LIKE {on} INCLUDING ALL);",
                    ]
                ),
            )
        )
        if self.chance():
            column = self.one(*table.columns)
            later = quoted(f"renamed {next(self._numbers)}")
            self.renames.append(f"ALTER TABLE {on} RENAME COLUMN {quoted(column)} TO {later};")

    def self_reference(self, table: Drawn) -> None:
        key = self.one(*table.keys)
        own = [f"self {next(self._numbers)}"]
        if len(key) != 1:
            return
        kind = table.columns[key[0]]
        self.statements += [
            f"ALTER TABLE {table.quoted} ADD {quoted(own[0])} {kind};",
            f"ALTER TABLE {table.quoted} ADD FOREIGN KEY ({names(own)})"
            f" REFERENCES {table.quoted} ({names(key)});",
        ]


def names(columns: tuple[str, ...] | list[str]) -> str:
    """The columns, quoted, with commas."""
    return ", ".join(quoted(column) for column in columns)


@st.composite
def schemas(draw: Callable[..., object]) -> str:
    """The text of a script that makes some tables."""
    drawn = Draw(draw)
    for _ in range(drawn.pick(st.integers(1, 6))):
        drawn.table()
        if drawn.chance():
            drawn.statements.append(drawn.one(*NOISE))
    return PREAMBLE + "\n".join((*drawn.statements, *drawn.later, *drawn.renames))


# What is compared


def same_mapping(one: Mapping, other: Mapping) -> bool:
    """Whether two mappings differ in nothing but the database's name."""
    return replace(one, database="") == replace(other, database="")


def _plain_type(kind: DataType, *, spelled: bool) -> DataType:
    """The type, its checks as spelled or not; old servers give arrays to no extension."""
    return replace(
        kind,
        base=_plain_type(kind.base, spelled=spelled) if kind.base else None,
        checks=tuple(c if spelled else replace(c, expression="") for c in kind.checks),
        fields=tuple((name, _plain_type(part, spelled=spelled)) for name, part in kind.fields),
        extension="" if kind.kind == "array" else kind.extension,
    )


def told_by_a_file(table: Table) -> Table:
    """The table without what only a server knows, or spells in its own way."""
    columns = (
        replace(
            column,
            type=_plain_type(column.type, spelled=False),
            default=None if column.default is None else "",
            generated=None if column.generated is None else "",
        )
        for column in table.columns
    )
    return replace(
        as_dumped(table),
        columns=tuple(columns),
        checks=tuple(replace(check, expression="") for check in table.checks),
        indexes=tuple(replace(i, predicate=str(bool(i.predicate))) for i in table.indexes),
    )


def as_dumped(table: Table) -> Table:
    """The table without what only a server knows; expressions are as the server spells them."""
    return replace(
        table,
        columns=tuple(replace(c, type=_plain_type(c.type, spelled=True)) for c in table.columns),
        estimated_rows=None,
        bytes=0,
        row_security=False,
        privileges=(),
        owner="",
        definition="",
    )


def assert_same(live: Catalog, file: Catalog, view: Callable[[Table], Table]) -> None:
    """Fail on the first table that differs; a view's columns may be unknown to a file."""
    assert [table.name for table in live.tables] == [table.name for table in file.tables]
    for one, other in zip(live.tables, file.tables, strict=True):
        if one.kind.endswith("view") and not other.columns:
            one = replace(one, columns=())
        assert view(one) == view(other)
    assert same_mapping(infer(live), infer(file))


class Live:
    """A connection on which scripts are run and undone again."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.new_event_loop()
        options = {"search_path": "pg_catalog"}
        self._connection = self._run(asyncpg.connect(dsn, server_settings=options))

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def catalog(self, script: str) -> Catalog:
        """The catalog of what a script makes."""
        return self._run(self._catalog(script))

    async def _catalog(self, script: str) -> Catalog:
        transaction = self._connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            await self._connection.execute(script)
            await self._connection.execute("SET search_path = pg_catalog")
            return await read_catalog(self._connection, await read_facts(self._connection))
        finally:
            await transaction.rollback()

    def close(self) -> None:
        """Let go of the connection."""
        self._run(self._connection.close())
        self._loop.close()


@pytest.fixture
def live(make_database: MakeDatabase) -> Iterator[Live]:
    """A connection to a database with the extension that the scripts use."""
    connection = Live(make_database("CREATE EXTENSION citext SCHEMA public"))
    yield connection
    connection.close()


def dumped(postgres: EmbeddedPostgres, dsn: str) -> str:
    """What pg_dump --schema-only writes of a database."""
    assert postgres.binaries is not None
    own = postgres.binaries / "pg_dump"
    program = str(own) if own.exists() else shutil.which("pg_dump")
    assert program is not None
    command = [program, "--schema-only", dsn]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_schema_gives_the_same_mapping_from_its_file_as_from_the_database(live: Live) -> None:
    """Whatever tables, types, keys and names it has."""

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(schemas())
    def holds(script: str) -> None:
        file = parse_ddl(script, "shop.sql")
        assert file.skipped == ()
        assert_same(live.catalog(script), file.catalog, told_by_a_file)

    holds()


def test_what_pg_dump_writes_is_read_as_the_database_it_dumped(
    postgres: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    """Not only keys and types, but every default, check, index, trigger and comment too."""
    dsn = make_database(DUMPED)
    run_now(build(dsn))
    file = parse_ddl(dumped(postgres, dsn), "nasty.sql")
    assert file.skipped == ()
    assert_same(catalog_of(dsn), file.catalog, as_dumped)


# What a file may be written like


def tables_of(text: str) -> dict[str, Table]:
    """The tables that a script makes, by their full names."""
    return {str(table.name): table for table in parse_ddl(text, "schema.sql").catalog.tables}


def refused(text: str) -> UsageError:
    """The error that a script is refused with."""
    with pytest.raises(UsageError) as caught:
        parse_ddl(text, "schema.sql")
    return caught.value


def test_a_path_to_sql_is_a_file_and_a_dsn_is_none() -> None:
    """`--source` tells one from the other."""
    assert is_ddl_file("schema.sql")
    assert is_ddl_file("/some/where/Dump.SQL")
    assert not is_ddl_file("postgresql://host/x.sql")
    assert not is_ddl_file("shop")


def test_data_and_psql_commands_between_the_tables_are_passed() -> None:
    """A dump with rows gives the same tables as one without."""
    text = """
\\restrict abc'def
CREATE TABLE a (x int);
COPY public.a (x) FROM stdin;
1; CREATE TABLE no (x int);
it's "open
\\.
\\echo it's
INSERT INTO a VALUES (';', -1), ($$ ; $$, e'\\';'); -- ;' INSERT
INSERT INTO "it's;" SELECT 'a''b;' /* ; ' */ RETURNING x;
SELECT pg_catalog.setval('a_seq', 1, true);
\\unrestrict abc'def
CREATE TABLE b (y int)
"""
    assert list(tables_of(text)) == ["public.a", "public.b"]


def test_a_backslash_escapes_where_the_file_says_so() -> None:
    """Dumps of very old servers turn standard_conforming_strings off."""
    text = r"SET standard_conforming_strings = off; COMMENT ON TABLE a IS 'it\'s; x';"
    assert tables_of("CREATE TABLE a ();" + text)["public.a"].comment == "it's; x"


def test_the_search_path_says_where_tables_are_made_and_found() -> None:
    """As on the server: made in the first schema that exists, found in the first that has it."""
    text = """CREATE SCHEMA s; SET search_path = nowhere, s, public;
CREATE TABLE a (x int PRIMARY KEY);
SET search_path TO public, s; CREATE TABLE b (x int REFERENCES a);
SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE s.c (x public.citext);"""
    tables = tables_of(text)
    assert list(tables) == ["public.b", "s.a", "s.c"]
    assert str(tables["public.b"].foreign_keys[0].to_table) == "s.a"
    assert tables["s.c"].columns[0].type.extension == "citext"
    catalog = parse_ddl(text, "schema.sql", ["s"]).catalog
    assert [str(table.name) for table in catalog.tables] == ["s.a", "s.c"]


def test_what_is_dropped_renamed_and_moved_is_as_on_the_server(live: Live) -> None:
    """A file of migrations gives what is there at their end."""
    text = """
CREATE SCHEMA one; CREATE SCHEMA two; SET search_path = one;
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE kept (id int PRIMARY KEY, m mood, gone int UNIQUE, u text CONSTRAINT uu UNIQUE);
CREATE TABLE ref (id int REFERENCES kept, other int REFERENCES kept (gone), w text UNIQUE);
CREATE TABLE lost (id serial PRIMARY KEY, k int REFERENCES kept);
CREATE TABLE sub (LIKE kept INCLUDING ALL);
CREATE UNIQUE INDEX promoted ON sub (m);
ALTER TABLE sub ADD CONSTRAINT now_key UNIQUE USING INDEX promoted;
ALTER TABLE kept DROP COLUMN gone CASCADE, ADD late date NOT NULL, ADD UNIQUE (late);
ALTER TABLE kept RENAME u TO v; ALTER TABLE kept RENAME CONSTRAINT uu TO vv;
ALTER TABLE kept RENAME TO "Kept [/]"; ALTER TABLE "Kept [/]" SET SCHEMA two;
ALTER TYPE mood RENAME VALUE 'a' TO 'z'; ALTER TYPE mood RENAME TO temper;
ALTER TABLE ref ALTER w TYPE varchar(7) COLLATE "C", ALTER w SET NOT NULL, ALTER id SET DEFAULT 3;
ALTER TABLE ref DROP CONSTRAINT ref_w_key; ALTER INDEX sub_pkey RENAME TO sub_key;
DROP TABLE IF EXISTS lost, never CASCADE;
CREATE TABLE part (id int, k text) PARTITION BY LIST (k);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a', 'b');
CREATE TABLE part_b PARTITION OF part DEFAULT PARTITION BY RANGE (id);
CREATE TABLE part_b1 PARTITION OF part_b FOR VALUES FROM (MINVALUE) TO (3);
CREATE TABLE part_c PARTITION OF part (id NOT NULL) FOR VALUES IN ('c');
ALTER TABLE part ADD PRIMARY KEY (id, k); ALTER TABLE part DETACH PARTITION part_c;
CREATE TABLE to_part (id int, k text, FOREIGN KEY (id, k) REFERENCES part, x int);
CREATE TABLE to_leaf (id int, k text, FOREIGN KEY (id, k) REFERENCES part_a);
CREATE TABLE room (id int, during tsrange, EXCLUDE USING gist (during WITH &&) WHERE (id > 1));
ALTER SCHEMA two RENAME TO three; CREATE TEMP TABLE passing (x int); ALTER TABLE passing ADD y int;
CREATE TABLE twice (id int PRIMARY KEY UNIQUE, n int NULL DEFAULT NULL UNIQUE, UNIQUE (n),
  CONSTRAINT nn UNIQUE (n), CONSTRAINT mm UNIQUE (n) DEFERRABLE, UNIQUE (n, id));
CREATE TABLE made AS SELECT r.id, r.w AS "W", count(*) AS n FROM ref r GROUP BY r.id, r.w;
"""
    assert_same(live.catalog(text), parse_ddl(text, "x.sql").catalog, told_by_a_file)


def test_a_statement_about_tables_that_cannot_be_read_is_told_with_its_line() -> None:
    """Never is a table left out in silence."""
    assert "schema.sql, line 2: " in refused("\nCREATE TABLE t (a int) ENGINE=InnoDB;").what
    assert "line 1" in refused("CREATE TABLE `t` (a int);").what
    assert "nosuch is not known" in refused("CREATE TABLE t (\n a nosuch);").what
    assert "line 2" in refused("CREATE TABLE t (\n a nosuch);").what
    assert "has no closing parenthesis" in refused("SELECT 1; CREATE TABLE t (a int; -- )").what
    assert "never closed" in refused("CREATE TABLE t (a text DEFAULT 'x);").what
    assert "the table u is not known" in refused("ALTER TABLE u ADD x int;").what
    assert "nothing before this line" in refused("CREATE TABLE t (a int REFERENCES u);").what
    assert "no column" in refused("CREATE TABLE t (a int, PRIMARY KEY (b));").what
    assert "includes another" in refused("\\i other.sql\n").what
    assert "another database" in refused("CREATE TABLE t ();\n\\connect b\n").what
    assert "SELECT" in refused("CREATE TABLE t AS SELECT f(1) AS x;").what


def test_what_may_make_tables_unseen_is_named() -> None:
    """The caller can say which statements were skipped."""
    text = "CREATE TABLE t ();\nDO $$ BEGIN CREATE TABLE u (); END $$;\nFROBNICATE x;\nSELECT f();"
    skipped = parse_ddl(text, "schema.sql").skipped
    assert [line for line, _ in skipped] == [2, 3, 4]
    assert skipped[1][1] == "FROBNICATE x"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"PGDMP\x01\x0e", "pg_restore"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"CREATE TABLE a ();\nCREATE TABLE \xff ();", "line 2"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_way_out(
    tmp_path: Path, raw: bytes, said: str
) -> None:
    """Archives of pg_dump and packed files are told from SQL."""
    path = tmp_path / "x.sql"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=said):
        read_ddl(path)
    with pytest.raises(UsageError, match=r"no\.sql cannot be read"):
        read_ddl(tmp_path / "no.sql")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encodings_that_shells_write(tmp_path: Path, encoding: str) -> None:
    """Some shells write `pg_dump > schema.sql` as UTF-16."""
    path = tmp_path / "shop.sql"
    path.write_text('CREATE TABLE "😀" ();', encoding=encoding)
    catalog = read_ddl(path).catalog
    assert catalog.server.database == "shop"
    assert [table.name.name for table in catalog.tables] == ["😀"]
