"""The shop's store as tests hold it: every database, every strategy, called without `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster_shop.store.opening import open_store
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.store import Store
from doorbuster_shop.terms import ItemTerms, Terms

OPENS_S = 1_000.0
LOCK_S = 10.0
ITEMS = (ItemTerms("console", 49_900, 2, 5), ItemTerms("headset", 2_990, 3, 4))
TERMS = Terms(ITEMS, LOCK_S, 1.0, 2.0, ("card", "wallet"), "CNY")

IN_FLIGHT = 64
"""More than there are connections, and few enough that nobody waits too long for one."""

DATABASES = ("sqlite", "postgresql")
CORRECT = tuple(name for name in STRATEGIES if name not in BROKEN_STRATEGIES)


def on(strategies: tuple[str, ...], databases: tuple[str, ...] = DATABASES) -> list[Any]:
    """Parameters (database, strategy), those that need a server marked."""
    return [
        pytest.param(
            (database, strategy),
            id=f"{database}-{strategy}",
            marks=() if database == "sqlite" else pytest.mark.services,
        )
        for database in databases
        for strategy in strategies
    ]


class Kept:
    """A store and the event loop it lives in."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        self.store = store
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        """Every method of the store, run to its end."""
        method = getattr(self.store, name)
        return lambda *args, **kwargs: self.wait(method(*args, **kwargs))

    def wait(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(what)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> None:
        """What no method would do."""

        async def run() -> None:
            async with self.store.transaction() as session:
                await session.run(statement, values)

        self.wait(run())

    def reserved(
        self, *, key: str = "k", account: str = "a", at_s: float = OPENS_S, sku: str = "console"
    ) -> Reservation:
        reservation = self.reserve(Wish(key, sku, account, 1), at_s, LOCK_S)
        assert isinstance(reservation, Reservation), reservation
        return reservation

    def begun(self, reservation: Reservation, *, key: str = "p", at_s: float = OPENS_S) -> Payment:
        payment = self.begin_payment(Offer(key, reservation.id, "card", "m"), at_s)
        assert isinstance(payment, Payment), payment
        return payment

    def sold(self, key: str, *, account: str = "a", at_s: float = OPENS_S) -> Reservation:
        reservation = self.reserved(key=key, account=account, at_s=at_s)
        payment = self.begun(reservation, key=f"p {key}", at_s=at_s)
        self.settle_captured(payment.id, f"ch {key}", at_s)
        return reservation


def at_once(shop: Kept, calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Many calls of the store in flight together; what each was told, in their order."""

    async def gather() -> list[Any]:
        places = asyncio.Semaphore(IN_FLIGHT)

        async def take_place(call: Coroutine[Any, Any, Any]) -> Any:
            async with places:
                return await call

        return await asyncio.gather(*map(take_place, calls))

    told: list[Any] = shop.wait(gather())
    return told


def word(told: object) -> str:
    """What somebody was told, to be counted."""
    return told.value if isinstance(told, Refusal) else type(told).__name__


@contextmanager
def kept_store(
    database: str, strategy: str, request: pytest.FixtureRequest, terms: Terms = TERMS
) -> Iterator[Kept]:
    """A store in which the sale of `terms` has just begun."""
    address, redis_address = ":memory:", None
    if database == "postgresql":
        address = request.getfixturevalue("postgresql_address")
        if strategy.startswith("prededuct"):
            redis_address = request.getfixturevalue("redis_address")
    with asyncio.Runner() as runner:
        store = runner.run(open_store(address, strategy, redis_address))
        try:
            runner.run(store.begin_sale(terms, OPENS_S))
            yield Kept(store, runner)
        finally:
            runner.run(store.close())
