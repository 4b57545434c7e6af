"""A graph in files as the side that a run's rows come from: an import."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from geode_tui.errors import UsageError
from geode_tui.mapping.assess import Finding
from geode_tui.migration.chunks import Chunk, Range
from geode_tui.migration.target_names import shape_findings
from geode_tui.source.load import LoadProbe
from geode_tui.target.file_check import Checked
from geode_tui.target.file_entity import FileEntity
from geode_tui.target.file_reading import GraphFiles, open_graph_files
from geode_tui.target.model import Target
from geode_tui.validation.digest import fingerprints_of
from geode_tui.validation.entity import Record
from geode_tui.validation.file_ledger import take_file_ledger
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.left_out import LeftOut

CHUNK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class FileFeedPlan:
    """What another worker, or another process, needs to open a feed."""

    place: str

    async def open(self) -> FileFeed:
        """Open the files."""
        return FileFeed(await asyncio.to_thread(open_graph_files, self.place))


class FileFeed:
    """Reads chunks of files."""

    def __init__(self, files: GraphFiles) -> None:
        self._files = files

    async def rows(
        self, entity: FileEntity, chunk: Chunk, limit: int
    ) -> AsyncIterator[Sequence[Record]]:
        """The records of a chunk in lists of at most `limit`, read as they are wanted."""
        assert chunk.low is not None
        assert chunk.high is not None
        lists = self._files.rows(entity, chunk.low, chunk.high, limit)
        while (records := await asyncio.to_thread(next, lists, None)) is not None:
            yield records

    async def close(self) -> None:
        """Let the files go."""
        await asyncio.to_thread(self._files.close)


class FileOrigin:
    """Files that were checked from end to end before the first record is imported."""

    def __init__(
        self,
        place: str,
        progress: Callable[[int, int], None] | None = None,
        target: str = "",
    ) -> None:
        self._place = str(Path(place).absolute())
        self._progress = progress
        self._target = target
        self.findings: tuple[Finding, ...] = ()
        self._files: GraphFiles | None = None
        self._checked: Checked | None = None

    @property
    def identity(self) -> str:
        """What the files hold, as a hash."""
        return self._known.identity

    @property
    def _known(self) -> Checked:
        assert self._checked is not None
        return self._checked

    @property
    def _open(self) -> GraphFiles:
        assert self._files is not None
        return self._files

    async def open(self) -> None:
        """Open and check the files. Raises UsageError with the file, the line and the reason."""
        self._files = await asyncio.to_thread(open_graph_files, self._place)
        self._checked = await asyncio.to_thread(self._files.check, fingerprints_of, self._progress)

    async def entities(self) -> Sequence[FileEntity]:
        """The entities of the files."""
        found = [entity for entity in self._open.entities]
        if not found:
            raise UsageError(f"{self._place} holds no graph", "its header names no entity")
        shapes = ((entity.id, entity.shape) for entity in found)
        self.findings = shape_findings(shapes, self._target)
        return found

    async def fields(self) -> dict[str, str]:
        """What the files hold must be the same when the run goes on."""
        return {"files": self._place, "contents": self.identity}

    def load_probe(self) -> LoadProbe | None:
        """Files have no load."""
        return None

    async def begin(self) -> str:
        """The fence of files is what they hold."""
        return f"{Path(self._place).name} {self.identity[:12]}"

    async def alive(self) -> bool:
        """Files are there, or reading them says what is wrong."""
        return True

    async def cut(self, entity: FileEntity) -> list[Range]:
        """Ranges of about `CHUNK_BYTES`."""
        return list(self._open.cut(entity, CHUNK_BYTES))

    def feed_plan(self) -> FileFeedPlan:
        """What a worker needs to open a feed."""
        return FileFeedPlan(self._place)

    async def digest(self, entity: FileEntity, chunk: Chunk) -> tuple[int, int]:
        """What was read of a chunk: files that are the same are never compared again."""
        return chunk.moved, chunk.digest or 0

    async def ledger(
        self,
        target: Target,
        entities: Sequence[FileEntity],
        left_out: Mapping[str, LeftOut],
        before: Mapping[str, int],
        progress: Callable[[str], None],
        runs: Set[str] = frozenset(),
    ) -> Ledger:
        """Compare the files with the graph."""
        fence = await self.begin()
        return await asyncio.to_thread(
            take_file_ledger,
            self._open,
            self._known,
            target,
            entities,
            left_out,
            before,
            fence,
            progress,
            runs,
        )

    async def end(self) -> None:
        """Nothing is held."""

    async def close(self) -> None:
        """Let the files go."""
        if self._files is not None:
            await asyncio.to_thread(self._files.close)
