"""`schema diff`: what differs between two mappings, and the least work between their graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from geode_tui.commands.documents import difference_document
from geode_tui.commands.output import aligned, say, show, show_json
from geode_tui.errors import EXIT_OK
from geode_tui.mapping.difference import Change, Difference, changes, compare
from geode_tui.mapping.file import load
from geode_tui.mapping.steps import steps

_SIGNS = {"come": "+", "go": "−", "rename": "~", "change": "~"}


def schema(arguments: argparse.Namespace) -> int:
    """Print what leads from one mapping to another, and to a graph of the other."""
    old, new = load(Path(arguments.old)).mapping, load(Path(arguments.new)).mapping
    difference = compare(old, new)
    if arguments.json:
        show_json(difference_document(difference))
    elif difference:
        _show(difference)
    else:
        say("the mappings do not differ")
    return EXIT_OK


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
