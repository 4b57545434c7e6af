-- A database of everything that PostgreSQL allows and nobody wishes for.
--
-- Blocks begin with `-- == name` and are run in this order, each by itself. `(since 18)` wants that
-- major version, `(extension citext)` that extension, `(may lack)` a server built with the feature.
-- `-- dead: table | key | property` is a row that no graph can hold, and the property to blame;
-- `-- orphan: table | key` a row that points at nothing, or at a row that no graph can hold.

-- == names of schema, tables, columns, constraints and types
CREATE SCHEMA "[/foo]";
CREATE TYPE "[/foo]"."[bold] ""mood"" 😀" AS ENUM ('[/foo]', 'sad "quoted"', '😀 back`tick', '', 'it''s', 'null');
CREATE TABLE "[/foo]"."[/foo]" (
  "[/foo]" int CONSTRAINT "[/foo] key" PRIMARY KEY,
  "a b" text, a_b text, "A-B" text, "AB" text, "aB" text,
  "select" int, "order" int, "match" int, "from" int, "return" int, "null" int, "true" bool,
  "double""quote" text, "back`tick" text, "dot.ted" text, "comma, and space" text, " " text,
  "😀" text, "日本語" text, "é" text, "$1" text, "%s" text, "{}" text, "--" text, "/* */" text,
  "'; DROP TABLE x; --" text, "\" text, "1st" int, "_run" text, "_id" int, "_fp" int, "_row" text,
  t int, v0 int, fp int, reject text, k0 text, u int, e int, a int, b int, n int, r int, row_ int,
  aaaaaaaaabbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg text,
  "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀xyz" text,
  "[type]" "[/foo]"."[bold] ""mood"" 😀",
  "[types]" "[/foo]"."[bold] ""mood"" 😀"[]
);
INSERT INTO "[/foo]"."[/foo]" ("[/foo]", "a b", a_b, "A-B", "AB", "aB", "select", "dot.ted", "_run",
  "_id", "_fp", v0, fp, reject, k0, "😀", "[type]", "[types]")
VALUES
  (1, 'a b', 'a_b', 'A-B', 'AB', 'aB', 1, '[/foo]', 'run', 7, 8, 9, 10, 'reject', 'k0', '[red]', '[/foo]', '{}'),
  (2, '', '', '', '', '', 2, '', '', 0, 0, 0, 0, '', '', '', '', ARRAY['', NULL, 'null', '[/foo]']::"[/foo]"."[bold] ""mood"" 😀"[]),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'null', NULL);
CREATE TABLE "[/foo]"."a b" ("a b" int PRIMARY KEY, a_b int REFERENCES "[/foo]"."a b",
  "A-B" int CONSTRAINT "[/foo] ""fk""" REFERENCES "[/foo]"."a b");
CREATE TABLE "[/foo]".a_b ("a b" int PRIMARY KEY REFERENCES "[/foo]"."a b");
CREATE TABLE "[/foo]"."A-B" ("a.b" text PRIMARY KEY, "a""b" int REFERENCES "[/foo]"."[/foo]");
CREATE TABLE public.a_b ("a b" int REFERENCES "[/foo]"."a b", "a_b" int REFERENCES "[/foo]"."a b",
  "A-B" text REFERENCES "[/foo]"."A-B", id int PRIMARY KEY);
INSERT INTO "[/foo]"."a b" VALUES (1, 1, NULL), (2, 1, 1), (3, NULL, 2);
INSERT INTO "[/foo]".a_b VALUES (1), (3);
INSERT INTO "[/foo]"."A-B" VALUES ('[/foo]', 1), ('a "b", c=d', 2), ('', NULL), ('null', 3), ('😀', 1);
INSERT INTO public.a_b VALUES (1, 2, '', 1), (1, 1, '[/foo]', 2), (NULL, 3, 'a "b", c=d', 3), (2, 2, NULL, 4);
CREATE TABLE "order" ("select" int PRIMARY KEY, "order" int, "from" text, "where" text);
CREATE TABLE "match" ("match" int PRIMARY KEY, "order" int REFERENCES "order", "from" int REFERENCES "order");
CREATE TABLE "select" ("order" int REFERENCES "order", "match" int REFERENCES "match", "return" date, PRIMARY KEY ("order", "match"));
CREATE TABLE "from" (node int PRIMARY KEY, edge text, label text, type text, labels text, count int);
INSERT INTO "order" VALUES (1, 1, 'from', 'where'), (2, NULL, NULL, NULL);
INSERT INTO "match" VALUES (1, 1, 2), (2, NULL, 1);
INSERT INTO "select" VALUES (1, 1, '2024-02-29'), (1, 2, NULL), (2, 2, '0001-01-01');
INSERT INTO "from" VALUES (1, 'edge', 'label', 'type', '{labels}', 1);
-- Words that GQL reserves.
CREATE TABLE groups ("group" int PRIMARY KEY, "offset" int, "union" int, "for" int REFERENCES groups, "remove" text, "except" text, "cast" text);
CREATE TABLE trail ("walk" int REFERENCES groups, "simple" int PRIMARY KEY, "groups" int REFERENCES groups);
INSERT INTO groups VALUES (1, 1, 1, NULL, 'x', 'y', 'z');
INSERT INTO trail VALUES (1, 1, 1);
CREATE TABLE "😀" ("🐘" int PRIMARY KEY, "🦣" int REFERENCES "😀", "🐁" int REFERENCES "😀");
CREATE TABLE "😀😀" ("🐘" int PRIMARY KEY REFERENCES "😀");
INSERT INTO "😀" VALUES (1, NULL, 1), (2, 1, 1);
INSERT INTO "😀😀" VALUES (2);
CREATE TABLE "123 ""x"".y.[/z] `tick` 😀😀😀😀😀😀😀😀😀😀" (id int PRIMARY KEY, "123" int);
INSERT INTO "123 ""x"".y.[/z] `tick` 😀😀😀😀😀😀😀😀😀😀" VALUES (1, 123);
CREATE TABLE aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg (
  id int PRIMARY KEY,
  aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff_id int
    REFERENCES aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg,
  aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff__id int
    REFERENCES aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg);
INSERT INTO aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg VALUES (1, 1, NULL), (2, 1, 2);

-- == every built-in type
CREATE TABLE built_in (
  id int PRIMARY KEY,
  "bool" bool, "int2" int2, "int4" int4, "int8" int8, "numeric" numeric, numeric_scaled numeric(12, 4),
  numeric_negative numeric(5, -2), "float4" float4, "float8" float8, "money" money,
  "text" text, "varchar" varchar, varchar_10 varchar(10), "bpchar" bpchar, char_5 char(5), "char" "char",
  "name" name, "bytea" bytea, "date" date, "time" time, time_0 time(0), "timetz" timetz,
  "timestamp" timestamp, timestamp_3 timestamp(3), "timestamptz" timestamptz,
  "interval" interval, interval_month interval year to month,
  "uuid" uuid, "json" json, "jsonb" jsonb, "jsonpath" jsonpath,
  "inet" inet, "cidr" cidr, "macaddr" macaddr, "macaddr8" macaddr8,
  "bit" bit, bit_5 bit(5), "varbit" varbit, varbit_8 varbit(8),
  "point" point, "line" line, "lseg" lseg, "box" box, "path" path, "polygon" polygon, "circle" circle,
  "tsvector" tsvector, "tsquery" tsquery,
  "int4range" int4range, "int8range" int8range, "numrange" numrange, "tsrange" tsrange,
  "tstzrange" tstzrange, "daterange" daterange,
  "oid" oid, "regclass" regclass, "regcollation" regcollation, "regconfig" regconfig,
  "regdictionary" regdictionary, "regnamespace" regnamespace, "regoper" regoper,
  "regoperator" regoperator, "regproc" regproc, "regprocedure" regprocedure, "regrole" regrole,
  "regtype" regtype, "xid" xid, "xid8" xid8, "cid" cid, "tid" tid, "pg_lsn" pg_lsn,
  "txid_snapshot" txid_snapshot, "pg_snapshot" pg_snapshot, "refcursor" refcursor,
  "aclitem" aclitem
);
INSERT INTO built_in VALUES
  (1, true, -32768, -2147483648, -9223372036854775808, 123.4500, 12345678.1234, 12300, 1.1, 0.1, 1234567.89,
   'text', 'varchar', 'ten chars', 'bp  ', 'c', 'x', 'name', '\x00ff', '2024-02-29', '23:59:59.999999', '12:34:56', '12:34:56.789+05:30',
   '2024-02-29 12:34:56.789012', '1969-12-31 23:59:59.999', '2024-02-29 12:34:56.789012+14', '1 year 2 mons 3 days 04:05:06.7', '14 mons',
   '00000000-0000-0000-0000-000000000000', '{"b": 1, "a":  2, "b": 3}', '{"n": 123456789012345678901234567890.12345, "e": 1e400, "u": "\u20ac"}', '$.a[*] ? (@ > 1)',
   '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'1', B'10101', B'', B'1010',
   '(1.1,2.2)', '{1,2,3}', '[(1,2),(3,4)]', '(3,4),(1,2)', '[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '<(1,2),3>',
   'a fat cat:3 ''it''''s''', 'fat & (rat | !cat)',
   '[1,5)', 'empty', '(,1.5]', '[2024-01-01,)', '(,)', '[2024-01-01,2024-02-01)',
   4294967295, 'pg_class', '"C"', 'simple', 'simple', 'pg_catalog', 'pg_catalog.||/', '+(integer,integer)', 'now', 'abs(numeric)', 'postgres',
   'integer', '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF',
   '1:1:', '10:20:10,14,15', 'cursor', 'postgres=r/postgres');
