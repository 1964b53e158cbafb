"""Who simulates the replications: this process, or others (process_crew, dask_crew)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")

SALES_PER_WORKER = 3
"""Sales in flight for each worker: under way, waiting to be started, and finished but not yet
written because an earlier one is not. The limit of what is held in memory."""


class WorkersLostError(Exception):
    """Processes that simulated are gone; says which and what to do."""


class Crew:
    """An executor, and what must be known of it."""

    losses: tuple[type[BaseException], ...] = ()
    """What a future raises when its worker is gone."""
    advice = ""
    """What to do about a lost worker."""

    def __init__(self, executor: Executor, *, worker_count: int) -> None:
        self.executor, self.worker_count = executor, worker_count

    @property
    def in_flight_max(self) -> int:
        """How many sales may be under way or wait for an earlier one."""
        return SALES_PER_WORKER * max(self.worker_count, 1)

    def submit(self, function: Callable[..., T], /, *arguments: Any) -> Future[T]:
        """Give the crew a sale to simulate."""
        return self.executor.submit(function, *arguments)

    def explain(self, error: BaseException) -> str:
        """What one of `losses` says, as a part of a sentence."""
        return str(error).rstrip(".") or type(error).__name__

    def check(self) -> None:
        """Asked about once a second of waiting. Raises: WorkersLostError."""


class _AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)
        return future


class OwnProcess(Crew):
    """One sale after the other, here."""

    in_flight_max = 1

    def __init__(self) -> None:
        super().__init__(_AtOnce(), worker_count=1)
