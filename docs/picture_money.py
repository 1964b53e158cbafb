"""The pictures of money that a buyer loses, or the shop: order by order."""

from __future__ import annotations

import numpy as np
from picture_panels import BLUE, GREY, ORANGE, RED, SKY, figure, finish, offenders

from doorbuster.detectors.failures import DETECTORS
from doorbuster.detectors.sale import SaleBooks


def paid_and_lost(sale: SaleBooks) -> None:
    """The lock, its release, and the money after it."""
    (axes,) = figure()
    orders, charges = sale.orders, sale.charges
    places = offenders(sale, "paid_and_lost")
    for row, place in enumerate(places):
        begin, end = orders.reserved_s[place], orders.expires_s[place]
        axes.barh(row, end - begin, left=begin, height=0.55, color=SKY, lw=0)
        (own,) = _charges_of(sale, place)
        asked_s, captured_s = charges.asked_s[own], charges.captured_s[own]
        axes.barh(row, captured_s - asked_s, left=asked_s, height=0.14, color=ORANGE, lw=0)
        axes.plot(captured_s, row, "o", color=RED, ms=6)
    axes.plot(orders.released_s[places], range(len(places)), "x", color=GREY, ms=7, mew=2)
    axes.barh(0, 0, color=SKY, label="lock time")
    axes.barh(0, 0, color=ORANGE, label="payment in flight")
    axes.plot([], [], "x", color=GREY, ms=7, mew=2, label="released")
    axes.plot([], [], "o", color=RED, ms=6, label="captured, and kept")
    axes.set_yticks(range(len(places)), [f"order {orders.order_id[place]}" for place in places])
    axes.invert_yaxis()
    finish(axes, 4.2, "The money comes after the release: no order, no refund")
    axes.legend(loc="upper right")


def _charges_of(sale: SaleBooks, place: int) -> list[int]:
    """The places of an order's charges, in the order in which they were asked for."""
    own = np.flatnonzero(sale.charges.order_id == sale.orders.order_id[place])
    return [int(charge) for charge in own[np.argsort(sale.charges.asked_s[own])]]


def double_charge(sale: SaleBooks) -> None:
    """Two charges an order, and both take the money."""
    (axes,) = figure()
    orders, charges = sale.orders, sale.charges
    places = offenders(sale, "double_charge")
    kinds = ((-0.17, BLUE, "first charge"), (0.17, RED, "second charge"))
    for row, place in enumerate(places):
        for (offset, colour, _), own in zip(kinds, _charges_of(sale, place), strict=True):
            asked_s, captured_s = charges.asked_s[own], charges.captured_s[own]
            width = captured_s - asked_s
            axes.barh(row + offset, width, left=asked_s, height=0.3, color=colour, alpha=0.45, lw=0)
            axes.plot(captured_s, row + offset, "o", color=colour, ms=5)
    for _, colour, label in kinds:
        axes.plot([], [], "o-", color=colour, ms=5, label=f"{label}, captured")
    axes.set_yticks(range(len(places)), [f"order {orders.order_id[place]}" for place in places])
    axes.invert_yaxis()
    timeout_s = sale.scenario.payments.timeout
    finish(axes, 3.4, f"No answer for {timeout_s:g} s, a second charge: both take the money")
    axes.legend(loc="upper right")


def coupon_overuse(sale: SaleBooks) -> None:
    """Orders that carry the coupon, and what the shop can have counted."""
    coupon = sale.scenario.shop.coupon
    assert coupon is not None
    until_s = 0.6
    (axes,) = figure()
    carrying = sale.orders.discount_cents > 0
    at_s = np.sort(sale.orders.reserved_s[carrying])
    carried = np.arange(1, len(at_s) + 1)
    times_s = np.concatenate([[0.0], at_s, [until_s]])
    held = np.concatenate([[0], carried, [len(at_s)]])
    axes.step(times_s, held, where="post", color=BLUE, label="orders with the coupon")
    over = np.maximum(held, coupon.limit)
    axes.fill_between(times_s, over, coupon.limit, step="post", color=RED, alpha=0.35, lw=0)
    axes.axhline(coupon.limit, color=GREY, ls="--", lw=1)
    axes.annotate("limit: what the shop's own count never exceeds", (0.33, coupon.limit + 1))
    first = DETECTORS["coupon_overuse"](sale).evidence[0]
    axes.annotate(
        f"order {first['order_id']} at {first['at_s']:.2f} s:\nthe first too many",
        (first["at_s"], first["redemptions"]),
        (first["at_s"] + 0.1, 8),
        arrowprops={"arrowstyle": "->", "color": GREY},
    )
    axes.set_ylabel("orders")
    finish(axes, until_s, f"A coupon for {coupon.limit} orders, and {len(at_s)} carry it")
