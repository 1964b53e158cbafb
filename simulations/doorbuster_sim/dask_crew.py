"""A Dask cluster as the crew: `doorbuster simulate --cluster tcp://ADDRESS`."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from doorbuster import __version__
from doorbuster_sim.crews import Crew, WorkersLostError

Client = Any
"""Dask's; it is an optional package, and its methods have no types."""

CONNECT_S = 10.0
"""So long the scheduler may take to answer, and then to have a first worker."""
ALONE_S = 60.0
"""So long a cluster may be without any worker during a run: an adaptive one starts them late."""
CLOSE_S = 5.0


class ClusterMissingError(Exception):
    """The package for clusters is not installed; says how to get it."""


class ClusterError(Exception):
    """A cluster that cannot be used; says why and what to do."""


class _Cluster(Crew):
    advice = "look into the workers' logs, then run again"

    def __init__(self, client: Client, address: str, *, alone_s: float) -> None:
        from distributed.scheduler import KilledWorker  # noqa: PLC0415 - optional

        super().__init__(client.get_executor(), worker_count=_thread_count(client))
        self.losses = (KilledWorker, CancelledError)
        self._client, self._address, self._alone_s = client, address, alone_s
        self._seen = self._checked = time.monotonic()

    def explain(self, error: BaseException) -> str:
        """Dask's own words, where it has any."""
        if isinstance(error, CancelledError):
            return f"{self._address}: the scheduler is gone, or has cancelled it"
        return super().explain(error)

    def check(self) -> None:
        """Dask gives the sales of a lost worker to another one; there must be one."""
        now = time.monotonic()
        if now - self._checked < 1:
            return
        self._checked = now
        try:
            self.worker_count = _thread_count(self._client)
        except (OSError, TimeoutError):
            self.worker_count = 0
        if self.worker_count:
            self._seen = now
        elif now - self._seen > self._alone_s:
            message = (
                f"{self._address}: no worker was left for {self._alone_s:.0f} s; "
                "start workers, then run again"
            )
            raise WorkersLostError(message)


@contextmanager
def dask_cluster(
    address: str, *, connect_s: float = CONNECT_S, alone_s: float = ALONE_S
) -> Iterator[Crew]:
    """The workers of a running cluster; they stay when the block ends.

    Raises: ClusterMissingError; ClusterError when the scheduler does not answer, has no workers,
    or has some that run another version.
    """
    with _silent():
        client = _connect(address, connect_s)
        try:
            _require_workers(client, address, connect_s)
            yield _Cluster(client, address, alone_s=alone_s)
        finally:
            with _without_warnings():
                client.close(timeout=CLOSE_S)


@contextmanager
def _silent() -> Iterator[None]:
    """Dask's log repeats on the terminal, with tracebacks, what we say in a sentence."""
    with suppress(ImportError):
        import distributed  # noqa: F401, PLC0415 - sets its log up
    levels = [(handler, handler.level) for handler in logging.getLogger("distributed").handlers]
    for handler, _ in levels:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in levels:
            handler.setLevel(level)


def _connect(address: str, connect_s: float) -> Client:
    try:
        import distributed  # noqa: PLC0415 - optional
    except ImportError:
        message = "--cluster needs Dask: pip install 'doorbuster[dask]'"
        raise ClusterMissingError(message) from None
    try:
        with _without_warnings():
            client: Client = distributed.Client  # Untyped.
            return client(address, timeout=connect_s, set_as_default=False)
    except (OSError, TimeoutError) as error:
        message = (
            f"{address}: no scheduler answers within {connect_s:.0f} s ({_first_line(error)}); "
            "start one with: dask scheduler"
        )
        raise ClusterError(message) from None
    except ValueError as error:
        message = f"{address}: is no address of a scheduler ({_first_line(error)})"
        raise ClusterError(message) from None


def _require_workers(client: Client, address: str, connect_s: float) -> None:
    try:
        client.wait_for_workers(1, timeout=connect_s)
        versions: dict[str, Any] = client.run(_version, on_error="return")
    except (OSError, TimeoutError):
        message = f"{address}: has no workers; start some with: dask worker {address}"
        raise ClusterError(message) from None
    for worker, version in versions.items():
        if version != __version__:
            found = f"Doorbuster {version}" if isinstance(version, str) else f"none ({version!r})"
            message = (
                f"{address}: worker {worker} has another Doorbuster (got {found}); "
                f"install version {__version__} on every worker"
            )
            raise ClusterError(message)


def _version() -> str:
    """Runs on a worker."""
    return __version__


def _thread_count(client: Client) -> int:
    return sum(client.nthreads().values())


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Dask warns of differing versions of Python packages; ours are compared separately."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
