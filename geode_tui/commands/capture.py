"""`capture`: whether a source's changes could be captured while it is moved, and the SQL for it.

`check` and `sql` change nothing: what is missing, and what sets capture up and takes it back, is
printed as SQL. `drop` takes back what a run has set up.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from geode_tui.catalog import Catalog, TableName
from geode_tui.commands.arguments import source_of, with_source
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import show, show_json
from geode_tui.errors import EXIT_FAILED, EXIT_OK, UsageError
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.drop import drop_capture
from geode_tui.migration.replication.stream import OUTBOX_SCHEMA, PUBLICATION, slot_name
from geode_tui.source.outbox import Outbox
from geode_tui.source.postgres import Source
from geode_tui.source.requirements import Requirement, required
from geode_tui.source.slot import Slot

_MARKS = {"met": "✓", "warning": "!", "missing": "✗"}


def capture(arguments: argparse.Namespace) -> int:
    """Print what capture needs and whether it is so, or the SQL; exit 1 where something lacks."""
    if arguments.action == "drop":
        return _drop(arguments)
    if not arguments.mapping:
        raise UsageError("capture needs the mapping", "", "name its file with --mapping")
    catalog, mapping = checked_mapping(arguments)
    tables, unfit = _tables(mapping, catalog)
    if arguments.action == "sql":
        return _sql(arguments, tables)
    found = [*unfit, *(_requirements(arguments, tables) if tables else [])]
    if arguments.json:
        show_json({"way": arguments.way, "requirements": [asdict(one) for one in found]})
    else:
        _show(arguments.way, found)
    return EXIT_FAILED if any(one.state == "missing" for one in found) else EXIT_OK


def _drop(arguments: argparse.Namespace) -> int:
    """Take back, on the source, what a run set up to capture changes."""
    journal = Journal()
    if not arguments.run:
        raise UsageError("whose capture?", "", "name the run: geode-tui capture drop RUN")
    told = drop_capture(journal, arguments.run, source_of(arguments) or None)
    if arguments.json:
        show_json({"run": arguments.run, "dropped": told})
    else:
        show(f"run {arguments.run}: {told}")
    return EXIT_OK


def _tables(mapping: Mapping, catalog: Catalog) -> tuple[tuple[TableName, ...], list[Requirement]]:
    """The tables whose changes matter to a mapping, and what of it tells no changes."""
    fit, unfit = [], []
    for name in dict.fromkeys(_read_by(mapping)):
        table = catalog.table(name)
        kind = table.kind if table else "gone"
        if kind in ("table", "partitioned"):
            fit.append(name)
        else:
            why = "nobody tells when its rows change; move it again, or map its tables"
            unfit.append(required(f"{name} is a table", False, f"it is a {kind}: {why}"))
    return tuple(sorted(fit)), unfit


def _read_by(mapping: Mapping) -> Iterator[TableName]:
    for rule in mapping.active_rules():
        yield rule.table
        if isinstance(rule, NodeRule):
            yield from (join.table for join in rule.joins)


def _requirements(
    arguments: argparse.Namespace, tables: tuple[TableName, ...]
) -> list[Requirement]:
    async def work(source: Source) -> list[Requirement]:
        session = await source.session()
        try:
            if arguments.way == "outbox":
                return await Outbox(OUTBOX_SCHEMA).requirements(session, tables)
            slot = Slot(slot_name(source.facts.database_oid), PUBLICATION, tables)
            replication = await slot.replication_requirement(source_of(arguments))
            return [*await slot.requirements(session), replication]
        finally:
            await session.close()

    return with_source(arguments, work)


def _show(way: str, found: Sequence[Requirement]) -> None:
    for one in found:
        show(f"{_MARKS[one.state]} {one.what}: {one.evidence}")
        if one.state != "met":
            for statement in one.sql:
                show(f"    {statement}")
    missing = sum(one.state == "missing" for one in found)
    verdict = f"{missing} of {len(found)} needs are not met" if missing else "all it needs is there"
    show(f"capture by {way}: {verdict}")


def _sql(arguments: argparse.Namespace, tables: tuple[TableName, ...]) -> int:
    """Print the SQL that sets capture up, or with `--tear-down` takes it back."""

    async def work(source: Source) -> list[str]:
        session = await source.session()
        try:
            if arguments.way == "outbox":
                outbox = Outbox(OUTBOX_SCHEMA)
                if arguments.tear_down:
                    return await outbox.tear_down_statements(session)
                return await outbox.set_up_statements(session, tables)
            slot = Slot(slot_name(source.facts.database_oid), PUBLICATION, tables)
            if arguments.tear_down:
                return slot.tear_down_statements()
            return slot.set_up_statements(source.facts.version_number)
        finally:
            await session.close()

    statements = with_source(arguments, work)
    if arguments.json:
        show_json({"way": arguments.way, "statements": statements})
    else:
        for statement in statements:
            print(statement.rstrip().rstrip(";") + ";\n")
    return EXIT_OK
