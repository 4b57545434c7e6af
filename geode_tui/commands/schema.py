"""`schema`: which mapping a graph holds, what differs from another, and the way there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from geode_tui.commands.arguments import schemas_of, source_of, target_of
from geode_tui.commands.documents import difference_document
from geode_tui.commands.migrate import drive
from geode_tui.commands.output import aligned, moment, say, show, show_json, visible
from geode_tui.errors import EXIT_OK, UsageError
from geode_tui.mapping.difference import Change, Difference, changes, compare
from geode_tui.mapping.file import load, mapping_hash
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.steps import steps
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner
from geode_tui.migration.schema_change import SchemaRequest, held_mapping
from geode_tui.migration.versions import Version, Versions
from geode_tui.target import open_target
from geode_tui.target.geode_dsn import target_name

_SIGNS = {"come": "+", "go": "−", "rename": "~", "change": "~"}
_SHORT_HASH = 12


def schema(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    if arguments.files and arguments.action != "diff":
        raise UsageError(
            f"schema {arguments.action} takes no files", "", "name the new mapping with --mapping"
        )
    return {"status": _status, "diff": _diff, "apply": _apply}[arguments.action](arguments)


# -- status ----------------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
    """Print the versions of a graph, and whether a mapping is the one that it holds."""
    place, graph = _target(arguments)
    versions = _versions(place, graph)
    newest = versions[-1] if versions else None
    wanted = mapping_hash(load(Path(arguments.mapping)).mapping) if arguments.mapping else None
    unfinished = Journal().unfinished(place, graph or "")
    run = unfinished.number if unfinished and unfinished.kind == "schema" else None
    if arguments.json:
        document = {
            "target": place,
            "graph": graph or "",
            "version": newest.number if newest else None,
            "matches": None if wanted is None else bool(newest and newest.hash == wanted),
            "unfinished": run,
            "versions": [_version_document(version) for version in versions],
        }
        show_json(document)
        return EXIT_OK
    for line in aligned(("version", "when", "who", "mapping", "description"), _cells_of(versions)):
        show(line)
    if newest is None:
        say(f"{place} says nothing of its mapping: it was made before versions were kept")
    if newest and wanted:
        same = "is" if newest.hash == wanted else "is not"
        say(f"{arguments.mapping} {same} the mapping of version {newest.number}")
    if run is not None:
        say(f"run {run} stopped in the midst of a change: go on with: geode-tui resume {run}")
    return EXIT_OK


def _cells_of(versions: list[Version]) -> list[tuple[str, ...]]:
    return [
        (
            str(version.number),
            moment(version.at),
            version.who,
            version.hash[:_SHORT_HASH],
            version.description,
        )
        for version in versions
    ]


def _version_document(version: Version) -> dict[str, Any]:
    return {
        "number": version.number,
        "description": version.description,
        "hash": version.hash,
        "at": version.at,
        "who": version.who,
        "run": version.run,
    }


# -- diff ------------------------------------------------------------------------------------------


def _diff(arguments: argparse.Namespace) -> int:
    """Print what leads from one mapping to another, and to a graph of the other."""
    old, new = _both(arguments)
    difference = compare(old, new)
    if arguments.json:
        show_json(difference_document(difference))
    elif difference:
        _show(difference)
    else:
        say("the mappings do not differ")
    return EXIT_OK


def _both(arguments: argparse.Namespace) -> tuple[Mapping, Mapping]:
    """The old mapping and the new: two files, or the graph's own and a file."""
    if len(arguments.files) == 2:
        old, new = (load(Path(file)).mapping for file in arguments.files)
        return old, new
    if arguments.files or not (arguments.target and arguments.mapping):
        raise UsageError(
            "two mappings are expected",
            "",
            "geode-tui schema diff OLD NEW, or: geode-tui schema diff --target T --mapping NEW",
        )
    place, graph = _target(arguments)
    old = held_mapping(_versions(place, graph), _named_old(arguments), place)
    return old, load(Path(arguments.mapping)).mapping


def _show(difference: Difference) -> None:
    rows = [_cells(change) for change in changes(difference)]
    for line in aligned(("", "what", "rule", "name", "was", "is"), rows):
        show(line)
    found = steps(difference)
    if not found:
        say("a graph of the one is a graph of the other: nothing to do")
        return
    show("")
    for number, step in enumerate(found, start=1):
        because = f" ({step.because})" if step.because else ""
        show(f"{number}. {step.text}{because}")
        if step.gql:
            show(f"       {step.gql}")
        if step.reads:
            show(f"       reads {', '.join(map(str, step.reads))}")
    reads = {table for step in found for table in step.reads}
    say(f"{len(found):,} steps, {len(reads):,} tables to read again")


def _cells(change: Change) -> tuple[str, ...]:
    sign = _SIGNS[change.way]
    name = "" if change.name == change.rule else change.name
    return sign, change.kind, change.rule, name, change.old, change.new


# -- apply -----------------------------------------------------------------------------------------


def _apply(arguments: argparse.Namespace) -> int:
    """Lead a graph to a new mapping, and print the ledger of what was loaded."""
    if not arguments.mapping:
        raise UsageError("which mapping?", "", "name the new one with --mapping")
    place, graph = _target(arguments)
    new = load(Path(arguments.mapping)).mapping
    old = _named_old(arguments)
    versions = _versions(place, graph)
    held = held_mapping(versions, old, place)
    if versions and old is None and mapping_hash(held) == mapping_hash(new):
        say(f"the graph holds this mapping already: version {versions[-1].number}")
        return EXIT_OK
    _ask(arguments, compare(held, new), place, graph)
    request = SchemaRequest(
        source_of(arguments),
        place,
        new,
        graph,
        schemas_of(arguments),
        arguments.parallel,
        arguments.batch_size,
        old=old,
        description=arguments.description,
    )
    runner = Runner(request)
    code = drive(runner, arguments.json)
    newest = _versions(place, graph)[-1]
    say(f"the graph holds version {newest.number}")
    return code


def _ask(
    arguments: argparse.Namespace, difference: Difference, place: str, graph: str | None
) -> None:
    """Show what will be done and have a person type the target's name, unless that is said."""
    found = steps(difference)
    for number, step in enumerate(found, start=1):
        say(f"{number}. {step.text}{f' ({step.because})' if step.because else ''}")
    if arguments.yes or not found:
        return
    name = target_name(place, graph or "")
    if not sys.stdin.isatty():
        raise UsageError(
            f"the change rewrites parts of {name}",
            "it asks for the target's name, and there is no terminal to answer",
            "answer with --yes",
        )
    print(f"type {visible(name)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise UsageError("that is not the target's name: nothing was changed")


# -- what all share --------------------------------------------------------------------------------


def _target(arguments: argparse.Namespace) -> tuple[str, str | None]:
    if not arguments.target:
        raise UsageError("which graph?", "", "name it with --target")
    return target_of(arguments)


def _named_old(arguments: argparse.Namespace) -> Mapping | None:
    return load(Path(arguments.from_)).mapping if arguments.from_ else None


def _versions(place: str, graph: str | None) -> list[Version]:
    target = open_target(place, graph, create=False, read_only=True)
    try:
        return Versions(target).all()
    finally:
        target.close()
