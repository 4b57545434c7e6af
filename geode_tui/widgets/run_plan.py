"""What a run will do, in words, before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from geode_tui.catalog import Catalog
from geode_tui.mapping.assess import SEVERITIES, Finding
from geode_tui.mapping.model import Mapping
from geode_tui.widgets.figures import counted
from geode_tui.widgets.text import one_line, short_count

_WORDS = {"action": "action required", "risk": "risk", "information": "information"}


def rows_to_move(mapping: Mapping, catalog: Catalog) -> str:
    """How many rows the rules will read, as far as the planner's estimates know."""
    total, unknown = 0, set()
    for rule in mapping.active_rules():
        table = catalog.table(rule.table)
        if table is None or table.estimated_rows is None:
            unknown.add(rule.table)
        else:
            total += table.estimated_rows
    if not unknown:
        return f"±{short_count(total)} rows to read"
    return (
        f"±{short_count(total)} rows to read, and {counted(len(unknown), 'table')} never analyzed"
    )


def severities(findings: Sequence[Finding]) -> str:
    """`0 action required · 2 risk · 14 information · 1 waived`, each counted once."""
    count = Counter(finding.severity for finding in findings if not finding.waived)
    parts = [f"{count[severity]:,} {_WORDS[severity]}" for severity in SEVERITIES]
    waived = sum(bool(finding.waived) for finding in findings)
    return " · ".join([*parts, f"{waived:,} waived"] if waived else parts)


def plan_text(
    source: str,
    label: str,
    target: str,
    mapping: Mapping,
    catalog: Catalog,
    findings: Sequence[Finding],
    saved: bool,
) -> str:
    """The whole plan: from, to, what, how much, and what was found."""
    nodes, relationships = len(mapping.active_nodes), len(mapping.active_relationships)
    labelled = f" {label}" if label else ""
    lines = [
        f"from      {one_line(source)}{one_line(labelled)}, read only, in one snapshot",
        f"to        {one_line(target)}",
        f"moves     {counted(nodes, 'label')}, {counted(relationships, 'relationship')}",
        f"          {rows_to_move(mapping, catalog)}",
        f"findings  {severities(findings)}",
    ]
    if not saved:
        lines.append("mapping   not saved to its file; the run keeps a copy of its own")
    return "\n".join(lines)
