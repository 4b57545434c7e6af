"""What a screen should look like, kept as text: UPDATE_GOLDENS=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(shown: str, name: str) -> None:
    """Compare what is shown with the text of that name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(f"{shown}\n", encoding="utf-8")
    assert shown.splitlines() == path.read_text(encoding="utf-8").splitlines()
