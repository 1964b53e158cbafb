"""Levers: what a team can change about its shop, each as a change of the scenario's service model.

A variant is a set of levers with how far each is pulled. Levers commute, so the order of a variant
does not matter, and two variants with the same pulls are the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from doorbuster.report.numbers import count, duration, percent
from doorbuster.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Uniform,
    Weibull,
    mean_of,
)
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.payments import Channel
from doorbuster.scenario.service import Passage, Station

LeverKind = Literal[
    "servers", "speed", "queue", "latency", "late", "declines", "timeout", "channels"
]
PAYMENTS = "payments"
"""Resource of the shop's own wait for a provider."""
QUEUE_LIMIT_MAX = 10_000_000
"""The largest bound a scenario may have: in effect none."""
QUEUE_UNBOUNDED = 25
"""Doublings after which every bound is the largest."""
SERVERS_MAX = 1_000_000
STRIDE_FRACTION = 0.25
"""Servers are bought by a quarter of a pool: one more of sixty-four is below any precision."""
_SWIFT = 1e-3
_STEPS = ("browse", "reserve", "pay", "poll", "cancel", "refund", "cart")


@dataclass(frozen=True, order=True)
class Lever:
    """One thing that can be changed; `stride` is how many units of it are bought at once."""

    resource: str
    kind: LeverKind
    stride: int = field(default=1, compare=False)

    @property
    def id(self) -> str:
        """`web.servers`: its name on the command line and in JSON."""
        return f"{self.resource}.{self.kind}"


Variant = tuple[tuple[Lever, int], ...]
"""Levers with the units by which they are pulled, sorted; empty for the scenario as it is."""


def pulled(variant: Variant, lever: Lever, units: int) -> Variant:
    """The variant with one lever pulled further, or back by negative units."""
    pulls = dict(variant)
    pulls[lever] = pulls.get(lever, 0) + units
    return tuple(sorted((lever, units) for lever, units in pulls.items() if units > 0))


def levers_of(scenario: Scenario) -> list[Lever]:
    """Every lever that changes something in this scenario, in the order of the file."""
    found = []
    for station in visited_stations(scenario):
        if not is_hot_row(station):
            stride = max(1, round(station.servers * STRIDE_FRACTION))
            found.append(Lever(station.name, "servers", stride))
        found.append(Lever(station.name, "speed"))
        if station.queue_limit < QUEUE_LIMIT_MAX:
            found.append(Lever(station.name, "queue"))
    for channel in scenario.payments.channels:
        found.append(Lever(channel.name, "latency"))
        if channel.late_fraction > 0:
            found.append(Lever(channel.name, "late"))
        if channel.decline_fraction > 0:
            found.append(Lever(channel.name, "declines"))
    return [*found, Lever(PAYMENTS, "timeout"), Lever(PAYMENTS, "channels")]


def visited_stations(scenario: Scenario) -> list[Station]:
    """The stations that some step passes."""
    used = {passage.station for step in _STEPS for passage in passages(scenario, step)}
    return [station for station in scenario.service.stations if station.name in used]


def passages(scenario: Scenario, step: str) -> list[Passage]:
    """The stations of a step in order; empty for a poll that passes those of browse."""
    return getattr(scenario.service, step) or []


def is_hot_row(station: Station) -> bool:
    """A row lock: one at a time by its nature, so it can become faster but not more."""
    return station.per_item and station.servers == 1


def varied(scenario: Scenario, variant: Variant) -> Scenario:
    """The scenario with a variant's levers pulled."""
    for lever, units in variant:
        scenario = _PULL[lever.kind](scenario, lever.resource, units)
    return scenario


def unlimited(scenario: Scenario) -> Scenario:
    """The same crowd before a shop that never makes anybody wait: no queue, instant payments."""
    stations = [
        station.model_copy(update={"servers": SERVERS_MAX, "queue_limit": QUEUE_LIMIT_MAX})
        for station in scenario.service.stations
    ]
    swift = _passages_changed(scenario, lambda passage: _slowed(passage, _SWIFT))
    channels = [
        channel.model_copy(
            update={
                "latency": scaled(channel.latency, _SWIFT),
                "late_fraction": 0.0,
                "decline_fraction": 0.0,
            }
        )
        for channel in scenario.payments.channels
    ]
    service = scenario.service.model_copy(update={"stations": stations, **swift})
    payments = scenario.payments.model_copy(update={"channels": channels})
    return scenario.model_copy(update={"service": service, "payments": payments})


def scaled(distribution: Distribution, factor: float) -> Distribution:
    """All times of a distribution multiplied by a factor."""
    changed: dict[str, Any]
    match distribution:
        case Constant(value=value):
            changed = {"value": value * factor}
        case Uniform(low=low, high=high):
            changed = {"low": low * factor, "high": high * factor}
        case Exponential(mean=mean):
            changed = {"mean": mean * factor}
        case Lognormal(median=median):
            changed = {"median": median * factor}
        case Weibull(scale=scale):
            changed = {"scale": scale * factor}
        case Empirical(quantiles=quantiles):
            changed = {"quantiles": [(p, t * factor) for p, t in quantiles]}
    return distribution.model_copy(update=changed)


