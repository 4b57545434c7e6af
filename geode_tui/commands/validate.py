"""`validate`: the ledger, the digests and all checks of what is in the graph now, as a report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from geode_tui.commands.arguments import schemas_of, source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.migrate import follow
from geode_tui.commands.output import (
    ledger_document,
    say,
    show,
    show_document,
    show_json,
    show_ledger,
    silence,
    to_file,
)
from geode_tui.errors import EXIT_DIFFERS, EXIT_INTERRUPTED, EXIT_OK, RunStopped, UsageError
from geode_tui.migration.runner import Runner
from geode_tui.migration.validating import ValidateRequest
from geode_tui.source.dsn import check_dsn, short_name
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.report import Facts, Report, make_report
from geode_tui.validation.report_html import as_html
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown


def validate(arguments: argparse.Namespace) -> int:
    """Compare source and graph and print what was found; exit 4 when the graph differs."""
    form = "json" if arguments.json else str(arguments.format)
    with _output(arguments.output, form):
        code = _validated(arguments, form)
    if arguments.output is not None:
        say(f"wrote {arguments.output}")
    return code


def _validated(arguments: argparse.Namespace, form: str) -> int:
    request = _request(arguments)
    runner = Runner(request)
    ledger = ledger_of(runner)
    print_report(ledger, _facts(request, runner.run_number), form)
    return EXIT_OK if ledger.valid else EXIT_DIFFERS


def ledger_of(runner: Runner) -> Ledger:
    """Drive a run that is not resumed to its end. Raises what it ended with, if not well."""
    stopped = follow(runner)
    if runner.error is not None:
        if stopped and isinstance(runner.error, RunStopped):
            runner.error.exit_code = EXIT_INTERRUPTED
        raise runner.error
    assert runner.ledger is not None
    return runner.ledger


def _output(name: str | None, form: str) -> AbstractContextManager[None]:
    """Where the report goes: a file that is not there yet, or stdout where that makes sense.

    It is opened before anything is compared: who waits for hours wants to find it.
    """
    if name is not None:
        return to_file(Path(name))
    if form == "html" and sys.stdout.isatty():
        raise UsageError("a page of HTML is not for a terminal", "", "name a file with --output")
    return nullcontext()


def _request(arguments: argparse.Namespace) -> ValidateRequest:
    place, graph = target_of(arguments)
    _, mapping = checked_mapping(arguments)
    return ValidateRequest(
        source_of(arguments),
        place,
        mapping,
        graph,
        schemas_of(arguments),
        deep=arguments.deep,
        check_constraints=arguments.check_constraints,
        check_references=arguments.check_references,
        statistics=arguments.statistics,
        name=arguments.mapping,
    )


def _facts(request: ValidateRequest, run: int | None) -> Facts:
    near = request.target.removeprefix(f"{Path.cwd()}{os.sep}")
    named = f"{near}, graph {request.graph}" if request.graph else near
    return Facts(short_name(check_dsn(request.source)), named, request.name, run)


def print_report(ledger: Ledger, facts: Facts, form: str) -> None:
    """Print a ledger; the exit code tells its verdict, also where nobody reads on."""
    try:
        if form == "json":
            show_json(ledger_document(ledger, facts))
        elif form == "table":
            show(f"run {facts.run}")
            show_ledger(ledger, facts)
        else:
            show_document(_DOCUMENTS[form](make_report(ledger, facts)))
    except BrokenPipeError:
        silence(sys.stdout)


_DOCUMENTS: dict[str, Callable[[Report], str]] = {
    "md": as_markdown,
    "html": as_html,
    "junit": as_junit,
}
