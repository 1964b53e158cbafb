"""The shop's worker processes: they share one socket, one database and one set of settings."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from os import kill
from pathlib import Path
from signal import SIGSTOP
from typing import Any

from doorbuster_shop.child import HOST, LOAD_POSTGRESQL, STOP_TIMEOUT_S, Child, Listener

_MODULE = "doorbuster_shop.shop_process"
# Whoever is stopped cannot notice that its parent has gone; this one can.
_THAW = 'cat >/dev/null; kill -CONT "$@" 2>/dev/null'


class Workers:
    """N processes behind one port. Raises: ShopStartError where one of them does not come up."""

    def __init__(self, log_path: Path, count: int, *, loads_postgresql: bool = False) -> None:
        arguments = [LOAD_POSTGRESQL] if loads_postgresql else []
        names = (
            ["shop"] if count == 1 else [f"shop's worker {number + 1}" for number in range(count)]
        )
        self._children = [Child(name, _MODULE, log_path, *arguments) for name in names]
        self.keeps_port = count > 1
        """Whether the port stays open while no worker is there."""
        self._settings: dict[str, Any] = {}
        self._listener: Listener | None = None
        self._next_listener: Listener | None = None
        """After all have been killed; nobody is refused by it yet."""
        self._turn = threading.RLock()
        """Faults of several kinds may begin and end at one moment."""
        self._are_all_killed = False
        self._is_one_killed = False
        self.port = 0

    @property
    def url(self) -> str:
        """Where they listen."""
        return f"http://{HOST}:{self.port}"

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [child.pid for child in self._children]

    @property
    def living_pids(self) -> list[int]:
        """Those that are not dead on purpose."""
        return [child.pid for child in self._children if child.is_wanted]

    def start(self, port: int) -> None:
        """Bind the port (0: any free one) and start them; then `configure` them."""
        self._listener = Listener("shop")
        self.port = self._listener.bind(port)
        self._stand_by(self._children)

    def _stand_by(self, children: Sequence[Child]) -> None:
        if self._listener is None:
            self._listener = self._next_listener or Listener("shop")
            self._next_listener = None
        for child in children:
            child.stand_by(self._listener)

    def prepare(self, kinds: Collection[str]) -> None:
        """Have spares ready for the first fault of these kinds."""
        if "kill_shop" in kinds:
            self._next_listener = Listener("shop")
            for child in self._children:
                child.prepare_spare(self._next_listener)
        if "kill_worker" in kinds:
            assert self._listener is not None
            self._children[-1].prepare_spare(self._listener)

    def configure(self, settings: dict[str, Any]) -> None:
        """Give the first its settings: it makes the tables that the others find."""
        self._settings = settings
        self._children[0].configure(settings)

    def wait(self) -> None:
        """Wait until all of them serve."""
        self._children[0].wait()
        self._serve(self._children[1:])

    def _serve(self, children: Sequence[Child]) -> None:
        """What the first has tried out need not be tried again."""
        for child in children:
            child.configure({**self._settings, "is_back": True})
        for child in children:
            child.wait()
        if not self.keeps_port:
            self._close_port()

    def _close_port(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def dead(self) -> Child | None:
        """One that has ended by itself."""
        ended = (c for c in self._children if c.is_wanted and c.exit_code() is not None)
        return next(ended, None)

    def stop(self) -> None:
        """End all of them."""
        self._close_port()
        if self._next_listener is not None:
            self._next_listener.close()
        for child in self._children:
            child.stop()

    # -- what may befall them ----------------------------------------------------------------

    def kill_all(self) -> None:
        """`kill -9` of all of them, and nobody listens any more; others stand by."""
        with self._turn:
            self._are_all_killed = True
            for child in self._children:
                child.is_wanted = False
            self._close_port()
            coming_fd = self._next_listener.fd if self._next_listener else None
            for child in self._children:
                child.drop_spares(but=coming_fd)  # They have the open port, too.
                child.kill()
            self._stand_by(self._children)

    def bring_back_all(self) -> None:
        """Those who stand by serve, on the same port, but for one that is dead on its own."""
        with self._turn:
            self._are_all_killed = False
            assert self._listener is not None
            self._listener.bind(self.port)
            self._serve(self._children[:-1] if self._is_one_killed else self._children)

    def kill_one(self) -> None:
        """`kill -9` of the last one; the port stays open, and another stands by."""
        with self._turn:
            self._is_one_killed = True
            assert self.keeps_port
            if not self._are_all_killed:
                self._children[-1].kill()
                self._stand_by(self._children[-1:])

    def bring_back_one(self) -> None:
        """Another takes the place of the one that was killed; with the rest if all are dead."""
        with self._turn:
            self._is_one_killed = False
            if not self._are_all_killed and not self._children[-1].is_wanted:
                self._serve(self._children[-1:])

    def slow_database(self, extra_s: float) -> None:
        """From now on, and after a restart, each transaction takes longer by this."""
        with self._turn:
            self._settings = {**self._settings, "database_extra_s": extra_s}
            for child in self._children:
                if child.is_wanted:
                    child.order({"database_extra_s": extra_s})


class Frozen:
    """Processes that are stopped (SIGSTOP) until they are released, or until their parent ends."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _THAW, "sh", *map(str, pids)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for pid in pids:
            with suppress(ProcessLookupError):  # It has just died.
                kill(pid, SIGSTOP)

    def release(self) -> None:
        """They go on."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(STOP_TIMEOUT_S)
