"""Which origin a run reads from, by its kind."""

from __future__ import annotations

from collections.abc import Callable

from geode_tui.mapping.model import Mapping
from geode_tui.migration.file_origin import FileOrigin
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.origin import Origin
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.schema_origin import SchemaOrigin

NewOrigin = Callable[[RunRecord], Origin]


def origin_of(record: RunRecord, source: str, password: str | None, mapping: Mapping) -> Origin:
    """The origin of a run; `source` may hold a password, which stays in memory."""
    if record.kind == "import":
        return FileOrigin(record.source_dsn, target=record.target)
    if record.kind == "schema":
        return SchemaOrigin(source, password, mapping, record.schemas, record.target)
    return PostgresOrigin(source, password, mapping, record.schemas, record.target)


def changed_fields(record: RunRecord, fields: dict[str, str]) -> list[str]:
    """Where a source is not the one that a run began with, field by field, in words."""
    before = record.options.get("source", fields)
    return [
        f"{name}: it was {before.get(name, 'absent')}, now it is {fields.get(name, 'absent')}"
        for name in sorted(before.keys() | fields.keys())
        if before.get(name) != fields.get(name)
    ]
