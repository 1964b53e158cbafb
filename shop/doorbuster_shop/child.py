"""A server process as its parent sees it: started, configured, awaited, stopped."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_LOG_TAIL_CHARS = 2_000


class ShopStartError(Exception):
    """The shop or its provider did not come up; says why."""


class Child:
    """One server process, with the pipe that keeps it alive."""

    def __init__(self, name: str, module: str, log_path: Path) -> None:
        self.name = name
        self._module = module
        self._log_path = log_path
        self._settings: dict[str, Any] = {}
        self._listening_fd = -1
        self._process: subprocess.Popen[bytes]
        self.port = 0

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def start(self, port: int) -> None:
        """Bind the port (0: any free one) and start the process; then `configure` it.

        Raises: ShopStartError when the port is taken.
        """
        with _bound(self.name, port) as listener, self._log_path.open("ab") as log:
            self.port = listener.getsockname()[1]
            self._listening_fd = listener.fileno()
            self._process = subprocess.Popen(
                # -P: what lies in the working directory must not shadow a module.
                [sys.executable, "-P", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listener.fileno()],
                # Plain Python instead of compiled code: the answer to a charge takes 40 us longer,
                # the start 2.5 s less.
                env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
                # Ctrl-C in the terminal is for the parent, which still has to read the audit.
                start_new_session=True,
            )

    def configure(self, settings: dict[str, Any]) -> None:
        """Give it its settings; then `wait` for it."""
        self._settings = settings
        line = orjson.dumps({**settings, "listening_fd": self._listening_fd}) + b"\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It died at once; `wait` tells why.

    def wait(self) -> None:
        """Wait until it serves. Raises: ShopStartError with what it said last."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        if readable and self._process.stdout.readline():
            return
        reason = "it ended" if readable else f"no answer within {START_TIMEOUT_S:g}s"
        self.stop()
        log = self._log_path.read_text("utf-8", errors="replace")[-_LOG_TAIL_CHARS:].strip()
        message = f"the {self.name} did not start: {reason}\n{log}"
        raise ShopStartError(message)

    def restart(self) -> None:
        """Start it again on its port, after it has died."""
        self._process.wait(STOP_TIMEOUT_S)
        self._close_pipes()
        self.start(self.port)
        self.configure(self._settings)
        self.wait()

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end by closing its pipe; kill it if it takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _bound(name: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        message = (
            f"port {port}: cannot be used for the {name} ({error.strerror}); "
            "give another one, or 0 for any that is free"
        )
        raise ShopStartError(message) from None
    return listener
