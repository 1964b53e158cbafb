"""A straight rise or fall, such as the crowd that gathers before the opening."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doorbuster.scenario.base import Part
from doorbuster.scenario.shapes.knots import Knots, Level, polyline


class Ramp(Part):
    """From one level to another in a straight line."""

    kind: Literal["ramp"]
    """A straight rise or fall."""
    start_level: Level = Field(default=0.0, alias="from")
    """Multiple of the normal load at the start of the phase."""
    end_level: Level = Field(alias="to")
    """Multiple of the normal load at its end."""

    def knots(self, duration_s: float) -> Knots:
        """The polyline of the level; see `doorbuster.scenario.shapes`."""
        return polyline([(0.0, self.start_level), (duration_s, self.end_level)])
