"""The shop as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from doorbuster_shop.answers import ProblemError, answer, on_problem, problem
from doorbuster_shop.endpoints.admin import AdminEndpoints
from doorbuster_shop.endpoints.books import BookEndpoints
from doorbuster_shop.endpoints.carts import CartEndpoints
from doorbuster_shop.endpoints.items import ItemEndpoints
from doorbuster_shop.endpoints.payments import PaymentEndpoints
from doorbuster_shop.endpoints.reservations import ReservationEndpoints
from doorbuster_shop.endpoints.webhooks import WebhookEndpoints
from doorbuster_shop.front_door import FrontDoor
from doorbuster_shop.limits import RETRY_AFTER_S
from doorbuster_shop.metrics import Metrics
from doorbuster_shop.openapi import openapi_document
from doorbuster_shop.shop import Shop
from doorbuster_shop.store.session import StoreUnavailableError, UnstorableTextError

_log = logging.getLogger(__name__)


def shop_app(
    shop: Shop,
    provider_url: str,
    accepted_count: Callable[[], int],
    queue_max: int,
) -> ASGIApp:
    """The shop behind its front door.

    `accepted_count` tells how many requests the server has read and not yet answered.
    """
    metrics = Metrics(shop)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await shop.open(provider_url)
        yield
        await shop.close()

    app = Starlette(
        routes=[
            *_buyer_routes(shop),
            *_admin_routes(shop),
            *_provider_routes(shop),
            *_machine_routes(metrics),
        ],
        lifespan=lifespan,
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: _on_http_exception,
            StoreUnavailableError: _on_unavailable_store,
            UnstorableTextError: _on_unstorable_text,
            Exception: _on_crash,
        },
    )
    return FrontDoor(app, metrics, lambda: accepted_count() - shop.cashier.waiting_count, queue_max)


def _buyer_routes(shop: Shop) -> list[Route]:
    items, reservations = ItemEndpoints(shop), ReservationEndpoints(shop)
    carts = CartEndpoints(shop)
    payments = PaymentEndpoints(shop)
    return [
        Route("/items/{sku}", items.browse),
        Route("/carts", carts.fill, methods=["POST"]),
        Route("/carts/{cart_id}/order", carts.order, methods=["POST"]),
        Route("/reservations", reservations.reserve, methods=["POST"]),
        Route("/reservations/{reservation_id}", reservations.withdraw, methods=["DELETE"]),
        Route("/reservations/{reservation_id}/refund", reservations.refund, methods=["POST"]),
        Route("/reservations/{reservation_id}/payments", payments.pay, methods=["POST"]),
        Route("/payments/{payment_id}", payments.poll),
    ]


def _admin_routes(shop: Shop) -> list[Route]:
    admin = AdminEndpoints(shop)
    return [
        Route("/admin/stock", admin.stock),
        Route("/admin/audit", admin.audit),
        Route("/admin/orders", admin.orders),
        Route("/admin/shipments", admin.shipments),
        Route("/admin/reset", admin.reset, methods=["POST"]),
        Route("/admin/reservations/{reservation_id}/cancel", admin.cancel, methods=["POST"]),
    ]


def _provider_routes(shop: Shop) -> list[Route]:
    books, webhooks = BookEndpoints(shop), WebhookEndpoints(shop)
    return [
        Route("/admin/charges", books.charges),
        Route("/webhooks/provider", webhooks.receive, methods=["POST"]),
    ]


def _machine_routes(metrics: Metrics) -> list[Route]:
    document = openapi_document()

    async def health(_request: Request) -> Response:
        return answer({"status": "ok"})

    async def openapi(_request: Request) -> Response:
        return answer(document)

    async def scrape(_request: Request) -> Response:
        await metrics.read_stock()
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", health),
        Route("/openapi.json", openapi),
        Route("/metrics", scrape),
    ]


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return problem(error.status_code, code, error.detail, error.headers)


async def _on_unavailable_store(_request: Request, error: Exception) -> Response:
    _log.warning("%s", error)
    message = "the database has no time for this request; come back later"
    return problem(503, "overloaded", message, {"retry-after": str(RETRY_AFTER_S)})


async def _on_unstorable_text(_request: Request, error: Exception) -> Response:
    return problem(422, "malformed", str(error))


async def _on_crash(_request: Request, _error: Exception) -> Response:
    # Starlette logs the traceback after this answer.
    return problem(500, "internal_error", "the shop failed; its log knows more")
