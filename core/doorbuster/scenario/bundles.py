"""What a bundle may be made of, and which shops can sell one."""

from __future__ import annotations

from collections.abc import Iterator

from doorbuster.documents import Place, allowed_names, suggestion
from doorbuster.scenario.shop import BROKEN_STRATEGIES, Shop, Strategy

WITHOUT_BUNDLES: frozenset[Strategy] = BROKEN_STRATEGIES | {"buckets"}
"""Strategies that cannot sell a bundle."""


def bundle_mistakes(shop: Shop) -> Iterator[tuple[Place, str]]:
    """Components that nobody can have, and a strategy that cannot take several lines."""
    stocked = [item.sku for item in shop.items if item.bundle is None]
    bundles = {item.sku for item in shop.items if item.bundle is not None}
    for number, item in enumerate(shop.items):
        for sku in item.bundle or ():
            place: Place = ("shop", "items", number, "bundle", sku)
            if sku in bundles:
                what = f"a bundle holds no bundle (got {sku!r}); name what is in it"
                yield place, f"{what}{allowed_names(stocked)}"
            elif sku not in stocked:
                hint = suggestion(sku, stocked)
                yield place, f"unknown sku (got {sku!r}){allowed_names(stocked)}{hint}"
    if bundles and shop.strategy in WITHOUT_BUNDLES:
        why = (
            "the units of each of its items would lie in another bucket"
            if shop.strategy == "buckets"
            else "it is broken in a way of its own"
        )
        what = (
            f"{shop.strategy!r} cannot sell a bundle ({why}); choose another strategy or leave "
            f"the bundles out"
        )
        yield ("shop", "strategy"), what
