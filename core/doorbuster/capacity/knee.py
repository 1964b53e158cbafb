"""The knee of a curve: where a little more load begins to cost a lot more waiting.

Kneedle: with both axes scaled to [0, 1], a convex rising curve lies below the diagonal, and its
knee is where it lies furthest below: the largest x - y. A concave one lies above: largest y - x.

Source: V. Satopaa, J. Albrecht, D. Irwin, B. Raghavan, "Finding a 'Kneedle' in a Haystack:
Detecting Knee Points in System Behavior", ICDCS Workshops 2011, section III.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Bend = Literal["convex", "concave"]
POINTS_MIN = 4
"""Fewer points have no shape."""
PROMINENCE_MIN = 0.2
"""A bend that leaves the diagonal by less of the height is no knee: a straight line with noise."""

GROWTH_MIN = 2.0
"""A curve that does not even double from its first point to its highest is flat, and a bend in
what noise is left is no knee."""


def knee_of(x: Sequence[float], y: Sequence[float], bend: Bend) -> int | None:
    """Index of the knee of a rising curve, None where it has none.

    x: rising. y: may hold noise, but no NaN. The curve must leave the straight line between its
    ends by PROMINENCE_MIN of its height, and return to it: the last point is never the knee. It
    must at least double.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(xs) < POINTS_MIN or not np.isfinite(ys).all():
        return None
    width, height = np.ptp(xs), np.ptp(ys)
    if width <= 0 or height <= 0 or ys.max() < GROWTH_MIN * ys[0]:
        return None
    across, up = (xs - xs.min()) / width, (ys - ys.min()) / height
    distance = across - up if bend == "convex" else up - across
    at = int(distance.argmax())
    if distance[at] < PROMINENCE_MIN or at in (0, len(xs) - 1):
        return None
    return at
