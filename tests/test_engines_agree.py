"""The compiled engine against SimPy: every record of every sale, without tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doorbuster.plan import Timetable, build_plan
from doorbuster.plan.plan import COLUMNS
from doorbuster.scenario import Scenario
from doorbuster_sim import simulate_sale
from doorbuster_sim.compiled_engine.layout import Records
from doorbuster_sim.compiled_engine.sale import CompiledSale

Build = Callable[..., Scenario]

# Times from a small grid: most sales then have several events in one nanosecond.
TIMES = st.sampled_from(
    [0, "1us", "1ms", "50ms", "100ms", "250ms", "500ms", "1s", "1500ms", "2s"]
) | st.sampled_from(
    [
        {"kind": "uniform", "low": 0, "high": "300ms"},
        {"kind": "exponential", "mean": "200ms"},
        {"kind": "lognormal", "median": "150ms", "sigma": 0.7},
        {"kind": "weibull", "scale": "200ms", "shape": 0.8},
        {"kind": "empirical", "quantiles": [[0, 0], [0.5, "100ms"], [1, "2s"]]},
    ]
)
SERVICE_TIMES = TIMES.filter(lambda time: time != 0)
DURATIONS = st.sampled_from(["1us", "50ms", "100ms", "500ms", "1s", "1500ms", "3s"])
FRACTIONS = st.sampled_from([0.0, 0.2, 0.5, 1.0])

PERSONAS = st.fixed_dictionaries(
    {
        "share": st.sampled_from([1, 3]),
        "quantity": st.integers(1, 2),
        "buy_fraction": st.sampled_from([0.5, 1.0]),
        "think_time": TIMES,
        "refresh_gap": TIMES,
        "refresh_limit": st.integers(0, 4),
        "restock_refresh_limit": st.integers(0, 3),
        "request_timeout": DURATIONS,
        "retry_limit": st.integers(0, 3),
        "retry_wait": TIMES,
        "patience": st.sampled_from(["1s", "5s", "300s"]),
        "payment_time": TIMES,
        "unpaid_fraction": FRACTIONS,
        "payment_attempt_limit": st.integers(1, 3),
        "retry_same_fraction": st.sampled_from([0.0, 0.5]),
        "retry_other_fraction": st.sampled_from([0.0, 0.5]),
        "poll_gap": TIMES,
        "poll_limit": st.integers(0, 3),
        "identities": st.sampled_from([{}, {"accounts": 3}, {"accounts": 40}]),
    }
)
CHANNELS = st.fixed_dictionaries(
    {
        "share": st.just(1),
        "latency": TIMES,
        "decline_fraction": FRACTIONS,
        "late_fraction": FRACTIONS,
        "late_by": TIMES,
    }
)
STATIONS = st.fixed_dictionaries(
    {
        "servers": st.integers(1, 3),
        "queue_limit": st.sampled_from([0, 1, 5, 2048]),
        "per_item": st.booleans(),
    }
)
PASSAGES = st.lists(
    st.tuples(st.sampled_from(["web", "row"]), SERVICE_TIMES), min_size=1, max_size=3
)


STEPS = ("browse", "reserve", "pay", "poll")


def _named(kind: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    parts = st.tuples(*[kind for _ in names])
    return parts.map(lambda many: [{"name": n, **o} for n, o in zip(names, many, strict=True)])


CHANCES = st.fixed_dictionaries(
    {
        "stock": st.tuples(st.sampled_from([0, 3, 20, 500]), st.sampled_from([1, 10])),
        "limit": st.sampled_from([2, 3]),
        "lock_time": DURATIONS,
        "release_sweep": st.sampled_from(["50ms", "300ms", "500ms", "1s"]),
        "personas": st.tuples(PERSONAS, PERSONAS),
        "channels": _named(CHANNELS, "card", "wallet"),
        "payment_timeout": DURATIONS,
        "network": TIMES,
        "stations": _named(STATIONS, "web", "row"),
        "passages": st.tuples(PASSAGES, PASSAGES, PASSAGES, PASSAGES),
        "starts": st.sampled_from([("-2s", "1s"), (0, "3s"), ("1s", "4s")]),
        "drain": st.sampled_from([0, "500ms", "5s", "30s"]),
        "load_factor": st.sampled_from([0.5, 2, 6]),
    }
)


def a_sale(build: Build, chance: dict[str, Any]) -> Scenario:
    """A short sale of which chance decides everything that a scenario can say."""
    items = [
        {"sku": sku, "stock": stock, "price": 10, "per_account_limit": chance["limit"]}
        for sku, stock in zip(("console", "headset"), chance["stock"], strict=True)
    ]
    shape = {"kind": "zero_hour", "peak": 3, "half_life": "1s", "floor": 0.5}
    phases = [
        {"name": "one", "start": chance["starts"][0], "duration": "2s", "shape": shape},
        {"name": "two", "start": chance["starts"][1], "duration": "2s", "shape": shape},
    ]
    service: dict[str, Any] = {"network": chance["network"], "stations": chance["stations"]}
    for step, passages in zip(STEPS, chance["passages"], strict=True):
        service[step] = [{"station": station, "time": time} for station, time in passages]
    return build(
        shop={
            "lock_time": chance["lock_time"],
            "release_sweep": chance["release_sweep"],
            "items": items,
        },
        crowd={
            "load_factor": chance["load_factor"],
            "phases": phases,
            "personas": dict(zip(("fan", "bot"), chance["personas"], strict=True)),
            "drain": chance["drain"],
        },
        payments={"timeout": chance["payment_timeout"], "channels": chance["channels"]},
        service=service,
    )


@settings(max_examples=300, deadline=None)
@given(chance=CHANCES, seed=st.integers(0, 2**63 - 1), system_seed=st.integers(0, 9))
def test_both_engines_leave_the_same_records(
    small_scenario: Build, chance: dict[str, Any], seed: int, system_seed: int
) -> None:
    scenario = a_sale(small_scenario, chance)
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, seed, timetable)
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=seed, system_seed=system_seed, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert other.visits.equals(one.visits)
    assert other.requests.equals(one.requests)
    assert other.stock.equals(one.stock)
    assert other.audit == one.audit
    assert other.stations == one.stations


def test_arrays_that_grow_change_nothing(small_scenario: Build) -> None:
    """Some 5,000 visitors at once, in a shop that cannot keep up: every array grows."""
    item = {"sku": "console", "stock": 3000, "price": 1}
    bots = {"share": 1, "identities": {"accounts": 4000}}
    scenario = small_scenario(
        shop={"lock_time": "2s", "items": [item]},
        crowd={"load_factor": 100, "personas": {"fan": {"share": 1}, "bot": bots}},
        service={"stations": [{"name": "web", "servers": 2, "queue_limit": 100_000}]},
    )
    timetable = Timetable.of(scenario, window=(0, 10))
    plan = build_plan(scenario, 7, timetable)
    assert plan.visitor_count > 4_000
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=7, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert other.visits.equals(one.visits)
    assert other.requests.equals(one.requests)
    assert (other.audit, other.stations) == (one.audit, one.stations)


def test_a_plan_in_blocks_leaves_the_same_rows(small_scenario: Build) -> None:
    """The visitors come in pieces; a piece may be one visitor, or end between two of a moment."""
    scenario = small_scenario(crowd={"load_factor": 6})
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 3, timetable)
    count = plan.visitor_count
    cuts = [0, 1, count // 3, count // 3 + 1, count]
    blocks = [
        replace(
            plan,
            **{name: getattr(plan, name)[start:end] for name in COLUMNS},
            first_visitor=start,
        )
        for start, end in pairwise(cuts)
    ]
    found = []
    for pieces in ([plan], blocks):
        rows = Rows()
        sale = CompiledSale(scenario, timetable, 3, 3, rows)
        sale.run(pieces)
        accounts = sale.stock_rows.tobytes(), sale.audit(), sale.station_uses()
        found.append((rows.request_rows, rows.visit_rows, accounts))
    assert len(found[0][0]) > count == len(found[0][1])
    assert found[0] == found[1]


class Rows:
    """Keeps all rows as they came."""

    def __init__(self) -> None:
        self.request_rows: list[bytes] = []
        self.visit_rows: list[bytes] = []

    def requests(self, rows: Records) -> None:
        self.request_rows += [row.tobytes() for row in rows]

    def visits(self, rows: Records) -> None:
        self.visit_rows += [row.tobytes() for row in rows]
