"""`map --suggest` and `map --apply`: how a mapping could be better, one edit at a time."""

from __future__ import annotations

import argparse
from typing import Any

from geode_tui.catalog import Inclusion, Profile
from geode_tui.commands.arguments import Known, is_file, with_source
from geode_tui.commands.output import say, show, show_json
from geode_tui.errors import EXIT_OK, UsageError
from geode_tui.mapping.file import nearest
from geode_tui.mapping.implied import Reference, candidates, test_candidates
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggest import Suggestion, apply_all, suggest
from geode_tui.source.postgres import Source

TEST_SECONDS = 30.0
"""So long the values of references that names speak for are looked up."""


def show_suggestions(arguments: argparse.Namespace, mapping: Mapping, known: Known) -> int:
    """Print the suggestions; nothing is written."""
    found = _suggestions(arguments, mapping, known)
    if arguments.json:
        show_json([_document(suggestion) for suggestion in found])
        return EXIT_OK
    for suggestion in found:
        show(f"{suggestion.certainty}  {suggestion.id}")
        show(f"    {suggestion.title}")
        show(f"    because: {suggestion.because}")
        show(f"    effect: {suggestion.effect}")
        for title, _ in suggestion.alternatives:
            show(f"    or: {title}")
    say(f"{len(found):,} suggestions; apply one with --apply ID, the sure ones with --apply-sure")
    return EXIT_OK


def applied(arguments: argparse.Namespace, mapping: Mapping, known: Known) -> Mapping:
    """The mapping with the suggestions of `--apply` and `--apply-sure`. Raises UsageError."""
    found = _suggestions(arguments, mapping, known)
    by_id = {suggestion.id: suggestion for suggestion in found}
    for name in arguments.apply or ():
        if name not in by_id:
            hint = nearest(name, by_id) or "list them with: geode-tui map --suggest"
            raise UsageError(f"there is no suggestion {name!r}", "", hint)
    chosen = [
        suggestion
        for suggestion in found
        if suggestion.id in (arguments.apply or ())
        or (arguments.apply_sure and suggestion.certainty == "sure")
    ]
    for suggestion in chosen:
        say(f"applied {suggestion.id}: {suggestion.title}")
    return apply_all(mapping, chosen)


def _suggestions(
    arguments: argparse.Namespace, mapping: Mapping, known: Known
) -> tuple[Suggestion, ...]:
    statistics = known.statistics or Profile()
    tested: dict[Reference, Inclusion] = {}
    found = candidates(known.catalog, statistics)
    if found and not is_file(arguments):

        async def work(source: Source) -> dict[Reference, Inclusion]:
            return await test_candidates(source, found, TEST_SECONDS)

        tested = with_source(arguments, work)
    return suggest(mapping, known.catalog, statistics, tested)


def _document(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "id": suggestion.id,
        "kind": suggestion.kind,
        "table": str(suggestion.table),
        "certainty": suggestion.certainty,
        "title": suggestion.title,
        "because": suggestion.because,
        "effect": suggestion.effect,
        "alternatives": [title for title, _ in suggestion.alternatives],
    }
