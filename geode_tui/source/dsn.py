"""Source DSNs: what may be shown, and what may be kept. libpq's own places fill in the rest."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from geode_tui.errors import UsageError

SECRET_PARAMETERS = frozenset({"password", "sslpassword"})


def check_dsn(dsn: str) -> str:
    """Return a DSN that asyncpg can read, or raise UsageError.

    An empty DSN means libpq's places (PG* variables, service and password files).
    """
    dsn = dsn.strip()
    if not dsn:
        return ""
    if dsn.startswith(("postgres://", "postgresql://")):
        return _checked_url(dsn)
    if "=" in dsn and "://" not in dsn:
        return _from_keywords(dsn)
    if "://" not in dsn and "/" not in dsn:
        return f"postgresql:///{quote(dsn)}"
    raise UsageError(
        f"{dsn} is no PostgreSQL DSN",
        "",
        "write postgresql://user@host:5432/database, or service=name",
    )


_PLACE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def _checked_url(dsn: str) -> str:
    """Refuse a URL whose parts are not what they seem: a password with `/` looks like a host."""
    try:
        parts = urlsplit(dsn)
        if parts.query:
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        places = parts.netloc.rpartition("@")[2].split(",")
        whole = not parts.fragment and "@" not in parts.path
        if whole and all(_PLACE.fullmatch(place) for place in places):
            return dsn
    except ValueError:
        pass
    raise UsageError(
        "the DSN cannot be read",
        "a part of it holds a reserved character, or the port is no number",
        "write / ? # @ [ ] in a password as %2F %3F %23 %40 %5B %5D, or set PGPASSWORD",
    )


def without_password(dsn: str) -> str:
    """The DSN with every secret taken out: this is what a journal or a profile may keep."""
    if "://" not in dsn:
        return dsn
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}{at}{host}"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name.lower() not in SECRET_PARAMETERS]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(kept, safe="/:"), ""))


def short_name(dsn: str) -> str:
    """`shop@db1:5432`: the database and where it is, for a title."""
    parts = urlsplit(dsn) if "://" in dsn else urlsplit("")
    query = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or query.get("host") or os.environ.get("PGHOST", "")
    database = unquote(parts.path.lstrip("/")) or query.get("dbname") or query.get("service")
    database = database or os.environ.get("PGDATABASE") or "default database"
    if not host or host.startswith(("/", "%2F")):
        host = "local"
    return f"{database}@{host}"


def _from_keywords(dsn: str) -> str:
    """A libpq keyword string (`host=db1 dbname=shop`) as a DSN."""
    pairs: list[tuple[str, str]] = []
    for number, part in enumerate(_split(dsn), 1):
        name, separator, value = part.partition("=")
        if not separator:  # it may be a piece of a password: the text is not told
            raise UsageError(
                f"part {number} of the DSN is not name=value",
                "",
                "put a value with spaces in single quotes",
            )
        pairs.append((name.strip(), value))
    names = {"dbname": "database"}
    return "postgresql://?" + urlencode([(names.get(n, n), v) for n, v in pairs], safe="/:")


def _split(text: str) -> list[str]:
    parts: list[str] = []
    current, quoted = "", False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            current += next(characters, "")
        elif character == "'":
            quoted = not quoted
        elif character == " " and not quoted:
            if current:
                parts.append(current)
            current = ""
        else:
            current += character
    if current:
        parts.append(current)
    return parts
