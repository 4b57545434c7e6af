"""A private PostgreSQL server: no root, no TCP port, gone when its parent is gone."""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from geode_tui.demo.binaries import Account, EmbeddedPostgresError, choose_binaries, reachable

START_SECONDS = 60.0
STOP_SECONDS = 20.0
QUIT_SECONDS = 10.0
LOG_NAME = "server.log"
DEFAULT_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "50",
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_LOCALES = ("C.UTF-8", "C")
_SUPERUSER = "postgres"
_SOCKET_FOLDER = "geode-tui-socket-"
_SOCKET_FOLDER_BYTES = 90  # a socket's path has room for 103 bytes on macOS, 107 on Linux
_PR_SET_PDEATHSIG = 1
_STILL_IN_USE = "shared memory block"  # backends of a killed server that have not noticed yet


class EmbeddedPostgres:
    """A PostgreSQL server of our own on `data_directory`, reached through a Unix socket.

    The directory is made on the first start and kept by `stop`; the next start goes on with its
    data, after a crash too. `settings` are server settings that win over `DEFAULT_SETTINGS`;
    durability is off, the data survives a crash of the server but not of the machine. `binaries`
    names the folder of the server's programs; without it the first start finds them. As root
    the server runs under the account that owns the directory, else `postgres`, else `nobody`.

    Every method raises `EmbeddedPostgresError` for what a person can mend.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        self.data_directory = Path(data_directory).absolute()
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self.binaries = binaries
        self._account: Account | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None
        self._keeper: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server that this object started is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    def dsn(self, database: str = "postgres") -> str:
        """Return the DSN of `database` (any name) on the running server."""
        if not self.running:
            raise EmbeddedPostgresError(
                "the embedded PostgreSQL is not running", f"data directory {self.data_directory}"
            )
        host = quote(str(self._socket_folder), safe="/")
        name = quote(database, safe="")
        return f"postgresql://{_SUPERUSER}@/{name}?host={host}&port={self._settings['port']}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections; nothing if it runs already.

        Takes about half a second the first time, a tenth later; gives up after `START_SECONDS`.
        """
        if self.running:
            return
        if os.name != "posix":
            raise EmbeddedPostgresError(
                "the embedded PostgreSQL does not run on this system",
                "it is reached through a Unix socket",
                "use Linux or macOS, or give the DSN of a PostgreSQL that runs already",
            )
        self.stop()  # what a server that crashed has left
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise EmbeddedPostgresError(
                "cannot start the embedded PostgreSQL",
                f"{error.filename or self.data_directory}: {error.strerror or error}",
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and keep its data; nothing if it does not run."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._keeper is not None:
            self._keeper.shutdown()
            self._keeper = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
        atexit.unregister(self.stop)

    def _start(self) -> None:
        self._account = _account_for(self.data_directory)
        major = self._major_of_the_data()
        self.binaries = choose_binaries(self._account, major=major, only=self.binaries)
        self._refuse_a_directory_in_use()
        self._remove_an_orphaned_socket_folder()
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="embedded-postgres")
        atexit.register(self.stop)
        if major is None:
            self._initialise(self.binaries)
        self._socket_folder = _make_socket_folder(self._account)
        self._serve(self.binaries)

    def _major_of_the_data(self) -> int | None:
        """The major version of the data directory, None when it is still to be made."""
        try:
            version = (self.data_directory / "PG_VERSION").read_text()
            return int(version.strip().split(".")[0])
        except FileNotFoundError:
            if not self.data_directory.exists() or not any(self.data_directory.iterdir()):
                return None
            why = "it holds other files"
        except ValueError:
            why = "its file PG_VERSION is not a number"
        raise EmbeddedPostgresError(
            f"{self.data_directory} is not a data directory of PostgreSQL",
            why,
            "name an empty or a new folder",
        )

    def _refuse_a_directory_in_use(self) -> None:
        lock = self.data_directory / "postmaster.pid"
        pid = _pid_in(lock)
        if pid is None:
            return
        if _serves(pid, self.data_directory):
            raise EmbeddedPostgresError(
                f"the data directory {self.data_directory} is in use",
                f"a PostgreSQL server runs on it, process {pid}",
                "end what started that server, or name another folder",
            )
        # The server would refuse when the id has passed to another process, or to a zombie.
        lock.unlink(missing_ok=True)

    def _remove_an_orphaned_socket_folder(self) -> None:
        """Remove the socket's folder of a run that was killed; the server noted its options.

        The note can be written by the server's account: only what is surely ours is removed.
        """
        try:
            note = (self.data_directory / "postmaster.opts").read_text(errors="replace")
        except FileNotFoundError:
            return
        for name in re.findall(r'"unix_socket_directories=([^"]+)"', note):
            folder = Path(name)
            if folder.name.startswith(_SOCKET_FOLDER) and not folder.is_symlink():
                for socket in folder.glob(".s.PGSQL.*"):
                    socket.unlink()
                with suppress(OSError):
                    folder.rmdir()

    def _initialise(self, binaries: Path) -> None:
        """Make the data directory beside its place and move it there: whole or not at all."""
        self.data_directory.parent.mkdir(parents=True, exist_ok=True)
        answer = ""
        for locale in _LOCALES:
            folder = _new_private_folder(self.data_directory.parent, "initdb-", self._account)
            try:
                done, answer = self._initdb(binaries, folder, locale)
                if done:
                    folder.rename(self.data_directory)
                    return
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if "locale" not in answer:
                break
        raise EmbeddedPostgresError(
            f"cannot make the data directory {self.data_directory}", _tail(answer)
        )

    def _initdb(self, binaries: Path, folder: Path, locale: str) -> tuple[bool, str]:
        options = ["-U", _SUPERUSER, "-A", "trust", "--no-sync", "-E", "UTF8"]
        command = [str(binaries / "initdb"), *options, f"--locale={locale}"]
        process = self._spawn(command, folder, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        return process.returncode == 0, output.decode(errors="replace")

    def _serve(self, binaries: Path) -> None:
        """Start the server and wait for it; wait also for the backends of one that was killed."""
        deadline = time.monotonic() + START_SECONDS
        command = [str(binaries / "postgres")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        command += ["-c", f"unix_socket_directories={self._socket_folder}"]
        command += ["-c", "logging_collector=off"]
        while True:
            self._process = self._spawn(command, self.data_directory, self._open_log())
            if self._wait_until_ready(self._process, deadline):
                return
            if _STILL_IN_USE not in self._log_tail() or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        ended = self._process.poll() is not None
        what = "ended while starting" if ended else f"not ready after {START_SECONDS:.0f} seconds"
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL: {what}",
            self._log_tail(),
            f"the whole log is {self.data_directory / LOG_NAME}",
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        lock = self.data_directory / "postmaster.pid"
        while process.poll() is None and time.monotonic() < deadline:
            if _pid_in(lock) == process.pid and _status_in(lock) == "ready":
                return True
            time.sleep(0.01)
        return False

    def _spawn(self, command: list[str], directory: Path, output: int) -> subprocess.Popen[bytes]:
        """Start a program of the server on `directory`, as the server's account, to die with us.

        The keeper thread starts it and lives as long: on Linux the signal at the parent's death
        comes already when the thread ends that started the child.
        """
        assert self._keeper is not None
        account = self._account
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self._keeper.submit(
                subprocess.Popen,
                [*command, "-D", _path_for(account, directory, descriptor)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                umask=0o077,
                pass_fds=(descriptor,),
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            ).result()
        finally:
            os.close(descriptor)
            if output >= 0:
                os.close(output)

    def _open_log(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.data_directory / LOG_NAME, flags, mode=0o600)
        if self._account:
            os.fchown(descriptor, self._account.uid, self._account.gid)
        return descriptor

    def _log_tail(self) -> str:
        try:
            return _tail((self.data_directory / LOG_NAME).read_text(errors="replace"))
        except FileNotFoundError:
            return ""


def _account_for(data_directory: Path) -> Account | None:
    """The account to run the server as; None (ourselves) unless we are root."""
    owner = data_directory.stat().st_uid if data_directory.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise EmbeddedPostgresError(
                f"the data directory {data_directory} belongs to another account",
                f"owner {owner}, we are {os.geteuid()}",
                "name another folder",
            )
        return None
    import pwd  # not on Windows

    if owner:
        entries = [entry for entry in pwd.getpwall() if entry.pw_uid == owner]
        group = entries[0].pw_gid if entries else data_directory.stat().st_gid
        return Account(entries[0].pw_name if entries else str(owner), owner, group)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "no account to run PostgreSQL under",
        "PostgreSQL refuses to run as root, and there is neither postgres nor nobody",
        "start geode-tui as an ordinary user",
    )


def _path_for(account: Account | None, directory: Path, descriptor: int) -> str:
    """The path of `directory` for the server.

    The account of the server may have no way into folders above it (root's home, say); an open
    descriptor leads there without changing anybody's permissions.
    """
    if account and sys.platform == "linux":
        return f"/proc/self/fd/{descriptor}"
    return str(directory)


def _environment() -> dict[str, str]:
    """Nothing of ours but where programs and libraries are: no PG*, no secrets, no locale."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the server: ask for SIGQUIT when we die."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)
        if os.getppid() != parent:  # we died before the request
            os._exit(1)

    return ask


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, QUIT_SECONDS)):
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def _new_private_folder(parent: Path, prefix: str, account: Account | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def _make_socket_folder(account: Account | None) -> Path:
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):
        room = len(os.fsencode(parent)) + len(f"/{_SOCKET_FOLDER}12345678") < _SOCKET_FOLDER_BYTES
        # A comma or quote would divide the path in the server's setting or in the DSN.
        if room and re.fullmatch(r"[\w./+-]+", str(parent)) and reachable(account, parent):
            return _new_private_folder(parent, _SOCKET_FOLDER, account)
    raise EmbeddedPostgresError(
        "no folder for the server's socket",
        "the temporary folder has too long a name, or the server may not enter it",
        "set TMPDIR to a folder with a short plain name",
    )


def _pid_in(lock: Path) -> int | None:
    try:
        return int(lock.read_text(errors="replace").split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _status_in(lock: Path) -> str:
    try:
        return lock.read_text(errors="replace").split("\n")[7].strip()
    except (FileNotFoundError, IndexError):
        return ""


def _serves(pid: int, data_directory: Path) -> bool:
    """Say whether the process is a server on that directory: a process id alone may be reused."""
    if sys.platform == "linux" and Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(data_directory)
        except OSError as error:
            # Another account's process cannot be ours: the server owns its directory.
            return error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM)
    answer = subprocess.run(
        ["ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
    )
    return "postgres" in answer.stdout


def _tail(text: str) -> str:
    return "\n".join(text.strip().split("\n")[-8:])[-1500:]
