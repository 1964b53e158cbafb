"""The arrival rate over time, its integral, and the inverse of the integral.

The rate is a polyline, so its integral is piecewise quadratic and exact, and so is the inverse:
the basis of non-homogeneous Poisson arrivals by inversion. Only additions, multiplications,
divisions and square roots are used: equal on every machine.

Source: L. Devroye, "Non-Uniform Random Variate Generation" (1986), section VI.1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from doorbuster.scenario.crowd import Crowd, Phase
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.shapes import Series

Floats = NDArray[np.float64]
PhaseSpan = tuple[str, float, float]
"""Name, start and end of a phase, seconds from the opening."""


class WindowError(ValueError):
    """A window in which nobody arrives; says which arrivals there are."""


@dataclass(frozen=True)
class Timetable:
    """When how many visitors are expected; built once by `Timetable.of`.

    knot_s, knot_rate_per_s: shape (k,), the polyline of the rate; equal times are a step.
    knot_area: shape (k,), visitors expected up to each knot.
    """

    knot_s: Floats
    knot_rate_per_s: Floats
    knot_area: Floats
    phases: list[PhaseSpan]
    start_s: float
    last_arrival_s: float
    end_s: float
    load_factor: float
    """Multiple of the normal load; where the scenario gives an absolute peak, the implied one."""
    compress: float = 1.0
    """What the times of the scenario were divided by."""

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        *,
        load_factor: float | None = None,
        window: tuple[float, float] | None = None,
        compress: float = 1.0,
    ) -> Self:
        """The timetable of a scenario.

        load_factor: instead of the scenario's own load factor or absolute peak.
        window: only visitors who arrive in [start, end), seconds from the opening.
        compress: divides every time of the timetable (not of the visitors' behaviour); rates a
        second stay, so a day passes in less time with a smaller crowd (thinning).
        Raises: WindowError when the window holds no part of the timetable.
        """
        crowd = scenario.crowd
        spans = sorted(
            ((phase.name, phase.start, phase.start + phase.duration) for phase in crowd.phases),
            key=lambda span: span[1],
        )
        times, levels = _level_polyline(crowd)
        if window is not None:
            times, levels = _clip(times, levels, *window)
            spans = [
                (name, max(start, window[0]), min(end, window[1]))
                for name, start, end in spans
                if start < window[1] and end > window[0]
            ]
        if not spans:
            message = "the window lies between two phases and holds no arrivals; take another one"
            raise WindowError(message)
        times = times / compress
        spans = [(name, start / compress, end / compress) for name, start, end in spans]
        factor = _load_factor(crowd, load_factor)
        rates = levels * (crowd.normal_load_per_s * factor)
        areas = np.concatenate(([0.0], np.cumsum((rates[1:] + rates[:-1]) * 0.5 * np.diff(times))))
        if not areas[-1] > 0:
            message = "the timetable holds no arrivals; take another window or a higher load factor"
            raise WindowError(message)
        last_s = spans[-1][2]
        end_s = last_s + crowd.drain
        return cls(times, rates, areas, spans, spans[0][1], last_s, end_s, factor, compress)

    @property
    def expected_visitors(self) -> float:
        """Mean number of planned visitors."""
        return float(self.knot_area[-1])

    @property
    def peak_rate_per_s(self) -> float:
        """Highest arrival rate."""
        return float(self.knot_rate_per_s.max())

    @property
    def peak_at_s(self) -> float:
        """First moment of the highest rate, seconds from the opening."""
        return float(self.knot_s[int(self.knot_rate_per_s.argmax())])

    def rate_per_s(self, times_s: Floats) -> Floats:
        """Arrival rate at some times; at a step, the rate after it. Shape (n,) to (n,)."""
        index = np.searchsorted(self.knot_s, times_s, side="right") - 1
        inside = (index >= 0) & (index < len(self.knot_s) - 1)
        left = np.clip(index, 0, len(self.knot_s) - 2)
        width = self.knot_s[left + 1] - self.knot_s[left]
        weight = (times_s - self.knot_s[left]) / np.where(width > 0, width, 1.0)
        before, after = self.knot_rate_per_s[left], self.knot_rate_per_s[left + 1]
        return np.where(inside, before + weight * (after - before), 0.0)

    def area(self, times_s: Floats) -> Floats:
        """Visitors expected before some times. Shape (n,) to (n,)."""
        index = np.searchsorted(self.knot_s, times_s, side="right") - 1
        left = np.clip(index, 0, len(self.knot_s) - 2)
        width = self.knot_s[left + 1] - self.knot_s[left]
        into = np.clip(times_s - self.knot_s[left], 0.0, width)
        before, after = self.knot_rate_per_s[left], self.knot_rate_per_s[left + 1]
        slope = (after - before) / np.where(width > 0, width, 1.0)
        return self.knot_area[left] + into * (before + 0.5 * slope * into)

    def expected_arrivals(self, start_s: float, end_s: float) -> float:
        """Mean number of arrivals in [start, end)."""
        before, after = self.area(np.array([start_s, end_s]))
        return float(after - before)

    def time_of_area(self, areas: Floats) -> Floats:
        """The inverse of `area`: when the expected number of arrivals reaches a value.

        Range: 0 <= areas < expected_visitors. Shape (n,) to (n,).
        Solves r0 x + (r1 - r0) / (2 w) x^2 = A for the way x into a segment of width w with
        rates r0 and r1 at its ends, in the form that does not cancel:
        x = 2 A / (r0 + sqrt(r0^2 + 2 A (r1 - r0) / w)).
        """
        left = np.clip(
            np.searchsorted(self.knot_area, areas, side="right") - 1, 0, len(self.knot_s) - 2
        )
        width = self.knot_s[left + 1] - self.knot_s[left]
        before, after = self.knot_rate_per_s[left], self.knot_rate_per_s[left + 1]
        rest = areas - self.knot_area[left]
        slope = (after - before) / np.where(width > 0, width, 1.0)
        root = np.sqrt(np.maximum(before * before + 2.0 * rest * slope, 0.0))
        divisor = before + root
        into = np.where(divisor > 0, 2.0 * rest / np.where(divisor > 0, divisor, 1.0), 0.0)
        times_s: Floats = self.knot_s[left] + np.clip(into, 0.0, width)
        return times_s


def _phase_levels(phase: Phase, normal_load_per_s: float) -> Floats:
    if isinstance(phase.shape, Series):
        return phase.shape.knots(phase.duration, normal_load_per_s)
    return phase.shape.knots(phase.duration)


def _level_polyline(crowd: Crowd) -> tuple[Floats, Floats]:
    """All phases in one polyline; gaps between phases stand at level 0."""
    times: list[Floats] = []
    levels: list[Floats] = []
    for phase in sorted(crowd.phases, key=lambda phase: phase.start):
        knots = _phase_levels(phase, crowd.normal_load_per_s)
        start = phase.start + knots[:, 0]
        if times and start[0] > times[-1][-1]:
            times.append(np.array([times[-1][-1], start[0]]))
            levels.append(np.zeros(2))
        times.append(start)
        levels.append(knots[:, 1])
    joined = np.concatenate(times)
    return np.maximum.accumulate(joined), np.concatenate(levels)


def _clip(times: Floats, levels: Floats, start: float, end: float) -> tuple[Floats, Floats]:
    """The part of a polyline inside [start, end]."""
    if not start < end or end <= times[0] or start >= times[-1]:
        message = (
            f"window {start:g}s..{end:g}s: holds no arrivals; "
            f"the scenario has arrivals from {times[0]:g}s to {times[-1]:g}s"
        )
        raise WindowError(message)
    start, end = max(start, float(times[0])), min(end, float(times[-1]))
    inside = (times > start) & (times < end)
    # At a step, the level after it opens the window and the level before it closes the window.
    first = np.searchsorted(times, start, side="right") - 1
    last = np.searchsorted(times, end, side="left")
    opening = _between(times, levels, int(first), start)
    closing = _between(times, levels, int(last) - 1, end)
    return (
        np.concatenate(([start], times[inside], [end])),
        np.concatenate(([opening], levels[inside], [closing])),
    )


def _between(times: Floats, levels: Floats, left: int, time: float) -> float:
    width = times[left + 1] - times[left]
    weight = (time - times[left]) / width if width > 0 else 0.0
    return float(levels[left] + weight * (levels[left + 1] - levels[left]))


def _load_factor(crowd: Crowd, asked: float | None) -> float:
    if asked is not None:
        return asked
    if crowd.absolute_peak_per_s is None:
        return crowd.load_factor
    top_level = max(
        float(_phase_levels(phase, crowd.normal_load_per_s)[:, 1].max()) for phase in crowd.phases
    )
    return crowd.absolute_peak_per_s / (crowd.normal_load_per_s * top_level)
