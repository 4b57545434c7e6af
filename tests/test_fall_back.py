"""The way back: what was written to the graph after a flip becomes rows, all of it or nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import grafeo
import pytest

from geode_tui.catalog import TableName
from geode_tui.dual_write import Node, Relationship, record_graph_write
from geode_tui.errors import BusyError, GeodeTuiError, UsageError
from geode_tui.mapping import gql
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import LabelBy, Mapping, NodeRule, Property
from geode_tui.migration.journal import Journal
from geode_tui.migration.left_out import LeftOutOfGraph, left_out_of
from geode_tui.migration.replication.fall_back import (
    FallBackReport,
    FallBackRequest,
    StuckError,
    Way,
    fall_back,
    fall_back_steps,
)
from geode_tui.migration.replication.state import CutoverSnapshot
from geode_tui.migration.replication.sync_engine import sync_request
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.validating import ValidateRequest
from geode_tui.source.freeze import Freeze
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from tests.conftest import MakeDatabase, run_now
from tests.graph_dump import Dump, differences, dump, dump_open
from tests.migrate import Migrated, migrate, read_catalog
from tests.moved import SQL as MOVED
from tests.moved import move
from tests.targets import Targets, database, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

MARKS = ("_run", "_step", "_fp")
HOSTILE = [
    "",
    " ",
    "a'b",
    'say "hi"',
    "back\\slash",
    "`tick`",
    "{x,NULL}",
    "naïve 🦆",
    "a\nb",
    "NULL",
]

SHOP = r"""
CREATE TYPE "Mood %s" AS ENUM ('so"so', 'it''s fine');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Kunden & Co" (
  "Schlüssel" text PRIMARY KEY, name text NOT NULL, mentor text REFERENCES "Kunden & Co",
  touched timestamptz DEFAULT '2001-01-01');
CREATE TABLE everything (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, yes bool, small int2, whole int4, big int8,
  real4 float4, real8 float8, exact numeric, cents numeric(10,2), word varchar(20), padded char(5),
  bytes bytea, day date, clock time, local timestamp, instant timestamptz, span interval,
  zoned timetz, uid uuid, doc jsonb, plain json, host inet, mood "Mood %s", "some" positive,
  price money, numbers int[], words text[], exacts numeric[], days date[], blobs bytea[],
  doubles float8[], spread int4range, two pair, flags bit(3), moods "Mood %s"[],
  twice int GENERATED ALWAYS AS (whole * 2) STORED,
  "owner" text REFERENCES "Kunden & Co" ON DELETE SET NULL);
CREATE TABLE orders (
  tenant int, number int, customer text NOT NULL REFERENCES "Kunden & Co" ON DELETE CASCADE,
  after_tenant int, after_number int, note text DEFAULT 'none', PRIMARY KEY (tenant, number),
  FOREIGN KEY (after_tenant, after_number) REFERENCES orders);
CREATE TABLE products (id serial PRIMARY KEY, code text NOT NULL UNIQUE, favourite text);
ALTER TABLE products ADD FOREIGN KEY (favourite) REFERENCES "Kunden & Co";
ALTER TABLE "Kunden & Co" ADD likes int REFERENCES products;
CREATE TABLE items (
  tenant int, number int, product int REFERENCES products, quantity numeric(6,2),
  PRIMARY KEY (tenant, number, product), FOREIGN KEY (tenant, number) REFERENCES orders);
CREATE TABLE log (said text);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.touched := clock_timestamp(); RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON "Kunden & Co"
  FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO log VALUES ('one'), ('one'), (NULL);
INSERT INTO "Kunden & Co" ("Schlüssel", name, mentor)
  SELECT 'k' || n, 'name ' || n, CASE WHEN n > 5 THEN 'k' || n / 2 END
  FROM generate_series(1, 120) n;
INSERT INTO products (code) SELECT 'p' || n FROM generate_series(1, 45) n;
INSERT INTO orders (tenant, number, customer, after_tenant, after_number)
  SELECT 1 + n % 3, n, 'k' || 1 + n % 60, CASE WHEN n > 3 THEN 1 + n % 3 END,
         CASE WHEN n > 3 THEN n - 3 END FROM generate_series(1, 150) n;
INSERT INTO items SELECT tenant, number, 1 + number % 40, 1.5 FROM orders;
INSERT INTO items SELECT tenant, number, 1 + (number + 7) % 40, NULL FROM orders
  WHERE number % 2 = 0;
INSERT INTO everything (yes, whole, exact, word, day, numbers, owner)
  SELECT n % 2 = 0, n, n / 7.0, 'w' || n, '2020-01-01'::date + n, ARRAY[n, NULL], 'k' || n
  FROM generate_series(1, 60) n;
