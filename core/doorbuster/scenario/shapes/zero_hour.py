"""The opening of a sale: a true step, a plateau, and a decay."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doorbuster.scenario.base import Part
from doorbuster.scenario.durations import Duration, PositiveDuration
from doorbuster.scenario.shapes.knots import Knots, Level, curve, decay, polyline


class ZeroHour(Part):
    """Steps to the peak at once, holds it, then falls exponentially towards a floor."""

    kind: Literal["zero_hour"]
    """The opening of a sale."""
    peak: Level = 10.0
    """Multiple of the normal load at the opening. Default 10: in the first minute of Double 11 in
    2011 payments stood at ten times the minute before."""
    hold: Duration = 0.0
    """How long the peak lasts before it falls."""
    half_life: PositiveDuration
    """Time in which the distance to the floor halves."""
    floor: Level = Field(default=1.0)
    """Multiple of the normal load that the decay tends to."""

    def knots(self, duration_s: float) -> Knots:
        """The polyline of the level; see `doorbuster.scenario.shapes`."""
        hold_s = min(self.hold, duration_s)
        held = [(0.0, self.peak), (hold_s, self.peak)] if hold_s else []
        if hold_s >= duration_s:
            return polyline(held)
        time_constant_s = self.half_life / 0.6931471805599453

        def level(time_s: float) -> float:
            return decay(self.peak, self.floor, time_s - hold_s, time_constant_s)

        return polyline(held + curve(level, hold_s, duration_s))
