"""The database whose graph `benchmarks.damage` damages: every type, every kind of relationship."""

from __future__ import annotations

from dataclasses import replace

from geode_tui.catalog import Catalog
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import LabelBy, Mapping, NodeRule

SQL = """
CREATE TABLE town (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO town
SELECT 't-' || i, CASE i % 3 WHEN 0 THEN 'Zürich ' ELSE 'Old Town ' END || i
FROM generate_series(1, 24) i;

CREATE TABLE users (id bigint PRIMARY KEY, email text UNIQUE, name text, note text, active boolean,
  score float8, balance numeric(14, 4), born date, seen timestamptz, wakes time,
  boss bigint REFERENCES users, town text REFERENCES town);
INSERT INTO users
SELECT i, 'user' || i || '@example.org', 'Renée ' || i,
  CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'note ' || i END, i % 3 = 0,
  sqrt(i), i * 1.2500, date '1980-01-01' + i * 37,
  timestamptz '2024-03-31 00:59:59.5+01' + i * interval '7 hours', time '06:30' + i * interval '1 s'
FROM generate_series(1, 120) i;
UPDATE users SET boss = id / 3 + 1 WHERE id % 5 <> 0;
UPDATE users SET town = 't-' || (id % 24 + 1) WHERE id % 7 <> 0;

CREATE TABLE product (sku uuid PRIMARY KEY, title text NOT NULL, price numeric, weight float4,
  tags text[], sizes int[], attributes jsonb, picture bytea);
INSERT INTO product
SELECT md5(i::text)::uuid, 'Product ' || i, i * 0.10, i / 8.0,
  ARRAY['red', NULL, 'é' || i], ARRAY[i, NULL, i * 2, 7],
  jsonb_build_object('colour', 'blue', 'size', i, 'on', i % 2 = 0), decode(md5(i::text), 'hex')
FROM generate_series(1, 40) i;

CREATE TABLE orders (id int PRIMARY KEY, customer bigint NOT NULL REFERENCES users,
  placed timestamptz NOT NULL, total numeric(12, 2), state text);
INSERT INTO orders
SELECT i, i * 7 % 120 + 1, timestamptz '2024-06-01 12:00+02' + i * interval '1 hour', i * 9.90,
  CASE i % 3 WHEN 0 THEN 'paid' WHEN 1 THEN 'open' END
FROM generate_series(1, 40) i;

CREATE TABLE order_line (order_id int REFERENCES orders, no int, product uuid NOT NULL
  REFERENCES product, amount int NOT NULL, what text, PRIMARY KEY (order_id, no));
INSERT INTO order_line
SELECT i % 40 + 1, i / 40, md5((i % 40 + 1)::text)::uuid, i % 9 + 1, i::text
FROM generate_series(0, 59) i;

CREATE TABLE likes (person bigint REFERENCES users, product uuid REFERENCES product, stars int,
  said text, at timestamptz, PRIMARY KEY (person, product));
INSERT INTO likes
SELECT i, md5((i * 3 % 40 + 1)::text)::uuid, i % 5 + 1, 'said ' || i,
  timestamptz '2024-10-27 02:30+02' + i * interval '1 hour'
FROM generate_series(1, 100) i;

CREATE TABLE team (name text PRIMARY KEY, motto text);
INSERT INTO team SELECT 'team ' || i, 'we are ' || i FROM generate_series(1, 8) i;
CREATE TABLE member (team text REFERENCES team, person bigint REFERENCES users,
  PRIMARY KEY (team, person));
INSERT INTO member SELECT 'team ' || (i % 8 + 1), i * 2 FROM generate_series(1, 40) i;

CREATE TABLE visit (person bigint NOT NULL REFERENCES users, town text NOT NULL REFERENCES town,
  day date);
INSERT INTO visit SELECT i, 't-' || (i % 24 + 1), date '2024-02-28' + i
FROM generate_series(1, 30) i;

CREATE TABLE staff (id int PRIMARY KEY, kind text NOT NULL, name text);
INSERT INTO staff
SELECT i, CASE i % 3 WHEN 0 THEN 'manager' WHEN 1 THEN 'clerk' ELSE 'guest' END, 'Staff ' || i
FROM generate_series(1, 24) i;

CREATE TABLE category (id int PRIMARY KEY, name text, parent int REFERENCES category);
INSERT INTO category SELECT i, 'Category ' || i, nullif(i / 2, 0) FROM generate_series(1, 14) i;

CREATE TABLE log (word text, at timestamptz, level int);
INSERT INTO log SELECT 'word ' || i / 2 * 2, timestamptz '2024-01-01' + i / 2 * interval '1 min', 3
FROM generate_series(1, 25) i;

CREATE TABLE everything (id int PRIMARY KEY, small smallint, big bigint, amount numeric,
  single float4, double float8, yes boolean, words text, code varchar(20), fixed char(6),
  raw bytea, day date, clock time, zoned_clock timetz, local timestamp, instant timestamptz,
  lasted interval, data jsonb, document json, ident uuid, texts text[], numbers bigint[],
  amounts numeric[], days date[], flags boolean[], nested int[], address inet, span int4range);
INSERT INTO everything
SELECT i, i, 9007199254740993 + i, (i || '.500')::numeric, i / 3.0,
  CASE i % 6 WHEN 0 THEN 'Infinity' WHEN 1 THEN '-0' WHEN 2 THEN 5e-324 ELSE i / 7.0 END,
  i % 2 = 0, normalize('Ångström ' || i, NFC), (i * 5)::text, 'f' || i, decode('00ff', 'hex'),
  date '2024-02-29' + i, time '23:59:59.999999', timetz '12:00+05:30', timestamp '2024-02-29' ,
  timestamptz '2024-10-27 01:30+00' + i * interval '1 us',
  make_interval(months => i - 10, days => -i, secs => i * 1.5),
  jsonb_build_object('b', i, 'a', jsonb_build_array(1, NULL, 'x')), '{"z": 1,  "a": 2}',
  md5('e' || i)::uuid, ARRAY['b', NULL, '', 'a' || i], ARRAY[i, NULL, -i],
  ARRAY[1.50, NULL, i], ARRAY[date '2024-01-01', NULL, date '2024-01-01' + i],
  ARRAY[true, NULL, false], ARRAY[[1, NULL], [i, 4]], '10.0.0.1', int4range(1, i + 2)
FROM generate_series(1, 30) i;
INSERT INTO everything (id) VALUES (100);
ANALYZE;
"""


def mapping_of(catalog: Catalog) -> Mapping:
    """The mapping inferred; but staff have a label by what kind they are.

    And orders and categories share a label, and some of their keys are the same.
    """
    mapping = infer(catalog)
    return replace(mapping, nodes=tuple(_changed(rule) for rule in mapping.nodes))


def _changed(rule: NodeRule) -> NodeRule:
    if rule.table.name == "staff":
        labels = LabelBy("kind", (("manager", "Manager"), ("clerk", "Clerk")))
        return replace(rule, labels_by=labels)
    if rule.table.name in ("orders", "category"):
        return replace(rule, name=rule.label, label="Record")
    return rule
