"""The parts of a graph in the making: one file for each chunk, in a hidden folder beside the place.

A part is written under another name and gets its own when it is whole, so a part that is there
counts. It ends with the number and the digest of its records. A chunk that is written again
replaces its part.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from geode_tui.errors import ConnectError, GeodeTuiError
from geode_tui.target.compression import Compression, Compressor, compressor
from geode_tui.target.file_records import DIGESTS

_FOOTER = struct.Struct(">8sQQ")
_EVERY = -1
_MAGIC = b"geodpart"
_BUFFER_BYTES = 1024 * 1024
_TEMPORARY = ".tmp"


class OpenPart:
    """A part that is being written by one worker."""

    def __init__(
        self,
        path: Path,
        temporary: Path,
        compression: Compression | None,
        separator: tuple[str, str],
    ) -> None:
        self._path, self._temporary = path, temporary
        self._compression = compression
        self._between, self._after = separator
        self._compressor: Compressor | None = None
        self._records = self._digest = 0
        with written_to(temporary):
            self._file = temporary.open("wb", buffering=_BUFFER_BYTES)

    def write(self, texts: Sequence[str], digest: int, errors: str = "strict") -> None:
        """Add some records. Raises UnicodeEncodeError before anything of them is written."""
        if not texts:
            return
        first = self._between if self._records and not self._after else ""
        data = (first + self._between.join(texts) + self._after).encode("utf-8", errors)
        if self._compressor is None:
            self._compressor = compressor(self._compression)
        with written_to(self._path):
            self._file.write(self._compressor.compress(data))
        self._records += len(texts)
        self._digest = (self._digest + digest) % DIGESTS

    def finish(self) -> None:
        """Make the part count: it is on disk, whole, under its own name."""
        with written_to(self._path):
            if self._compressor is not None:
                self._file.write(self._compressor.flush())
            self._file.write(_FOOTER.pack(_MAGIC, self._records, self._digest))
            sync(self._file)
            self._file.close()
            self._temporary.replace(self._path)
            sync_folder(self._path.parent)

    def discard(self) -> None:
        """Leave nothing of the part."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class Parts:
    """The parts of all entities of one graph, by the entity's position and the step."""

    _numbers = itertools.count()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(
        self, entity: int, step: int, compression: Compression | None, separator: tuple[str, str]
    ) -> OpenPart:
        """A new part, to be written and finished; what it replaces counts until then."""
        place = self._entity(entity)
        with written_to(place):
            place.mkdir(exist_ok=True)
        temporary = place / f"{step}.{os.getpid()}.{next(self._numbers)}{_TEMPORARY}"
        return OpenPart(place / str(step), temporary, compression, separator)

    def steps(self, entity: int, after: int = _EVERY) -> list[int]:
        """The steps after one of which there are parts, in order."""
        place = self._entity(entity)
        if not place.is_dir():
            return []
        found = (int(path.name) for path in place.iterdir() if path.name.isdecimal())
        return sorted(step for step in found if step > after)

    def records(self, entity: int, after: int = _EVERY) -> int:
        """How many records the parts of an entity hold."""
        return sum(self._measured(entity, step)[1] for step in self.steps(entity, after))

    def digest(self, entity: int) -> int:
        """The digest of all records of an entity."""
        return sum(self._measured(entity, step)[2] for step in self.steps(entity)) % DIGESTS

    def remove(self, entity: int, after: int = _EVERY) -> int:
        """Remove the parts of the steps after one, and return how many records they held."""
        removed = 0
        for step in self.steps(entity, after):
            records = self._measured(entity, step)[1]
            with written_to(self.folder):
                self._path(entity, step).unlink(missing_ok=True)
            removed += records
        return removed

    def drop(self, entity: int, step: int) -> None:
        """Remove the part of one step, if it is there."""
        with written_to(self.folder):
            self._path(entity, step).unlink(missing_ok=True)

    def contents(self, entity: int) -> Iterator[tuple[Path, int, int]]:
        """The parts of an entity in order: file, bytes without the footer, records."""
        for step in self.steps(entity):
            size, records, _ = self._measured(entity, step)
            yield self._path(entity, step), size, records

    def clear(self, last: str) -> None:
        """Remove the folder with all that is in it; the file `last`, which tells whose it is, last.

        So an interrupted call can be repeated by who knows the parts as theirs.
        """
        with written_to(self.folder):
            if not self.folder.exists():
                return
            for path in self.folder.iterdir():
                if path.name == last:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            shutil.rmtree(self.folder)

    def _entity(self, entity: int) -> Path:
        return self.folder / f"{entity:04}"

    def _path(self, entity: int, step: int) -> Path:
        return self._entity(entity) / str(step)

    def _measured(self, entity: int, step: int) -> tuple[int, int, int]:
        """The bytes of a part without its end, its records and their digest."""
        path = self._path(entity, step)
        with written_to(path), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - _FOOTER.size
            if size >= 0:
                file.seek(size)
                magic, records, digest = _FOOTER.unpack(file.read(_FOOTER.size))
                if magic == _MAGIC:
                    return size, records, digest
        raise GeodeTuiError(
            f"the part {path} is damaged",
            "it does not end as it was written",
            "roll the run back, and export again",
        )


def copy_part(path: Path, size: int, out: BinaryIO) -> None:
    """Copy a part without its footer."""
    with path.open("rb", buffering=0) as part:
        while size > 0:
            data = part.read(min(size, _BUFFER_BYTES))
            if not data:
                raise GeodeTuiError(f"the part {path} became shorter", "", "export again")
            out.write(data)
            size -= len(data)


def sync(file: BinaryIO) -> None:
    """Wait until a file's bytes are on disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Around work on files: what the system refuses is told as an error for people."""
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "the disk of the files is full" if full else f"{path} cannot be written"
        next_step = "free space" if full else "check the folder and its rights"
        raise ConnectError(
            what, error.strerror or str(error), f"{next_step}, then: geode-tui resume"
        ) from error
