"""Payment channels: how buyers pay, and how paying fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from doorbuster.scenario.base import Fraction, Name, Part, Weight
from doorbuster.scenario.distributions import Distribution, constant, lognormal
from doorbuster.scenario.durations import Instant, PositiveDuration

Rate = Annotated[float, Field(gt=0, le=1e9)]
"""Something a second."""


class Surge(Part):
    """How a channel's technical declines rise with its load. Live only."""

    capacity_per_s: Rate
    """Charges a second that the channel bears. Its load is the number of charges that it took in
    the last second."""
    technical_factor: Annotated[float, Field(ge=1, le=1_000)] = 3.0
    """By how much technical declines are multiplied when load equals capacity; they rise in
    proportion to the load, below and above it. Default 3: UPI's rose from 1 % to 2.31 % within
    2020, and at seven times the capacity it gives the 12 % of a bank's worst surge."""


class Timeouts(Part):
    """Attempts whose answer never comes. Live only."""

    fraction: Fraction = 0.005
    """Attempts that are never answered; whoever asks later what became of them is told. Default
    0.5 %, assumed."""
    captured_fraction: Fraction = 0.5
    """Share of these that took the money; the others failed for technical reasons. Default
    assumed."""


class Outage(Part):
    """A time without the channel. Live only."""

    start: Instant
    """When it begins."""
    duration: PositiveDuration
    """How long it lasts. A drill is 30m; outages of card schemes lasted some 2h."""
    answer: Literal["refuse", "hang"] = "refuse"
    """`refuse`: every charge and refund is answered with 503 at once. `hang`: it is kept waiting,
    and answered with 503 when the outage is over."""


class Webhooks(Part):
    """How the provider tells the shop by itself what became of a charge. Live only."""

    schedule: Literal["wechat", "alipay"] = "wechat"
    """When a notification that was not acknowledged is sent again: the published schedule of WeChat
    Pay (15 times in 24h4m) or Alipay (7 times in 24h24m); see docs/provider.md."""
    duplicate_fraction: Fraction = 0.005
    """Notifications that are sent a second time 1s later although acknowledged. WeChat Pay warns of
    it; the share is assumed."""
    late_fraction: Fraction = 0.01
    """Notifications of which the first delivery comes late. Default assumed."""
    late_by: Distribution = constant("15s")
    """How much later. Default 15s: the first of WeChat Pay's intervals."""
    reordered_fraction: Fraction = 0.0
    """Notifications that are held back until the next one of the channel has gone out, 5s at
    most."""


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
    technical_share: Fraction = 0.17
    """Share of the declines that are technical: the bank did not answer, the same attempt may
    succeed later. The others are business declines, such as too little money. Live only. Default:
    0.8 of 4.8 %, UPI."""
    surge: Surge | None = None
    """How technical declines rise with the load. Live only. Default: they do not."""
    timeouts: Timeouts | None = None
    """Attempts whose answer never comes. Live only. Default: none."""
    rate_limit_per_s: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """New charges within one second; to more the provider answers 429. Live only. Default: no
    limit."""
    outages: list[Outage] = Field(default_factory=list, max_length=1_000)
    """Times without the channel. Live only."""
    failover_to: Name | None = None
    """Channel by which the shop sends this one's payments while it is out; those that may be in
    flight stay. Live only. Default: none."""
    webhooks: Webhooks | None = None
    """Notifications to the shop. Live only. Default: none, the shop asks."""


class Payments(Part):
    """All channels, and how long the shop waits for a provider."""

    channels: Annotated[list[Channel], Field(min_length=1, max_length=64)]
    """The ways to pay."""
    timeout: PositiveDuration = 10.0
    """After this time without an answer the shop tells the buyer that the payment is pending and
    goes on asking. Default 10s, assumed."""

    def live_only(self) -> list[str]:
        """Path of everything that is written here and not modelled by the simulated world."""
        return list(_live_only(self))


LIVE_ONLY = (
    "technical_share",
    "surge",
    "timeouts",
    "rate_limit_per_s",
    "outages",
    "failover_to",
    "webhooks",
)
"""Fields of a channel that the payment provider emulator follows and the simulation does not."""
LIVE_ONLY_PARTS = (Surge, Timeouts, Outage, Webhooks)
"""What stands below them."""


def _live_only(payments: Payments) -> Iterator[str]:
    for channel in payments.channels:
        for name in LIVE_ONLY:
            default = Channel.model_fields[name].get_default(call_default_factory=True)
            if getattr(channel, name) != default:
                yield f"payments.channels.{channel.name}.{name}"
