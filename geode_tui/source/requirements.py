"""What a way of capturing changes needs, and whether the source has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that capture needs, or had better have (`warning`), and whether it is so.

    `evidence` is what was found. `sql` mends it, run by somebody with the rights; it is empty where
    nothing is to be mended, or where no SQL can mend it.
    """

    what: str
    state: Literal["met", "warning", "missing"]
    evidence: str
    sql: tuple[str, ...] = ()


def required(what: str, met: bool, evidence: str, *sql: str) -> Requirement:
    """What capture cannot do without; `sql` counts where it is not met."""
    return Requirement(what, "met" if met else "missing", evidence, () if met else sql)
