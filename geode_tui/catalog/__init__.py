"""What a relational database holds: tables, columns, keys. Pure data, no connection."""

from __future__ import annotations

from geode_tui.catalog.model import (
    Catalog,
    Check,
    Column,
    DataType,
    ForeignKey,
    Index,
    Key,
    ServerFacts,
    Table,
    TableName,
    Trigger,
)
from geode_tui.catalog.profile import (
    ColumnProfile,
    ColumnValues,
    FanOut,
    Inclusion,
    Orphans,
    Profile,
    Widths,
)

__all__ = [
    "Catalog",
    "Check",
    "Column",
    "ColumnProfile",
    "ColumnValues",
    "DataType",
    "FanOut",
    "ForeignKey",
    "Inclusion",
    "Index",
    "Key",
    "Orphans",
    "Profile",
    "ServerFacts",
    "Table",
    "TableName",
    "Trigger",
    "Widths",
]
