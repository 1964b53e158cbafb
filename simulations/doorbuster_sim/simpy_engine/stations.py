"""Stations: pools of equal servers with one bounded queue each, first come first served."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy

from doorbuster.scenario.service import Service, Station
from doorbuster.vocabulary import Reply
from doorbuster_sim.event_order import Rank
from doorbuster_sim.faults import Faults, extra_work_plain, put_off_plain, work_ends_plain
from doorbuster_sim.simpy_engine.environment import Environment, to_ns

Waiting = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True)
class StationUse:
    """How much a station had to do, for run.json."""

    station: str
    item: str | None
    utilisation: float
    """Busy server time over available server time, from the first to the last moment."""
    max_queue: int
    refused: int


class _Servers(simpy.Resource):
    """Servers of which some may be away for a time; then there may be more users than servers."""

    def change(self, servers: int) -> None:
        """So many more, or less."""
        self._capacity += servers
        self._trigger_put(None)


class Pool:
    """One queue with its servers.

    number: the place of its station in the scenario.
    rollback_ns: how long who is served in vain keeps a server.
    """

    def __init__(
        self,
        env: Environment,
        faults: Faults,
        number: int,
        station: Station,
        item: str | None,
        rollback_ns: int,
    ) -> None:
        self._env = env
        self._faults = faults
        self._number = number
        self._resource = _Servers(env, station.servers)
        self._station = station
        self._item = item
        self._rollback_ns = rollback_ns
        self._is_down = False
        """Whether a restart keeps everybody out."""
        self._inside: dict[tuple[int, int], simpy.Process] = {}
        """Who is served or waits, by visitor and request."""
        self._begun: dict[tuple[int, int], int] = {}
        """Since when who is served is."""
        self._present = 0
        """Requests that are served or wait."""
        self._busy_ns = 0
        """Sum of the ends of all services minus their beginnings; who is served has no end yet."""
        self._max_queue = 0
        self._refused = 0

    def serve(
        self,
        service_ns: int,
        visitor: int,
        number: int,
        is_in_vain: Callable[[], bool] = lambda: False,
    ) -> Waiting:
        """Wait for a server and keep it for a time. Returns False when the station is overloaded.

        That is when its queue is full, or it restarts.
        visitor, number: the request, for its place among simultaneous events.
        is_in_vain: asked when a server is there; if so, it is kept for a rollback only.
        Raises: simpy.Interrupt when a fault breaks the request's connection.
        """
        waiting = self._present - int(self._resource.capacity)
        if waiting >= 0 or self._is_down:
            if waiting >= self._station.queue_limit or self._is_down:
                self._refused += 1
                return False
            self._max_queue = max(self._max_queue, waiting + 1)
        self._present += 1
        self._inside[visitor, number] = self._env.current
        try:
            with self._resource.request() as turn:
                yield turn
                work_ns = None if is_in_vain() else service_ns
                yield from self._work(work_ns, visitor, number)
        except simpy.Interrupt as struck:
            if struck.cause is not Reply.OVERLOADED:
                raise
            return False
        finally:
            self._present -= 1
            del self._inside[visitor, number]
        return True

    def _work(self, service_ns: int | None, visitor: int, number: int) -> Waiting:
        """Keep a server for a time, which stands still while the shop is frozen.

        service_ns: None for a request in vain, which no slowness touches.
        """
        now_ns, frozen = self._env.now_ns, self._faults.frozen
        begin_ns = put_off_plain(frozen, now_ns)
        work_ns = self._rollback_ns
        if service_ns is not None:
            work_ns = service_ns + extra_work_plain(self._faults.slow, self._number, begin_ns)
        end_ns = work_ends_plain(frozen, now_ns, work_ns)
        self._busy_ns -= now_ns
        self._begun[visitor, number] = now_ns
        try:
            yield self._env.moment(end_ns - now_ns, Rank.SERVED, visitor, number)
        finally:
            self._busy_ns += self._env.now_ns
            del self._begun[visitor, number]

    def lose_server(self) -> None:
        """A server dies, with the request that was begun last if all of them were busy."""
        if self._begun and len(self._begun) == self._resource.capacity:
            last = max(self._begun, key=lambda name: (self._begun[name], name))
            self._inside[last].interrupt(Reply.ERROR)
        self._resource.change(-1)

    def regain_server(self) -> None:
        """Another server takes its place."""
        self._resource.change(1)

    def restart(self) -> None:
        """Whoever is inside is told so, and whoever comes until `resume`."""
        self._is_down = True
        for process in self._inside.values():
            process.interrupt(Reply.OVERLOADED)

    def resume(self) -> None:
        """All is well again."""
        self._is_down = False

    def use(self, elapsed_ns: int) -> StationUse:
        """The account of this pool over a stretch of time that ends now."""
        busy_ns = self._busy_ns + self._resource.count * self._env.now_ns
        available_ns = max(1, elapsed_ns * self._station.servers)
        return StationUse(
            self._station.name,
            self._item,
            busy_ns / available_ns,
            self._max_queue,
            self._refused,
        )


class Stations:
    """All pools of a service model, by station and, where it is per item, by item."""

    def __init__(self, env: Environment, faults: Faults, service: Service, skus: list[str]) -> None:
        rollback_ns = to_ns(service.rollback)
        self._pools = {
            station.name: [
                Pool(env, faults, number, station, sku, rollback_ns)
                for sku in (skus if station.per_item else [None])
            ]
            for number, station in enumerate(service.stations)
        }

    def pool(self, station: str, item: int) -> Pool:
        """The pool that a request for an item joins at a station."""
        pools = self._pools[station]
        return pools[item] if len(pools) > 1 else pools[0]

    def pools(self, number: int) -> list[Pool]:
        """All pools of the station at a place in the scenario."""
        return list(self._pools.values())[number]

    def uses(self, elapsed_ns: int) -> list[StationUse]:
        """The account of every pool."""
        return [pool.use(elapsed_ns) for pools in self._pools.values() for pool in pools]
