"""A short burst on top of a base, such as a coupon drop or a push message."""

from __future__ import annotations

from typing import Literal

from doorbuster.scenario.base import Part
from doorbuster.scenario.durations import Duration, PositiveDuration
from doorbuster.scenario.shapes.knots import Knots, Level, polyline


class Pulse(Part):
    """A base level with one triangular burst."""

    kind: Literal["pulse"]
    """A burst, such as a coupon drop."""
    base: Level = 1.0
    """Multiple of the normal load outside the burst."""
    peak: Level
    """Multiple of the normal load at the top."""
    at: Duration = 0.0
    """Start of the rise, from the start of the phase."""
    rise: Duration = 0.0
    """Time from base to peak; 0 is a step."""
    fall: PositiveDuration
    """Time from peak back to base."""

    def knots(self, duration_s: float) -> Knots:
        """The polyline of the level; see `doorbuster.scenario.shapes`."""
        top_s, end_s = self.at + self.rise, self.at + self.rise + self.fall
        points = [(0.0, self.base), (self.at, self.base), (top_s, self.peak), (end_s, self.base)]
        inside = [point for point in points if point[0] < duration_s]
        if end_s < duration_s:
            return polyline([*inside, (duration_s, self.base)])
        before, after = inside[-1], points[len(inside)]
        weight = (duration_s - before[0]) / (after[0] - before[0])
        return polyline([*inside, (duration_s, before[1] + weight * (after[1] - before[1]))])
