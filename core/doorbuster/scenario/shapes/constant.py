"""A level that stays."""

from __future__ import annotations

from typing import Literal

from doorbuster.scenario.base import Part
from doorbuster.scenario.shapes.knots import Knots, Level, polyline


class Constant(Part):
    """The same rate through the whole phase."""

    kind: Literal["constant"]
    """A level that stays."""
    level: Level = 1.0
    """Multiple of the normal load."""

    def knots(self, duration_s: float) -> Knots:
        """The polyline of the level; see `doorbuster.scenario.shapes`."""
        return polyline([(0.0, self.level), (duration_s, self.level)])
