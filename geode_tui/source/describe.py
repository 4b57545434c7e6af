"""The columns of a query of the mapping, told by the server without running it."""

from __future__ import annotations

from collections import Counter

import asyncpg

from geode_tui.catalog import Column, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.model import QUERY_SCHEMA
from geode_tui.source.introspect import Connection, read_collations, read_types
from geode_tui.source.profile import quoted

_HEAD = "SELECT * FROM ("
_MEND = "mend the query in the mapping"


async def describe_query(connection: Connection, sql: str, name: str) -> Table:
    """The query as a table: its columns with their types, all nullable; modifiers are not told.

    Raises MappingError with the server's message and the place in the query.
    """
    body = sql.rstrip().rstrip(";")
    try:
        prepared = await connection.prepare(f"{_HEAD}{body}\n) AS q")
        names = [attribute.name for attribute in prepared.get_attributes()]
        _check_names(names, name)
    except asyncpg.PostgresError as error:
        raise _refused(error, name, _place(error, body)) from error
    try:
        columns = await _columns(connection, body, names)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.QueryCanceledError):
        raise
    except asyncpg.PostgresError as error:
        raise _refused(error, name) from error
    return Table(TableName(QUERY_SCHEMA, name), "query", columns, definition=body)


def _check_names(names: list[str], query: str) -> None:
    what = f"query {query} cannot be read like a table"
    if not names:
        raise MappingError(what, "it has no columns", _MEND)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        why = f"several columns are called {', '.join(twice)}"
        raise MappingError(what, why, "give each a name of its own with AS")
    if "?column?" in names:
        raise MappingError(what, "a column has no name", "give it one with AS")


async def _columns(connection: Connection, body: str, names: list[str]) -> tuple[Column, ...]:
    """Ask for types and collations of a row that is not there: the join never reads the query."""
    none = f"FROM (SELECT) AS one LEFT JOIN (\n{body}\n) AS q ON false"

    async def ask(what: str, some: list[str]) -> list[int]:
        found: list[int] = []
        for at in range(0, len(some), _ASKED_AT_ONCE):
            wanted = [what.format(f"q.{quoted(n)}") for n in some[at : at + _ASKED_AT_ONCE]]
            row = await connection.fetchrow(f"SELECT {', '.join(wanted)} {none}")
            found += row or ()
        return found

    oids = await ask("pg_typeof({})::oid", names)
    types = await read_types(connection, {(oid, -1) for oid in oids})
    texts = [name for name, oid in zip(names, oids, strict=True) if types.collation(oid)]
    ordered = await ask("pg_collation_for({})::regcollation::oid", texts)
    collations = await read_collations(connection, {oid for oid in ordered if oid})
    of = {name: collations[oid] for name, oid in zip(texts, ordered, strict=True) if oid}
    return tuple(
        Column(
            name,
            types.of(oid),
            collation=of[name].name if name in of else "",
            deterministic=of[name].deterministic if name in of else True,
        )
        for name, oid in zip(names, oids, strict=True)
    )


_ASKED_AT_ONCE = 500


def _place(error: asyncpg.PostgresError, body: str) -> str:
    """Line and column of the error in the query, empty where the server names none."""
    position = getattr(error, "position", None)
    at = int(position) - len(_HEAD) - 1 if position else -1
    if not 0 <= at < len(body):
        return ""
    before = body[:at].split("\n")
    return f" (line {len(before)}, column {len(before[-1]) + 1})"


def _refused(error: asyncpg.PostgresError, name: str, place: str = "") -> MappingError:
    why = str(error).split("\n")[0]
    hint = getattr(error, "hint", None)
    return MappingError(f"query {name}: PostgreSQL refuses it", f"{why}{place}", hint or _MEND)
