"""What change capture asks of a rule: which thing a row once made, and which rows depend on others.

A change tells columns of a row as they were, as PostgreSQL's own text. The SELECTs here read such
texts, given as one JSON document, in the place of the table, so that PostgreSQL itself says which
key the row had in the graph: the same expressions and casts as in the rule's extract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.mapping.ends import end_of, equal_pairs, own_ends
from geode_tui.mapping.extract import cursor_columns_of, cursor_type
from geode_tui.mapping.model import ROW, Mapping, NodeRule, RelationshipRule, Rule
from geode_tui.mapping.relation import OWNER, column_named, source_of, table_named
from geode_tui.mapping.types import Sql, cast
from geode_tui.mapping.values import Value, guarded, key_values, value_of

PLACE = "place in the list"
"""The column that numbers the rows of a document; a table that has such a column has it longer."""


@dataclass(frozen=True)
class Identity:
    """How a row's key in the graph is found from its columns as they were.

    `sql` takes a JSON list of rows (`{"column": "text"}`, with their number as `place`) and gives
    for each its number and its key: of a node its key, of a relationship the start's, the end's
    and its own, whose lengths are in `parts`. `columns` are those of the table that it needs.
    """

    table: TableName
    columns: tuple[str, ...]
    place: str
    parts: tuple[int, ...]
    sql: str


@dataclass(frozen=True)
class Dependents:
    """How the rows are found that another table's rows belong to, or that point at them.

    `sql` takes a JSON list of rows of the other table with `references`, and gives the cursors of
    the rows whose own columns equal them, as texts.
    """

    other: TableName
    references: tuple[str, ...]
    sql: str


def compile_identity(rule: Rule, mapping: Mapping, catalog: Catalog) -> Identity | None:
    """Compile how a rule's things are found from old columns; None where only places tell them."""
    table = table_named(catalog, rule.table)
    query = exp.select()
    if isinstance(rule, NodeRule):
        if not rule.key:
            return None
        groups = [key_values(rule, table, mapping, OWNER)]
    else:
        if rule.key == (ROW,):
            return None
        groups, query = _relationship_key(rule, table, mapping, catalog, query)
    values = [value for group in groups for value in group]
    if any(value.name == ROW for value in values):
        return None
    query = query.select(*(exp.alias_(guarded(v), f"v{n}") for n, v in enumerate(values)))
    columns = _columns(query, table)
    place = _free_name(columns)
    number = exp.column(place, table=OWNER, quoted=True)
    query = query.select(exp.alias_(number, "n"))
    sql = query.from_(_document(table, columns, OWNER, place)).sql("postgres")
    return Identity(table.name, columns, place, tuple(len(group) for group in groups), sql)


def _relationship_key(
    rule: RelationshipRule, table: Table, mapping: Mapping, catalog: Catalog, query: exp.Select
) -> tuple[list[list[Value]], exp.Select]:
    own = own_ends(rule, mapping)
    start = end_of(rule.start, own[0], "a", table, mapping, catalog)
    end = end_of(rule.end, own[1], "b", table, mapping, catalog)
    for one in (start, end):
        if one.join is not None:
            query = query.join(one.join[0], on=one.join[1], join_type="left")
    properties = [rule.property_named(name) for name in rule.key]
    key = [value_of(item, table, OWNER, True) for item in properties if item is not None]
    return [list(start.values), list(end.values), key], query


def compile_dependents(
    table: Table, columns: Sequence[str], other: Table, references: Sequence[str]
) -> Dependents:
    """Compile how the rows of `table` are found whose `columns` equal rows of `other`."""
    pairs = list(zip(references, columns, strict=True))
    keys = [exp.column(c.name, table=OWNER, quoted=True) for c in cursor_columns_of(table)]
    texts = [exp.alias_(cast(key, "text"), f"k{n}") for n, key in enumerate(keys)]
    same = equal_pairs(pairs, other, "p", table)
    given = _document(other, tuple(dict.fromkeys(references)), "p")
    query = exp.select(*texts).distinct().from_(source_of(table)).join(given, on=same)
    return Dependents(other.name, tuple(references), query.sql("postgres"))


def _document(
    table: Table, columns: Sequence[str], alias: str, place: str | None = None
) -> exp.Subquery:
    """The rows of a JSON document, `$1`, as rows with some columns of a table.

    They are read as texts and cast: a text that is given to a column of JSON would be a JSON text.
    """
    names = [_quoted(name) for name in columns]
    told = [f"{name} text" for name in names] + ([f"{_quoted(place)} int"] if place else [])
    chosen = [
        f"CAST(x.{name} AS {cursor_type(column_named(table, column))}) AS {name}"
        for name, column in zip(names, columns, strict=True)
    ]
    chosen += [f"x.{_quoted(place)}"] if place else []
    rows = f"SELECT {', '.join(chosen)} FROM jsonb_to_recordset($1::jsonb) AS x({', '.join(told)})"
    named_so = exp.TableAlias(this=exp.to_identifier(alias))
    return exp.Subquery(this=exp.Var(this=rows), alias=named_so)


def _columns(query: exp.Select, table: Table) -> tuple[str, ...]:
    """The columns of the rule's own table that a query names."""
    found: Iterable[exp.Column] = query.find_all(exp.Column)
    names = dict.fromkeys(c.name for c in found if c.table == OWNER)
    return tuple(name for name in names if table.column(name) is not None)


def _free_name(columns: Sequence[str]) -> str:
    name = PLACE
    while name in columns:
        name += "."
    return name


def _quoted(name: str) -> str:
    quoted: Sql = exp.to_identifier(name, quoted=True)
    return quoted.sql("postgres")