INSERT INTO built_in VALUES (2);
INSERT INTO built_in (id, "bool", "int2", "int4", "int8", "numeric", "float4", "float8", "money", "text", "varchar", "bpchar", char_5,
  "char", "name", "bytea", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "inet", "varbit",
  "path", "tsvector", "tsquery", "tsrange", "oid", "regclass", "regtype", "tid")
VALUES
  (3, false, 32767, 2147483647, 9223372036854775807, 99999999999999999999999999999999999999, '-0', '-0', -0.01, '', '', '', '',
   '', '', '', '0001-01-01', '00:00', '00:00:00-15:59', '0001-01-01', '0001-01-01 00:00:00+00', '-1 mons +2 days -03:04:05.000001', '""', 'null', '::1/128', '',
   '((0,0))', '', '', '[-infinity,infinity]', 0, '0', '0', '(0,0)'),
  (4, NULL, 0, 0, 0, -0.00000000000000000000000000000000000001, 'NaN', 'NaN', 0, E'\x01\x02\x1f\x7f\r\n\t\\ "''`{}[]', E'\u2028\u202e\ufeff\ufffe', '   ', '     ',
   E'\\200', E'\t', '\x27275c5c', '9999-12-31', '23:59:59', '24:00:00+15:59', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '178000000 years', '[]', '{}', '0.0.0.0/0', B'0',
   '[(1e300,-1e-300)]', '''\\'':1A', '!a', '(,)', 1, NULL, NULL, NULL),
  (5, NULL, NULL, NULL, NULL, 1e37, 'Infinity', '-Infinity', NULL, repeat('x', 1048576), repeat('😀', 4000), NULL, NULL,
   NULL, NULL, decode(repeat('00ff', 300000), 'hex'), '2000-01-01', NULL, NULL, '2000-01-01', '1900-01-01 00:00+00:19:32', '00:00', '1e400', '1e400', NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, NULL, NULL, NULL, NULL, 0.000, '1e-45', '5e-324', NULL, '-', 'null', NULL, NULL,
   NULL, NULL, NULL, NULL, '12:00:00.000001', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, NULL, NULL, NULL, NULL, 1.10, '3.4028235e38', '1.7976931348623157e308', NULL, E'a\u0301', E'\u00e1', NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO built_in (id, "numeric") VALUES
  (11, 'NaN'), (12, 'Infinity'), (13, '-Infinity'),
  (14, 100000000000000000000000000000000000000), (15, -100000000000000000000000000000000000000),
  (16, 1.00000000000000000000000000000000000001), (17, 0.000000000000000000000000000000000000001), (18, 1e1000);
INSERT INTO built_in (id, "date") VALUES (21, 'infinity'), (22, '-infinity'), (23, '0044-03-15 BC'), (24, '10000-01-01');
INSERT INTO built_in (id, "timestamp") VALUES (31, 'infinity'), (32, '-infinity'), (33, '0001-12-31 23:59:59 BC'), (34, '10000-01-01');
INSERT INTO built_in (id, "timestamptz") VALUES (41, 'infinity'), (42, '-infinity'), (43, '0044-03-15 00:00 BC'), (44, '10000-01-01 00:00+00'), (45, '0001-01-01 00:00+14');
INSERT INTO built_in (id, "time", "date") VALUES (51, '24:00', 'infinity'), (52, '24:00', NULL);
-- dead: built_in | id=11 | numeric
-- dead: built_in | id=12 | numeric
-- dead: built_in | id=13 | numeric
-- dead: built_in | id=14 | numeric
-- dead: built_in | id=15 | numeric
-- dead: built_in | id=16 | numeric
-- dead: built_in | id=17 | numeric
-- dead: built_in | id=18 | numeric
-- dead: built_in | id=21 | date
-- dead: built_in | id=22 | date
-- dead: built_in | id=23 | date
-- dead: built_in | id=24 | date
-- dead: built_in | id=31 | timestamp
-- dead: built_in | id=32 | timestamp
-- dead: built_in | id=33 | timestamp
-- dead: built_in | id=34 | timestamp
-- dead: built_in | id=41 | timestamptz
-- dead: built_in | id=42 | timestamptz
-- dead: built_in | id=43 | timestamptz
-- dead: built_in | id=44 | timestamptz
-- dead: built_in | id=45 | timestamptz
-- dead: built_in | id=51 | date
-- dead: built_in | id=52 | time

-- == arrays of every built-in type, with nulls, empty, and of two dimensions
DO $$
DECLARE columns text;
BEGIN
  SELECT string_agg(format('CASE id WHEN 1 THEN ARRAY[%1$I, NULL, %1$I] WHEN 2 THEN (ARRAY[%1$I])[2:1]'
                           ' WHEN 3 THEN ARRAY[[%1$I, NULL], [NULL, %1$I]] WHEN 4 THEN ARRAY[%1$I] END AS %1$I', attname), ', ')
  INTO columns FROM pg_attribute WHERE attrelid = 'built_in'::regclass AND attnum > 1;
  EXECUTE 'CREATE TABLE arrays AS SELECT id, ' || columns || ' FROM built_in WHERE id < 8';
END $$;
ALTER TABLE arrays ADD PRIMARY KEY (id);

-- == arrays by themselves
CREATE TABLE odd_array (id int PRIMARY KEY, floats float8[], reals float4[], ints int[], texts text[], numbers numeric[],
  days date[], moments timestamptz[], times time[], chars char(3)[], blobs bytea[], bools bool[]);
INSERT INTO odd_array VALUES
  (1, '{1.1,1e300,-0,NaN,Infinity,5e-324}', '{1.1,1e-45,3.4028235e38,-0}', '{1,NULL,3}', '{"",NULL,"NULL","a,b","{}","\""}', '{1.10,0.0,1e30}',
   '{0001-01-01,NULL,9999-12-31}', '{2024-01-01 00:00:00+14}', '{00:00,23:59:59.999999}', '{a,"b  ",NULL}', '{"\\x","\\x00"}', '{t,f,NULL}'),
  (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  (3, '{{1,2},{3,4}}', '{{0.1},{0.2}}', '{{{1,2}},{{NULL,4}}}', '{{a,b},{c,NULL}}', '{{1.0},{2.50}}', '{{2024-01-01}}', NULL, NULL, '{{a},{b}}', NULL, NULL),
  (4, '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}');
INSERT INTO odd_array (id, ints) VALUES (11, '[0:2]={1,2,3}'), (12, '[1:2][0:1]={{1,2},{3,4}}'), (13, '[-3:-3]={1}');
INSERT INTO odd_array (id, numbers) VALUES (14, '{1,NaN}'), (15, '{{1e38,1},{1,1}}');
INSERT INTO odd_array (id, days) VALUES (16, '{2024-01-01,infinity}');
INSERT INTO odd_array (id, times) VALUES (17, '{24:00}');
INSERT INTO odd_array (id, texts, moments) VALUES (18, '[2:3]={a,b}', '{-infinity}');
-- dead: odd_array | id=11 | ints
-- dead: odd_array | id=12 | ints
-- dead: odd_array | id=13 | ints
-- dead: odd_array | id=14 | numbers
-- dead: odd_array | id=15 | numbers
-- dead: odd_array | id=16 | days
-- dead: odd_array | id=17 | times
-- dead: odd_array | id=18 | texts

-- == vectors and what else the system's own tables hold
CREATE TABLE internal (id int PRIMARY KEY, numbers int2vector, oids oidvector, tree pg_node_tree, vectors int2vector[]);
INSERT INTO internal VALUES (1, '1 2 3', '4294967295 0', (SELECT adbin FROM pg_attrdef LIMIT 1), ARRAY['1 2'::int2vector]),
  (2, '', '', NULL, '{}');
INSERT INTO internal VALUES (3);

-- == own types: enum, domain over domain, composite, range
CREATE TYPE colour AS ENUM ('red', 'Red', 'RED', 'infra red');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN percent AS positive CHECK (VALUE <= 100);
CREATE DOMAIN day AS date;
CREATE DOMAIN workday AS day NOT NULL;
CREATE DOMAIN tag AS varchar(5)[];
CREATE DOMAIN colours AS colour[];
CREATE DOMAIN amount AS numeric(40, 2);
CREATE TYPE inner_part AS (x int, "y ""quoted""" text);
CREATE TYPE whole AS (part inner_part, parts inner_part[], hue colour, at timestamptz);
CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TABLE own_type (id percent PRIMARY KEY, hue colour, hues colour[], off day, work workday, tags tag, domain_hues colours,
  amounts amount[], amount amount, part inner_part, parts inner_part[], whole whole, span float_range, spans float_range[], percents percent[]);
INSERT INTO own_type VALUES
  (1, 'Red', '{red,RED,NULL,"infra red"}', '2024-01-01', '2024-01-02', '{a,b}', '{red}', '{1.50,NULL}', 1.5, '(1,"a ""b"" c")',
   ARRAY['(1,)'::inner_part, NULL], ROW(ROW(1, 'x'), ARRAY[ROW(2, NULL)::inner_part], 'RED', '2024-01-01 00:00+02'), '[1.1,1e300)', ARRAY['empty'::float_range], '{1,100}'),
  (2, NULL, NULL, NULL, '0001-01-01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (100, 'infra red', '{}', NULL, '9999-12-31', '{}', '{}', '{}', NULL, '(,)', '{}', ROW(NULL, NULL, NULL, NULL), 'empty', '{}', '{}');
INSERT INTO own_type (id, off, work) VALUES (3, 'infinity', '2024-01-01'), (4, NULL, '-infinity');
INSERT INTO own_type (id, work, amount) VALUES (5, '2024-01-01', 12345678901234567890123456789012345678.12);
INSERT INTO own_type (id, work, amounts) VALUES (6, '2024-01-01', '{12345678901234567890123456789012345678.12}');
-- dead: own_type | id=3 | off
-- dead: own_type | id=4 | work
-- dead: own_type | id=5 | amount
-- dead: own_type | id=6 | amounts

-- == keys of every type, referenced, and joined with the instant as a part of the key
CREATE DOMAIN code AS text;
CREATE DOMAIN short_code AS code CHECK (length(VALUE) < 9);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE key_ref (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
DO $$
DECLARE
  kind record;
  name text;
BEGIN
  FOR kind IN
    SELECT * FROM (VALUES
      ('text', 'text', ARRAY['', ' ', 'a', 'B', 'á', '😀', 'a "b", c=d', E'tab\t', 'null']),
      ('text_c', 'text COLLATE "C"', ARRAY['a', 'B', 'á', 'Z']),
      ('varchar', 'varchar(10)', ARRAY['a', 'a ', 'B']),
      ('bpchar', 'char(5)', ARRAY['', 'a', 'B', 'ab cd']),
      ('name', 'name', ARRAY['a', 'B']),
      ('char', '"char"', ARRAY['a', 'B', '']),
      ('uuid', 'uuid', ARRAY['ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000001']),
      ('bool', 'bool', ARRAY['t', 'f']),
      ('int2', 'int2', ARRAY['-32768', '32767']),
      ('int8', 'int8', ARRAY['-9223372036854775808', '9223372036854775807', '0']),
      ('oid', 'oid', ARRAY['4294967295', '0']),
      ('numeric', 'numeric', ARRAY['1.10', '0', '-99999999999999999999999999999999999999', '1e-38']),
      ('numeric_2', 'numeric(10, 2)', ARRAY['1.10', '0', '-1']),
      ('float4', 'float4', ARRAY['1.1', '-0', '1e-45', 'Infinity']),
      ('float8', 'float8', ARRAY['0.1', '-0', '5e-324', '1.7976931348623157e308', '-Infinity']),
      ('date', 'date', ARRAY['0001-01-01', '9999-12-31', '2024-02-29']),
      ('time', 'time', ARRAY['00:00', '23:59:59.999999']),
      ('timetz', 'timetz', ARRAY['12:00+00', '14:00+02', '24:00+00']),
      ('timestamp', 'timestamp', ARRAY['0001-01-01', '2024-02-29 12:34:56.789012']),
      ('timestamptz', 'timestamptz', ARRAY['2024-02-29 12:34:56.789012+14', '1900-01-01 00:00+00:19:32']),
      ('interval', 'interval', ARRAY['1 mon', '1 day', '-1 year 00:00:00.000001']),
      ('bytea', 'bytea', ARRAY['\x', '\x00', '\xff00']),
      ('enum', 'colour', ARRAY['red', 'RED', 'infra red', 'Red']),
      ('bit', 'bit(3)', ARRAY['101', '000']),
      ('varbit', 'varbit', ARRAY['', '0', '00', '101']),
      ('inet', 'inet', ARRAY['10.0.0.1', '10.0.0.1/8', '::1']),
      ('macaddr', 'macaddr', ARRAY['08:00:2b:01:02:03']),
      ('money', 'money', ARRAY['1234567.89', '-0.01']),
      ('jsonb', 'jsonb', ARRAY['1', '"a"', '{"a": [1, 2]}', 'null']),
      ('tsvector', 'tsvector', ARRAY['a', 'b:1']),
      ('range', 'int4range', ARRAY['empty', '[1,5)', '(,)']),
      ('array', 'int[]', ARRAY['{1,2}', '{}', '{{1},{2}}', '{1,NULL}']),
      ('text_array', 'text[]', ARRAY['{a,"b,c"}', '{}', '{NULL,""}']),
      ('domain', 'short_code', ARRAY['a', 'B', '']),
      ('composite', 'pair', ARRAY['(1,a)', '(2,"x,y")', '(,)'])
    ) AS kinds (name, type, keys)
  LOOP
    name := 'key_' || kind.name;
    EXECUTE format('CREATE TABLE %I (key %s PRIMARY KEY, note text)', name, kind.type);
    EXECUTE format('INSERT INTO %I SELECT key::%s, key FROM unnest($1) key', name, split_part(kind.type, ' COLLATE', 1)) USING kind.keys;
    EXECUTE format('ALTER TABLE key_ref ADD %I %s REFERENCES %I', kind.name, kind.type, name);
    EXECUTE format('INSERT INTO key_ref (%I) SELECT key FROM %2$I UNION ALL SELECT key FROM %2$I', kind.name, name);
    CONTINUE WHEN kind.name !~ '^(text|bpchar|uuid|numeric|float8|timestamptz|interval|bytea|enum|varbit|array|domain|composite)$';
    EXECUTE format('CREATE TABLE %I (first %2$s REFERENCES %3$I, second %2$s REFERENCES %3$I, at timestamptz, note text,'
                   ' PRIMARY KEY (first, second, at))', name || '_join', kind.type, name);
    EXECUTE format('INSERT INTO %1$I SELECT a.key, b.key, at, a.note FROM %2$I a, %2$I b,'
                   ' (VALUES (timestamptz ''2024-01-01 00:00+02''), (''2024-06-01 12:00:00.000001+00'')) t (at)', name || '_join', name);
  END LOOP;
END $$;

-- == keys that a graph cannot hold
CREATE TABLE nan_key (key float8 PRIMARY KEY, note text);
CREATE TABLE nan_ref (id int PRIMARY KEY, key float8 REFERENCES nan_key);
CREATE TABLE nan_join (a float8 REFERENCES nan_key, b float8 REFERENCES nan_key, x float8, PRIMARY KEY (a, b, x));
INSERT INTO nan_key VALUES ('NaN', 'nan'), (1, 'one'), ('Infinity', 'infinity');
INSERT INTO nan_ref VALUES (1, 1), (2, 'NaN'), (3, NULL), (4, 'Infinity');
INSERT INTO nan_join VALUES (1, 1, 1), (1, 'NaN', 2), (1, 'Infinity', 'NaN'), ('Infinity', 1, '-0');
CREATE TABLE day_key (key date PRIMARY KEY);
CREATE TABLE day_ref (id int PRIMARY KEY, key date REFERENCES day_key);
INSERT INTO day_key VALUES ('infinity'), ('2024-01-01');
INSERT INTO day_ref VALUES (1, 'infinity'), (2, '2024-01-01');
CREATE TABLE number_key (key numeric PRIMARY KEY, at timestamptz);
CREATE TABLE number_ref (id int PRIMARY KEY, key numeric REFERENCES number_key);
INSERT INTO number_key VALUES ('NaN', NULL), (1e40, NULL), (5, 'infinity'), (6, NULL);
INSERT INTO number_ref VALUES (1, 'NaN'), (2, 1e40), (3, 5.0), (4, 6.000);
CREATE TABLE clock_join (a percent REFERENCES own_type, b percent REFERENCES own_type, at time, PRIMARY KEY (a, b, at));
INSERT INTO clock_join VALUES (1, 2, '24:00'), (1, 2, '00:00'), (1, 3, '00:00');
-- dead: nan_key | key=NaN | key
-- dead: nan_ref | id=2 | key
-- dead: nan_join | a=1, b=NaN, x=2 | key
-- dead: nan_join | a=1, b=Infinity, x=NaN | x
-- dead: day_key | key=infinity | key
-- dead: day_ref | id=1 | key
-- dead: number_key | key=NaN | key
-- dead: number_key | key=10000000000000000000000000000000000000000 | key
-- dead: number_key | key=5 | at
-- dead: number_ref | id=1 | key
-- dead: number_ref | id=2 | key
-- orphan: number_ref | id=3
-- dead: clock_join | a=1, b=2, at=24:00:00 | at
-- orphan: clock_join | a=1, b=3, at=00:00:00

-- == references whose text differs from their key's
CREATE TABLE spell_interval (key interval(2) PRIMARY KEY);
CREATE TABLE spell_interval_ref (id int PRIMARY KEY, key interval(2) REFERENCES spell_interval);
INSERT INTO spell_interval VALUES ('1 mon'), ('1 day'), ('00:00:00.12');
INSERT INTO spell_interval_ref VALUES (1, '30 days'), (2, '24:00'), (3, '00:00:00.12');
CREATE TABLE spell_numeric (key numeric PRIMARY KEY);
CREATE TABLE spell_numeric_ref (id int PRIMARY KEY, key numeric REFERENCES spell_numeric);
INSERT INTO spell_numeric VALUES (1.10), (0);
INSERT INTO spell_numeric_ref VALUES (1, 1.1), (2, 1.100), (3, '-0.00');
CREATE TABLE spell_float (key float8 PRIMARY KEY);
CREATE TABLE spell_float_ref (id int PRIMARY KEY, key float8 REFERENCES spell_float);
INSERT INTO spell_float VALUES ('-0'), (1);
INSERT INTO spell_float_ref VALUES (1, 0), (2, '-0'), (3, 1);
CREATE TABLE spell_jsonb (key jsonb PRIMARY KEY);
CREATE TABLE spell_jsonb_ref (id int PRIMARY KEY, key jsonb REFERENCES spell_jsonb);
INSERT INTO spell_jsonb VALUES ('{"a": 1.0}'), ('2');
INSERT INTO spell_jsonb_ref VALUES (1, '{"a": 1}'), (2, '2.00');
CREATE TABLE wide_key (key bigint PRIMARY KEY);
CREATE TABLE narrow_ref (id int PRIMARY KEY, key int REFERENCES wide_key, small smallint REFERENCES wide_key);
INSERT INTO wide_key VALUES (1), (2), (9223372036854775807);
INSERT INTO narrow_ref VALUES (1, 1, 2), (2, NULL, 1), (3, 2, NULL);
CREATE TABLE varchar_key (key varchar(10) PRIMARY KEY);
CREATE TABLE padded_ref (id int PRIMARY KEY, key char(5) REFERENCES varchar_key, free text REFERENCES varchar_key);
INSERT INTO varchar_key VALUES ('ab'), ('cd'), ('full5');
INSERT INTO padded_ref VALUES (1, 'ab', 'cd'), (2, 'cd   ', NULL), (3, 'full5', 'ab');
CREATE TABLE padded_key (key char(5) PRIMARY KEY);
CREATE TABLE longer_ref (id int PRIMARY KEY, key char(8) REFERENCES padded_key);
INSERT INTO padded_key VALUES ('ab'), ('cd');
INSERT INTO longer_ref VALUES (1, 'ab'), (2, 'cd      ');
CREATE TABLE float_key (key float8 PRIMARY KEY);
CREATE TABLE real_ref (id int PRIMARY KEY, key float4 REFERENCES float_key, number numeric);
INSERT INTO float_key VALUES (1.5), (1.1), (float8 (float4 '1.1'));
INSERT INTO real_ref VALUES (1, 1.5), (2, 1.1);
CREATE TABLE numeric_key (key numeric(10, 2) PRIMARY KEY);
CREATE TABLE int_ref (id int PRIMARY KEY, key int REFERENCES numeric_key);
INSERT INTO numeric_key VALUES (1), (2.5), (3.00);
INSERT INTO int_ref VALUES (1, 1), (2, 3);
CREATE TABLE instant_key (key timestamptz PRIMARY KEY);
CREATE TABLE day_to_instant (id int PRIMARY KEY, key date REFERENCES instant_key);
INSERT INTO instant_key VALUES ('2024-01-01 00:00+00'), ('2024-01-02 00:00+00');
INSERT INTO day_to_instant VALUES (1, '2024-01-01'), (2, '2024-01-02');
CREATE TABLE domain_ref (id int PRIMARY KEY, key short_code REFERENCES key_domain, plain text REFERENCES key_domain);
INSERT INTO domain_ref VALUES (1, 'a', 'B'), (2, NULL, '');

-- == references in another collation than their key's
CREATE TABLE c_key (key text COLLATE "C" PRIMARY KEY);
CREATE TABLE posix_ref (id int PRIMARY KEY, key text COLLATE "POSIX" REFERENCES c_key, other text REFERENCES c_key);
INSERT INTO c_key VALUES ('a'), ('B'), ('ä');
INSERT INTO posix_ref VALUES (1, 'a', 'B'), (2, 'ä', NULL), (3, NULL, 'ä');

-- == no key, unique keys, nullable keys
CREATE TABLE no_key (a int, b text, at timestamptz);
INSERT INTO no_key VALUES (1, 'same', NULL), (1, 'same', NULL), (NULL, NULL, NULL), (NULL, NULL, NULL), (2, 'at', 'infinity');
-- dead: no_key | row (0,5) | at
CREATE TABLE unique_only (a int NOT NULL, b text NOT NULL, UNIQUE (a, b));
INSERT INTO unique_only VALUES (1, 'a'), (1, 'b'), (2, '');
CREATE TABLE unique_null (a int UNIQUE, b int);
INSERT INTO unique_null VALUES (1, 1), (NULL, 1), (NULL, 1), (2, NULL);
CREATE TABLE unique_index (a text NOT NULL, b text);
CREATE UNIQUE INDEX ON unique_index (lower(a));
CREATE UNIQUE INDEX ON unique_index (a) WHERE a > 'b';
INSERT INTO unique_index VALUES ('a', NULL), ('b', NULL), ('c', 'c');
CREATE TABLE unique_include (a int NOT NULL, b int, c text);
CREATE UNIQUE INDEX ON unique_include (a) INCLUDE (b);
INSERT INTO unique_include VALUES (1, 1, 'a'), (2, NULL, NULL);
CREATE TABLE unique_later (a int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED, b int);
INSERT INTO unique_later VALUES (1, 1), (2, 2);

-- == references to what is no primary key
CREATE TABLE two_keys (id int PRIMARY KEY, code text NOT NULL UNIQUE, maybe int UNIQUE, x int, y text, UNIQUE (x, y));
CREATE TABLE two_keys_ref (id int PRIMARY KEY, code text REFERENCES two_keys (code), maybe int REFERENCES two_keys (maybe), x int, y text,
  FOREIGN KEY (x, y) REFERENCES two_keys (x, y));
INSERT INTO two_keys VALUES (1, 'a', 10, 1, 'x'), (2, 'b', NULL, 1, NULL), (3, 'c', 30, NULL, NULL), (4, 'd', NULL, 2, 'y');
INSERT INTO two_keys_ref VALUES (1, 'a', 10, 1, 'x'), (2, 'b', NULL, 1, NULL), (3, NULL, 30, NULL, 'y'), (4, 'd', 10, 2, 'y'), (5, NULL, NULL, 7, NULL);
CREATE TABLE no_usable_key (code text UNIQUE, note text);
CREATE TABLE no_usable_ref (id int PRIMARY KEY, code text REFERENCES no_usable_key (code));
INSERT INTO no_usable_key VALUES ('a', '1'), ('b', '2'), (NULL, '3'), (NULL, '3');
INSERT INTO no_usable_ref VALUES (1, 'a'), (2, 'a'), (3, NULL), (4, 'b');
CREATE TABLE keyless_owner (code text REFERENCES two_keys (code), place text REFERENCES no_usable_key (code), note text);
INSERT INTO keyless_owner VALUES ('a', 'a', 'x'), ('a', 'a', 'x'), ('b', NULL, NULL), (NULL, 'b', 'y');

-- == composite, circular and self references, match full, not valid
CREATE TABLE triple (a int, b text, c date, note text, PRIMARY KEY (c, a, b));
CREATE TABLE triple_ref (id int PRIMARY KEY, x text, y date, z int, FOREIGN KEY (z, x, y) REFERENCES triple (a, b, c),
  c2 date, a2 int, b2 text, FOREIGN KEY (c2, a2, b2) REFERENCES triple MATCH FULL);
INSERT INTO triple VALUES (1, 'a', '2024-01-01', 'one'), (2, 'b', '2024-01-01', NULL), (1, '', '9999-12-31', 'x');
INSERT INTO triple_ref VALUES (1, 'a', '2024-01-01', 1, '2024-01-01', 2, 'b'), (2, '', '9999-12-31', 1, NULL, NULL, NULL), (3, 'zzz', NULL, 5, NULL, NULL, NULL);
CREATE TABLE hen (id int PRIMARY KEY, egg int, mother int REFERENCES hen);
CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
INSERT INTO hen SELECT n, n, nullif(n / 2, 0) FROM generate_series(1, 50) n;
INSERT INTO egg SELECT n, 51 - n FROM generate_series(1, 50) n;
CREATE TABLE self_unique (id int PRIMARY KEY, code text UNIQUE, parent text REFERENCES self_unique (code));
INSERT INTO self_unique VALUES (1, 'a', 'a'), (2, 'b', 'a'), (3, NULL, 'b'), (4, NULL, NULL);
CREATE TABLE not_valid (id int PRIMARY KEY, hen int, hen2 int);
INSERT INTO not_valid VALUES (1, 1, 2), (2, 999, 3), (3, NULL, 998), (4, -1, NULL);
ALTER TABLE not_valid ADD FOREIGN KEY (hen) REFERENCES hen NOT VALID;
ALTER TABLE not_valid ADD FOREIGN KEY (hen2) REFERENCES hen NOT VALID;
-- orphan: not_valid | id=2
-- orphan: not_valid | id=3
-- orphan: not_valid | id=4
CREATE TABLE twice (id int PRIMARY KEY, hen int REFERENCES hen, CONSTRAINT again FOREIGN KEY (hen) REFERENCES hen, FOREIGN KEY (id) REFERENCES hen);
INSERT INTO twice VALUES (1, 2), (2, 2), (3, NULL);
CREATE TABLE empty_part (id int PRIMARY KEY, part pair UNIQUE);
CREATE TABLE empty_part_ref (id int PRIMARY KEY, part pair REFERENCES empty_part (part));
INSERT INTO empty_part VALUES (1, '(,)'), (2, '(1,a)'), (3, NULL), (4, '(1,)');
INSERT INTO empty_part_ref VALUES (1, '(,)'), (2, NULL), (3, '(1,a)'), (4, '(1,)');

-- == join tables
CREATE TABLE person (id int PRIMARY KEY, name text);
INSERT INTO person SELECT n, 'person ' || n FROM generate_series(1, 30) n;
CREATE TABLE friendship (person int REFERENCES person, friend int REFERENCES person, since date, PRIMARY KEY (person, friend));
INSERT INTO friendship SELECT n, n % 30 + 1, date '2024-01-01' + n FROM generate_series(1, 30) n;
INSERT INTO friendship SELECT n, n, NULL FROM generate_series(1, 5) n;
CREATE TABLE stay (person int REFERENCES person, hen int REFERENCES hen, at timestamptz, x float8, PRIMARY KEY (person, hen, at));
INSERT INTO stay SELECT n, n, timestamptz '2024-01-01 00:00+02' + m * interval '1 microsecond', 'NaN' FROM generate_series(1, 20) n, generate_series(1, 3) m;
CREATE TABLE sighting (person int NOT NULL REFERENCES person, hen int NOT NULL REFERENCES hen, note text);
INSERT INTO sighting SELECT n, n, 'same' FROM generate_series(1, 10) n, generate_series(1, 3) m;
CREATE TABLE sighting_maybe (person int REFERENCES person, hen int REFERENCES hen, note text);
INSERT INTO sighting_maybe VALUES (1, 1, 'x'), (1, 1, 'x'), (NULL, 1, 'y'), (NULL, NULL, NULL);
CREATE TABLE meeting (a int REFERENCES person, b int REFERENCES person, c int REFERENCES person, PRIMARY KEY (a, b, c));
INSERT INTO meeting VALUES (1, 2, 3), (1, 1, 1);
CREATE TABLE keyless_join (a text NOT NULL REFERENCES no_usable_key (code), b text NOT NULL REFERENCES no_usable_key (code), note text);
INSERT INTO keyless_join VALUES ('a', 'b', 'x'), ('a', 'b', 'x'), ('b', 'b', NULL);
CREATE TABLE surrogate_join (id int PRIMARY KEY, person int NOT NULL REFERENCES person, hen int NOT NULL REFERENCES hen);
INSERT INTO surrogate_join VALUES (1, 1, 1), (2, 1, 1);
CREATE TABLE referenced_join (person int REFERENCES person, hen int REFERENCES hen, PRIMARY KEY (person, hen));
CREATE TABLE join_ref (id int PRIMARY KEY, person int, hen int, FOREIGN KEY (person, hen) REFERENCES referenced_join);
INSERT INTO referenced_join VALUES (1, 1), (1, 2);
INSERT INTO join_ref VALUES (1, 1, 1), (2, 1, NULL), (3, 1, 2);
CREATE TABLE unique_join (person int NOT NULL REFERENCES person, hen int NOT NULL REFERENCES hen, note numeric, UNIQUE (hen, person));
INSERT INTO unique_join VALUES (1, 1, 1.0), (1, 2, 'NaN'), (2, 1, NULL);
-- dead: unique_join | hen=2, person=1 | note

-- == partitions of two levels
CREATE TABLE "part [/1]" (id int, kind text, at date, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE "part [/1] a" PARTITION OF "part [/1]" FOR VALUES IN ('a') PARTITION BY HASH (id);
CREATE TABLE "part [/1] a 0" PARTITION OF "part [/1] a" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE "part [/1] a 1" PARTITION OF "part [/1] a" FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE "part [/1] rest" (at date, kind text NOT NULL, id int NOT NULL);
ALTER TABLE "part [/1]" ATTACH PARTITION "part [/1] rest" DEFAULT;
CREATE TABLE "part [/1] none" PARTITION OF "part [/1]" FOR VALUES IN ('none') PARTITION BY RANGE (id);
INSERT INTO "part [/1]" SELECT n, CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE '' END, date '2024-01-01' + n FROM generate_series(1, 40) n;
CREATE TABLE part_ref (id int PRIMARY KEY, part int, kind text, FOREIGN KEY (part, kind) REFERENCES "part [/1]");
INSERT INTO part_ref VALUES (1, 3, 'a'), (2, 4, 'b'), (3, NULL, 'b'), (4, 5, '');
CREATE TABLE leaf_ref (id int PRIMARY KEY, part int, kind text, FOREIGN KEY (part, kind) REFERENCES "part [/1] a 1");
INSERT INTO leaf_ref SELECT id, id, kind FROM "part [/1] a 1";
CREATE TABLE part_keyless (a int, at date) PARTITION BY HASH (a);
CREATE TABLE part_keyless_0 PARTITION OF part_keyless FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_keyless_1 PARTITION OF part_keyless FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO part_keyless SELECT n % 20, date '2024-01-01' + n % 2 FROM generate_series(1, 60) n;
CREATE TABLE part_join (person int NOT NULL REFERENCES person, hen int NOT NULL REFERENCES hen, note text) PARTITION BY LIST (person);
CREATE TABLE part_join_1 PARTITION OF part_join FOR VALUES IN (1);
CREATE TABLE part_join_rest PARTITION OF part_join DEFAULT;
INSERT INTO part_join VALUES (1, 1, 'x'), (2, 1, 'x'), (2, 1, 'x');
CREATE TABLE part_nothing (id int PRIMARY KEY) PARTITION BY RANGE (id);

-- == tables and columns of every kind
CREATE TABLE generated (id int GENERATED BY DEFAULT AS IDENTITY (START WITH 5) PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED,
  c text GENERATED ALWAYS AS ('[/' || a::text || ']') STORED);
INSERT INTO generated (a) VALUES (1), (NULL), (3);
CREATE TABLE generated_key (a int, b int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY);
INSERT INTO generated_key VALUES (1), (2);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE empty (id int PRIMARY KEY, person int REFERENCES person, at timestamptz);
CREATE TABLE dropped (a int, id int PRIMARY KEY, b int, c text, d int REFERENCES person);
INSERT INTO dropped VALUES (1, 1, 1, 'c', 1);
ALTER TABLE dropped DROP a, DROP b;
ALTER TABLE dropped ADD late numeric DEFAULT 1.50;
INSERT INTO dropped VALUES (2, NULL, NULL, 3);
CREATE VIEW "view [/x]" AS SELECT * FROM built_in;
CREATE MATERIALIZED VIEW materialized AS SELECT id, name FROM person;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
INSERT INTO unlogged VALUES (1);
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE grandchild (more int) INHERITS (child);
CREATE TABLE parent_ref (id int PRIMARY KEY, parent int REFERENCES parent, child int REFERENCES child);
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (1, 'child', 'x'), (2, 'child', NULL);
INSERT INTO grandchild VALUES (1, 'grandchild', 'x', 1), (1, 'grandchild', 'x', 1);
INSERT INTO parent_ref VALUES (1, 1, 2), (2, NULL, 1);

-- == 300 columns, every third one with a guard
DO $$
BEGIN
  EXECUTE (SELECT 'CREATE TABLE broad (id int PRIMARY KEY, ' || string_agg(format('c%s %s', n, (ARRAY['numeric', 'date', 'int[]', 'text', 'int', 'float8'])[n % 6 + 1]), ', ') || ')'
           FROM generate_series(1, 299) n);
  EXECUTE (SELECT 'INSERT INTO broad SELECT 1, ' || string_agg((ARRAY['1.50', 'date ''2024-01-01''', '''{1}''::int[]', '''x''', '7', '0.1'])[n % 6 + 1], ', ') FROM generate_series(1, 299) n);
END $$;
INSERT INTO broad (id) VALUES (2);
INSERT INTO broad (id, c6, c295) VALUES (3, 'NaN', 'infinity');
-- dead: broad | id=3 | c6
CREATE TABLE broad_join (a int REFERENCES person, b int REFERENCES person, PRIMARY KEY (a, b));
DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE broad_join ' || string_agg(format('ADD d%s int DEFAULT 1', n), ', ') FROM generate_series(1, 110) n); END $$;
INSERT INTO broad_join VALUES (1, 2), (2, 2);

-- == names equal but for case, and keywords as names of everything
CREATE TYPE "type" AS ENUM ('select', 'SELECT', 'Match', 'null', 'true', '[/]');
CREATE TYPE nothing_to_choose AS ENUM ();
CREATE TABLE "Case" (id int CONSTRAINT "primary" PRIMARY KEY, "Id" int, "ID" int CONSTRAINT "check" CHECK ("ID" <> 0),
  "iD" int CONSTRAINT "references" REFERENCES "Case", "type" "type", types "type"[], never nothing_to_choose);
CREATE TABLE "CASE" (id int PRIMARY KEY CONSTRAINT "foreign" REFERENCES "Case", "node" "type" DEFAULT 'select');
CREATE TABLE "case" ("match" int PRIMARY KEY, "Case" int REFERENCES "Case", "CASE" int REFERENCES "CASE", "case" int REFERENCES "case",
  CONSTRAINT "return" UNIQUE ("Case", "CASE"));
CREATE INDEX "index" ON "case" ("CASE" DESC);
INSERT INTO "Case" VALUES (1, 2, 3, NULL, 'select', '{SELECT,Match,"null",NULL,"[/]"}'), (2, 1, 1, 1, 'SELECT', '{}'), (3, NULL, NULL, 3, 'null', NULL);
INSERT INTO "CASE" VALUES (1, 'Match'), (3, DEFAULT);
INSERT INTO "case" VALUES (1, 1, 3, 1), (2, 1, NULL, 1), (3, NULL, 1, NULL);
COMMENT ON TABLE "Case" IS '[bold]not bold[/bold] [/] [@click=app.quit]no[/] <b>&amp;</b> {brace} %s $1 `tick` 😀';
COMMENT ON COLUMN "Case"."type" IS E'two\nlines\t[/red]\u202e';
COMMENT ON CONSTRAINT "check" ON "Case" IS '';

-- == one to one, and everything that happens on deletion
CREATE TABLE account (id int GENERATED ALWAYS AS IDENTITY (MINVALUE -5 START WITH -5) PRIMARY KEY, email text UNIQUE, note text DEFAULT 'it''s "[/x]"');
CREATE TABLE account_detail (account_id int PRIMARY KEY REFERENCES account ON DELETE CASCADE, bio text);
CREATE TABLE account_setting (id bigint PRIMARY KEY, account_id int NOT NULL UNIQUE REFERENCES account ON DELETE RESTRICT);
CREATE TABLE account_login (id bigint PRIMARY KEY, account_id int DEFAULT -5 REFERENCES account ON DELETE SET DEFAULT ON UPDATE CASCADE,
  by_whom int UNIQUE REFERENCES account ON DELETE SET NULL, email text REFERENCES account (email) ON UPDATE CASCADE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO account (email) VALUES ('a@x'), (NULL), (''), ('[/foo]@😀');
INSERT INTO account_detail VALUES (-5, 'x'), (-3, NULL);
INSERT INTO account_setting VALUES (-9223372036854775808, -5), (9223372036854775807, -4), (0, -2), (-1, -3);
INSERT INTO account_login VALUES (1, DEFAULT, -4, ''), (2, NULL, NULL, '[/foo]@😀'), (-9007199254740993, -2, -5, NULL);

-- == references that a shared column makes
CREATE TABLE tenant (id int PRIMARY KEY);
CREATE TABLE tenant_user (tenant_id int REFERENCES tenant, id int, boss int, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, boss) REFERENCES tenant_user);
CREATE TABLE tenant_group (id int, tenant_id int REFERENCES tenant, PRIMARY KEY (tenant_id, id));
CREATE TABLE tenant_member (tenant_id int, user_id int, group_id int, since date, PRIMARY KEY (tenant_id, user_id, group_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user, FOREIGN KEY (tenant_id, group_id) REFERENCES tenant_group);
CREATE TABLE tenant_pair (tenant_id int, user_id int, other_tenant int, other_user int, PRIMARY KEY (other_user, tenant_id, other_tenant, user_id),
  FOREIGN KEY (user_id, tenant_id) REFERENCES tenant_user (id, tenant_id), FOREIGN KEY (other_tenant, other_user) REFERENCES tenant_user);
INSERT INTO tenant VALUES (1), (2);
INSERT INTO tenant_user VALUES (1, 1, NULL), (1, 2, 1), (2, 1, 1), (2, 2, NULL);
INSERT INTO tenant_group VALUES (1, 1), (1, 2), (7, 2);
INSERT INTO tenant_member VALUES (1, 1, 1, NULL), (1, 2, 1, '2024-01-01'), (2, 1, 7, NULL), (2, 1, 1, NULL);
INSERT INTO tenant_pair VALUES (1, 1, 2, 2), (2, 2, 1, 1), (1, 1, 1, 1);

-- == several join tables between the same two tables
CREATE TABLE student (id int PRIMARY KEY, name text);
CREATE TABLE course (code text PRIMARY KEY, title text);
CREATE TABLE course_student (course text REFERENCES course, student int REFERENCES student, PRIMARY KEY (course, student));
CREATE TABLE student_course (student int REFERENCES student, course text REFERENCES course, mark numeric(3, 5), "at" timestamptz, PRIMARY KEY (student, course));
CREATE TABLE course_failed (student int NOT NULL REFERENCES student, course text NOT NULL REFERENCES course);
INSERT INTO student VALUES (1, 'a'), (2, '');
INSERT INTO course VALUES ('x', NULL), ('', '[/]');
INSERT INTO course_student VALUES ('x', 1), ('', 1), ('x', 2);
INSERT INTO student_course VALUES (1, 'x', 0.00999, NULL), (2, '', NULL, 'infinity'), (2, 'x', -0.00001, '2024-02-29');
INSERT INTO course_failed VALUES (1, 'x'), (1, 'x'), (2, '');
-- dead: student_course | student=2, course= | at

-- == what a schema does not say: kinds, deleted rows, references without a constraint
CREATE TABLE country (code char(2) PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE status (id smallint PRIMARY KEY, name text NOT NULL);
CREATE TABLE pet (id bigint PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('dog', 'cat', '[/fish]')), name text, bark_volume int, lives int, scales bool,
  country char(2) REFERENCES country, status_id smallint REFERENCES status, owner_id int, deleted_at timestamptz, CHECK (kind = 'cat' OR lives IS NULL));
CREATE TABLE remark (id int PRIMARY KEY, remarkable_type text, remarkable_id bigint, body text, pet_id bigint, deleted_at timestamptz, is_deleted bool DEFAULT false);
INSERT INTO country VALUES ('CH', 'Switzerland'), ('X', '');
INSERT INTO status VALUES (-32768, 'gone'), (0, 'new');
INSERT INTO pet VALUES (-1, 'dog', 'Rex', 7, NULL, NULL, 'CH', 0, 1, NULL), (0, 'cat', '', NULL, 9, NULL, 'X', -32768, 999, '2024-01-01'),
  (1, '[/fish]', NULL, NULL, NULL, true, NULL, NULL, NULL, NULL), (2, 'dog', 'Rex', 7, NULL, NULL, 'CH', 0, 1, NULL);
INSERT INTO remark VALUES (1, 'Pet', -1, 'x', -1, NULL, false), (2, 'Country', 1, NULL, 999, NULL, NULL), (3, 'remark', 1, '', NULL, '2024-01-01', true), (4, NULL, NULL, NULL, 2, NULL, NULL);

-- == constraints, triggers, policies and indexes of every kind
CREATE SEQUENCE "[/seq]";
CREATE FUNCTION "[/trigger]"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '[/none]'); RETURN NEW; END $$;
CREATE TABLE booking (id bigint PRIMARY KEY DEFAULT nextval('"[/seq]"'), room int NOT NULL, during daterange, note text, made timestamptz DEFAULT 'epoch',
  EXCLUDE USING gist (during WITH &&) WHERE (room = 1), EXCLUDE USING btree (room WITH =, note WITH =) DEFERRABLE,
  CONSTRAINT "[/check]" CHECK (note <> '[/never]') NOT VALID, CHECK (room > 0) NO INHERIT);
CREATE TRIGGER "[/trigger]" BEFORE INSERT ON booking FOR EACH ROW EXECUTE FUNCTION "[/trigger]"();
CREATE UNIQUE INDEX "[/unique]" ON booking (room) WHERE note IS NULL;
CREATE INDEX "[/expression]" ON booking ((lower(note) || ')'), room DESC NULLS LAST) INCLUDE (made);
CREATE INDEX ON booking USING hash (note);
CREATE INDEX ON booking USING brin (made);
ALTER TABLE booking ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY "[/policy]" ON booking USING (false);
INSERT INTO booking (room, during, note) VALUES (1, '[2024-01-01,2024-02-01)', 'a'), (1, '[2024-02-01,2024-02-02)', NULL), (2, NULL, 'a');
CREATE RULE "[/rule]" AS ON DELETE TO booking DO INSTEAD NOTHING;

-- == values at their limits
CREATE TABLE limits (id bigint PRIMARY KEY, texts text, bytes bytea, n38 numeric(38), n38_10 numeric(38, 10), tiny numeric(2, 7), huge numeric(3, -30), moment timestamptz, words text[]);
INSERT INTO limits VALUES
  (-9223372036854775808, '', '', -99999999999999999999999999999999999999, -9999999999999999999999999999.9999999999, 0.0000099, 999000000000000000000000000000000, '0001-01-01 00:00:00+00', '{}'),
  (9223372036854775807, NULL, NULL, 99999999999999999999999999999999999999, 0.0000000001, -0.0000001, NULL, '9999-12-31 23:59:59.999999+00', '{""}'),
  (-1, E'\\u0000 \\0 \x01\x1b[31m\u0085\u2028\u2029\ufffe\U0010ffff', (SELECT string_agg(decode(lpad(to_hex(n), 2, '0'), 'hex'), '' ORDER BY n) FROM generate_series(0, 255) n),
   0, 0, 0, 0, '1970-01-01 00:00:00+00', ARRAY[E'\\u0000', E'\u2028', NULL, '']);
INSERT INTO limits (id, moment) VALUES (10, 'infinity'), (11, '10000-01-01 00:00:00+00'), (12, '0001-12-31 23:59:59.999999+00 BC');
-- dead: limits | id=10 | moment
-- dead: limits | id=11 | moment
-- dead: limits | id=12 | moment

-- == one column, and none
CREATE TABLE lonely (word text);
INSERT INTO lonely VALUES ('same'), ('same'), (''), (NULL), (NULL);
CREATE TABLE lonely_true (yes bool PRIMARY KEY CHECK (yes));
INSERT INTO lonely_true VALUES (true);
CREATE TABLE lonely_self (next int PRIMARY KEY REFERENCES lonely_self);
INSERT INTO lonely_self VALUES (1), (-2147483648);

-- == inheritance from several parents, with other keys, and with the same row in both
CREATE TABLE vehicle (id int PRIMARY KEY, wheels int, owner int REFERENCES account);
CREATE TABLE floating (id int, draught numeric);
CREATE TABLE amphibian (PRIMARY KEY (id), seats int) INHERITS (vehicle, floating);
CREATE TABLE car (plate text PRIMARY KEY) INHERITS (vehicle);
CREATE TABLE sports_car (speed int, PRIMARY KEY (id), FOREIGN KEY (owner) REFERENCES account) INHERITS (car);
CREATE TABLE vehicle_use (vehicle int REFERENCES vehicle, amphibian int REFERENCES amphibian, car text REFERENCES car, id int PRIMARY KEY);
INSERT INTO vehicle VALUES (1, 4, -5), (2, NULL, NULL);
INSERT INTO floating VALUES (1, 1.50), (1, 1.50), (NULL, NULL);
INSERT INTO amphibian VALUES (1, 4, -5, 1.5, 2), (2, 6, NULL, NULL, NULL);
INSERT INTO car VALUES (1, 4, 777, 'A'), (1, 4, NULL, 'B');
INSERT INTO sports_car VALUES (1, 4, -4, 'A', 300), (3, 4, NULL, 'A', NULL);
INSERT INTO vehicle_use VALUES (1, 2, 'A', 1), (2, NULL, 'B', 2);

-- == partitions by range, with references from and to them
CREATE TABLE device (id int PRIMARY KEY);
CREATE TABLE measure (id bigint, at timestamptz, device int REFERENCES device, value float8, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE measure_old PARTITION OF measure FOR VALUES FROM (MINVALUE) TO ('2024-01-01 00:00+00');
CREATE TABLE measure_2024 PARTITION OF measure FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00') PARTITION BY LIST (id);
CREATE TABLE "measure_2024 [/odd]" PARTITION OF measure_2024 FOR VALUES IN (1, 3, 5);
CREATE TABLE measure_2024_rest PARTITION OF measure_2024 DEFAULT;
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
CREATE TABLE measure_note (id int PRIMARY KEY, measure_id bigint, at timestamptz, FOREIGN KEY (at, measure_id) REFERENCES measure);
INSERT INTO device VALUES (1), (2);
INSERT INTO measure VALUES (1, '2023-12-31 23:59:59.999999+00', 1, 1.5), (1, '2024-01-01 00:00+00', 2, 'NaN'), (2, '2024-06-01', NULL, '-Infinity'),
  (3, '2024-06-01', 1, '-0'), (4, '2030-01-01', 2, NULL), (5, 'infinity', 2, 1), (6, '-infinity', NULL, 2);
INSERT INTO measure SELECT n % 7, timestamptz '2023-12-25 00:00+00' + n * interval '17:00', n % 2 + 1, n FROM generate_series(1, 25) n;
INSERT INTO measure_note VALUES (1, 1, '2024-01-01 00:00+00'), (2, 5, 'infinity'), (3, 4, '2030-01-01'), (4, NULL, '2024-01-01'), (5, 9, NULL);
-- dead: measure | at=infinity, id=5 | at
-- dead: measure | at=-infinity, id=6 | at
-- dead: measure_note | id=2 | at

-- == views
CREATE VIEW view_live AS SELECT id, kind, name FROM pet WHERE deleted_at IS NULL;
CREATE MATERIALIZED VIEW materialized_key AS SELECT id, kind, count(*) OVER () AS of FROM pet;
CREATE UNIQUE INDEX ON materialized_key (id);
CREATE MATERIALIZED VIEW materialized_double AS SELECT kind FROM pet;
CREATE MATERIALIZED VIEW materialized_not_yet AS SELECT 1 AS x WITH NO DATA;
CREATE RECURSIVE VIEW view_numbers (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM view_numbers WHERE n < 3;
CREATE VIEW view_broken_when_read AS SELECT id / 0 AS x FROM pet;

-- == foreign tables (extension file_fdw)
CREATE EXTENSION file_fdw;
CREATE SERVER "[/files]" FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE foreign_words (word text, n int) SERVER "[/files]" OPTIONS (program 'printf ''a,1\na,1\n,\n''', format 'csv');
CREATE FOREIGN TABLE foreign_gone (word text) SERVER "[/files]" OPTIONS (filename '/nowhere/[x]', format 'csv');

