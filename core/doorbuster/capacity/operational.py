"""The analytic bound beside the search: the load at which a station is offered all it can do.

Utilisation law: a station with c servers and a mean service demand D a request of the mix keeps
up with at most X_max = c / D requests a second; the smallest over all stations bounds the shop.
The mix and its rate at each load come from the fluid forecast of `doorbuster check`.

Source: P. J. Denning, J. P. Buzen, "The Operational Analysis of Queueing Network Models",
ACM Computing Surveys 10(3), 1978; E. D. Lazowska et al., "Quantitative System Performance"
(1984), chapter 5 (bounds on performance).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from doorbuster.forecast.flow import flow_of, steepest_second
from doorbuster.forecast.stations import StationForecast, station_forecasts
from doorbuster.plan import Timetable
from doorbuster.scenario.model import Scenario

_ROUNDS = 12
"""Halvings of the ratio between the ends of the range."""


@dataclass(frozen=True)
class OperationalBound:
    """Where the busiest station is offered exactly its capacity for a second."""

    station: str
    item: str | None
    servers: int
    demand_s: float
    """Mean service demand of one request of the mix at this station."""
    requests_per_s: float
    """servers / demand: requests a second of the whole mix that it can keep up with."""
    load_factor: float | None
    """None where no load up to the end of the range offers that much."""


def operational_bound(
    scenario: Scenario, timetable: Callable[[float], Timetable], low: float, high: float
) -> OperationalBound | None:
    """The bound within a range of load factors; None where no station is ever visited."""
    busiest, total = _busiest(scenario, timetable(high))
    if busiest is None:
        return None
    if busiest.utilisation < 1:
        return _bound(busiest, total, None)
    for _ in range(_ROUNDS):
        middle = sqrt(low * high)
        station, requests = _busiest(scenario, timetable(middle))
        if station is not None and station.utilisation >= 1:
            high, busiest, total = middle, station, requests
        else:
            low = middle
    return _bound(busiest, total, high)


def _bound(station: StationForecast, total: float, factor: float | None) -> OperationalBound:
    work = station.utilisation * station.server_count
    demand_s = work / total
    return OperationalBound(
        station.name,
        station.sku,
        station.server_count,
        demand_s,
        station.server_count / demand_s,
        factor,
    )


def _busiest(scenario: Scenario, timetable: Timetable) -> tuple[StationForecast | None, float]:
    """The station that is offered most, and requests of all steps in that second."""
    flow = flow_of(scenario, timetable)
    stations = station_forecasts(scenario, flow)
    if not stations or stations[0].utilisation <= 0:
        return None, 0.0
    station = stations[0]
    total = flow.requests_between(None, station.busiest_at_s, station.busiest_at_s + 1.0)
    return station, total or steepest_second(flow.times_s, flow.requests())[0]
