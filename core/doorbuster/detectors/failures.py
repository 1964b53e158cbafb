"""All detectors by the name of the failure that each looks for, and their run over one sale."""

from __future__ import annotations

from collections.abc import Callable

from doorbuster.detectors import (
    coupon_overuse,
    double_charge,
    fragmentation,
    hot_row,
    late_release,
    limit_bypass,
    oversell,
    paid_and_lost,
    paid_but_released,
    queue_after_sell_out,
    release_stampede,
    repeated_callback,
    retry_storm,
    stock_drift,
    stock_leak,
    zombie_sold_out,
)
from doorbuster.detectors.sale import Finding, SaleBooks

DETECTORS: dict[str, Callable[[SaleBooks], Finding]] = {
    "oversell": oversell.detect,
    "stock_leak": stock_leak.detect,
    "fragmentation": fragmentation.detect,
    "zombie_sold_out": zombie_sold_out.detect,
    "paid_but_released": paid_but_released.detect,
    "paid_and_lost": paid_and_lost.detect,
    "double_charge": double_charge.detect,
    "repeated_callback": repeated_callback.detect,
    "stock_drift": stock_drift.detect,
    "limit_bypass": limit_bypass.detect,
    "coupon_overuse": coupon_overuse.detect,
    "late_release": late_release.detect,
    "release_stampede": release_stampede.detect,
    "hot_row": hot_row.detect,
    "queue_after_sell_out": queue_after_sell_out.detect,
    "retry_storm": retry_storm.detect,
}
"""In the order in which they are read: stock first, then money, then what it costs buyers."""

TOLD_BY_VISITORS = frozenset(
    {
        "stock_leak",
        "fragmentation",
        "zombie_sold_out",
        "release_stampede",
        "hot_row",
        "queue_after_sell_out",
        "retry_storm",
    }
)
"""Failures that only the requests of visitors show, so that a void measurement voids them, too."""


def failures_of(sale: SaleBooks) -> dict[str, Finding]:
    """What each detector finds in one sale."""
    return {name: detect(sale) for name, detect in DETECTORS.items()}
