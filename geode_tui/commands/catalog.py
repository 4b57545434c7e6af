"""`inspect`, `map` and `assess`: the source's catalog, and a mapping of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geode_tui.catalog import Catalog, Table
from geode_tui.commands.arguments import read_catalog, read_mapping, schemas_of, source_of
from geode_tui.commands.output import aligned, say, show, show_json
from geode_tui.errors import EXIT_FAILED, EXIT_OK, UsageError
from geode_tui.mapping.assess import Finding, assess
from geode_tui.mapping.edits import merge
from geode_tui.mapping.file import dump, load, mapping_hash, save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping


def inspect(arguments: argparse.Namespace) -> int:
    """Print the catalog."""
    catalog = read_catalog(source_of(arguments), schemas_of(arguments))
    if arguments.json:
        show_json(_catalog_document(catalog))
        return EXIT_OK
    server = catalog.server
    say(f"PostgreSQL {server.version}, database {server.database}, role {server.role}")
    header = ("table", "kind", "columns", "rows", "key", "foreign keys", "comment")
    rows = [_table_cells(table) for table in catalog.tables]
    for line in aligned(header, rows, "__>>_>_"):
        show(line)
    return EXIT_OK


def map_(arguments: argparse.Namespace) -> int:
    """Infer a mapping and write its file."""
    if arguments.output == "-" and arguments.json:
        raise UsageError("--json and --output - both want stdout", "", "name a file with --output")
    catalog = read_catalog(source_of(arguments), schemas_of(arguments))
    mapping = infer(catalog)
    if arguments.output == "-":
        print(dump(mapping), end="")
        return EXIT_OK
    path = Path(arguments.output)
    if path.exists() and not path.is_dir():
        if not arguments.merge:
            raise UsageError(
                f"{path} exists already",
                "it may hold somebody's edits",
                "add --merge to keep the edits and add what is new, or name another --output",
            )
        mapping = merge(mapping, load(path).mapping)
    save(mapping, path)
    findings = assess(mapping, catalog)
    if arguments.json:
        show_json(_mapping_document(mapping, path, findings))
        return EXIT_OK
    for rule in mapping.rules:
        show(f"{rule.id}  ← {rule.table}  ({rule.because})")
    count = sum(f.severity != "information" for f in findings)
    say(f"wrote {path}: {len(mapping.nodes)} labels, {len(mapping.relationships)} relationships")
    say(f"{count} findings to look at: geode-tui assess --mapping {path}" if count else "no risk")
    return EXIT_OK


def assess_(arguments: argparse.Namespace) -> int:
    """Print the findings; exit 1 where something must be mended before a run."""
    catalog = read_catalog(source_of(arguments), schemas_of(arguments))
    findings = assess(load(Path(arguments.mapping)).mapping, catalog)
    if arguments.json:
        show_json([asdict(finding) for finding in findings])
    else:
        header = ("severity", "subject", "finding", "mend")
        rows = [(f.severity, f.subject, f.message, f.mend) for f in findings]
        for line in aligned(header, rows):
            show(line)
    return EXIT_FAILED if any(f.severity == "action" for f in findings) else EXIT_OK


def checked_mapping(arguments: argparse.Namespace) -> tuple[Catalog, Mapping]:
    """The catalog, and the mapping of `--mapping` that fits it."""
    catalog = read_catalog(source_of(arguments), schemas_of(arguments))
    return catalog, read_mapping(arguments.mapping, catalog)


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


def _catalog_document(catalog: Catalog) -> dict[str, Any]:
    return {
        "server": asdict(catalog.server),
        "tables": [_table_document(table) for table in catalog.tables],
    }


def _table_document(table: Table) -> dict[str, Any]:
    document = asdict(table)
    document["schema"], document["name"] = table.name
    document["leaves"] = [str(leaf) for leaf in table.leaves]
    for column, described in zip(table.columns, document["columns"], strict=True):
        described["type"] = column.type.declared
        described["kind"] = column.type.kind
    for key, described in zip(table.foreign_keys, document["foreign_keys"], strict=True):
        described["to_table"] = str(key.to_table)
    return document


def _mapping_document(
    mapping: Mapping, path: Path, findings: tuple[Finding, ...]
) -> dict[str, Any]:
    return {
        "file": str(path),
        "hash": mapping_hash(mapping),
        "labels": [
            {"label": r.label, "table": str(r.table), "key": r.key, "because": r.because}
            for r in mapping.nodes
        ],
        "relationships": [
            {"id": r.id, "type": r.type, "table": str(r.table), "because": r.because}
            for r in mapping.relationships
        ],
        "findings": [asdict(finding) for finding in findings],
    }
