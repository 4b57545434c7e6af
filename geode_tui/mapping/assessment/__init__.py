"""What a person should know before a run: findings with evidence, a mend, and waivers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from geode_tui.catalog import Catalog, Profile
from geode_tui.mapping.assessment.behind import left_out, not_carried
from geode_tui.mapping.assessment.columns import column_parts
from geode_tui.mapping.assessment.expressions import expression_findings
from geode_tui.mapping.assessment.finding import CODES, SEVERITIES, Finding, Severity, together
from geode_tui.mapping.assessment.inverse import inverse_findings
from geode_tui.mapping.assessment.references import (
    key_findings,
    reference_findings,
    unfollowed_references,
)
from geode_tui.mapping.assessment.rules import (
    condition_findings,
    join_findings,
    misfits,
    name_findings,
    supernode_findings,
)
from geode_tui.mapping.assessment.tables import (
    inheritance_findings,
    permission_findings,
    size_findings,
    statistics_findings,
    tables_read,
)
from geode_tui.mapping.assessment.waivers import (
    accepted,
    idle_waivers,
    marked,
    unwaive,
    waive,
    without_waived_parts,
)
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.file import MappingFile
from geode_tui.mapping.model import Mapping

__all__ = ["CODES", "SEVERITIES", "Finding", "Severity", "assess", "unwaive", "waive"]


def assess(
    mapping: Mapping,
    catalog: Catalog,
    profile: Profile | None = None,
    counts: Counts | None = None,
    file: MappingFile | None = None,
    further: Iterable[Finding] = (),
) -> tuple[Finding, ...]:
    """All findings of a mapping on a catalog, the gravest first, the waived ones last.

    `profile` and `counts` add what the statistics and a count say; with `file`, the mapping's
    file, a misfit names its line. `further` are findings of others: what the target says.
    """
    reasons = accepted(mapping)
    parts, waived_parts = without_waived_parts(
        column_parts(mapping, catalog, profile, counts), reasons
    )
    whole = _findings(mapping, catalog, profile or Profile(), counts or Counts())
    findings = [
        *misfits(file or MappingFile(mapping), catalog),
        *marked(dict.fromkeys(whole), reasons),
        *marked(further, reasons),
        *marked(together(parts), reasons),
        *waived_parts,
    ]
    findings += idle_waivers(mapping, findings)
    return tuple(sorted(findings, key=lambda f: (f.waived != "", SEVERITIES.index(f.severity))))


def _findings(
    mapping: Mapping, catalog: Catalog, profile: Profile, counts: Counts
) -> Iterator[Finding]:
    tables = tables_read(mapping, catalog)
    yield from left_out(mapping, catalog)
    yield from permission_findings(tables, catalog)
    yield from unfollowed_references(catalog)
    yield from reference_findings(tables, catalog, counts)
    yield from key_findings(mapping, catalog, profile, counts)
    yield from inheritance_findings(mapping, tables, catalog)
    yield from condition_findings(mapping, counts)
    yield from join_findings(mapping, catalog)
    yield from inverse_findings(mapping, catalog)
    yield from expression_findings(mapping, catalog)
    yield from supernode_findings(mapping, catalog, profile)
    yield from name_findings(mapping)
    yield from size_findings(mapping, tables, profile, counts)
    yield from statistics_findings(tables, catalog, counts)
    yield from not_carried(tables)
    for name, reason in counts.not_counted.items():
        message = f"its rows were not counted: {reason}"
        yield Finding("information", "not_counted", str(name), message)
