"""A person walks through a whole migration in a real terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.walk import walk

PROGRAM = shutil.which("geode-tui", path=str(Path(sys.executable).parent))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
@pytest.mark.skipif(PROGRAM is None, reason="geode-tui is not installed beside this Python")
def test_a_migration_is_made_by_keyboard_from_connecting_to_a_balanced_report(
    tmp_path: Path,
) -> None:
    """Schema, a renamed label, a property left out, a run to its end, and the proof."""
    assert PROGRAM is not None
    walk(tmp_path, PROGRAM)
