"""Findings as texts: severity in word and colour, what, evidence, mend, SQL, waiver."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from geode_tui.mapping.assess import Finding, Severity
from geode_tui.widgets.text import many_lines, one_line

SEVERITY_SHOWN: dict[Severity, tuple[str, str]] = {
    "action": ("✗ action required", "$text-error"),
    "risk": ("! risk", "$text-warning"),
    "information": ("· information", "$text-muted"),
}

_SHORT: dict[Severity, str] = {"action": "✗ action", "risk": "! risk", "information": "· info"}
_WAIVED = ("✓ waived", "$text-success")


def finding_sign(finding: Finding) -> Content:
    """Its severity in one short word, or that somebody accepted it."""
    if finding.waived:
        return Content.styled(*_WAIVED)
    return Content.styled(_SHORT[finding.severity], SEVERITY_SHOWN[finding.severity][1])


def finding_text(findings: Sequence[Finding]) -> Content:
    """Findings one after another, with their subjects."""
    parts: list[tuple[str, str]] = []
    for number, finding in enumerate(findings):
        word, style = _WAIVED if finding.waived else SEVERITY_SHOWN[finding.severity]
        parts.append(("\n" if number else "", ""))
        parts += [(word, style), (f"  {one_line(finding.subject)}\n", "$text-muted")]
        parts.append((many_lines(finding.message), ""))
        if finding.evidence:
            parts.append((f"\nseen: {many_lines(finding.evidence)}", "$text-muted"))
        if finding.mend:
            parts.append((f"\nmend: {many_lines(finding.mend)}", ""))
        if finding.sql:
            parts.append((f"\nSQL: {many_lines(finding.sql)}", "$text-secondary"))
        if finding.waived:
            parts.append((f"\nwaived: {many_lines(finding.waived)}", "$text-success"))
        parts.append(("\n", ""))
    return Content.assemble(*parts)


def findings_copied(findings: Sequence[Finding]) -> str:
    """Findings as plain text."""
    return "\n\n".join(
        "\n".join(
            line
            for line in (
                f"{SEVERITY_SHOWN[f.severity][0]}: {f.subject}",
                f.message,
                f"seen: {f.evidence}" if f.evidence else "",
                f"mend: {f.mend}" if f.mend else "",
                f"SQL: {f.sql}" if f.sql else "",
                f"waived: {f.waived}" if f.waived else "",
            )
            if line
        )
        for f in findings
    )
