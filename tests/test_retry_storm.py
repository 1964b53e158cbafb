"""A retry storm made in simulation, and the same fault where the shop recovers; both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from doorbuster.detectors import retry_storm
from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, stock_of, visits_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.plan import Timetable, build_plan, fault_spans
from doorbuster.scenario import Scenario
from doorbuster_sim import simulate_sale
from doorbuster_sim.engines import Engine

Build = Callable[..., Scenario]

IMPATIENT = {
    "share": 1,
    "buy_fraction": 0.0,
    "request_timeout": "500ms",
    "retry_limit": 8,
    "retry_wait": "500ms",
    "patience": "1h",
}
"""Looks at one page, waits half a second for it, and asks again eight times."""
FREEZE = {"kind": "freeze", "start": "7s", "duration": "3s"}


def found(
    build: Build,
    engine: Engine,
    *,
    service: str,
    persona: dict[str, Any] = IMPATIENT,
    faults: list[dict[str, Any]],
) -> Any:
    """What the detector says of half a minute with 40 visitors a second and one server."""
    phase = {
        "name": "steady",
        "start": 0,
        "duration": "28s",
        "shape": {"kind": "constant", "level": 1},
    }
    passages = [{"station": "web", "time": service}]
    scenario = build(
        crowd={
            "normal_load_per_s": 40,
            "load_factor": 1,
            "phases": [phase],
            "personas": {"fan": persona},
        },
        service={
            "stations": [{"name": "web", "servers": 1, "queue_limit": 100_000}],
            **dict.fromkeys(("browse", "reserve", "pay"), passages),
        },
        faults=faults,
    )
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 1, timetable)
    sale = simulate_sale(scenario, plan, timetable, seed=1, engine=engine)
    spans = fault_spans(scenario, timetable)
    books = SaleBooks(
        scenario,
        orders_of(sale.orders, skus=scenario.skus),
        charges_of(sale.charges),
        visits_of(sale.visits, personas=["fan"], phases=["steady"], skus=scenario.skus),
        requests_of(sale.requests),
        stock_of(sale.stock, skus=scenario.skus),
        sale.audit,
        end_s=timetable.end_s,
        slack_s=0.0,
        faults=tuple(FaultTime(span.fault.kind, span.begun_s, span.ended_s) for span in spans),
    )
    return retry_storm.detect(books)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_a_short_freeze_that_never_ends(small_scenario: Build, engine: Engine) -> None:
    """Of 50 requests a second that it can serve the crowd sends 40; the queue of three seconds is
    longer than anybody waits, so what is served was given up, and asked for again.
    """
    finding = found(small_scenario, engine, service="20ms", faults=[FREEZE])
    assert finding.count == 1
    evidence = finding.evidence[0]
    assert (evidence["fault"], evidence["ended_s"]) == ("freeze", 10.0)
    assert evidence["answered_before"] > 0.95
    assert evidence["answered_after"] < 0.05
    assert evidence["load_times"] > 5


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@pytest.mark.parametrize(
    ("service", "persona"),
    [
        ("1ms", IMPATIENT),  # power to spare: the queue is gone before anybody gives up again
        ("20ms", {**IMPATIENT, "retry_limit": 0}),  # nobody asks again
        ("20ms", {**IMPATIENT, "request_timeout": "60s"}),  # everybody waits
    ],
    ids=["spare", "no-retries", "patient"],
)
def test_the_same_freeze_and_no_storm(
    small_scenario: Build, engine: Engine, service: str, persona: dict[str, Any]
) -> None:
    finding = found(small_scenario, engine, service=service, persona=persona, faults=[FREEZE])
    assert finding.applies
    assert finding.count == 0, finding.evidence


def test_an_overloaded_shop_needs_no_fault(small_scenario: Build) -> None:
    """Bad before as after: not the work of a fault, and without one there is nothing to judge."""
    one = found(small_scenario, "compiled", service="50ms", faults=[FREEZE])
    other = found(small_scenario, "compiled", service="50ms", faults=[])
    assert not one.applies
    assert not other.applies
