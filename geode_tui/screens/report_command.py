"""The command line that does what the report screen does."""

from __future__ import annotations

import shlex

from geode_tui.migration.journal import RunRecord
from geode_tui.screens.report_runs import options_of
from geode_tui.widgets.check_tree import Place


def report_command(record: RunRecord, place: Place | None, mapping: str) -> str:
    """The command that previews the repair of what is looked at; else the one that compares."""
    words = _repair_words(record, place) or _validate_words(record, mapping)
    return shlex.join(["geode-tui", *words])


def _repair_words(record: RunRecord, place: Place | None) -> list[str]:
    cause = place.of("cause") if place is not None else None
    if place is None or cause is None:
        return []
    row = place.row or cause.rows[0]
    words = ["repair", str(record.number), "--entity", row.entity]
    if place.row is not None:
        words += ["--key", row.key]
    elif row.cause:
        words += ["--cause", row.cause]
    return [*words, "--preview"]


def _validate_words(record: RunRecord, mapping: str) -> list[str]:
    graph = ["--graph", record.graph] if record.graph else []
    schemas = [word for schema in record.schemas for word in ("--schema", schema)]
    source, target = ["--source", record.source_dsn], ["--target", record.target]
    flags = options_of(record).flags
    return ["validate", *source, *schemas, *target, *graph, "--mapping", mapping, *flags]
