"""Runs numbered pieces of work on a crew and hands over the results in the order of the numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from doorbuster_sim.crews import Crew, WorkersLostError
from doorbuster_sim.interrupts import SignalsHeld

T = TypeVar("T")

CHECK_S = 1.0
"""Seconds of waiting between two looks at the crew."""


def run_in_order(
    crew: Crew,
    work: Callable[[int], T],
    count: int,
    keep: Callable[[T], bool],
    progress: Callable[[int], None],
) -> None:
    """Run work(0), work(1), ...; give each result, in this order, to `keep` until it says enough.

    progress: told how many are finished, whenever one is. When something ends it early, what is
    finished without a gap from 0 on is kept first: to keep a late number without an earlier one
    would prefer those that end quickly. Raises: KeyboardInterrupt, WorkersLostError, and what
    the work raises.
    """
    under_way: deque[Future[T]] = deque()
    next_number = 0
    ends: tuple[type[BaseException], ...] = (KeyboardInterrupt, WorkersLostError, *crew.losses)

    def finished() -> None:
        progress(next_number - sum(not future.done() for future in under_way))

    try:
        while next_number < count or under_way:
            while next_number < count and len(under_way) < crew.in_flight_max:
                under_way.append(crew.submit(work, next_number))
                next_number += 1
            _await_first(crew, under_way, finished)
            if _keep_first(under_way, keep):
                return
            finished()
    except ends as error:
        while under_way and _is_good(under_way[0]):
            _keep_first(under_way, keep)
        if isinstance(error, KeyboardInterrupt | WorkersLostError):
            raise
        message = f"a sale was lost with its worker ({crew.explain(error)}); {crew.advice}"
        raise WorkersLostError(message) from error
    finally:
        for future in under_way:
            future.cancel()


def _await_first(crew: Crew, under_way: deque[Future[T]], finished: Callable[[], None]) -> None:
    """Wait for the lowest number; tell whenever another one is finished meanwhile."""
    while not under_way[0].done():
        running = [future for future in under_way if not future.done()]
        if wait(running, timeout=CHECK_S, return_when=FIRST_COMPLETED).done:
            finished()
        crew.check()


def _keep_first(under_way: deque[Future[T]], keep: Callable[[T], bool]) -> bool:
    under_way[0].result()  # What it raises leaves it in its place.
    with SignalsHeld():
        return keep(under_way.popleft().result())


def _is_good(future: Future[T]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
