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
        self._requests, self._visits = _Kept(REQUEST_ROW), _Kept(VISIT_ROW)
        self._orders, self._charges = _Kept(ORDER_ROW), _Kept(CHARGE_ROW)

    def requests(self, rows: Records) -> None:
        self._requests.append(rows)

    def visits(self, rows: Records) -> None:
        self._visits.append(rows)

    def orders(self, rows: Records) -> None:
        self._orders.append(rows)

    def charges(self, rows: Records) -> None:
        self._charges.append(rows)

    def request_columns(self) -> RequestColumns:
        """In the order of their ends; those without an end last, as sent."""
        rows = self._requests.whole()
        unanswered = np.flatnonzero(rows["done_ns"] == ABSENT_NS)
        order = np.lexsort((rows["visitor"][unanswered], rows["sent_ns"][unanswered]))
        rows[unanswered] = rows[unanswered[order]]
        return RequestColumns(**{name: rows[name] for name in _fields(RequestColumns)})

    def visit_columns(self) -> VisitColumns:
        """Ordered by number."""
        rows = self._visits.whole()
        ordered = np.empty_like(rows)
        ordered[rows["visitor"]] = rows
        return VisitColumns(**{name: ordered[name] for name in _fields(VisitColumns)})

    def order_columns(self) -> OrderColumns:
        rows = self._orders.whole()
        return OrderColumns(**{name: rows[name] for name in _fields(OrderColumns)})

    def charge_columns(self) -> ChargeColumns:
        rows = self._charges.whole()
        return ChargeColumns(**{name: rows[name] for name in _fields(ChargeColumns)})


class _Kept:
    """Rows of one kind, copied as they come."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._dtype = dtype
        self._blocks: list[Records] = []

    def append(self, rows: Records) -> None:
        if len(rows):
            self._blocks.append(rows.copy())

    def whole(self) -> Records:
        """All rows; to be asked once, since a single block is handed out itself."""
        match self._blocks:
            case []:
                return np.zeros(0, self._dtype)
            case [rows]:
                return rows
            case blocks:
                return np.concatenate(blocks)


def _fields(columns: type[Any]) -> list[str]:
    return list(columns.__dataclass_fields__)
