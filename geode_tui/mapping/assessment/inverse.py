"""Findings about the way back: what is written to the graph after a cutover and gets no row."""

from __future__ import annotations

from collections.abc import Iterator

from geode_tui.catalog import Catalog, TableName
from geode_tui.mapping.assessment.finding import Finding, listed
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.inverse import Lack, invert
from geode_tui.mapping.model import Mapping


def inverse_findings(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    """What the inverse of a mapping cannot give back, one finding for each table.

    Left out is what other findings say: rows without a key, and generated columns.
    """
    by_table: dict[TableName, list[Lack]] = {}
    for lack in invert(mapping, catalog).lacks:
        if not _is_told(lack, catalog):
            by_table.setdefault(lack.table, []).append(lack)
    for name, lacks in by_table.items():
        whole = any(lack.weight == "rows" for lack in lacks)
        what = "rows" if whole else "values"
        message = f"after a cutover, {what} written to the graph cannot all be led back"
        told = dict.fromkeys(f"{lack.rule}: {lack.why}" for lack in lacks)
        mend = "map columns as they are where writes to the graph must be able to come back"
        yield Finding("information", "not_inverted", str(name), message, listed(list(told)), mend)


def _is_told(lack: Lack, catalog: Catalog) -> bool:
    table = catalog.table(lack.table)
    if table is None or (table.has_storage and row_key(table) is None):
        return True
    column = table.column(lack.column)
    return column is not None and column.generated is not None