def _slowed(passage: Passage, factor: float) -> Passage:
    return passage.model_copy(update={"time": scaled(passage.time, factor)})


def _passages_changed(
    scenario: Scenario, change: Callable[[Passage], Passage]
) -> dict[str, list[Passage]]:
    """Every step that has passages of its own, with each of them changed."""
    steps = {step: passages(scenario, step) for step in _STEPS}
    return {step: [change(passage) for passage in own] for step, own in steps.items() if own}


# --- one function a kind of lever ---


def _station(
    scenario: Scenario, name: str, change: Callable[[Station], dict[str, Any]]
) -> Scenario:
    stations = [
        station.model_copy(update=change(station)) if station.name == name else station
        for station in scenario.service.stations
    ]
    return scenario.model_copy(
        update={"service": scenario.service.model_copy(update={"stations": stations})}
    )


def _servers(scenario: Scenario, name: str, units: int) -> Scenario:
    return _station(
        scenario, name, lambda station: {"servers": min(station.servers + units, SERVERS_MAX)}
    )


def _speed(scenario: Scenario, name: str, units: int) -> Scenario:
    def change(passage: Passage) -> Passage:
        return _slowed(passage, 0.5**units) if passage.station == name else passage

    steps = _passages_changed(scenario, change)
    return scenario.model_copy(update={"service": scenario.service.model_copy(update=steps)})


def _queue(scenario: Scenario, name: str, units: int) -> Scenario:
    def change(station: Station) -> dict[str, Any]:
        return {"queue_limit": min(max(station.queue_limit, 1) * 2**units, QUEUE_LIMIT_MAX)}

    return _station(scenario, name, change)


def _channel(
    scenario: Scenario, name: str, change: Callable[[Channel], dict[str, Any]]
) -> Scenario:
    channels = [
        channel.model_copy(update=change(channel)) if channel.name == name else channel
        for channel in scenario.payments.channels
    ]
    return scenario.model_copy(
        update={"payments": scenario.payments.model_copy(update={"channels": channels})}
    )


def _latency(scenario: Scenario, name: str, units: int) -> Scenario:
    factor = 0.5**units
    return _channel(
        scenario,
        name,
        lambda channel: {
            "latency": scaled(channel.latency, factor),
            "late_by": scaled(channel.late_by, factor),
        },
    )


def _late(scenario: Scenario, name: str, _units: int) -> Scenario:
    return _channel(scenario, name, lambda _: {"late_fraction": 0.0})


def _declines(scenario: Scenario, name: str, _units: int) -> Scenario:
    return _channel(scenario, name, lambda _: {"decline_fraction": 0.0})


def _timeout(scenario: Scenario, _name: str, units: int) -> Scenario:
    timeout = scenario.payments.timeout * 2**units
    payments = scenario.payments.model_copy(update={"timeout": timeout})
    return scenario.model_copy(update={"payments": payments})


def _channels(scenario: Scenario, _name: str, units: int) -> Scenario:
    """So many more channels like the fastest one; each draws buyers from all others."""
    best = min(scenario.payments.channels, key=lambda c: (mean_of(c.latency), c.decline_fraction))
    more = [
        best.model_copy(update={"name": f"{best.name}-more-{number + 1}"})
        for number in range(units)
    ]
    payments = scenario.payments.model_copy(
        update={"channels": [*scenario.payments.channels, *more]}
    )
    return scenario.model_copy(update={"payments": payments})


_PULL: dict[LeverKind, Callable[[Scenario, str, int], Scenario]] = {
    "servers": _servers,
    "speed": _speed,
    "queue": _queue,
    "latency": _latency,
    "late": _late,
    "declines": _declines,
    "timeout": _timeout,
    "channels": _channels,
}
ONCE: tuple[LeverKind, ...] = ("late", "declines")
"""Levers that are pulled whole or not at all."""


# --- what a lever stands at ---


def setting(scenario: Scenario, lever: Lever) -> str:
    """What the lever stands at, as text that reads the same in every language."""
    if lever.kind == "timeout":
        return duration(scenario.payments.timeout)
    if lever.kind == "channels":
        return count(len(scenario.payments.channels))
    if lever.kind in ("latency", "late", "declines"):
        channel = next(c for c in scenario.payments.channels if c.name == lever.resource)
        if lever.kind == "latency":
            return duration(mean_of(channel.latency))
        return percent(channel.late_fraction if lever.kind == "late" else channel.decline_fraction)
    station = next(s for s in scenario.service.stations if s.name == lever.resource)
    if lever.kind == "servers":
        return count(station.servers)
    if lever.kind == "queue":
        return "∞" if station.queue_limit >= QUEUE_LIMIT_MAX else count(station.queue_limit)
    times = [
        mean_of(passage.time)
        for step in _STEPS
        for passage in passages(scenario, step)
        if passage.station == lever.resource
    ]
    return duration(max(times))
