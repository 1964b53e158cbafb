"""Stations: pools of equal servers with one bounded queue each, first come first served."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from doorbuster.scenario.service import Station
from doorbuster_sim.event_order import Rank
from doorbuster_sim.simpy_engine.environment import Environment

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


class Pool:
    """One queue with its servers."""

    def __init__(self, env: Environment, station: Station, item: str | None) -> None:
        self._env = env
        self._resource = simpy.Resource(env, station.servers)
        self._station = station
        self._item = item
        self._present = 0
        """Requests that are served or wait."""
        self._busy_ns = 0
        """Sum of the ends of all services minus their beginnings; who is served has no end yet."""
        self._max_queue = 0
        self._refused = 0

    def serve(self, service_ns: int, visitor: int, number: int) -> Waiting:
        """Wait for a server and keep it for a time. Returns False when the queue was full.

        visitor, number: the request, for its place among simultaneous events.
        """
        waiting = self._present - self._station.servers
        if waiting >= 0:
            if waiting >= self._station.queue_limit:
                self._refused += 1
                return False
            self._max_queue = max(self._max_queue, waiting + 1)
        self._present += 1
        with self._resource.request() as turn:
            yield turn
            self._busy_ns -= self._env.now_ns
            yield self._env.moment(service_ns, Rank.SERVED, visitor, number)
            self._busy_ns += self._env.now_ns
        self._present -= 1
        return True

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

    def __init__(self, env: Environment, stations: list[Station], skus: list[str]) -> None:
        self._pools = {
            station.name: (
                [Pool(env, station, sku) for sku in skus]
                if station.per_item
                else [Pool(env, station, None)]
            )
            for station in stations
        }

    def pool(self, station: str, item: int) -> Pool:
        """The pool that a request for an item joins at a station."""
        pools = self._pools[station]
        return pools[item] if len(pools) > 1 else pools[0]

    def uses(self, elapsed_ns: int) -> list[StationUse]:
        """The account of every pool."""
        return [pool.use(elapsed_ns) for pools in self._pools.values() for pool in pools]
