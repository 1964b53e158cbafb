"""The scenario: everything that both worlds must know about one sale."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doorbuster.scenario.base import Name, Part
from doorbuster.scenario.crowd import Crowd
from doorbuster.scenario.faults import Fault
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
    """One line for people."""
    shop: Shop
    """What is for sale, and for how long a reservation keeps it."""
    crowd: Crowd
    """Who comes, when, and how they behave."""
    payments: Payments
    """How buyers pay."""
    service: Service
    """What the simulated world must know about the system under test."""
    faults: list[Fault] = Field(default_factory=list, max_length=1_000)
    """What breaks during the sale, and when (docs/faults.md)."""
    objectives: list[Objective] = Field(default_factory=list, max_length=1_000)
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


__all__ = ["Scenario"]
