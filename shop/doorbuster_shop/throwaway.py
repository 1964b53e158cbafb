"""Throw-away database servers: on a free port, in a temporary folder, gone with their parent."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
rm -rf -- "$folder"
exit $code
"""


class MissingServerError(Exception):
    """The programs of a database server are not on this machine; says which and how to get them."""


@contextmanager
def throwaway_postgresql() -> Iterator[str]:
    """A PostgreSQL server, by its address. Raises: MissingServerError, ShopStartError.

    fsync is off: it survives the death of the shop, and nothing needs to survive the machine.
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
            "synchronous_commit": "off",
            "max_connections": 200,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [postgres, "-D", str(data), *options]

    with _served("PostgreSQL", prepare, _postgresql_answers) as port:
        yield f"postgresql://doorbuster:{password}@{HOST}:{port}/postgres"


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

    with _served("Redis", prepare, _redis_answers) as port:
        yield f"redis://:{password}@{HOST}:{port}/0"


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


@contextmanager
def _served(
    name: str,
    prepare: Callable[[Path, int, str | None], list[str]],
    answers: Callable[[int], bool],
) -> Iterator[int]:
    """The port of a server that runs for as long as the block, as somebody without rights."""
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
        with (folder / "log").open("w+b") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
            try:
                said = _wait(process, log, port, answers)
                if said is None:
                    yield port
                    return
            finally:
                _stop(process)
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


def _postgresql_answers(port: int) -> bool:
    """An SSL request is the one question that needs no name and no password."""
    return _asked(port, b"\x00\x00\x00\x08\x04\xd2\x16\x2f") in (b"N", b"S")


def _redis_answers(port: int) -> bool:
    return _asked(port, b"PING\r\n") in (b"+", b"-")


def _asked(port: int, question: bytes) -> bytes:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(1)
    except OSError:
        return b""
