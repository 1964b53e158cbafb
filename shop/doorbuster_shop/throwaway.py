"""Throw-away database servers: on a free port, in a temporary folder, gone with their parent."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from doorbuster_shop.child import HOST, START_TIMEOUT_S, STOP_TIMEOUT_S, ShopStartError

POSTGRESQL_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/bin")
"""Where packages put initdb and postgres when they are not on the PATH; the newest one is taken."""
ATTEMPT_MAX = 3
"""Somebody else may take the free port before the server does."""

_POLL_S = 0.02
_LOG_TAIL_CHARS = 2_000
_NOBODY = "nobody"
# Ends the server when stdin closes, which is when the parent goes, however it goes; and tidies up.
_GUARD = """
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ cat <&3 >/dev/null; kill -INT "$server" 2>/dev/null; } &
watch=$!
wait "$server"; code=$?
kill "$watch" 2>/dev/null
if [ -e "$folder/stopped" ]; then
  cat <&3 >/dev/null
  [ -e "$folder/stopped" ] || exit 0
fi
rm -rf -- "$folder"
exit $code
"""
"""Once it was stopped on purpose, the folder is left to the next guard as soon as there is one."""


class MissingServerError(Exception):
    """The programs of a database server are not on this machine; says which and how to get them."""


@dataclass(frozen=True)
class Postgresql:
    """A PostgreSQL server of one's own that can be stopped and started again."""

    address: str
    _server: _Server

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: no goodbye, and recovery at the next start."""
        pid = int((self._server.folder / "data" / "postmaster.pid").read_text().split()[0])
        self._server.note_stop()
        os.kill(pid, signal.SIGQUIT)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while _is_open(self._server.port):
            if time.monotonic() > deadline_s:
                message = f"PostgreSQL did not stop within {STOP_TIMEOUT_S:g}s"
                raise ShopStartError(message)
            time.sleep(_POLL_S)

    def start_again(self) -> None:
        """On the same port, with the same data; returns once it answers. Raises: ShopStartError."""
        self._server.start_again()


@contextmanager
def throwaway_postgresql() -> Iterator[str]:
    """A PostgreSQL server, by its address. Raises: MissingServerError, ShopStartError."""
    with restartable_postgresql() as server:
        yield server.address


@contextmanager
def restartable_postgresql(*, survives_stop: bool = False) -> Iterator[Postgresql]:
    """A PostgreSQL server. Raises: MissingServerError, ShopStartError.

    fsync is off: it survives the death of the shop, and nothing needs to survive the machine. With
    survives_stop a commit is handed to the operating system before it is answered, so that nothing
    is lost when the server itself is stopped at once.
    """
    initdb, postgres = postgresql_programs()
    password = secrets.token_urlsafe(12)

    def prepare(folder: Path, port: int, user: str | None) -> list[str]:
        data, secret = folder / "data", folder / "password"
        secret.write_text(password, "utf-8")
        if user is not None:
            shutil.chown(secret, user)
        _run(
            [initdb, "--pgdata", str(data), "--username", "doorbuster", "--auth", "scram-sha-256",
             "--pwfile", str(secret), "--encoding", "UTF8", "--no-locale", "--no-sync"],
            folder, user,
        )  # fmt: skip
        settings = {
            "listen_addresses": HOST,
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "on" if survives_stop else "off",
            "max_connections": 200,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [postgres, "-D", str(data), *options]

    with _served("PostgreSQL", prepare, _postgresql_answers) as server:
        yield Postgresql(
            f"postgresql://doorbuster:{password}@{HOST}:{server.port}/postgres", server
        )


@contextmanager
def throwaway_redis() -> Iterator[str]:
    """A Redis server, by its address. Raises: MissingServerError, ShopStartError."""
    program = redis_program()
    password = secrets.token_urlsafe(12)

    def prepare(folder: Path, port: int, user: str | None) -> list[str]:
        settings = folder / "redis.conf"
        lines = f'bind {HOST}\nport {port}\nsave ""\nappendonly no\ndir {folder}\n'
        settings.write_text(f"{lines}requirepass {password}\n", "utf-8")
        if user is not None:
            shutil.chown(settings, user)
        return [program, str(settings)]

    with _served("Redis", prepare, _redis_answers) as server:
        yield f"redis://:{password}@{HOST}:{server.port}/0"


def postgresql_programs() -> tuple[str, str]:
    """Where initdb and postgres are. Raises: MissingServerError."""
    on_path = shutil.which("initdb"), shutil.which("postgres")
    if on_path[0] and on_path[1]:
        return on_path[0], on_path[1]
    folders = [path for pattern in POSTGRESQL_FOLDERS for path in Path("/").glob(pattern[1:])]
    for folder in sorted(folders, key=_version, reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return str(folder / "initdb"), str(folder / "postgres")
    message = (
        "PostgreSQL: no initdb and postgres on this machine; install them (Debian, Ubuntu: "
        "apt install postgresql), or give the address of a server: postgresql://..."
    )
    raise MissingServerError(message)


def _version(folder: Path) -> list[int]:
    return [int(part) for part in str(folder).replace("-", "/").split("/") if part.isdigit()]


def redis_program() -> str:
    """Where redis-server is. Raises: MissingServerError."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        message = (
            "Redis: no redis-server on this machine; install it (Debian, Ubuntu: "
            "apt install redis-server), or give the address of a server: redis://..."
        )
        raise MissingServerError(message)
    return program


