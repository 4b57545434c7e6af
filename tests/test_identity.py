"""From the columns of a row as they were, PostgreSQL tells which thing in the graph it was."""

from __future__ import annotations

import json

import asyncpg
import pytest

from geode_tui.mapping.identity import Identity, compile_identity
from geode_tui.mapping.infer import infer
from geode_tui.migration.plan import make_plan
from geode_tui.source.postgres import Reader, Source
from geode_tui.source.profile import qualified, quoted
from geode_tui.target.keys import comparable
from geode_tui.validation.entity import Entity
from tests.conftest import MakeDatabase, run_now
from tests.test_nasty_schema import build


@pytest.fixture
def nasty(make_database: MakeDatabase) -> str:
    """A database of every kind of table, key, type and hostile name."""
    dsn = make_database()
    run_now(build(dsn))
    return dsn


async def test_old_columns_give_the_key_that_the_row_has(nasty: str) -> None:
    """Of every rule of the nastiest schema: whatever the key's type, expression or reference."""
    source = await Source.connect(nasty)
    try:
        catalog = await source.catalog()
        reader = await source.reader()
        mapping = infer(catalog)
        entities = make_plan(mapping, catalog).entities
        compared = 0
        for entity in entities:
            identity = compile_identity(entity.rule, mapping, catalog)
            if identity is not None and entity.extract.keyed:
                compared += await _compare(nasty, reader, entity, identity)
        await reader.close()
    finally:
        await source.close()
    assert compared > 500


async def _compare(dsn: str, reader: Reader, entity: Entity, identity: Identity) -> int:
    """How many rows were compared; each key that the extract gives is among the others."""
    rows = [tuple(row) for row in await reader.fetch(entity.extract.stream_sql)]
    carried = [row for row in rows if entity.rejected(row) is None]
    images = await _images(dsn, entity, identity)
    found = await reader.fetch(identity.sql, json.dumps(images))
    keys = {_comparable(entity, tuple(row)[:-1], identity) for row in found}
    missing = [entity.key(row) for row in carried if _key(entity, row) not in keys]
    assert missing == [], f"{entity.id}: {identity.sql}"
    return len(carried)


async def _images(dsn: str, entity: Entity, identity: Identity) -> list[dict[str, object]]:
    """Each row's columns as texts, as capture tells them."""
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        only = "ONLY " if entity.extract.table.kind == "table" else ""
        await connection.execute("SET intervalstyle = 'iso_8601'")
        texts = await connection.fetch(
            f"SELECT ARRAY[{_texts(identity)}] FROM {only}{qualified(identity.table)} t"
        )
    finally:
        await connection.close()
    return [
        dict(zip(identity.columns, row[0], strict=True)) | {identity.place: number}
        for number, row in enumerate(texts)
    ]


def _texts(identity: Identity) -> str:
    names = [f"t.{quoted(name)}" for name in identity.columns]
    return ", ".join(
        f"CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END" for name in names
    )


def _key(entity: Entity, row: tuple[object, ...]) -> object:
    key = entity.key(row)
    return comparable(key) if entity.kind == "node" else tuple(map(comparable, key))


def _comparable(entity: Entity, values: tuple[object, ...], identity: Identity) -> object:
    if entity.kind == "node":
        return comparable(values)
    first, second = identity.parts[0], identity.parts[0] + identity.parts[1]
    parts = values[:first], values[first:second], values[second:]
    return tuple(map(comparable, parts))
