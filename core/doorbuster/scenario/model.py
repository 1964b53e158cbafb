"""The scenario: everything that both worlds must know about one sale."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from doorbuster.scenario.base import Name, Part
from doorbuster.scenario.crowd import Crowd
from doorbuster.scenario.objectives import Objective
from doorbuster.scenario.payments import Payments
from doorbuster.scenario.service import Service
from doorbuster.scenario.shop import Shop


class Scenario(Part):
    """One flash sale: shop, crowd, payments, service model and objectives."""

    version: Literal[1]
    """Version of this format."""
    name: Name
    """Short name, used for result folders."""
    description: str = ""
    shop: Shop
    crowd: Crowd
    payments: Payments
    service: Service
    objectives: list[Objective] = []
    """What must hold for the sale to count as good."""

    @property
    def skus(self) -> list[str]:
        """Names of the items in the order of the file."""
        return [item.sku for item in self.shop.items]

    @property
    def persona_names(self) -> list[str]:
        """Names of the personas in the order of the file."""
        return list(self.crowd.personas)

    @property
    def channel_names(self) -> list[str]:
        """Names of the payment channels in the order of the file."""
        return [channel.name for channel in self.payments.channels]

    @property
    def start_s(self) -> float:
        """Start of the first phase, seconds from the opening (negative before it)."""
        return min(phase.start for phase in self.crowd.phases)

    @property
    def last_arrival_s(self) -> float:
        """End of the last phase, seconds from the opening."""
        return max(phase.start + phase.duration for phase in self.crowd.phases)

    @property
    def end_s(self) -> float:
        """End of the sale, seconds from the opening: visitors who are still there are cut off."""
        return self.last_arrival_s + self.crowd.drain


Place = tuple[str | int, ...]
"""Path into the scenario, such as ("crowd", "phases", 0, "mix", "fam")."""


class CrossCheck:
    """Collects what is wrong between the parts of a scenario that are right in themselves."""

    def __init__(self) -> None:
        self.problems: list[tuple[Place, str]] = []

    def add(self, place: Place, problem: str) -> None:
        """Note one mistake at its place."""
        self.problems.append((place, problem))

    def known(self, place: Place, name: str, names: Iterable[str], what: str) -> None:
        """Note a name that nobody defines, with the nearest one that somebody does."""
        names = list(names)
        if name in names:
            return
        near = get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        self.add(place, f"unknown {what} (got {name!r}); allowed: {', '.join(names)}{hint}")

    def unique(self, place: Place, field: str, names: list[str], what: str) -> None:
        """Note every name that stands twice in a list."""
        for index, name in enumerate(names):
            if name in names[:index]:
                self.add((*place, index, field), f"{what} {name!r} stands twice; rename one")


def cross_check(scenario: Scenario) -> list[tuple[Place, str]]:
    """Every contradiction between parts of the scenario, as (place, sentence)."""
    check = CrossCheck()
    _check_names(scenario, check)
    _check_phases(scenario, check)
    _check_personas(scenario, check)
    _check_service(scenario, check)
    _check_objectives(scenario, check)
    return check.problems


def _check_names(scenario: Scenario, check: CrossCheck) -> None:
    check.unique(("shop", "items"), "sku", scenario.skus, "sku")
    check.unique(("payments", "channels"), "name", scenario.channel_names, "channel")
    phase_names = [phase.name for phase in scenario.crowd.phases]
    check.unique(("crowd", "phases"), "name", phase_names, "phase")
    station_names = [station.name for station in scenario.service.stations]
    check.unique(("service", "stations"), "name", station_names, "station")
    objective_names = [objective.name for objective in scenario.objectives]
    check.unique(("objectives",), "name", objective_names, "objective")
    if not sum(channel.share for channel in scenario.payments.channels):
        check.add(("payments", "channels"), "no channel has a share; give one of them a share > 0")


def _check_phases(scenario: Scenario, check: CrossCheck) -> None:
    phases = list(enumerate(scenario.crowd.phases))
    by_start = sorted(phases, key=lambda pair: pair[1].start)
    for (_, before), (index, after) in zip(by_start, by_start[1:], strict=False):
        end = before.start + before.duration
        if after.start < end - 1e-9:
            check.add(
                ("crowd", "phases", index, "start"),
                f"phase {after.name!r} starts at {after.start:g}s, inside {before.name!r}, which "
                f"ends at {end:g}s; start it at {end:g}s or shorten {before.name!r}",
            )
    total = 0.0
    for index, phase in phases:
        shape = phase.shape
        if shape.kind == "series":
            length = shape.bin * shape.row_count
            if abs(length - phase.duration) > 1e-6 * length:
                check.add(
                    ("crowd", "phases", index, "duration"),
                    f"the series has {shape.row_count} rows of {shape.bin:g}s, {length:g}s in "
                    f"all, but the phase lasts {phase.duration:g}s; write {length:g}s",
                )
        total += float(shape.knots(phase.duration)[:, 1].max())
    if total == 0:
        check.add(("crowd", "phases"), "nobody comes: every phase has level 0")


def _check_personas(scenario: Scenario, check: CrossCheck) -> None:
    crowd = scenario.crowd
    stocked = {item.sku: item for item in scenario.shop.items}
    for name, persona in crowd.personas.items():
        place: Place = ("crowd", "personas", name)
        for sku in persona.wants:
            check.known((*place, "wants", sku), sku, scenario.skus, "sku")
        for channel in persona.channels:
            check.known((*place, "channels", channel), channel, scenario.channel_names, "channel")
        if persona.retry_same_fraction + persona.retry_other_fraction > 1:
            check.add(
                (*place, "retry_same_fraction"),
                "retry_same_fraction + retry_other_fraction exceeds 1; lower one of them",
            )
        limits = [stocked[sku].per_account_limit for sku in persona.wants or stocked
                  if sku in stocked]
        if limits and persona.quantity > max(limits):
            check.add(
                (*place, "quantity"),
                f"wants {persona.quantity} units, but the highest per_account_limit of its items "
                f"is {max(limits)}: it could never buy; raise the limit or lower the quantity",
            )
    if not sum(persona.share for persona in crowd.personas.values()):
        check.add(("crowd", "personas"), "no persona has a share; give one of them a share > 0")
    for index, phase in enumerate(crowd.phases):
        for name in phase.mix:
            mix: Place = ("crowd", "phases", index, "mix", name)
            check.known(mix, name, crowd.personas, "persona")
        if phase.mix and not sum(phase.mix.values()):
            check.add(("crowd", "phases", index, "mix"), "the mix adds up to 0; give it weights")


def _check_service(scenario: Scenario, check: CrossCheck) -> None:
    service = scenario.service
    names = [station.name for station in service.stations]
    for step in ("browse", "reserve", "pay", "poll"):
        for index, passage in enumerate(getattr(service, step) or ()):
            check.known(
                ("service", step, index, "station"), passage.station, names, "station"
            )


def _check_objectives(scenario: Scenario, check: CrossCheck) -> None:
    phase_names = [phase.name for phase in scenario.crowd.phases]
    for index, objective in enumerate(scenario.objectives):
        place: Place = ("objectives", index)
        if objective.phase is not None:
            check.known((*place, "phase"), objective.phase, phase_names, "phase")
        persona = getattr(objective, "persona", None)
        if persona is not None:
            check.known((*place, "persona"), persona, scenario.persona_names, "persona")
        sku = getattr(objective, "sku", None)
        if sku is not None:
            check.known((*place, "sku"), sku, scenario.skus, "sku")


__all__ = ["Place", "Scenario", "cross_check"]
