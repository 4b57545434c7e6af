"""Where rules meet: small cases in which a row could be lost, doubled or led to the wrong node."""

from __future__ import annotations

from pathlib import Path

import pytest

from geode_tui.mapping.file import parse
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import migrate

# name: (schema and rows, mapping, how many rows end in the dead letters)
CASES = {
    "filtered and live row of one key": (
        """
create table c (id int primary key, code text, gone bool);
create table r (id int primary key, code text);
insert into c values (1,'x',true),(2,'x',false),(3,'y',true);
insert into r values (1,'x'),(2,'y'),(3,'z');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], where: NOT gone,
    keep_first: id}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: C, columns: [code], references: [code]}}
""",
        1,
    ),
    "citext duplicates": (
        """
create extension citext;
create table c (id int primary key, code citext);
create table r (id int primary key, code citext);
insert into c values (1,'Foo'),(2,'foo'),(3,'BAR');
insert into r values (1,'foo'),(2,'FOO'),(3,'bar');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: C, columns: [code], references: [code]}}
""",
        0,
    ),
    "zeros": (
        """
create table c (id int primary key, code float8);
create table r (id int primary key, code float8);
insert into c values (1,'-0'),(2,'0'),(3,'1');
insert into r values (1,'0'),(2,'-0'),(3,'1');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: FLOAT}, {name: id, column: id, type: INT}], keep_first: id}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: C, columns: [code], references: [code]}}
""",
        0,
    ),
    "null keys of a view": (
        """
create table c0 (id int, code text);
create view c as select * from c0;
insert into c0 values (1,null),(2,null),(3,'x'),(4,'x');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
""",
        2,
    ),
    "null keys of a partitioned table": (
        """
create table c (id int, code text) partition by list (id);
create table c1 partition of c for values in (1);
create table c2 partition of c default;
insert into c values (1,null),(2,null),(3,'x'),(1,'x');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
""",
        2,
    ),
    "orphans of a partitioned table merge": (
        """
create table c (id int primary key, code text);
create table r (k int, person text, code text) partition by list (k);
create table r1 partition of r for values in (1);
create table r2 partition of r default;
create table p (id text primary key);
insert into p values ('a');
insert into c values (1,'x'),(2,'x');
insert into r values (1,'a','gone'),(2,'a','gone2'),(1,'a','x'),(2,'a','x');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
- {label: P, table: public.p, key: [id], properties: [{name: id, column: id,
        type: STRING}]}
relationships:
- {type: OF, table: public.r, from: {node: P, columns: [person], references: [
        id]}, to: {node: C, columns: [code], references: [code]}}
""",
        2,
    ),
    "orphans of a view merge": (
        """
create table c (id int primary key, code text);
create table r0 (k int, person text, code text);
create view r as select * from r0;
create table p (id text primary key);
insert into p values ('a');
insert into c values (1,'x'),(2,'x');
insert into r0 values (1,'a','gone'),(2,'a','gone2'),(1,'a','x'),(2,'a','x');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
- {label: P, table: public.p, key: [id], properties: [{name: id, column: id,
        type: STRING}]}
relationships:
- {type: OF, table: public.r, from: {node: P, columns: [person], references: [
        id]}, to: {node: C, columns: [code], references: [code]}}
""",
        2,
    ),
    "keyless tables share a label": (
        """
create table a (x int unique, w text);
create table b (x int unique, w text);
create table r (id int primary key, a int, b int);
insert into a values (1,'a'),(2,'a'),(null,'n');
insert into b values (1,'b'),(2,'b'),(null,'n');
insert into r values (1,1,2),(2,2,1),(3,9,null);
""",
        """
version: 2
nodes:
- {label: Z, table: public.a, key: [], properties: [{name: x, column: x, type: INT},
      {name: w, column: w, type: STRING}], name: A}
- {label: Z, table: public.b, key: [], properties: [{name: x, column: x, type: INT},
      {name: w, column: w, type: STRING}], name: B}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: A, columns: [a], references: [x]}}
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: B, columns: [b], references: [x]}}
""",
        1,
    ),
    "a label by value is another rule's own": (
        """
create table p (id int primary key, kind text);
create table s (id int primary key, p int);
insert into p values (1,'staff'),(2,'x'),(3,null),(4,'');
insert into s values (1,1),(2,2),(3,9);
""",
        """
version: 2
nodes:
- {label: P, table: public.p, key: [id], properties: [{name: id, column: id,
        type: INT}], labels_by: {column: kind, labels: {staff: Staff, ? '' : Empty}}}
- {label: Staff, table: public.s, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.s, from: {node: Staff, columns: [id], references: [
        id]}, to: {node: P, columns: [p], references: [id]}}
""",
        1,
    ),
    "own extra label twice, same as own": (
        """
create table p (id int primary key, kind text);
insert into p values (1,'a'),(2,'b');
""",
        """
version: 2
nodes:
- {label: P, table: public.p, key: [id], properties: [{name: id, column: id,
        type: INT}], labels: [P2, P2], labels_by: {column: kind, labels: {a: P2,
        b: P}}}
""",
        0,
    ),
    "both ends own, other conditions": (
        """
create table p (id int primary key, k text unique not null, a bool, b bool);
insert into p values (1,'x',true,true),(2,'y',true,false),(3,'z',false,true),(4,'q',null,null);
""",
        """
version: 2
nodes:
- {label: A, table: public.p, key: [id], properties: [{name: id, column: id,
        type: INT}], where: a}
- {label: B, table: public.p, key: [id], properties: [{name: id, column: id,
        type: INT}], where: b}
relationships:
- {type: SAME, table: public.p, from: {node: A, columns: [id], references: [
        id]}, to: {node: B, columns: [id], references: [id]}}
""",
        0,
    ),
    "split of one table into two by keep_first (dimension)": (
        """
create table o (id int primary key, city text, n int);
insert into o values (1,'x',1),(2,'x',2),(3,'y',3),(4,null,4);
""",
        """
version: 2
nodes:
- {label: O, table: public.o, key: [id], properties: [{name: id, column: id,
        type: INT}]}
- {label: City, table: public.o, key: [city], properties: [{name: city, column: city,
        type: STRING}], keep_first: id, where: city IS NOT NULL}
relationships:
- {type: IN, table: public.o, from: {node: O, columns: [id], references: [id]},
    to: {node: City, columns: [city], references: [city]}}
""",
        0,
    ),
    "own keyed end of a table with a key that is not first": (
        """
create table c (id int primary key, code text, n int);
insert into c values (1,'x',1),(2,'x',2),(3,'y',2);
create table n (id int primary key);
insert into n values (1),(2);
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id DESC}
- {label: N, table: public.n, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.c, from: {node: C, columns: [code], references: [
        code]}, to: {node: N, columns: [n], references: [id]}}
""",
        0,
    ),
    "inherited rows with a condition": (
        """
create table p (id int primary key, k int);
create table ch (primary key (id)) inherits (p);
create table r (id int primary key, p int);
insert into p values (1,1),(2,2);
insert into ch values (1,1),(3,2);
insert into r values (1,1),(2,2),(3,3);
""",
        """
version: 2
nodes:
- {label: P, table: public.p, key: [id], properties: [{name: id, column: id,
        type: INT}], where: k = 1}
- {label: Ch, table: public.ch, key: [id], properties: [{name: id, column: id,
        type: INT}], labels: [P], where: k = 1}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: P, columns: [p], references: [id]}}
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: Ch, columns: [p], references: [id]}}
""",
        2,
    ),
    "materialized view and query with hostile names": (
        """
create table t ("a b" int primary key, "[/x]" text, "dou""ble" text);
insert into t values (1,'x','y'),(2,null,'z');
create materialized view "m v" as select * from t;
create table r (id int primary key, t int);
insert into r values (1,1),(2,3);
""",
        """
version: 2
queries:
- {name: q, sql: 'select "a b", "[/x]" as "[/y]", "dou""ble" from public.t'}
nodes:
- {label: M, table: public.m v, key: [a], properties: [{name: a, column: a b,
        type: INT}, {name: x, column: '[/x]', type: STRING}]}
- {label: Q, table: query.q, key: [a], properties: [{name: a, column: a b, type: INT},
      {name: x, column: '[/y]', type: STRING}, {name: z, expression: '"dou""ble"
          || ''"''', type: STRING}], where: '"[/y]" IS NULL'}
- {label: R, table: public.r, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: Q, columns: [t], references: [a b]}}
- {type: OF, table: public.r, from: {node: R, columns: [id], references: [id]},
    to: {node: M, columns: [t], references: [a b]}}
""",
        2,
    ),
    "relationship of a kept end with own key and rows": (
        """
create table c (id int, code text);
create table r (a text, b text, at date, note text);
insert into c values (1,'x'),(2,'x'),(3,'y');
insert into r values
  ('x','y','2024-01-01','1'),('x','y','2024-01-01','1'),('x','y','2024-01-02','2'),('x','y','2024-01-02','3');
""",
        """
version: 2
nodes:
- {label: C, table: public.c, key: [code], properties: [{name: code, column: code,
        type: STRING}, {name: id, column: id, type: INT}], keep_first: id}
relationships:
- {type: OF, table: public.r, from: {node: C, columns: [a], references: [code]},
    to: {node: C, columns: [b], references: [code]}, key: [_row], properties: [
      {name: note, column: note, type: STRING}]}
- {type: 'ON', table: public.r, from: {node: C, columns: [a], references: [
        code]}, to: {node: C, columns: [b], references: [code]}, key: [at],
    properties: [{name: at, column: at, type: DATE}]}
""",
        0,
    ),
    "foreign table": (
        """
create extension file_fdw;
create server s foreign data wrapper file_fdw;
create foreign table f (id int, w text) server s options (program 'printf ''1,a
1,a
2,
''', format 'csv');
create table n (id int primary key);
insert into n values (1);
""",
        """
version: 2
nodes:
- {label: F, table: public.f, key: [], properties: [{name: id, column: id, type: INT},
      {name: w, column: w, type: STRING}]}
- {label: N, table: public.n, key: [id], properties: [{name: id, column: id,
        type: INT}]}
relationships:
- {type: OF, table: public.f, from: {node: F, columns: [], references: []},
    to: {node: N, columns: [id], references: [id]}}
""",
        1,
    ),
    "key by a join expression and a where that is null": (
        """
create table a (id int primary key, b int, x int);
create table b (id int primary key, n text);
insert into b values (1,'u');
insert into a values (1,1,1),(2,null,null),(3,7,0);
""",
        """
version: 2
nodes:
- {label: A, table: public.a, key: [id], where: x > 0 OR x IS NULL, joins: [
      {name: b, table: public.b, columns: [b], references: [id]}], properties: [
      {name: id, column: id, type: INT}, {name: n, column: n, join: b, type: STRING},
      {name: m, expression: 'coalesce(n, ''none'')', join: b, type: STRING}]}
""",
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_go_where_they_belong(name: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    """The ledger balances, the graph is what the rules say, and what is left out is told."""
    schema, mapping, dead = CASES[name]
    dsn = make_database(schema)
    migrated = migrate(dsn, tmp_path, parse(mapping).mapping)
    ledger = migrated.runner.ledger
    assert ledger is not None
    assert {e.id: e.verdict for e in ledger.entries if not e.balanced} == {}
    found = run_now(compare(dsn, migrated.graph_file, None, migrated.mapping_file))
    assert found.equal, found.verdict
    assert len(migrated.dead_letters()) == dead