class _Server:
    """A server and its guard, as somebody without rights."""

    def __init__(
        self, name: str, command: list[str], folder: Path, port: int, user: str | None
    ) -> None:
        self.folder = folder
        self.port = port
        self._name = name
        self._command = command
        self._user = user
        self._log = (folder / "log").open("a+b")
        self._guard = self._guarded()

    def _guarded(self) -> subprocess.Popen[bytes]:
        user = self._user
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self.folder), *self._command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            start_new_session=True,
        )

    def wait(self, answers: Callable[[int], bool]) -> str | None:
        """None as soon as it answers; what it said if it does not."""
        self._answers = answers
        return _wait(self._guard, self._log, self.port, answers)

    @property
    def _stopped(self) -> Path:
        return self.folder / "stopped"

    def note_stop(self) -> None:
        """The end of the server that comes now is not the end of its folder."""
        self._stopped.touch()

    def start_again(self) -> None:
        """After a stop that was noted. Raises: ShopStartError."""
        old, self._guard = self._guard, self._guarded()
        self._stopped.unlink()
        _stop(old)
        said = self.wait(self._answers)
        if said is not None:
            message = f"{self._name} did not start again; it said:\n{said}"
            raise ShopStartError(message)

    def close(self) -> None:
        """Stop it, folder and all."""
        _stop(self._guard)
        self._log.close()


@contextmanager
def _served(
    name: str,
    prepare: Callable[[Path, int, str | None], list[str]],
    answers: Callable[[int], bool],
) -> Iterator[_Server]:
    """A server that runs for as long as the block."""
    user = _unprivileged_user(name)
    for _ in range(ATTEMPT_MAX):
        folder = Path(tempfile.mkdtemp(prefix="doorbuster-store-"))
        if user is not None:
            shutil.chown(folder, user)
        port = _free_port()
        try:
            command = prepare(folder, port, user)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        server = _Server(name, command, folder, port, user)
        try:
            said = server.wait(answers)
            if said is None:
                yield server
                return
        finally:
            server.close()
    message = f"{name} did not start, {ATTEMPT_MAX} times; the last time it said:\n{said}"
    raise ShopStartError(message)


def _wait(
    process: subprocess.Popen[bytes], log: BinaryIO, port: int, answers: Callable[[int], bool]
) -> str | None:
    """None as soon as it answers; what it said if it does not."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        if answers(port):
            return None
        time.sleep(_POLL_S)
    log.seek(0)  # Its folder may be gone by now; what we hold open is not.
    return log.read().decode("utf-8", errors="replace")[-_LOG_TAIL_CHARS:].strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # The whole session is ours: the guard, the server and its children.
        os.killpg(process.pid, 9)
        process.wait()


def _unprivileged_user(name: str) -> str | None:
    """PostgreSQL refuses to run as root, and a server for a test needs no rights either."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    wanted = {"PostgreSQL": "postgres", "Redis": "redis"}[name]
    return wanted if wanted in known else _NOBODY


def _run(command: list[str], folder: Path, user: str | None) -> None:
    group = None if user is None else pwd.getpwnam(user).pw_gid
    done = subprocess.run(
        command,
        cwd=folder,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"{command[0]} failed: {done.stderr.strip()[-_LOG_TAIL_CHARS:]}"
        raise ShopStartError(message)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


_HELLO = struct.pack("!i", 196_608) + b"user\0doorbuster\0database\0postgres\0\0"
"""A connection's first message in protocol 3.0, without its length."""


def _postgresql_answers(port: int) -> bool:
    """It asks for the password as soon as it takes connections; before, it says that it starts."""
    return _asked(port, struct.pack("!i", 4 + len(_HELLO)) + _HELLO) == b"R"


def _redis_answers(port: int) -> bool:
    return _asked(port, b"PING\r\n") in (b"+", b"-")


def _asked(port: int, question: bytes) -> bytes:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(1)
    except OSError:
        return b""
