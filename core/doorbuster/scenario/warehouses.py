"""Which shops may keep their stock in warehouses, and which items have to lie in one."""

from __future__ import annotations

from collections.abc import Iterator

from doorbuster.documents import Place
from doorbuster.scenario.shop import BROKEN_STRATEGIES, Shop, Strategy

WITHOUT_WAREHOUSES: frozenset[Strategy] = BROKEN_STRATEGIES - {"check_then_write"}
"""Strategies under which nothing is sent. One that oversells shows who never gets a parcel."""


def warehouse_mistakes(shop: Shop) -> Iterator[tuple[Place, str]]:
    """Items that lie nowhere, and a strategy by which nobody knows what is to be sent."""
    if not shop.has_warehouses:
        return
    for number, item in enumerate(shop.items):
        if item.warehouses is None and item.bundle is None:
            what = (
                f"lies in no warehouse, as other items do (got {item.stock}); name warehouses for "
                "every item that has a stock, or for none"
            )
            yield ("shop", "items", number, "stock"), what
    if shop.strategy in WITHOUT_WAREHOUSES:
        what = (
            f"{shop.strategy!r} cannot send from warehouses (it releases or refuses what is paid "
            "or free, in a way of its own); choose another strategy or write each item's stock"
        )
        yield ("shop", "strategy"), what
