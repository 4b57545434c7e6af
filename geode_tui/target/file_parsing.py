"""Records out of the bytes of a file, in groups, with their lines and offsets.

A group is what one block of the file holds, so memory is bounded by the block and the longest
record. Nothing is guessed: what does not fit raises DamagedError with the line and the reason.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.target.compression import ByteStream, DamagedStreamError
from geode_tui.target.file_values import scan_json

BLOCK_BYTES = 256 * 1024
MOST_RECORD_CHARACTERS = 1 << 30
"""No value of PostgreSQL is longer than 1 GB; what never ends is damage."""
_NEAR_END = 16
_SPACE = re.compile(r"[ \t\r\n]*+")
_BETWEEN = re.compile(r"[ \t\r\n]*+,[ \t\r\n]*+")
_CELL = r'("[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_CELLS = re.compile(_CELL + r"(,|\r?\Z)")
_WRONG_QUOTE = "a quote is where none can be, or one is missing"
_INSIDE = r'[^"]*+(?:""[^"]*+)*+'
_OPENING = re.compile(rf'(?:{_CELL},)*+"{_INSIDE}')
_WITHIN = re.compile(rf'{_INSIDE}(?:",(?:{_CELL},)*+"{_INSIDE})?')


class DamagedError(Exception):
    """Something in a file that is not as it should be: the line (from 1), and why."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line}: {reason}")


@dataclass(frozen=True, slots=True)
class Place:
    """A place among a file's plain bytes at which a record begins, and its line."""

    offset: int = 0
    line: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """The records of one block, parsed and not yet understood.

    `lines` has the line of each; `start_of` gives the offset at which one begins. `end` is the
    offset after the last one. `kind` says in which list of a JSON document they are.
    """

    records: list[Any]
    lines: list[int]
    start_of: Callable[[int], int]
    end: int
    kind: str = ""


# -- blocks of whole lines ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    place: Place
    end: int
    text: str


def _blocks(stream: ByteStream, place: Place, end: int | None) -> Iterator[_Block]:
    """The text from a place on in pieces of whole lines; `end` is where to stop."""
    offset, line = place.offset, place.line
    rest: list[bytes] = []
    for data in _pieces(stream, line, end):
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest.append(data)
            continue
        whole = b"".join((*rest, data[:cut]))
        rest = [data[cut:]]
        yield _Block(Place(offset, line), offset + len(whole), _decoded(whole, line))
        offset += len(whole)
        line += whole.count(b"\n")
    if last := b"".join(rest):
        yield _Block(Place(offset, line), offset + len(last), _decoded(last, line))


def _pieces(stream: ByteStream, line: int, end: int | None) -> Iterator[bytes]:
    while end is None or stream.position < end:
        size = BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - stream.position)
        try:
            data = stream.read(size)
        except DamagedStreamError as error:
            raise DamagedError(line, str(error)) from error
        if not data:
            return
        line += data.count(b"\n")
        yield data


