"""`inspect`, `map` and `assess`: the source's catalog, and a mapping of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from geode_tui.catalog import Catalog, Table
from geode_tui.commands.arguments import Known, read_known, require_database
from geode_tui.commands.documents import catalog_document, mapping_document
from geode_tui.commands.output import aligned, say, show, show_json
from geode_tui.errors import EXIT_FAILED, EXIT_OK, UsageError
from geode_tui.mapping.assess import SEVERITIES, Finding, assess, unwaive, waive
from geode_tui.mapping.check import check
from geode_tui.mapping.edits import merge
from geode_tui.mapping.file import MappingFile, dump, load, nearest, save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.profiles import find_profile
from geode_tui.migration.target_names import mapping_findings


def inspect(arguments: argparse.Namespace) -> int:
    """Print the catalog."""
    if arguments.profile:
        require_database(arguments, "profile")
    known = read_known(arguments, statistics=arguments.profile)
    if arguments.json:
        show_json(catalog_document(known.catalog, known.statistics))
        return EXIT_OK
    server = known.catalog.server
    if server.version:
        say(f"PostgreSQL {server.version}, database {server.database}, role {server.role}")
    header = ("table", "kind", "columns", "rows", "key", "foreign keys", "comment")
    rows = [_table_cells(table) for table in known.catalog.tables]
    for line in aligned(header, rows, "__>>_>_"):
        show(line)
    if known.statistics is not None:
        _show_statistics(known)
    return EXIT_OK


def _show_statistics(known: Known) -> None:
    """The planner's numbers, without the values themselves: those are data."""
    header = ("column", "type", "nulls", "distinct", "bytes")
    rows = []
    for table in known.catalog.tables:
        for column in table.columns:
            seen = known.statistics.column(table.name, column.name) if known.statistics else None
            name = f"{table.name}.{column.name}"
            if seen is None:
                rows.append((name, column.type.declared, "?", "?", "?"))
                continue
            nulls, distinct = f"{seen.null_share:.1%}", f"±{seen.distinct:,}"
            rows.append((name, column.type.declared, nulls, distinct, f"{seen.width:,}"))
    show("")
    for line in aligned(header, rows, "__>>>"):
        show(line)


def map_(arguments: argparse.Namespace) -> int:
    """Infer a mapping and write its file, or suggest how it could be better."""
    if arguments.output == "-" and arguments.json and not arguments.suggest:
        raise UsageError("--json and --output - both want stdout", "", "name a file with --output")
    if arguments.suggest and (arguments.apply or arguments.apply_sure):
        raise UsageError("--suggest lists, --apply changes", "", "give one of the two")
    path = Path(arguments.output)
    there = load(path).mapping if _must_merge(arguments, path) else None
    applies = bool(arguments.apply or arguments.apply_sure)
    known = read_known(arguments, there, statistics=arguments.suggest or applies)
    mapping = infer(known.catalog)
    if there is not None:
        mapping = there if arguments.suggest else merge(mapping, there, known.catalog)
    if arguments.suggest:
        from geode_tui.commands.suggestions import show_suggestions

        return show_suggestions(arguments, mapping, known)
    if applies:
        from geode_tui.commands.suggestions import applied

        mapping = applied(arguments, mapping, known)
    if arguments.output == "-":
        print(dump(mapping), end="")
        return EXIT_OK
    save(mapping, path)
    findings = assess(mapping, known.catalog, known.statistics)
    if arguments.json:
        show_json(mapping_document(mapping, path, findings))
        return EXIT_OK
    for rule in mapping.rules:
        show(f"{rule.id}  ← {rule.table}  ({rule.because})")
    count = sum(f.severity != "information" and not f.waived for f in findings)
    say(f"wrote {path}: {len(mapping.nodes)} labels, {len(mapping.relationships)} relationships")
    say(f"{count} findings to look at: geode-tui assess --mapping {path}" if count else "no risk")
    return EXIT_OK


