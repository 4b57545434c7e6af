"""The folders where settings, run journals and demo databases live."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from geode_tui.errors import UsageError

_APP = "geode-tui"


def _private(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder}",
            str(error.strerror or error),
            "set XDG_STATE_HOME and XDG_CONFIG_HOME to folders that you may write to",
        ) from error
    return folder


def state_folder() -> Path:
    """Folder of the journal and of what the app remembers; made (0700) when missing."""
    return _private(platformdirs.user_state_dir(_APP))


def config_folder() -> Path:
    """Folder of profiles and settings; made (0700) when missing."""
    return _private(platformdirs.user_config_dir(_APP))


def journal_file() -> Path:
    """The SQLite file in which every run is journaled."""
    return state_folder() / "journal.sqlite3"


def journal_there() -> bool:
    """Whether there is a journal; nothing is made."""
    return (Path(platformdirs.user_state_dir(_APP)) / "journal.sqlite3").exists()


def profiles_file() -> Path:
    """The TOML file of connection profiles (never a password)."""
    return config_folder() / "profiles.toml"


def demo_folder() -> Path:
    """Folder of the demo's PostgreSQL data and graph files."""
    folder = state_folder() / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
