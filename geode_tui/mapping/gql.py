"""GQL text: the one place where a name enters a statement. Values are always parameters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any


def quoted(name: str) -> str:
    """A name in back ticks, as ISO GQL and Grafeo read it; inner back ticks are doubled."""
    return "`" + name.replace("`", "``") + "`"


def node_with(variable: str, label: str, fields: Sequence[tuple[str, str]] = ()) -> str:
    """A node pattern with any names of properties."""
    return f"({variable}:{quoted(label)}{_fields(fields)})"


def relationship_with(variable: str, type_name: str, fields: Sequence[tuple[str, str]] = ()) -> str:
    """The middle of a relationship pattern, left to right: `-[r:`HAS`]->`."""
    return f"-[{variable}:{quoted(type_name)}{_fields(fields)}]->"


def member(variable: str, name: str) -> str:
    """A property of a variable: `n.`id``."""
    return f"{variable}.{quoted(name)}"


def returned(variable: str, names: Sequence[str], prefix: str = "c") -> str:
    """A list to RETURN: each property under the alias `c0`, `c1`, …"""
    return ", ".join(f"{member(variable, n)} AS {prefix}{i}" for i, n in enumerate(names))


def literal(value: Any) -> str:
    """A value as GQL text, for statements that a person copies; programs use parameters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return f"datetime({_text(value.isoformat())})"
    if isinstance(value, date | time):
        return f"{type(value).__name__}({_text(value.isoformat())})"
    return _text(value if isinstance(value, str) else str(value))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fields(fields: Sequence[tuple[str, str]]) -> str:
    if not fields:
        return ""
    return " {" + ", ".join(f"{quoted(name)}: {value}" for name, value in fields) + "}"
