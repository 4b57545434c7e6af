"""`deadletters`: the rows that could not be written, to look at, to retry or to give up."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from dataclasses import asdict
from typing import Any

from geode_tui.commands.arguments import log_in_again, source_of
from geode_tui.commands.output import aligned, moment, say, show, show_json
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, GeodeTuiError, UsageError
from geode_tui.migration.dead_letters import DeadLetter, Selection, letter_document
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.letter_retry import Retried, retry_letters
from geode_tui.migration.origins import origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.source.dsn import check_dsn

LISTED = 50


def dead_letters(arguments: argparse.Namespace) -> int:
    """List, show, retry or skip dead letters of a run."""
    journal = Journal()
    record = journal.run(arguments.run)
    _refuse_misplaced(arguments)
    if arguments.action == "list":
        return _list(journal, record, arguments)
    if arguments.action == "show":
        return _show(journal, record, arguments)
    if arguments.action == "skip":
        return _skip(journal, record, arguments)
    return _retry(journal, record, arguments)


def _refuse_misplaced(arguments: argparse.Namespace) -> None:
    """Refuse options that mean nothing to the action: they would be taken for a narrower one."""
    action = arguments.action
    for name, given, actions in (
        ("--reason", arguments.reason, ("skip",)),
        ("--all", arguments.all, ("retry", "skip")),
        ("--source", arguments.source, ("retry", "show")),
        ("--limit", arguments.limit, ("list",)),
        ("--offset", arguments.offset, ("list",)),
        ("--state", arguments.state, ("list",)),
        ("--entity", arguments.entity, ("list", "retry", "skip")),
        ("--class", _class(arguments), ("list", "retry", "skip")),
    ):
        if given and action not in actions:
            raise UsageError(f"deadletters {action} has no {name}", "", f"leave {name} out")


def _class(arguments: argparse.Namespace) -> str:
    return str(getattr(arguments, "class"))


def _selected(arguments: argparse.Namespace) -> Selection:
    return Selection(
        tuple(dict.fromkeys(arguments.ids)), arguments.entity, _class(arguments), arguments.state
    )


# -- to look at -----------------------------------------------------------------------------------


def _list(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> int:
    room, selection = journal.dead_letters, _selected(arguments)
    _require_known(journal, record, selection)
    limit = arguments.limit or LISTED
    letters = room.of(record.number, limit, arguments.offset, selection)
    total = room.count(record.number, selection)
    if arguments.json:
        show_json(
            {
                "run": record.number,
                "total": total,
                "offset": arguments.offset,
                "counts": [asdict(count) for count in room.counts(record.number)],
                "letters": [letter_document(letter) for letter in letters],
            }
        )
        return EXIT_OK
    if letters:
        header = ("id", "entity", "key", "class", "reason", "state")
        for line in aligned(header, [_cells(letter) for letter in letters], ">"):
            show(line)
    rest = total - arguments.offset - len(letters)
    if rest > 0:
        say(f"and {rest:,} more: add --offset {arguments.offset + len(letters)}, or --limit")
    elif not letters:
        say("no dead letter" if not total else f"only {total:,} dead letters")
    if room.interrupted(record.number):
        say("a retry was interrupted: the next retry undoes it first")
    return EXIT_OK


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    state = f"{letter.state}: {letter.note}" if letter.note else letter.state
    return (
        str(letter.id),
        letter.entity,
        letter.key,
        letter.error_class,
        letter.reason,
        state,
    )


def _show(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> int:
    if not arguments.ids:
        list_ = f"geode-tui deadletters list {record.number}"
        raise UsageError("name the letters by their ids", "", f"list them with: {list_}")
    letters = [journal.dead_letters.one(record.number, number) for number in arguments.ids]
    statements = _look(journal, record, letters, source_of(arguments))
    if arguments.json:
        documents = [
            letter_document(letter) | {"sql": sql}
            for letter, sql in zip(letters, statements, strict=True)
        ]
        show_json(documents)
        return EXIT_OK
    for letter, sql in zip(letters, statements, strict=True):
        _show_letter(letter, sql)
    return EXIT_OK


def _show_letter(letter: DeadLetter, sql: str) -> None:
    facts: list[tuple[str, Any]] = [
        ("id", letter.id),
        ("entity", letter.entity),
        ("key", letter.key),
        ("class", letter.error_class),
        ("reason", letter.reason),
        ("values", letter.values),
        ("refused", moment(letter.at)),
        ("state", letter.state),
        ("note", letter.note),
        ("by", letter.who),
        ("changed", moment(letter.changed) if letter.changed else ""),
        ("source", sql),
    ]
    for name, value in facts:
        if value != "":
            show(f"{name:8} {value}")
    show("")


def _look(journal: Journal, record: RunRecord, letters: list[DeadLetter], source: str) -> list[str]:
    """The SQL that shows each letter's row, where the source can be asked for its columns."""
    placed = record.kind in ("migrate", "schema") and any(letter.place for letter in letters)
    if not placed:
        return ["" for _ in letters]
    dsn = check_dsn(source) if source else record.source_dsn
    origin = origin_of(record, dsn, None, journal.mapping(record.number))
    assert isinstance(origin, PostgresOrigin)

    async def work() -> list[str]:
        try:
            await origin.open()
            entities = {entity.id: entity for entity in await origin.entities()}
        finally:
            await origin.close()
        found = [(letter, entities.get(letter.entity)) for letter in letters]
        return [
            entity.extract.look_sql(letter.place)
            if entity is not None and letter.place and entity.extract.keyed
            else ""
            for letter, entity in found
        ]

    try:
        return asyncio.run(work())
    except GeodeTuiError as error:
        say(f"without the SQL of the source's row: {error.what}")
        return ["" for _ in letters]


