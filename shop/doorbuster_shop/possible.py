"""What a shop of this kind cannot do: said before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorbuster.scenario import Scenario

SQLITE, POSTGRESQL, REDIS = "sqlite", "postgresql", "redis"
"""Words for stores without an address."""

COUNTS_IN_REDIS = ("prededuct", "prededuct_without_return")
"""Strategies whose counter stands in the process unless there is Redis."""
REMEMBERS = ("stuck_sold_out", "stale_expiry")
"""Strategies that keep in the process what no other process can see."""


class ImpossibleError(Exception):
    """Something that the scenario or the command wants and this shop cannot give; says why."""


def check_possible(
    scenario: Scenario, worker_count: int, store: str, has_redis: bool, has_provider: bool
) -> None:
    """Raises: ImpossibleError. has_provider: whether the payment provider is the shop's own."""
    _check_workers(scenario.shop.strategy, worker_count, has_redis=has_redis)
    for index, fault in enumerate(scenario.faults):
        place = f"faults[{index}]: {fault.kind}"
        if fault.kind == "restart_database" and store != POSTGRESQL:
            what = (
                "SQLite lives in the shop"
                if store == SQLITE
                else "the server is not the shop's own"
            )
            message = (
                f"{place}: cannot be carried out, {what}; use --store postgresql (without an "
                "address), or take the fault out of the scenario"
            )
            raise ImpossibleError(message)
        is_of_provider = fault.kind in ("provider_outage", "kill_provider") or (
            fault.kind == "freeze" and fault.of == "provider"
        )
        if is_of_provider and not has_provider:
            message = (
                f"{place}: cannot be carried out, the payment provider is not the shop's own; "
                "leave --provider out, or take the fault out of the scenario"
            )
            raise ImpossibleError(message)


def _check_workers(strategy: str, worker_count: int, *, has_redis: bool) -> None:
    if worker_count == 1:
        return
    if strategy in COUNTS_IN_REDIS and not has_redis:
        message = (
            f"{worker_count} workers: the strategy {strategy} keeps its counter in the process; "
            "give all of them one with --redis, or use one worker"
        )
        raise ImpossibleError(message)
    if strategy in REMEMBERS:
        message = (
            f"{worker_count} workers: the strategy {strategy} remembers in the process what the "
            "others would not know; use one worker"
        )
        raise ImpossibleError(message)
