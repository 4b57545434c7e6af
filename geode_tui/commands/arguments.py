"""What several verbs share: sources, targets and mappings named on the command line."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geode_tui.catalog import Catalog
from geode_tui.catalog import Profile as Statistics
from geode_tui.commands.output import say, visible
from geode_tui.errors import MappingError, UsageError
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.model import Mapping, Query
from geode_tui.migration.profiles import Profile, find_profile
from geode_tui.source.postgres import Source
from geode_tui.target import credentials
from geode_tui.target.geode_dsn import is_geode, parse_address

SKIPPED_SHOWN = 5


@dataclass(frozen=True)
class Known:
    """What was read of a source: its catalog, and on request its statistics and counts."""

    catalog: Catalog
    statistics: Statistics | None = None
    counts: Counts | None = None


def source_of(arguments: argparse.Namespace) -> str:
    """The source's DSN: as given, or of the profile of that name."""
    profile = _profile(arguments.source or "")
    return profile.source if profile else (arguments.source or "")


def target_of(arguments: argparse.Namespace) -> tuple[str, str | None]:
    """The target's place and graph: as given, or of the profile of that name.

    A file's place is made absolute: a run may be resumed from another folder. The graph of a
    Geode server is part of its place, so that none is returned for it; a password is remembered,
    asked for or left out. Raises UsageError.
    """
    profile = _profile(arguments.target)
    place = profile.target if profile else arguments.target
    if is_geode(place):
        named = arguments.graph or (profile.graph if profile else "")
        return log_in(place, named), None
    if place.endswith(".grafeo") and "://" not in place:
        place = os.path.abspath(os.path.expanduser(place))
    graph = arguments.graph or (profile.graph if profile else None) or None
    return place, graph


def log_in(place: str, graph: str = "") -> str:
    """Make ready to connect to a Geode server; returns its place without password.

    A password in the DSN is remembered. Where none is known for a user, a person at a terminal is
    asked. Says aloud what is not safe about the connection. Raises UsageError.
    """
    address, password = parse_address(place, graph)
    if password is not None:
        credentials.remember(address.place, password)
    elif address.user and sys.stdin.isatty() and credentials.password_of(address.place) is None:
        typed = getpass.getpass(f"password of {visible(address.short)}: ")
        if typed:
            credentials.remember(address.place, typed)
    if address.warning:
        say(f"warning: {address.warning}")
    return address.place


def log_in_again(place: str) -> None:
    """Make ready to connect to the target of a run that the journal knows."""
    if is_geode(place):
        log_in(place)


def schemas_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The schemas asked for; empty means all."""
    profile = _profile(arguments.source or "")
    return tuple(arguments.schema or (profile.schemas if profile else ()))


def with_source[T](arguments: argparse.Namespace, work: Callable[[Source], Awaitable[T]]) -> T:
    """Connect to the source, do some work with it, let go."""

    async def connected() -> T:
        source = await Source.connect(source_of(arguments))
        try:
            return await work(source)
        finally:
            await source.close()

    return asyncio.run(connected())


def is_file(arguments: argparse.Namespace) -> bool:
    """Whether the source is a DDL file."""
    from geode_tui.source.ddl import is_ddl_file

    return is_ddl_file(source_of(arguments))


def require_database(arguments: argparse.Namespace, what: str) -> None:
    """Raise UsageError where the source is a file: it holds no rows to do `what`."""
    if is_file(arguments):
        raise UsageError(
            f"{source_of(arguments)} is a file: it has no rows to {what}",
            "inspect, map and assess read DDL files, the other verbs a database",
            "name a database with --source",
        )


def read_known(
    arguments: argparse.Namespace,
    mapping: Mapping | None = None,
    *,
    statistics: bool = False,
    count: bool = False,
) -> Known:
    """Read the source's catalog, with the queries of `mapping` as tables.

    `statistics` asks for the planner's, which a DDL file has not; `count` for counts of what
    the mapping would run into. Raises GeodeTuiError.
    """
    schemas, queries = schemas_of(arguments), mapping.queries if mapping else ()
    if is_file(arguments):
        if count:
            require_database(arguments, "count")
        return Known(_file_catalog(source_of(arguments), schemas, queries))

    async def work(source: Source) -> Known:
        catalog = await source.catalog(schemas)
        if queries:
            catalog = await source.described(catalog, queries)
        found = await source.profile(catalog) if statistics else None
        counts = await _count(source, mapping, catalog) if count and mapping else None
        return Known(catalog, found, counts)

    return with_source(arguments, work)


async def _count(source: Source, mapping: Mapping, catalog: Catalog) -> Counts:
    from geode_tui.source.hazards import count_hazards

    reader = await source.reader()
    try:
        return await count_hazards(reader, mapping, catalog, tell=say)
    finally:
        await reader.close()


def _file_catalog(name: str, schemas: Sequence[str], queries: Sequence[Query]) -> Catalog:
    from geode_tui.source.ddl import read_ddl

    if queries:
        raise MappingError(
            f"the mapping's query {queries[0].name} cannot be read from a file",
            "only a database tells the columns of a query",
            "name a database with --source",
        )
    found = read_ddl(Path(name).expanduser(), schemas)
    for line, text in found.skipped[:SKIPPED_SHOWN]:
        say(f"{name} line {line}: not understood, left out: {text}")
    if len(found.skipped) > SKIPPED_SHOWN:
        say(f"{name}: and {len(found.skipped) - SKIPPED_SHOWN:,} more statements")
    if not found.catalog.tables:
        where = f"schema {', '.join(schemas)} of " if schemas else ""
        raise UsageError(f"no table in {where}{name}", "", "name a file that creates tables")
    return found.catalog


def _profile(name: str) -> Profile | None:
    named = name and "/" not in name and "=" not in name
    return find_profile(name) if named and not name.endswith((".grafeo", ".sql")) else None
