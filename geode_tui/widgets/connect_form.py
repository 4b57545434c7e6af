"""The form of a connection: from where, to where."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from textual.app import ComposeResult
from textual.containers import HorizontalGroup, VerticalGroup
from textual.widgets import Input, Label

from geode_tui.migration.profiles import Profile
from geode_tui.source.dsn import check_dsn, without_password

_FIELDS = (
    ("source", "source", "postgresql://user@host:5432/database, empty: libpq's own places"),
    ("password", "password", "never stored; empty: PGPASSWORD or ~/.pgpass"),
    ("schemas", "schemas", "shop, public; empty: all"),
    ("target", "target", "shop.grafeo"),
    ("graph", "graph", "the graph's name; empty: the default one"),
    ("label", "label", "PROD marks a source that matters"),
    ("profile", "save as", "a name to find this connection again"),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """What the form holds; `dsn` may hold secrets and lives in memory only."""

    profile: Profile
    dsn: str
    password: str | None


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

    def compose(self) -> ComposeResult:
        """A line for each field."""
        for name, title, hint in _FIELDS:
            with HorizontalGroup():
                yield Label(title, markup=False)
                yield Input(
                    id=name,
                    placeholder=hint,
                    password=name == "password",
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
            "graph": profile.graph,
            "label": profile.label,
            "profile": profile.name,
        }
        for name, value in values.items():
            self.query_one(f"#{name}", Input).value = value

    def read(self) -> Connection:
        """What the form holds now; a password in the DSN moves to its own, masked field.

        Raises UsageError for a source that is no DSN.
        """
        typed = check_dsn(self._value("source"))
        safe = without_password(typed)
        if _password_of(typed):
            self.query_one("#password", Input).value = _password_of(typed)
            self.query_one("#source", Input).value = safe
        schemas = tuple(part.strip() for part in self._value("schemas").split(","))
        profile = Profile(
            name=self._value("profile"),
            source=safe,
            target=self._value("target"),
            graph=self._value("graph"),
            label=self._value("label"),
            schemas=tuple(schema for schema in schemas if schema),
            mapping=self._mapping,
        )
        return Connection(profile, typed, self._value("password") or None)

    def focus_field(self, name: str) -> None:
        """Go to a field."""
        self.query_one(f"#{name}", Input).focus()

    def _value(self, name: str) -> str:
        value = self.query_one(f"#{name}", Input).value
        return value if name == "password" else value.strip()


def _password_of(dsn: str) -> str:
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    return unquote(parts.password or "") or query.get("password", "")
