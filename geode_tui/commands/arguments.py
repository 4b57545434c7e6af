"""What several verbs share: sources, targets and mappings named on the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from geode_tui.catalog import Catalog
from geode_tui.mapping.check import check
from geode_tui.mapping.file import load
from geode_tui.mapping.model import Mapping
from geode_tui.migration.profiles import Profile, find_profile
from geode_tui.source.postgres import Source


def source_of(arguments: argparse.Namespace) -> str:
    """The source's DSN: as given, or of the profile of that name."""
    profile = _profile(arguments.source or "")
    return profile.source if profile else (arguments.source or "")


def target_of(arguments: argparse.Namespace) -> tuple[str, str | None]:
    """The target's place and graph: as given, or of the profile of that name.

    A file's place is made absolute: a run may be resumed from another folder.
    """
    profile = _profile(arguments.target)
    place = profile.target if profile else arguments.target
    if place.endswith(".grafeo") and "://" not in place:
        place = os.path.abspath(os.path.expanduser(place))
    graph = arguments.graph or (profile.graph if profile else None) or None
    return place, graph


def schemas_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The schemas asked for; empty means all."""
    profile = _profile(arguments.source or "")
    return tuple(arguments.schema or (profile.schemas if profile else ()))


def read_catalog(dsn: str, schemas: Sequence[str]) -> Catalog:
    """Connect, read the catalog, let go."""

    async def work() -> Catalog:
        source = await Source.connect(dsn)
        try:
            return await source.catalog(schemas)
        finally:
            await source.close()

    return asyncio.run(work())


def read_mapping(path: str, catalog: Catalog) -> Mapping:
    """Load a mapping file and check that it fits the catalog."""
    file = load(Path(path))
    check(file, catalog)
    return file.mapping


def _profile(name: str) -> Profile | None:
    named = name and "/" not in name and "=" not in name and not name.endswith(".grafeo")
    return find_profile(name) if named else None
