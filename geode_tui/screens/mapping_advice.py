"""What others say of the mapping: findings to mend or to waive, suggestions to apply or ignore."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import ScreenSuspend
from textual.widgets import Static

from geode_tui.catalog import Catalog
from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import suggest
from geode_tui.mapping.assess import Finding, unwaive, waive
from geode_tui.mapping.implied import candidates
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggest import Suggestion
from geode_tui.screens.dialogs import ChoiceDialog, PromptDialog, TextDialog
from geode_tui.screens.mapping_edits import MappingEdits
from geode_tui.source.introspect import collector_at_rest
from geode_tui.widgets.figures import counted
from geode_tui.widgets.finding_list import FindingList, finding_content, finding_counts
from geode_tui.widgets.finding_text import findings_copied
from geode_tui.widgets.panes import Pane
from geode_tui.widgets.rule_table import FindingIndex, RuleItem
from geode_tui.widgets.suggestion_list import SuggestionList, suggestion_content, suggestion_text
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_MANY = 500
"""So many rules take a while to judge: that waits until the edits come to rest."""
_CALM, _LONG_CALM = 0.3, 1.0
"""Seconds without an edit before many rules are judged, and before suggestions are sought."""
_TESTED_AT_ONCE = 8
_SECONDS_A_TEST = 20.0
_MOST_TESTED = 400
"""Only so many references are looked up, those with the best names."""


class MappingAdvice(MappingEdits):
    """The keys of findings and suggestions, and the workers that find them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply", "apply", id="mapping.apply", tooltip="Apply the suggestion"),
        Binding(
            "A",
            "apply_alike",
            "apply all alike",
            show=False,
            id="mapping.apply-alike",
            tooltip="Apply all suggestions of this kind",
        ),
        Binding("i", "ignore", "ignore", id="mapping.ignore", tooltip="Never suggest this again"),
        Binding(
            "F",
            "all_findings",
            "all findings",
            show=False,
            id="mapping.all-findings",
            tooltip="The findings of the whole mapping, or of the rule under the cursor",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.finding_index = FindingIndex((), Catalog())
        self._all_findings: tuple[Finding, ...] = ()
        self._found_in: Catalog | None = None
        self._shows_all = False
        self._testing = ""
        self._assessing = self._unassessed = False
        self._tested_all_of: Catalog | None = None

    @property
    def finding_list(self) -> FindingList:
        """The findings."""
        return self.query_one("#findings", FindingList)

    @property
    def suggestion_list(self) -> SuggestionList:
        """The suggestions."""
        return self.query_one("#suggestions", SuggestionList)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of suggestions work where the suggestions have the focus."""
        if action in ("apply", "apply_alike", "ignore"):
            return self.focused is self.suggestion_list if self.is_mounted else False
        return super().check_action(action, parameters)

    @property
    def rule_item(self) -> RuleItem | None:
        """The line of the rules under the cursor."""
        raise NotImplementedError

    def show_rules(self, mapping: Mapping, catalog: Catalog) -> None:
        """Show the rules with what is known of them."""
        raise NotImplementedError

    # Findings and suggestions follow the mapping.

    def assess(self) -> None:
        """Find what there is to say of the current mapping, once what is under way has ended."""
        self._unassessed = True
        if not self._assessing:
            self._assessing = True
            self._assess()

    @work(group="findings", exit_on_error=False)
    async def _assess(self) -> None:
        try:
            while self._unassessed:
                self._unassessed = False
                await self._rest(_CALM)
                if not self._unassessed:
                    async with collector_at_rest():
                        await self._find()
        finally:
            self._assessing = False

    async def _rest(self, seconds: float) -> None:
        """Wait for more edits, where each of them would cost much."""
        mapping = self.workspace.mapping
        if mapping is not None and len(mapping.rules) > _MANY:
            await asyncio.sleep(seconds)

    async def _find(self) -> None:
        workspace = self.workspace
        index = await asyncio.to_thread(self._judged)
        history, catalog = self.history, workspace.catalog
        if history is None or catalog is None or self._unassessed:
            return
        if index is not None:
            self._all_findings, self._found_in = index.findings, catalog
            self.finding_index = index
            self.show_rules(history.current, catalog)
        await self._suggest()
        if not self._unassessed:
            self._know_more(catalog)

    def _judged(self) -> FindingIndex | None:
        """What there is to say by rule, None where it is what is shown."""
        workspace = self.workspace
        mapping, catalog = workspace.mapping, workspace.catalog
        found = workspace.findings()
        if mapping is None or catalog is None:
            return None
        if catalog is self._found_in and found == self._all_findings:
            return None
        index = FindingIndex(found, catalog)
        for rule in mapping.rules:
            index.warns_of(rule)  # here, not where it holds up the screen
        return index

    async def _suggest(self) -> None:
        await self._rest(_LONG_CALM)
        if self._unassessed:
            return
        suggestions = await asyncio.to_thread(self.workspace.suggestions)
        if self._unassessed:
            return
        nothing = "nothing to suggest" if self.workspace.source else "nothing to suggest by names"
        self.suggestion_list.show_suggestions(suggestions, nothing)
        self._show_suggestion()

    def _know_more(self, catalog: Catalog) -> None:
        """Ask the source for statistics and try references, once a catalog."""
        if self.workspace.source is not None and self._tested_all_of is not catalog:
            self._tested_all_of = catalog
            self._ask_source(catalog)

    # A description: else one is made of the catalog's repr, a fifth of a second at 2,000 tables.
    @work(exclusive=True, group="references", exit_on_error=False, description="references")
    async def _ask_source(self, catalog: Catalog) -> None:
        workspace = self.workspace
        try:
            await workspace.read_statistics()
            statistics = workspace.statistics
            if statistics is None:
                return
            found = await asyncio.to_thread(candidates, catalog, statistics)
            left = [one for one in found if one.reference not in workspace.tested][:_MOST_TESTED]
            for start in range(0, len(left), _TESTED_AT_ONCE):
                self._show_progress(f"testing {start:,} of {counted(len(left), 'reference')}")
                await workspace.test_references(
                    left[start : start + _TESTED_AT_ONCE], _SECONDS_A_TEST
                )
        except GeodeTuiError as error:
            self.say(f"suggestions know less: {one_line(error.what)}")
        finally:
            self._show_progress("")
        self.assess()

    @on(ScreenSuspend)
    def _left(self) -> None:
        """Whoever leaves does not let the source work on."""
        if self._testing:
            self._tested_all_of = None
            self.workers.cancel_group(self, "references")

    def _show_progress(self, text: str) -> None:
        self._testing = text
        if self.is_mounted:
            self._show_suggestions_title()

    # Findings.

    def show_findings(self, item: RuleItem | None) -> None:
        """Show the findings of a rule or a table, or those of the whole mapping."""
        if self._shows_all:
            found = list(self._all_findings)
        elif item is None:
            found = []
        elif item.rule is None:
            found = self.finding_index.of_table(item.table)
        else:
            found = self.finding_index.of(item.rule)
        none = "–"
        if item or self._shows_all:
            none = f"✓ nothing found about {item.title if item else 'the mapping'}"
        scope_name = str(item.table) if item and not self._shows_all else ""
        self.finding_list.show_findings(found, none, scope_name)
        scope = "all findings" if self._shows_all else "findings"
        title = f"{scope} · {finding_counts(found)}" if found else scope
        brief = f"{scope} {len(found)}" if found else scope
        self.query_one("#mapping-findings", Pane).set_title(title, brief)
        self._show_finding()

    @on(VirtualTable.RowHighlighted, "#findings")
    def _show_finding(self) -> None:
        finding = self.finding_list.finding
        content = finding_content(finding) if finding else Content("")
        self.query_one("#finding", Static).update(content)
        self.query_one("#finding-scroll").display = finding is not None

    @on(VirtualTable.RowSelected, "#findings")
    def _finding_opened(self) -> None:
        finding = self.finding_list.finding
        if finding is not None:
            self.app.push_screen(TextDialog("a finding", findings_copied([finding])))

    def action_all_findings(self) -> None:
        """Show the findings of the whole mapping, or of the rule under the cursor."""
        self._shows_all = not self._shows_all
        self.show_findings(self.rule_item)

    def action_waive(self) -> None:
        """Accept the finding under the cursor with a reason, or take that back."""
        finding = self.finding_list.finding
        if finding is None:
            self.say("there is no finding here")
        elif finding.waived:
            self.edit(f"no longer waived: {finding.code}", lambda m: unwaive(m, finding))
        else:
            self._ask_reason(finding)

    def _ask_reason(self, finding: Finding) -> None:
        def done(reason: str | None) -> None:
            if reason is not None:
                self.edit(f"waived {finding.code}", lambda m: waive(m, finding, reason))

        def problem(reason: str) -> str:
            try:
                waive(Mapping(), finding, reason)
            except GeodeTuiError as error:
                return error.what
            return ""

        message = f"{finding.subject}: {finding.message}"
        dialog = PromptDialog(f"waive {finding.code}: why?", check=problem, message=message)
        self.app.push_screen(dialog, done)

    # Suggestions.

    @on(VirtualTable.RowHighlighted, "#suggestions")
    def _show_suggestion(self) -> None:
        suggestion = self.suggestion_list.suggestion
        content = suggestion_content(suggestion) if suggestion else Content("")
        self.query_one("#suggestion", Static).update(content)
        self.query_one("#suggestion-scroll").display = suggestion is not None
        self._show_suggestions_title()

    def _show_suggestions_title(self) -> None:
        number = len(self.suggestion_list.suggestions)
        title = f"suggestions {number:,}" if number else "suggestions"
        more = f" · {self._testing}" if self._testing else ""
        self.query_one("#mapping-suggestions", Pane).set_title(f"{title}{more}", title)

    @on(VirtualTable.RowSelected, "#suggestions")
    def _suggestion_opened(self) -> None:
        """Show the other ways, each of which can be chosen."""
        suggestion = self.suggestion_list.suggestion
        if suggestion is None:
            return
        choices = [("0", suggestion.title)]
        choices += [(str(n), title) for n, (title, _) in enumerate(suggestion.alternatives, 1)]

        def done(chosen: str | None) -> None:
            if chosen == "0":
                self.edit(suggestion.title, suggestion.apply)
            elif chosen is not None:
                self.edit(*suggestion.alternatives[int(chosen) - 1])

        message = suggestion_content(suggestion).plain
        self.app.push_screen(ChoiceDialog("apply a suggestion", choices, message=message), done)

    def _suggestion_or_say(self) -> Suggestion | None:
        suggestion = self.suggestion_list.suggestion
        if suggestion is None:
            self.say("there is no suggestion here")
        return suggestion

    def action_apply(self) -> None:
        """Apply the suggestion under the cursor."""
        suggestion = self._suggestion_or_say()
        if suggestion is not None:
            self.edit(suggestion.title, suggestion.apply)

    def action_apply_alike(self) -> None:
        """Apply all suggestions of the same kind, as one step."""
        suggestion = self._suggestion_or_say()
        if suggestion is not None:
            some = suggest.alike(suggestion, self.suggestion_list.suggestions)
            what = f"applied {counted(len(some), 'suggestion')}: {suggestion.kind}"
            self.edit(what, lambda m: suggest.apply_all(m, some))

    def action_ignore(self) -> None:
        """Note in the mapping not to suggest this again."""
        suggestion = self._suggestion_or_say()
        if suggestion is not None:
            self.edit(f"ignored: {suggestion.title}", lambda m: suggest.ignore(m, suggestion))

    def copied(self) -> str:
        """The SQL that mends the finding under the cursor, or the suggestion."""
        if self.focused is self.finding_list:
            finding = self.finding_list.finding
            return (finding.sql or findings_copied([finding])) if finding else ""
        if self.focused is self.suggestion_list:
            suggestion = self.suggestion_list.suggestion
            return suggestion_text(suggestion) if suggestion else ""
        return super().copied()
