"""The numbers that a team should know before it runs a scenario."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from doorbuster.forecast.assumptions import Assumption, assumptions
from doorbuster.forecast.doubts import Doubt, doubts
from doorbuster.forecast.flow import REST, STEPS, Flow, flow_of, steepest_second
from doorbuster.forecast.stations import StationForecast, seconds_in_system, station_forecasts
from doorbuster.plan import Timetable
from doorbuster.scenario.model import Scenario

ARRIVALS_PER_CORE = 500.0
"""Arrivals a second that one core of a load generator sends on time: a rule of thumb."""
DAY_S = 86400.0


@dataclass(frozen=True)
class ItemForecast:
    """Demand against stock of one item."""

    sku: str
    stock_units: int
    wanted_units: float
    sold_out_s: float | None
    """When reservations reach the stock; None if they never do."""


@dataclass(frozen=True)
class PersonaForecast:
    """What one kind of visitor brings."""

    name: str
    visitors: float
    request_fraction: float
    """Share of all requests."""


@dataclass(frozen=True)
class RequestForecast:
    """The busiest second of the sale."""

    per_s: float
    at_s: float
    by_step: dict[str, float]
    in_flight: float
    """Requests in the system at once if nobody queues, by Little's law."""
    total: float


@dataclass(frozen=True)
class Forecast:
    """All of it; times in seconds from the opening, rates a second."""

    scenario_name: str
    start_s: float
    last_arrival_s: float
    end_s: float
    longest_run_s: float
    load_factor: float
    normal_load_per_s: float
    visitors_expected: float
    peak_arrivals_per_s: float
    peak_at_s: float
    peak_arrivals_per_day: float
    lock_point: str
    lock_time_s: float
    release_sweep_s: float
    items: list[ItemForecast]
    other_items: ItemForecast | None
    personas: list[PersonaForecast]
    requests: RequestForecast
    stations: list[StationForecast]
    load_workers: int
    doubts: list[Doubt]
    assumptions: list[Assumption]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return asdict(self)


def forecast(scenario: Scenario, timetable: Timetable) -> Forecast:
    """What to expect of a scenario under a timetable, by arithmetic alone."""
    flow = flow_of(scenario, timetable)
    stations = station_forecasts(scenario, flow)
    items = [
        ItemForecast(item.sku, item.stock_units, item.wanted_units, item.sold_out_s)
        for item in flow.items
    ]
    timeouts = [persona.request_timeout for persona in scenario.crowd.personas.values()]
    return Forecast(
        scenario_name=scenario.name,
        start_s=timetable.start_s,
        last_arrival_s=timetable.last_arrival_s,
        end_s=timetable.end_s,
        longest_run_s=timetable.end_s - timetable.start_s + max(timeouts),
        load_factor=timetable.load_factor,
        normal_load_per_s=scenario.crowd.normal_load_per_s,
        visitors_expected=timetable.expected_visitors,
        peak_arrivals_per_s=timetable.peak_rate_per_s,
        peak_at_s=timetable.peak_at_s,
        peak_arrivals_per_day=timetable.peak_rate_per_s * DAY_S,
        lock_point=scenario.shop.lock_point,
        lock_time_s=scenario.shop.lock_time,
        release_sweep_s=scenario.shop.release_sweep,
        items=[item for item in items if item.sku != REST],
        other_items=next((item for item in items if item.sku == REST), None),
        personas=_personas(flow),
        requests=_requests(scenario, flow),
        stations=stations,
        load_workers=max(1, math.ceil(timetable.peak_rate_per_s / ARRIVALS_PER_CORE)),
        doubts=doubts(scenario, timetable, flow, stations),
        assumptions=assumptions(scenario),
    )


def _personas(flow: Flow) -> list[PersonaForecast]:
    total = sum(flow.persona_requests.values()) or 1.0
    return [
        PersonaForecast(name, visitors, flow.persona_requests[name] / total)
        for name, visitors in flow.persona_visitors.items()
    ]


def _requests(scenario: Scenario, flow: Flow) -> RequestForecast:
    per_s, at_s = steepest_second(flow.times_s, flow.requests())
    by_step = {step: flow.requests_between(step, at_s, at_s + 1.0) for step in STEPS}
    in_flight = sum(rate * seconds_in_system(scenario, step) for step, rate in by_step.items())
    return RequestForecast(per_s, at_s, by_step, in_flight, float(flow.requests()[-1]))
