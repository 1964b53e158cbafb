"""A hand-written third opinion on stations: no events, no clock, only recursions over customers.

Kiefer and Wolfowitz's recursion for a station of c servers: a customer begins when it has come and
the server that is free first is free,

    begin(n) = max(arrival(n), smallest of the c free times),   end(n) = begin(n) + service(n),

and for c = 1 this is Lindley's. It shares with the engines what a scenario, a plan and a draw are,
and nothing that decides when something happens. All times are whole nanoseconds.

The oracle knows sales in which everybody sends one page request and leaves. It need not know how
simultaneous events are ordered, but for two sentences of `doorbuster_sim/event_order.py`: a server
that is free at a moment is free for who comes at that moment; and who come in the same moment come
in the order of their numbers. Where a request passes on from one station to the next, coming is
the end of a service itself: then who ends there in the same moment has left only if its number is
lower.

Sources: D. V. Lindley, "The theory of queues with a single server" (1952); J. Kiefer and
J. Wolfowitz, "On the theory of queues with many servers" (1955).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from doorbuster.draws import Purpose, draw, sample
from doorbuster.plan import Plan
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import Distribution, DistributionBook


class Fate(NamedTuple):
    """What became of one request."""

    visitor: int
    sent_ns: int
    done_ns: int
    served: bool


@dataclass
class Queue:
    """One station, or one item's part of it, in the order in which customers come."""

    servers: int
    queue_limit: int
    is_first: bool
    free_ns: list[int] = field(init=False)
    ends: list[tuple[int, int]] = field(default_factory=list)
    """End and visitor of everybody who was taken."""
    busy_ns: int = 0
    max_queue: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.free_ns = [-(2**63)] * self.servers

    def end_ns(self, arrival_ns: int, visitor: int, service_ns: int) -> int | None:
        """When the next customer ends; None if all servers are busy and as many wait as may."""
        leaves_after = (arrival_ns, 2**63 if self.is_first else visitor)
        waiting = sum(end > leaves_after for end in self.ends) - self.servers
        if waiting >= 0 and waiting == self.queue_limit:
            self.refused += 1
            return None
        self.max_queue = max(self.max_queue, waiting + 1)
        begin_ns = max(arrival_ns, heapq.heappop(self.free_ns))
        heapq.heappush(self.free_ns, begin_ns + service_ns)
        self.ends.append((begin_ns + service_ns, visitor))
        self.busy_ns += service_ns
        return begin_ns + service_ns


def ns(seconds: float) -> int:
    """The nearest whole nanosecond, ties to even."""
    return round(seconds * 10**9)


def page_requests(
    scenario: Scenario,
    plan: Plan,
    *,
    system_seed: int,
    queue: Callable[[int, int, bool], Queue] = Queue,
) -> tuple[list[Fate], dict[tuple[str, str | None], Queue]]:
    """What becomes of everybody's page request, and the account of every pool that was passed.

    queue: another rule of the stations, to see that the comparison notices.
    """

    def times(distribution: Distribution, purpose: Purpose, attempt: int) -> list[int]:
        book = DistributionBook()
        row, tables = book.add(distribution), book.tables()
        uniforms = (draw(system_seed, v, int(purpose), attempt) for v in range(plan.visitor_count))
        return [ns(sample(tables, row, uniform)) for uniform in uniforms]

    network_ns = times(scenario.service.network, Purpose.NETWORK, 0)
    stations = {station.name: station for station in scenario.service.stations}
    queues: dict[tuple[str, str | None], Queue] = {}
    sent_ns = plan.arrival_ns.tolist()
    present = sorted((sent_ns[v] + network_ns[v] // 2, v) for v in range(plan.visitor_count))
    refused: list[tuple[int, int]] = []
    for number, passage in enumerate(scenario.service.browse):
        station = stations[passage.station]
        service_ns = times(passage.time, Purpose.SERVICE, number)
        passed = []
        for arrival_ns, visitor in present:
            sku = scenario.skus[plan.item[visitor]] if station.per_item else None
            pool = queues.setdefault(
                (station.name, sku), queue(station.servers, station.queue_limit, number == 0)
            )
            end_ns = pool.end_ns(arrival_ns, visitor, service_ns[visitor])
            if end_ns is None:
                refused.append((arrival_ns, visitor))
            else:
                passed.append((end_ns, visitor))
        present = sorted(passed)
    fates = [
        Fate(v, sent_ns[v], at_ns + network_ns[v] - network_ns[v] // 2, served)
        for served, leaving in ((True, present), (False, refused))
        for at_ns, v in leaving
    ]
    return sorted(fates), queues
