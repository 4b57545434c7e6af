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
from geode_tui.catalog.profile import ColumnProfile, FanOut, Inclusion, Profile

__all__ = [
    "Catalog",
    "Check",
    "Column",
    "ColumnProfile",
    "DataType",
    "FanOut",
    "ForeignKey",
    "Inclusion",
    "Index",
    "Key",
    "Profile",
    "ServerFacts",
    "Table",
    "TableName",
    "Trigger",
]