def _must_merge(arguments: argparse.Namespace, path: Path) -> bool:
    """Whether the file is there, which is never replaced unasked. Raises UsageError."""
    if arguments.output == "-" or not path.exists() or path.is_dir():
        return False
    if not (arguments.merge or arguments.suggest):
        raise UsageError(
            f"{path} exists already",
            "it may hold somebody's edits",
            "add --merge to keep the edits and add what is new, or name another --output",
        )
    return True


def assess_(arguments: argparse.Namespace) -> int:
    """Print the findings; exit 1 where something must be mended before a run."""
    path = Path(arguments.mapping)
    if arguments.waive and not arguments.reason:
        raise UsageError("a waiver needs a reason", "", 'add --reason "why it is accepted"')
    file = load(path)
    known = read_known(arguments, file.mapping, statistics=True, count=arguments.count)
    place = _place(arguments)
    findings = _assessed(file, known, place)
    mapping = _with_waivers(arguments, file.mapping, findings)
    if mapping != file.mapping:
        save(mapping, path)
        say(f"wrote {path}: {len(mapping.waivers)} waivers")
        findings = _assessed(load(path), known, place)
    if arguments.json:
        show_json([asdict(finding) for finding in findings])
    else:
        _show_findings(findings)
    return EXIT_FAILED if any(finding.blocks for finding in findings) else EXIT_OK


def _assessed(file: MappingFile, known: Known, place: str) -> tuple[Finding, ...]:
    further = mapping_findings(file.mapping, place)
    return assess(file.mapping, known.catalog, known.statistics, known.counts, file, further)


def _place(arguments: argparse.Namespace) -> str:
    """The target's place if one is named: only its kind counts, it is not connected to."""
    name = arguments.target or ""
    profile = find_profile(name) if name and "://" not in name else None
    return profile.target if profile else name


def _with_waivers(
    arguments: argparse.Namespace, mapping: Mapping, findings: Sequence[Finding]
) -> Mapping:
    by_name = {f"{finding.code} {finding.subject}": finding for finding in findings}
    waivers = {f"{waiver.code} {waiver.subject}": waiver for waiver in mapping.waivers}
    for name in arguments.waive or ():
        mapping = waive(mapping, _named(by_name, name, "finding"), arguments.reason)
    for name in arguments.unwaive or ():
        waiver = _named(waivers, name, "waiver")
        mapping = unwaive(mapping, Finding("information", waiver.code, waiver.subject, ""))
    return mapping


def _named[T](every: dict[str, T], name: str, noun: str) -> T:
    if name not in every:
        hint = nearest(name, every) or "write it as assess prints it: CODE SUBJECT"
        raise UsageError(f"there is no {noun} {name!r}", "", hint)
    return every[name]


def _show_findings(findings: Sequence[Finding]) -> None:
    """A paragraph a finding; SQL stands on lines of its own, to be copied."""
    for finding in findings:
        word = "waived" if finding.waived else finding.severity
        show(f"{word}  {finding.code} {finding.subject}")
        show(f"    {finding.message}")
        for name, text in (
            ("seen", finding.evidence),
            ("mend", finding.mend),
            ("waived because", finding.waived),
        ):
            if text:
                show(f"    {name}: {text}")
        for line in finding.sql.split("\n") if finding.sql else ():
            show(f"        {line}")
    count = Counter("waived" if f.waived else f.severity for f in findings)
    say(" · ".join(f"{count[word]:,} {word}" for word in (*SEVERITIES, "waived")))


def checked_mapping(arguments: argparse.Namespace) -> tuple[Catalog, Mapping]:
    """The catalog, and the mapping of `--mapping` that fits it. Raises for a DDL file."""
    require_database(arguments, "move")
    file = load(Path(arguments.mapping))
    catalog = read_known(arguments, file.mapping).catalog
    check(file, catalog)
    return catalog, file.mapping


def _table_cells(table: Table) -> tuple[str, ...]:
    rows = "?" if table.estimated_rows is None else f"±{table.estimated_rows:,}"
    key = ", ".join(table.primary_key.columns) if table.primary_key else "–"
    return (
        str(table.name),
        table.kind,
        str(len(table.columns)),
        rows,
        key,
        str(len(table.foreign_keys)),
        table.comment.split("\n")[0][:60],
    )
