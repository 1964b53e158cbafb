"""The provider's HTTP API; docs/provider.md tells it to those who call it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorbuster.scenario.payments import Payments
from doorbuster_shop.answers import (
    ProblemError,
    answer,
    idempotency_key,
    on_problem,
    problem,
    read_body,
)
from doorbuster_shop.provider.charges import CapturedError, Charge, Demand, KeyReusedError
from doorbuster_shop.provider.counter import Counter, Terms
from doorbuster_shop.provider.door import Closed
from doorbuster_shop.provider.views import ledger_row, view

HANG_MAX_S = 120.0
"""A request that is never answered is given up after this time, if the shop has not done so."""

Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChargeBody(_Body):
    """Body of POST /charges."""

    channel: Text
    means: Text
    amount_cents: Annotated[int, Field(ge=0, le=10**15)]
    reference: Text


class CloseBody(_Body):
    """Body of POST /charges/close."""

    idempotency_key: Text


class RefundBody(_Body):
    """Body of POST /refunds."""

    charge_id: Text


class OutageBody(_Body):
    """Body of PUT /outage."""

    answer: Literal["refuse", "hang"] = "refuse"
    duration_s: Annotated[float, Field(gt=0, le=86_400)]


class ResetBody(_Body):
    """Body of POST /reset."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    opens_at_s: Annotated[float, Field(ge=0, le=1e11)] | None = None


