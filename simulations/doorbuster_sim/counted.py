"""One sale counted while it runs: memory holds who is there now, not who has been there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from doorbuster.measures.columns import requests_of, visits_of
from doorbuster.measures.tally import TallyPlan
from doorbuster.plan import HashedBlocks, Timetable, build_plan
from doorbuster.records.tables import CHARGES, ORDERS, REQUESTS, VISITS
from doorbuster.scenario.model import Scenario
from doorbuster_sim.clock import NANOSECONDS
from doorbuster_sim.engines import Engine
from doorbuster_sim.sale import SimulatedSale, simulate_sale
from doorbuster_sim.tables import ABSENT_NS, stock_table
from doorbuster_sim.tallying import Rows, Tallying


class CountedSale(NamedTuple):
    """A sale with a tally instead of visits and requests, and the plan that it followed."""

    sale: SimulatedSale
    plan_hash: str
    plan_count: int


def count_sale(
    scenario: Scenario,
    timetable: Timetable,
    tally_plan: TallyPlan,
    *,
    seed: int,
    system_seed: int,
    replication: int = 0,
    engine: Engine = "compiled",
    progress: Callable[[float], None] | None = None,
) -> CountedSale:
    """Run one sale and count it; the arguments as in `simulate_sale`.

    The compiled engine takes the plan in blocks and forgets every visitor who is through. SimPy
    keeps the records until the sale is over and counts them then.
    """
    tallying = Tallying(scenario, timetable, tally_plan)
    if engine == "simpy":
        return _by_simpy(scenario, timetable, tallying, seed, system_seed, replication, progress)
    from doorbuster_sim.compiled_engine.sale import CompiledSale  # noqa: PLC0415 - loads Numba

    running = CompiledSale(scenario, timetable, seed, system_seed, tallying)
    blocks = HashedBlocks(scenario, seed, timetable)
    running.run(blocks, progress)
    sale = SimulatedSale(
        visits=VISITS.empty_table(),
        requests=REQUESTS.empty_table(),
        stock=stock_table(running.stock_columns, scenario.skus, replication),
        orders=ORDERS.empty_table(),
        charges=CHARGES.empty_table(),
        audit=running.audit(),
        stations=running.station_uses(),
        tally=tallying.tally(blocks.visitor_count),
    )
    return CountedSale(sale, blocks.hash, blocks.visitor_count)


def _by_simpy(
    scenario: Scenario,
    timetable: Timetable,
    tallying: Tallying,
    seed: int,
    system_seed: int,
    replication: int,
    progress: Callable[[float], None] | None,
) -> CountedSale:
    plan = build_plan(scenario, seed, timetable)
    kept = simulate_sale(
        scenario,
        plan,
        timetable,
        seed=seed,
        system_seed=system_seed,
        replication=replication,
        progress=progress,
    )
    tallying.requests(_request_rows(kept))
    tallying.visits(_visit_rows(kept, scenario, timetable))
    sale = SimulatedSale(
        visits=VISITS.empty_table(),
        requests=REQUESTS.empty_table(),
        stock=kept.stock,
        orders=ORDERS.empty_table(),
        charges=CHARGES.empty_table(),
        audit=kept.audit,
        stations=kept.stations,
        tally=tallying.tally(plan.visitor_count),
    )
    return CountedSale(sale, plan.hash, plan.visitor_count)


def _request_rows(sale: SimulatedSale) -> Rows:
    from doorbuster_sim.compiled_engine.layout import REQUEST_ROW  # noqa: PLC0415 - loads Numba

    columns = requests_of(sale.requests)
    rows = np.zeros(len(columns.visitor), REQUEST_ROW)
    for name in ("visitor", "attempt", "reply"):
        rows[name] = getattr(columns, name)
    rows["step"] = columns.step + 1
    rows["sent_ns"], rows["done_ns"] = _ns(columns.sent_s), _ns(columns.done_s)
    return rows


def _visit_rows(sale: SimulatedSale, scenario: Scenario, timetable: Timetable) -> Rows:
    """In the order in which visits end; those that the end of the sale cuts off come last."""
    from doorbuster_sim.compiled_engine.layout import VISIT_ROW  # noqa: PLC0415 - loads Numba

    phases = [name for name, _, _ in timetable.phases]
    columns = visits_of(
        sale.visits, personas=scenario.persona_names, phases=phases, skus=scenario.skus
    )
    rows = np.zeros(len(columns.visitor), VISIT_ROW)
    for name in ("visitor", "price_paid_cents", "request_count", "quantity", "outcome", "persona"):
        rows[name] = getattr(columns, name)
    rows["item"] = columns.sku
    for name in ("started", "reserved", "paid", "left"):
        rows[f"{name}_ns"] = _ns(getattr(columns, f"{name}_s"))
    return rows[np.argsort(columns.left_s, kind="stable")]


def _ns(moments_s: np.ndarray) -> np.ndarray:
    known = ~np.isnan(moments_s)
    moments_ns = np.full(len(moments_s), ABSENT_NS, dtype=np.int64)
    moments_ns[known] = np.rint(moments_s[known] * NANOSECONDS).astype(np.int64)
    return moments_ns
