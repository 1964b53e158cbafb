"""Who comes, when, and how they behave: personas and phases."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from doorbuster.scenario.base import Fraction, Name, Part, Weight
from doorbuster.scenario.distributions import Distribution, constant, lognormal, uniform
from doorbuster.scenario.durations import Duration, Instant, PositiveDuration
from doorbuster.scenario.own_behaviour import OwnBehaviour
from doorbuster.scenario.shapes import Shape

PoolSize = Annotated[int, Field(ge=1, le=1_000_000_000)] | None


CART_FIELDS = ("cart_time", "abandon_fraction")
"""Of a persona: what it does only where carts lock units."""


class Identities(Part):
    """How many different identities a persona's visitors share; absent means one each."""

    accounts: PoolSize = None
    """Different accounts; purchase limits count by account."""
    devices: PoolSize = None
    """Different devices."""
    ips: PoolSize = None
    """Different IP addresses."""
    addresses: PoolSize = None
    """Different delivery addresses."""
    cards: PoolSize = None
    """Different means of payment."""


class Persona(Part):
    """One kind of visitor. Every default marked `assumed` has no published source."""

    share: Weight
    """Share of the arrivals (relative to the other personas), unless the phase has its own mix."""
    wants: dict[str, Weight] = Field(default_factory=dict)
    """Which item a visitor comes for, as weights by sku. Default: all items alike."""
    quantity: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Units that a visitor tries to buy. Default 1: the usual limit."""
    buy_fraction: Fraction = 1.0
    """Visitors who try to buy once they have seen the item; the others leave after the page.
    Default 1: the crowd of a drop comes to buy. Over all visitors of a sale 0.05 to 0.6 are usual
    (0.2 on Double 11 in 2012)."""
    think_time: Distribution = lognormal("2s", 0.6)
    """From the product page to pressing the buy button. Default assumed."""
    refresh_gap: Distribution = lognormal("3s", 0.4)
    """Between two looks at a page that does not yet sell. Default 3s, assumed."""
    refresh_limit: Annotated[int, Field(ge=0, le=100_000)] = 8
    """Looks at a sale that has not opened before leaving. Default 8, assumed."""
    restock_refresh_limit: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Looks after `sold out`, in the hope of released stock, on top of refresh_limit. Default 0,
    assumed."""
    request_timeout: PositiveDuration = 15.0
    """After this time without an answer the visitor drops the request. Default 15s, assumed:
    longer than the shop waits for a payment provider."""
    retry_limit: Annotated[int, Field(ge=0, le=1_000)] = 3
    """Failed requests (timeout, overload, error) in the whole visit before leaving. Default
    assumed."""
    retry_wait: Distribution = lognormal("1s", 0.5)
    """Between a failed request or a declined payment and the next try. Default assumed."""
    patience: Distribution = constant("300s")
    """From the arrival: later than this the visitor no longer looks or reserves, but still orders
    what is in the cart, and still pays. Default 5m, assumed."""
    cart_time: Distribution = lognormal("20s", 0.8)
    """From the cart to the order. Only with `lock_point: cart`. Default assumed: an address and a
    means of payment are filled in by then."""
    abandon_fraction: Fraction = 0.2
    """Carts that are never ordered; their visitors leave at once. Only with `lock_point: cart`.
    Default 0.2, assumed. Of the carts of shops in general some 70 % are abandoned (Baymard
    Institute), most by people who only look around: nobody only looks around in the first seconds
    of a flash sale."""
    payment_time: Distribution = lognormal("8s", 0.5)
    """From the reservation to sending the payment. Default assumed."""
    unpaid_fraction: Fraction = 0.2
    """Reservations that are never paid. Default 0.20; 0.15-0.5 is reported, weakly sourced."""
    cancel_fraction: Fraction = 0.0
    """Of these: they cancel at the time at which they would have paid, so that their units come
    back at once; the others just leave. Default 0."""
    payment_attempt_limit: Annotated[int, Field(ge=1, le=100)] = 3
    """Payments that a visitor tries before giving up. Default assumed."""
    retry_same_fraction: Fraction = 0.25
    """After a decline: tries the same means again. Default 25 % (bettercharge)."""
    retry_other_fraction: Fraction = 0.34
    """After a decline: tries another channel. Default 34 % (guardianpays); the rest leaves."""
    poll_gap: Distribution = uniform("1s", "2s")
    """Between two questions after a pending payment. Default assumed."""
    poll_limit: Annotated[int, Field(ge=0, le=10_000)] = 30
    """Questions after a pending payment before leaving. Default assumed."""
    coupon_fraction: Fraction = 0.0
    """Visitors who bring the shop's coupon. They buy at the full price, too, when it is used up.
    Default 0."""
    refund_fraction: Fraction = 0.0
    """Buyers who ask for their money back once they have been told that they have paid. Default
    0."""
    refund_after: Distribution = lognormal("30s", 0.8)
    """How long after that they ask. Default assumed: who has bought twice, or too much."""
    channels: dict[str, Weight] = Field(default_factory=dict)
    """First payment channel as weights by name. Default: the channels' own shares."""
    identities: Identities = Identities()
    """Identities that the visitors share. Default: each visitor is somebody else."""


class Phase(Part):
    """A stretch of time with one arrival shape. Phases may touch but not overlap."""

    name: Name
    """Its name in reports and objectives."""
    start: Instant
    """Seconds from the opening; negative before it."""
    duration: PositiveDuration
    """How long it lasts."""
    shape: Shape
    """How the arrivals go up and down in it."""
    mix: dict[str, Weight] = Field(default_factory=dict)
    """Weights of the personas in this phase. Default: their own shares."""


class Crowd(Part):
    """The planned arrivals: normal load x load factor x the shape of each phase."""

    normal_load_per_s: Annotated[float, Field(gt=0, le=1e9)]
    """Visitors a second on a normal day, measured. A shape's level 1.0 means this rate."""
    load_factor: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    """Multiple of the normal load that this sale is rehearsed at. Default 3; 10 for a gate. The
    campaign documents ask for both."""
    absolute_peak_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Instead of the load factor: scale the whole crowd so that its highest rate is this one."""
    phases: Annotated[list[Phase], Field(min_length=1, max_length=1_000)]
    """The stretches of the sale, in any order."""
    personas: Annotated[dict[Name, Persona], Field(min_length=1, max_length=64)]
    """The kinds of visitors by name."""
    behaviour: OwnBehaviour | None = None
    """Your own Python function instead of the built-in behaviour. The SimPy engine then runs."""
    drain: Duration = 10.0
    """Time after the last arrival in which visitors may finish; then the sale ends."""