class ProviderEndpoints:
    """Translates between HTTP and the counter."""

    def __init__(self, counter: Counter, clock: Callable[[], float]) -> None:
        self._counter = counter
        self._clock = clock

    async def post_charge(self, request: Request) -> Response:
        """Answer when the provider has decided; a repeated key waits for the same decision."""
        key = idempotency_key(request)
        body = await read_body(request, ChargeBody)
        counter = self._counter
        if body.channel not in counter.channels:
            allowed = ", ".join(counter.channels)
            message = f"unknown channel (got {body.channel!r}); allowed: {allowed}"
            raise ProblemError(422, "unknown_channel", message)
        demand = Demand(key, **body.model_dump())
        try:
            charge = counter.books.known(demand)
        except KeyReusedError:
            message = "this idempotency key belongs to another demand; choose a new one"
            raise ProblemError(422, "idempotency_key_reused", message) from None
        if charge is not None:
            return await self._decided(charge)
        if key in counter.books.closed_keys:
            content = {"charge_id": None, "status": "closed", "code": "closed"}
            return answer({**content, "message": "this key was closed; nothing was taken"}, 402)
        refusal = await self._refusal(request, demand.channel)
        if refusal is not None:
            return refusal
        charge = counter.charge(demand)
        if charge.is_answered:
            return await self._decided(charge)
        await _hang(request, HANG_MAX_S)
        return problem(504, "no_answer", "the channel did not answer; ask what became of it")

    async def _decided(self, charge: Charge) -> Response:
        """The answer of a charge once it is decided or closed."""
        books = self._counter.books
        # A timer may fire a little early.
        while (wait_s := charge.decides_at_s - self._clock()) > 0:
            await asyncio.sleep(wait_s)
        if books is not self._counter.books:
            raise ProblemError(409, "reset", "the books were reset while this charge was waiting")
        charge = books.charges[charge.id]
        status = charge.status(self._clock())
        return answer(view(charge, status), 200 if status in ("captured", "refunded") else 402)

    async def _refusal(self, request: Request, channel: str) -> Response | None:
        """Why the channel takes nothing now, or None."""
        now_s = self._clock()
        door = self._counter.doors[channel]
        outage = self._counter.outage(channel)
        if outage is not None:
            return await self._out_of_order(request, outage, channel)
        wait_s = door.full_for_s(now_s)
        if wait_s > 0:
            message = f"more than {self._counter.channels[channel].rate_limit_per_s} in a second"
            return problem(429, "rate_limited", message, {"Retry-After": f"{math.ceil(wait_s)}"})
        return None

    async def _out_of_order(self, request: Request, outage: Closed, who: str) -> Response:
        if outage.hangs:
            await _hang(request, min(HANG_MAX_S, outage.until_s - self._clock()))
        # An honest provider does not know how long its outage lasts.
        headers = {"Retry-After": "1"}
        return problem(503, "channel_unavailable", f"{who} is out of order", headers)

    async def get_charge(self, request: Request) -> Response:
        """One charge by its id."""
        return self._told(self._counter.books.charges.get(request.path_params["charge_id"]))

    async def find_charge(self, request: Request) -> Response:
        """The charge that was made under an idempotency key: how a shop asks what became of it."""
        return self._told(
            self._counter.books.by_key(request.query_params.get("idempotency_key", ""))
        )

    def _told(self, charge: Charge | None) -> Response:
        if charge is None:
            raise ProblemError(404, "unknown_charge", "there is no such charge")
        return answer(view(charge, charge.status(self._clock())))

    async def post_close(self, request: Request) -> Response:
        """Close an unpaid charge, known or still to come; a captured one says that it is."""
        body = await read_body(request, CloseBody)
        outage = self._counter.total_outage()
        if outage is not None:
            return await self._out_of_order(request, outage, "every channel")
        try:
            charge = self._counter.close_key(body.idempotency_key)
        except CapturedError:
            charge = self._counter.books.by_key(body.idempotency_key)
            assert charge is not None
            message = "the money was taken; refund it if it is not wanted"
            seen = view(charge, charge.status(self._clock()))
            return answer({**seen, "code": "captured", "message": message}, 409)
        if charge is None:
            key = body.idempotency_key
            return answer({"charge_id": None, "idempotency_key": key, "status": "closed"})
        return answer(view(charge, charge.status(self._clock())))

    async def post_refund(self, request: Request) -> Response:
        """Give the whole amount of a captured charge back; repeating it changes nothing."""
        body = await read_body(request, RefundBody)
        charge = self._counter.books.charges.get(body.charge_id)
        if charge is None:
            raise ProblemError(404, "unknown_charge", "there is no charge with this id")
        outage = self._counter.outage(charge.channel)
        if outage is not None and charge.refunded_at_s is None:
            return await self._out_of_order(request, outage, charge.channel)
        if self._counter.refund(charge) is None:
            raise ProblemError(409, "not_captured", "nothing was captured by this charge")
        return answer({"charge_id": charge.id, "status": "refunded"})

    async def get_ledger(self, request: Request) -> Response:
        """The truth about money: totals, and every charge with its times."""
        del request
        now_s, books = self._clock(), self._counter.books
        rows = [ledger_row(charge, now_s) for charge in books.charges.values()]
        head: dict[str, Any] = {"now_s": now_s, "opens_at_s": self._counter.opens_at_s}
        return answer({**head, **asdict(books.totals(now_s)), "charges": rows})

    async def get_captures(self, request: Request) -> Response:
        """Every charge whose money the provider still has, as (reference, amount) pairs."""
        del request
        kept = self._counter.books.captures(self._clock())
        return answer({"captures": [(charge.reference, charge.amount_cents) for charge in kept]})

    async def get_notifications(self, request: Request) -> Response:
        """How many notifications wait, were acknowledged, were given up."""
        del request
        notifier = self._counter.notifier
        names = ("acknowledged", "given_up", "deliveries", "held_back")
        counts = {name: notifier.counts[name] if notifier else 0 for name in names}
        return answer({"waiting": notifier.waiting_count if notifier else 0, **counts})

    async def post_reset(self, request: Request) -> Response:
        """Empty the books; draw from another seed, and move the opening, if they are given."""
        body = await read_body(request, ResetBody)
        await self._counter.reset(body.seed, body.opens_at_s)
        opens_at = self._counter.opens_at_s
        return answer({"seed": self._counter.seed, "opens_at_s": opens_at})

    async def get_health(self, request: Request) -> Response:
        """Whether the provider answers, and which of its channels are out."""
        del request
        counter = self._counter
        return answer({"status": "ok", "out": [n for n in counter.channels if counter.outage(n)]})

    async def put_outage(self, request: Request) -> Response:
        """From now on no channel takes anything, for a time or until DELETE /outage."""
        body = await read_body(request, OutageBody)
        self._counter.begin_outage(body.duration_s, hangs=body.answer == "hang")
        return answer({"out": list(self._counter.channels)})

    async def delete_outage(self, request: Request) -> Response:
        """The channels are as the scenario has them."""
        del request
        self._counter.end_outage()
        return answer({"out": []})


async def _hang(request: Request, longest_s: float) -> None:
    """Say nothing until the client is gone, or for the longest time."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), longest_s)
    except TimeoutError:
        return


def provider_app(payments: Payments, terms: Terms, clock: Callable[[], float]) -> Starlette:
    """The provider as an ASGI application."""
    counter = Counter(payments, terms, clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        counter.open()
        yield
        await counter.close()

    at = ProviderEndpoints(counter, clock)
    return Starlette(
        routes=[
            Route("/charges", at.post_charge, methods=["POST"]),
            Route("/charges", at.find_charge, methods=["GET"]),
            Route("/charges/close", at.post_close, methods=["POST"]),
            Route("/charges/{charge_id}", at.get_charge, methods=["GET"]),
            Route("/refunds", at.post_refund, methods=["POST"]),
            Route("/ledger", at.get_ledger, methods=["GET"]),
            Route("/captures", at.get_captures, methods=["GET"]),
            Route("/notifications", at.get_notifications, methods=["GET"]),
            Route("/reset", at.post_reset, methods=["POST"]),
            Route("/outage", at.put_outage, methods=["PUT"]),
            Route("/outage", at.delete_outage, methods=["DELETE"]),
            Route("/healthz", at.get_health, methods=["GET"]),
        ],
        lifespan=lifespan,
        exception_handlers={ProblemError: on_problem},
    )
