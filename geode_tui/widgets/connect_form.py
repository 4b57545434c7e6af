"""The form of a connection: from where, to where."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from textual import on
from textual.app import ComposeResult
from textual.containers import HorizontalGroup, VerticalGroup
from textual.widgets import Input, Label

from geode_tui.errors import UsageError
from geode_tui.migration.profiles import Profile
from geode_tui.source.dsn import check_dsn, without_password
from geode_tui.target.geode_dsn import is_geode, parse_address

_FIELDS = (
    ("source", "source", "postgresql://user@host:5432/database, empty: libpq's own places"),
    ("password", "password", "never stored; empty: PGPASSWORD or ~/.pgpass"),
    ("schemas", "schemas", "shop, public; empty: all"),
    ("target", "target", "shop.grafeo, or quic://user@host:3141/graph"),
    ("target_password", "password", "of the target; empty: GEODE_TUI_TARGET_PASSWORD"),
    ("graph", "graph", "the graph's name; empty: the default one"),
    ("label", "label", "PROD marks a source that matters"),
    ("profile", "save as", "a name to find this connection again"),
)
_SECRETS = ("password", "target_password")


@dataclass(frozen=True, slots=True)
class Connection:
    """What the form holds; `dsn` and the passwords are secrets and live in memory only."""

    profile: Profile
    dsn: str = field(repr=False)
    password: str | None = field(repr=False)
    target_password: str | None = field(default=None, repr=False)


class ConnectForm(VerticalGroup):
    """The fields, one line each."""

    DEFAULT_CSS = """
    ConnectForm {
        & HorizontalGroup { height: 1; }
        & Label { width: 10; color: $text-muted; }
        & Input { width: 1fr; padding: 0 1; background: $boost; }
        & HorizontalGroup:focus-within Label { color: $foreground; text-style: bold; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._mapping = ""
        self.field_read = "source"
        """The field that was read last: the wrong one where `read` raised an error."""

    def compose(self) -> ComposeResult:
        """A line for each field."""
        for name, title, hint in _FIELDS:
            with HorizontalGroup(id=f"{name}-line"):
                yield Label(title, markup=False)
                yield Input(
                    id=name,
                    placeholder=hint,
                    password=name in _SECRETS,
                    compact=True,
                    select_on_focus=False,
                )

    def fill(self, profile: Profile) -> None:
        """Show a profile; the password stays empty."""
        self._mapping = profile.mapping
        values = {
            "source": profile.source,
            "password": "",
            "schemas": ", ".join(profile.schemas),
            "target": profile.target,
            "target_password": "",
            "graph": profile.graph,
            "label": profile.label,
            "profile": profile.name,
        }
        for name, value in values.items():
            self.query_one(f"#{name}", Input).value = value
        with contextlib.suppress(UsageError):  # a profile written by hand may hold a password
            self._read_target()

    def read(self) -> Connection:
        """What the form holds now; a password in a DSN moves to its own, masked field.

        Raises UsageError for a source or a target that is no DSN; `field_read` says which.
        """
        self.field_read = "target"
        target, graph = self._read_target()
        self.field_read = "source"
        typed = check_dsn(self._value("source"))
        safe = without_password(typed)
        if _password_of(typed):
            self.query_one("#password", Input).value = _password_of(typed)
            self.query_one("#source", Input).value = safe
        schemas = tuple(part.strip() for part in self._value("schemas").split(","))
        profile = Profile(
            name=self._value("profile"),
            source=safe,
            target=target,
            graph=graph,
            label=self._value("label"),
            schemas=tuple(schema for schema in schemas if schema),
            mapping=self._mapping,
        )
        secrets = (self._value(name) or None for name in _SECRETS)
        return Connection(profile, typed, *secrets)

    @on(Input.Changed, "#target")
    def _target_changed(self, event: Input.Changed) -> None:
        self._show_target_password(event.value)

    def on_mount(self) -> None:
        """Only a server asks for a password."""
        self._show_target_password("")

    def _show_target_password(self, target: str) -> None:
        self.query_one("#target_password-line").display = is_geode(target.strip())

    def _read_target(self) -> tuple[str, str]:
        """The target's place and graph; the graph of a Geode server goes into its place."""
        target, graph = self._value("target"), self._value("graph")
        if not is_geode(target):
            return target, graph
        address, password = parse_address(target, graph)
        if password is not None:
            self.query_one("#target_password", Input).value = password
        if password is not None or graph:
            self.query_one("#target", Input).value = address.place
            self.query_one("#graph", Input).value = ""
        return address.place, ""

    def focus_field(self, name: str) -> None:
        """Go to a field."""
        self.query_one(f"#{name}", Input).focus()

    def _value(self, name: str) -> str:
        value = self.query_one(f"#{name}", Input).value
        return value if name in _SECRETS else value.strip()


def _password_of(dsn: str) -> str:
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    return unquote(parts.password or "") or query.get("password", "")
