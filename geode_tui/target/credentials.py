"""Passwords of targets, in the memory of this process alone; never on disk, never in a text.

They are known by the login they open: one password serves every graph of a server's user. A child
process learns them through its pipe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from geode_tui.target.geode_dsn import login_identity

VARIABLE = "GEODE_TUI_TARGET_PASSWORD"


class Passwords(Mapping[str, str]):
    """Passwords by login; its text tells how many there are, not what they are."""

    def __init__(self, found: Mapping[str, str]) -> None:
        self._found = dict(found)

    def __getitem__(self, login: str) -> str:
        return self._found[login]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} passwords>"


_known: dict[str, str] = {}


def remember(place: str, password: str) -> None:
    """Keep the password of a target until this process ends."""
    _known[login_identity(place)] = password


def password_of(place: str) -> str | None:
    """The password of a target: the remembered one, else that of the environment, else None."""
    return _known.get(login_identity(place)) or os.environ.get(VARIABLE) or None


def known() -> Passwords:
    """All that this process remembers, to hand to a child."""
    return Passwords(_known)


def learn(found: Mapping[str, str]) -> None:
    """Remember what another process knows, as it said with `known`."""
    _known.update(found)