def _decoded(data: bytes, line: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        bad = line + data.count(b"\n", 0, error.start)
        raise DamagedError(bad, "a byte is not UTF-8") from error


def _lines(block: _Block) -> list[str]:
    lines = block.text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def first_line(stream: ByteStream) -> tuple[str, Place]:
    """The first line of a file without its end, and the place of the next. Raises DamagedError."""
    held = b""
    for data in _pieces(stream, 1, None):
        held += data
        if b"\n" in data:
            break
    line, end, _ = held.partition(b"\n")
    return _decoded(line, 1).removesuffix("\r"), Place(len(line) + len(end), 2)


# -- JSON lines -----------------------------------------------------------------------------------


def line_groups(stream: ByteStream, place: Place, end: int | None) -> Iterator[Group]:
    """The records of JSON lines. Raises DamagedError."""
    for block in _blocks(stream, place, end):
        lines = _lines(block)
        records, numbers, kept = [], [], []
        for number, line in enumerate(lines, block.place.line):
            try:
                record, stop = scan_json(line, 0)
            except (StopIteration, ValueError, RecursionError) as error:
                if not line or line.isspace():
                    continue
                record, stop = _scanned(line, number, error)
            if stop != len(line) and line[stop:].strip():
                raise DamagedError(number, "there is more after the record")
            records.append(record)
            numbers.append(number)
            kept.append(number - block.place.line)
        if records:
            yield Group(records, numbers, _line_starts(block, lines, kept), block.end)


def _scanned(line: str, number: int, error: Exception) -> tuple[Any, int]:
    """The record of a line that does not begin with it. Raises DamagedError."""
    try:
        if line[0].isspace():
            return scan_json(line, len(line) - len(line.lstrip()))
    except (StopIteration, ValueError, RecursionError) as after_space:
        error = after_space
    raise DamagedError(number, json_reason(error)) from error


def _line_starts(block: _Block, lines: list[str], kept: list[int]) -> Callable[[int], int]:
    def start_of(record: int) -> int:
        before = lines[: kept[record]]
        return block.place.offset + sum(len(line.encode("utf-8")) + 1 for line in before)

    return start_of


def json_reason(error: Exception) -> str:
    """Why a text is not JSON, in one sentence."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deep"
    if isinstance(error, StopIteration):
        return "there is no JSON value where one should be"
    if not isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error}"
    return f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} (character {error.colno})"


# -- a JSON document ------------------------------------------------------------------------------


class JsonText:
    """The text of a JSON document, of which a bounded piece is held."""

    def __init__(self, stream: ByteStream, place: Place, end: int | None) -> None:
        self._stream, self._end = stream, end
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset, self._line = place.offset, place.line
        self._counted = 0
        self._done = False
        self.text = ""
        self.at = 0

    @property
    def line(self) -> int:
        """The line of the place where we are."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def offset_of(self, at: int) -> int:
        """The offset among the bytes of a place in the text that is held."""
        return self._offset + len(self.text[:at].encode())

    def drop(self) -> None:
        """Forget the text before the place where we are."""
        self._line = self.line
        self._offset = self.offset_of(self.at)
        self.text = self.text[self.at :]
        self.at = self._counted = 0

    def more(self) -> bool:
        """Read on, about as much as is held; False at the end."""
        if self._done:
            return False
        size = max(BLOCK_BYTES, len(self.text))
        if self._end is not None:
            size = min(size, self._end - self._stream.position)
        try:
            data = self._stream.read(size) if size > 0 else b""
            self._done = not data
            self.text += self._decoder.decode(data, final=self._done)
        except DamagedStreamError as error:
            raise DamagedError(self.line + self.text.count("\n", self.at), str(error)) from error
        except UnicodeDecodeError as error:
            bad = self.line + self.text.count("\n", self.at)
            bad += error.object.count(b"\n", 0, error.start)
            raise DamagedError(bad, "a byte is not UTF-8") from error
        if len(self.text) > MOST_RECORD_CHARACTERS:
            raise DamagedError(self.line, "a record never ends")
        return not self._done

    def skip_space(self) -> str:
        """Go to the next character that is no space, and return it; empty at the end."""
        while True:
            found = _SPACE.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def expect(self, characters: str) -> str:
        """Go beyond the next character, which is one of some. Raises DamagedError."""
        found = self.skip_space()
        if not found or found not in characters:
            wanted = " or ".join(characters)
            what = f"{found!r}" if found else "the end of the file"
            raise DamagedError(self.line, f"not JSON: {wanted} is expected, not {what}")
        self.at += 1
        return found

    def value(self) -> Any:
        """The value that begins here, and go beyond it. Raises DamagedError."""
        self.skip_space()
        while True:
            try:
                value, end = scan_json(self.text, self.at)
            except (StopIteration, ValueError, RecursionError) as error:
                if self._whole(error) or not self.more():
                    raise DamagedError(self._line_of(error), _reason_at(error)) from error
                continue
            # A number that ends with what is held may go on.
            if end < len(self.text) or not self.more():
                self.at = end
                return value

    def _whole(self, error: Exception) -> bool:
        """Whether an error would stay if we had more of the text."""
        message = str(getattr(error, "msg", ""))
        if isinstance(error, StopIteration):
            at = int(error.value)
        elif message.startswith("Unterminated string"):
            return False
        else:
            at = int(getattr(error, "pos", 0))
        return at < len(self.text) - _NEAR_END

    def _line_of(self, error: Exception) -> int:
        at = getattr(error, "pos", None)
        return self.line + (self.text.count("\n", self.at, at) if at is not None else 0)


def _reason_at(error: Exception) -> str:
    return json_reason(error).split(" (character")[0]


def document_parts(text: JsonText) -> Iterator[tuple[str, Any]]:
    """The members of a document, as they come: `("header", value)`, `("nodes", group)`, ….

    A list of records comes in groups; a member that nobody knows comes as it is. Raises
    DamagedError.
    """
    text.expect("{")
    seen = set()
    closed = text.skip_space() == "}"
    while not closed:
        if text.skip_space() != '"':
            raise DamagedError(text.line, "not JSON: a name in quotes is expected")
        name = text.value()
        if name in seen:
            raise DamagedError(text.line, f"{name} is there twice")
        seen.add(name)
        text.expect(":")
        if name in ("nodes", "relationships"):
            for group in _listed(text, name[:-1]):
                yield name, group
        else:
            yield name, text.value()
        closed = text.expect(",}") == "}"
    if not seen:
        text.expect("}")
    if text.skip_space():
        raise DamagedError(text.line, "there is more after the end of the document")


def _listed(text: JsonText, kind: str) -> Iterator[Group]:
    text.expect("[")
    if text.skip_space() == "]":
        text.at += 1
        return
    yield from _elements(text, kind, "]")


def element_groups(stream: ByteStream, place: Place, end: int | None) -> Iterator[Group]:
    """The records of a JSON document from one of them on, up to an offset or the list's end.

    Raises DamagedError.
    """
    yield from _elements(JsonText(stream, place, end), "", "]" if end is None else "")


def _elements(text: JsonText, kind: str, last: str) -> Iterator[Group]:
    """Groups of values with commas between them, up to the character `last` or the end."""
    while True:
        text.drop()
        group = _ElementGroup(text, kind)
        group.add_held()
        if not group.records and not group.add_one(last):
            return
        yield group.made()
        if group.ended:
            return


class _ElementGroup:
    """Values of a list that are in the text held, and their places."""

    def __init__(self, text: JsonText, kind: str) -> None:
        self._text, self._kind = text, kind
        self._starts: list[int] = []
        self._lines: list[int] = []
        self._end = 0
        self.records: list[Any] = []
        self.ended = False

    def add_held(self) -> None:
        """Take the values that are held whole, with the comma and the value after them."""
        text, at, line = self._text.text, self._text.at, self._text.line
        scan, between, length = scan_json, _BETWEEN.match, len(self._text.text)
        while True:
            try:
                value, end = scan(text, at)
            except (StopIteration, ValueError, RecursionError):
                break
            found = between(text, end)
            if found is None or found.end() == length:
                break
            self.records.append(value)
            self._starts.append(at)
            self._lines.append(line)
            end = found.end()
            line += text.count("\n", at, end)
            at = end
        self._text.at = self._end = at

    def add_one(self, last: str) -> bool:
        """Take one value, reading on as it needs; False where the list ended before it."""
        text = self._text
        if text.skip_space() == "" and not last:
            return False
        self._starts.append(text.at)
        self._lines.append(text.line)
        self.records.append(text.value())
        self._end = text.at
        at_end = text.skip_space() == "" and not last
        self.ended = at_end or text.expect("," + last) == last
        text.skip_space()
        return True

    def made(self) -> Group:
        """The group."""
        held, offset, starts = self._text.text, self._text.offset_of(0), self._starts

        def start_of(record: int) -> int:
            return offset + len(held[: starts[record]].encode())

        end = offset + len(held[: self._end].encode())
        return Group(self.records, self._lines, start_of, end, self._kind)


# -- CSV ------------------------------------------------------------------------------------------


class CsvText:
    """Lines of CSV as cells; a cell keeps its quotes, for only they tell empty from nothing."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._row = re.compile(",".join([_CELL] * columns) + r"\r?")

    def groups(self, stream: ByteStream, place: Place, end: int | None) -> Iterator[Group]:
        """The records, each a tuple of cells. Raises DamagedError."""
        open_lines: list[str] = []
        offset = place.offset
        line = place.line
        for block in _blocks(stream, place, end):
            lines = [*open_lines, *_lines(block)]
            group = _CsvGroup(lines, line, offset)
            group.read(self._row, self._columns)
            open_lines = lines[group.whole :]
            offset = offset + _size(lines[: group.whole]) if open_lines else block.end
            line += group.whole
            if group.records:
                yield Group(group.records, group.numbers, group.start_of, offset)
        if open_lines:
            raise DamagedError(line, "a quote is opened and never closed")


class _CsvGroup:
    """The records in some lines; `whole` is how many of the lines are of whole records."""

    def __init__(self, lines: list[str], first: int, offset: int) -> None:
        self._lines, self._first, self._offset = lines, first, offset
        self._starts: list[int] = []
        self.records: list[tuple[str, ...]] = []
        self.numbers: list[int] = []
        self.whole = len(lines)

    def start_of(self, record: int) -> int:
        """The offset at which a record begins."""
        return self._offset + _size(self._lines[: self._starts[record]])

    def read(self, row: re.Pattern[str], columns: int) -> None:
        """Read the records; a quote that is open at a line's end goes on in the next line."""
        match, start = row.fullmatch, None
        for place, line in enumerate(self._lines):
            odd = line.count('"') & 1
            if start is not None:
                if not odd:
                    self._check(_WITHIN, place, start)
                    continue
                line = "\n".join(self._lines[start : place + 1])
            elif odd:
                self._check(_OPENING, place, place)
                start = place
                continue
            elif not line or line == "\r":
                continue
            first = place if start is None else start
            cells = match(line)
            if cells is None:
                raise DamagedError(self._first + first, _csv_reason(line, columns))
            self.records.append(cells.groups())
            self._starts.append(first)
            self.numbers.append(self._first + first)
            start = None
        if start is not None:
            self.whole = start

    def _check(self, pattern: re.Pattern[str], place: int, start: int) -> None:
        if not pattern.fullmatch(self._lines[place]):
            where = f" (line {self._first + place})" if start != place else ""
            raise DamagedError(self._first + start, f"{_WRONG_QUOTE}{where}")


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _csv_reason(line: str, columns: int) -> str:
    cells = cells_of(line)
    if cells is None:
        return _WRONG_QUOTE
    return f"{len(cells)} cells, not {columns}"


def cells_of(line: str) -> list[str] | None:
    """The cells of a line of CSV, None where it is not CSV."""
    cells, at = [], 0
    while True:
        found = _CELLS.match(line, at)
        if found is None:
            return None
        cells.append(found[1])
        at = found.end()
        if found[2] != ",":
            return cells
