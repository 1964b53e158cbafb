"""What is counted of a sale while it runs, where it is too large to keep every record.

A tally answers what verdicts and tables ask of the records. Counts are exact; only quantiles are
read off a histogram, to 0.1 %. What is to be counted is decided before the sale: `tally_plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np

from doorbuster.measures.columns import STEPS, Floats, Integers
from doorbuster.measures.histogram import Histogram
from doorbuster.measures.sale_values import OF_BOOKS, SaleMeasure
from doorbuster.scenario.model import Scenario

SLICE_BINS = 1200
"""Bins in time of a request count, of which `slices` makes equally full ones."""


class Span(NamedTuple):
    """A stretch of the sale: [start_s, end_s), seconds from T0."""

    start_s: float
    end_s: float


class RequestCount(NamedTuple):
    """Requests to count: of a step or of all, sent in a span.

    limit_s: how many of them are too late, as `latency.too_late` says; a failed one then waits for
    ever. None: how many of the finished ones failed.
    """

    span: Span
    step: str | None
    limit_s: float | None = None


@dataclass(frozen=True)
class TallyPlan:
    """Everything that is to be counted of one sale."""

    spans: tuple[Span, ...]
    """Of visitors, by their arrival."""
    requests: tuple[RequestCount, ...]


def tally_plan(
    spans: Sequence[Span], requests: Sequence[RequestCount], measures: Sequence[SaleMeasure]
) -> TallyPlan:
    """What has to be counted for these and for the values of the measures, each thing once."""
    asked = [Span(m.start_s, m.end_s) for m in measures]
    counts = [
        RequestCount(Span(m.start_s, m.end_s), m.of)
        for m in measures
        if m.kind in ("failed-requests", "response")
    ]
    return TallyPlan(
        tuple(dict.fromkeys((*spans, *asked))), tuple(dict.fromkeys((*requests, *counts)))
    )


@dataclass(frozen=True)
class RequestTally:
    """One `RequestCount` counted; slices: contiguous in time and equally full to a bin.

    trials, events: shape (slices,). response: of the same requests.
    """

    trials: Integers
    events: Integers
    response: Histogram

    @property
    def rate(self) -> float:
        """Share of events; NaN of no trials."""
        total = int(self.trials.sum())
        return float(self.events.sum() / total) if total else float("nan")


@dataclass(frozen=True)
class VisitTally:
    """Visitors of one span. Shapes: visitors, sold, units (personas,), item_units (items,)."""

    visitors: Integers
    sold: Integers
    units: Integers
    item_units: Integers
    paid_cents: int


@dataclass(frozen=True)
class SaleTally:
    """One sale, counted.

    outcomes: shape (personas, outcomes). replies: (steps, replies), of finished requests.
    told, unsure, wrong_price: (items,), for the invariants: visitors with a paid order, those who
    left a reservation without an answer, and those who were told another price than the list's.
    sell_out_s: (items,), NaN where units were left. planned: visitors of the plan.
    requests_told, requests_found: as visitors and as rows of requests say.
    """

    plan: TallyPlan
    visits: tuple[VisitTally, ...]
    requests: tuple[RequestTally, ...]
    outcomes: Integers
    replies: Integers
    told: Integers
    unsure: Integers
    wrong_price: Integers
    sell_out_s: Floats
    planned: int
    requests_told: int
    requests_found: int

    def visits_in(self, span: Span) -> VisitTally:
        """The visitors of a planned span."""
        return self.visits[self.plan.spans.index(span)]

    def requests_of(self, wanted: RequestCount) -> RequestTally:
        """A planned count."""
        return self.requests[self.plan.requests.index(wanted)]

    def value(self, measure: SaleMeasure, scenario: Scenario) -> float:
        """`measure.value` of the same sale, quantiles to 0.1 %. The measure must be planned."""
        span = Span(measure.start_s, measure.end_s)
        if measure.kind in ("failed-requests", "response"):
            counted = self.requests_of(RequestCount(span, measure.of))
            if measure.kind == "response":
                return counted.response.quantile_s(measure.fraction)
            return counted.rate
        if measure.kind in OF_BOOKS:
            return float("nan")  # Nobody keeps books.
        if measure.kind == "sell-out":
            return self._sell_out_s(measure, scenario)
        visits = self.visits_in(span)
        match measure.kind:
            case "units-sold":
                chosen = slice(None) if measure.of is None else scenario.skus.index(measure.of)
                return float(visits.item_units[chosen].sum())
            case "gmv":
                return float(visits.paid_cents)
            case "conversion":
                mine = slice(None) if measure.of is None else _persona(measure, scenario)
                return _share(int(visits.sold[mine].sum()), int(visits.visitors[mine].sum()))
            case "stock-share":
                mine = _persona(measure, scenario)
                return _share(int(visits.units[mine]), int(visits.units.sum()))
        message = f"{measure.kind}: no kind that a tally counts"
        raise ValueError(message)

    def _sell_out_s(self, measure: SaleMeasure, scenario: Scenario) -> float:
        if measure.of is not None:
            return float(self.sell_out_s[scenario.skus.index(measure.of)])
        times_s = [
            time_s
            for time_s, item in zip(self.sell_out_s, scenario.shop.items, strict=True)
            if item.stock
        ]
        return float(max(times_s)) if times_s and not np.isnan(times_s).any() else float("nan")

    # -- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, null for NaN and for endless spans."""
        return {
            "visits": [
                {"span": _span_to_json(span), **_arrays_to_json(tally)}
                for span, tally in zip(self.plan.spans, self.visits, strict=True)
            ],
            "requests": [
                {
                    "span": _span_to_json(count.span),
                    "step": count.step,
                    "limit_s": count.limit_s,
                    "trials": tally.trials.tolist(),
                    "events": tally.events.tolist(),
                    "response": tally.response.to_json(),
                }
                for count, tally in zip(self.plan.requests, self.requests, strict=True)
            ],
            **{name: getattr(self, name).tolist() for name in _WHOLE},
            **{name: getattr(self, name) for name in _NUMBERS},
            "sell_out_s": [None if np.isnan(t) else float(t) for t in self.sell_out_s],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave. Raises: KeyError, TypeError or ValueError for anything else."""
        counts = [
            RequestCount(_span_of(entry["span"]), entry["step"], entry["limit_s"])
            for entry in data["requests"]
        ]
        whole: dict[str, Any] = {
            **{name: np.array(data[name], dtype=np.int64) for name in _WHOLE},
            **{name: int(data[name]) for name in _NUMBERS},
        }
        return cls(
            plan=TallyPlan(tuple(_span_of(e["span"]) for e in data["visits"]), tuple(counts)),
            visits=tuple(
                VisitTally(
                    **{name: np.array(entry[name], dtype=np.int64) for name in _VISIT_ARRAYS},
                    paid_cents=int(entry["paid_cents"]),
                )
                for entry in data["visits"]
            ),
            requests=tuple(
                RequestTally(
                    np.array(entry["trials"], dtype=np.int64),
                    np.array(entry["events"], dtype=np.int64),
                    Histogram.from_json(entry["response"]),
                )
                for entry in data["requests"]
            ),
            **whole,
            sell_out_s=np.array(
                [np.nan if t is None else float(t) for t in data["sell_out_s"]], dtype=np.float64
            ),
        )


_WHOLE = ("outcomes", "replies", "told", "unsure", "wrong_price")
_NUMBERS = ("planned", "requests_told", "requests_found")
_VISIT_ARRAYS = ("visitors", "sold", "units", "item_units")


def slices(bins: Integers, slice_count: int) -> Integers:
    """Adds bins in time up to slices that are as equally full as whole bins allow.

    bins: trials (row 0) and events (row 1) by bin, shape (2, bins). Result: shape (2, slices).
    """
    trials = bins[0]
    before = np.cumsum(trials) - trials
    # The slice in which the middle of the bin lies.
    number = (2 * before + trials) * slice_count // max(2 * int(trials.sum()), 1)
    number = np.minimum(number, slice_count - 1)
    found = np.zeros((2, slice_count), dtype=np.int64)
    for row in range(2):
        np.add.at(found[row], number, bins[row])
    return found


def step_code(step: str | None) -> int:
    """The step's place in STEPS, -1 for all steps."""
    return -1 if step is None else STEPS.index(step)


def _persona(measure: SaleMeasure, scenario: Scenario) -> int:
    assert measure.of is not None
    return list(scenario.persona_names).index(measure.of)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _span_to_json(span: Span) -> list[float | None]:
    return [float(edge) if np.isfinite(edge) else None for edge in span]


def _span_of(data: list[float | None]) -> Span:
    start_s, end_s = data
    return Span(-np.inf if start_s is None else start_s, np.inf if end_s is None else end_s)


def _arrays_to_json(tally: VisitTally) -> dict[str, Any]:
    values = {field.name: getattr(tally, field.name) for field in fields(tally)}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
