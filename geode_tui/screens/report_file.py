"""The report of a run as a file, as the command line writes it."""

from __future__ import annotations

import time
from pathlib import Path

from geode_tui.errors import UsageError
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.run_document import facts_of
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.ledger_document import as_json
from geode_tui.validation.report import make_report
from geode_tui.validation.report_html import as_html
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown

_WRITERS = {"html": as_html, "md": as_markdown, "junit": as_junit}
_SUFFIXES = {"html": ".html", "md": ".md", "junit": ".xml", "json": ".json"}

FORMATS = (
    ("html", "HTML: one page to read, to print and to send"),
    ("md", "Markdown: for a ticket or a wiki"),
    ("junit", "JUnit: for a build server"),
    ("json", "JSON: all of it, for programs"),
)
"""The formats with what each is for."""


def file_name(number: int, form: str) -> str:
    """A name for the report of a run that says what it is."""
    return f"report-run-{number}{_SUFFIXES[form]}"


def name_problem(name: str) -> str:
    """What is wrong with the name of a file to be written, empty when nothing is."""
    if not name.strip():
        return "a file needs a name"
    path = Path(name).expanduser()
    if path.exists():
        return "there is one already: nothing is overwritten"
    return "" if path.parent.is_dir() else f"there is no folder {path.parent}"


def document(record: RunRecord, ledger: Ledger, form: str) -> str:
    """The report as a text of that format."""
    facts = facts_of(record, time.time())
    return as_json(ledger, facts) if form == "json" else _WRITERS[form](make_report(ledger, facts))


def write_new(name: str, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. Raises UsageError."""
    path = Path(name).expanduser()
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        path.hardlink_to(part)  # fails where the file has come meanwhile
    except FileExistsError:
        raise UsageError(f"{path} exists already", "", "give another name") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"{path} cannot be written", why, "give another name") from error
    finally:
        part.unlink(missing_ok=True)
