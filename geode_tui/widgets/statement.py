"""An SQL statement, laid out for reading."""

from __future__ import annotations

import sqlglot
from sqlglot.errors import SqlglotError


def pretty_sql(statement: str) -> str:
    """The same statement on several lines; as it is where it would not stay the same."""
    try:
        tree = sqlglot.parse_one(statement, read="postgres")
        shown = tree.sql("postgres", pretty=True)
        same = sqlglot.parse_one(shown, read="postgres") == tree
    except SqlglotError:
        return statement
    return shown if same else statement
