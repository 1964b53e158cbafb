"""A server process as its parent sees it: started, configured, awaited, stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from doorbuster_shop.listening import HOST, Listener, ShopStartError

__all__ = ["HOST", "START_TIMEOUT_S", "STOP_TIMEOUT_S", "Child", "Listener", "ShopStartError"]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
ORDER_TIMEOUT_S = 5.0
"""How long a child may take to carry an order out."""
LOAD_POSTGRESQL = "--load-postgresql"
"""Argument of the shop's process: load the client, which takes 0.1 s, before it is needed."""
_LOG_TAIL_CHARS = 2_000


class Child:
    """One server process, with the pipe that keeps it alive."""

    def __init__(self, name: str, module: str, log_path: Path, *arguments: str) -> None:
        self.name = name
        self._command = [module, *arguments]
        self._log_path = log_path
        self.settings: dict[str, Any] = {}
        self._listening_fd = -1
        self._process: subprocess.Popen[bytes]
        self._spares: dict[int, subprocess.Popen[bytes]] = {}
        """By the socket that they would serve by."""
        self._listener: Listener | None = None
        self.port = 0
        self.is_wanted = True
        """Whether it should be running; a child that was killed on purpose should not."""

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
        with Listener(self.name) as listener:
            self.port = listener.bind(port)
            self.stand_by(listener)

    def prepare_spare(self, listener: Listener) -> None:
        """Have a process ready that takes this one's place: loading its modules takes a second."""
        self._spares[listener.fd] = self._started(listener)

    def stand_by(self, listener: Listener) -> None:
        """Start the process; it serves by this socket, bound by then, once it is configured."""
        self._listening_fd = listener.fd
        has_spare = listener.fd in self._spares
        self._process = self._spares.pop(listener.fd) if has_spare else self._started(listener)

    def _started(self, listener: Listener) -> subprocess.Popen[bytes]:
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                # -P: what lies in the working directory must not shadow a module.
                [sys.executable, "-P", "-m", *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listener.fd],
                # Plain Python instead of compiled code: the answer to a charge takes 40 us longer,
                # the start 2.5 s less.
                env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
                # Ctrl-C in the terminal is for the parent, which still has to read the audit.
                start_new_session=True,
            )

    def configure(self, settings: dict[str, Any]) -> None:
        """Give it its settings; then `wait` for it."""
        self.settings = settings
        self._write({**settings, "listening_fd": self._listening_fd})  # If it died, `wait` tells.

    def order(self, content: dict[str, Any]) -> None:
        """Have it do something while it serves. Raises: ShopStartError when it does not."""
        self._write(content)
        if not self._read_line(ORDER_TIMEOUT_S):
            message = f"the {self.name} did not carry out {content} within {ORDER_TIMEOUT_S:g}s"
            raise ShopStartError(message)

    def wait(self) -> None:
        """Wait until it serves. Raises: ShopStartError with what it said last."""
        line = self._read_line(START_TIMEOUT_S)
        if line:
            self.is_wanted = True
            return
        reason = f"no answer within {START_TIMEOUT_S:g}s" if line is None else "it ended"
        self.stop()
        log = self._log_path.read_text("utf-8", errors="replace")[-_LOG_TAIL_CHARS:].strip()
        message = f"the {self.name} did not start: {reason}\n{log}"
        raise ShopStartError(message)

    def restart(self) -> None:
        """Start it again on its port, after it has died."""
        _see_end(self._process)
        self.start(self.port)
        self.configure(self.settings)
        self.wait()

    def kill(self) -> None:
        """`kill -9`, on purpose."""
        self.is_wanted = False
        self._process.kill()
        _see_end(self._process)

    def kill_and_stand_by(self) -> None:
        """`kill -9`, on purpose; nobody listens until another process, which stands by, does."""
        self.kill()
        self._listener = self._listener or Listener(self.name)
        self.stand_by(self._listener)

    def prepare_for_kill(self) -> None:
        """Have a spare for the first `kill_and_stand_by`."""
        self._listener = Listener(self.name)
        self.prepare_spare(self._listener)

    def come_back(self) -> None:
        """After `kill_and_stand_by`: the same port, the same settings. Raises: ShopStartError."""
        assert self._listener is not None
        self._listener.bind(self.port)
        self.configure(self.settings)
        self.wait()
        self._close_port()

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end by closing its pipe; kill it if it takes too long."""
        self._close_port()
        self.drop_spares()
        _ask_to_end(self._process)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)  # Or it could not hear of it.
        _see_end(self._process)

    def drop_spares(self, *, but: int | None = None) -> None:
        """End them; `but`: the socket of the one to keep."""
        for fd in [fd for fd in self._spares if fd != but]:
            spare = self._spares.pop(fd)
            spare.kill()
            _see_end(spare)

    def _write(self, content: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(orjson.dumps(content) + b"\n")
            self._process.stdin.flush()

    def _read_line(self, timeout_s: float) -> bytes | None:
        """What it says; nothing when it has ended, None when it takes too long."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        return self._process.stdout.readline() if readable else None

    def _close_port(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _ask_to_end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _see_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, bring it about if that takes too long, and close the pipes."""
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _ask_to_end(process)
    if process.stdout is not None:
        process.stdout.close()