-- == many keys of text
CREATE TABLE many_text (key text PRIMARY KEY, next text REFERENCES many_text, n int);
INSERT INTO many_text SELECT CASE n % 5 WHEN 0 THEN upper(md5(n::text)) WHEN 1 THEN md5(n::text) WHEN 2 THEN 'é' || n WHEN 3 THEN '-' || n || ' ' ELSE '_' || left(md5(n::text), 8) END, NULL, n
FROM generate_series(1, 500) n;
UPDATE many_text m SET next = o.key FROM many_text o WHERE o.n = m.n % 500 + 1;

-- == multiranges (since 14)
CREATE TABLE multirange (id int PRIMARY KEY, "int4multirange" int4multirange, "int8multirange" int8multirange, "nummultirange" nummultirange,
  "tsmultirange" tsmultirange, "tstzmultirange" tstzmultirange, "datemultirange" datemultirange, own float_multirange, several int4multirange[]);
INSERT INTO multirange VALUES (1, '{[1,2),[5,9)}', '{}', '{(,1.5],[2,)}', '{[2024-01-01,2024-01-02)}', '{[2024-01-01 00:00+02,)}', '{(,)}', '{[1.1,1e300)}', '{"{[1,2)}","{}"}');
INSERT INTO multirange VALUES (2);

