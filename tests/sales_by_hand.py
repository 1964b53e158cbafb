"""Sales small enough to be computed by hand: a few visitors at chosen moments, all times constant.

Unless a test says otherwise: half a network time of 1 ms each way, one server, 10 ms for every
step. A visitor who comes at `t` sends

    browse   t       decided t + 11     answered t + 12
    reserve  t + 22  decided t + 33     answered t + 34     after thinking for 10 ms
    pay      t + 54  at the till t + 65, the provider answers t + 105, answered t + 106
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, stock_of, visits_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.plan import Plan, Timetable
from doorbuster.scenario import Scenario
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.engines import Engine

Build = Callable[..., Scenario]

ROBOT: dict[str, Any] = {
    "share": 1,
    "buy_fraction": 1.0,
    "unpaid_fraction": 0.0,
    "think_time": "10ms",
    "refresh_gap": "100ms",
    "request_timeout": "1s",
    "retry_limit": 0,
    "retry_wait": "50ms",
    "payment_time": "20ms",
    "retry_same_fraction": 1.0,
    "retry_other_fraction": 0.0,
    "poll_gap": "40ms",
}
"""Without chance: every moment can be told in advance."""
LOOKER = {**ROBOT, "buy_fraction": 0.0}
HOLDER = {**ROBOT, "unpaid_fraction": 1.0}
CHANNEL = {
    "name": "card",
    "share": 1,
    "latency": "40ms",
    "decline_fraction": 0.0,
    "late_fraction": 0.0,
}
PASSAGE = [{"station": "web", "time": "10ms"}]
SPAN_MS = 3_000
"""From 1 s before the opening to 2 s after it."""


def scenario_by_hand(
    build: Build,
    *personas: dict[str, Any],
    stock: int = 10,
    limit: int = 1,
    servers: int = 1,
    queue_limit: int = 100,
    shop: dict[str, Any] | None = None,
    channel: dict[str, Any] | None = None,
    payment_timeout: str = "1s",
    service: dict[str, Any] | None = None,
    faults: Sequence[dict[str, Any]] = (),
) -> Scenario:
    """The sale of the module's docstring with changes."""
    item = {"sku": "console", "stock": stock, "price": 7, "per_account_limit": limit}
    phase = {
        "name": "all",
        "start": "-1s",
        "duration": "2s",
        "shape": {"kind": "constant", "level": 1},
    }
    station = {"name": "web", "servers": servers, "queue_limit": queue_limit}
    steps = dict.fromkeys(("browse", "reserve", "pay"), PASSAGE)
    return build(
        faults=list(faults),
        shop={"lock_time": "1h", "release_sweep": "1h", "items": [item], **(shop or {})},
        crowd={
            "phases": [phase],
            "personas": {f"p{n}": traits for n, traits in enumerate(personas or (ROBOT,))},
            "drain": "1s",
        },
        payments={"timeout": payment_timeout, "channels": [{**CHANNEL, **(channel or {})}]},
        service={"network": "2ms", "stations": [station], **steps, **(service or {})},
    )


def hold(
    scenario: Scenario, engine: Engine, arrivals_ms: Sequence[float], **columns: Sequence[int]
) -> SimulatedSale:
    """The sale with visitors at these moments; columns of the plan in place of the usual ones."""
    count = len(arrivals_ms)
    everybody: dict[str, Any] = {
        name: np.zeros(count, np.int64) for name in ("persona", "item", "channel", "phase")
    }
    for name in ("account", "device", "ip", "address", "card"):
        everybody[name] = np.arange(count)
    everybody["quantity"] = np.ones(count, np.int64)
    everybody |= {name: np.array(values, np.int64) for name, values in columns.items()}
    arrival_ns = np.array([round(ms * 1e6) for ms in arrivals_ms], np.int64)
    timetable = Timetable.of(scenario)
    assert (timetable.start_s, timetable.end_s) == (-1.0, SPAN_MS / 1e3 - 1.0)
    plan = Plan(arrival_ns=arrival_ns, **everybody)
    return simulate_sale(scenario, plan, timetable, seed=1, engine=engine)


def story(sale: SimulatedSale) -> list[str]:
    """Every request in the order of the answers: visitor, step, milliseconds, reply."""
    return [
        f"{row['visitor']} {row['step']} {_ms(row['sent_s'])}-{_ms(row['done_s'])} {row['reply']}"
        for row in sale.requests.to_pylist()
    ]


def of_visitor(sale: SimulatedSale, visitor: int) -> list[str]:
    """The requests of one visitor, without its number."""
    return [line[2:] for line in story(sale) if line.startswith(f"{visitor} ")]


def ends(sale: SimulatedSale) -> list[str]:
    """How each visit ended."""
    return list(sale.visits["outcome"].to_pylist())


def busy_ms(sale: SimulatedSale, servers: int = 1) -> float:
    """Server time that was used, from the utilisation."""
    return round(float(sale.stations[0]["utilisation"]) * servers * SPAN_MS, 6)


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{round(seconds * 1e3, 6):.12g}"


def books_of(
    sale: SimulatedSale, scenario: Scenario, end_s: float, faults: Sequence[FaultTime] = ()
) -> SaleBooks:
    """A sale as a detector sees it."""
    personas, skus = scenario.persona_names, scenario.skus
    return SaleBooks(
        scenario,
        orders_of(sale.orders, skus=skus),
        charges_of(sale.charges),
        visits_of(sale.visits, personas=personas, phases=["all"], skus=skus),
        requests_of(sale.requests),
        stock_of(sale.stock, skus=skus),
        sale.audit,
        end_s=end_s,
        slack_s=0.0,
        faults=tuple(faults),
    )
