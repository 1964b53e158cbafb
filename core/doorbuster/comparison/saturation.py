"""Did requests pile up? A server that is asked for more than it can do answers later and later.

It tells a saturated server from a wrong model: when the load exceeds the capacity, the share
1 - capacity/load of what is sent stays unanswered, however well a model knows the service times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from doorbuster.measures.columns import Requests, take
from doorbuster.measures.latency import backlog, service_s
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.series import bins_over
from doorbuster.vocabulary import Action

PILED_UP_SHARE = 0.10
"""From 10 % unanswered growth on, the load exceeds the capacity by 11 % or more."""
PILED_UP_MIN = 30
"""Smaller backlogs are what a step of the load leaves in any server."""
SLOWED_DOWN = 5.0
"""In a pile-up the typical request takes a multiple of what an undisturbed one takes. Without that,
a shop that is slow but keeps up would look saturated while its load rises."""
_WINDOW_S = 3.0


@dataclass(frozen=True)
class Saturation:
    """The worst pile-up of a run. Times in seconds from T0."""

    start_s: float
    end_s: float
    piled_up: int
    sent: int
    slow_down: float
    """Median service time in the pile-up over the 1 % quantile of the whole run."""

    @property
    def share(self) -> float:
        """Share of the requests sent in the window by which the backlog grew."""
        return self.piled_up / self.sent if self.sent else 0.0

    @property
    def saturated(self) -> bool:
        """Whether it is more than a step of the load explains."""
        return (
            self.share >= PILED_UP_SHARE
            and self.piled_up >= PILED_UP_MIN
            and self.slow_down >= SLOWED_DOWN
        )


def saturation_of(requests: Requests, start_s: float, end_s: float) -> Saturation:
    """The window of three seconds in which the backlog grew most.

    Payments are left out: while the provider is thinking, the shop is not.
    """
    requests = take(requests, requests.step != Action.PAY - 1)
    bins = bins_over(start_s, end_s)
    edges = bins.edges_s
    width = min(max(round(_WINDOW_S / bins.width_s), 1), bins.bin_count)
    levels = backlog(requests, edges)
    growth = levels[width:] - levels[:-width]
    first = int(np.argmax(growth))
    low_s, high_s = float(edges[first]), float(edges[first + width])
    inside = (requests.sent_s >= low_s) & (requests.sent_s < high_s)
    times = service_s(requests)
    calm = quantile(times[~np.isnan(times)], 0.01)
    typical = quantile(times[inside & ~np.isnan(times)], 0.5)
    slow_down = typical / calm if calm > 0 and np.isfinite(typical) else 1.0
    return Saturation(low_s, high_s, int(growth[first]), int(inside.sum()), slow_down)
