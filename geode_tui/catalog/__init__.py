"""What a relational database holds: tables, columns, keys. Pure data, no connection."""

from __future__ import annotations

from geode_tui.catalog.model import (
    Catalog,
    Column,
    DataType,
    ForeignKey,
    Key,
    ServerFacts,
    Table,
    TableName,
)

__all__ = [
    "Catalog",
    "Column",
    "DataType",
    "ForeignKey",
    "Key",
    "ServerFacts",
    "Table",
    "TableName",
]
