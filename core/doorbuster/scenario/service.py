"""The service model: what the simulated world must know about the system under test."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Name, Part
from doorbuster.scenario.distributions import Distribution, constant, mean_of
from doorbuster.scenario.durations import Duration

MAX_PASSAGES = 16
"""Passages of one step at most. Names the draws of service times: part of the results."""


class Station(Part):
    """A pool of equal servers with one queue: worker processes, connections, a row lock."""

    name: Name
    """Its name in passages and reports."""
    servers: Annotated[int, Field(ge=1, le=1_000_000)]
    """Requests that it works on at once."""
    queue_limit: Annotated[int, Field(ge=0, le=10_000_000)] = 2048
    """Requests that may wait; the next one is refused as overloaded. Default: the backlog of a
    listening socket in common servers."""
    per_item: bool = False
    """One such pool for each item: with one server it is the hot row, the stock row that every
    buyer of an item must lock in turn."""


def _takes_time(time: Distribution) -> Distribution:
    if mean_of(time) <= 0:
        raise PydanticCustomError(
            "service_time", "a service time must be longer than 0; write for example 2ms"
        )
    return time


class Passage(Part):
    """One stay at one station."""

    station: str
    """Name of the station."""
    time: Annotated[Distribution, AfterValidator(_takes_time)]
    """How long one server is busy with the request."""


Passages = Annotated[list[Passage], Field(min_length=1, max_length=MAX_PASSAGES)]


class Service(Part):
    """Stations, and which of them each step of a visit passes, in order.

    The stock decision falls at the end of the last passage of `reserve`, with `lock_point: cart` of
    `cart`.
    """

    network: Distribution = constant("0.5ms")
    """Time of each request outside the stations. Default 0.5ms, loopback; about 20-60ms for
    buyers on mobile networks."""
    stations: Annotated[list[Station], Field(min_length=1, max_length=64)]
    """All stations of the system."""
    browse: Passages
    """What a look at the product page passes."""
    reserve: Passages
    """What a reservation passes."""
    pay: Passages
    """Before the payment provider is called; no station is held while it answers."""
    poll: Passages | None = None
    """Asking for a pending payment. Default: like browse."""
    cancel: Passages | None = None
    """Cancelling a reservation. Default: like reserve."""
    refund: Passages | None = None
    """Asking for the money back. Default: like reserve."""
    cart: Passages | None = None
    """Putting units into the cart, where that locks them (`lock_point: cart`). Default: like
    reserve."""
    rollback: Duration = 0.0
    """How long the last station of a reservation is kept by whoever is overtaken when its turn
    comes (strategy `optimistic`): the row stays locked until that transaction is rolled back.
    Default 0s; in a shop about the time of an answer and one more statement, 0.5-2ms."""

    @property
    def by_step(self) -> dict[str, list[Passage]]:
        """What each step passes, the defaults filled in."""
        return {
            "browse": self.browse,
            "reserve": self.reserve,
            "pay": self.pay,
            "poll": self.poll or self.browse,
            "cancel": self.cancel or self.reserve,
            "refund": self.refund or self.reserve,
            "cart": self.cart or self.reserve,
        }
