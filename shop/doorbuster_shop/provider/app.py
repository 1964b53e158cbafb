"""The provider's HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorbuster.provider import provider_of
from doorbuster.scenario.payments import Payments
from doorbuster_shop.answers import ProblemError, answer, idempotency_key, on_problem, read_body
from doorbuster_shop.provider.charges import (
    Books,
    Charge,
    Demand,
    KeyReusedError,
    charge_fields,
)
from doorbuster_shop.provider.journal import Journal

Text = Annotated[str, Field(min_length=1, max_length=200)]


class ChargeBody(BaseModel):
    """Body of POST /charges."""

    model_config = ConfigDict(extra="forbid")
    channel: Text
    means: Text
    amount_cents: Annotated[int, Field(ge=0, le=10**15)]
    reference: Text


class RefundBody(BaseModel):
    """Body of POST /refunds."""

    model_config = ConfigDict(extra="forbid")
    charge_id: Text


class ResetBody(BaseModel):
    """Body of POST /reset."""

    model_config = ConfigDict(extra="forbid")
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Counter:
    """The provider's counter: takes demands, answers when the draw says so, keeps the books."""

    def __init__(
        self, payments: Payments, seed: int, journal_path: Path | None, clock: Callable[[], float]
    ) -> None:
        self._payments = payments
        self._clock = clock
        self._seed = seed
        self._books = self._empty_books()
        self._journal = Journal(journal_path) if journal_path else None
        self._replay()

    def _empty_books(self) -> Books:
        channels = tuple(channel.name for channel in self._payments.channels)
        return Books(provider_of(self._payments, self._seed), channels)

    def _replay(self) -> None:
        for entry in self._journal.entries() if self._journal else ():
            match entry:
                case {"seed": seed}:
                    self._seed = seed
                    self._books = self._empty_books()
                case {"charge": fields}:
                    self._books.enter(Charge(**fields))
                case {"refund": charge_id}:
                    self._books.refunded.add(charge_id)

    def _note(self, entry: dict[str, Any]) -> None:
        if self._journal:
            self._journal.append(entry)

    async def post_charge(self, request: Request) -> Response:
        """Answer when the provider has decided; a repeated key waits for the same decision."""
        key = idempotency_key(request)
        body = await read_body(request, ChargeBody)
        books = self._books
        if body.channel not in books.channels:
            allowed = ", ".join(books.channels)
            message = f"unknown channel (got {body.channel!r}); allowed: {allowed}"
            raise ProblemError(422, "unknown_channel", message)
        demand = Demand(key, **body.model_dump())
        try:
            charge, is_new = books.charge(demand, self._clock())
        except KeyReusedError:
            message = "this idempotency key belongs to another demand; choose a new one"
            raise ProblemError(422, "idempotency_key_reused", message) from None
        if is_new:
            self._note({"charge": charge_fields(charge)})
        # A timer may fire a little early.
        while (wait_s := charge.decides_at_s - self._clock()) > 0:
            await asyncio.sleep(wait_s)
        if books is not self._books:
            raise ProblemError(409, "reset", "the books were reset while this charge was waiting")
        return answer(self._view(charge), 200 if charge.approved else 402)

    def _view(self, charge: Charge) -> dict[str, Any]:
        status = charge.status(self._clock())
        view = {
            "charge_id": charge.id,
            "status": "refunded" if charge.id in self._books.refunded else status,
            "amount_cents": charge.amount_cents,
            "reference": charge.reference,
        }
        if status == "declined":
            view |= {"code": "declined", "message": "the payment was declined"}
        return view

    async def get_charge(self, request: Request) -> Response:
        """One charge by its id."""
        charge = self._books.charges.get(request.path_params["charge_id"])
        if charge is None:
            raise ProblemError(404, "unknown_charge", "there is no charge with this id")
        return answer(self._view(charge))

    async def find_charge(self, request: Request) -> Response:
        """The charge that was made under an idempotency key: how a shop asks what became of it."""
        charge = self._books.by_key(request.query_params.get("idempotency_key", ""))
        if charge is None:
            raise ProblemError(404, "unknown_charge", "no charge was made under this key")
        return answer(self._view(charge))

    async def post_refund(self, request: Request) -> Response:
        """Give the whole amount of a captured charge back; repeating it changes nothing."""
        body = await read_body(request, RefundBody)
        charge_id = body.charge_id
        if charge_id not in self._books.charges:
            raise ProblemError(404, "unknown_charge", "there is no charge with this id")
        is_new = charge_id not in self._books.refunded
        if not self._books.refund(charge_id, self._clock()):
            raise ProblemError(409, "not_captured", "nothing was captured by this charge")
        if is_new:
            self._note({"refund": charge_id})
        return answer({"charge_id": charge_id, "status": "refunded"})

    async def get_ledger(self, request: Request) -> Response:
        """The books in numbers."""
        del request
        return answer(asdict(self._books.totals(self._clock())))

    async def get_captures(self, request: Request) -> Response:
        """Every charge whose money the provider still has, as (reference, amount) pairs."""
        del request
        kept = self._books.captures(self._clock())
        return answer({"captures": [(charge.reference, charge.amount_cents) for charge in kept]})

    async def post_reset(self, request: Request) -> Response:
        """Empty the books, and draw from another seed if one is given."""
        body = await read_body(request, ResetBody)
        if body.seed is not None:
            self._seed = body.seed
        self._books = self._empty_books()
        if self._journal:
            self._journal.clear()
        self._note({"seed": self._seed})
        return answer({"seed": self._seed})

    def close(self) -> None:
        """Close the journal."""
        if self._journal:
            self._journal.close()

    async def get_health(self, request: Request) -> Response:
        """Whether the provider answers."""
        del request
        return answer({"status": "ok"})


def provider_app(
    payments: Payments, seed: int, journal_path: Path | None, clock: Callable[[], float]
) -> Starlette:
    """The provider as an ASGI application."""
    counter = Counter(payments, seed, journal_path, clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        counter.close()

    return Starlette(
        routes=[
            Route("/charges", counter.post_charge, methods=["POST"]),
            Route("/charges", counter.find_charge, methods=["GET"]),
            Route("/charges/{charge_id}", counter.get_charge, methods=["GET"]),
            Route("/refunds", counter.post_refund, methods=["POST"]),
            Route("/ledger", counter.get_ledger, methods=["GET"]),
            Route("/captures", counter.get_captures, methods=["GET"]),
            Route("/reset", counter.post_reset, methods=["POST"]),
            Route("/healthz", counter.get_health, methods=["GET"]),
        ],
        lifespan=lifespan,
        exception_handlers={ProblemError: on_problem},
    )
