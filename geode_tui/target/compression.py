"""Files as streams of bytes, compressed or not; a compressed one may have several members.

Compressed files that are put one after the other are one compressed file: gzip calls the pieces
members, zstd frames. So parts are joined without compressing them again, and a reader that knows
where the members begin need not read all that is before the place it wants.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any, Literal, Protocol

from geode_tui.errors import UsageError

Compression = Literal["gzip", "zstd"]
SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
_GZIP_LEVEL, _ZSTD_LEVEL = 4, 3
_READ_BYTES = 64 * 1024
_PLAIN_BYTES = 1024 * 1024


class DamagedStreamError(Exception):
    """Compressed bytes that cannot be read; the text says why."""


class Compressor(Protocol):
    """One member in the making."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes; what comes back belongs into the file."""
        ...

    def flush(self) -> bytes:
        """The end of the member."""
        ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def suffix_of(compression: Compression | None) -> str:
    """The end of the name of files that are compressed so: `.gz`, `.zst`, or nothing."""
    return next((end for end, kind in SUFFIXES.items() if kind == compression), "")


def compression_of(path: Path) -> Compression | None:
    """How a file is compressed, by the end of its name."""
    return SUFFIXES.get(path.suffix.lower())


def compressor(compression: Compression | None) -> Compressor:
    """A new member. Raises UsageError where the library is not there."""
    if compression == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)
    if compression == "zstd":
        made: Compressor = (
            _zstandard().ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
        )
        return made
    return _Plain()


def member(compression: Compression | None, data: bytes) -> bytes:
    """Some bytes as a member of their own."""
    made = compressor(compression)
    return made.compress(data) + made.flush()


def _zstandard() -> Any:
    try:
        import zstandard  # only who reads or writes .zst pays for it
    except ImportError as error:
        raise UsageError(
            "zstd files cannot be read or written here",
            "the Python package zstandard is not installed",
            "install zstandard, or use gzip (.gz)",
        ) from error
    return zstandard


class ByteStream:
    """The plain bytes of a file, read forward, with jumps.

    `position` is the offset of the next byte among the plain bytes. `members` are the beginnings
    of the compressed members met so far: the offset in the file and among the plain bytes.
    """

    def __init__(self, path: Path, compression: Compression | None, hashed: bool = False) -> None:
        self._file = path.open("rb", buffering=0)
        self._compression = compression
        self._hash = hashlib.sha256() if hashed else None
        self.position = 0
        self.members: list[tuple[int, int]] = [(0, 0)]
        self.file_position = 0
        self._decoder = self._new_decoder()
        self._input = b""
        self._plain = memoryview(b"")
        errors = (zlib.error,) if compression != "zstd" else (_zstandard().ZstdError,)
        self._errors: tuple[type[Exception], ...] = errors

    def read(self, size: int) -> bytes:
        """At least one and at most `size` bytes, none at the end. Raises DamagedStreamError."""
        if self._compression is None:
            data = self._raw(size)
            self.position += len(data)
            return data
        return self._decompressed(size)

    def seek(self, offset: int, member: tuple[int, int] = (0, 0)) -> None:
        """Go to an offset among the plain bytes, from the nearer of here and the member."""
        if self._compression is None:
            self._file.seek(offset)
            self.file_position = self.position = offset
            return
        if not member[1] <= self.position <= offset:
            self._file.seek(member[0])
            self.file_position, self.position = member
            self._decoder, self._input = self._new_decoder(), b""
            self._plain = memoryview(b"")
        while self.position < offset:
            if not self._decompressed(min(_READ_BYTES, offset - self.position)):
                raise DamagedStreamError("the file is shorter than it was")

    def digest(self) -> str:
        """SHA-256 of the file's bytes read so far, as they are on disk."""
        assert self._hash is not None
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _raw(self, size: int) -> bytes:
        data = self._file.read(size)
        if self._hash is not None:
            self._hash.update(data)
        self.file_position += len(data)
        return data

    def _new_decoder(self) -> Any:
        if self._compression == "gzip":
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        if self._compression == "zstd":
            return _zstandard().ZstdDecompressor().decompressobj()
        return None

    def _decompressed(self, size: int) -> bytes:
        while not self._plain:
            if self._decoder.eof and not self._next_member():
                return b""
            data = self._input or self._raw(_READ_BYTES)
            if not data:
                raise DamagedStreamError("the compressed data ends too early")
            self._decode(data)
        plain = bytes(self._plain[:size])
        self._plain = self._plain[size:]
        self.position += len(plain)
        return plain

    def _decode(self, data: bytes) -> None:
        decoder = self._decoder
        try:
            if self._compression == "gzip":
                plain = decoder.decompress(data, _PLAIN_BYTES)
            else:
                plain = decoder.decompress(data)
        except self._errors as error:
            raise DamagedStreamError(f"the compressed data is damaged: {error}") from error
        self._plain = memoryview(plain)
        self._input = decoder.unused_data if decoder.eof else decoder.unconsumed_tail

    def _next_member(self) -> bool:
        """Begin the member after the one that ended, False at the end of the file."""
        padding = b"\0" if self._compression == "gzip" else b""
        rest = self._input.lstrip(padding) if padding else self._input
        while not rest:
            more = self._raw(_READ_BYTES)
            if not more:
                return False
            rest = more.lstrip(padding) if padding else more
        self._input = rest
        start = (self.file_position - len(rest), self.position)
        if start[0] > self.members[-1][0]:
            self.members.append(start)
        self._decoder = self._new_decoder()
        return True
