"""Both engines against recursions that fit on a page, request by request, without tolerance."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fifo_oracle import Fate, Queue, page_requests

from doorbuster.plan import EmptyPlanError, Plan, Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import simulate_sale
from doorbuster_sim.engines import Engine

EXAMPLES = int(os.environ.get("DOORBUSTER_EXAMPLES", "500"))
FRESH = os.environ.get("DOORBUSTER_FRESH", "0") != "0"

LOOKER = {
    "share": 1,
    "buy_fraction": 0.0,
    "retry_limit": 0,
    "refresh_limit": 0,
    "request_timeout": "10d",
}
TICKS_NS = (1, 2, 1_000, 250_000_000)
"""With the first two nearly everybody comes, begins and ends together with somebody else."""


def written(nanoseconds: int) -> str:
    """A time in a scenario file."""
    return f"{nanoseconds / 1000:.3f}us"


@st.composite
def queues(draw: st.DrawFn) -> tuple[Scenario, int]:
    """One to three stations in a row, and a crowd of which everybody asks for one page."""
    tick_ns = draw(st.sampled_from(TICKS_NS))

    def time(low: int) -> str:
        return written(draw(st.integers(low, 5)) * tick_ns)

    def times(low: int) -> Any:
        kind = draw(st.sampled_from(("constant", "constant", "uniform", "exponential")))
        if kind == "constant":
            return time(low)
        if kind == "uniform":
            return {"kind": kind, "low": time(low), "high": written(6 * tick_ns)}
        # An exponential time of a few nanoseconds may round to none at all, which the oracle
        # knows only at the first station.
        return {"kind": kind, "mean": time(1)} if low == 0 or tick_ns > 2 else time(1)

    names = ["web", "app", "row"][: draw(st.integers(1, 3))]
    stations = [
        {
            "name": name,
            "servers": draw(st.integers(1, 4)),
            "queue_limit": draw(st.sampled_from([2048, 2048, 0, 1, 2, 5])),
            "per_item": draw(st.booleans()),
        }
        for name in names
    ]
    first = draw(st.sampled_from(["0.0004us", None]))
    passages = [
        {"station": name, "time": first if first and not place and len(names) == 1 else times(1)}
        for place, name in enumerate(names)
    ]
    duration_ns = draw(st.sampled_from([0.4, 3.0, 40.0])) * tick_ns
    crowd = {
        "normal_load_per_s": draw(st.integers(1, 60)) / (duration_ns * 1e-9) / 1000,
        "load_factor": 1000,
        "phases": [
            {
                "name": "open",
                "start": 0,
                "duration": f"{duration_ns / 1000:.4f}us",
                "shape": {"kind": "constant", "level": 1},
            }
        ],
        "personas": {"looker": LOOKER},
        "drain": f"{max(1, tick_ns * 2000 // 10**9)}s",
    }
    service = {"network": times(0), "stations": stations, "browse": passages}
    return sale_of_pages(crowd, service), draw(st.integers(0, 2**63 - 1))


def sale_of_pages(crowd: dict[str, Any], service: dict[str, Any]) -> Scenario:
    """A scenario in which nothing but the page requests matters."""
    unused = [{"station": service["stations"][0]["name"], "time": "1us"}]
    items = [{"sku": sku, "stock": 1, "price": 1} for sku in ("a", "b")]
    return Scenario.model_validate(
        {
            "version": 1,
            "name": "queues",
            "shop": {"lock_time": "10d", "release_sweep": "10d", "items": items},
            "crowd": crowd,
            "payments": {"channels": [{"name": "card", "share": 1}]},
            "service": {**service, "reserve": unused, "pay": unused},
        }
    )


def plan_of(scenario: Scenario, timetable: Timetable, seed: int) -> tuple[Plan, int]:
    """The plan under the first seed, from the given one on, that is not empty."""
    while True:
        try:
            return build_plan(scenario, seed, timetable), seed
        except EmptyPlanError:
            seed = (seed + 1) % 2**63


def differences(
    engine: Engine, scenario: Scenario, seed: int, queue: Callable[[int, int, bool], Queue] = Queue
) -> list[str]:
    """Where an engine and the oracle do not agree, request by request and pool by pool."""
    timetable = Timetable.of(scenario)
    plan, seed = plan_of(scenario, timetable, seed)
    sale = simulate_sale(scenario, plan, timetable, seed=seed, engine=engine)
    fates, pools = page_requests(scenario, plan, system_seed=seed, queue=queue)
    found = sorted(
        Fate(
            row["visitor"],
            round(row["sent_s"] * 1e9),
            round(row["done_s"] * 1e9),
            row["reply"] == "ok",
        )
        for row in sale.requests.to_pylist()
    )
    assert len(found) == plan.visitor_count
    lines = [f"{one} and {other}" for one, other in zip(found, fates, strict=True) if one != other]
    span_ns = round(timetable.end_s * 1e9) - round(timetable.start_s * 1e9)
    for use in sale.stations:
        pool = pools.get((use["station"], use["item"]))
        theirs = (0.0, 0, 0)
        if pool is not None:
            share = pool.busy_ns / (span_ns * pool.servers)
            theirs = (share, pool.max_queue, pool.refused)
        ours = (use["utilisation"], use["max_queue"], use["refused"])
        if ours != theirs:
            lines.append(f"{use}: {theirs}")
    return lines


def search(count: int, check: Callable[[Scenario, int], None]) -> int:
    """Check generated queues; returns how many."""
    checked = 0

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=not FRESH,
        database=None,
        phases=(Phase.generate, Phase.shrink) if FRESH else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=queues())
    def run(case: tuple[Scenario, int]) -> None:
        nonlocal checked
        check(*case)
        checked += 1

    run()
    return checked


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_the_engine_and_the_recursions_agree(engine: Engine) -> None:
    """Times, refusals and the stations' accounts."""

    def check(scenario: Scenario, seed: int) -> None:
        assert differences(engine, scenario, seed) == [], scenario.model_dump_json()

    assert search(EXAMPLES, check) >= EXAMPLES


class OneMorePlace(Queue):
    """Refuses one customer too late."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.queue_limit += 1


class OneMoreServer(Queue):
    def __post_init__(self) -> None:
        self.servers += 1
        super().__post_init__()


class LeavesLater(Queue):
    """Who ends at a moment is still there for who comes at that moment."""

    def end_ns(self, arrival_ns: int, visitor: int, service_ns: int) -> int | None:
        self.ends = [(end_ns + (end_ns == arrival_ns), who) for end_ns, who in self.ends]
        return super().end_ns(arrival_ns, visitor, service_ns)


@pytest.mark.parametrize("queue", [OneMorePlace, OneMoreServer, LeavesLater])
def test_another_rule_is_noticed(queue: Callable[[int, int, bool], Queue]) -> None:
    """The comparison can fail."""

    def check(scenario: Scenario, seed: int) -> None:
        assert differences("compiled", scenario, seed, queue) == []

    with pytest.raises(AssertionError):
        search(500, check)
