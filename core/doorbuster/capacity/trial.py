"""One trial: a few sales of one variant at one load, and what the existing judge says of them.

The objectives are judged by `doorbuster.verdict.objectives` on records in memory: what `capacity`
calls broken is what `simulate` would call failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from doorbuster.capacity.evidence import (
    ChannelEvidence,
    StationEvidence,
    channel_evidence,
    station_evidence,
)
from doorbuster.capacity.search import Reading, Tristate
from doorbuster.measures.columns import requests_of, stock_of, take, visits_of
from doorbuster.measures.latency import failed, finished, response_s
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.run_records import Phase, RunRecords
from doorbuster.measures.series import Bins
from doorbuster.plan import Timetable
from doorbuster.records.audit import Audit
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import (
    Conversion,
    FailedRequests,
    Objective,
    ResponseTime,
    UnitsSold,
)
from doorbuster.verdict.checks import Check
from doorbuster.verdict.objectives import objective_checks
from doorbuster.vocabulary import Action


class Sale(Protocol):
    """What a simulation gives back of one sale; `doorbuster_sim.SimulatedSale` is one."""

    @property
    def visits(self) -> pa.Table:
        """The table of visits."""

    @property
    def requests(self) -> pa.Table:
        """The table of requests."""

    @property
    def stock(self) -> pa.Table:
        """The table of stock readings."""

    @property
    def audit(self) -> Audit:
        """The shop's own account."""

    @property
    def stations(self) -> list[dict[str, Any]]:
        """How busy each station was."""


@dataclass(frozen=True)
class JudgedObjective:
    """An objective at one load.

    beyond: by how much its value lies beyond the limit, as a share of the limit; above 0 it does.
    defines_capacity: a break of it is the shop's doing and no property of crowd and stock.
    """

    name: str
    check: Check
    beyond: float
    defines_capacity: bool

    @property
    def reading(self) -> Reading:
        """For the search over this objective alone."""
        return Reading(_tristate(self.check), self.beyond)


@dataclass(frozen=True)
class Trial:
    """What the sales of one variant at one load showed; means over the sales."""

    load_factor: float
    sale_count: int
    """Sales that were simulated for it, those before an unlimited shop included."""
    visitors: float
    objectives: tuple[JudgedObjective, ...]
    response_p95_s: float
    """Of all steps but pay: while the provider is thinking, the shop is not."""
    response_p95_range_s: tuple[float, float]
    """Of the fastest and of the slowest sale."""
    answers_per_s: float
    """Requests answered without failure in the busiest second."""
    offered_per_s: float
    """Requests sent in the busiest second."""
    unsold_fraction: float
    locked_units: float
    """Units still locked when the sale ends."""
    stations: tuple[StationEvidence, ...]
    channels: tuple[ChannelEvidence, ...]

    @property
    def reading(self) -> Reading:
        """Of all objectives that define capacity together: the worst of them."""
        counting = [o for o in self.objectives if o.defines_capacity]
        if not counting:
            return Reading("pass", -1.0)
        statuses = {_tristate(o.check) for o in counting}
        status: Tristate = "pass"
        if "fail" in statuses:
            status = "fail"
        elif "inconclusive" in statuses:
            status = "inconclusive"
        return Reading(status, max(o.beyond for o in counting))

    @property
    def broken(self) -> list[JudgedObjective]:
        """Objectives that define capacity and lie beyond their limit, the furthest first."""
        found = [o for o in self.objectives if o.defines_capacity and o.beyond > 0]
        return sorted(found, key=lambda o: -o.beyond)


def is_about_requests(objective: Objective) -> bool:
    """Whether it judges the shop's answers, whatever the crowd wanted and the stock was."""
    return isinstance(objective, ResponseTime | FailedRequests)


def may_be_the_shops_doing(objective: Objective) -> bool:
    """Whether a break can be laid at the shop's door by comparing it with an unlimited one."""
    return isinstance(objective, Conversion | UnitsSold)


def needs_comparison(scenario: Scenario, checks: Sequence[Check]) -> bool:
    """Whether an objective failed that only a shop without limits can acquit."""
    pairs = zip(scenario.objectives, checks, strict=True)
    return any(may_be_the_shops_doing(o) and check.status == "fail" for o, check in pairs)