"""

_SPANS = ["PT1H", "P1Y2M3DT4H5M6.789S", "PT0S", "P-1D"]
_HOSTS = ["10.0.0.1/32", "fe80::1/128", "10.1.0.0/16"]
Make = Callable[[random.Random], Any]


def _text(r: random.Random) -> str:
    return r.choice(HOSTILE) + str(r.randrange(1000))


def _moment(r: random.Random) -> datetime:
    return datetime(1, 1, 1) + timedelta(
        days=r.randrange(3_600_000), microseconds=r.randrange(10**10)
    )


VALUES: dict[str, Make] = {
    "yes": lambda r: r.random() < 0.5,
    "small": lambda r: r.randint(-(2**15), 2**15 - 1),
    "whole": lambda r: r.randint(-(2**30), 2**30 - 1),
    "big": lambda r: r.randint(-(2**63), 2**63 - 1),
    "real4": lambda r: r.choice([0.5, -2.0, 1e10, float("nan"), float("inf")]),
    "real8": lambda r: r.choice(
        [0.1, -1e-300, 1.7976931348623157e308, float("-inf"), float("nan")]
    ),
    "exact": lambda r: Decimal(r.randint(-(10**30), 10**30)).scaleb(-r.randrange(20)),
    "cents": lambda r: Decimal(r.randint(-(10**9), 10**9)).scaleb(-2),
    "word": lambda r: _text(r)[:20],
    "padded": lambda r: r.choice(["a    ", "b'c  ", "     "]),
    "bytes": lambda r: r.randbytes(r.randrange(8)),
    "day": lambda r: date(1, 1, 1) + timedelta(days=r.randrange(3_652_058)),
    "clock": lambda r: time(r.randrange(24), 59, 59, r.randrange(10**6)),
    "local": _moment,
    "instant": lambda r: _moment(r).replace(tzinfo=UTC),
    "span": lambda r: r.choice(_SPANS),
    "zoned": lambda r: f"10:11:12.5+0{r.randrange(9)}",
    "uid": lambda r: f"{r.getrandbits(128):032x}",
    "doc": lambda r: f'{{"a": {r.randrange(99)}, "b": ["x", null]}}',
    "plain": lambda r: f'{{"a":{r.randrange(99)} , "a":2}}',
    "host": lambda r: r.choice(_HOSTS),
    "mood": lambda r: r.choice(['so"so', "it's fine"]),
    "some": lambda r: r.randint(1, 99),
    "price": lambda r: f"${r.randrange(999)}.{r.randrange(10, 99)}",
    "numbers": lambda r: r.choice([[], [1, None, 3], [[1, 2], [3, 4]]]),
    "words": lambda r: [_text(r), None, "x,y"],
    "exacts": lambda r: [Decimal("1.50"), Decimal(r.randrange(99))],
    "days": lambda r: [date(2000, 1, 1), date(1999, 12, 31)],
    "blobs": lambda r: [r.randbytes(2), b""],
    "doubles": lambda r: "{1.1,2.2,NULL}",
    "spread": lambda r: f"[{r.randrange(9)},20)",
    "two": lambda r: '(1,"x y")',
    "flags": lambda r: r.choice(["101", "000"]),
    "moods": lambda r: ['so"so', "it's fine"],
}


def _uuid(text: str) -> str:
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


@dataclass
class Application:
    """Writes to the graph as an application does: with its own statements, and no marks of ours.

    With `recorded` it leaves an outbox node for each thing that it writes.
    """

    graph: Any
    recorded: bool
    random: random.Random
    writes: int = 0
    next_number: int = 10_000
    _types: dict[str, str] = field(default_factory=dict)

    def run(self, statement: str, *things: tuple[Any, str], **parameters: Any) -> list[Any]:
        """One transaction: the statement, and what it tells of itself."""
        self.writes += 1
        with self.graph.begin_transaction() as open_:
            rows = list(open_.execute(statement, parameters))
            for thing, operation in things if self.recorded else ():
                open_.execute(*record_graph_write(thing, operation))  # type: ignore[arg-type]
            open_.commit()
        return rows

    def keys(self, label: str, *names: str) -> list[tuple[Any, ...]]:
        statement = f"MATCH (n:{label}) RETURN {gql.returned('n', names)}"
        return [tuple(r[f"c{n}"] for n in range(len(names))) for r in self.graph.execute(statement)]

    def new_number(self) -> int:
        self.next_number += 1
        return self.next_number

    # -- what it does -----------------------------------------------------------------------

    def create_customer(self) -> None:
        key = self.random.choice(HOSTILE) + f" {self.new_number()}"
        self.run(
            "CREATE (:KundenCo {schlussel: $k, name: $n, touched: $t})",
            (Node("KundenCo", (key,)), "write"),
            k=key,
            n=_text(self.random),
            t=_moment(self.random).replace(tzinfo=UTC),
        )

    def change_customer(self) -> None:
        (key,) = self.random.choice(self.keys("KundenCo", "schlussel"))
        self.run(
            "MATCH (c:KundenCo {schlussel: $k}) SET c.name = $n",
            (Node("KundenCo", (key,)), "write"),
            k=key,
            n=_text(self.random),
        )

    def set_mentor(self) -> None:
        """The relationship and the property that repeats it are changed together."""
        self._lead(
            "KundenCo", ("schlussel",), "HAS_MENTOR", "KundenCo", ("schlussel",), ("mentor",)
        )

    def set_likes(self) -> None:
        self._lead("KundenCo", ("schlussel",), "HAS_LIKES", "Product", ("id",), ("likes",))

    def set_owner(self) -> None:
        self._lead("Everything", ("id",), "HAS_OWNER", "KundenCo", ("schlussel",), ("owner",))

    def set_favourite(self) -> None:
        self._lead("Product", ("id",), "HAS_FAVOURITE", "KundenCo", ("schlussel",), ("favourite",))

    def set_after(self) -> None:
        names = ("afterTenant", "afterNumber")
        self._lead("Order", ("tenant", "number"), "HAS_ORDER", "Order", ("tenant", "number"), names)

    def set_customer(self) -> None:
        self._lead(
            "Order",
            ("tenant", "number"),
            "HAS_CUSTOMER",
            "KundenCo",
            ("schlussel",),
            ("customer",),
            True,
        )

    def _lead(
        self,
        label: str,
        key_names: tuple[str, ...],
        type_name: str,
        other: str,
        other_names: tuple[str, ...],
        repeated: tuple[str, ...],
        required: bool = False,
    ) -> None:
        key = self.random.choice(self.keys(label, *key_names))
        to = self.random.choice(self.keys(other, *other_names))
        keep = required or self.random.random() < 0.7
        self._let_go(label, key_names, key, type_name, other, other_names, repeated)
        if not keep:
            return
        own, there = _fields(key_names, "k"), _fields(other_names, "o")
        sets = ", ".join(f"a.`{name}` = $o{n}" for n, name in enumerate(repeated))
        made = f"SET {sets} CREATE (a)-[:{type_name}]->(b)"
        self.run(
            f"MATCH (a:{label} {own}), (b:{other} {there}) {made}",
            (Relationship(type_name, Node(label, key), Node(other, to)), "write"),
            (Node(label, key), "write"),
            **_numbered("k", key),
            **_numbered("o", to),
        )

    def _let_go(
        self,
        label: str,
        key_names: tuple[str, ...],
        key: tuple[Any, ...],
        type_name: str,
        other: str,
        other_names: tuple[str, ...],
        repeated: tuple[str, ...],
    ) -> None:
        pattern = f"(a:{label} {_fields(key_names, 'k')})-[r:{type_name}]->(b:{other})"
        found = list(
            self.graph.execute(
                f"MATCH {pattern} RETURN {gql.returned('b', other_names)}", _numbered("k", key)
            )
        )
        sets = ", ".join(f"a.`{name}` = null" for name in repeated)
        for row in found:
            to = tuple(row[f"c{n}"] for n in range(len(other_names)))
            self.run(
                f"MATCH {pattern} SET {sets} DELETE r",
                (Relationship(type_name, Node(label, key), Node(other, to)), "remove"),
                (Node(label, key), "write"),
                **_numbered("k", key),
            )

    def create_everything(self) -> None:
        key = self.new_number()
        values = {n: self._value(n) for n in self.random.sample(sorted(VALUES), 12)}
        if "whole" in values:
            values["twice"] = values["whole"] * 2
        self.run(
            "CREATE (n:Everything) SET n = $p",
            (Node("Everything", (key,)), "write"),
            p={"id": key, **values},
        )

    def change_everything(self) -> None:
        (key,) = self.random.choice(self.keys("Everything", "id"))
        name = self.random.choice(sorted(VALUES))
        value = None if self.random.random() < 0.1 else self._value(name)
        values = {name: value}
        if name == "whole":
            values["twice"] = None if value is None else value * 2
        sets = ", ".join(f"n.`{n}` = $v{i}" for i, n in enumerate(values))
        self.run(
            f"MATCH (n:Everything {{id: $k}}) SET {sets}",
            (Node("Everything", (key,)), "write"),
            k=key,
            **_numbered("v", tuple(values.values())),
        )

    def _value(self, name: str) -> Any:
        value = VALUES[name](self.random)
        return _uuid(value) if name == "uid" else value

    def remove_everything(self) -> None:
        (key,) = self.random.choice(self.keys("Everything", "id"))
        self.run(
            "MATCH (n:Everything {id: $k}) DETACH DELETE n",
            (Node("Everything", (key,)), "remove"),
            k=key,
        )

    def create_order(self) -> None:
        number, tenant = self.new_number(), self.random.randint(1, 3)
        (customer,) = self.random.choice(self.keys("KundenCo", "schlussel"))
        order = Node("Order", (tenant, number))
        self.run(
            "MATCH (c:KundenCo {schlussel: $c}) CREATE (:Order {tenant: $t, number: $n,"
            " customer: $c, note: $x})-[:HAS_CUSTOMER]->(c)",
            (order, "write"),
            (Relationship("HAS_CUSTOMER", order, Node("KundenCo", (customer,))), "write"),
            t=tenant,
            n=number,
            c=customer,
            x=_text(self.random) if self.random.random() < 0.8 else None,
        )

    def create_product(self) -> None:
        key = self.new_number()
        self.run(
            "CREATE (:Product {id: $k, code: $c})",
            (Node("Product", (key,)), "write"),
            k=key,
            c=f"{_text(self.random)} {key}",
        )

    def buy(self) -> None:
        order = self.random.choice(self.keys("Order", "tenant", "number"))
        product = self.random.choice(self.keys("Product", "id"))
        pattern = "(o:Order {tenant: $k0, number: $k1})"
        given = {**_numbered("k", order), "p": product[0]}
        there = list(
            self.graph.execute(
                f"MATCH {pattern}-[r]->(p:Product {{id: $p}}) RETURN type(r) AS t", given
            )
        )
        quantity = Decimal(self.random.randrange(1, 99999)).scaleb(-2)
        thing = Relationship("ITEM", Node("Order", order), Node("Product", product))
        if not there:
            self.run(
                f"MATCH {pattern}, (p:Product {{id: $p}}) CREATE (o)-[:ITEM {{quantity: $q}}]->(p)",
                (thing, "write"),
                q=quantity,
                **given,
            )
        elif self.random.random() < 0.5:
            self.run(
                f"MATCH {pattern}-[r:ITEM]->(p:Product {{id: $p}}) SET r.quantity = $q",
                (thing, "write"),
                q=quantity,
                **given,
            )
        else:
            self.run(
                f"MATCH {pattern}-[r:ITEM]->(p:Product {{id: $p}}) DELETE r",
                (thing, "remove"),
                **given,
            )

    def remove_order(self) -> None:
        """An order that nothing follows goes, with its items."""
        key = self.random.choice(self.keys("Order", "tenant", "number"))
        pattern = "(o:Order {tenant: $k0, number: $k1})"
        given = _numbered("k", key)
        if list(
            self.graph.execute(f"MATCH (x:Order)-[:HAS_ORDER]->{pattern} RETURN 1 AS c", given)
        ):
            return
        bought = self.graph.execute(f"MATCH {pattern}-[:ITEM]->(p) RETURN p.id AS id", given)
        order = Node("Order", key)
        items = [Relationship("ITEM", order, Node("Product", (row["id"],))) for row in bought]
        self.run(
            f"MATCH {pattern} DETACH DELETE o",
            (order, "remove"),
            *((item, "remove") for item in items),
            **given,
        )

    def swap_codes(self) -> None:
        """A product is replaced by another one with the same code, which must be unique."""
        rows = self.graph.execute("MATCH ()-[]->(p:Product) RETURN p.id AS id")
        used = {row["id"] for row in rows}
        unused = [pair for pair in self.keys("Product", "id", "code") if pair[0] not in used]
        if not unused:
            return
        (key, code) = self.random.choice(unused)
        new = self.new_number()
        self.run(
            "MATCH (p:Product {id: $k}) DETACH DELETE p CREATE (:Product {id: $n, code: $c})",
            (Node("Product", (key,)), "remove"),
            (Node("Product", (new,)), "write"),
            k=key,
            n=new,
            c=code,
        )


DEEDS = (
    *(Application.change_everything,) * 6,
    *(Application.create_everything, Application.buy, Application.buy) * 2,
    Application.create_customer,
    Application.change_customer,
    Application.set_mentor,
    Application.set_likes,
    Application.set_owner,
    Application.set_favourite,
    Application.set_after,
    Application.set_customer,
    Application.create_order,
    Application.create_product,
    Application.remove_everything,
    Application.remove_order,
    Application.swap_codes,
)


def _fields(names: tuple[str, ...], prefix: str) -> str:
    return "{" + ", ".join(f"`{name}`: ${prefix}{n}" for n, name in enumerate(names)) + "}"


def _numbered(prefix: str, values: tuple[Any, ...]) -> dict[str, Any]:
    return {f"{prefix}{n}": value for n, value in enumerate(values)}


# -- what is done with it ------------------------------------------------------------------------


@contextmanager
def application(migrated: Migrated, recorded: bool = False, seed: int = 7) -> Iterator[Application]:
    """An application that has the graph's file open; constraints of runs are in nobody's way."""
    database = grafeo.GrafeoDB(str(migrated.graph_file))
    try:
        yield Application(database, recorded, random.Random(seed))
    finally:
        database.close()


def come_back(
    dsn: str,
    migrated: Migrated,
    request: FallBackRequest | None = None,
    mapping: Mapping | None = None,
    **more: Any,
) -> FallBackReport:
    """Fall back from the graph of a migration to its source."""

    async def work() -> FallBackReport:
        source = await Source.connect(dsn)
        target = await asyncio.to_thread(open_target, str(migrated.graph_file))
        journal = Journal(migrated.journal_file)
        try:
            out = left_out_of(journal, str(migrated.graph_file), "")
            used = mapping or migrated.mapping
            return await fall_back(source, target, used, out, request or FallBackRequest(), **more)
        finally:
            journal.close()
            target.close()
            await source.close()

    return run_now(work())


def sql(dsn: str, *statements: str) -> list[Any]:
    """Run statements; the rows of the last."""

    async def work() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return [tuple(row) for row in await connection.fetch(statements[-1])]
        finally:
            await connection.close()

    return run_now(work())


def rows_of(dsn: str) -> dict[str, list[Any]]:
    """All rows of all tables as PostgreSQL prints them, and what is set up around them."""
    tables = sql(
        dsn,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    found = {name: sql(dsn, f"SELECT t::text FROM {name} t ORDER BY 1") for (name,) in tables}
    found["triggers"] = sql(
        dsn,
        "SELECT tgrelid::regclass::text, tgname::text, tgenabled::text"
        " FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    )
    found["constraints"] = sql(
        dsn, "SELECT conname::text, condeferrable, condeferred FROM pg_constraint ORDER BY 1"
    )
    return found


def assert_same_as_graph(dsn: str, migrated: Migrated, folder: Path) -> None:
    """Moved into a second graph, the source gives the very graph that was written to."""
    folder.mkdir()
    again = migrate(dsn, folder, migrated.mapping)
    one, other = contents(migrated.graph_file), contents(again.graph_file)
    told = differences(one, other)
    assert one == other, "\n".join(told)


def contents(graph_file: Path) -> Dump:
    """What a graph holds of the source; not our own marks and nodes."""
    return cleaned(dump(graph_file, without=(*MARKS, "_row")))


def cleaned(found: Dump) -> Dump:
    """Without nodes of ours."""
    ours = {node for node in found.nodes if node[0][0].startswith("_")}
    return Dump(Counter({n: c for n, c in found.nodes.items() if n not in ours}), found[1])


@pytest.mark.parametrize("recorded", [False, True], ids=["comparison", "outbox"])
def test_a_thousand_writes_to_the_graph_come_back_as_rows(
    make_database: MakeDatabase, tmp_path: Path, recorded: bool
) -> None:
    """All types, keys of hostile text, deletes, relationships new and gone: all are rows again."""
    dsn = make_database(SHOP)
    migrated = migrate(dsn, tmp_path)
    before = rows_of(dsn)
    with application(migrated, recorded) as app:
        while app.writes < 1_000:
            app.random.choice(DEEDS)(app)
    way: Way = "outbox" if recorded else "comparison"
    report = come_back(dsn, migrated, FallBackRequest(way=way))
    assert report.way == way
    done = {t.table: (t.inserted, t.updated, t.deleted) for t in report.tables}
    assert all(done["public.everything"])
    assert all(done["public.orders"])
    assert all(done["public.items"])
    assert all(done["public.Kunden & Co"][:2])
    assert all(done["public.products"])
    assert report.rows > 500
    assert_same_as_graph(dsn, migrated, tmp_path / "again")
    after = rows_of(dsn)
    assert after["triggers"] == before["triggers"]
    assert after["constraints"] == before["constraints"]
    assert come_back(dsn, migrated).rows == 0
    with application(migrated) as app:
        assert app.keys("_Outbox", "id") == []


# -- what has no place in a row ------------------------------------------------------------------

SMALL = """
CREATE TABLE people (id int PRIMARY KEY, name varchar(5) NOT NULL, age int CHECK (age > 0),
  fee numeric(5,2), doc jsonb, span interval, score real, code text UNIQUE);
