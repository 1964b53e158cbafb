"""A sale with all its records in memory, as `simulate_sale` gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from doorbuster.plan import Plan, Timetable
from doorbuster.scenario.model import Scenario
from doorbuster_sim.books import ChargeColumns, OrderColumns, charges_table, orders_table
from doorbuster_sim.compiled_engine.layout import (
    CHARGE_ROW,
    ORDER_ROW,
    REQUEST_ROW,
    VISIT_ROW,
    Records,
)
from doorbuster_sim.compiled_engine.sale import CompiledSale
from doorbuster_sim.sale import SimulatedSale
from doorbuster_sim.tables import (
    ABSENT_NS,
    RequestColumns,
    VisitColumns,
    requests_table,
    stock_table,
    visits_table,
)


def run_sale(
    scenario: Scenario,
    plan: Plan,
    timetable: Timetable,
    seed: int,
    system_seed: int,
    replication: int,
    progress: Callable[[float], None] | None,
) -> SimulatedSale:
    """What `simulate_sale` promises, by the compiled event loop."""
    rows = _Rows()
    sale = CompiledSale(scenario, timetable, seed, system_seed, rows)
    sale.run([plan], progress)
    return SimulatedSale(
        visits=visits_table(rows.visit_columns(), scenario, timetable, plan, replication),
        requests=requests_table(rows.request_columns(), replication),
        stock=stock_table(sale.stock_columns, scenario.skus, replication),
        orders=orders_table(rows.order_columns(), scenario, replication),
        charges=charges_table(rows.charge_columns(), scenario, replication),
        audit=sale.audit(),
        stations=sale.station_uses(),
    )


class _Rows:
    """Keeps all rows."""

    def __init__(self) -> None:
        self._requests: list[Records] = [np.zeros(0, REQUEST_ROW)]
        self._visits: list[Records] = [np.zeros(0, VISIT_ROW)]
        self._orders: list[Records] = [np.zeros(0, ORDER_ROW)]
        self._charges: list[Records] = [np.zeros(0, CHARGE_ROW)]

    def requests(self, rows: Records) -> None:
        self._requests.append(rows.copy())

    def visits(self, rows: Records) -> None:
        self._visits.append(rows.copy())

    def orders(self, rows: Records) -> None:
        self._orders.append(rows.copy())

    def charges(self, rows: Records) -> None:
        self._charges.append(rows.copy())

    def request_columns(self) -> RequestColumns:
        """In the order of their ends; those without an end last, as sent."""
        rows = np.concatenate(self._requests)
        unanswered = np.flatnonzero(rows["done_ns"] == ABSENT_NS)
        order = np.lexsort((rows["visitor"][unanswered], rows["sent_ns"][unanswered]))
        rows[unanswered] = rows[unanswered[order]]
        return RequestColumns(**{name: rows[name] for name in _fields(RequestColumns)})

    def visit_columns(self) -> VisitColumns:
        """Ordered by number."""
        rows = np.concatenate(self._visits)
        ordered = np.empty_like(rows)
        ordered[rows["visitor"]] = rows
        return VisitColumns(**{name: ordered[name] for name in _fields(VisitColumns)})

    def order_columns(self) -> OrderColumns:
        rows = np.concatenate(self._orders)
        return OrderColumns(**{name: rows[name] for name in _fields(OrderColumns)})

    def charge_columns(self) -> ChargeColumns:
        rows = np.concatenate(self._charges)
        return ChargeColumns(**{name: rows[name] for name in _fields(ChargeColumns)})


def _fields(columns: type[Any]) -> list[str]:
    return list(columns.__dataclass_fields__)
