"""A pool of processes of this machine as the crew."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from doorbuster_sim.crews import Crew, WorkersLostError
from doorbuster_sim.interrupts import interrupts_blocked_for_children

T = TypeVar("T")


@contextmanager
def process_pool(job_count: int) -> Iterator[Crew]:
    """Processes of this machine; none of them outlives the block or this process.

    Spawned, not forked: a fork would copy the progress display's thread in an unknown state.
    """
    pool = _Pool(job_count)
    try:
        yield pool
    finally:
        pool.close()


LAST_WORD_S = 2.0
"""So long it may take until it is known how a process ended."""


class _Pool(Crew):
    losses = (BrokenProcessPool,)
    advice = "it may have run out of memory: give fewer --jobs, then run again"

    def __init__(self, job_count: int) -> None:
        self._pool = ProcessPoolExecutor(
            job_count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_work,
        )
        super().__init__(self._pool, worker_count=job_count)
        self._others = set(multiprocessing.active_children())
        self._processes: set[BaseProcess] = set()

    def submit(self, function: Callable[..., T], /, *arguments: Any) -> Future[T]:
        # The pool starts its processes when they are needed, which is here.
        with interrupts_blocked_for_children():
            future = super().submit(_work, function, *arguments)
        self._processes |= set(multiprocessing.active_children()) - self._others
        return future

    def check(self) -> None:
        """A process that dies while it hands over a result is not noticed by the pool itself."""
        dead = self._dead()
        if dead:
            raise WorkersLostError(f"{dead}; {self.advice}")

    def explain(self, error: BaseException) -> str:
        """Which process it was, where that is known; the pool's own words say less."""
        # The pool's thread may be taking leave of the process at this very moment; until it has,
        # nobody can tell how it ended.
        waits_until_s = time.monotonic() + LAST_WORD_S
        while not (dead := self._dead()) and time.monotonic() < waits_until_s:
            time.sleep(0.01)
        return dead or super().explain(error)

    def _dead(self) -> str:
        """The processes that are gone, as the start of a sentence; empty when all live."""
        ends = sorted(
            (process.pid or 0, process.exitcode)
            for process in self._processes
            if process.exitcode is not None
        )
        return ", ".join(f"process {pid} of the pool died ({_end(code)})" for pid, code in ends)

    def close(self) -> None:
        """End all processes; a sale that nobody waits for any more is given up."""
        broken = any(process.exitcode is not None for process in self._processes)
        for process in self._processes:
            if broken:
                process.kill()
            else:
                process.terminate()
        if broken:
            # Half a result may be in the pipe. The pool's thread reads on until the pipe has an
            # end, so the last writing end, its own, must go.
            self._pool._result_queue._writer.close()  # type: ignore[attr-defined]
        self._pool.shutdown(cancel_futures=True)


def _end(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name


# --- in the processes ---


class _GivenUpError(BaseException):
    """Raised inside a sale that nobody waits for any more."""


class _Told:
    """What SIGTERM has told this process, and whether it is in the middle of a sale.

    Dying at once could leave half a result in the pipe, and a parent that waits for the rest.
    """

    to_leave = False
    in_a_sale = False


def _begin_work() -> None:
    """Runs first in every process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_terminate)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _on_terminate(_number: int, _frame: object) -> None:
    _Told.to_leave = True
    if _Told.in_a_sale:
        raise _GivenUpError


def _work(function: Callable[..., T], *arguments: Any) -> T:
    _Told.in_a_sale = True
    try:
        if _Told.to_leave:
            raise _GivenUpError
        return function(*arguments)
    finally:
        _Told.in_a_sale = False


def _leave_with_parent() -> None:
    """A killed parent cannot end its pool; its processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
