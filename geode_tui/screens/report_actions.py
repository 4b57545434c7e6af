"""What a person does with a report: accept, withdraw, repair, validate anew, write a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import ClassVar, Literal

from textual import work
from textual.binding import Binding, BindingType

from geode_tui.errors import RunStopped
from geode_tui.mapping.model import Mapping
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.repairing import RepairPlan, repair_plan
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog, PromptDialog, TextDialog
from geode_tui.screens.report_command import report_command
from geode_tui.screens.report_dialogs import ValidateDialog
from geode_tui.screens.report_file import (
    FORMATS,
    document,
    file_name,
    name_problem,
    write_new,
)
from geode_tui.screens.report_reading import Report
from geode_tui.screens.report_runs import (
    GRAPH_KINDS,
    Doing,
    begin,
    mapping_name,
    options_of,
    repair_request,
    validate_request,
)
from geode_tui.screens.report_scope import (
    MISMATCHED,
    Scope,
    accept_scopes,
    row_scopes,
    withdraw_scopes,
)
from geode_tui.target.geode_dsn import target_name
from geode_tui.validation.ledger import Difference
from geode_tui.widgets.check_model import Branch
from geode_tui.widgets.check_tree import Place
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figures import counted
from geode_tui.widgets.status_line import PRODUCTION
from geode_tui.widgets.text import one_line

Verb = Literal["accept", "withdraw", "repair"]
_VERBS: dict[Verb, str] = {
    "accept": "accept",
    "withdraw": "withdraw the acceptance of",
    "repair": "repair",
}
_PREVIEWED = 40
"""Rows that the preview of a repair names."""


class ReportActions(GeodeScreen):
    """A screen that shows a report; what is meant is what `place` says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "a",
            "accept",
            "accept",
            id="report.accept",
            tooltip="Accept what differs, for a reason; or withdraw that",
        ),
        Binding(
            "r",
            "repair",
            "repair",
            id="report.repair",
            tooltip="Write again what differs, previewed",
        ),
        Binding(
            "v",
            "validate",
            "validate",
            id="report.validate",
            tooltip="Compare the source and the graph of this run now",
        ),
        Binding("e", "export", "export", id="report.export", tooltip="Write this report to a file"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.report = Report()
        self.doing: Doing | None = None

    @property
    def place(self) -> Place | None:
        """What is looked at, None where it is nothing that was compared."""
        raise NotImplementedError

    @property
    def shown_branches(self) -> Sequence[Branch]:
        """The tree of checks, as far as the filter shows it."""
        raise NotImplementedError

    @property
    def filtered(self) -> bool:
        """Whether a filter hides some of the tree."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read the report anew."""
        raise NotImplementedError

    def stay_with(self, number: int) -> None:
        """Keep showing the report of that run, whatever run of this sitting is begun."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible at the place that is looked at."""
        record, ledger, place = self.report.record, self.report.ledger, self.place
        if action == "accept":
            return ledger is not None and place is not None and _state(place) in _ACCEPTABLE
        if action == "repair":
            usable = record is not None and record.kind in GRAPH_KINDS and self._idle
            return usable and place is not None and _state(place) == "mismatched"
        if action == "validate":
            return record is not None and record.kind in GRAPH_KINDS and self._idle
        if action == "export":
            return ledger is not None
        return super().check_action(action, parameters)

    @property
    def _idle(self) -> bool:
        own = self.workspace.runner
        return own is None or own.finished

    # Accept, withdraw.

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_accept(self) -> None:
        """Accept what differs, for a reason; what is accepted can be withdrawn."""
        place, record = self.place, self.report.record
        if place is None or record is None:
            self.say("put the cursor on what differs")
            return
        branches = self.shown_branches
        adding = await asyncio.to_thread(accept_scopes, place, branches)
        taking = await asyncio.to_thread(withdraw_scopes, place, branches)
        offers: list[tuple[Verb, Scope]] = [("accept", scope) for scope in adding]
        offers += [("withdraw", scope) for scope in taking]
        if _state(place) == "accepted":
            offers.sort(key=lambda offer: offer[0] == "accept")
        chosen = await self._choose("accept?", offers)
        if chosen is None:
            return
        verb, scope = chosen
        if verb == "accept":
            await self._accept(record, scope)
        else:
            await self._withdraw(record, scope)

    async def _accept(self, record: RunRecord, scope: Scope) -> None:
        dialog = PromptDialog(
            "why is it accepted?",
            message=(
                f"{scope.words}\n\nIt is accepted as it differs now, in this graph, and counts no"
                " more, until something else differs there. The reason is kept with your name."
            ),
            check=lambda text: "" if text.strip() else "a reason is needed",
        )
        reason = await self.app.push_screen_wait(dialog)
        if reason is not None:
            await asyncio.to_thread(accept, record, scope, reason)
            self.say(f"○ {counted(scope.number, 'difference')} accepted")
            self.reload()

    async def _withdraw(self, record: RunRecord, scope: Scope) -> None:
        text = f"{scope.words}\n\nWhat differs counts again."
        dialog = ConfirmDialog("withdraw the acceptance?", text, yes="withdraw", no="not now")
        if await self.app.push_screen_wait(dialog):
            gone = await asyncio.to_thread(withdraw, record, scope)
            self.say(f"{counted(gone, 'acceptance')} withdrawn")
            self.reload()

    async def _choose(
        self, title: str, offers: Sequence[tuple[Verb, Scope]]
    ) -> tuple[Verb, Scope] | None:
        """How many are meant; without a question where there is one answer."""
        if not offers:
            self.say("nothing here can be accepted or repaired")
            return None
        if len(offers) == 1:
            return offers[0]
        choices = [
            (str(n), f"{_VERBS[verb]} {scope.words}") for n, (verb, scope) in enumerate(offers)
        ]
        only = "Only what the filter shows is meant." if self.filtered else ""
        answer = await self.app.push_screen_wait(ChoiceDialog(title, choices, message=only))
        return offers[int(answer)] if answer is not None else None

    # Repair.

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_repair(self) -> None:
        """Write again what differs, once a person has seen what would be done."""
        place, record = self.place, self.report.record
        if place is None or record is None:
            self.say("put the cursor on what differs")
            return
        scopes = await asyncio.to_thread(row_scopes, place, self.shown_branches, MISMATCHED)
        chosen = await self._choose("repair which rows?", [("repair", scope) for scope in scopes])
        if chosen is None:
            return
        plan = await asyncio.to_thread(repair_plan, chosen[1].rows)
        text = preview_text(record, plan)
        if not plan.chosen:
            self.app.push_screen(TextDialog("nothing of it can be repaired", text))
            return
        production = record.label.upper() == PRODUCTION
        dialog = ConfirmDialog(
            f"repair {counted(len(plan.chosen), 'row')}?",
            text,
            yes="repair",
            no="not now",
            type_name=target_name(record.target, record.graph) if production else "",
        )
        if await self.app.push_screen_wait(dialog):
            mapping = await asyncio.to_thread(mapping_of, record)
            request = repair_request(self.workspace, record, mapping, plan)
            self._follow_run(Doing(begin(self.workspace, request), "repairs", record.number))

    # Validate.

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_validate(self) -> None:
        """Compare source and graph now, in a run of its own."""
        record = self.report.record
        if record is None or record.kind not in GRAPH_KINDS:
            self.say("there is no graph to compare")
            return
        connected = self.workspace.access(record) is not None
        message = f"{record.source} ─▶ {record.place}\nNothing is written; it is a run of its own."
        if not connected:
            message += (
                "\nThis sitting is not connected to its source: a password it needs is looked for"
                " where libpq looks for it."
            )
        options = await self.app.push_screen_wait(ValidateDialog(message, options_of(record)))
        if options is None:
            return
        mapping = await asyncio.to_thread(mapping_of, record)
        request = validate_request(self.workspace, record, mapping, options)
        self._follow_run(Doing(begin(self.workspace, request), "validates", record.number))

    # A run that goes.

    def _follow_run(self, doing: Doing) -> None:
        """Show how far a run is, with the report as it was, until it has ended."""
        self.doing = doing
        self.stay_with(doing.report)
        self.refresh_bindings()
        self.refresh_status()

    def look_after_run(self) -> None:
        """Show the report of a validation, or again what was repaired, once the run has ended."""
        doing = self.doing
        if doing is None or not doing.runner.finished:
            return
        self.doing = None
        error, number = doing.runner.error, doing.runner.run_number
        if error is None and number is not None:
            validates = doing.verb == "validates"
            self.stay_with(number if validates else doing.report)
            if not validates:
                told = f"run {number} has repaired: its own ledger is its report · h"
                self.app.notify(told, timeout=10, markup=False)
        elif error is not None and self.is_current and not isinstance(error, RunStopped):
            self.show_error(error)
        elif error is not None:
            self.app.notify(one_line(error.what), severity="warning", timeout=10, markup=False)
        self.reload()
        self.refresh_bindings()

    # A file, a command.

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_export(self) -> None:
        """Write the report to a file that is not there yet."""
        record, ledger = self.report.record, self.report.ledger
        if record is None or ledger is None:
            self.say("there is no report yet")
            return
        form = await self.app.push_screen_wait(ChoiceDialog("write the report as …", FORMATS))
        if form is None:
            return
        name = await self.app.push_screen_wait(
            PromptDialog("the name of the file", file_name(record.number, form), check=name_problem)
        )
        if name is None:
            return
        text = await asyncio.to_thread(document, record, ledger, form)
        await asyncio.to_thread(write_new, name, text)
        self.say(f"wrote {name}")

    def action_copy_command(self) -> None:
        """Copy the command that compares, or that repairs what is looked at."""
        record = self.report.record
        if record is None:
            super().action_copy_command()
            return
        command = report_command(record, self.place, mapping_name(self.workspace, record))
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")


_ACCEPTABLE = ("mismatched", "suspended", "accepted")


def _state(place: Place) -> str:
    return place.row.state if place.row is not None else place.branch.state


def accept(record: RunRecord, scope: Scope, reason: str) -> None:
    """Journal an acceptance. Raises UsageError."""
    with contextlib.closing(Journal()) as journal:
        place = record.graph_identity
        journal.acceptances.accept(place, record.number, scope.signs(), reason)


def withdraw(record: RunRecord, scope: Scope) -> int:
    """Take acceptances back; how many there were."""
    with contextlib.closing(Journal()) as journal:
        signs = [sign for sign, _ in scope.signs()]
        return journal.acceptances.withdraw(record.graph_identity, record.number, signs)


def mapping_of(record: RunRecord) -> Mapping:
    """The mapping that a run went by."""
    with contextlib.closing(Journal()) as journal:
        return journal.mapping(record.number)


def preview_text(record: RunRecord, plan: RepairPlan) -> str:
    """What a repair would do, in numbers and row by row."""
    named = [
        *(_row_line("write", one, "") for one in plan.write),
        *(_row_line("replace", one, _values(one)) for one in plan.replace),
        *(_row_line("remove", one, "") for one in plan.remove),
        *(_row_line("leave", one, reason) for one, reason in plan.left),
    ]
    more = len(named) - _PREVIEWED
    lines = [f"{record.source} ─▶ {record.place}", "", *plan.lines, "", *named[:_PREVIEWED]]
    if more > 0:
        lines.append(f"… and {more:,} more")
    journaled = "What it changes is journaled before: a rollback (screen 6) takes it back."
    return "\n".join([*lines, "", journaled])


def _row_line(verb: str, one: Difference, words: str) -> str:
    told = f"  {words}" if words else ""
    return one_line(f"{verb:<8} {entity_title(one.entity)} {one.key}{told}")


def _values(one: Difference) -> str:
    return "; ".join(f"{name}: {graph} becomes {source}" for name, source, graph in one.values)
