"""The address of a Geode server: read strictly from a DSN, told again without its password.

`quic://[user[:password]@]host[:3141][/graph][?name=value&…]`, or `grpc://` with port 50051. The
driver's own reader forgives too much: it takes a text without a scheme for a graph, ignores some
parameters and turns `localhost` into a number that no certificate names.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from geode_tui.errors import UsageError

PORTS = {"quic": 3141, "grpc": 50051}
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 300.0
LONGEST_SECONDS = 3600.0

_EXAMPLE = "write it as quic://user@host:3141/graph or grpc://user@host:50051/graph"
_ENCODE = "in a user, a password or a graph, / ? # @ : & % and spaces are written as %2F and so on"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_PARAMETERS = {
    **dict.fromkeys(("username", "user"), "user"),
    **dict.fromkeys(("password", "pass"), "password"),
    "graph": "graph",
    **dict.fromkeys(("ca", "ca_cert"), "ca"),
    **dict.fromkeys(("cert", "client_cert"), "cert"),
    **dict.fromkeys(("key", "client_key"), "key"),
    "server_name": "server_name",
    "tls": "tls",
    **dict.fromkeys(("insecure", "skip_verify", "insecure_tls_skip_verify"), "insecure"),
    **dict.fromkeys(("tenant", "tenant_id"), "tenant"),
    "role": "role",
    "read_timeout": "read_timeout",
    **dict.fromkeys(("connect_timeout", "timeout"), "connect_timeout"),
    "idle_timeout": "idle_timeout",
}
_OURS = frozenset({"page_size", "hello_name", "hello_ver", "conformance"})
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_TIMES = {
    "read_timeout": REQUEST_SECONDS,
    "connect_timeout": CONNECT_SECONDS,
    "idle_timeout": IDLE_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a graph is and how to get there; it never holds a password.

    `ca`, `client_certificate` and `client_key` are absolute paths of PEM files or None;
    `server_name` is what the certificate must name, None for `host`. `tls` is False for plaintext
    (gRPC only), `verify` False where the certificate is not looked at. `request_seconds` is how
    long one answer may take, `connect_seconds` a connection, `idle_seconds` how long QUIC may be
    silent.
    """

    scheme: str
    host: str
    port: int
    graph: str = ""
    user: str = ""
    ca: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    server_name: str | None = None
    tls: bool = True
    verify: bool = True
    tenant: str = ""
    role: str = ""
    request_seconds: float = REQUEST_SECONDS
    connect_seconds: float = CONNECT_SECONDS
    idle_seconds: float = IDLE_SECONDS

    @property
    def place(self) -> str:
        """The DSN in one spelling, without password: what is the default is left out."""
        options = [
            ("tenant", self.tenant),
            ("role", self.role),
            ("ca", self.ca or ""),
            ("cert", self.client_certificate or ""),
            ("key", self.client_key or ""),
            ("server_name", self.server_name or ""),
            ("tls", "" if self.tls else "0"),
            ("insecure", "" if self.verify else "1"),
            ("read_timeout", _seconds_text(self.request_seconds, REQUEST_SECONDS)),
            ("connect_timeout", _seconds_text(self.connect_seconds, CONNECT_SECONDS)),
            ("idle_timeout", _seconds_text(self.idle_seconds, IDLE_SECONDS)),
        ]
        told = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options if value)
        return self._whole + (f"?{told}" if told else "")

    @property
    def short(self) -> str:
        """The place for a status line: `user@db.example/social`."""
        return target_name(self._whole)

    @property
    def warning(self) -> str:
        """What is not safe about the connection, in a sentence; empty where all is verified."""
        if not self.tls:
            return f"the connection to {self.short} is not encrypted: anybody on the way reads it"
        if not self.verify:
            return f"the certificate of {self.short} is not verified: anybody can pose as it"
        return ""

    @property
    def _whole(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        graph = f"/{quote(self.graph, safe='')}" if self.graph else ""
        return f"{self.scheme}://{user}{_bracketed(self.host)}:{self.port}{graph}"


def is_geode(place: str) -> bool:
    """Whether a target's place is a Geode server."""
    return place.lower().startswith(("quic://", "grpc://"))


def graph_identity(place: str) -> str:
    """What names the graph behind a place, however it is connected to: for locks and comparisons.

    Of a Geode server's canonical place that is server, graph and tenant; of others the place.
    """
    if not is_geode(place):
        return place
    front, _, query = place.partition("?")
    scheme, _, rest = front.partition("://")
    found = dict(part.partition("=")[::2] for part in query.split("&"))
    tenant = f"?tenant={found['tenant']}" if found.get("tenant") else ""
    return f"{scheme}://{rest.rpartition('@')[2]}{tenant}"


def login_identity(place: str) -> str:
    """What names the login of a canonical place: one password opens all its graphs."""
    front, _, query = place.partition("?")
    scheme, _, rest = front.partition("://")
    found = dict(part.partition("=")[::2] for part in query.split("&"))
    tenant = f"?tenant={found['tenant']}" if found.get("tenant") else ""
    return f"{scheme}://{rest.partition('/')[0]}{tenant}"


def parse_address(dsn: str, graph: str | None = None) -> tuple[Address, str | None]:
    """Read a DSN: the address, and the password if one is in it.

    `graph` is a graph named elsewhere (`--graph`). Relative paths of certificates are taken from
    the working folder. Raises UsageError, which never holds the password.
    """
    scheme, authority, path, query = _split(dsn)
    login, host, port = _authority(authority, PORTS[scheme])
    given = _parameters(query)
    user, password = _login(login, given)
    named = _one_graph(_decoded(path, "graph"), given.get("graph", ""), graph or "")
    tls, insecure = _switch(given, "tls", True), _switch(given, "insecure", False)
    if not tls and scheme == "quic":
        raise UsageError("QUIC has no plaintext", "tls=0 is for grpc://", "leave tls=0 out")
    ca, certificate, key = (_pem(given, name) for name in ("ca", "cert", "key"))
    if not tls and (ca or certificate or key or given.get("server_name")):
        raise UsageError(
            "tls=0 with a certificate", "plaintext looks at no certificate", "leave tls=0 out"
        )
    _paired(certificate, key)
    times = [_seconds(given, name) for name in _TIMES]
    address = Address(
        scheme,
        host,
        port,
        named,
        user,
        ca,
        certificate,
        key,
        given.get("server_name") or None,
        tls,
        not insecure,
        given.get("tenant", ""),
        given.get("role", ""),
        *times,
    )
    return address, password


def _split(dsn: str) -> tuple[str, str, str, str]:
    """Scheme, authority, path and query; the DSN is not in any error, it may hold a password."""
    text = dsn.strip()
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in PORTS:
        named = f"the scheme {scheme}" if mark and scheme.isalnum() else "no scheme"
        raise UsageError(f"a Geode DSN with {named}", "it is quic:// or grpc://", _EXAMPLE)
    if any(letter.isspace() or not letter.isprintable() for letter in rest):
        raise UsageError("a Geode DSN with a space or a control character in it", "", _ENCODE)
    front, _, query = rest.partition("?")
    authority, _, path = front.partition("/")
    if "#" in rest or "@" in path or ("@" in query and "@" not in authority and _odd(authority)):
        raise UsageError("a Geode DSN with a sign out of place", "", _ENCODE)
    return scheme, authority, path, query


def _odd(authority: str) -> bool:
    """Whether what should be host and port is rather the head of `user:pass?word@host`."""
    host, _, port = authority.rpartition(":")
    return bool(host) and not authority.endswith("]") and not port.isdigit()


def _authority(authority: str, default: int) -> tuple[str, str, int]:
    """The user's part, the host and the port."""
    login, _, place = authority.rpartition("@")
    if "@" in login:
        raise UsageError("a Geode DSN with two @ before its host", "", _ENCODE)
    if place.startswith("["):
        host, mark, rest = place[1:].partition("]")
        if not mark or (rest and not rest.startswith(":")):
            raise UsageError("a Geode DSN whose IPv6 host is cut off", "", "write [::1]:3141")
        port = rest[1:] if rest else None
        host = _ipv6(host)
    else:
        host, mark, text = place.partition(":")
        if ":" in text:
            raise UsageError("a Geode DSN with a host of several colons", "", "write [::1]:3141")
        port = text if mark else None
        host = host.lower()
        if not host:
            raise UsageError("a Geode DSN without a host", "", _EXAMPLE)
        if not _HOST.fullmatch(host):
            raise UsageError("a Geode DSN whose host is no host name", "", _EXAMPLE)
    return login, host, default if port is None else _port(port)


def _ipv6(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError("a zone is of this machine alone")
        return ipaddress.IPv6Address(text).compressed
    except ValueError as error:
        raise UsageError("a Geode DSN whose host is no IPv6 address", "", _EXAMPLE) from error


def _port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 65536:
        return int(text)
    raise UsageError("a Geode DSN with a wrong port", "a port is 1 to 65535", _EXAMPLE)


def _parameters(query: str) -> dict[str, str]:
    """The parameters by their one name; the user's and the password's aliases count too."""
    found: dict[str, str] = {}
    secret_before = False
    for part in query.split("&") if query else ():
        name, mark, value = part.partition("=")
        meaning = _PARAMETERS.get(name)
        if meaning is None or not mark:
            # It may be the tail of a password, cut off by a sign that was not encoded.
            raise _unknown("" if secret_before or "@" in query else name, bool(mark))
        if meaning in found:
            raise UsageError(f"the parameter {name} is in the DSN twice", "", "name it once")
        secret_before = secret_before or meaning == "password"
        found[meaning] = _decoded(value, name)
    return found


def _unknown(name: str, has_value: bool) -> UsageError:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name):
        return UsageError("a Geode DSN with a parameter that is none", "", _ENCODE)
    if name in _PARAMETERS and not has_value:
        return UsageError(f"the parameter {name} has no value", "", f"write {name}=… in the DSN")
    if name in _OURS:
        return UsageError(
            f"the parameter {name} is the program's to set", "", "leave it out of the DSN"
        )
    near = difflib.get_close_matches(name.lower(), _PARAMETERS, n=1, cutoff=0.5)
    known = "known are " + ", ".join(sorted(_PARAMETERS))
    return UsageError(
        f"a Geode DSN has no parameter {name}", known, f"did you mean {near[0]}?" if near else ""
    )


def _login(login: str, given: dict[str, str]) -> tuple[str, str | None]:
    """The user and the password, of the part before the @ or of parameters, not of both."""
    name, mark, secret = login.partition(":")
    if ":" in secret:
        raise UsageError("a Geode DSN with a : in its password", "", _ENCODE)
    user, password = _decoded(name, "user"), _decoded(secret, "password") if mark else None
    for what, there in (("user", user), ("password", password)):
        if there and what in given:
            raise UsageError(f"the {what} is in the DSN twice", "", "name it once")
    user = user or given.get("user", "")
    password = password if password is not None else given.get("password")
    if password and not user:
        raise UsageError("a Geode DSN with a password and no user", "", _EXAMPLE)
    return user, password or None


def _one_graph(path: str, parameter: str, option: str) -> str:
    named = {graph for graph in (path, parameter, option) if graph}
    if len(named) > 1:
        raise UsageError(
            "the DSN names one graph and a parameter or --graph another",
            " and ".join(sorted(named)),
            "name the graph once",
        )
    if any(not letter.isprintable() for graph in named for letter in graph):
        raise UsageError("a graph's name with a control character in it", "", "name another graph")
    return named.pop() if named else ""


def _decoded(text: str, what: str) -> str:
    """The text without its percent signs; strict, unlike `unquote`."""
    if what == "graph" and "/" in text.rstrip("/"):
        raise UsageError("a Geode DSN with more than a graph in its path", "", _ENCODE)
    text = text.rstrip("/") if what == "graph" else text
    try:
        if re.search(r"%(?![0-9A-Fa-f]{2})", text):
            raise ValueError
        return unquote(text, errors="strict")
    except ValueError as error:
        raise UsageError(
            f"the {what} of a Geode DSN is not percent-encoded UTF-8", "", _ENCODE
        ) from error


def _switch(given: dict[str, str], name: str, default: bool) -> bool:
    value = given.get(name)
    if value is None:
        return default
    if value.lower() not in _YES | _NO:
        raise UsageError(f"{name} of a Geode DSN is neither 1 nor 0", "", f"write {name}=1")
    return value.lower() in _YES


def _seconds(given: dict[str, str], name: str) -> float:
    value = given.get(name)
    if value is None:
        return _TIMES[name]
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"{name} of a Geode DSN is no number of seconds",
            f"it is more than 0 and at most {LONGEST_SECONDS:.0f}",
            f"write {name}={_TIMES[name]:.0f}",
        )
    return seconds


