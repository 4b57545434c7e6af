"""Keys to compare by: the same key is equal whichever side it was read from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_UNLIKE = frozenset({datetime, list, tuple, float})


def comparable(key: Iterable[Any]) -> tuple[Any, ...]:
    """A key that can be hashed: instants without zone, lists as tuples, NaN equal to itself."""
    return tuple([_comparable(value) if type(value) in _UNLIKE else value for value in key])


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, list | tuple):
        return comparable(value)
    return "NaN" if value != value else value
