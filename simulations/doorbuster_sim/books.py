"""The books of a simulated sale: its orders and its provider's charges, as a live target's are.

An order is named `{visitor}-{attempt}` by the logical attempt at reserving that made it, a charge
`{visitor}-{attempt}` by the visitor's logical payment; an account is its number as text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from doorbuster.provider import CHARGED_AGAIN
from doorbuster.records.tables import CHARGES, ORDERS
from doorbuster.scenario.model import Scenario
from doorbuster_sim.clock import NANOSECONDS
from doorbuster_sim.tables import Column, filled, moments, words

ORDER_STATES = ("locked", "sold", "released", "cancelled", "refunding", "refunded", "open")
CHARGE_STATES = ("processing", "captured", "declined", "refunded")
"""By the codes in the columns below."""

# Made once: for each value made of a Python string, pyarrow looks for pandas on the disk.
_DASH, _NOTHING = pa.scalar("-"), pa.scalar("")
_ENDINGS = pa.array(["", "-again"])


@dataclass(frozen=True)
class OrderColumns:
    """One entry a reservation, in any order. Moments in nanoseconds, some may be ABSENT_NS."""

    visitor: Column
    attempt: Column
    account: Column
    item: Column
    quantity: Column
    state: Column
    reserved_ns: Column
    expires_ns: Column
    released_ns: Column
    sold_ns: Column
    discount_cents: Column
    refund_asked_ns: Column
    returned_ns: Column


@dataclass(frozen=True)
class ChargeColumns:
    """One entry a charge, in any order.

    attempt: of the logical payment; plus CHARGED_AGAIN for a second charge. order_attempt: the
    attempt in the name of its order. Moments in nanoseconds, some may be ABSENT_NS.
    """

    visitor: Column
    attempt: Column
    order_attempt: Column
    channel: Column
    item: Column
    quantity: Column
    state: Column
    asked_ns: Column
    decided_ns: Column
    captured_ns: Column
    refunded_ns: Column
    discount_cents: Column


def orders_table(columns: OrderColumns, scenario: Scenario, replication: int) -> pa.Table:
    """The table of orders by the moment of reserving, then by visitor and attempt."""
    rank = np.lexsort((columns.attempt, columns.visitor, columns.reserved_ns))
    reserved_ns, item, quantity = columns.reserved_ns[rank], columns.item[rank], columns.quantity
    quantity, discount_cents = quantity[rank], columns.discount_cents[rank]
    return filled(
        ORDERS,
        {
            "replication": np.full(len(rank), replication, dtype=np.int16),
            "order_id": _name(columns.visitor[rank], columns.attempt[rank]),
            "account": pc.cast(pa.array(columns.account[rank]), pa.string()),
            "sku": words(item, scenario.skus),
            "quantity": quantity,
            "amount_cents": _prices(scenario)[item] * quantity - discount_cents,
            "discount_cents": discount_cents,
            "state": words(columns.state[rank], ORDER_STATES),
            "reserved_s": reserved_ns / NANOSECONDS,
            "expires_s": columns.expires_ns[rank] / NANOSECONDS,
            "released_s": moments(columns.released_ns[rank]),
            "sold_s": moments(columns.sold_ns[rank]),
            "refund_asked_s": moments(columns.refund_asked_ns[rank]),
            "returned_s": moments(columns.returned_ns[rank]),
        },
    )


def charges_table(columns: ChargeColumns, scenario: Scenario, replication: int) -> pa.Table:
    """The table of charges by the moment of asking, then by visitor and attempt."""
    rank = np.lexsort((columns.attempt, columns.visitor, columns.asked_ns))
    visitor = columns.visitor[rank]
    list_cents = _prices(scenario)[columns.item[rank]] * columns.quantity[rank]
    return filled(
        CHARGES,
        {
            "replication": np.full(len(rank), replication, dtype=np.int16),
            "charge_id": _charge_name(visitor, columns.attempt[rank]),
            "order_id": _name(visitor, columns.order_attempt[rank]),
            "channel": words(columns.channel[rank], scenario.channel_names),
            "amount_cents": list_cents - columns.discount_cents[rank],
            "state": words(columns.state[rank], CHARGE_STATES),
            "asked_s": columns.asked_ns[rank] / NANOSECONDS,
            "decided_s": moments(columns.decided_ns[rank]),
            "captured_s": moments(columns.captured_ns[rank]),
            "refunded_s": moments(columns.refunded_ns[rank]),
        },
    )


def _prices(scenario: Scenario) -> Column:
    return np.array([item.price_cents for item in scenario.shop.items], dtype=np.int64)


def _charge_name(visitor: Column, attempt: Column) -> pa.Array:
    """As `_name`; a second charge for the same payment has its name and `-again`."""
    endings = _ENDINGS.take(pa.array(attempt // CHARGED_AGAIN))
    names = _name(visitor, attempt % CHARGED_AGAIN)
    return pc.binary_join_element_wise(names, endings, _NOTHING)


def _name(visitor: Column, attempt: Column) -> pa.Array:
    texts = (pc.cast(pa.array(numbers), pa.string()) for numbers in (visitor, attempt))
    return pc.binary_join_element_wise(*texts, _DASH)
