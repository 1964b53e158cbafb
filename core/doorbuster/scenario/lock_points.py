"""What goes with the place at which a shop locks units."""

from __future__ import annotations

from collections.abc import Iterator

from doorbuster.documents import Place, allowed_names
from doorbuster.scenario.shop import BROKEN_STRATEGIES, LOCKING_AT_PAYMENT, Shop


def lock_point_mistakes(shop: Shop) -> Iterator[tuple[Place, str]]:
    """What cannot be combined with the shop's lock point."""
    ways = {"payment": _locks_at_payment, "cart": _locks_in_the_cart}
    if shop.lock_point in ways:
        for what in ways[shop.lock_point](shop):
            yield ("shop", "lock_point"), what


def _locks_at_payment(shop: Shop) -> Iterator[str]:
    """The lock lives as long as the payment, and one thing is broken at a time."""
    is_counter = shop.strategy == "prededuct"
    broken = "it is broken in a way of its own"
    allowed: dict[str, tuple[str, tuple[str, ...]]] = {
        "strategy": (
            "its counter has nothing to count where orders take nothing" if is_counter else broken,
            LOCKING_AT_PAYMENT,
        ),
        "late_payment": ("no lock lapses before its payment", ("hold",)),
        "unanswered_charge": (broken, ("wait",)),
    }
    for field, (why, values) in allowed.items():
        value = getattr(shop, field)
        if value not in values:
            what = (
                f"'payment' cannot be combined with {field} {value!r} ({why})"
                f"{allowed_names(values)}; change one of the two"
            )
            yield what


def _locks_in_the_cart(shop: Shop) -> Iterator[str]:
    """A broken strategy knows no carts, and the books do not tell when a cart became an order."""
    if shop.strategy in BROKEN_STRATEGIES:
        what = (
            f"'cart' needs a correct strategy (got {shop.strategy!r}, which is broken in a way of "
            "its own); allowed 'order'; change one of the two"
        )
        yield what
    if shop.coupon is not None:
        what = (
            "'cart' cannot be combined with a coupon, which is redeemed by the order, whose moment "
            "no book of a cart tells; leave the coupon out or choose another lock_point"
        )
        yield what
