"""When a notification that nobody acknowledged is sent again: the published schedules."""

from __future__ import annotations

from typing import Literal

_M, _H = 60.0, 3600.0

GAPS_S: dict[Literal["wechat", "alipay"], tuple[float, ...]] = {
    "wechat": (15, 15, 30, 3 * _M, 10 * _M, 20 * _M, *(3 * (30 * _M,)), 60 * _M,
               *(3 * (3 * _H,)), *(2 * (6 * _H,))),
    "alipay": (4 * _M, 10 * _M, 10 * _M, 1 * _H, 2 * _H, 6 * _H, 15 * _H),
}  # fmt: skip
"""Seconds between two deliveries, after the first; when they are used up, the provider gives up.

Source: WeChat Pay's and Alipay's documentation of payment notifications (24h4m and 24h24m in all).
"""
ANSWER_TIMEOUT_S = 5.0
"""A receiver who takes longer has not acknowledged. Source: WeChat Pay."""
DUPLICATE_AFTER_S = 1.0
"""When the second copy of a duplicated notification follows. Source: WeChat Pay's staff."""


def remaining_gaps_s(gaps_s: tuple[float, ...], elapsed_s: float) -> tuple[float, ...]:
    """The schedule for one who comes back after a time: at once, then what was still to come."""
    due_s = 0.0
    for index, gap_s in enumerate(gaps_s):
        due_s += gap_s
        if due_s > elapsed_s:
            return (0.0, due_s - elapsed_s, *gaps_s[index + 1 :])
    return (0.0,)
