"""Which origin a run reads from, by its kind."""

from __future__ import annotations

from collections.abc import Callable

from geode_tui.mapping.model import Mapping
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.origin import Origin
from geode_tui.migration.postgres_origin import PostgresOrigin

NewOrigin = Callable[[RunRecord], Origin]


def origin_of(record: RunRecord, source: str, password: str | None, mapping: Mapping) -> Origin:
    """The origin of a run; `source` may hold a password, which stays in memory."""
    return PostgresOrigin(source, password, mapping, record.schemas)
