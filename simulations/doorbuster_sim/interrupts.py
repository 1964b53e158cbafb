"""Ctrl-C at a moment that suits us."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let the block finish before Ctrl-C raises KeyboardInterrupt.

    In another thread than the main one, where Python delivers none, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
    if held:
        raise KeyboardInterrupt


@contextmanager
def interrupts_blocked_for_children() -> Iterator[None]:
    """Processes and threads that the block starts never see Ctrl-C: it is for this process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_taken_between_events(soon: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Let `soon` choose the moment at which Ctrl-C and a request to end raise.

    A compiled function that builds its result, a named tuple, calls Python on the way and does
    not look whether that raised: an exception of a signal handler there ends the process with
    SIGSEGV, or as a SystemError (Numba 0.68). So nothing may raise while one runs.

    soon: calls what it is given, in this thread, once no compiled function is running.
    In another thread than the main one, where Python delivers no signals, it does nothing.
    """
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                _take_soon(number, soon, stack)
        yield


def _take_soon(
    number: signal.Signals, soon: Callable[[Callable[[], None]], None], stack: ExitStack
) -> None:
    before = signal.getsignal(number)
    if not callable(before):  # Ignored, or ends the process at once.
        return
    untaken: list[Callable[[], None]] = []

    def hold(taken: int, frame: FrameType | None) -> None:
        def take() -> None:
            untaken.remove(take)
            before(taken, frame)

        untaken.append(take)
        soon(take)

    def restore() -> None:
        signal.signal(number, before)
        if untaken:
            untaken[0]()

    stack.callback(restore)
    signal.signal(number, hold)
