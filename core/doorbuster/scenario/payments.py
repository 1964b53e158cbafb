"""Payment channels: how buyers pay, and how paying fails."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from doorbuster.scenario.base import Fraction, Name, Part, Weight
from doorbuster.scenario.distributions import Distribution, lognormal
from doorbuster.scenario.durations import PositiveDuration


class Channel(Part):
    """One way to pay, as its provider behaves during the sale."""

    name: Name
    """Its name in records and reports."""
    share: Weight
    """Share of the visitors who try this channel first (relative to the other channels)."""
    latency: Distribution = lognormal("250ms", 0.5)
    """Time of the provider's answer. Default assumed: median 250ms, p95 570ms."""
    decline_fraction: Fraction = 0.048
    """Attempts that the provider declines, technical and business together. Default 0.8 % + 4 %:
    UPI, ordinary days of 2020 and 2025; a bank's worst peak reached 12 %."""
    late_fraction: Fraction = 0.005
    """Attempts whose answer comes late, so that the shop does not know the outcome. Default
    assumed."""
    late_by: Distribution = lognormal("12s", 0.3)
    """How much later a late answer comes. Default assumed."""


class Payments(Part):
    """All channels, and how long the shop waits for a provider."""

    channels: Annotated[list[Channel], Field(min_length=1, max_length=64)]
    """The ways to pay."""
    timeout: PositiveDuration = 10.0
    """After this time without an answer the shop tells the buyer that the payment is pending and
    goes on asking. Default 10s, assumed."""
