"""Which of many names match what a person types."""

from __future__ import annotations

import re
from collections.abc import Sequence


def matching(query: str, names: Sequence[str]) -> list[int]:
    """The positions of the names that match, in their order, whatever the case.

    A name matches when it holds every word of the query; where no name does, those match that
    have the letters of each word in their order (`oi` finds `order_items`).
    """
    words = query.casefold().split()
    if not words:
        return list(range(len(names)))
    folded = [name.casefold() for name in names]
    found = [i for i, name in enumerate(folded) if all(word in name for word in words)]
    if found:
        return found
    patterns = [re.compile(".*?".join(map(re.escape, word)), re.DOTALL) for word in words]
    return [i for i, name in enumerate(folded) if all(p.search(name) for p in patterns)]
