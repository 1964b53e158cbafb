"""How busy each station will be, and how long its queue grows, by cumulative curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from doorbuster.forecast.flow import REST, Curve, Flow, steepest_second
from doorbuster.scenario.distributions import mean_of
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.service import Station


@dataclass(frozen=True)
class StationForecast:
    """One station at its busiest."""

    name: str
    sku: str | None
    """The item, for a station of which each item has its own."""
    server_count: int
    utilisation: float
    """Offered work per second of server time in the busiest second; above 1 a queue grows."""
    busiest_at_s: float
    queue_max: float
    """Longest queue of a fluid: requests that wait because more work came than was done."""
    queue_limit: int
    queue_max_at_s: float
    wait_max_s: float
    """Wait of a request that joins the longest queue."""


def station_forecasts(scenario: Scenario, flow: Flow) -> list[StationForecast]:
    """Every station, the busiest first; of stations per item only the busiest item."""
    found = []
    for station in scenario.service.stations:
        loads = [
            _forecast(station, sku, *work, flow) for sku, work in _work(scenario, station, flow)
        ]
        if loads:
            found.append(max(loads, key=lambda load: load.utilisation))
    return sorted(found, key=lambda load: -load.utilisation)


def seconds_in_system(scenario: Scenario, step: str) -> float:
    """Mean time of a request without any queueing: network, stations, payment provider."""
    passages = scenario.service.by_step[step]
    time_s = mean_of(scenario.service.network) + sum(mean_of(p.time) for p in passages)
    if step == "pay":
        payments = scenario.payments
        shares = sum(channel.share for channel in payments.channels)
        time_s += sum(
            channel.share / shares * min(mean_of(channel.latency), payments.timeout)
            for channel in payments.channels
        )
    return time_s


Work = tuple[Curve, Curve]
"""Server-seconds and requests that have come to a station by each moment."""


def _work(scenario: Scenario, station: Station, flow: Flow) -> list[tuple[str | None, Work]]:
    per_sku: dict[str | None, Work] = {}
    for item in flow.items:
        if station.per_item and item.sku == REST:
            continue
        key = item.sku if station.per_item else None
        empty = np.zeros(len(flow.times_s))
        seconds, requests = per_sku.get(key, (empty, empty))
        for step, curve in item.curves.items():
            for passage in scenario.service.by_step[step]:
                if passage.station == station.name:
                    seconds = seconds + curve * mean_of(passage.time)
                    requests = requests + curve
        per_sku[key] = (seconds, requests)
    return [(key, work) for key, work in per_sku.items() if work[1][-1] > 0]


def _forecast(
    station: Station, sku: str | None, seconds: Curve, requests: Curve, flow: Flow
) -> StationForecast:
    times = flow.times_s
    busiest, busiest_at_s = steepest_second(times, seconds)
    surplus = seconds - station.servers * times
    backlog = surplus - np.minimum.accumulate(surplus)
    at = int(backlog.argmax())
    mean_s = seconds[-1] / requests[-1]
    return StationForecast(
        name=station.name,
        sku=sku,
        server_count=station.servers,
        utilisation=busiest / station.servers,
        busiest_at_s=busiest_at_s,
        queue_max=float(backlog[at] / mean_s),
        queue_limit=station.queue_limit,
        queue_max_at_s=float(times[at]),
        wait_max_s=float(backlog[at] / station.servers),
    )
