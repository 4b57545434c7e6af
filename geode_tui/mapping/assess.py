"""What a person should know before a run: findings with evidence and a mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from geode_tui.catalog import Catalog, Column, Table
from geode_tui.mapping.check import find_problems
from geode_tui.mapping.model import Mapping, NodeRule, Rule
from geode_tui.mapping.types import DECIMAL_DIGITS, conversion

Severity = Literal["action", "risk", "information"]
SEVERITIES: tuple[Severity, ...] = ("action", "risk", "information")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found: `action` must be mended before a run, `risk` may cost rows or exactness.

    `code` is a stable name; `subject` the table, column or rule; `evidence` what was seen;
    `mend` what to do, as SQL where there is one.
    """

    severity: Severity
    code: str
    subject: str
    message: str
    evidence: str = ""
    mend: str = ""


def assess(mapping: Mapping, catalog: Catalog) -> tuple[Finding, ...]:
    """All findings of a mapping on a catalog, the gravest first."""
    findings = [
        *(_misfit(p.what, p.hint) for p in find_problems(mapping, catalog)),
        *_left_out(mapping, catalog),
        *_dropped_relationships(mapping, catalog),
    ]
    for rule in mapping.active_rules():
        table = catalog.table(rule.table)
        if table is not None:
            findings.extend(_table_findings(rule, table, catalog))
            findings.extend(_column_findings(rule, table))
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda f: SEVERITIES.index(f.severity)))


def _misfit(what: str, hint: str) -> Finding:
    return Finding("action", "mapping_misfit", "mapping", what, mend=hint)


def _left_out(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    moved = {rule.table for rule in mapping.active_rules()}
    known = {rule.table for rule in mapping.rules}
    for table in catalog.tables:
        subject = str(table.name)
        if table.kind not in ("table", "partitioned"):
            yield Finding("information", "not_moved", subject, f"a {table.kind} is not moved")
        elif table.name not in known:
            yield Finding(
                "risk",
                "not_mapped",
                subject,
                "no rule of the mapping names this table: its rows stay behind",
                mend="geode-tui map --merge adds what is new in the source",
            )
        elif table.name not in moved:
            yield Finding("information", "not_moved", subject, "excluded in the mapping")


def _dropped_relationships(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    active = {rule.id for rule in mapping.active_relationships}
    for rule in mapping.relationships:
        if rule.include and rule.id not in active:
            message = "not moved: the label at one of its ends is excluded"
            yield Finding("information", "not_moved", rule.id, message)
    for table in catalog.tables:
        for key in table.foreign_keys:
            if key.obstacle:
                message = f"foreign key {key.name} makes no relationship: {key.obstacle}"
                yield Finding("risk", "reference_not_followed", str(table.name), message)
            elif catalog.table(key.to_table) is None:
                message = f"foreign key {key.name} points at {key.to_table}, which was not read"
                mend = f"add --schema {key.to_table.schema}"
                yield Finding("risk", "reference_not_read", str(table.name), message, mend=mend)


def _table_findings(rule: Rule, table: Table, catalog: Catalog) -> Iterator[Finding]:
    subject = str(table.name)
    if not table.readable:
        yield Finding(
            "action",
            "no_permission",
            subject,
            f"role {catalog.server.role} may not read this table",
            mend=f"GRANT SELECT ON {subject} TO {catalog.server.role}; or exclude it",
        )
    if table.row_security:
        yield Finding(
            "risk",
            "row_security",
            subject,
            f"row security may hide rows from role {catalog.server.role}",
            mend="use a role with BYPASSRLS",
        )
    if isinstance(rule, NodeRule) and not rule.key:
        yield Finding(
            "risk",
            "no_key",
            subject,
            "no primary or unique key: rows are known by their place in the table",
            "an interrupted run reads this table again from its start",
            f"ALTER TABLE {subject} ADD PRIMARY KEY (…)",
        )
    for key in table.foreign_keys:
        if not key.validated:
            yield Finding(
                "risk",
                "not_validated",
                subject,
                f"foreign key {key.name} is NOT VALID: rows may point at nothing",
                mend=f'ALTER TABLE {subject} VALIDATE CONSTRAINT "{key.name}"',
            )


def _column_findings(rule: Rule, table: Table) -> Iterator[Finding]:
    for item in rule.included_properties:
        column = table.column(item.column)
        if column is None:
            continue
        try:
            how = conversion(column.type, item.type)
        except ValueError:
            continue
        subject = f"{table.name}.{column.name}"
        if not how.exact:
            yield Finding("risk", "lossy_type", subject, f"{item.type}: {how.note}")
        elif how.note:
            yield Finding("information", "converted", subject, f"{item.type}: {how.note}")
        yield from _limits(column, item.type, subject)


def _limits(column: Column, graph_type: str, subject: str) -> Iterator[Finding]:
    resolved = column.type.resolved()
    if graph_type == "DECIMAL" and (resolved.precision or DECIMAL_DIGITS + 1) > DECIMAL_DIGITS:
        yield Finding(
            "information",
            "guarded_type",
            subject,
            f"numbers over {DECIMAL_DIGITS} digits, NaN and infinity go to the dead letters",
            column.type.declared,
            "map it to STRING to carry them as text",
        )
    if graph_type in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
        yield Finding(
            "information",
            "guarded_type",
            subject,
            "infinity and years outside 1 to 9999 go to the dead letters",
            column.type.declared,
            "map it to STRING to carry them as text",
        )
