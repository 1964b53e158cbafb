"""Did the measurement happen as planned? If not, nothing is said about the system under test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from doorbuster.measures.latency import dispatch_delay_s
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.run_records import RunRecords
from doorbuster.plan import FaultSpan, Timetable, fault_spans
from doorbuster.report.numbers import count, duration, percent
from doorbuster.verdict.checks import Bound, Check, Status, Unit
from doorbuster.vocabulary import OUTCOMES_OF_THE_MEASUREMENT, Outcome

DISPATCH_DELAY_LIMIT_S = 0.010
"""For the p99: lateness of that size changes no objective of a sale, and bots that race for the
last unit are decided by little more. The same for every scenario, so that runs can be compared."""
GENERATOR_CPU_LIMIT = 0.9
FAULT_LATENESS_LIMIT_S = 0.25
"""For the begin and the end of each fault. Twice that is lost in what a client waits anyway."""

_VOID_OUTCOMES = [int(Outcome.UNDECIDED), *(int(o) for o in OUTCOMES_OF_THE_MEASUREMENT)]


def validity_checks(records: RunRecords) -> list[Check]:
    """All rows about the measurement, in the order in which they are read."""
    checks = [_complete(records), _accounting(records), _requests(records), _stock(records)]
    if records.world != "live":
        return checks
    return [
        *checks,
        _dispatch_delay(records, DISPATCH_DELAY_LIMIT_S),
        _workers(records),
        _drops(records),
        _generator_cpu(records),
        _clock(records, DISPATCH_DELAY_LIMIT_S),
        *([_faults(records, FAULT_LATENESS_LIMIT_S)] if records.scenario.faults else []),
    ]


def _complete(records: RunRecords) -> Check:
    status = str(records.run.get("status"))
    reasons = "; ".join(str(reason) for reason in records.run.get("reasons") or ())
    facts = {"status": status, "reasons": f": {reasons}" if reasons else ""}
    return _row("complete", status == "complete", facts)


def _accounting(records: RunRecords) -> Check:
    """Every planned visitor has exactly one row and an outcome that speaks about the sale."""
    planned = int(records.run.get("plan_count") or 0)
    wanted = int(records.run.get("replications") or 1)
    unaccounted = abs(wanted - len(records.replications)) * planned
    for tally in records.tallies:
        unaccounted += abs(tally.planned - int(tally.outcomes.sum()))
        unaccounted += int(tally.outcomes[:, _VOID_OUTCOMES].sum())
    for replication in records.replications if not records.tallies else ():
        visits = records.visits_in(replication)
        same_plan = replication == 0 or records.run.get("vary") == "system"
        plan_count = planned if same_plan else len(visits.visitor)
        rows = np.bincount(visits.visitor, minlength=plan_count)
        unaccounted += int((rows != 1).sum())
        unaccounted += int(np.isin(visits.outcome, _VOID_OUTCOMES).sum())
    visitors = len(records.visits.visitor) + sum(tally.planned for tally in records.tallies)
    facts = {
        "planned": count(planned),
        "unaccounted": count(unaccounted),
        "visitors": count(visitors),
        "replications": count(len(records.replications)),
    }
    good = unaccounted == 0 and visitors > 0
    return _row("accounting", good, facts, value=unaccounted, limit=0)


def _requests(records: RunRecords) -> Check:
    """The requests that visitors say they sent are the requests that were recorded."""
    if records.tallies:
        told = sum(tally.requests_told for tally in records.tallies)
        found = sum(tally.requests_found for tally in records.tallies)
    else:
        with_requests = np.unique(records.requests.replication)
        chosen = np.isin(records.visits.replication, with_requests)
        told = int(records.visits.request_count[chosen].sum())
        found = len(records.requests.visitor)
    facts = {"told": count(told), "found": count(found), "missing": count(told - found)}
    return _row("requests", told == found > 0, facts, value=told - found, limit=0)


def _stock(records: RunRecords) -> Check:
    """The sale that was run had the stock of the scenario."""
    planned = {i.sku: i.stock for i in records.scenario.shop.items if i.bundle is None}
    wrong = [
        f"{sku} ({count(found.get(sku, math.nan))} / {count(units)})"
        for found in ({item.sku: item.initial_units for item in a.items} for a in records.audits)
        for sku, units in planned.items()
        if found.get(sku) != units
    ]
    if not records.audits:
        return _row("stock", good=True, facts={}, variant="not_applicable")
    facts = {"wrong": "; ".join(dict.fromkeys(wrong)), "items": count(len(planned))}
    return _row("stock", not wrong, facts, value=len(wrong), limit=0)


def _dispatch_delay(records: RunRecords, limit_s: float) -> Check:
    delays = dispatch_delay_s(records.requests)
    delays = delays[~np.isnan(delays)]
    if not len(delays):
        return _row("dispatch_delay", False, {}, variant="no_data", limit=limit_s, unit="s")
    p99 = quantile(delays, 0.99)
    facts = {
        "p99": duration(p99),
        "limit": duration(limit_s),
        "maximum": duration(float(delays.max())),
    }
    return _row("dispatch_delay", p99 <= limit_s, facts, value=p99, limit=limit_s, unit="s")


def _workers(records: RunRecords) -> Check:
    workers: list[dict[str, Any]] = records.run.get("workers") or []
    lost = {str(worker) for worker in _generator(records).get("lost_workers") or ()}
    lost |= {str(worker.get("index")) for worker in workers if worker.get("lost")}
    facts = {"lost": ", ".join(sorted(lost)), "worker_count": count(len(workers))}
    if not workers:
        return _row("workers", False, facts, variant="no_data", limit=0)
    return _row("workers", not lost, facts, value=len(lost), limit=0)


def _drops(records: RunRecords) -> Check:
    generator = _generator(records)
    dropped = generator.get("dropped")
    facts = {
        "dropped": count(dropped),
        "in_flight": count(generator.get("in_flight_max")),
        "in_flight_limit": count(generator.get("in_flight_limit")),
    }
    if dropped is None:
        return _row("drops", False, facts, variant="no_data", limit=0)
    return _row("drops", dropped == 0, facts, value=dropped, limit=0)


def _generator_cpu(records: RunRecords) -> Check:
    busy = _generator(records).get("cpu_fraction_max")
    facts = {"busy": percent(busy), "limit": percent(GENERATOR_CPU_LIMIT)}
    common: dict[str, Any] = {"limit": GENERATOR_CPU_LIMIT, "unit": "fraction", "bound": "below"}
    if busy is None:
        return _row("generator_cpu", False, facts, variant="no_data", **common)
    return _row("generator_cpu", busy < GENERATOR_CPU_LIMIT, facts, value=busy, **common)


def _clock(records: RunRecords, limit_s: float) -> Check:
    """How far the workers' clocks may be apart; T0 is only as sharp as that."""
    bound_s = _generator(records).get("clock_bound_s")
    facts = {"bound": duration(bound_s), "limit": duration(limit_s)}
    if bound_s is None:
        return _row("clock", False, facts, variant="no_data", limit=limit_s, unit="s")
    return _row("clock", bound_s <= limit_s, facts, value=bound_s, limit=limit_s, unit="s")


