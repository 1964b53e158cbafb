"""The measure behind each objective: the value whose mean says how close the limit is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from doorbuster.measures.sale_values import SaleMeasure
from doorbuster.measures.tally import RequestCount, Span, TallyPlan, tally_plan
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import (
    Conversion,
    FailedRequests,
    Objective,
    RefundTime,
    ResponseTime,
    SellOut,
    StockShare,
    UnitsSold,
)


def objective_measures(
    scenario: Scenario, phases: Sequence[tuple[str, float, float]], compress: float
) -> list[SaleMeasure]:
    """One measure an objective, under the objective's name; those the run leaves out are none.

    phases: as they are run, with start and end in seconds from T0. compress: how many times
    faster than the scenario's timetable.
    """
    bounds = {name: (start_s, end_s) for name, start_s, end_s in phases}
    found = []
    for objective in scenario.objectives:
        measure = measure_of(objective)
        if objective.window is not None:
            window = objective.window
            measure = measure.within(window.start / compress, window.end / compress)
        elif objective.phase is not None:
            if objective.phase not in bounds:
                continue
            measure = measure.within(*bounds[objective.phase])
        found.append(measure)
    return found


def measure_of(objective: Objective) -> SaleMeasure:
    """The measure behind an objective, of the whole sale."""
    name = objective.name
    match objective:
        case ResponseTime():
            return SaleMeasure(name, "response", objective.step, objective.fraction)
        case RefundTime():
            return SaleMeasure(name, "refund", None, objective.fraction)
        case FailedRequests():
            return SaleMeasure(name, "failed-requests", objective.step)
        case Conversion():
            return SaleMeasure(name, "conversion", objective.persona)
        case StockShare():
            return SaleMeasure(name, "stock-share", objective.persona)
        case SellOut():
            return SaleMeasure(name, "sell-out", objective.sku)
        case UnitsSold():
            return SaleMeasure(name, "units-sold", objective.sku)


def request_count_of(objective: ResponseTime | FailedRequests, span: Span) -> RequestCount:
    """What a tally must count for this objective."""
    limit_s = objective.at_most if isinstance(objective, ResponseTime) else None
    return RequestCount(span, objective.step, limit_s)


def tally_plan_of(
    scenario: Scenario,
    phases: Sequence[tuple[str, float, float]],
    compress: float,
    measures: Sequence[SaleMeasure],
) -> TallyPlan:
    """What a tally must count so that a verdict can be given and the measures have values.

    phases, compress: as in `objective_measures`.
    """
    by_name = {objective.name: objective for objective in scenario.objectives}
    spans, counts = [Span(-np.inf, np.inf)], []
    for measure in objective_measures(scenario, phases, compress):
        objective, span = by_name[measure.name], Span(measure.start_s, measure.end_s)
        if isinstance(objective, ResponseTime | FailedRequests):
            counts.append(request_count_of(objective, span))
        else:
            spans.append(span)
    return tally_plan(spans, counts, measures)