CREATE TABLE cars (id serial PRIMARY KEY, plate text NOT NULL,
  keeper int NOT NULL REFERENCES people, driver int REFERENCES people);
INSERT INTO people (id, name, age, doc) SELECT n, 'p' || n, n, '{}' FROM generate_series(1, 9) n;
INSERT INTO cars (plate, keeper, driver) SELECT 'c' || n, n, n + 1 FROM generate_series(1, 5) n;
"""
_CAR = "(c:Car {id: 1})"
_LEAD = "(p:Person {id: 9}) CREATE (c)-"
STUCK = {
    "a property that no column holds": (
        "MATCH (p:Person {id: 3}) SET p.nickname = 'x'",
        "Person id=3: no column of the source holds the property nickname",
    ),
    "a value of another type": (
        "MATCH (p:Person {id: 3}) SET p.age = 'old'",
        "Person id=3: age holds 'old' (str), which is no INT",
    ),
    "a label that no rule gives": (
        "MATCH (p:Person {id: 3}) SET p:Boss",
        "Person id=3: no rule gives it the label Boss",
    ),
    "a text that is too long": (
        "MATCH (p:Person {id: 3}) SET p.name = 'too long'",
        "public.people id=3: PostgreSQL: value too long",
    ),
    "a value that a check refuses": (
        "MATCH (p:Person) WHERE p.id IN [3, 4] SET p.age = p.id - 4",
        "public.people id=3: PostgreSQL: new row",
    ),
    "a required value that is gone": (
        "MATCH (p:Person {id: 3}) SET p.name = null",
        "public.people id=3: PostgreSQL: null value in column",
    ),
    "a number that the column rounds": (
        "MATCH (p:Person {id: 3}) SET p.fee = $fee",
        "Person id=3: fee: 1.23 in the source, 1.234 in the graph",
    ),
    "a value that must be unique": (
        "MATCH (p:Person) WHERE p.id IN [3, 4] SET p.code = 'same'",
        "PostgreSQL: duplicate key",
    ),
    "a text with a NUL": (
        "MATCH (p:Person {id: 3}) SET p.code = $nul",
        "Person id=3: code holds a character that PostgreSQL cannot store",
    ),
    "two nodes of a key": (
        "CREATE (:Person {id: 3, name: 'p3', age: 4})",
        "public.people id=3: PostgreSQL: duplicate key",
    ),
    "a required relationship that is gone": (
        "MATCH (c:Car {id: 2})-[r:HAS_KEEPER]->() DELETE r",
        "id=2: it is gone from the graph, and keeper must not be NULL",
    ),
    "the node that a row must point at is gone": (
        "MATCH (p:Person {id: 2}) DETACH DELETE p",
        "id=2: it is gone from the graph, and keeper must not be NULL",
    ),
    "two relationships for one foreign key": (
        f"MATCH {_CAR}, {_LEAD}[:HAS_DRIVER]->(p)",
        "(id=1) to (id=2): only in the graph",
    ),
    "a property that contradicts its relationship": (
        "MATCH (c:Car {id: 1}) SET c.driver = 7",
        "Car id=1: its property says driver is 7, its relationship leads to where it did",
    ),
    "a new node without what it needs": (
        "CREATE (:Car {id: 77, plate: 'x'})",
        "public.cars id=77: PostgreSQL: null value in column",
    ),
}


@pytest.mark.parametrize("case", STUCK)
def test_what_no_row_can_hold_stops_it_with_its_key_and_changes_nothing(
    make_database: MakeDatabase, tmp_path: Path, case: str
) -> None:
    """Also what could have come back stays away: it is all or nothing."""
    statement, told = STUCK[case]
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    before = rows_of(dsn)
    drop_constraints(migrated)
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 8}) SET p.name = 'fine'")
        app.run(statement, **{"fee": Decimal("1.234"), "nul": "a\0b"})
    steps: dict[str, str] = {}
    with pytest.raises(StuckError) as caught:
        come_back(dsn, migrated, set_step=lambda name, state, detail: steps.update({name: state}))
    assert told in "\n".join(map(str, caught.value.stuck))
    assert caught.value.exit_code == 4
    assert rows_of(dsn) == before
    assert "failed" in steps.values()
    assert "commit rows" not in steps


def drop_constraints(migrated: Migrated) -> None:
    """An application may have dropped what a run made to keep keys apart."""
    database = grafeo.GrafeoDB(str(migrated.graph_file))
    for row in list(database.execute("SHOW CONSTRAINTS")):
        database.execute(f"DROP CONSTRAINT `{row['name']}`")
    database.close()


def test_a_relationship_counts_more_than_the_property_that_repeats_it(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Programs that write to a graph lead relationships elsewhere, and leave old properties."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("MATCH (c:Car {id: 1})-[r:HAS_DRIVER]->() DELETE r")
        app.run(
            "MATCH (c:Car {id: 2})-[r:HAS_KEEPER]->(), (p:Person {id: 9})"
            " DELETE r CREATE (c)-[:HAS_KEEPER]->(p)"
        )
        app.run("MATCH (p:Person {id: 9}) CREATE (:Car {id: 50, plate: 'n'})-[:HAS_KEEPER]->(p)")
    report = come_back(dsn, migrated)
    rows = sql(dsn, "SELECT id, keeper, driver FROM cars WHERE id IN (1, 2, 50) ORDER BY id")
    assert rows == [(1, 1, None), (2, 9, 3), (50, 9, None)]
    assert report.notes[0].startswith("3 of the graph hold what their rows do")
    assert_same_as_graph(dsn, migrated, tmp_path / "again")
    assert come_back(dsn, migrated).rows == 0


def test_what_postgresql_spells_otherwise_is_the_same_value_and_told(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A document without blanks, an interval of sixty minutes, 1.1 in a real."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("""MATCH (p:Person {id: 3}) SET p.doc = '{"b":1,"a":[2]}', p.span = 'PT60M'""")
        app.run("MATCH (p:Person {id: 4}) SET p.score = $s", s=1.1)
    report = come_back(dsn, migrated)
    assert report.notes[0].startswith("2 of the graph hold what their rows do")
    rows = sql(dsn, "SELECT doc::text, span::text, score::text FROM people WHERE id IN (3, 4)")
    assert rows == [('{"a": [2], "b": 1}', "01:00:00", None), ("{}", None, "1.1")]
    assert_same_as_graph(dsn, migrated, tmp_path / "again")


def test_a_preview_says_what_it_would_do_and_does_nothing(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """All is tried out, and undone; neither side is changed and no hook is run."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated, recorded=True) as app:
        app.run("CREATE (:Person {id: 70, name: 'n'})", (Node("Person", (70,)), "write"))
        app.run("MATCH (p:Person {id: 8}) SET p.name = 'x'", (Node("Person", (8,)), "write"))
    before, hooks = rows_of(dsn), list[str]()
    request = FallBackRequest(preview=True, flip_back=_noted(hooks), hold_graph=_noted(hooks))
    report = come_back(dsn, migrated, request)
    assert [(t.table, t.inserted, t.updated, t.deleted) for t in report.tables] == [
        ("public.people", 1, 1, 0)
    ]
    assert [(s.sql.split()[0], s.rows) for s in report.statements] == [("UPDATE", 1), ("INSERT", 1)]
    assert (rows_of(dsn), hooks) == (before, [])
    with application(migrated) as app:
        assert len(app.keys("_Outbox", "id")) == 2
    assert come_back(dsn, migrated, FallBackRequest(flip_back=_noted(hooks))).recorded == 2
    assert hooks == ["hook"]