def _pem(given: dict[str, str], name: str) -> str | None:
    """The absolute path of a PEM file that is there and can be read."""
    value = given.get(name)
    if not value:
        return None
    what = {"ca": "CA", "cert": "client certificate", "key": "client key"}[name]
    path = Path(value).expanduser().absolute()
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no path"
        raise UsageError(f"the {what} file {value} cannot be read", why) from error
    if b"-----BEGIN " not in text:
        raise UsageError(f"the {what} file {value} is no PEM", "it has no -----BEGIN line")
    if name == "ca":
        _check_certificates(path, value)
    return str(path)


def _check_certificates(path: Path, value: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the CA file {value} is no PEM of a certificate", "") from error


def _paired(certificate: str | None, key: str | None) -> None:
    if certificate and not key:
        raise UsageError("a client certificate without its key", "", "name the key with key=FILE")
    if key and not certificate:
        raise UsageError("a client key without its certificate", "", "name it with cert=FILE")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _seconds_text(seconds: float, default: float) -> str:
    return "" if seconds == default else f"{seconds:g}"


def target_name(place: str, graph: str = "") -> str:
    """The short name of a target, for a status line and to be typed back.

    Of a Geode server `user@host/graph`, of a file its name, with `#` and the graph in it.
    """
    if is_geode(place):
        scheme, _, rest = place.partition("?")[0].partition("://")
        authority, mark, named = rest.partition("/")
        authority = authority.removesuffix(f":{PORTS[scheme.lower()]}")
        return f"{unquote(authority)}{mark}{unquote(named)}"
    name = place if "://" in place else Path(place).name
    return f"{name}#{graph}" if graph else name


def risk(place: str) -> str:
    """What is not safe about the connection to a canonical place, in a word; empty if nothing."""
    if not is_geode(place):
        return ""
    options = place.partition("?")[2].split("&")
    if "tls=0" in options:
        return "plaintext"
    return "unverified" if "insecure=1" in options else ""
