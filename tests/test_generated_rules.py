"""Whatever the tables and rules: the SELECTs run, and the file gives the same mapping back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.mapping import names
from geode_tui.mapping.check import find_problems
from geode_tui.mapping.extract import Extract, compile_extract
from geode_tui.mapping.file import dump, parse
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Join, LabelBy, Mapping, NodeRule, Property, Query, Waiver
from geode_tui.mapping.types import possible_types
from geode_tui.source.postgres import Source
from tests.conftest import MakeDatabase, run_now

_TYPES = {
    "int": ["{c} + 1", "coalesce({c}, 0)", "{c}::text"],
    "bigint": ["abs({c})"],
    "numeric(12,3)": ["round({c}, 1)", "{c}::float8"],
    "float8": ["floor({c})"],
    "text": ["lower(trim({c}))", "split_part({c}, ' ', 1)", "{c} || '!'", "length({c})"],
    "varchar(40)": ["upper({c})"],
    "char(4)": ["trim({c})"],
    "bool": ["NOT {c}"],
    "date": ["{c} - 1", "extract(year FROM {c})"],
    "timestamptz": ["date_trunc('day', {c})", "{c} AT TIME ZONE 'UTC'"],
    "jsonb": ["{c} ->> 'a'"],
    "text[]": ["array_to_string({c}, ',')", "cardinality({c})"],
    "bytea": ["encode({c}, 'hex')"],
    "uuid": ["{c}::text"],
}
_KEY_TYPES = ["int", "bigint", "text", "uuid", "date", "numeric(12,3)", "varchar(40)"]
_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4).filter(
    lambda value: value != "b"
)
_NAMES = st.one_of(
    st.sampled_from(["id", "name", "[/foo]", "Order Items", 'a"b', "select", "größe", "🦊", "x.y"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
)


def _as_kept(name: str) -> bytes:
    return name.encode()[:60]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class _Made:
    """Tables as SQL, and what rules may be made of them."""

    sql: list[str] = field(default_factory=list)
    tables: list[tuple[str, list[tuple[str, str]], list[tuple[str, str]]]] = field(
        default_factory=list
    )


@st.composite
def _schemas(draw: st.DrawFn) -> _Made:
    """One to four tables with keys of one or two columns, or none, and foreign keys."""
    made = _Made()
    chosen = draw(st.lists(_NAMES, min_size=1, max_size=4, unique_by=_as_kept))
    for table in chosen:
        columns = draw(st.lists(_NAMES, min_size=2, max_size=5, unique_by=_as_kept))
        typed = [(c, draw(st.sampled_from(sorted(_TYPES)))) for c in columns]
        width = draw(st.integers(0, 2))
        keys = [(c, draw(st.sampled_from(_KEY_TYPES))) for c, _ in typed[:width]]
        parts = [f"{_quoted(c)} {t}" for c, t in (*keys, *typed[width:])]
        if keys:
            parts.append(f"PRIMARY KEY ({', '.join(_quoted(c) for c, _ in keys)})")
        with_key = [(name, keys) for name, _, keys in made.tables if keys]
        referring = draw(st.booleans())
        if with_key and referring:
            to, their = with_key[draw(st.integers(0, len(with_key) - 1))]
            own = [f"fk {n}" for n in range(len(their))]
            parts += [f'"{c}" {t}' for c, (_, t) in zip(own, their, strict=True)]
            columns_of = ", ".join(f'"{c}"' for c in own)
            theirs = ", ".join(_quoted(c) for c, _ in their)
            parts.append(f"FOREIGN KEY ({columns_of}) REFERENCES {_quoted(to)} ({theirs})")
        made.sql.append(f"CREATE TABLE {_quoted(table)} ({', '.join(parts)})")
        made.tables.append((table, [*keys, *typed[width:]], keys))
    return made


@st.composite
def _decorated(draw: st.DrawFn, mapping: Mapping, catalog: Catalog) -> Mapping:
    """The inferred mapping with conditions, expressions, labels, joins and queries put on."""
    nodes = tuple(draw(_rule(rule, catalog)) for rule in mapping.nodes)
    if (
        len(nodes) > 1
        and draw(st.booleans())
        and len({rule.key or None for rule in nodes[:2]}) == 1
    ):
        first, second = nodes[0], nodes[1]
        nodes = (first, replace(second, name=second.label, label=first.label), *nodes[2:])
    table = catalog.tables[0].name
    sql = f"SELECT t.*, 1 AS one FROM {_quoted(table.schema)}.{_quoted(table.name)} AS t"
    queries = (Query("busy", sql),) if draw(st.booleans()) else ()
    waivers = (Waiver("no_key", "x", draw(_NAMES.filter(str.strip))),)
    return replace(mapping, nodes=nodes, queries=queries, waivers=waivers, ignored=(draw(_NAMES),))


@st.composite
def _rule(draw: st.DrawFn, rule: NodeRule, catalog: Catalog) -> NodeRule:
    table = catalog.table(rule.table)
    assert table is not None
    column = draw(st.sampled_from(table.columns))
    if draw(st.booleans()):
        rule = replace(rule, where=f"{_quoted(column.name)} IS NOT NULL")
    if draw(st.booleans()):
        by = LabelBy(column.name, ((draw(_VALUES), "Some"), ("b", "Other")))
        rule = replace(rule, labels_by=by)
    if draw(st.booleans()):
        rule = replace(rule, labels=("Thing",))
    if not rule.key and draw(st.booleans()):
        order = f"{_quoted(column.name)} DESC NULLS LAST" if _ordered(table, column.name) else ""
        rule = replace(rule, key=(rule.properties[0].name,), keep_first=order or "1 = 1")
    for key in table.foreign_keys:
        if draw(st.booleans()):
            rule = _with_join(rule, key.columns, key.to_table, key.to_columns)
    properties = [
        item if item.name in rule.key else draw(_property(item, table))
        for item in rule.properties
        if not item.join
    ]
    joined = [item for item in rule.properties if item.join]
    return replace(rule, properties=(*properties, *joined))


def _ordered(table: Table, column: str) -> bool:
    found = table.column(column)
    return found is not None and found.type.name not in ("json", "xml")


def _with_join(
    rule: NodeRule, columns: tuple[str, ...], to: TableName, references: tuple[str, ...]
) -> NodeRule:
    join = Join("other", to, columns, references)
    name = names.unused("joined", {item.name for item in rule.properties})
    item = Property(name, references[0], "STRING", join="other")
    return replace(rule, joins=(join,), properties=(*rule.properties, item))


@st.composite
def _property(draw: st.DrawFn, item: Property, table: Table) -> Property:
    column = table.column(item.column)
    assert column is not None
    templates = _TYPES.get(column.type.declared) or _BY_NAME.get(column.type.name, [])
    if not templates or draw(st.booleans()):
        return replace(item, include=draw(st.booleans()))
    from geode_tui.mapping.expressions import compile_expression

    text = draw(st.sampled_from(templates)).format(c=_quoted(item.column))
    kinds = possible_types(compile_expression(text, table).type)
    return replace(item, expression=text, type=draw(st.sampled_from(kinds)))


_BY_NAME = {
    "int4": _TYPES["int"],
    "int8": _TYPES["bigint"],
    "numeric": _TYPES["numeric(12,3)"],
    "float8": _TYPES["float8"],
    "varchar": _TYPES["varchar(40)"],
    "bpchar": _TYPES["char(4)"],
    "bool": _TYPES["bool"],
    "timestamptz": _TYPES["timestamptz"],
}


def _statements(extract: Extract) -> list[str]:
    some = [extract.stream_sql, extract.sample_sql(None), extract.count_sql]
    if extract.sampled:
        some.append(extract.sample_sql(10.0))
    if extract.keyed:
        ranges = [(False, True), (True, True), (True, False)]
        some += [extract.first_sql, *(extract.chunk_sql(*bounds) for bounds in ranges)]
    if extract.reading == "blocks":
        some += [extract.block_sql(leaf) for leaf in extract.leaves]
    if extract.labelled:
        some.append(extract.labels_sql)
    for labelled in (False, True):
        some += [extract.parts_sql(64, 97, labelled), extract.in_parts_sql(64, labelled)]
    if extract.start_key:
        some += [extract.degrees_sql(at_start) for at_start in (False, True)]
    return [*some, extract.present_sql(extract.properties[:2])]


def test_the_compiled_sql_runs_and_the_file_gives_the_same_mapping_back(
    make_database: MakeDatabase,
) -> None:
    """PostgreSQL itself plans every SELECT of generated tables, hostile names and all."""
    dsn = make_database()

    async def build(made: _Made) -> Catalog:
        connection = await asyncpg.connect(dsn)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.execute("; ".join(made.sql))
        await connection.close()
        source = await Source.connect(dsn)
        try:
            return await source.catalog()
        finally:
            await source.close()

    async def plan_all(mapping: Mapping, catalog: Catalog) -> None:
        source = await Source.connect(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            catalog = await source.described(catalog, mapping.queries)
            assert [problem.what for problem in find_problems(mapping, catalog)] == []
            for rule in mapping.active_rules():
                extract = compile_extract(rule, mapping, catalog)
                for statement in _statements(extract):
                    await connection.prepare(statement)
                await connection.fetch(extract.count_sql)
        finally:
            await source.close()
            await connection.close()

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(data=st.data(), made=_schemas())
    def planned(data: st.DataObject, made: _Made) -> None:
        catalog = run_now(build(made))
        mapping = data.draw(_decorated(infer(catalog), catalog))
        assert parse(dump(mapping)).mapping == mapping
        run_now(plan_all(mapping, catalog))

    planned()
