"""What docs/cli.md says: its chapters, and the keys of its JSON documents."""

from __future__ import annotations

import re
from pathlib import Path

COMMAND_LINE = Path(__file__).parent.parent / "docs" / "cli.md"


def chapters(mark: str) -> dict[str, str]:
    """What stands below each heading of a level, by the heading's words."""
    text = COMMAND_LINE.read_text(encoding="utf-8")
    headings = re.split(rf"^{mark}`?([a-z ]+)`?$", text, flags=re.MULTILINE)
    bodies = (re.split(r"^#", body, flags=re.MULTILINE)[0] for body in headings[2::2])
    return dict(zip(headings[1::2], bodies, strict=True))


def documented_keys(name: str) -> set[str]:
    """The keys of a JSON document."""
    return set(re.findall(r"^\| `([a-z0-9_-]+)`", chapters("#### ")[name], re.MULTILINE))