-- == unique keys where nulls are equal (since 15)
CREATE TABLE nulls_equal (a int, b text, UNIQUE NULLS NOT DISTINCT (a));
INSERT INTO nulls_equal VALUES (NULL, 'x'), (1, 'y');
CREATE TABLE nulls_equal_ref (id int PRIMARY KEY, a int REFERENCES nulls_equal (a) ON DELETE SET NULL (a));
INSERT INTO nulls_equal_ref VALUES (1, NULL), (2, 1);

-- == virtual columns (since 18)
CREATE TABLE virtual (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c numeric GENERATED ALWAYS AS (1.0 / NULLIF(a, 0)) VIRTUAL,
  d date GENERATED ALWAYS AS (CASE WHEN a = 4 THEN 'infinity'::date END) VIRTUAL);
INSERT INTO virtual VALUES (1, 0), (2, NULL), (3, 3), (4, 4);
-- dead: virtual | id=4 | d

-- == not null that is not valid (since 18)
CREATE TABLE once_null (code text, note text);
INSERT INTO once_null VALUES ('a', '1'), (NULL, '2'), (NULL, '2'), ('b', '3');
ALTER TABLE once_null ADD CONSTRAINT now_required NOT NULL code NOT VALID;
ALTER TABLE once_null ADD UNIQUE (code);
CREATE TABLE once_null_ref (id int PRIMARY KEY, code text REFERENCES once_null (code));
INSERT INTO once_null_ref VALUES (1, 'a'), (2, NULL);
CREATE TABLE once_null_join (person int REFERENCES person, hen int REFERENCES hen, note text);
INSERT INTO once_null_join VALUES (1, 1, 'a'), (NULL, 1, 'b'), (1, NULL, 'c');
ALTER TABLE once_null_join ADD CONSTRAINT person_now NOT NULL person NOT VALID, ADD CONSTRAINT hen_now NOT NULL hen NOT VALID;

