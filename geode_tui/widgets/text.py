"""Texts as a terminal can show them: foreign text made harmless, cells cut, numbers in words."""

from __future__ import annotations

import unicodedata
from typing import Literal

from rich.cells import cell_len, set_cell_size

Align = Literal["left", "right"]

_COUNTS = ((999_950, 1_000, "k"), (999_950_000, 10**6, "M"))
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def one_line(text: str) -> str:
    """`text` on one line and without anything that a terminal would obey.

    A line break shows as `↵`, a tab as `→`, other control characters as their control pictures;
    invisible format characters (text direction and the like) as `·`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(character) for character in text.replace("\r\n", "\n"))


def many_lines(text: str) -> str:
    """`text` with its line breaks, and otherwise as `one_line` makes it."""
    return "\n".join(one_line(line) for line in text.replace("\r\n", "\n").split("\n"))


def _harmless(character: str) -> str:
    if character == "\n":
        return "↵"
    if character == "\t":
        return "→"
    category = unicodedata.category(character)
    if category == "Cc":
        code = ord(character)
        return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "·"
    return "·" if category in ("Cf", "Cs", "Zl", "Zp") else character


def fit(text: str, width: int, align: Align = "left") -> str:
    """`text` in exactly `width` cells: padded, or cut with `…`."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - length)
    return padding + text if align == "right" else text + padding


def short_count(number: int) -> str:
    """A count in few cells: `212`, `41.2 k`, `1.0 M`."""
    if number < 1_000:
        return str(number)
    for limit, divisor, unit in _COUNTS:
        if number < limit:
            return f"{number / divisor:.1f} {unit}"
    return f"{number / 10**9:,.1f} G"


def estimate(rows: int | None) -> str:
    """A row estimate: `±1.0 M`, or `?` where nobody knows."""
    return "?" if rows is None else f"±{short_count(rows)}"


def short_bytes(number: int) -> str:
    """A size: `512 bytes`, `1.4 GiB`."""
    size = float(number)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{number} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