def records_of(
    scenario: Scenario, timetable: Timetable, sales: Sequence[Sale], seed: int
) -> RunRecords:
    """The records of simulated sales in memory, as if they had been read from a folder."""
    tables = {
        name: pa.concat_tables([getattr(sale, name) for sale in sales]).unify_dictionaries()
        for name in ("visits", "requests", "stock")
    }
    run = {
        "world": "sim",
        "seed": seed,
        "load_factor": timetable.load_factor,
        "compress": 1.0,
        "timetable": {"start_s": timetable.start_s, "end_s": timetable.end_s},
    }
    phases = tuple(Phase(name, start, end) for name, start, end in timetable.phases)
    return RunRecords(
        RunFolder(Path("in memory")),
        run,
        scenario,
        phases,
        visits_of(
            tables["visits"],
            personas=scenario.persona_names,
            phases=[phase.name for phase in phases],
            skus=scenario.skus,
        ),
        requests_of(tables["requests"]),
        stock_of(tables["stock"], skus=scenario.skus),
        tuple(sale.audit for sale in sales),
    )


def judged(records: RunRecords) -> list[Check]:
    """The objectives' rows, by the judge of every other verdict."""
    return objective_checks(records)


def trial_of(
    records: RunRecords,
    sales: Sequence[Sale],
    checks: Sequence[Check],
    unlimited_checks: Sequence[Check] | None,
) -> Trial:
    """What a trial says. unlimited_checks: of the same crowd before a shop without limits."""
    scenario = records.scenario
    acquitted: Sequence[Check | None] = unlimited_checks or [None] * len(checks)
    objectives = tuple(
        _judged_objective(objective, check, other)
        for objective, check, other in zip(scenario.objectives, checks, acquitted, strict=True)
    )
    parts = [records.requests_in(number) for number in records.replications]
    of_shop = [take(part, part.step != Action.PAY - 1) for part in parts]
    bins = _seconds(records)
    good = [part.done_s[finished(part) & ~failed(part)] for part in parts]
    units = max(sum(records.stock_units), 1)
    sold = np.mean([sum(item.sold_units for item in audit.items) for audit in records.audits])
    locked = np.mean([sum(item.locked_units for item in audit.items) for audit in records.audits])
    all_waits = [quantile(response_s(part)[finished(part)], 0.95) for part in of_shop]
    waits = [wait for wait in all_waits if np.isfinite(wait)] or [float("nan")]
    return Trial(
        load_factor=float(records.run["load_factor"]),
        sale_count=len(sales) * (1 if unlimited_checks is None else 2),
        visitors=len(records.visits.visitor) / len(sales),
        objectives=objectives,
        response_p95_s=_mean(waits),
        response_p95_range_s=(min(waits), max(waits)),
        answers_per_s=_mean([bins.rate_per_s(done).max() for done in good]),
        offered_per_s=_mean([bins.rate_per_s(part.sent_s).max() for part in parts]),
        unsold_fraction=float(1 - sold / units),
        locked_units=float(locked),
        stations=station_evidence(records, [sale.stations for sale in sales], bins),
        channels=channel_evidence(records, [sale.visits for sale in sales]),
    )


def _judged_objective(
    objective: Objective, check: Check, unlimited_check: Check | None
) -> JudgedObjective:
    defines = is_about_requests(objective)
    if may_be_the_shops_doing(objective) and unlimited_check is not None:
        # Only what fails here and passes there, both with confidence, is the shop's doing.
        defines = check.status == "fail" and unlimited_check.status == "pass"
    return JudgedObjective(objective.name, check, _beyond(check), defines)


def _beyond(check: Check) -> float:
    """How far the value lies beyond the limit, relative to it; without a value by the status."""
    if check.value is None or check.limit is None:
        return 1.0 if check.status == "fail" else -1.0
    distance = check.value - check.limit
    if check.bound == "at_least":
        distance = -distance
    return distance / abs(check.limit) if check.limit else distance


def _tristate(check: Check) -> Tristate:
    match check.status:
        case "pass" | "fail" as decided:
            return decided
        case _:
            return "inconclusive"


def _seconds(records: RunRecords) -> Bins:
    """Whole seconds from the first arrival to the end of the sale."""
    start = float(np.floor(records.start_s))
    return Bins(start, 1.0, max(int(np.ceil(records.end_s - start)), 1))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
