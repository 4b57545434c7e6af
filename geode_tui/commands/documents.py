"""Catalogs, mappings and differences as JSON documents; docs/cli.md has their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geode_tui.catalog import Catalog, Column, DataType, Profile, Table
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.difference import Difference, changes
from geode_tui.mapping.file import mapping_hash
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, RelationshipRule, Rule
from geode_tui.mapping.steps import steps


def catalog_document(catalog: Catalog, statistics: Profile | None = None) -> dict[str, Any]:
    """The catalog; with `statistics` each column's, without the values: those are data."""
    return {
        "server": asdict(catalog.server),
        "tables": [_table_document(table, statistics) for table in catalog.tables],
    }


def mapping_document(mapping: Mapping, path: Path, findings: Sequence[Finding]) -> dict[str, Any]:
    """What was mapped, with the findings."""
    return {
        "file": str(path),
        "hash": mapping_hash(mapping),
        "labels": [_label_document(rule) for rule in mapping.nodes],
        "relationships": [_relationship_document(rule) for rule in mapping.relationships],
        "findings": [asdict(finding) for finding in findings],
    }


def difference_document(difference: Difference) -> dict[str, Any]:
    """What differs between two mappings, and the steps from one to the other."""
    return {
        "differs": bool(difference),
        "changes": [asdict(change) for change in changes(difference)],
        "steps": [
            _fields(step, "things", "names") | {"reads": [str(table) for table in step.reads]}
            for step in steps(difference)
        ],
    }


def _table_document(table: Table, statistics: Profile | None) -> dict[str, Any]:
    schema, name = table.name
    columns = [_column_document(table, column, statistics) for column in table.columns]
    document = {"schema": schema, "name": name} | _fields(table, "columns", "name")
    document["columns"] = columns
    document["leaves"] = [str(leaf) for leaf in table.leaves]
    document["inherits"] = [str(parent) for parent in table.inherits]
    for key, described in zip(table.foreign_keys, document["foreign_keys"], strict=True):
        described["to_table"] = str(key.to_table)
    return document


def _column_document(table: Table, column: Column, statistics: Profile | None) -> dict[str, Any]:
    document = _fields(column, "type") | _type_document(column.type)
    if statistics is not None:
        seen = statistics.column(table.name, column.name)
        document["statistics"] = _fields(seen, "common") if seen else None
    return document


def _type_document(data_type: DataType) -> dict[str, Any]:
    base = data_type.base
    return {
        "type": data_type.declared,
        "kind": data_type.kind,
        "base": base.declared if base else None,
        "labels": list(data_type.labels),
        "fields": [{"name": name, "type": inner.declared} for name, inner in data_type.fields],
        "extension": data_type.extension,
        "domain_checks": [asdict(check) for check in data_type.checks],
    }


def _fields(value: Any, *left_out: str) -> dict[str, Any]:
    """A dataclass as a document, without some of its fields."""
    return {
        name: _plain(getattr(value, name))
        for name in value.__dataclass_fields__
        if name not in left_out
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value


def _label_document(rule: NodeRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "label": rule.label,
        "labels": [*rule.labels, *(label for _, label in (_by_value(rule)))],
        "table": str(rule.table),
        "include": rule.include,
        "where": rule.where,
        "key": rule.key,
        "because": rule.because,
        "properties": _properties(rule),
    }


def _by_value(rule: NodeRule) -> tuple[tuple[str, str], ...]:
    return rule.labels_by.labels if rule.labels_by else ()


def _relationship_document(rule: RelationshipRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "type": rule.type,
        "table": str(rule.table),
        "include": rule.include,
        "where": rule.where,
        "from": _end_document(rule.start),
        "to": _end_document(rule.end),
        "key": rule.key,
        "because": rule.because,
        "properties": _properties(rule),
    }


def _end_document(end: Endpoint) -> dict[str, Any]:
    return {"node": end.node, "columns": end.columns, "references": end.references}


def _properties(rule: Rule) -> list[dict[str, Any]]:
    return [asdict(item) for item in rule.properties]
