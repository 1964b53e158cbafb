"""The target's own account of the sale, read back after the run: the judge of the invariants."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ItemAudit(BaseModel):
    """What the target's database says about one item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: str
    initial_units: int
    available_units: int
    locked_units: int
    sold_units: int
    orders_paid: int
    max_units_per_account: int
    """Highest number of units that one account holds or has bought; linked identities not seen."""
    sets_sold: int = 0
    """Of a bundle: sets in paid orders. Their units stand with its items; it has none itself."""
    lapsed_locks: int = 0
    """Reservations still locked although their time plus one sweep has passed."""
    orders_refunded: int = 0
    """Orders that were paid and are refunded, or about to be."""
    unreturned_units: int = 0
    """Of the sold units, those of such orders: they were sent, and nobody pays for them."""


class Audit(BaseModel):
    """The whole read-back. A target that cannot tell a number leaves it None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: list[ItemAudit]
    payments_captured: int | None = None
    """Payments that the provider says it took."""
    captured_cents: int | None = None
    orders_captured_twice: int | None = None
    """Orders with more than one captured payment."""
    paid_cents: int | None = None
    """Sum of the amounts of paid orders in the target's database."""
    refunds_open: int | None = None
    """Refunds that were granted and are not paid out; None, as the next, where nobody may ask."""
    refunds_open_cents: int | None = None
    """What they amount to: the provider still has it."""
    coupon_limit: int | None = None
    """Orders that may carry the coupon; None, as the next, where there is none."""
    coupon_redemptions: int | None = None
    """Orders that carry it: locked, paid, and paid ones that are given back."""
    discount_cents: int | None = None
    """Sum of the discounts of paid orders."""
    payments_without_order: int | None = None
    """Captured payments whose reservation was released and not refunded."""
