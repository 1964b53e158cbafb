"""A picture of a plan: expected arrivals with their sampling error, and the arrivals drawn."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from doorbuster.plan.plan import Plan
from doorbuster.plan.timetable import Floats, Timetable

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 56, 52
DEFAULT_BIN_COUNT = 240
ERRORS_SHOWN = 3.0
"""Half-width of the band in standard errors of a Poisson count, sqrt(mean)."""
_TICK_STEPS = (1.0, 2.0, 5.0, 10.0)
_TIME_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True)
class BinnedPlan:
    """Arrivals by bins of time. Shapes: edges_s (n + 1,), expected and drawn (n,)."""

    edges_s: Floats
    expected: Floats
    drawn: Floats

    @property
    def z_scores(self) -> Floats:
        """How many standard errors each drawn count lies from its mean; 0 where none is due."""
        error = np.sqrt(self.expected)
        return np.divide(
            self.drawn - self.expected, error, out=np.zeros_like(error), where=error > 0
        )


def bin_plan(timetable: Timetable, plan: Plan, bin_s: float | None = None) -> BinnedPlan:
    """Expected and drawn arrivals in bins of `bin_s` seconds; default: 240 bins."""
    length_s = timetable.last_arrival_s - timetable.start_s
    count = DEFAULT_BIN_COUNT if bin_s is None else max(1, round(length_s / bin_s))
    edges_s = np.linspace(timetable.start_s, timetable.last_arrival_s, count + 1)
    expected = np.diff(timetable.area(edges_s))
    drawn = np.histogram(plan.arrival_s, edges_s)[0].astype(np.float64)
    return BinnedPlan(edges_s, expected, drawn)


class _Frame:
    """Maps time and arrivals a second to the pixels of the picture."""

    def __init__(self, start_s: float, end_s: float, top_rate: float) -> None:
        self._start_s, self._span_s = start_s, end_s - start_s
        self._top_rate = top_rate

    def x(self, time_s: Floats) -> Floats:
        return LEFT + (time_s - self._start_s) / self._span_s * (WIDTH - LEFT - RIGHT)

    def y(self, rate: Floats) -> Floats:
        return HEIGHT - BOTTOM - rate / self._top_rate * (HEIGHT - TOP - BOTTOM)


def draw_plan(binned: BinnedPlan, *, title: str) -> str:
    """The picture as SVG: a band for the expectation, a dot for each bin's arrivals."""
    width_s = float(binned.edges_s[1] - binned.edges_s[0])
    middle_s = (binned.edges_s[1:] + binned.edges_s[:-1]) / 2
    error = ERRORS_SHOWN * np.sqrt(binned.expected)
    upper = (binned.expected + error) / width_s
    lower = np.maximum(binned.expected - error, 0) / width_s
    drawn = binned.drawn / width_s
    top_rate = float(max(upper.max(), drawn.max())) * 1.05
    frame = _Frame(float(binned.edges_s[0]), float(binned.edges_s[-1]), top_rate)
    band = _path(frame, np.repeat(binned.edges_s, 2)[1:-1], np.repeat(upper, 2))
    back = _path(frame, np.repeat(binned.edges_s, 2)[1:-1][::-1], np.repeat(lower, 2)[::-1])
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.9"/>'
        for x, y in zip(frame.x(middle_s), frame.y(drawn), strict=True)
    )
    legend = f"band: expected ± {ERRORS_SHOWN:g} standard errors; dots: arrivals drawn"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="12" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
            f'<text x="{LEFT}" y="41" fill="#555">{escape(legend)}</text>',
            _time_axis(frame, binned.edges_s),
            _rate_axis(frame, top_rate),
            f'<path d="M{band}L{back}Z" fill="#2b6cb0" fill-opacity="0.28"/>',
            f'<g fill="#1a202c">{dots}</g>',
            "</svg>",
            "",
        ]
    )


def _path(frame: _Frame, times_s: Floats, rates: Floats) -> str:
    pairs = zip(frame.x(times_s), frame.y(rates), strict=True)
    return "L".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _ticks(low: float, high: float) -> Floats:
    """Five to ten round numbers in [low, high]."""
    raw = (high - low) / 8
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(step * power for step in _TICK_STEPS if step * power >= raw)
    ticks: Floats = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return ticks


def _time_axis(frame: _Frame, edges_s: Floats) -> str:
    start_s, end_s = float(edges_s[0]), float(edges_s[-1])
    unit, size_s = next(
        (unit, size) for unit, size in _TIME_UNITS if end_s - start_s >= 3 * size or size == 1.0
    )
    base = HEIGHT - BOTTOM
    parts = [f'<path d="M{LEFT},{base}H{WIDTH - RIGHT}" stroke="#555"/>']
    for tick in _ticks(start_s / size_s, end_s / size_s):
        x = float(frame.x(np.array([tick * size_s]))[0])
        parts.append(f'<path d="M{x:.1f},{base}v5" stroke="#555"/>')
        parts.append(f'<text x="{x:.1f}" y="{base + 19}" text-anchor="middle">{tick:g}</text>')
    label = f"time from the opening ({unit})"
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f"{label}</text>"
    )
    return "".join(parts)


def _rate_axis(frame: _Frame, top_rate: float) -> str:
    parts = []
    for tick in _ticks(0.0, top_rate):
        y = float(frame.y(np.array([tick]))[0])
        parts.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(16,{middle}) rotate(-90)" text-anchor="middle">'
        "arrivals a second</text>"
    )
    return "".join(parts)
