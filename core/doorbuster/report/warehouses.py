"""The tables of the page about warehouses: what each has sent, and in how many parcels."""

from __future__ import annotations

from typing import Any

import numpy as np

from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.shipments import parcel_counts, split_share, units_by_warehouse
from doorbuster.report.numbers import count, percent
from doorbuster.report.sides import Side

_PARCELS = (1, 2)
"""Numbers of parcels that have a column; the last column is for more."""


def warehouse_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One row a warehouse and run: units at the opening, sent, come back, left; means of sales."""
    told = [(side, _units(side.records)) for side in sides if _tells(side.records)]
    names = dict.fromkeys(name for _, units in told for name in units)
    return [
        {
            "warehouse": name,
            "side": side.label,
            "role": side.role,
            **dict(zip(("stock", "sent", "returned", "left"), units[name], strict=True)),
        }
        for name in names
        for side, units in told
    ]


def parcel_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One row a run: orders sent in one parcel, in two, in more; the share of split ones."""
    return [_parcels(side) for side in sides if _tells(side.records)]


def _tells(records: RunRecords) -> bool:
    return records.shipments is not None and records.scenario.shop.has_warehouses


def _units(records: RunRecords) -> dict[str, tuple[str, ...]]:
    """Of each warehouse: initial units, sent, returned and left ones."""
    found = [
        units_by_warehouse(records.scenario.shop, records.shipments_in(number))
        for number in records.replications
    ]
    return {
        name: tuple(
            _mean([float(number) for number in numbers])
            for numbers in zip(
                *((u.initial, u.sent, u.returned, u.left) for u in (one[name] for one in found)),
                strict=True,
            )
        )
        for name in (found[0] if found else ())
    }


def _parcels(side: Side) -> dict[str, Any]:
    sales = [side.records.shipments_in(number) for number in side.records.replications]
    counts = [parcel_counts(shipments) for shipments in sales]
    columns = [[float(c[n]) if n < len(c) else 0.0 for c in counts] for n in _PARCELS]
    columns.append([float(c[_PARCELS[-1] + 1 :].sum()) for c in counts])
    shares = np.array([split_share(shipments) for shipments in sales])
    known = shares[np.isfinite(shares)]
    return {
        "side": side.label,
        "role": side.role,
        "counts": [_mean(column) for column in columns],
        "share": percent(float(known.mean())) if len(known) else "",
    }


def _mean(values: list[float]) -> str:
    """A mean of counts; below ten its fraction matters."""
    whole, mean = 10, float(np.mean(values))
    return count(round(mean) if mean >= whole or mean.is_integer() else mean)
