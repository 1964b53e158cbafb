"""The flat tables that both worlds write. Everything downstream is a filter over these.

All times are float64 seconds from the opening of the sale (T0), negative before it; absent times
are null. `replication` numbers the repetitions of a simulated sale; replication 0 has the seed of
the run, live runs have only that one. Codes are stored as their lower-case names, as dictionaries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from doorbuster.scenario.shop import Shop

_WORD = pa.dictionary(pa.int16(), pa.string())


def _field(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


_REPLICATION = _field("replication", pa.int16(), "repetition of a simulated sale, 0 in a live run")

VISITS = pa.schema(
    [
        _REPLICATION,
        _field("visitor", pa.int64(), "number of the visitor in the plan"),
        _field("persona", _WORD, "name of the persona"),
        _field("phase", _WORD, "name of the phase in which the visitor was planned"),
        _field("sku", _WORD, "item that the visitor came for"),
        _field("quantity", pa.int32(), "units wanted"),
        _field("account", pa.int64(), "account number"),
        _field("device", pa.int64(), "device number"),
        _field("ip", pa.int64(), "IP address number"),
        _field("address", pa.int64(), "delivery address number"),
        _field("card", pa.int64(), "means of payment number"),
        _field("channel", _WORD, "payment channel of the first attempt"),
        _field("arrival_s", pa.float64(), "planned arrival"),
        _field("started_s", pa.float64(), "first request sent", nullable=True),
        _field("reserved_s", pa.float64(), "reservation confirmed to the visitor", nullable=True),
        _field("paid_s", pa.float64(), "payment confirmed to the visitor", nullable=True),
        _field("left_s", pa.float64(), "end of the visit", nullable=True),
        _field("outcome", _WORD, "final outcome, a name of vocabulary.Outcome"),
        _field("price_paid_cents", pa.int64(), "amount paid, 0 if nothing"),
        _field("request_count", pa.int32(), "requests sent"),
        _field("failure_count", pa.int32(), "requests timed out, overloaded or in error"),
        _field("decline_count", pa.int32(), "payments declined"),
    ]
)

REQUESTS = pa.schema(
    [
        _REPLICATION,
        _field("visitor", pa.int64(), "number of the visitor in the plan"),
        _field("step", _WORD, "browse, cart, reserve, pay, poll, cancel or refund"),
        _field("attempt", pa.int32(), "how often this visitor has sent this step, from 0"),
        _field("intended_s", pa.float64(), "when the visitor wanted to send it"),
        _field("sent_s", pa.float64(), "when it was sent", nullable=True),
        _field("done_s", pa.float64(), "when the answer was complete or given up", nullable=True),
        _field("status", pa.int16(), "HTTP status, 0 where there was none"),
        _field("reply", _WORD, "business outcome, a name of vocabulary.Reply"),
    ]
)

STOCK = pa.schema(
    [
        _REPLICATION,
        _field("at_s", pa.float64(), "time of the reading"),
        _field("sku", _WORD, "item"),
        _field("available", pa.int64(), "units that can be reserved"),
        _field("locked", pa.int64(), "units in unpaid reservations"),
        _field("sold", pa.int64(), "units paid"),
    ]
)

ORDERS = pa.schema(
    [
        _REPLICATION,
        _field("order_id", pa.string(), "the target's name of the reservation"),
        _field("account", pa.string(), "who holds it, in the target's words"),
        _field("sku", _WORD, "item"),
        _field("quantity", pa.int32(), "units"),
        _field("amount_cents", pa.int64(), "what it costs"),
        _field("discount_cents", pa.int64(), "what it costs less by a coupon, 0 without one"),
        _field("state", _WORD, "a name of measures.books.ORDER_STATES"),
        _field("reserved_s", pa.float64(), "when its units were locked"),
        _field("expires_s", pa.float64(), "when the lock was to lapse"),
        _field("released_s", pa.float64(), "when its units were given back", nullable=True),
        _field("sold_s", pa.float64(), "when the target booked it as paid", nullable=True),
        _field("refund_asked_s", pa.float64(), "when a refund was granted", nullable=True),
        _field("returned_s", pa.float64(), "when a refund put its units back", nullable=True),
    ]
)
"""One row a reservation, as the target's database tells it after the sale."""

CHARGES = pa.schema(
    [
        _REPLICATION,
        _field("charge_id", pa.string(), "the provider's name of the charge"),
        _field("order_id", pa.string(), "the reference that the shop gave: its order"),
        _field("channel", _WORD, "payment channel"),
        _field("amount_cents", pa.int64(), "what was asked for"),
        _field("state", _WORD, "processing, captured, declined or refunded"),
        _field("asked_s", pa.float64(), "when the shop first asked"),
        _field("decided_s", pa.float64(), "when it was captured or declined", nullable=True),
        _field("captured_s", pa.float64(), "when the provider took the money", nullable=True),
        _field("refunded_s", pa.float64(), "when it gave the money back", nullable=True),
    ]
)
"""One row a charge in the provider's ledger, which alone knows the truth about money."""

SHIPMENTS = pa.schema(
    [
        _REPLICATION,
        _field("order_id", pa.string(), "the order that is sent, or a part of it"),
        _field("sku", _WORD, "item of one of its lines"),
        _field("warehouse", pa.string(), "where the units were taken from"),
        _field("units", pa.int32(), "units of the line that this warehouse sends"),
        _field("sent_s", pa.float64(), "when the order was split by warehouse"),
        _field("returned_s", pa.float64(), "when a refund put them back there", nullable=True),
    ]
)
"""One row an order, line and warehouse; only of sales whose items lie in warehouses."""

TABLES = {"visits": VISITS, "requests": REQUESTS, "stock": STOCK}
"""The tables of every run by the stems of their files in the run folder."""

ADDED_LATER = {"orders": ("discount_cents", "refund_asked_s", "returned_s")}
"""Columns that runs of earlier versions do not have: nothing stands in them, or 0 where it must."""

BOOKS = {"orders": ORDERS, "charges": CHARGES, "shipments": SHIPMENTS}
"""The books of the target and of its provider, likewise; absent where a target cannot tell them."""


def book_names(shop: Shop) -> tuple[str, ...]:
    """The books that a sale has."""
    return tuple(name for name in BOOKS if name != "shipments" or shop.has_warehouses)
