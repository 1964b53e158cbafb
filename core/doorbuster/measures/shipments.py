"""What the warehouses have sent, out of the table of shipments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from doorbuster.measures.books import Texts
from doorbuster.measures.columns import Floats, Integers, columns_of
from doorbuster.records.tables import SHIPMENTS
from doorbuster.scenario.shop import Shop


class Shipments(NamedTuple):
    """One entry an order, line and warehouse. Times in seconds from T0, NaN where absent."""

    replication: Integers
    order_id: Texts
    sku: Integers
    warehouse: Texts
    units: Integers
    sent_s: Floats
    returned_s: Floats


def shipments_of(table: pa.Table, *, skus: Sequence[str]) -> Shipments:
    """The table of shipments. Raises: RecordsError for an unknown item."""
    return Shipments(**columns_of(table, Shipments._fields, {"sku": skus}))


NO_SHIPMENTS = shipments_of(SHIPMENTS.empty_table(), skus=())


def parcel_counts(shipments: Shipments) -> Integers:
    """Orders by their number of parcels, one a warehouse: place n counts those of n.

    One entry an order of one sale that was sent, also if it came back.
    """
    parcels = Counter(
        order for order, _ in set(zip(shipments.order_id, shipments.warehouse, strict=True))
    )
    return np.bincount(np.array(list(parcels.values()), np.int64), minlength=1)


def split_share(shipments: Shipments) -> float:
    """The share of the sent orders that were sent in several parcels; NaN if none was sent."""
    counts = parcel_counts(shipments)
    return float(counts[2:].sum() / counts.sum()) if counts.any() else float("nan")


class WarehouseUnits(NamedTuple):
    """Units of all items in one warehouse."""

    initial: int
    sent: int
    returned: int

    @property
    def left(self) -> int:
        """Units that lie there at the end."""
        return self.initial - self.sent + self.returned


def units_by_warehouse(shop: Shop, shipments: Shipments) -> dict[str, WarehouseUnits]:
    """What each warehouse of a shop had, has sent and has got back, as the file names them."""
    held = [item.warehouses or {} for item in shop.items]
    initial = {name: sum(one.get(name, 0) for one in held) for one in held for name in one}
    found = {}
    for name, units in initial.items():
        mine = shipments.warehouse == name
        back = mine & ~np.isnan(shipments.returned_s)
        sent = (int(shipments.units[chosen].sum()) for chosen in (mine, back))
        found[name] = WarehouseUnits(units, *sent)
    return found
