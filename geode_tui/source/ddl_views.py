"""The columns of a view, where they can be known from the tables that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from geode_tui.errors import UsageError
from geode_tui.source.ddl_read import Reader, read_type
from geode_tui.source.ddl_scan import Script
from geode_tui.source.ddl_schema import Database, DraftColumn, DraftTable
from geode_tui.source.ddl_types import SYSTEM, TypeReference

_TRUTHS = (exp.Predicate, exp.Boolean, exp.Not, exp.And, exp.Or)


class _Unknown(Exception):
    """The columns cannot be told from the text."""


@dataclass
class _Source:
    """Something in FROM, under the name that the query gives it."""

    alias: str
    columns: list[DraftColumn]


def view_columns(query: str, names: list[str], database: Database) -> list[DraftColumn] | None:
    """The columns of a SELECT, under `names` as far as there are some; None if not known."""
    try:
        parsed = sqlglot.parse_one(query, dialect="postgres")
        columns = _columns(parsed, database, {})
    except (SqlglotError, RecursionError, UsageError, _Unknown):
        return None
    for column, name in zip(columns, names, strict=False):
        column.name = name
    if len({column.name for column in columns}) < len(columns):
        return None
    return columns


def _columns(
    query: exp.Expr, database: Database, known: dict[str, list[DraftColumn]]
) -> list[DraftColumn]:
    if isinstance(query, exp.Subquery):
        return _columns(query.this, database, known)
    if not isinstance(query, exp.Select):
        raise _Unknown
    known = {**known, **_common_tables(query, database, known)}
    sources = _sources(query, database, known)
    made: list[DraftColumn] = []
    for projection in query.expressions:
        if isinstance(projection, exp.Star):
            made += _star(query, sources, "")
        elif isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
            made += _star(query, sources, _folded(projection.args["table"]))
        else:
            made.append(_projected(projection, sources, database))
    return made


def _common_tables(
    query: exp.Select, database: Database, known: dict[str, list[DraftColumn]]
) -> dict[str, list[DraftColumn]]:
    with_ = query.args.get("with_")
    if with_ is None:
        return {}
    made = dict(known)
    for table in with_.expressions:
        made[_folded(table.args["alias"].this)] = _columns(table.this, database, made)
    return made


def _sources(
    query: exp.Select, database: Database, known: dict[str, list[DraftColumn]]
) -> list[_Source]:
    from_ = query.args.get("from_")
    if from_ is None:
        return []
    joins = query.args.get("joins") or []
    return [_source(part, database, known) for part in (from_.this, *(j.this for j in joins))]


def _source(part: exp.Expr, database: Database, known: dict[str, list[DraftColumn]]) -> _Source:
    alias = part.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        raise _Unknown
    name = _folded(alias.this) if alias is not None and alias.this else ""
    if isinstance(part, exp.Subquery):
        return _Source(name, _columns(part.this, database, known))
    if not isinstance(part, exp.Table) or not isinstance(part.this, exp.Identifier):
        raise _Unknown
    own = _folded(part.this)
    schema = part.args.get("db")
    if schema is None and own in known:
        return _Source(name or own, known[own])
    found = database.find([own] if schema is None else [_folded(schema), own])
    if not isinstance(found, DraftTable) or (found.kind.endswith("view") and not found.columns):
        raise _Unknown
    return _Source(name or own, found.columns)


def _star(query: exp.Select, sources: list[_Source], alias: str) -> list[DraftColumn]:
    joins = query.args.get("joins") or []
    if not alias and any(join.args.get("using") or join.args.get("method") for join in joins):
        raise _Unknown
    chosen = [source for source in sources if alias in ("", source.alias)]
    if not chosen:
        raise _Unknown
    return [_copy(column, column.name) for source in chosen for column in source.columns]


def _projected(projection: exp.Expr, sources: list[_Source], database: Database) -> DraftColumn:
    name = _folded(projection.args["alias"]) if isinstance(projection, exp.Alias) else ""
    value = projection.unalias().unnest()
    if isinstance(value, exp.Column):
        column = _looked_up(value, sources)
        return _copy(column, name or column.name)
    if isinstance(value, exp.Cast):
        kind = _cast_type(value, database)
        inner = value.this
        default = _folded(inner.this) if isinstance(inner, exp.Column) else kind.definition.name
        return DraftColumn(name or default, kind, collation=kind.collation)
    if not name:
        raise _Unknown
    kind = TypeReference(database.types[SYSTEM, _result(value)])
    return DraftColumn(name, kind, collation=kind.collation)


def _result(value: exp.Expr) -> str:
    """The type of an expression that has the same whatever it is made of."""
    if isinstance(value, exp.Count):
        return "int8"
    if isinstance(value, _TRUTHS):
        return "bool"
    if isinstance(value, exp.Literal) and value.is_string:
        return "text"
    raise _Unknown


def _cast_type(value: exp.Cast, database: Database) -> TypeReference:
    spelled = value.to.sql("postgres")
    script = Script(spelled, "view")
    reader = Reader(script, next(script.statements()).tokens)
    return read_type(reader, database)


def _looked_up(column: exp.Column, sources: list[_Source]) -> DraftColumn:
    name = _folded(column.this)
    qualifier = column.args.get("table")
    alias = _folded(qualifier) if qualifier is not None else ""
    chosen = [source for source in sources if alias in ("", source.alias)]
    found = [c for source in chosen for c in source.columns if c.name == name]
    if not found:
        raise _Unknown
    return found[0]


def _copy(column: DraftColumn, name: str) -> DraftColumn:
    return DraftColumn(name, column.type, collation=column.collation)


def _folded(identifier: exp.Expr) -> str:
    if not isinstance(identifier, exp.Identifier):
        raise _Unknown
    text: str = identifier.this
    if identifier.args.get("quoted"):
        return text
    return "".join(c.lower() if c.isascii() else c for c in text)
