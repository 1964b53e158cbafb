"""What the provider decides about an attempt to pay: the draws of both worlds, and live ones."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster.draws.philox import draw
from doorbuster.draws.purposes import Purpose
from doorbuster.provider import Provider, provider_answer
from doorbuster.scenario.payments import Channel

_DECLINE = int(Purpose.PROVIDER_DECLINE)
_TIMEOUT, _CAPTURED = int(Purpose.PROVIDER_TIMEOUT), int(Purpose.PROVIDER_TIMEOUT_CAPTURED)


class Attempt(NamedTuple):
    """A visitor and the number of the payment, from 0; with the seed, the name of its draws."""

    visitor: int
    number: int


class Decision(NamedTuple):
    """Time until it is made, whether the money is taken, why not, and whether anybody is told."""

    latency_s: float
    approved: bool
    decline_kind: str
    """`technical`, `business`, or nothing when approved."""
    is_answered: bool


def technical_fraction(channel: Channel, load_per_s: float) -> float:
    """Share of the attempts that fail for technical reasons.

    t(load) = t0 (1 + (k - 1) load / capacity), 1 at most, where t0 = decline_fraction x
    technical_share and k = surge.technical_factor; t0 without a surge.
    """
    at_rest = channel.decline_fraction * channel.technical_share
    surge = channel.surge
    if surge is None:
        return at_rest
    growth = (surge.technical_factor - 1) * load_per_s / surge.capacity_per_s
    return min(1.0, at_rest * (1 + growth))


def decide(
    provider: Provider, channel: Channel, index: int, attempt: Attempt, load_per_s: float
) -> Decision:
    """The decision about an attempt at the channel with this index, under this load.

    What the load adds are declines of attempts that would have been approved: one draw decides, so
    that more load never rescues a payment.
    """
    visitor, number = attempt
    latency_s, approved = provider_answer(provider, visitor, index, number)
    chance = draw(provider.seed, visitor, _DECLINE, number)
    at_rest = channel.decline_fraction * channel.technical_share
    added = technical_fraction(channel, load_per_s) - at_rest
    kind = ""
    if not approved:
        kind = "technical" if chance < at_rest else "business"
    elif chance < channel.decline_fraction + added:
        approved, kind = False, "technical"
    is_answered = True
    timeouts = channel.timeouts
    if timeouts and draw(provider.seed, visitor, _TIMEOUT, number) < timeouts.fraction:
        is_answered = False
        approved = draw(provider.seed, visitor, _CAPTURED, number) < timeouts.captured_fraction
        kind = "" if approved else "technical"
    return Decision(float(latency_s), bool(approved), kind, is_answered)
