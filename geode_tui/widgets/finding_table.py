"""Findings, a line each, the gravest first, the waived ones last."""

from __future__ import annotations

from collections.abc import Sequence

from geode_tui.mapping.assess import Finding
from geode_tui.widgets.figure_table import FigureTable
from geode_tui.widgets.finding_text import finding_sign
from geode_tui.widgets.virtual_table import Row, TableColumn

_COLUMNS = (
    TableColumn("severity", 8),
    TableColumn("subject", least=24),
    TableColumn("message", least=40),
)


class FindingTable(FigureTable):
    """What the assessment found."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="✓ nothing found", id=id, classes=classes)
        self._findings: Sequence[Finding] = ()

    @property
    def finding(self) -> Finding | None:
        """The finding under the cursor."""
        return self._findings[self.cursor] if self.cursor < len(self._findings) else None

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Show these findings."""
        self._findings = findings
        self.set_source(len(findings), self._cells, keep_cursor=False)

    def _cells(self, index: int) -> Row:
        finding = self._findings[index]
        return (finding_sign(finding), finding.subject, finding.message)
