"""What travels over the shop's API: the bodies of requests and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]


class Body(BaseModel):
    """A JSON object without surprises: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class CartRequest(Body):
    """Units that a buyer wants."""

    sku: Text
    quantity: Annotated[int, Field(ge=1, le=1_000)] = 1
    account: Text | Annotated[int, Field(ge=0, lt=2**63)]
    """Who buys, as a name or a number. The purchase limit counts per account."""


class ReservationRequest(CartRequest):
    """Units that a buyer wants."""

    coupon: bool = False
    """Whether the buyer brings the coupon of the sale. One that is used up is no refusal."""


class PaymentRequest(Body):
    """How a buyer pays."""

    channel: Text
    """One of the scenario's payment channels."""
    means: Text
    """A token for the means of payment. `test-<visitor>-<attempt>` names the provider's draw."""


class ResetRequest(Body):
    """A new sale."""

    opens_at_epoch_s: Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
    """When it opens, seconds since the Unix epoch."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """New seed of the provider's draws. Default: as before."""
    force: bool = False
    """Reset although payments are in flight; they are forgotten."""


class ItemReply(Body):
    """An item as buyers see it."""

    sku: str
    price_cents: Count
    """Price of one unit."""
    available: Count
    """Units that can be reserved now."""
    status: Literal["on_sale", "sold_out", "not_open"]


class ReservationReply(Body):
    """An order that is to be paid."""

    reservation_id: str
    amount_cents: Count
    """What is to be paid."""
    discount_cents: Count
    """What the coupon has taken off; 0 without one, or when it is used up."""
    expires_in_s: Annotated[float, Field(ge=0)]
    """Time left to begin a payment; 0 when it is over."""


class CartReply(Body):
    """Units that are locked in a cart."""

    cart_id: str
    """The order that is made of it has the same id."""
    amount_cents: Count
    """What they cost."""
    expires_in_s: Annotated[float, Field(ge=0)]
    """Time left to order and to begin a payment; 0 when it is over."""


class PaymentReply(Body):
    """Where a payment stands."""

    payment_id: str
    status: Literal["paid", "pending", "declined", "expired"]
    """`expired`: the lock was gone; money that was taken is given back."""


class StockReply(Body):
    """Where the units of one item are. Below zero only where a broken strategy has been at work."""

    sku: str
    available: int
    locked: int
    sold: int


class StockListReply(Body):
    """Stock of all items."""

    items: list[StockReply]


class OrderReply(Body):
    """A reservation and what became of it. Times in seconds from the opening."""

    order_id: str
    account: str
    sku: str
    quantity: Count
    amount_cents: Count
    discount_cents: Count
    """What the coupon has taken off."""
    state: Literal[
        "locked", "open", "cart", "sold", "released", "cancelled", "refunding", "refunded"
    ]
    """`open`: it holds no units, for payments lock them here. `cart`: it holds units, and is not
    ordered yet."""
    reserved_s: float
    expires_s: float
    """When the lock lapses unless it is paid."""
    released_s: float | None
    """When its units went back on the shelf."""
    sold_s: float | None
    refund_asked_s: float | None
    """When its buyer was granted the money back."""
    returned_s: float | None
    """When that put its units back on the shelf."""


class OrderListReply(Body):
    """All orders, in the order in which they were made."""

    orders: list[OrderReply]


class ShipmentReply(Body):
    """Units of one line of an order from one warehouse. Times in seconds from the opening."""

    order_id: str
    sku: str
    warehouse: str
    units: Count
    sent_s: float
    """When the order was split by warehouse."""
    returned_s: float | None
    """When a refund put them back there."""


class WarehouseReply(Body):
    """Units of one item in one warehouse."""

    sku: str
    warehouse: str
    initial: Count
    available: Count


class ShipmentListReply(Body):
    """What every warehouse has sent, and what is left in it; empty where items lie in none."""

    shipments: list[ShipmentReply]
    warehouses: list[WarehouseReply]


class ChargeReply(Body):
    """A charge as the payment provider knows it. Times in seconds from the opening."""

    charge_id: str
    order_id: str
    channel: str
    amount_cents: Count
    state: Literal["processing", "captured", "declined", "refunded"]
    asked_s: float
    decided_s: float | None
    captured_s: float | None
    refunded_s: float | None


class ChargeListReply(Body):
    """The provider's ledger."""

    charges: list[ChargeReply]


class NoticeReply(Body):
    """A notification of the provider was taken."""

    id: str


class ResetReply(Body):
    """The sale that was set up."""

    opens_at_epoch_s: float
    faults_port: int | None
    """Port of the same machine where faults of this shop can be asked for (docs/faults.md)."""


class WithdrawalReply(BaseModel):
    """Body of a reply to DELETE /reservations/{reservation_id}."""

    reservation_id: str
    status: Literal["cancelled"]


class RefundReply(BaseModel):
    """Body of a reply to POST /reservations/{reservation_id}/refund."""

    reservation_id: str
    status: Literal["refunding", "refunded"]
    amount_cents: Count


class CancelReply(Body):
    """What became of a lock that the operator wanted to release."""

    released: bool
    """False when it was not locked any more."""


class HealthReply(Body):
    """Whether the shop answers."""

    status: Literal["ok"]


class ProblemReply(Body):
    """Why a request was not served."""

    code: str
    """For programs."""
    message: str
    """For people."""
