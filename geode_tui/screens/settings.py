"""The settings of the interface: `settings.toml` for what a person sets, and the last theme."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from textual.binding import Binding

from geode_tui import paths
from geode_tui.errors import UsageError

DEFAULT_THEME = "textual-dark"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `settings.toml` may hold.

    `theme` is used until another is chosen in the palette; `keymap` gives bindings, by their id,
    other keys.
    """

    theme: str = ""
    keymap: Mapping[str, str] = field(default_factory=dict)


def settings_file() -> Path:
    """Where the settings are read from."""
    return paths.config_folder() / "settings.toml"


def load_settings() -> Settings:
    """Read the settings; without a file they are the defaults. Raises UsageError."""
    path = settings_file()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}", str(error), "mend or remove the file") from error
    return _checked(found, path)


def _checked(found: dict[str, Any], path: Path) -> Settings:
    known = [item.name for item in fields(Settings)]
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"unknown setting {name}", f"in {path}", hint)
    theme, keymap = found.get("theme", ""), found.get("keymap", {})
    if not isinstance(theme, str):
        raise UsageError("theme is no text", f"in {path}", 'write theme = "textual-light"')
    texts = isinstance(keymap, dict) and all(isinstance(key, str) for key in keymap.values())
    if not texts:
        hint = 'write a section [keymap] with lines like "app.quit" = "f10"'
        raise UsageError("keymap is no table of texts", f"in {path}", hint)
    return Settings(theme, keymap)


def keymap_clashes(keymap: Mapping[str, str], bindings: Sequence[Binding]) -> list[frozenset[str]]:
    """The ids of bindings that share a key because of the keymap."""
    by_key: dict[str, set[str]] = {}
    for binding in bindings:
        if binding.id:
            for key in keymap.get(binding.id, binding.key).split(","):
                by_key.setdefault(key.strip(), set()).add(binding.id)
    return [frozenset(ids) for ids in by_key.values() if len(ids) > 1 and ids & keymap.keys()]


def last_theme() -> str:
    """The theme chosen last, empty when none was."""
    try:
        return _theme_file().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, UsageError):
        return ""


def remember_theme(name: str) -> None:
    """Keep a theme for the next start; where that cannot be written it is forgotten."""
    try:
        _theme_file().write_text(name + "\n", encoding="utf-8")
    except (OSError, UsageError):
        return


def _theme_file() -> Path:
    return paths.state_folder() / "theme"
