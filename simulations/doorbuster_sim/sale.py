"""One simulated sale: the planned crowd goes through the simulated shop, on either engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from doorbuster.measures.tally import SaleTally
from doorbuster.plan import Plan, Timetable
from doorbuster.records.audit import Audit
from doorbuster.records.tables import SHIPMENTS
from doorbuster.scenario.model import Scenario
from doorbuster_sim.engines import Engine
from doorbuster_sim.shipments import shipments_table


@dataclass(frozen=True)
class SimulatedSale:
    """The records of one sale, its books, and the shop's own account of it.

    tally: what was counted instead of visits and requests, which are then empty, as the books are.
    shipments: empty as well where nothing lies in warehouses.
    """

    visits: pa.Table
    requests: pa.Table
    stock: pa.Table
    orders: pa.Table
    charges: pa.Table
    audit: Audit
    stations: list[dict[str, Any]]
    tally: SaleTally | None = None
    shipments: pa.Table = field(default_factory=SHIPMENTS.empty_table)


def simulate_sale(
    scenario: Scenario,
    plan: Plan,
    timetable: Timetable,
    *,
    seed: int,
    system_seed: int | None = None,
    replication: int = 0,
    engine: Engine = "simpy",
    progress: Callable[[float], None] | None = None,
) -> SimulatedSale:
    """Run one sale from its first arrival to its end; the same arguments, the same records.

    seed: names the draws of visitors and payment provider. system_seed: names those of network and
    service times; default: seed. progress: called with the simulated seconds from the opening,
    about once a simulated second.
    """
    system_seed = seed if system_seed is None else system_seed
    if engine == "compiled":
        from doorbuster_sim.compiled_engine import run_sale  # noqa: PLC0415 - loads Numba
    else:
        from doorbuster_sim.simpy_engine import run_sale  # noqa: PLC0415
    sale = run_sale(scenario, plan, timetable, seed, system_seed, replication, progress)
    if not scenario.shop.has_warehouses:
        return sale
    return replace(sale, shipments=shipments_table(scenario, sale.orders, replication))
