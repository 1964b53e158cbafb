"""The books of a sale as NumPy columns: the target's orders and its provider's charges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from doorbuster.measures.columns import Floats, Integers, columns_of
from doorbuster.records.tables import CHARGES, ORDERS

Texts = NDArray[np.object_]

ORDER_STATES = ("locked", "sold", "released", "cancelled", "refunded", "refunding", "open")
CHARGE_STATES = ("processing", "captured", "declined", "refunded")


class Orders(NamedTuple):
    """One entry a reservation. Times in seconds from T0, NaN where it did not happen."""

    replication: Integers
    order_id: Texts
    account: Texts
    sku: Integers
    quantity: Integers
    amount_cents: Integers
    discount_cents: Integers
    state: Integers
    reserved_s: Floats
    expires_s: Floats
    released_s: Floats
    sold_s: Floats
    refund_asked_s: Floats
    returned_s: Floats


class Charges(NamedTuple):
    """One entry a charge. Times in seconds from T0, NaN where it did not happen."""

    replication: Integers
    charge_id: Texts
    order_id: Texts
    amount_cents: Integers
    state: Integers
    asked_s: Floats
    decided_s: Floats
    captured_s: Floats
    refunded_s: Floats


def orders_of(table: pa.Table, *, skus: Sequence[str]) -> Orders:
    """The table of orders. Raises: RecordsError for an unknown item or state."""
    return Orders(**columns_of(table, Orders._fields, {"sku": skus, "state": ORDER_STATES}))


def charges_of(table: pa.Table) -> Charges:
    """The table of charges. Raises: RecordsError for an unknown state."""
    return Charges(**columns_of(table, Charges._fields, {"state": CHARGE_STATES}))


NO_ORDERS = orders_of(ORDERS.empty_table(), skus=())
NO_CHARGES = charges_of(CHARGES.empty_table())
