"""The curves of the page as plain data; the page's script only draws them.

A chart is {x, x_kind, y_unit, log, series, bands, phases, faults}. `label` is a key of the
catalogues or, where it begins with `=`, a machine name. `y` holds null where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from doorbuster.measures.columns import OUTCOMES, REPLIES, STEPS, Floats, Requests, take
from doorbuster.measures.fault_times import FAULT_KINDS, fault_times_of
from doorbuster.measures.latency import backlog
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.series import (
    Bins,
    arrivals_per_s,
    bins_over,
    orders_per_s,
    outcomes_per_s,
    replies_per_s,
    reservations_per_s,
    response_quantiles_s,
    stock_level,
)
from doorbuster.report.sides import Side

Chart = dict[str, Any]
ByReplication = Callable[[RunRecords, int], Floats]

BAND = (0.05, 0.95)
"""The band holds the middle 90 % of the simulated sales; of few sales it is all of them."""


def charts_of(sides: list[Side]) -> dict[str, Chart]:
    """Every chart of the page by its name."""
    records = sides[0].records
    bins = bins_over(
        min(side.records.start_s for side in sides), max(side.records.end_s for side in sides)
    )
    charts = {
        "stock": _stock(sides, bins),
        "flow": _flow(sides, bins),
        "backlog": _backlog(sides, bins),
        "outcomes": _stacked(
            OUTCOMES, outcomes_per_s(records.visits_in(0), bins), bins, "outcome", "visitors_per_s"
        ),
        "replies": _stacked(
            REPLIES, replies_per_s(records.requests_in(0), bins), bins, "reply", "requests_per_s"
        ),
        **{f"response.{step}": _response(sides, bins, step) for step in ("all", *STEPS)},
    }
    times = {
        "phases": [[phase.name, phase.start_s, phase.end_s] for phase in records.phases],
        "faults": shaded_faults(sides),
    }
    return {name: {**chart, **times} for name, chart in charts.items() if chart["series"]}


def shaded_faults(sides: list[Side]) -> list[list[Any]]:
    """Label, begin and end of the faults of every side; only those of the first have a label."""
    found: list[list[Any]] = []
    for side in sides:
        is_first = not found  # Of the sides with faults.
        for kind, begun_s, ended_s in fault_times_of(side.records.run):
            label = f"fault_name.{kind}" if kind in FAULT_KINDS else f"={kind}"
            found.append([label if is_first else "=", begun_s, ended_s])
    return found


def _stock(sides: list[Side], bins: Bins) -> Chart:
    """Units left to reserve and units paid, all items together."""
    chart = _chart(bins.edges_s, "units")
    for column, dash in (("available", False), ("sold", True)):
        for side in reversed(sides):
            if not len(side.records.stock.at_s):
                continue

            def level(records: RunRecords, replication: int, column: str = column) -> Floats:
                stock = records.stock_in(replication)
                items = enumerate(records.stock_units)
                levels = [stock_level(stock, column, i, bins.edges_s, n) for i, n in items]
                return sum(levels, np.zeros(len(bins.edges_s)))

            _add(chart, side, level, f"chart.stock.{column}", side.role, dash=dash, band=True)
    return chart


def _flow(sides: list[Side], bins: Bins) -> Chart:
    """Offered, admitted and sold a second."""
    chart = _chart(_stairs(bins), "per_s", stepped=True)
    curves = (
        ("offered", arrivals_per_s),
        ("admitted", reservations_per_s),
        ("sold", orders_per_s),
    )
    for position, side in reversed(list(enumerate(sides))):
        for name, rate in curves:

            def curve(records: RunRecords, replication: int, rate: Any = rate) -> Floats:
                return _on_stairs(rate(records.visits_in(replication), bins))

            _add(
                chart,
                side,
                curve,
                f"chart.flow.{name}",
                name,
                dash=position > 0,
                band=len(sides) == 1,
            )
    return chart


def _backlog(sides: list[Side], bins: Bins) -> Chart:
    """Requests sent and not yet answered."""
    chart = _chart(bins.edges_s, "requests")
    for side in reversed(sides):
        if len(side.records.requests.visitor):

            def level(records: RunRecords, replication: int) -> Floats:
                open_requests = backlog(records.requests_in(replication), bins.edges_s)
                return open_requests.astype(np.float64)

            _add(chart, side, level, "chart.backlog.open", side.role, band=True)
    return chart


def _response(sides: list[Side], bins: Bins, step: str) -> Chart:
    """Response percentiles by the moment at which a request was intended."""
    centres = bins.starts_s + bins.width_s / 2
    chart = _chart(centres, "s", log=True)
    for position, side in reversed(list(enumerate(sides))):
        requests = _of_step(side.records.requests, step)
        if not len(requests.visitor):
            continue
        fractions = (0.5, 0.95, 0.99)[: 2 if position else 3]  # Two lines of the other side do.
        quantiles = response_quantiles_s(requests, bins, fractions)
        for fraction, values in zip(fractions, quantiles, strict=True):
            if np.isfinite(values).any():
                name = f"p{fraction * 100:g}"
                entry = _series(chart, values, f"={name}", name, dash=position > 0)
                entry["side"] = side.label
    return chart


def _of_step(requests: Requests, step: str) -> Requests:
    return requests if step == "all" else take(requests, requests.step == STEPS.index(step))


def _stacked(names: tuple[str, ...], rates: Floats, bins: Bins, kind: str, unit: str) -> Chart:
    """A stack of rates, one layer a word that occurs; layers hold their own value, not the sum."""
    chart = _chart(_stairs(bins), unit, stepped=True)
    chart["stacked"] = True
    for code, name in enumerate(names):
        if rates[:, code].any():
            _series(chart, _on_stairs(rates[:, code]), f"{kind}_name.{name}", f"{kind}-{name}")
    return chart


def _chart(x: Floats, unit: str, *, log: bool = False, stepped: bool = False) -> Chart:
    return {
        "x": _numbers(x),
        "unit": unit,
        "log": log,
        "stepped": stepped,
        "stacked": False,
        "series": [],
    }


def _add(
    chart: Chart,
    side: Side,
    curve: ByReplication,
    label: str,
    colour: str,
    *,
    dash: bool = False,
    band: bool = False,
) -> None:
    """One line: the sale itself, or the median of several with the band around it."""
    if not side.records.replications:
        return
    curves = np.array([curve(side.records, number) for number in side.records.replications])
    entry = _series(chart, np.median(curves, axis=0), label, colour, dash=dash)
    entry["side"] = side.label
    if band and side.repeated:
        low, high = np.quantile(curves, BAND, axis=0, method="inverted_cdf")
        entry["low"], entry["high"] = _numbers(low), _numbers(high)


def _series(
    chart: Chart, values: Floats, label: str, colour: str, *, dash: bool = False
) -> dict[str, Any]:
    entry = {"label": label, "colour": colour, "dash": dash, "y": _numbers(values)}
    chart["series"].append(entry)
    return entry


def _stairs(bins: Bins) -> Floats:
    """Left edges of the bins and the end of the last, for a staircase."""
    return bins.edges_s


def _on_stairs(rates: Floats) -> Floats:
    return np.append(rates, rates[-1:])


def _numbers(values: Floats) -> list[float | None]:
    """Four significant digits are more than a pixel shows."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


__all__ = ["BAND", "charts_of", "shaded_faults"]