def _noted(hooks: list[str]) -> Callable[[], Any]:
    async def hook() -> None:
        hooks.append("hook")

    return hook


def test_writes_that_no_outbox_node_tells_of_are_found_all_the_same(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """By outbox alone it stops and names them; left to itself it compares everything."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated, recorded=True) as app:
        app.run("MATCH (p:Person {id: 8}) SET p.name = 'x'", (Node("Person", (8,)), "write"))
        app.run("MATCH (p:Person {id: 7}) SET p.name = 'y'")
    before = rows_of(dsn)
    with pytest.raises(StuckError, match="Person id=7"):
        come_back(dsn, migrated, FallBackRequest(way="outbox"))
    assert rows_of(dsn) == before
    assert come_back(dsn, migrated).way == "comparison"
    assert sql(dsn, "SELECT name FROM people WHERE id IN (7, 8) ORDER BY id") == [("y",), ("x",)]


def test_an_outbox_node_that_tells_nonsense_stops_it(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A rule that there is not, a key of two values."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated, recorded=True) as app:
        app.run("MATCH (p:Person {id: 1}) RETURN p", (Node("Nobody", (8,)), "write"))
        app.run("MATCH (p:Person {id: 1}) RETURN p", (Node("Person", (8, 9)), "write"))
    with pytest.raises(StuckError) as caught:
        come_back(dsn, migrated, FallBackRequest(way="outbox"))
    told = "\n".join(map(str, caught.value.stuck))
    assert "Nobody" in told
    assert "it has 2 values, and the key 1" in told
    assert come_back(dsn, migrated).way == "comparison"


def test_the_wrong_graph_empties_no_table(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Over half of a table's rows go only when somebody says so."""
    dsn = make_database(
        SMALL + "INSERT INTO people SELECT n, 'p', 1 FROM generate_series(10, 199) n;"
    )
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("MATCH (p:Person) WHERE p.id > 50 DETACH DELETE p")
    with pytest.raises(StuckError, match="149 of 199 rows would be removed"):
        come_back(dsn, migrated)
    come_back(dsn, migrated, FallBackRequest(remove_many=True))
    assert sql(dsn, "SELECT count(*) FROM people") == [(50,)]


def test_rows_that_never_reached_the_graph_stay(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Dead letters, and what points at them, are not taken for what was removed."""
    dsn = make_database("""
        CREATE TABLE a (id int PRIMARY KEY, n numeric);
        CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
        INSERT INTO a VALUES (1, 1), (2, 'NaN'), (3, 3);
        INSERT INTO b VALUES (1, 1), (2, 2), (3, 3);
    """)
    migrated = migrate(dsn, tmp_path)
    assert {letter.key for letter in migrated.dead_letters()} == {"id=2"}
    with application(migrated) as app:
        app.run("MATCH (x:A {id: 3}) DETACH DELETE x")
    come_back(dsn, migrated)
    assert sql(dsn, "SELECT id, n::text FROM a ORDER BY 1") == [(1, "1"), (2, "NaN")]
    assert sql(dsn, "SELECT id, a FROM b ORDER BY 1") == [(1, 1), (2, 2), (3, None)]


def test_what_was_accepted_before_the_flip_stays_on_both_sides(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A row that is missing from the graph for a reason is not removed from the source."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 9}) DETACH DELETE p")
        app.run("MATCH (p:Person {id: 8}) SET p.age = 88")
        app.run("CREATE (:Person {id: 77, name: 'more'})")
    request = ValidateRequest(dsn, str(migrated.graph_file), migrated.mapping, deep=True)
    runner = Runner(request, journal=migrated.journal_file)
    runner.start()
    runner.join()
    assert runner.ledger is not None
    signs = frozenset(one.sign for one in runner.ledger.differences)
    assert len(signs) == 3
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 7}) SET p.age = 70")
    report = come_back(dsn, migrated, FallBackRequest(accepted=signs))
    assert report.rows == 1
    rows = sql(dsn, "SELECT id, age FROM people WHERE id > 6 ORDER BY id")
    assert rows == [(7, 70), (8, 8), (9, 9)]
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 8}) SET p.age = 89")  # not as it was accepted
    come_back(dsn, migrated, FallBackRequest(accepted=signs))
    assert sql(dsn, "SELECT age FROM people WHERE id = 8") == [(89,)]


def test_a_guard_lets_the_way_back_through_and_nobody_else(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """After a flip triggers refuse writes to the source: to all but the fall-back."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 8}) SET p.name = 'x'")

    async def guard() -> None:
        source = await Source.connect(dsn)
        tables = tuple(t.name for t in (await source.catalog()).tables)
        freeze = Freeze(source.capture_session, tables, "geode_tui_freeze", "it moved", "trigger")
        await freeze.take(30)
        await freeze.keep()
        await freeze.close()
        await source.close()

    run_now(guard())
    with pytest.raises(asyncpg.PostgresError, match="it moved"):
        sql(dsn, "UPDATE people SET name = 'z'", "SELECT 1")
    before = rows_of(dsn)["triggers"]
    with pytest.raises(GeodeTuiError, match="it moved"):
        come_back(dsn, migrated, FallBackRequest(keep_triggers_of=frozenset({"geode_tui_freeze"})))
    come_back(dsn, migrated, FallBackRequest(guard="geode_tui_freeze"))
    assert sql(dsn, "SELECT name FROM people WHERE id = 8") == [("x",)]
    assert rows_of(dsn)["triggers"] == before
    with pytest.raises(asyncpg.PostgresError, match="it moved"):
        sql(dsn, "UPDATE people SET name = 'z'", "SELECT 1")


def test_rows_outside_of_the_graph_that_go_along_are_told(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The source's own rule removes them, as it would have for its application."""
    dsn = make_database(
        f"""{SMALL} CREATE SCHEMA apart; CREATE TABLE apart.fines (
        id int PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE);
        INSERT INTO apart.fines VALUES (1, 9), (2, 8)"""
    )
    mapping = infer(read_catalog(dsn))
    fines = next(n for n in mapping.nodes if n.table.schema == "apart")
    mapping = replace(mapping, nodes=tuple(n for n in mapping.nodes if n is not fines))
    kept = tuple(r for r in mapping.relationships if r.start.node != fines.id)
    migrated = migrate(dsn, tmp_path, replace(mapping, relationships=kept))
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 9}) DETACH DELETE p")
    report = come_back(dsn, migrated)
    assert any("rows of apart.fines, which are not in the graph" in n for n in report.notes)
    assert sql(dsn, "SELECT id FROM apart.fines") == [(2,)]


