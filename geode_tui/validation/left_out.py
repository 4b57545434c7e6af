"""What a run could not write, by its journal: nobody misses it in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many rows of an entity a run could not write, and how many had no end to hold.

    `known` tells of some rows, named as people see their keys, which ones are among these.
    """

    dead: int = 0
    orphans: int = 0
    known: Callable[[Sequence[str]], Set[str]] | None = field(default=None, compare=False)

    def among(self, keys: Sequence[str]) -> Set[str]:
        """Those of some keys whose rows are left out: the graph may hold another's thing there."""
        if self.known is None or not (self.dead or self.orphans):
            return frozenset()
        return self.known(keys)
