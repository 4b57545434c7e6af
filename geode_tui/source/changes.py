"""What capture tells of a source's changes, whichever way they are captured.

Values are PostgreSQL's own text of them, so that they can be given back to the server as they
are; None is NULL. A column of which nothing is told (an unchanged TOAST value, a column outside
the replica identity) is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from geode_tui.catalog import TableName

Operation = Literal["insert", "update", "delete", "truncate"]
Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction that was committed begins; `xid` has 64 bits, `committed` where it is known.

    `position` is that of its commit: what was captured before is of transactions that were
    committed before.
    """

    xid: int
    position: str
    committed: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was changed, or a table that was emptied.

    `old` is what is told of the row before: its key at least where that changed or the row is
    gone, the whole of it with REPLICA IDENTITY FULL and in the outbox. `new` is the row after.
    Both are empty for `truncate`. `number` orders the changes of a row.
    """

    table: TableName
    operation: Operation
    old: Values
    new: Values
    number: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A text that somebody sent through the stream, such as the token of a cutover."""

    prefix: str
    text: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table from here on, with their types (oid) and which are its identity."""

    table: TableName
    columns: tuple[tuple[str, int], ...]
    identity: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is whole; reading can go on after `position`."""

    xid: int
    position: str


Event = Begin | Change | Message | Columns | Commit