def test_new_rows_get_numbers_after_those_of_the_graph(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The sequence of a column is led past what the application chose in the graph."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("MATCH (p:Person {id: 9}) CREATE (:Car {id: 6, plate: 'n'})-[:HAS_KEEPER]->(p)")
    come_back(dsn, migrated)
    new = "INSERT INTO cars (plate, keeper) VALUES ('o', 1) RETURNING id"
    assert sql(dsn, new) == [(7,)]


def test_a_role_that_owns_no_table_writes_in_the_order_of_foreign_keys(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """It may neither put off foreign keys nor quiet triggers, and is told so."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    sql(
        dsn,
        "CREATE ROLE way_back LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON people, cars TO way_back",
        "GRANT USAGE ON SEQUENCE cars_id_seq TO way_back",
        "SELECT 1",
    )
    try:
        with application(migrated) as app:
            app.run(
                "CREATE (p:Person {id: 70, name: 'n'})<-[:HAS_KEEPER]-(:Car {id: 9, plate: 'x'})"
            )
            app.run("MATCH (c:Car {id: 5}) DETACH DELETE c")
            app.run("MATCH (p:Person {id: 7}) DETACH DELETE p")
        report = come_back(dsn.replace("postgres@", "way_back@"), migrated)
        assert any("cannot wait" in note for note in report.notes)
        assert sql(dsn, "SELECT keeper FROM cars WHERE id IN (5, 9)") == [(70,)]
        assert sql(dsn, "SELECT count(*) FROM people WHERE id = 7") == [(0,)]
    finally:
        sql(dsn, "DROP OWNED BY way_back", "DROP ROLE way_back", "SELECT 1")


def test_it_can_be_done_again_when_it_was_killed_after_the_commit(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The rows are back, the last steps were not done: the second time does them."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    with application(migrated, recorded=True) as app:
        app.run("MATCH (p:Person {id: 8}) SET p.name = 'x'", (Node("Person", (8,)), "write"))

    async def killed() -> None:
        raise GeodeTuiError("killed")

    with pytest.raises(GeodeTuiError, match="killed"):
        come_back(dsn, migrated, FallBackRequest(flip_back=killed))
    assert sql(dsn, "SELECT name FROM people WHERE id = 8") == [("x",)]
    hooks: list[str] = []
    report = come_back(dsn, migrated, FallBackRequest(flip_back=_noted(hooks)))
    assert (report.rows, hooks) == (0, ["hook"])


def test_a_table_that_is_in_use_stops_it_soon(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may write to the source meanwhile: who does is waited for, not for long."""
    monkeypatch.setattr("geode_tui.migration.replication.row_transaction.LOCK_SECONDS", 1)
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)

    async def held() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("UPDATE people SET name = 'z' WHERE id = 1")
                with pytest.raises(BusyError, match="in use"):
                    await asyncio.to_thread(come_back, dsn, migrated)
        finally:
            await connection.close()

    run_now(held())


REACHING = """
CREATE TABLE docs (id int PRIMARY KEY, title text, words int, secret text NOT NULL);
CREATE VIEW titles AS SELECT id, title FROM docs;
INSERT INTO docs VALUES (1, 'one', 1, 's'), (2, 'two', 2, 's');
"""


def test_rules_that_cannot_be_inverted_stop_it_unless_they_are_left_behind(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """An expression, a view, a column that is not in the graph: said in words, with the key."""
    dsn = make_database(REACHING)
    properties = (
        Property("id", "id", "INT"),
        Property("title", "title", "STRING", expression="upper(title)"),
        Property("words", "words", "INT"),
    )
    doc = NodeRule("Doc", TableName("public", "docs"), ("id",), properties)
    plain = (Property("id", "id", "INT"), Property("title", "title", "STRING"))
    title = NodeRule("Title", TableName("public", "titles"), ("id",), plain)
    migrated = migrate(dsn, tmp_path, Mapping((doc, title)))
    drop_constraints(migrated)
    with application(migrated) as app:
        app.run("MATCH (d:Doc {id: 1}) SET d.words = 5")
        app.run("MATCH (t:Title {id: 1}) SET t.title = 'new'")
    with pytest.raises(StuckError, match=r"Title id=1: title: .* \(the rule is not inverted: "):
        come_back(dsn, migrated)
    report = come_back(dsn, migrated, FallBackRequest(leave=frozenset({"Title"})))
    assert any("Title was left behind" in note for note in report.notes)
    assert sql(dsn, "SELECT words FROM docs WHERE id = 1") == [(5,)]
    with application(migrated) as app:
        app.run("MATCH (d:Doc {id: 1}) SET d.title = 'NEW'")
    leave = FallBackRequest(leave=frozenset({"Title"}))
    with pytest.raises(StuckError, match=r"Doc id=1: .*title is made by an expression"):
        come_back(dsn, migrated, leave)
    with application(migrated) as app:
        app.run("MATCH (d:Doc {id: 1}) SET d.title = 'ONE' CREATE (:Doc {id: 3, words: 1})")
    with pytest.raises(StuckError, match="Doc id=3: nothing in the graph gives secret"):
        come_back(dsn, migrated, leave)
    with pytest.raises(UsageError, match="no rule Nothing"):
        come_back(dsn, migrated, FallBackRequest(leave=frozenset({"Nothing"})))


def test_what_the_graph_held_before_the_migration_is_not_made_rows(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Nobody can tell it from what came after the flip."""
    dsn = make_database(SMALL)
    database = grafeo.GrafeoDB(str(tmp_path / "graph.grafeo"))
    database.execute("CREATE (:Person {id: 500, name: 'old'})")
    database.close()
    migrated = migrate(dsn, tmp_path, into_existing=True)
    with pytest.raises(StuckError, match="the graph held 1 of them before the migration"):
        come_back(dsn, migrated)


def test_what_was_written_to_the_graph_is_the_runs_own_in_the_end(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Synchronization can go on: everything carries the run and the digest of its row."""
    dsn = make_database(SHOP)
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        while app.writes < 150:
            app.random.choice(DEEDS)(app)
    journal = Journal(migrated.journal_file)
    record = journal.run(migrated.runner.run_number or 0)
    journal.close()
    come_back(dsn, migrated, FallBackRequest(run=record.uid, step=record.steps))
    for deep in (False, True):
        request = ValidateRequest(dsn, str(migrated.graph_file), migrated.mapping, deep=deep)
        runner = Runner(request, journal=migrated.journal_file)
        runner.start()
        runner.join()
        assert runner.ledger is not None, runner.error
        assert runner.ledger.valid, runner.ledger.differences
    with application(migrated) as app:
        [row] = app.run("MATCH (n) WHERE n._run IS NULL RETURN count(n) AS c")
        assert row["c"] == 0


SHAPES = """
CREATE TABLE places (id uuid PRIMARY KEY, kind text, kept text DEFAULT 'kept');
CREATE TABLE shops (rent int) INHERITS (places);
ALTER TABLE shops ADD PRIMARY KEY (id);
CREATE TABLE events (day date, place uuid NOT NULL REFERENCES places, note text,
  PRIMARY KEY (day, place)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE keys (
  code char(4), part numeric, at timestamptz, blob bytea,
  sort int UNIQUE NOT NULL, other int UNIQUE, PRIMARY KEY (code, part, at, blob));
CREATE TABLE one (id int PRIMARY KEY, first int UNIQUE, next int REFERENCES one, n int, w bigint);
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
CREATE TRIGGER stop BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION stop();
ALTER TABLE events_1 ENABLE ALWAYS TRIGGER stop;
INSERT INTO places SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'k' || n
  FROM generate_series(1, 6) n;
INSERT INTO shops SELECT ('00000000-0000-0000-0000-0000000000a' || n)::uuid, 'k', 'kept', n
  FROM generate_series(1, 3) n;
INSERT INTO events SELECT day, place, 'n' FROM
  (SELECT id AS place FROM ONLY places) p,
  (VALUES ('2019-06-01'::date), ('2021-06-01')) d(day);
INSERT INTO keys SELECT 'c' || n, n / 4.0, '2020-01-01', decode(lpad(n::text, 2, '0'), 'hex'), n, n
  FROM generate_series(1, 9) n;
INSERT INTO one SELECT n, n, n - 1, n, n FROM generate_series(1, 5) n;
UPDATE one SET next = NULL WHERE id = 1;
"""
_PLACE = "00000000-0000-0000-0000-00000000000"


def test_rows_of_all_shapes_come_back(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Inherited, partitioned, keys of odd types, values that change places, other types."""
    dsn = make_database(SHAPES.replace("n - 1, n, n FROM", "nullif(n - 1, 0), n, n FROM"))
    mapping = infer(read_catalog(dsn))
    nodes = []
    for rule in mapping.nodes:
        properties = tuple(
            replace(p, include=p.name != "kept", type=_TYPES.get((rule.label, p.name), p.type))
            for p in rule.properties
        )
        by = LabelBy("kind", (("k1", "First"), ("k9", "Ninth"))) if rule.label == "Place" else None
        nodes.append(replace(rule, properties=properties, labels_by=by))
    migrated = migrate(dsn, tmp_path, replace(mapping, nodes=tuple(nodes)))
    drop_constraints(migrated)
    key = {"c": "c3  ", "p": Decimal("0.75"), "t": datetime(2020, 1, 1), "b": b"\x03"}
    same = "{code: $c, part: $p, at: $t, blob: $b}"
    with application(migrated) as app:
        app.run(f"MATCH (p:Place {{id: '{_PLACE}1'}}) REMOVE p:First SET p:Ninth SET p.kind = 'k9'")
        app.run("MATCH (s:Shop {rent: 2}) SET s.rent = 22")
        app.run(f"MATCH (e:Event {{place: '{_PLACE}2'}}) SET e.note = 'changed'")
        app.run(
            f"MATCH (p:Place {{id: '{_PLACE}3'}})"
            f" CREATE (:Event {{day: $d, place: '{_PLACE}3', note: 'new'}})-[:HAS_PLACE]->(p)",
            d=date(2022, 2, 2),
        )
        app.run(
            f"MATCH (e:Event {{place: '{_PLACE}4'}}) WHERE e.day = $d DETACH DELETE e",
            d=date(2019, 6, 1),
        )
        app.run(f"MATCH (k:Key {same}) SET k.sort = 33", **key)
        for name in ("sort", "other"):  # each takes the number of the next; two change theirs
            app.run(
                f"MATCH (k:Key) WHERE k.{name} > 5 AND k.{name} < 33 SET k.{name} = k.{name} + 1"
            )
        app.run("MATCH (k:Key) WHERE k.other IN [1, 2] SET k.other = 3 - k.other")
        app.run(
            "CREATE (k:Key {code: $c, part: $p, at: $t, blob: $b, sort: 99})",
            c="zz  ",
            p=Decimal("1E+2"),
            t=datetime(1, 1, 1),
            b=b"",
        )
        app.run("MATCH (o:One {id: 3}) SET o.n = $n, o.w = $w", n=7.0, w=Decimal("8.0"))
        app.run("MATCH (a:One {id: 4})-[r:HAS_NEXT]->() DELETE r SET a.next = null")
    report = come_back(dsn, migrated)
    done = {t.table: (t.inserted, t.updated, t.deleted) for t in report.tables}
    assert done["public.keys"] == (1, 7, 0)
    assert done["public.events"] == (1, 2, 1)
    with application(migrated) as app:
        app.run("MATCH (o:One {id: 3}) SET o.w = $w", w=Decimal(8))  # the same, without decimals
    assert_same_as_graph(dsn, migrated, tmp_path / "again")
    assert sql(dsn, "SELECT n, w FROM one WHERE id = 3") == [(7, 8)]
    assert sql(dsn, "SELECT DISTINCT kept FROM places") == [("kept",)]
    assert sql(dsn, "SELECT count(*) FROM events WHERE note = 'changed'") == [(2,)]


_TYPES = {("One", "n"): "FLOAT", ("One", "w"): "DECIMAL"}


def test_what_is_of_no_rule_stops_it(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A node of a shared label that does not say whose it is, a relationship between others."""
    dsn = make_database(SHAPES.replace("n - 1, n, n FROM", "nullif(n - 1, 0), n, n FROM"))
    migrated = migrate(dsn, tmp_path)
    with application(migrated) as app:
        app.run("CREATE (:Place {id: 'x'})")
        app.run("MATCH (o:One {id: 1}), (e:Event) WITH o, e LIMIT 1 CREATE (o)-[:HAS_PLACE]->(e)")
    with pytest.raises(StuckError) as caught:
        come_back(dsn, migrated)
    told = "\n".join(map(str, caught.value.stuck))
    assert "Place: 1 nodes with this label do not say of which rule they are" in told
    assert "HAS_PLACE: 1 relationships of this type lead between nodes of no rule of it" in told


def test_the_steps_are_told_one_by_one(make_database: MakeDatabase, tmp_path: Path) -> None:
    """The journal has each before it is done, and after, in the order that is shown."""
    dsn = make_database(SMALL)
    migrated = migrate(dsn, tmp_path)
    told: list[tuple[str, str]] = []
    come_back(dsn, migrated, set_step=lambda name, state, detail: told.append((name, state)))
    ended = [name for name, state in told if state == "done"]
    assert sorted(ended) == sorted(step.name for step in fall_back_steps())
    assert told.index(("compare", "done")) < told.index(("commit rows", "running"))


KINDS_OF = """
CREATE TABLE buyer (id int PRIMARY KEY, "na`me" text, born date, score float8, seen timestamptz,
  big numeric);
CREATE TABLE purchase (tenant int, what text, total numeric(10,2), buyer int REFERENCES buyer,
  PRIMARY KEY (tenant, what));
CREATE TABLE likes (buyer int REFERENCES buyer, tenant int, what text, stars int,
  PRIMARY KEY (buyer, tenant, what), FOREIGN KEY (tenant, what) REFERENCES purchase);
INSERT INTO buyer SELECT n, 'é' || n, date '2000-01-01' + n, sqrt(n), '2024-03-31 01:30+01', n
  FROM generate_series(1, 20) n;
INSERT INTO purchase SELECT n % 3, 'thing ' || n, n * 1.10, n % 20 + 1
  FROM generate_series(1, 40) n;
INSERT INTO likes SELECT 1, tenant, what, 3 FROM purchase;
"""
_WRITES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("MATCH (b:Buyer {id: 3}) SET b.score = $s, b.big = $b", {"s": 0.1, "b": Decimal("1.5")}),
    ("MATCH (b:Buyer {id: 4}) SET b.born = null", {}),
    (
        "CREATE (:Buyer {id: 77, born: $d, seen: $t, score: $s})",
        {"d": date(1, 1, 2), "t": datetime(2024, 1, 1, 12, tzinfo=UTC), "s": -2.5},
    ),
    (
        "MATCH (b:Buyer {id: 77}) CREATE (:Purchase {tenant: 9, what: $w, buyer: 77, total: $p})"
        "-[:HAS_BUYER]->(b)",
        {"w": "it's", "p": Decimal("9.99")},
    ),
    (
        "MATCH (b:Buyer {id: 77}), (p:Purchase {tenant: 9}) CREATE (b)-[:`LIKE` {stars: 5}]->(p)",
        {},
    ),
    ("MATCH (b:Buyer {id: 1})-[r:`LIKE`]->(p:Purchase {tenant: 2}) DELETE r", {}),
    ("MATCH (b:Buyer {id: 1})-[r:`LIKE`]->(p:Purchase {tenant: 1}) SET r.stars = 1", {}),
    ("MATCH (p:Purchase {tenant: 2}) DETACH DELETE p", {}),
)


def test_rows_come_back_from_every_graph(make_database: MakeDatabase, targets: Targets) -> None:
    """Also from a server, whose values come over the wire."""
    dsn = make_database(KINDS_OF)
    mapping = infer(read_catalog(dsn))
    place, other = targets.place(), targets.place()
    _move(dsn, place, mapping)
    graph = targets.open(place)
    for write in _WRITES:
        graph.run_together([write], lambda answers: None)

    async def work() -> FallBackReport:
        source = await Source.connect(dsn)
        try:
            return await fall_back(source, graph, mapping, LeftOutOfGraph(), FallBackRequest())
        finally:
            await source.close()

    report = run_now(work())
    done = [(t.table, t.inserted, t.updated, t.deleted) for t in report.tables]
    assert done == [
        ("public.buyer", 1, 2, 0),
        ("public.likes", 1, 14, 13),
        ("public.purchase", 1, 0, 13),
    ]
    left = cleaned(dump_open(database(graph), (*MARKS, "_row")))
    _move(dsn, other, mapping)
    again = cleaned(dump_open(database(targets.open(other)), (*MARKS, "_row")))
    assert left == again, "\n".join(differences(left, again))


def _move(dsn: str, place: str, mapping: Mapping) -> None:
    runner = Runner(RunRequest(dsn, place, mapping))
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error


# -- as a part of a cutover ------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["slot", "outbox"])
def test_after_a_flip_and_the_way_back_synchronization_goes_on(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: str
) -> None:
    """What was written to the graph is in the source, which is written to again, and followed."""
    monkeypatch.setattr("geode_tui.migration.replication.cutover._BEAT_SECONDS", 0.3)
    moved = move(make_database(MOVED), tmp_path, capture)
    moved.rehearse()

    def application_writes(snapshot: CutoverSnapshot) -> None:
        if snapshot.state != "watching" or moved.journal.cutovers.asked(moved.number):
            return
        graph = grafeo.GrafeoDB(str(moved.graph_file))
        for statement in (
            "MATCH (c:Customer {id: 3}) SET c.name = 'renamed'",
            "CREATE (:Customer {id: 700, name: 'new'})",
            "MATCH (c:Customer {id: 700}) CREATE (:Purchase {id: 7000, customer: 700})"
            "-[:HAS_CUSTOMER]->(c)",
            "MATCH (p:Purchase {id: 5}) DETACH DELETE p",
            "MATCH (p:Purchase {id: 6})-[r:HAS_CUSTOMER]->() DELETE r",
        ):
            graph.execute(statement)
        graph.close()
        with pytest.raises(asyncpg.PostgresError):
            moved.execute("UPDATE customer SET name = 'x'")
        moved.journal.cutovers.ask(moved.number, "fall back")

    moved.cut_over(application_writes, watch_seconds=600)
    assert moved.markers() == []
    assert moved.newest.state == "fallen back"
    assert sql(moved.dsn, "SELECT name FROM customer WHERE id IN (3, 700) ORDER BY id") == [
        ("renamed",),
        ("new",),
    ]
    assert sql(moved.dsn, "SELECT customer FROM purchase WHERE id IN (6, 7000) ORDER BY id") == [
        (None,),
        (700,),
    ]
    assert moved.compared().equal
    moved.execute(
        "UPDATE customer SET name = 'again' WHERE id = 700",
        "DELETE FROM purchase WHERE id = 7000",
        "UPDATE purchase SET customer = 700 WHERE id = 6",
    )
    record = moved.journal.run(moved.number)
    runner = Runner(sync_request(record, moved.journal, once=True), journal=moved.journal.path)
    runner.start()
    runner.join()
    assert runner.error is None, runner.error
    assert moved.compared().equal
    assert moved.journal.dead_letters.of(moved.number, 100) == []
    moved.journal.close()
