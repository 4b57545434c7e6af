"""The findings of a rule or of the whole mapping: a line each, in groups of severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from geode_tui.mapping.assess import SEVERITIES, Finding
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.finding_text import finding_sign
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import Row, TableColumn

_COLUMNS = (TableColumn("", 8), TableColumn("finding", least=24))


class FindingList(FigureTable):
    """Findings, those that stop a run first, the waived ones last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "w",
            "screen.waive",
            "waive",
            id="findings.waive",
            tooltip="Accept the finding under the cursor, with a reason, or no longer",
        ),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="–", header=False, id=id, classes=classes)
        self._findings: list[Finding] = []
        self._scope = ""

    @property
    def finding(self) -> Finding | None:
        """The finding under the cursor."""
        return self._findings[self.cursor] if self.cursor < len(self._findings) else None

    @property
    def findings(self) -> Sequence[Finding]:
        """All that are shown."""
        return self._findings

    def show_findings(self, findings: Sequence[Finding], nothing: str, scope: str = "") -> None:
        """Show these, or say that there is `nothing`; the cursor stays where it is.

        The name of the table or rule that all are of, `scope`, is not repeated on each line.
        """
        self._scope = scope
        self._findings = sorted(
            findings, key=lambda f: (f.waived != "", SEVERITIES.index(f.severity))
        )
        self.set_empty(nothing)
        self.set_source(len(findings), self._cells)

    def _cells(self, index: int) -> Row:
        finding = self._findings[index]
        subject = finding.subject
        if self._scope:
            subject = "" if subject == self._scope else subject.removeprefix(f"{self._scope}.")
        subject = f"{subject}: " if subject else ""
        return (
            finding_sign(finding),
            Content.assemble((one_line(subject), "$text-muted"), one_line(finding.message)),
        )


def finding_counts(findings: Sequence[Finding]) -> str:
    """`1 action · 2 risk · 3 info · 1 waived`, without zeros."""
    counted = Counter("waived" if f.waived else f.severity for f in findings)
    words = {"action": "action", "risk": "risk", "information": "info", "waived": "waived"}
    return " · ".join(f"{counted[kind]:,} {word}" for kind, word in words.items() if counted[kind])


def finding_content(finding: Finding) -> Content:
    """Message, evidence, mend, the SQL that mends, and why it was accepted."""
    parts: list[tuple[str, str]] = []
    if finding.waived:
        parts.append((f"waived: {many_lines(finding.waived)}\n", "$text-success"))
    parts.append((many_lines(finding.message), ""))
    if finding.evidence:
        parts.append((f"\nseen  {many_lines(finding.evidence)}", "$text-muted"))
    if finding.mend:
        parts.append((f"\nmend  {many_lines(finding.mend)}", ""))
    if finding.sql:
        parts.append((f"\nSQL   {many_lines(finding.sql)}", "$text-secondary"))
    return Content.assemble(*parts)