-- == temporal keys and references (since 18)
CREATE TABLE temporal (id int4range, valid daterange, note text, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE temporal_ref (id int4range, valid daterange, of int4range, PRIMARY KEY (id, valid WITHOUT OVERLAPS),
  FOREIGN KEY (of, PERIOD valid) REFERENCES temporal (id, PERIOD valid));
INSERT INTO temporal VALUES ('[1,2)', '[2024-01-01,2024-02-01)', 'a'), ('[1,2)', '[2024-02-01,2024-03-01)', 'b'), ('[2,3)', '(,)', 'c');
INSERT INTO temporal_ref VALUES ('[1,2)', '[2024-01-15,2024-02-15)', '[1,2)'), ('[2,3)', '[2024-01-01,2024-01-02)', '[2,3)'), ('[3,4)', '(,)', NULL);

-- == references that are not enforced (since 18)
CREATE TABLE not_enforced (id int PRIMARY KEY, hen int REFERENCES hen NOT ENFORCED);
INSERT INTO not_enforced VALUES (1, 1), (2, 777);
-- orphan: not_enforced | id=2

-- == citext (extension citext)
CREATE EXTENSION citext;
CREATE TABLE key_citext (key citext PRIMARY KEY, several citext[]);
CREATE TABLE key_citext_ref (id int PRIMARY KEY, key citext REFERENCES key_citext);
CREATE TABLE key_citext_join (a citext REFERENCES key_citext, b citext REFERENCES key_citext, c citext, PRIMARY KEY (a, b, c));
INSERT INTO key_citext VALUES ('Foo', '{Foo,foo,NULL}'), ('bar', '{}'), ('ÄÖ', NULL), ('Zed', NULL), ('alpha', NULL), ('_', NULL);
INSERT INTO key_citext_ref VALUES (1, 'foo'), (2, 'FOO'), (3, NULL), (4, 'BAR'), (5, 'zED');
INSERT INTO key_citext_join VALUES ('foo', 'BAR', 'X'), ('FOO', 'bar', 'y'), ('Foo', 'ZED', 'x');
CREATE TABLE many_citext (key citext PRIMARY KEY, n int);
INSERT INTO many_citext SELECT CASE n % 3 WHEN 0 THEN upper(md5(n::text)) WHEN 1 THEN md5(n::text) ELSE '_' || md5(n::text) END, n FROM generate_series(1, 400) n;

-- == hstore (extension hstore)
CREATE EXTENSION hstore;
CREATE TABLE hstores (id int PRIMARY KEY, pairs hstore, several hstore[]);
INSERT INTO hstores VALUES (1, 'a=>1,"b \"q\""=>NULL', ARRAY['a=>1'::hstore, NULL]), (2, '', '{}'), (3, NULL, NULL);
CREATE TABLE key_hstore (key hstore PRIMARY KEY);
CREATE TABLE key_hstore_ref (id int PRIMARY KEY, key hstore REFERENCES key_hstore);
INSERT INTO key_hstore VALUES ('a=>1'), ('');
INSERT INTO key_hstore_ref VALUES (1, 'a=>1'), (2, '');

-- == ltree (extension ltree)
CREATE SCHEMA "ext [/]";
CREATE EXTENSION ltree SCHEMA "ext [/]";
CREATE TABLE key_ltree (key "ext [/]".ltree PRIMARY KEY, several "ext [/]".ltree[]);
CREATE TABLE key_ltree_ref (id int PRIMARY KEY, key "ext [/]".ltree REFERENCES key_ltree);
INSERT INTO key_ltree VALUES ('Top.Science', '{a.b}'), ('Top', '{}'), ('', NULL);
INSERT INTO key_ltree_ref VALUES (1, 'Top'), (2, ''), (3, NULL);

-- == XML (may lack)
CREATE TABLE xmls (id int PRIMARY KEY, doc xml, several xml[]);
INSERT INTO xmls VALUES (1, '<a b="[/foo]">&amp;</a>', ARRAY['<a/>'::xml]), (2, NULL, NULL);

-- == collations of ICU (may lack)
CREATE COLLATION natural_order (provider = icu, locale = 'en-u-kn-true');
CREATE COLLATION "ignore [case]" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE icu_key (key text COLLATE natural_order PRIMARY KEY, next text COLLATE natural_order REFERENCES icu_key, n int);
INSERT INTO icu_key SELECT CASE n % 4 WHEN 0 THEN 'Z' || n WHEN 1 THEN 'a' || n WHEN 2 THEN 'é ' || n ELSE '-' || n END, NULL, n FROM generate_series(1, 400) n;
UPDATE icu_key m SET next = o.key FROM icu_key o WHERE o.n = m.n % 400 + 1;
CREATE TABLE icu_case (key text COLLATE "ignore [case]" PRIMARY KEY, n int);
INSERT INTO icu_case VALUES ('Foo', 1), ('bar', 2), ('ä', 3), ('Zed', 4);
CREATE TABLE icu_case_ref (id int PRIMARY KEY, key text COLLATE "ignore [case]" REFERENCES icu_case);
INSERT INTO icu_case_ref VALUES (1, 'foo'), (2, 'BAR'), (3, NULL), (4, 'Ä');
CREATE TABLE icu_c_ref (id int PRIMARY KEY, key text COLLATE "C" REFERENCES icu_key);
INSERT INTO icu_c_ref VALUES (1, 'Z4'), (2, 'a1'), (3, NULL);

-- == a libc collation that is not C (may lack)
CREATE COLLATION german (provider = libc, locale = 'de_DE.utf8');
CREATE TABLE german_key (key text COLLATE german PRIMARY KEY);
INSERT INTO german_key SELECT CASE n % 2 WHEN 0 THEN 'Z' || n ELSE 'a' || n END FROM generate_series(1, 100) n;

-- == statistics
ANALYZE;
