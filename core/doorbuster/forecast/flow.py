"""The crowd as a fluid: how many requests of each step have been sent by each moment.

Every visitor takes the mean of its persona's times, and the system answers at once. That is an
estimate for people, not a simulation: it has no chance, no queue and no payment that fails. All
quantities are cumulative counts over a common grid of times, so a delay is a shift and a rate is a
difference.

Source: G. F. Newell, "Applications of Queueing Theory" (1982), chapter 2 (cumulative curves).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from doorbuster.plan import Timetable
from doorbuster.rules.lines import Lines
from doorbuster.scenario.crowd import Persona
from doorbuster.scenario.distributions import mean_of
from doorbuster.scenario.model import Scenario

Curve = NDArray[np.float64]
"""Cumulative count at each time of the grid. Shape (n,)."""

STEPS = ("browse", "reserve", "pay")
STEPS_WITH_CART = ("browse", "cart", "reserve", "pay")
MAX_ITEMS = 40
"""Items that get curves of their own, the most wanted first; the others share one."""
GRID_TIMES = 3000
MAX_KNOTS = 5000
REST = "other items"
_SHORTEST_GAP_S = 1e-3


@dataclass
class ItemFlow:
    """The crowd that comes for one item."""

    sku: str
    stock_units: int
    curves: dict[str, Curve]
    """Requests by step."""
    wanted_units: float = 0.0
    """Units that visitors try to buy, as far as their accounts may."""
    sold_out_s: float | None = None
    """When the reserved units reach the stock; None if they never do."""


@dataclass
class Flow:
    """All requests of the sale as curves over `times_s`."""

    times_s: Curve
    items: list[ItemFlow]
    persona_requests: dict[str, float] = field(default_factory=dict)
    persona_visitors: dict[str, float] = field(default_factory=dict)
    steps: tuple[str, ...] = STEPS

    def requests(self, step: str | None = None) -> Curve:
        """Requests sent by each moment, of one step or of all."""
        steps = self.steps if step is None else (step,)
        total = np.zeros(len(self.times_s))
        for item in self.items:
            for name in steps:
                total += item.curves[name]
        return total

    def requests_between(self, step: str | None, start_s: float, end_s: float) -> float:
        """Requests of a step in a window of the sale."""
        before, after = np.interp([start_s, end_s], self.times_s, self.requests(step))
        return float(after - before)


def steepest_second(times_s: Curve, curve: Curve) -> tuple[float, float]:
    """The largest growth of a curve within one second, and when that second starts."""
    growth = np.interp(times_s + 1.0, times_s, curve) - curve
    at = int(growth.argmax())
    return float(growth[at]), float(times_s[at])


def flow_of(scenario: Scenario, timetable: Timetable) -> Flow:
    """The fluid of a scenario under a timetable."""
    grid = _grid(timetable)
    arrivals = persona_arrivals(scenario, timetable, grid)
    has_cart = scenario.shop.lock_point == "cart"
    flow = Flow(grid, [], steps=STEPS_WITH_CART if has_cart else STEPS)
    flow.persona_visitors = {name: float(curve[-1]) for name, curve in arrivals.items()}
    flow.persona_requests = dict.fromkeys(arrivals, 0.0)
    for item in _wanted_items(scenario, flow.persona_visitors):
        crowds = {
            name: _Crowd(
                grid,
                arrivals[name] * weight,
                scenario.crowd.personas[name],
                has_cart=has_cart,
            )
            for name, weight in item.weights.items()
            if weight > 0
        }
        flow.items.append(_item_flow(item, crowds, flow))
    return flow


def persona_arrivals(scenario: Scenario, timetable: Timetable, times_s: Curve) -> dict[str, Curve]:
    """Expected arrivals of each persona up to each time, by the mixes of the phases."""
    shares = {name: persona.share for name, persona in scenario.crowd.personas.items()}
    mixes = {phase.name: phase.mix or shares for phase in scenario.crowd.phases}
    arrivals = {name: np.zeros(len(times_s)) for name in shares}
    for phase, start, end in timetable.phases:
        inside = timetable.area(np.clip(times_s, start, end)) - timetable.area(np.array([start]))
        mix = mixes[phase]
        for name, weight in mix.items():
            arrivals[name] += inside * (weight / sum(mix.values()))
    return arrivals


class _Crowd:
    """The visitors of one persona who come for one item."""

    def __init__(self, grid: Curve, arrivals: Curve, persona: Persona, *, has_cart: bool) -> None:
        self._grid = grid
        self._has_cart = has_cart
        self._arrivals = arrivals
        self._persona = persona
        self._gap_s = max(mean_of(persona.refresh_gap), _SHORTEST_GAP_S)
        self._patience_s = mean_of(persona.patience)
        self._think_s = mean_of(persona.think_time)
        self._first_looks = self._looks_after_opening()

    def _shifted(self, curve: Curve, by_s: float) -> Curve:
        shifted: Curve = np.interp(self._grid - by_s, self._grid, curve, left=0.0)
        return shifted

    def _stay_s(self, look_limit: int) -> float:
        return min(look_limit * self._gap_s, self._patience_s)

    def _repeated(self, seen: Curve, look_limit: int) -> Curve:
        """Further looks of visitors who look again and again once they are in `seen`."""
        stay_s = self._stay_s(look_limit)
        steps = np.diff(self._grid, prepend=self._grid[0])
        area = np.cumsum((seen + np.concatenate(([seen[0]], seen[:-1]))) * 0.5 * steps)
        return np.maximum((area - self._shifted(area, stay_s)) / self._gap_s, 0.0)

    def _looks_after_opening(self) -> Curve:
        """Those who come after the opening, and those who wait for it and look within a gap."""
        times = [0.0, -self._stay_s(self._persona.refresh_limit)]
        opening, early = np.interp(times, self._grid, self._arrivals, left=0.0).tolist()
        if self._grid[0] >= 0:
            opening = early = 0.0
        come_back = (opening - early) * np.clip(self._grid / self._gap_s, 0.0, 1.0)
        return np.where(self._grid > 0, self._arrivals - opening, 0.0) + come_back

    def wanted_units(self, limit_units: int) -> Curve:
        """Units that this crowd has tried to reserve, as far as its accounts allow."""
        quantity = self._persona.quantity if self._persona.quantity <= limit_units else 0
        buyers = self._shifted(self._first_looks, self._think_s) * self._persona.buy_fraction
        accounts = self._persona.identities.accounts
        allowed = np.inf if accounts is None else accounts * limit_units
        return np.minimum(buyers * quantity, allowed)

    def curves(self, sold_out_s: float | None) -> dict[str, Curve]:
        """Requests by step, once it is known when the item sells out."""
        persona, grid = self._persona, self._grid
        before_opening = np.where(grid <= 0, self._arrivals, 0.0)
        waiting = self._repeated(before_opening, persona.refresh_limit)
        waiting = np.where(grid <= 0, waiting, np.interp(0.0, grid, waiting))
        early = np.interp(0.0, grid, self._arrivals) if grid[0] < 0 else 0.0
        browse = np.minimum(self._arrivals, early) + waiting + self._first_looks
        end = grid[-1] if sold_out_s is None else sold_out_s
        looks = np.interp(np.minimum(grid, end), grid, self._first_looks)
        reserve = self._shifted(looks, self._think_s) * persona.buy_fraction
        locked = np.interp(np.minimum(grid, end), grid, reserve)
        ordered = locked
        if self._has_cart:
            ordered = self._shifted(locked, mean_of(persona.cart_time))
            ordered = ordered * (1 - persona.abandon_fraction)
        pay = self._shifted(ordered, mean_of(persona.payment_time)) * (1 - persona.unpaid_fraction)
        if sold_out_s is not None:
            disappointed = self._first_looks - looks + reserve - locked
            browse = browse + self._repeated(disappointed, persona.restock_refresh_limit)
        if self._has_cart:
            return {"browse": browse, "cart": reserve, "reserve": ordered, "pay": pay}
        return {"browse": browse, "reserve": reserve, "pay": pay}


def _item_flow(item: _Wanted, crowds: Mapping[str, _Crowd], flow: Flow) -> ItemFlow:
    grid = flow.times_s
    wanted = np.zeros(len(grid))
    for crowd in crowds.values():
        wanted += crowd.wanted_units(item.limit_units)
    sold_out_s = None
    if wanted[-1] >= item.stock_units:
        sold_out_s = max(float(grid[int(np.searchsorted(wanted, item.stock_units))]), 0.0)
    curves = {step: np.zeros(len(grid)) for step in flow.steps}
    for name, crowd in crowds.items():
        for step, curve in crowd.curves(sold_out_s).items():
            curves[step] += curve
            flow.persona_requests[name] += float(curve[-1])
    return ItemFlow(item.sku, item.stock_units, curves, float(wanted[-1]), sold_out_s)


class _Wanted(NamedTuple):
    """An item, or several as one, with the share of each persona that comes for it."""

    sku: str
    stock_units: int
    limit_units: int
    weights: dict[str, float]


def _sets_at_most(scenario: Scenario) -> list[int]:
    """By item: its stock, or sets of a bundle if nobody buys its items otherwise."""
    stock = [item.stock for item in scenario.shop.items]
    lines = Lines.of(scenario.shop.items)
    return [min(stock[item] // units for item, units in own) for own in lines]


def _wanted_items(scenario: Scenario, visitors: Mapping[str, float]) -> list[_Wanted]:
    """The most wanted items, and the rest in one."""
    items = {
        item.sku: _Wanted(item.sku, units, item.per_account_limit, {})
        for item, units in zip(scenario.shop.items, _sets_at_most(scenario), strict=True)
    }
    for name, persona in scenario.crowd.personas.items():
        wants = persona.wants or dict.fromkeys(items, 1.0)
        for sku, weight in wants.items():
            items[sku].weights[name] = weight / sum(wants.values())
    ordered = sorted(
        items.values(),
        key=lambda item: -sum(visitors[name] * weight for name, weight in item.weights.items()),
    )
    rest = ordered[MAX_ITEMS:]
    if not rest:
        return ordered
    names = {name for item in rest for name in item.weights}
    weights = {name: sum(item.weights.get(name, 0.0) for item in rest) for name in names}
    limit = sum(item.limit_units for item in rest)
    return [
        *ordered[:MAX_ITEMS],
        _Wanted(REST, sum(item.stock_units for item in rest), limit, weights),
    ]


def _grid(timetable: Timetable) -> Curve:
    """Times that resolve the whole sale, its steps, and the seconds around the opening."""
    start, end = timetable.start_s, timetable.end_s
    span = max(end - start, 1.0)
    near = np.geomspace(1e-3, span, GRID_TIMES // 3)
    parts: list[Curve] = [np.linspace(start, end, GRID_TIMES), near, -near, np.zeros(1)]
    if len(timetable.knot_s) <= MAX_KNOTS:
        parts.extend([timetable.knot_s, timetable.knot_s + 1.0])
    times: Curve = np.unique(np.concatenate(parts))
    inside: Curve = times[(times >= start) & (times <= end)]
    return inside
