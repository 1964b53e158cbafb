"""Carries faults out on a running shop; each ends when its time is over, or when that is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple
from urllib.request import Request, urlopen

import orjson
from pydantic import Field

from doorbuster_shop.bodies import Body
from doorbuster_shop.child import Child, ShopStartError
from doorbuster_shop.throwaway import Postgresql
from doorbuster_shop.workers import Frozen, Workers

DURATION_MAX_S = 86_400.0
PROVIDER_TIMEOUT_S = 5.0
RESTART_LEAD_S = {
    "kill_worker": 0.2,
    "kill_shop": 0.2,
    "kill_provider": 0.1,
    "restart_database": 0.2,
}
"""How long before the end a start begins: all shall be well again when the time is over. Measured
on two cores, until the first answer: PostgreSQL 0.1 to 0.3 s, a process that stands by 0.1 s."""

Kind = Literal[
    "kill_worker",
    "kill_shop",
    "restart_database",
    "slow_database",
    "freeze",
    "provider_outage",
    "kill_provider",
]


class FaultError(Exception):
    """A fault that cannot be carried out here; says why."""


class FaultOrder(Body):
    """One fault; what its kind does not need is left at its default."""

    kind: Kind
    duration_s: Annotated[float, Field(gt=0, le=DURATION_MAX_S)]
    extra_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    of: Literal["shop", "provider"] = "shop"
    answer: Literal["refuse", "hang"] = "refuse"


class Surroundings(NamedTuple):
    """What of a running shop is ours to break."""

    workers: Workers
    provider: Child | None
    database: Postgresql | None
    """One that loses nothing when it is stopped."""


class Faults:
    """At most one fault of a kind at a time. Each ends by itself, whoever began it."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._running: dict[Kind, _Running] = {}
        self._entrance = threading.Lock()

    def begin(self, order: FaultOrder) -> None:
        """Carry a fault out, and see to its end. Raises: FaultError, ShopStartError."""
        with self._entrance:
            running = self._running.get(order.kind)
            if running is not None and not running.is_over:
                message = f"a {order.kind} is under way"
                raise FaultError(message)
            begin, end = self._deed(order)
            self._running[order.kind] = _Running(order, begin, end)
        self._running[order.kind].begin()

    def end(self, kind: Kind) -> None:
        """End a fault now, unless it has ended by itself; returns once all is well again.

        Raises: FaultError, ShopStartError.
        """
        running = self._running.get(kind)
        if running is None:
            message = f"no {kind} has begun"
            raise FaultError(message)
        running.end()

    def close(self) -> None:
        """Let nothing end by itself any more, and nobody be left stopped."""
        for running in self._running.values():
            running.forget()

    def _deed(self, order: FaultOrder) -> tuple[Callable[[], None], Callable[[], None]]:
        """What begins a fault and what ends it. Raises: FaultError."""
        workers = self._around.workers
        match order.kind:
            case "kill_worker":
                if not workers.keeps_port:
                    message = "one worker, and a scenario without kill_worker: the port would close"
                    raise FaultError(message)
                return workers.kill_one, workers.bring_back_one
            case "kill_shop":
                return workers.kill_all, workers.bring_back_all
            case "slow_database":
                return (
                    lambda: workers.slow_database(order.extra_s),
                    lambda: workers.slow_database(0.0),
                )
            case "restart_database":
                database = self._database()
                return database.stop_at_once, database.start_again
            case "kill_provider":
                provider = self._provider()
                return provider.kill_and_stand_by, provider.come_back
            case "provider_outage":
                url = self._provider().url
                return lambda: _put_outage(url, order), lambda: _end_outage(url)
            case _:
                return _freezing(self._pids(order.of))

    def _pids(self, of: str) -> list[int]:
        if of == "shop":
            pids = self._around.workers.living_pids
        else:
            pids = [child.pid for child in (self._provider(),) if child.is_wanted]
        if not pids:
            message = f"there is no {of} to freeze"
            raise FaultError(message)
        return pids

    def _provider(self) -> Child:
        if self._around.provider is None:
            message = "the payment provider is somebody else's process"
            raise FaultError(message)
        return self._around.provider

    def _database(self) -> Postgresql:
        if self._around.database is None:
            message = (
                "the database is not a PostgreSQL server of the shop's own, or the scenario that "
                "the shop was started with plans no restart_database"
            )
            raise FaultError(message)
        return self._around.database


class _Running:
    """A fault under way."""

    def __init__(
        self, order: FaultOrder, begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self._order = order
        self._begin = begin
        self._end = end
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._error: Exception | None = None
        self.is_over = False

    def begin(self) -> None:
        due_s = time.monotonic() + self._order.duration_s
        with self._lock:
            try:
                self._begin()
            except BaseException:
                self.is_over = True
                raise
        lead_s = RESTART_LEAD_S.get(self._order.kind, 0.0)
        self._timer = threading.Timer(max(0.0, due_s - lead_s - time.monotonic()), self._end_once)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        self._end_once()
        if self._error is not None:
            raise self._error

    def _end_once(self) -> None:
        with self._lock:
            if self.is_over:
                return
            self.is_over = True
            try:
                self._end()
            except (ShopStartError, OSError) as error:
                self._error = error

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            if not self.is_over and self._order.kind == "freeze":
                self._end()
            self.is_over = True


def _freezing(pids: list[int]) -> tuple[Callable[[], None], Callable[[], None]]:
    frozen: list[Frozen] = []
    return lambda: frozen.append(Frozen(pids)), lambda: frozen.pop().release()


def _put_outage(url: str, order: FaultOrder) -> None:
    _ask(url, "PUT", {"answer": order.answer, "duration_s": order.duration_s})


def _end_outage(url: str) -> None:
    _ask(url, "DELETE", {})


def _ask(url: str, method: str, content: dict[str, Any]) -> None:
    """Have the provider know of an outage. Raises: OSError."""
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/outage", orjson.dumps(content), headers, method=method)
    with urlopen(request, timeout=PROVIDER_TIMEOUT_S) as reply:
        reply.read()
