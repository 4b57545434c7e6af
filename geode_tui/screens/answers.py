"""What both ends of a connection answered, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from geode_tui.catalog import Catalog
from geode_tui.errors import GeodeTuiError, redact
from geode_tui.target import open_target
from geode_tui.widgets.text import one_line, short_bytes


def error_content(error: GeodeTuiError) -> Content:
    """What, why, next, a line each."""
    first, *rest = error.lines()
    lines = [
        (f"✗ {one_line(first)}", "bold $text-error"),
        *((f"\n{one_line(x)}", "") for x in rest),
    ]
    return Content.assemble(*lines)


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> Content:
    parts: list[tuple[str, str]] = [(f"✓ {title}", "bold $text-success")]
    for name, value in facts:
        parts += [(f"\n  {name:<10}", "$text-muted"), (one_line(value), "")]
    return Content.assemble(*parts)


def source_content(catalog: Catalog) -> Content:
    """What the source is and holds."""
    server = catalog.server
    size = short_bytes(sum(table.bytes for table in catalog.tables))
    schemas = f"in {len(catalog.schemas):,} schema{'s' * (len(catalog.schemas) != 1)}"
    role = f"{server.role} (superuser)" if server.superuser else server.role
    kind = "replica, read only" if server.read_only_replica else "primary"
    title = f"source: PostgreSQL {server.version}, {kind}"
    tables = f"{len(catalog.tables):,} {schemas}, {size} on disk"
    database = f"{server.database} as {role}, {server.encoding}"
    return _facts(title, [("database", database), ("tables", tables)])


def target_content(place: str, graph: str | None) -> Content:
    """What the target is and holds; blocks while it is opened."""
    if not place:
        return Content.styled("– target: none given", "$text-warning")
    if "://" not in place and not Path(place).exists():
        return _facts("target: a new file", [("place", place)])
    try:
        target = open_target(place, graph, create=False)
        try:
            found = target.describe()
            further = target.facts()
        finally:
            target.close()
    except GeodeTuiError as error:
        return error_content(error)
    where = redact(found.place) + (f", graph {found.graph}" if found.graph else "")
    holds = f"{found.nodes:,} nodes, {found.relationships:,} relationships"
    facts = [("holds", holds), ("place", where), *further]
    return _facts(f"target: {found.kind} {found.version}".rstrip(), facts)
