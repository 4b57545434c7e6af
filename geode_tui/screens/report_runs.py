"""Validations and repairs begun from the report: what is asked for, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geode_tui.errors import UsageError
from geode_tui.mapping.model import Mapping
from geode_tui.migration.events import RunSnapshot
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.repairing import RepairPlan, RepairRequest
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.validating import ValidateRequest
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.report_dialogs import ValidateOptions

GRAPH_KINDS = ("migrate", "schema", "validate", "repair")
"""Kinds of run whose graph can be compared with the source that they read."""


@dataclass(frozen=True)
class Doing:
    """A run that goes, and the number of the report that stays on the screen meanwhile."""

    runner: Runner
    verb: str
    report: int

    @property
    def words(self) -> str:
        """`run 8 validates: comparing Order · 3 of 12 entities · 0:41`."""
        number = self.runner.run_number
        return f"{f'run {number}' if number else 'a new run'} {self.verb}: " + doing_words(
            self.runner.snapshot()
        )


def doing_words(snapshot: RunSnapshot) -> str:
    """What a run does now, and how many entities it has compared."""
    now = [text.partition(": ")[2] or text for text in snapshot.workers]
    compared = sum(entity.reason == "compared" for entity in snapshot.entities)
    parts = [now[0] if now else snapshot.phase.name]
    if snapshot.entities:
        parts.append(f"{compared:,} of {len(snapshot.entities):,} entities")
    return " · ".join(parts)


def validate_request(
    workspace: Workspace, record: RunRecord, mapping: Mapping, options: ValidateOptions
) -> ValidateRequest:
    """A validation of the source, target and mapping of a run."""
    return ValidateRequest(
        **_like(workspace, record, mapping),
        deep=options.deep,
        check_constraints=options.constraints,
        check_references=options.references,
        statistics=options.statistics,
        name=mapping_name(workspace, record),
    )


def repair_request(
    workspace: Workspace, record: RunRecord, mapping: Mapping, plan: RepairPlan
) -> RepairRequest:
    """A repair of what a plan has chosen of a run's ledger."""
    like = _like(workspace, record, mapping)
    return RepairRequest(**like, of=record.number, chosen=plan.chosen)


def _like(workspace: Workspace, record: RunRecord, mapping: Mapping) -> dict[str, Any]:
    """What a request has in common with a run; it may hold a password."""
    source, password = access(workspace, record)
    return {
        "source": source,
        "target": record.target,
        "mapping": mapping,
        "graph": record.graph or None,
        "schemas": record.schemas,
        "parallel": record.parallel,
        "label": record.label,
        "password": password,
    }


def access(workspace: Workspace, record: RunRecord) -> tuple[str, str | None]:
    """The DSN of a run's source; with the password of this sitting, where it is connected."""
    return workspace.access(record) or (record.source_dsn, None)


def mapping_name(workspace: Workspace, record: RunRecord) -> str:
    """The name of the mapping's file, as far as it is known."""
    return str(record.options.get("mapping") or workspace.mapping_path)


def options_of(record: RunRecord) -> ValidateOptions:
    """What the run looked at, where it is a validation."""
    names = ("deep", "check_constraints", "check_references", "statistics")
    return ValidateOptions(*(bool(record.options.get(name)) for name in names))


def begin(workspace: Workspace, request: RunRequest) -> Runner:
    """Begin a run as the run of this sitting. Raises UsageError while another one goes."""
    own = workspace.runner
    if own is not None and not own.finished:
        raise UsageError(f"run {own.run_number} is going", "", "stop it first, or wait for its end")
    runner = ProcessRunner(request)
    workspace.runner, workspace.watch = runner, None
    runner.start()
    return runner
