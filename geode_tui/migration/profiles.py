"""Saved connections by name: what to migrate from and to. Never a password."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from geode_tui.errors import UsageError
from geode_tui.mapping.file import nearest
from geode_tui.paths import profiles_file
from geode_tui.source.dsn import without_password
from geode_tui.target.geode_dsn import is_geode, parse_address


@dataclass(frozen=True)
class Profile:
    """A source and a target with a name; `label` (PROD) is shown wherever they are."""

    name: str
    source: str
    target: str
    graph: str = ""
    label: str = ""
    schemas: tuple[str, ...] = ()
    mapping: str = ""


def load_profiles() -> list[Profile]:
    """All saved profiles, by name. Raises UsageError when the file is damaged."""
    path = profiles_file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}", str(error), "mend or remove the file") from error
    entries = document.get("profile", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: profile is no list of tables", "", "write [[profile]]")
    found = [_profile(entry) for entry in entries]
    return sorted(found, key=lambda profile: profile.name)


def find_profile(name: str) -> Profile | None:
    """The profile of that name, or None."""
    return next((profile for profile in load_profiles() if profile.name == name), None)


def save_profile(profile: Profile) -> None:
    """Save a profile, in place of one with its name; passwords in it are left out."""
    if not profile.name.strip():
        raise UsageError("a profile needs a name")
    kept = replace(
        profile,
        source=without_password(profile.source),
        target=_without_secret(profile.target),
    )
    others = [p for p in load_profiles() if p.name != profile.name]
    _write([*others, kept])


def delete_profile(name: str) -> None:
    """Forget a profile. Raises UsageError when there is none of that name."""
    profiles = load_profiles()
    if name not in (profile.name for profile in profiles):
        raise UsageError(f"no profile {name}", "", nearest(name, [p.name for p in profiles]))
    _write([profile for profile in profiles if profile.name != name])


def _profile(entry: dict[str, Any]) -> Profile:
    known = {field.name for field in fields(Profile)}
    for name in entry:
        if name not in known:
            raise UsageError(f"{profiles_file()}: no field {name}", "", nearest(name, known))
        if not isinstance(entry[name], list if name == "schemas" else str):
            raise UsageError(f"{profiles_file()}: {name} is no text", "", "put it in quotes")
    try:
        return Profile(**{**entry, "schemas": tuple(entry.get("schemas", ()))})
    except TypeError as error:
        raise UsageError(f"{profiles_file()}: a profile needs name, source and target") from error


def _without_secret(target: str) -> str:
    """The target's place; of a Geode server without the password. Raises UsageError."""
    return parse_address(target)[0].place if is_geode(target) else target


def _write(profiles: list[Profile]) -> None:
    path = profiles_file()
    # A TOML basic string and a JSON string agree on every character that json.dumps escapes.
    lines = ["# geode-tui profiles; passwords are never kept here"]
    for profile in sorted(profiles, key=lambda p: p.name):
        lines.append("\n[[profile]]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in asdict(profile).items()]
    handle, temporary = tempfile.mkstemp(prefix=".profiles.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(temporary, path)
