"""The last hours of an offer: the countdown draws a crowd that grows until the end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from doorbuster.scenario.base import Part
from doorbuster.scenario.shapes.knots import Knots, Level, curve, polyline


class EndOfOffer(Part):
    """Grows as a power of the elapsed share of the phase: slowly first, steeply at the end."""

    kind: Literal["end_of_offer"]
    """The rush of the last hours."""
    base: Level = 1.0
    """Multiple of the normal load at the start of the phase."""
    peak: Level
    """Multiple of the normal load at its end."""
    power: Annotated[int, Field(ge=1, le=10)] = 3
    """Steepness; 1 is a straight ramp. Default 3, assumed."""

    def knots(self, duration_s: float) -> Knots:
        """The polyline of the level; see `doorbuster.scenario.shapes`."""

        def level(time_s: float) -> float:
            share, grown = time_s / duration_s, 1.0
            for _ in range(self.power):
                grown *= share
            return self.base + (self.peak - self.base) * grown

        return polyline(curve(level, 0.0, duration_s))
