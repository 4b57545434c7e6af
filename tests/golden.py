"""What a screen should look like, kept as text: UPDATE_GOLDENS=1 accepts how it looks now."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "goldens"
SIZES = ((80, 24), (120, 40), (200, 60))


def assert_golden(shown: str, name: str) -> None:
    """Compare what is shown with the text of that name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(f"{shown}\n", encoding="utf-8")
    assert shown.splitlines() == path.read_text(encoding="utf-8").splitlines()
