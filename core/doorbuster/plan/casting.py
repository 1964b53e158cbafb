"""Who a visitor is: persona, wanted item, payment channel and identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from doorbuster.draws.philox import draw_array
from doorbuster.draws.purposes import Purpose
from doorbuster.plan.timetable import Floats, Timetable
from doorbuster.scenario.crowd import Persona
from doorbuster.scenario.model import Scenario

Column = NDArray[np.int64]

POOL_BASE = 1 << 40
"""Shared identities of persona p are numbered from (p + 1) * POOL_BASE, clear of visitors."""

_IDENTITIES = {
    "account": ("accounts", Purpose.ACCOUNT),
    "device": ("devices", Purpose.DEVICE),
    "ip": ("ips", Purpose.IP),
    "address": ("addresses", Purpose.ADDRESS),
    "card": ("cards", Purpose.CARD),
}


def cumulative_shares(weights: Sequence[float]) -> Floats:
    """Upper bounds in (0, 1] of the slices that the weights cut from the unit interval."""
    sums = np.cumsum(np.array(weights, dtype=np.float64))
    bounds: Floats = sums / sums[-1]
    return bounds


def pick(bounds: Floats, uniforms: Floats) -> Column:
    """Index of the slice that each uniform falls into. Shapes (k,), (n,) to (n,)."""
    return np.searchsorted(bounds, uniforms, side="right").astype(np.int64)


class Casting:
    """Draws everything about visitors but their arrival times."""

    def __init__(self, scenario: Scenario, seed: int, timetable: Timetable) -> None:
        self._seed = seed
        self._personas: list[Persona] = list(scenario.crowd.personas.values())
        self._phase_start_s = np.array([start for _, start, _ in timetable.phases])
        names = scenario.persona_names
        shares = {name: p.share for name, p in scenario.crowd.personas.items()}
        mixes = {phase.name: phase.mix or shares for phase in scenario.crowd.phases}
        self._mixes = [_weights(mixes[name], names) for name, _, _ in timetable.phases]
        channel_shares = {c.name: c.share for c in scenario.payments.channels}
        equal_items = dict.fromkeys(scenario.skus, 1.0)
        self._items = [_weights(p.wants or equal_items, scenario.skus) for p in self._personas]
        self._channels = [
            _weights(p.channels or channel_shares, scenario.channel_names) for p in self._personas
        ]

    def cast(self, visitors: Column, arrival_ns: Column) -> dict[str, Column]:
        """Every other column of the plan for visitors with these numbers and arrivals."""
        # Rounding to nanoseconds may put an arrival 1 ns before its phase; it belongs to it.
        places = np.searchsorted(self._phase_start_s, (arrival_ns + 1) / 1e9, side="right") - 1
        phase = np.maximum(places, 0).astype(np.int64)
        persona = self._by_group(self._mixes, phase, visitors, Purpose.PERSONA)
        columns = {
            "persona": persona,
            "item": self._by_group(self._items, persona, visitors, Purpose.ITEM),
            "quantity": np.array([p.quantity for p in self._personas], dtype=np.int64)[persona],
            "channel": self._by_group(self._channels, persona, visitors, Purpose.CHANNEL),
            "phase": phase,
        }
        for column, (pool, purpose) in _IDENTITIES.items():
            columns[column] = self._identities(pool, persona, visitors, purpose)
        return columns

    def _by_group(
        self, bounds: list[Floats], group: Column, visitors: Column, purpose: Purpose
    ) -> Column:
        uniforms = draw_array(self._seed, visitors, int(purpose), 0)
        picked = np.empty(len(visitors), dtype=np.int64)
        for index, group_bounds in enumerate(bounds):
            members = group == index
            picked[members] = pick(group_bounds, uniforms[members])
        return picked

    def _identities(self, pool: str, persona: Column, visitors: Column, purpose: Purpose) -> Column:
        numbers = visitors.copy()
        for index, traits in enumerate(self._personas):
            size: int | None = getattr(traits.identities, pool)
            if size is None:
                continue
            members = persona == index
            uniforms = draw_array(self._seed, visitors[members], int(purpose), 0)
            numbers[members] = (index + 1) * POOL_BASE + (uniforms * size).astype(np.int64)
        return numbers


def _weights(weights: Mapping[str, float], names: Sequence[str]) -> Floats:
    return cumulative_shares([weights.get(name, 0.0) for name in names])
