"""The generator as seen by the process that starts it: orders in, events out."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from doorbuster import exit_codes
from doorbuster_load.messages import write_line
from doorbuster_load.spec import Spec

KEPT_LOG_LINES = 500
END_LIMIT_S = 10.0
COMPILED_FROM_VISITORS = 5000
"""Below this, loading compiled code takes longer (2 s) than plain Python takes more (0.04 ms for
each step of a visitor). Both give the same plan and the same visits."""


class GeneratorError(Exception):
    """The generator could not do its work; says why."""

    def __init__(self, message: str, exit_code: int = exit_codes.INVALID) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ChildProcess:
    """The generator process, in a session of its own: Ctrl-C reaches only its starter."""

    def __init__(self, spec: Spec, *, visitor_count: int) -> None:
        environment = dict(os.environ)
        if visitor_count < COMPILED_FROM_VISITORS:
            environment.setdefault("NUMBA_DISABLE_JIT", "1")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "doorbuster_load", "generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._log: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._say(**spec.to_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> list[str]:
        """The last lines of its stderr."""
        return list(self._log)

    def go(self, *, folder: str, t0_mono_ns: int, t0_epoch_s: float) -> None:
        """Start the sale."""
        self._say(order="go", folder=folder, t0_mono_ns=t0_mono_ns, t0_epoch_s=t0_epoch_s)

    def stop(self) -> None:
        """End the sale now; its `done` follows."""
        self._say(order="stop")

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event, or None after a while. Raises: GeneratorError when it has gone away."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if event is None:
            status = self._process.wait()
            tail = "; ".join(line for line in self.log[-3:] if line)
            message = f"the generator process has ended with code {status} {tail}".rstrip()
            raise GeneratorError(message)
        return event

    def end(self) -> None:
        """Close its life-line and see that it is gone, workers included."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_LIMIT_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2.0)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _say(self, **content: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # It has ended; next_event tells.
            write_line(self._process.stdin, **content)

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._events.put(json.loads(line))
            except ValueError:
                self._log.append(line.rstrip())  # A user's module printed it.
        self._events.put(None)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line.rstrip())
