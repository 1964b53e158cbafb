"""The scenario's objectives, judged in three ways: pass, fail, or not enough evidence for either.

Objectives about requests are tested as rates: `p95 <= L` says that at most 5 % are later than L.
The bound of that rate decides, not the point value. Objectives about the whole sale are plain
values; where there are replications, the interval of their mean decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from doorbuster.measures.columns import Floats
from doorbuster.measures.intervals import (
    Interval,
    Rate,
    mean_interval,
    rate_over_slices,
    trials_needed,
)
from doorbuster.measures.run_records import RunRecords
from doorbuster.report.numbers import count, duration, percent, quantity
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
from doorbuster.verdict.checks import Bound, Check, Status, Unit
from doorbuster.verdict.evidence import refund_evidence, request_evidence, sale_values, sold_out_at

BOUND_CONFIDENCE = 0.95

FAR_ABOVE = 3.0
FAR_ABOVE_FROM = 30
"""So many failures, and more than three times the budget, fail one sale whatever its slices say.

Failures that come in one heap leave the bound of the ratio estimator wide. But one sale ends, and
these requests did fail in it: no later quiet time of the same sale takes them back.
"""


def objective_checks(records: RunRecords) -> list[Check]:
    """One row an objective, in the order of the file."""
    return [_judge(records, objective) for objective in records.scenario.objectives]


def _judge(records: RunRecords, objective: Objective) -> Check:
    scope = _scope(records, objective)
    if scope is None:
        return _row(objective, "not_applicable", "check.objective.outside", {})
    if isinstance(objective, ResponseTime | FailedRequests | RefundTime):
        return _judge_requests(records, objective, scope)
    if isinstance(objective, SellOut):
        return _judge_sell_out(records, objective)
    return _judge_sale(records, objective, scope)


def _scope(records: RunRecords, objective: Objective) -> tuple[float, float] | None:
    """Start and end of what the objective speaks about; None when the run left that out."""
    if objective.window is not None:
        compress = float(records.run.get("compress") or 1.0)
        return objective.window.start / compress, objective.window.end / compress
    if objective.phase is None:
        return -np.inf, np.inf
    for phase in records.phases:
        if phase.name == objective.phase:
            return phase.start_s, phase.end_s
    return None


# --- rates over requests ---


def _judge_requests(
    records: RunRecords,
    objective: ResponseTime | FailedRequests | RefundTime,
    scope: tuple[float, float],
) -> Check:
    is_time = not isinstance(objective, FailedRequests)
    budget = objective.at_most if isinstance(objective, FailedRequests) else 1 - objective.fraction
    limit_s = _limit_s(records, objective)
    if isinstance(objective, RefundTime):
        evidence = refund_evidence(records, objective, scope, limit_s)
    else:
        evidence = request_evidence(records, objective, scope)
    if evidence is None:
        template = f"check.objective.{objective.kind}.no_data"
        return _row(objective, "inconclusive", template, {}, limit=budget, unit="fraction")
    rate = rate_over_slices(evidence.events, evidence.trials, confidence=BOUND_CONFIDENCE)
    status, variant = _three_way(rate, budget)
    if status == "inconclusive" and evidence.sale_count == 1 and not is_time:
        status, variant = _far_above(rate, budget) or (status, variant)
    step = getattr(objective, "step", None)
    facts = {
        "bad": percent(rate.rate),
        "budget": percent(budget),
        "count": count(rate.trials),
        "events": count(rate.events),
        "times": f"{rate.rate / budget:.1f}" if budget else "",
        "low": percent(rate.lower),
        "high": percent(rate.upper),
        "design_effect": f"{rate.design_effect:.1f}",
        "needed": count(trials_needed(budget)) if 0 < budget < 1 else "",
        "worth": count(int(rate.trials / rate.design_effect)),
        "step": f"@step.{step}" if step else "@all.steps",
    }
    if not isinstance(objective, FailedRequests):
        facts |= {
            "limit": duration(limit_s),
            "quantile": duration(evidence.quantile_s),
            "percentile": f"p{objective.fraction * 100:g}",
        }
    return _row(
        objective,
        status,
        f"check.objective.{objective.kind}.{variant}",
        facts,
        value=rate.rate,
        limit=budget,
        unit="fraction",
        interval=rate.interval,
    )


def _limit_s(records: RunRecords, objective: ResponseTime | FailedRequests | RefundTime) -> float:
    """The time that must be kept; of refunds, by default what the shop promises."""
    promise = records.scenario.shop.refund
    if isinstance(objective, RefundTime) and objective.at_most is None and promise is not None:
        return promise.within_s
    return float("inf") if objective.at_most is None else objective.at_most


def _three_way(rate: Rate, budget: float) -> tuple[Status, str]:
    """The status, and which sentence says it."""
    if budget <= 0:
        # No sample can show that something never happens: it is a statement about this run.
        return ("fail", "fail") if rate.events else ("pass", "none_allowed")
    if rate.upper <= budget:
        return "pass", "pass"
    if rate.lower > budget:
        return "fail", "fail"
    if rate.trials / rate.design_effect < trials_needed(budget, confidence=BOUND_CONFIDENCE):
        return "inconclusive", "too_few"
    return "inconclusive", "inconclusive"


def _far_above(rate: Rate, budget: float) -> tuple[Status, str] | None:
    """A failed sale that its own clustering would leave open."""
    if rate.events >= FAR_ABOVE_FROM and rate.rate > FAR_ABOVE * budget:
        return "fail", "far_above"
    return None


# --- values of the whole sale ---


@dataclass(frozen=True)
class _Limit:
    """One side that a value must not pass."""

    value: float
    bound: Bound

    def holds(self, value: float) -> bool:
        return value <= self.value if self.bound == "at_most" else value >= self.value


def _judge_sale(
    records: RunRecords, objective: Conversion | StockShare | UnitsSold, scope: tuple[float, float]
) -> Check:
    values = sale_values(records, objective, scope)
    if isinstance(objective, StockShare):
        limit = _Limit(objective.at_most, "at_most")
    elif isinstance(objective, Conversion):
        limit = _Limit(objective.at_least, "at_least")
    else:
        limit = _Limit(objective.at_least_fraction, "at_least")
    facts = {"persona": getattr(objective, "persona", None) or "@all.personas"}
    return _judge_values(objective, values, limit, facts, "fraction")


def _judge_values(
    objective: Objective, values: Floats, limit: _Limit, facts: dict[str, str], unit: Unit
) -> Check:
    """Three-way over replications; a single sale is compared as it is."""
    values = values[~np.isnan(values)]
    common: dict[str, Any] = {"limit": limit.value, "bound": limit.bound, "unit": unit}
    facts = {**facts, "limit": quantity(limit.value, unit), "replications": count(len(values))}
    if not len(values):
        template = f"check.objective.{objective.kind}.no_data"
        return _row(objective, "inconclusive", template, facts, **common)
    value = float(values.mean())
    # Two one-sided bounds of 95 %, as for rates.
    interval = mean_interval(values, confidence=2 * BOUND_CONFIDENCE - 1)
    facts |= {"value": quantity(value, unit), "interval": _interval_text(interval, unit)}
    status = _status_of(value, interval, limit)
    template = f"check.objective.{objective.kind}.{limit.bound}.{status}"
    return _row(objective, status, template, facts, value=value, interval=interval, **common)


def _status_of(value: float, interval: Interval | None, limit: _Limit) -> Status:
    if interval is None:
        return "pass" if limit.holds(value) else "fail"
    sides = {limit.holds(interval.low), limit.holds(interval.high)}
    if len(sides) > 1:
        return "inconclusive"
    return "pass" if sides.pop() else "fail"


def _interval_text(interval: Interval | None, unit: Unit) -> str:
    if interval is None or interval.high <= interval.low:
        return ""
    return f" ({quantity(interval.low, unit)} … {quantity(interval.high, unit)})"


def _judge_sell_out(records: RunRecords, objective: SellOut) -> Check:
    """A sale that never sells out is later than any limit; so replications are counted."""
    values = sold_out_at(records, objective)
    limits = []
    if objective.at_least is not None:
        limits.append(_Limit(objective.at_least, "at_least"))
    if objective.at_most is not None:
        limits.append(_Limit(objective.at_most, "at_most"))
    rows = [_judge_one_side(objective, values, limit) for limit in limits]
    # The worse of two sides speaks for the objective.
    severity = {"fail": 0, "inconclusive": 1, "pass": 2}
    return min(rows, key=lambda row: severity[row.status])


def _judge_one_side(objective: SellOut, values: Floats, limit: _Limit) -> Check:
    if not len(values) or np.isfinite(values).all():
        return _judge_values(objective, values, limit, {}, "s")
    holding = [limit.holds(float(value)) for value in values]
    status: Status = "pass" if all(holding) else "fail" if not any(holding) else "inconclusive"
    facts = {
        "limit": duration(limit.value),
        "never": count(int(np.isinf(values).sum())),
        "replications": count(len(values)),
    }
    template = f"check.objective.sell_out.{limit.bound}.never.{status}"
    return _row(objective, status, template, facts, limit=limit.value, bound=limit.bound, unit="s")


def _row(
    objective: Objective, status: Status, template: str, facts: dict[str, str], **values: Any
) -> Check:
    return Check(
        f"objective.{objective.name}",
        "objective",
        status,
        template,
        {**facts, "sku": getattr(objective, "sku", None) or "@all.items"},
        own_name=objective.name,
        **values,
    )
