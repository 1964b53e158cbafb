"""Faults on the sale's clock: what breaks, when, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from doorbuster.scenario.base import Name, Part
from doorbuster.scenario.durations import Instant, PositiveDuration


class _Fault(Part):
    """When it begins, and how long it lasts."""

    start: Instant
    """When it begins."""
    duration: PositiveDuration
    """After this time all is well again. Real clocks: 15m to switch to another server, 30m to
    repair, 2h to switch a payment interface."""


class KillWorker(_Fault):
    """`kill -9` of one of the shop's workers, with all that it was about to answer."""

    kind: Literal["kill_worker"]
    """Another worker takes its place after `duration`."""
    station: Name | None = None
    """Station that loses one of its servers in simulation. Default: the first of
    `service.stations`."""


class KillShop(_Fault):
    """`kill -9` of the whole shop: nobody answers, connections are refused, nothing is swept."""

    kind: Literal["kill_shop"]
    """After `duration` the shop runs again and asks the provider about every open payment."""


class RestartDatabase(_Fault):
    """The database stops at once and is back after `duration`; what it was doing is undone."""

    kind: Literal["restart_database"]
    """Whoever needs it meanwhile is told that the shop is overloaded."""
    station: Name | None = None
    """The database's station in simulation. Default: the last one that `reserve` passes."""


class SlowDatabase(_Fault):
    """Every transaction takes longer: a lost cache, a backup, a noisy neighbour."""

    kind: Literal["slow_database"]
    """Correct, and slow."""
    extra: PositiveDuration = 0.05
    """By how much longer. Default 50ms, assumed."""
    station: Name | None = None
    """The database's station in simulation. Default: the last one that `reserve` passes."""


class Freeze(_Fault):
    """A process that is alive and does not move (SIGSTOP): a long collection, a stalled host."""

    kind: Literal["freeze"]
    """What it was doing goes on afterwards; who comes meanwhile waits."""
    of: Literal["shop", "provider"] = "shop"
    """Who."""


class ProviderOutage(_Fault):
    """No payment channel at all; for one of them alone see `outages` of a channel."""

    kind: Literal["provider_outage"]
    """The provider stands, its payments do not."""
    answer: Literal["refuse", "hang"] = "refuse"
    """`refuse`: every charge is answered with 503 at once. `hang`: it is kept waiting, and
    answered with 503 when the outage is over."""


class KillProvider(_Fault):
    """`kill -9` of the payment provider: connections are refused until `duration` is over."""

    kind: Literal["kill_provider"]
    """Its journal survives: what it has captured stays captured."""


Fault = Annotated[
    KillWorker | KillShop | RestartDatabase | SlowDatabase | Freeze | ProviderOutage | KillProvider,
    Field(discriminator="kind"),
]
"""One fault of any kind."""
