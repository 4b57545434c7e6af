"""Which chunk is next: nodes before the relationships that need them, big entities first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from geode_tui.migration.chunks import Chunk


class Schedule:
    """The chunks that are left, given to workers one at a time.

    `chunks` are the open chunks of each entity, `done` the entities that are done, `alone` those
    of which only one chunk may be written at a time (a supernode's relationships, where writers
    would collide). An entity waits for those it needs.
    """

    def __init__(
        self,
        entities: Sequence[Any],
        chunks: Mapping[str, Sequence[Chunk]],
        done: Iterable[str] = (),
        alone: Iterable[str] = (),
    ) -> None:
        self._entities = {entity.id: entity for entity in entities}
        self._left = {entity.id: deque(chunks[entity.id]) for entity in entities}
        self._flying: dict[str, int] = dict.fromkeys(self._entities, 0)
        self._done = set(done)
        self._alone = set(alone)
        self._failed: set[str] = set()
        self._done |= {entity for entity, left in self._left.items() if not left}

    def take(self, last: str = "") -> Chunk | None:
        """The next chunk, rather of entity `last` (whose caches are warm); None: not now."""
        ready = [entity for entity in self._left if self._is_ready(entity)]
        if not ready:
            return None
        chosen = last if last in ready else max(ready, key=self._urgency)
        self._flying[chosen] += 1
        return self._left[chosen].popleft()

    def finished(self, chunk: Chunk) -> bool:
        """A chunk is done; whether its entity is, too."""
        self._flying[chunk.entity] -= 1
        if self._left[chunk.entity] or self._flying[chunk.entity]:
            return False
        if chunk.entity not in self._failed:
            self._done.add(chunk.entity)
        return chunk.entity in self._done

    def give_back(self, chunk: Chunk) -> None:
        """A chunk was not moved: it is the entity's next again."""
        self._flying[chunk.entity] -= 1
        self._left[chunk.entity].appendleft(chunk)

    def fail(self, entity: str) -> None:
        """An entity is given up for this time; those that need it will not begin."""
        self._failed.add(entity)

    @property
    def over(self) -> bool:
        """Whether nothing is left that could ever be taken."""
        if any(self._flying.values()):
            return False
        return not any(self._is_ready(entity) for entity in self._left)

    @property
    def flying(self) -> int:
        """How many chunks are being moved."""
        return sum(self._flying.values())

    @property
    def unfinished(self) -> list[str]:
        """The entities that are not done."""
        return [entity for entity in self._left if entity not in self._done]

    def waits(self) -> dict[str, str]:
        """Why each entity that is not being moved waits."""
        found = {}
        for entity in self.unfinished:
            if self._flying[entity]:
                continue
            needs = [need for need in self._needs(entity) if need not in self._done]
            if entity in self._failed:
                continue
            stopped = [need for need in needs if need in self._failed]
            if stopped:
                found[entity] = f"needs {', '.join(stopped)}, which stopped"
            elif needs:
                found[entity] = f"waits for {', '.join(needs)}"
            else:
                found[entity] = "waits for a worker"
        return found

    def _is_ready(self, entity: str) -> bool:
        if not self._left[entity] or entity in self._failed:
            return False
        if entity in self._alone and self._flying[entity]:
            return False
        return all(need in self._done for need in self._needs(entity))

    def _needs(self, entity: str) -> list[str]:
        """Ends that this schedule does not know are there already (another wave)."""
        needs = self._entities[entity].needs
        return [need for need in needs if need in self._left]

    def _urgency(self, entity: str) -> tuple[bool, int, int]:
        found = self._entities[entity]
        return found.kind == "node", len(self._left[entity]), found.estimate or 0
