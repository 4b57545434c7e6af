"""The command line: verbs, exit codes, and errors in at most four lines."""

from __future__ import annotations

import argparse
import io
import sys
import traceback
from collections.abc import Callable, Sequence

from geode_tui import __version__
from geode_tui.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    GeodeTuiError,
    redact,
)

Verb = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know every glyph
    arguments = build_parser().parse_args(argv)
    try:
        verb: Verb = arguments.verb_function
        return verb(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        from geode_tui.commands.output import silence

        silence(sys.stdout)
        return EXIT_OK
    except GeodeTuiError as error:
        _tell(error, arguments.debug)
        return error.exit_code
    except OSError as error:
        what = f"cannot read or write {error.filename or 'the output'}"
        _tell(GeodeTuiError(what, error.strerror or str(error)), arguments.debug)
        return EXIT_FAILED
    except Exception as error:
        what = f"defect in geode-tui: {type(error).__name__}: {redact(str(error))}"
        _tell(GeodeTuiError(what, "", "run again with --debug and report it"), arguments.debug)
        return EXIT_FAILED


def _tell(error: GeodeTuiError, debug: bool) -> None:
    from geode_tui.commands.output import say

    for number, line in enumerate(error.lines()):
        say(f"geode-tui: {line}" if number == 0 else f"  {line}")
    if debug:
        print(redact(traceback.format_exc()), file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs and options (docs/cli.md describes each)."""
    parser = argparse.ArgumentParser(
        "geode-tui",
        description="Move a PostgreSQL database into the Geode graph database. "
        "Without a verb: the terminal interface.",
    )
    parser.add_argument("--version", action="version", version=f"geode-tui {__version__}")
    parser.set_defaults(
        verb_function=_interface, debug=False, source=None, target="", graph=None, schema=None
    )
    _common(parser)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    demo = _verb(verbs, "demo", "the sample shop, from a private PostgreSQL into a graph", _demo)
    demo.add_argument("--rows", type=_positive, help="about how many rows (20,000)")
    demo.add_argument("--headless", action="store_true", help="no interface: run and print")
    _json(demo)

    inspect = _verb(verbs, "inspect", "print a source's catalog", _inspect)
    _source(inspect)
    inspect.add_argument(
        "--profile", action="store_true", help="add the statistics of each column, without values"
    )
    _json(inspect)

    map_ = _verb(verbs, "map", "infer a mapping and write its file", _map)
    _source(map_)
    map_.add_argument("--output", required=True, metavar="FILE", help="the mapping's file, or -")
    map_.add_argument("--merge", action="store_true", help="keep the edits in an existing file")
    map_.add_argument("--suggest", action="store_true", help="write nothing, list suggestions")
    map_.add_argument("--apply", action="append", metavar="ID", help="apply a suggestion (repeat)")
    map_.add_argument("--apply-sure", action="store_true", help="apply every sure suggestion")
    _json(map_)

    assess = _verb(verbs, "assess", "print what to know before a run", _assess)
    _source(assess)
    _mapping(assess)
    _target(assess, required=False)
    assess.add_argument("--count", action="store_true", help="count the rows concerned: scans")
    waiver = "CODE SUBJECT"
    assess.add_argument("--waive", action="append", metavar=waiver, help="accept a finding")
    assess.add_argument("--reason", metavar="TEXT", help="why it is accepted")
    assess.add_argument("--unwaive", action="append", metavar=waiver, help="take a waiver back")
    _json(assess)

    plan = _verb(verbs, "plan", "print what a run would do; write nothing", _plan)
    _source(plan)
    _target(plan)
    _mapping(plan)
    plan.add_argument(
        "--parallel", type=_positive, default=2, metavar="N", help="sessions on the source (2)"
    )
    strategies = ("big-bang", "incremental", "zero-downtime")
    plan.add_argument("--strategy", choices=strategies, default="big-bang")
    plan.add_argument("--no-cut", action="store_true", help="estimate the chunks, cut none")
    _json(plan)

    migrate = _verb(verbs, "migrate", "run a migration to the end of verify", _migrate)
    _source(migrate)
    _target(migrate)
    _mapping(migrate)
    migrate.add_argument("--batch-size", type=_positive, metavar="N", help="rows a transaction")
    migrate.add_argument(
        "--parallel", type=_positive, default=2, metavar="N", help="sessions on the source (2)"
    )
    migrate.add_argument(
        "--strategy",
        choices=("big-bang", "incremental", "zero-downtime"),
        default="big-bang",
        help="all at once (big-bang), the mapping's waves one after the other, or capturing "
        "changes from before the first row is read (zero-downtime)",
    )
    migrate.add_argument(
        "--capture",
        choices=("auto", "slot", "outbox"),
        default="auto",
        help="zero-downtime: a replication slot, or triggers where none may be made (auto)",
    )
    migrate.add_argument(
        "--capture-name", metavar="NAME", default="", help="of the slot, or the outbox's schema"
    )
    migrate.add_argument("--wave", metavar="W", default="", help="stop after this wave")
    _dead_limit(migrate, "10,000")
    migrate.add_argument(
        "--into-existing", action="store_true", help="allow nodes of the mapping's labels there"
    )
    _json(migrate)

    resume = _verb(verbs, "resume", "go on with a run that stopped", _resume)
    resume.add_argument("run", type=_positive, nargs="?", help="its number (the newest)")
    resume.add_argument("--source", metavar="DSN", help="the same source, for its password")
    resume.add_argument("--wave", metavar="W", help="stop after this wave")
    _dead_limit(resume, "as before")
    _json(resume)

    rollback = _verb(verbs, "rollback", "take back what a run wrote", _rollback)
    rollback.add_argument("run", type=_positive, help="its number")
    rollback.add_argument("--to", metavar="CHECKPOINT", help="only what came after this moment")
    rollback.add_argument("--yes", action="store_true", help="do not ask for the target's name")
    _json(rollback)

    pause = _verb(verbs, "pause", "let a run stand still until it is resumed", _pause)
    pause.add_argument("run", type=_positive, nargs="?", help="its number (the one that goes)")
    _json(pause)

    throttle = _verb(verbs, "throttle", "change how fast a run may go", _throttle)
    throttle.add_argument("run", type=_positive, nargs="?", help="its number (the one that goes)")
    throttle.add_argument(
        "--rows-per-second", type=_positive_or("off"), metavar="N", help="at most so many, or off"
    )
    throttle.add_argument("--parallel", type=_positive, metavar="N", help="workers")
    throttle.add_argument(
        "--batch-size", type=_positive_or("auto"), metavar="N", help="rows a transaction, or auto"
    )
    _json(throttle)

    checkpoint = _verb(verbs, "checkpoint", "take a moment to roll back to", _checkpoint)
    checkpoint.add_argument("run", type=_positive, help="its number")
    checkpoint.add_argument("name", metavar="NAME", help="the checkpoint's name")
    checkpoint.add_argument(
        "--timeout", type=_positive, default=60, metavar="S", help="wait so many seconds (60)"
    )
    _json(checkpoint)

    validate = _verb(verbs, "validate", "compare source and graph: the ledger", _validate)
    _source(validate)
    _target(validate)
    _mapping(validate)
    validate.add_argument(
        "--deep",
        action="store_true",
        help="make the digests anew of the values in the graph, not of what they carry",
    )
    validate.add_argument(
        "--check-constraints",
        action="store_true",
        help="also look whether indexes and constraints are there",
    )
    validate.add_argument(
        "--check-references",
        action="store_true",
        help="also make the digests of relationships anew, and compare degrees of nodes",
    )
    validate.add_argument(
        "--statistics",
        action="store_true",
        help="also compare null shares, extremes, sums and lengths of all properties",
    )
    validate.add_argument(
        "--format", choices=("table", "json", "md", "html", "junit"), default="table"
    )
    validate.add_argument("--output", metavar="F", help="write a file in place of stdout")
    _json(validate)

    parallel = _verb(verbs, "parallel", "ask source and graph the same, while both live", _parallel)
    _source(parallel)
    _target(parallel)
    _mapping(parallel)
    parallel.add_argument(
        "--interval", type=_seconds, metavar="S", help="ask again every so many seconds"
    )
    parallel.add_argument("--times", type=_positive, metavar="N", help="ask so many times")
    parallel.add_argument("--report", metavar="FILE", help="write a page of Markdown, too")
    _json(parallel)

    sync = _verb(verbs, "sync", "lead the graph along with the source's changes", _sync)
    sync.add_argument("run", type=_positive, nargs="?", help="its number (that of the target)")
    sync.add_argument("--source", metavar="DSN", help="the same source, for its password")
    _target(sync, required=False)
    sync.add_argument("--mapping", metavar="FILE", help="the mapping that the run must have")
    sync.add_argument("--once", action="store_true", help="end when the graph has caught up")
    sync.add_argument(
        "--interval", type=_seconds, metavar="S", help="at least so long between cycles (0.2)"
    )
    sync.add_argument(
        "--heal", action="store_true", help="make a lost capture anew, and compare everything"
    )
    sync.add_argument(
        "--validate", action="store_true", help="catch up, compare all rows under one snapshot, end"
    )
    _json(sync)

    cutover = _verb(verbs, "cutover", "turn from the source to the graph", _cutover)
    cutover.add_argument("run", type=_positive, help="its number")
    _cutover_deeds(cutover)
    cutover.add_argument(
        "--method",
        choices=("auto", "lock", "trigger", "hook"),
        default="auto",
        help="how writes stand still: writers wait (lock), are told at once (trigger), or the"
        " application's own hook; auto: lock up to 5 s",
    )
    cutover.add_argument(
        "--budget", type=_seconds, default=5.0, metavar="S", help="writes stand at most so long (5)"
    )
    cutover.add_argument(
        "--watch", type=_seconds, default=900.0, metavar="S", help="watch so long (900)"
    )
    cutover.add_argument(
        "--lag", type=_seconds, default=1.0, metavar="S", help="the lag must be below (1)"
    )
    cutover.add_argument(
        "--calm", type=_seconds, default=60.0, metavar="S", help="and that for so long (60)"
    )
    cutover.add_argument(
        "--waive", action="append", default=[], metavar="GATE=REASON", help="pass a gate (repeat)"
    )
    cutover.add_argument(
        "--no-guard", action="store_true", help="leave the source open to writes after the flip"
    )
    for hook, text in _CUTOVER_HOOKS:
        cutover.add_argument(f"--{hook}", metavar="CMD", help=text)
    cutover.add_argument("--source", metavar="DSN", help="the same source, for its password")
    cutover.add_argument("--yes", action="store_true", help="do not ask for the target's name")
    _json(cutover)

    capture = _verb(verbs, "capture", "what change capture needs of a source, as SQL", _capture)
    capture.add_argument(
        "action",
        choices=("check", "sql", "drop"),
        help="what is so; the SQL of it; or take a run's set-up back",
    )
    capture.add_argument("run", type=_positive, nargs="?", help="drop: the run's number")
    _source(capture)
    capture.add_argument("--mapping", metavar="FILE", help="the mapping's file (check, sql)")
    capture.add_argument(
        "--way", choices=("slot", "outbox"), default="slot", help="a replication slot, or triggers"
    )
    capture.add_argument(
        "--tear-down", action="store_true", help="with sql: what takes the set-up back"
    )
    _json(capture)

    accept = _verb(verbs, "accept", "accept what a validation found, for a reason", _accept)
    accept.add_argument("run", type=_positive, help="the validation's number")
    _differences(accept)
    accept.add_argument(
        "--entry", action="append", default=[], metavar="E", help="an entry as it is (repeat)"
    )
    accept.add_argument(
        "--check", action="append", default=[], metavar="NAME", help="a check as it is (repeat)"
    )
    accept.add_argument("--reason", metavar="TEXT", help="why")
    accept.add_argument("--withdraw", action="store_true", help="take an acceptance back")
    _json(accept)

    repair = _verb(verbs, "repair", "write again the rows that a validation named", _repair)
    repair.add_argument("run", type=_positive, help="the validation's number")
    _differences(repair)
    repair.add_argument("--all", action="store_true", help="all that differ")
    repair.add_argument("--preview", action="store_true", help="only tell what would be done")
    repair.add_argument("--source", metavar="DSN", help="the same source, for its password")
    repair.add_argument("--yes", action="store_true", help="do not ask for the target's name")
    _json(repair)

    status = _verb(verbs, "status", "print where a run stands", _status)
    status.add_argument("run", type=_positive, nargs="?", help="its number (the newest)")
    status.add_argument("--follow", action="store_true", help="again each second until it ends")
    _json(status)

    runs = _verb(verbs, "runs", "list the runs of this machine", _runs)
    runs.add_argument(
        "action", nargs="?", choices=("show", "compare"), help="one run whole; two side by side"
    )
    runs.add_argument("run", type=_positive, nargs="*", help="its number (the newest), or two")
    runs.add_argument("--audit", action="store_true", help="its audit trail; check the chain")
    runs.add_argument("--format", choices=("text", "md", "json"), default="text")
    runs.add_argument("--output", metavar="FILE", help="write a file in place of stdout")
    _json(runs)

    letters = _verb(verbs, "deadletters", "rows that could not be written", _deadletters)
    letters.add_argument(
        "action",
        choices=("list", "show", "retry", "skip"),
        help="list or show them, write them again, or give them up",
    )
    letters.add_argument("run", type=_positive, metavar="RUN", help="the run's number")
    letters.add_argument("ids", type=_positive, nargs="*", metavar="ID", help="only these")
    letters.add_argument("--entity", metavar="E", default="", help="only those of an entity")
    letters.add_argument("--class", metavar="C", default="", help="only those of an error class")
    letters.add_argument("--state", choices=("open", "written", "skipped"), default="")
    letters.add_argument("--all", action="store_true", help="retry or skip all that are open")
    letters.add_argument("--reason", metavar="TEXT", help="why they are given up")
    letters.add_argument("--source", metavar="DSN", help="the same source, for its password")
    letters.add_argument("--limit", type=_positive, metavar="N", help="list at most N (50)")
    letters.add_argument("--offset", type=_count, default=0, metavar="N", help="pass over N")
    _json(letters)

    schema = _verb(verbs, "schema", "which mapping a graph holds, and lead it to another", _schema)
    schema.add_argument("action", choices=("status", "diff", "apply"), help="what to do")
    schema.add_argument("files", nargs="*", metavar="OLD NEW", help="diff: the two mappings")
    _source(schema)
    _target(schema, required=False)
    schema.add_argument("--mapping", metavar="FILE", help="the mapping that the graph should have")
    schema.add_argument(
        "--from", dest="from_", metavar="FILE", help="the mapping that it has, if it says none"
    )
    schema.add_argument("--description", metavar="TEXT", default="", help="of the new version")
    schema.add_argument("--batch-size", type=_positive, metavar="N", help="rows a transaction")
    schema.add_argument(
        "--parallel", type=_positive, default=2, metavar="N", help="sessions on the source (2)"
    )
    schema.add_argument("--yes", action="store_true", help="do not ask for the target's name")
    _json(schema)

    export = _verb(verbs, "export", "write the mapped graph to files", _export)
    _source(export)
    _mapping(export)
    export.add_argument(
        "--output", required=True, metavar="F", help="F.json, F.jsonl (.gz, .zst), or a folder"
    )
    export.add_argument("--format", choices=("json", "jsonl", "csv"), help="if the name says none")
    export.add_argument(
        "--compression", choices=("gzip", "zstd"), help="of the files in a folder of CSV"
    )
    export.add_argument("--batch-size", type=_positive, metavar="N", help="rows written at once")
    export.add_argument(
        "--parallel", type=_positive, default=2, metavar="N", help="worker processes (2)"
    )
    _json(export)

    import_ = _verb(verbs, "import", "load files into a graph", _import)
    import_.add_argument("--input", required=True, metavar="F", help="what export wrote")
    _target(import_)
    import_.add_argument("--batch-size", type=_positive, metavar="N", help="rows a transaction")
    import_.add_argument("--parallel", type=_positive, default=2, metavar="N", help="workers (2)")
    import_.add_argument(
        "--into-existing", action="store_true", help="the graph may hold such nodes already"
    )
    _json(import_)

    query = _verb(verbs, "query", "run one GQL statement, for a look", _query)
    _target(query)
    query.add_argument("statement", metavar="GQL")
    _json(query)

    info = _verb(verbs, "info", "print paths and versions, or what a target is", _info)
    _target(info, required=False)
    _json(info)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    function: Verb,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(verb_function=function)
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback"
    )
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        metavar="DSN",
        default="",
        help="PostgreSQL DSN, profile, or FILE.sql; empty: PG* variables",
    )
    parser.add_argument("--schema", action="append", metavar="S", help="only this schema (repeat)")


def _target(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--target",
        required=required,
        metavar="T",
        help="FILE.grafeo, quic://…, grpc://…, or a profile",
    )
    parser.add_argument("--graph", metavar="G", help="a named graph in it")


def _mapping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mapping", required=True, metavar="FILE", help="the mapping's file")


def _differences(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entity", metavar="E", default="", help="only rows of an entity")
    parser.add_argument("--cause", metavar="C", default="", help="only rows with this cause")
    parser.add_argument(
        "--key", action="append", default=[], metavar="K", help="only the row of this key (repeat)"
    )


_CUTOVER_HOOKS = (
    ("before-freeze", "run before writes stand still"),
    ("on-freeze", "run to stop the application's writes (method hook)"),
    ("on-release", "run to let them go on"),
    ("on-flip", "run to turn the application to the graph; another code than 0 aborts"),
    ("on-abort", "run when a cutover is taken back"),
    ("on-keep", "run at the end of the watch window"),
    ("hold-graph", "run to stop writes to the graph before falling back"),
    ("on-fall-back", "run to turn the application to the source"),
)


def _cutover_deeds(parser: argparse.ArgumentParser) -> None:
    deeds = parser.add_mutually_exclusive_group()
    deeds.add_argument("--gates", action="store_true", help="only look at the gates")
    deeds.add_argument("--rehearse", action="store_true", help="all but the flip")
    deeds.add_argument("--abort", action="store_true", help="take back the one that goes")
    deeds.add_argument("--keep", action="store_true", help="end the watch window")
    deeds.add_argument("--fall-back", action="store_true", help="turn back to the source")
    parser.add_argument(
        "--preview", action="store_true", help="with --fall-back: only tell what would be written"
    )
    parser.add_argument(
        "--by",
        choices=("auto", "outbox", "comparison"),
        default="auto",
        help="with --fall-back: how what was written to the graph is found",
    )
    parser.add_argument(
        "--leave",
        action="append",
        default=[],
        metavar="RULE",
        help="with --fall-back: what this rule made stays as it is on both sides (repeat)",
    )
    parser.add_argument(
        "--remove-many", action="store_true", help="with --fall-back: also over half of a table"
    )


def _dead_limit(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--dead-limit",
        type=_limit,
        default=-1,
        metavar="N",
        help=f"dead letters after which an entity stops, or none ({default})",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, and not the word none")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _positive_or(word: str) -> Callable[[str], int | str]:
    def parse(text: str) -> int | str:
        if text == word:
            return word
        try:
            return _positive(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, and not the word {word}") from None

    return parse


# Each verb imports what it needs when it runs: `--help` and `info` stay quick.


def _interface(arguments: argparse.Namespace) -> int:
    from geode_tui.app import run_app
    from geode_tui.migration.workspace import Workspace

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise GeodeTuiError(
            "the interface needs a terminal", "", "see the verbs with: geode-tui --help"
        )
    run_app(Workspace(), mouse=not arguments.no_mouse)
    return EXIT_OK


def _demo(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.demo import demo

    return demo(arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.catalog import inspect

    return inspect(arguments)


def _map(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.catalog import map_

    return map_(arguments)


def _assess(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.catalog import assess_

    return assess_(arguments)


def _plan(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.plan import plan

    return plan(arguments)


def _migrate(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.migrate import migrate

    return migrate(arguments)


def _resume(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.migrate import resume

    return resume(arguments)


def _rollback(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.rollback import rollback

    return rollback(arguments)


def _pause(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.steer import pause

    return pause(arguments)


def _throttle(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.steer import throttle

    return throttle(arguments)


def _checkpoint(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.steer import checkpoint

    return checkpoint(arguments)


def _validate(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.validate import validate

    return validate(arguments)


def _parallel(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.parallel import parallel

    return parallel(arguments)


def _sync(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.sync import sync

    return sync(arguments)


def _cutover(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.cutover import cutover

    return cutover(arguments)


def _capture(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.capture import capture

    return capture(arguments)


def _accept(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.differences import accept

    return accept(arguments)


def _repair(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.differences import repair

    return repair(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.journal import status

    return status(arguments)


def _runs(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.runs import runs

    return runs(arguments)


def _deadletters(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.dead_letters import dead_letters

    return dead_letters(arguments)


def _schema(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.schema import schema

    return schema(arguments)


def _export(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.files import export

    return export(arguments)


def _import(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.files import import_

    return import_(arguments)


def _query(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.look import query

    return query(arguments)


def _info(arguments: argparse.Namespace) -> int:
    from geode_tui.commands.look import info

    return info(arguments)
