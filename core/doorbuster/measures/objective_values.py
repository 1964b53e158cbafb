"""The measure behind each objective: the value whose mean says how close the limit is."""

from __future__ import annotations

from collections.abc import Sequence

from doorbuster.measures.sale_values import SaleMeasure
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import (
    Conversion,
    FailedRequests,
    Objective,
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
        measure = _measure(objective)
        if objective.window is not None:
            window = objective.window
            measure = measure.within(window.start / compress, window.end / compress)
        elif objective.phase is not None:
            if objective.phase not in bounds:
                continue
            measure = measure.within(*bounds[objective.phase])
        found.append(measure)
    return found


def _measure(objective: Objective) -> SaleMeasure:
    name = objective.name
    match objective:
        case ResponseTime():
            return SaleMeasure(name, "response", objective.step, objective.fraction)
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
