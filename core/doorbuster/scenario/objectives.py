"""Service level objectives: what must hold, over which steps, in which phase or window."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Fraction, Name, Part
from doorbuster.scenario.durations import Instant, PositiveDuration

Step = Literal["browse", "reserve", "pay", "poll", "cancel", "refund", "cart"]


class Window(Part):
    """A stretch of the sale, from inclusive to exclusive."""

    start: Instant
    """First moment of the window."""
    end: Instant
    """End of the window, no longer part of it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise PydanticCustomError("window", "the window must end after its start")
        return self


class _Objective(Part):
    name: Name
    """Its name in the verdict."""
    phase: str | None = None
    """Only what was intended in this phase. Default: the whole sale."""
    window: Window | None = None
    """Only what was intended in this window. Default: the whole sale."""

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if self.phase is not None and self.window is not None:
            raise PydanticCustomError("scope", "give a phase or a window, not both")
        return self


class ResponseTime(_Objective):
    """A share of the requests answers within a time, counted from the intended moment.

    A request that times out, is refused as overloaded or ends in an error counts as too late.
    """

    kind: Literal["response_time"]
    """How fast the shop answers."""
    step: Step | None = None
    """Default: all steps."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Share of the requests: 0.95 states a p95."""
    at_most: PositiveDuration
    """The time within which this share of the requests must be answered."""


class FailedRequests(_Objective):
    """The share of requests that time out, are refused as overloaded or end in an error."""

    kind: Literal["failed_requests"]
    """How often the shop does not answer properly."""
    step: Step | None = None
    """Default: all steps."""
    at_most: Fraction
    """Highest share of failed requests."""


class Conversion(_Objective):
    """The share of visitors that leave with a paid order."""

    kind: Literal["conversion"]
    """How many visitors buy."""
    persona: str | None = None
    """Only this persona. Default: all."""
    at_least: Fraction
    """Lowest share of visitors with a paid order."""


class StockShare(_Objective):
    """The share of the sold units that goes to one persona, such as bots."""

    kind: Literal["stock_share"]
    """How much of the stock one persona gets."""
    persona: str
    """The persona, such as bots."""
    at_most: Fraction
    """Highest share of the sold units."""


class SellOut(_Objective):
    """The time from the opening until the last unit of an item is paid."""

    kind: Literal["sell_out"]
    """How long the stock lasts."""
    sku: str | None = None
    """Default: all items."""
    at_least: PositiveDuration | None = None
    """Not sold out before this time."""
    at_most: PositiveDuration | None = None
    """Sold out by this time."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise PydanticCustomError("bound", "give at_least, at_most or both")
        return self


class UnitsSold(_Objective):
    """How much of the stock is paid at the end of the sale."""

    kind: Literal["units_sold"]
    """How much is sold in the end."""
    sku: str | None = None
    """Default: all items."""
    at_least_fraction: Fraction
    """Share of the stock."""


class RefundTime(_Objective):
    """A share of the refunds is back with the buyers within a time, from the shop's yes on.

    Judged by the books. A refund that is still open at the end counts only if its time is over by
    then. A phase or window speaks of the refunds that were accepted in it.
    """

    kind: Literal["refund_time"]
    """How soon buyers have their money back."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Share of the refunds: 0.99 states a p99."""
    at_most: PositiveDuration | None = None
    """The time within which this share must be back. Default: what the shop promises
    (`shop.refund.within`)."""


Objective = Annotated[
    ResponseTime | FailedRequests | Conversion | StockShare | SellOut | UnitsSold | RefundTime,
    Field(discriminator="kind"),
]
