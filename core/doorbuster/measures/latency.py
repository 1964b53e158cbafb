"""The three latencies, kept apart: dispatch delay + service = response.

dispatch delay = sent - intended   the load generator's lateness
service        = done - sent       what the target needed, as a client sees it
response       = done - intended   what the visitor waited; objectives speak about this one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from doorbuster.measures.columns import STEPS, Floats, Integers, Mask, Requests, take
from doorbuster.measures.intervals import Interval, mean_interval, quantile_interval
from doorbuster.measures.quantiles import quantile
from doorbuster.vocabulary import FAILED_REPLIES

FAILED_CODES = np.array([int(reply) for reply in FAILED_REPLIES])


def dispatch_delay_s(requests: Requests) -> Floats:
    """Sent minus intended, seconds; NaN for a request that was never sent."""
    return requests.sent_s - requests.intended_s


def service_s(requests: Requests) -> Floats:
    """Done minus sent, seconds; NaN for a request without an end."""
    return requests.done_s - requests.sent_s


def response_s(requests: Requests) -> Floats:
    """Done minus intended, seconds; NaN for a request without an end."""
    return requests.done_s - requests.intended_s


def failed(requests: Requests) -> Mask:
    """Requests that timed out, were refused as overloaded or ended in an error."""
    return np.isin(requests.reply, FAILED_CODES)


def finished(requests: Requests) -> Mask:
    """Requests that have an end; the others were under way when the run ended."""
    return ~np.isnan(requests.done_s)


def too_late(requests: Requests, limit_s: float, end_s: float) -> tuple[Mask, Mask]:
    """Which requests count for a response-time objective, and which of those are too late.

    Too late: answered after the limit, failed at any time, or still unanswered after the limit at
    the end of the sale (end_s). A request that the end overtook earlier does not count.
    """
    ended = finished(requests)
    waited_s = np.where(ended, response_s(requests), end_s - requests.intended_s)
    late = (ended & failed(requests)) | (waited_s > limit_s)
    return ended | late, late


def backlog(requests: Requests, at_s: Floats) -> Integers:
    """Requests sent and not yet answered at each moment."""
    sent = np.sort(requests.sent_s[~np.isnan(requests.sent_s)])
    done = np.sort(requests.done_s[finished(requests) & ~np.isnan(requests.sent_s)])
    open_count = np.searchsorted(sent, at_s, side="right") - np.searchsorted(
        done, at_s, side="right"
    )
    return open_count.astype(np.int64)


@dataclass(frozen=True)
class LatencyRow:
    """Quantiles of one latency of one step, seconds, over everything that has an end.

    Failed requests are in it with the time at which they ended. Of several replications: means of
    their counts and quantiles, and the largest maximum.
    """

    step: str
    latency: str
    count: float
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float
    p95_interval: Interval | None


LATENCIES = {
    "response": response_s,
    "service": service_s,
    "dispatch_delay": dispatch_delay_s,
}


def latency_rows(replications: Sequence[Requests]) -> list[LatencyRow]:
    """One row a step and latency, steps without requests left out; `all` steps come last.

    The interval of p95 is over replications, or by sectioning where there is only one.
    """
    rows = []
    for code, step in [*enumerate(STEPS), (-1, "all")]:
        chosen = [r if step == "all" else take(r, r.step == code) for r in replications]
        for latency in LATENCIES:
            row = _row(step, latency, chosen)
            if row is not None:
                rows.append(row)
    return rows


def _row(step: str, latency: str, replications: Sequence[Requests]) -> LatencyRow | None:
    samples = [(LATENCIES[latency](requests), requests.intended_s) for requests in replications]
    known = [(values[m], times[m]) for values, times in samples if (m := ~np.isnan(values)).any()]
    if not known:
        return None
    found = np.array([[quantile(v, fraction) for v, _ in known] for fraction in (0.5, 0.95, 0.99)])
    p50, p95, p99 = (float(mean) for mean in found.mean(axis=1))
    interval = mean_interval(found[1])
    if len(known) == 1:
        interval = quantile_interval(*known[0], 0.95)
    total = sum(len(values) for values, _ in known) / len(replications)
    top = max(float(values.max()) for values, _ in known)
    return LatencyRow(step, latency, total, p50, p95, p99, top, interval)
