"""A channel's door: outages on the sale's clock, the rate limit, and the load behind it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from doorbuster.scenario.payments import Channel

WINDOW_S = 1.0
"""Load and rate are counted over this time back from now."""


class Closed(NamedTuple):
    """The channel is out until then."""

    until_s: float
    hangs: bool


class Door:
    """Counts whom it lets in. Times in seconds since the epoch; they must not fall."""

    def __init__(self, channel: Channel, opens_at_s: float) -> None:
        self._outages = [
            (opens_at_s + outage.start, outage.duration, outage.answer == "hang")
            for outage in channel.outages
        ]
        self._limit = channel.rate_limit_per_s
        self._entered: deque[float] = deque()

    def outage(self, now_s: float) -> Closed | None:
        """The outage at this moment, if there is one; of several the one that ends last."""
        found = [
            Closed(start_s + duration_s, hangs)
            for start_s, duration_s, hangs in self._outages
            if start_s <= now_s < start_s + duration_s
        ]
        return max(found, default=None)

    def full_for_s(self, now_s: float) -> float:
        """How long the rate limit keeps the next charge out; 0 when it may come in."""
        load_count = round(self.load_per_s(now_s) * WINDOW_S)
        if self._limit is None or load_count < self._limit:
            return 0.0
        return self._entered[load_count - self._limit] + WINDOW_S - now_s

    def enter(self, now_s: float) -> None:
        """Note that a charge came in."""
        self._entered.append(now_s)

    def load_per_s(self, now_s: float) -> float:
        """Charges that came in within the last second."""
        while self._entered and self._entered[0] <= now_s - WINDOW_S:
            self._entered.popleft()
        return len(self._entered) / WINDOW_S