def _faults(records: RunRecords, limit_s: float) -> Check:
    """Every fault of the scenario that fell into the sale was carried out, and in time."""
    if records.run.get("without_faults"):
        return _row("faults", good=True, facts={}, variant="not_applicable")
    due = _due_faults(records)
    late_s = [(span, _lateness_s(span, records)) for span in due]
    wrong = [
        f"{span.fault.kind} T{span.begun_s:+g}s ({duration(late) if late < math.inf else '-'})"
        for span, late in late_s
        if late > limit_s
    ]
    facts = {"planned": count(len(due)), "limit": duration(limit_s), "wrong": ", ".join(wrong)}
    return _row("faults", not wrong, facts, value=len(wrong), limit=0)


def _due_faults(records: RunRecords) -> list[FaultSpan]:
    """Those that somebody was still there to see."""
    run = records.run
    timetable = Timetable.of(
        records.scenario,
        load_factor=run.get("load_factor"),
        window=run.get("window"),
        compress=run.get("compress") or 1.0,
    )
    done_s = records.requests.done_s[~np.isnan(records.requests.done_s)]
    last_s = float(done_s.max(initial=-math.inf))
    return [span for span in fault_spans(records.scenario, timetable) if span.begun_s < last_s]


def _lateness_s(span: FaultSpan, records: RunRecords) -> float:
    """How far the nearest one that was carried out is from the plan; infinite when none was."""
    is_whole = records.run.get("status") == "complete"
    late_s = [math.inf]
    for happened in records.run.get("faults") or ():
        if happened["kind"] == span.fault.kind:
            begun_late_s = abs(happened["begun_s"] - span.begun_s)
            ended_s = math.inf if happened["ended_s"] is None else happened["ended_s"]
            late_s.append(max(begun_late_s, abs(ended_s - span.ended_s) if is_whole else 0.0))
    return min(late_s)


def _generator(records: RunRecords) -> dict[str, Any]:
    return dict(records.run.get("generator") or {})


def _row(
    name: str,
    good: bool,
    facts: dict[str, str],
    *,
    variant: str | None = None,
    value: float | None = None,
    limit: float | None = None,
    unit: Unit = "count",
    bound: Bound = "at_most",
) -> Check:
    status: Status = "pass" if good else "invalid"
    if variant == "not_applicable":
        status = "not_applicable"
    template = f"check.validity.{name}.{variant or status}"
    return Check(f"validity.{name}", "validity", status, template, facts, value, limit, bound, unit)