# -- to give up, to try again ---------------------------------------------------------------------


def _skip(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> int:
    if not (arguments.reason or "").strip():
        raise UsageError("a letter is given up for a reason", "", 'add --reason "why"')
    selection = _wanted(journal, record, arguments)
    if record.state == "running":
        raise UsageError(
            f"run {record.number} is running", "", "skip its dead letters when it has ended"
        )
    skipped = journal.dead_letters.skip(record.number, selection, arguments.reason)
    left = journal.dead_letters.incomplete(record.number, selection)
    if arguments.json:
        show_json({"run": record.number, "skipped": skipped, "incomplete": left})
    else:
        show(f"{skipped:,} dead letters skipped: {arguments.reason}")
    if left:
        say(f"{left:,} are of chunks that are not done: geode-tui resume reads them again")
    return EXIT_DIFFERS if left else EXIT_OK


def _retry(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> int:
    selection = _wanted(journal, record, arguments)
    source = source_of(arguments) or None
    log_in_again(record.target)
    result = asyncio.run(retry_letters(journal, record.number, selection, source=source, tell=say))
    if arguments.json:
        show_json({"run": record.number, "complete": result.complete} | asdict(result))
    else:
        show(f"run {record.number}: {result.summary}")
    _advise(journal, record, result)
    return EXIT_OK if result.complete else EXIT_DIFFERS


def _advise(journal: Journal, record: RunRecord, result: Retried) -> None:
    """What to do next: orphans whose ends are there now, and the ledger."""
    number = record.number
    if result.ends:
        orphans = Selection(error_class="orphan", state="open")
        left = journal.dead_letters.count(number, orphans)
        if left:
            say(
                f"{left:,} orphans may have their ends now:"
                f" geode-tui deadletters retry {number} --class orphan"
            )
    if result.written or result.gone:
        graph = f" --graph {record.graph}" if record.graph else ""
        say(f"the ledger of run {number} is older than this; compare source and graph again with:")
        place = shlex.quote(record.target)
        say(f"geode-tui validate --source … --target {place}{graph} --mapping …")


def _wanted(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> Selection:
    """Which letters are meant: by id, by entity or class, or all that are open."""
    selection = _selected(arguments)
    narrowed = selection.ids or selection.entity or selection.error_class
    if narrowed and arguments.all:
        raise UsageError("--all is every letter that is open", "", "leave it out, or the rest")
    if not (narrowed or arguments.all):
        raise UsageError(
            f"which dead letters to {arguments.action}?",
            "",
            "name their ids, an --entity or a --class; or give --all",
        )
    _require_known(journal, record, selection)
    if not selection.ids:
        return Selection((), selection.entity, selection.error_class, "open")
    for number in selection.ids:
        letter = journal.dead_letters.one(record.number, number)
        if letter.state == "written":
            raise UsageError(f"dead letter {number} is written", "", "name only others")
        if letter.state == "skipped" and arguments.action == "skip":
            raise UsageError(f"dead letter {number} is skipped", letter.note, "name only others")
    return selection


def _require_known(journal: Journal, record: RunRecord, selection: Selection) -> None:
    """Refuse an entity that the run does not have: nothing found would look like nothing left."""
    known = [entity.id for entity in journal.chunks.entities(record.number)]
    if selection.entity and selection.entity not in known:
        from geode_tui.mapping.file import nearest

        what = f"run {record.number} has no entity {selection.entity}"
        raise UsageError(what, "", nearest(selection.entity, known) or "see geode-tui status")
