"""Ctrl-C at a moment that suits us."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Self


@contextmanager
def interrupts_blocked_for_children() -> Iterator[None]:
    """Processes and threads that the block starts never see Ctrl-C: it is for this process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


Soon = Callable[[Callable[[], None]], None]
"""Calls what it is given, in this thread, at a moment that it chooses."""


class SignalsHeld:
    """While it is open, Ctrl-C and a request to end raise where `take_by` says, else at its end.

    A compiled function that builds its result, a named tuple, calls Python on the way and does
    not look whether that raised: an exception of a signal handler there ends the process with
    SIGSEGV, or as a SystemError (Numba 0.68). And Python drops what a handler raises while a weak
    reference is cleaned up.

    In another thread than the main one, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._untaken: list[Callable[[], None]] = []
        self._soon: Soon | None = None
        self._before = ExitStack()

    def take_by(self, soon: Soon) -> None:
        """Let `soon` call the handlers from now on."""
        self._soon = soon
        for take in self._untaken:
            soon(take)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._hold(number)
        return self

    def __exit__(self, *error: object) -> None:
        self._before.close()
        if self._untaken:
            self._untaken[0]()

    def _hold(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        if not callable(before):  # Ignored, or ends the process at once.
            return

        def hold(taken: int, frame: FrameType | None) -> None:
            def take() -> None:
                self._untaken.remove(take)
                before(taken, frame)

            self._untaken.append(take)
            if self._soon is not None:
                self._soon(take)

        self._before.callback(signal.signal, number, before)
        signal.signal(number, hold)
