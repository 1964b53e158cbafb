"""The OpenAPI document of the shop, made from the bodies that the endpoints use."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from doorbuster import __version__
from doorbuster.records.audit import Audit
from doorbuster_shop import bodies
from doorbuster_shop.endpoints.webhooks import Notification
from doorbuster_shop.provider.signature import HEADER

MODELS: tuple[type[BaseModel], ...] = (
    bodies.CartRequest,
    bodies.ReservationRequest,
    bodies.PaymentRequest,
    bodies.ResetRequest,
    bodies.ItemReply,
    bodies.CartReply,
    bodies.ReservationReply,
    bodies.PaymentReply,
    bodies.StockListReply,
    bodies.OrderListReply,
    bodies.ShipmentListReply,
    bodies.ChargeListReply,
    bodies.NoticeReply,
    bodies.WithdrawalReply,
    bodies.RefundReply,
    bodies.ResetReply,
    bodies.CancelReply,
    bodies.HealthReply,
    bodies.ProblemReply,
    Notification,
    Audit,
)

Part = dict[str, Any]

_KEY: Part = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "A new one for each new wish, the same one for every retry of it. The effect of "
    "a repeated request is that of one. A refusal leaves nothing behind, so that the wish is "
    "judged anew when it is repeated.",
}
_OVERLOADED: Part = {
    "description": "Too many requests are waiting (`overloaded`).",
    "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def openapi_document() -> Part:
    """The whole document, OpenAPI 3.1."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doorbuster reference shop",
            "version": __version__,
            "description": "A checkout API for flash sales: look, reserve, pay.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {**_buyer_paths(), **_admin_paths(), **_machine_paths()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }


def _reply(description: str, model: type[BaseModel]) -> Part:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(description: str) -> Part:
    return _reply(description, bodies.ProblemReply)


def _body(model: type[BaseModel]) -> Part:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _in_path(name: str) -> Part:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _operation(operation_id: str, summary: str, responses: Part, **others: Any) -> Part:
    overloaded = _problem("") | _OVERLOADED
    return {
        "operationId": operation_id,
        "summary": summary,
        **others,
        "responses": {**responses, "503": overloaded},
    }


def _buyer_paths() -> Part:
    return {
        "/items/{sku}": {"get": _browse()},
        "/carts": {"post": _fill_cart()},
        "/carts/{cart_id}/order": {"post": _order_cart()},
        "/reservations": {"post": _reserve()},
        "/reservations/{reservation_id}": {"delete": _withdraw()},
        "/reservations/{reservation_id}/payments": {"post": _pay()},
        "/reservations/{reservation_id}/refund": {"post": _refund()},
        "/payments/{payment_id}": {"get": _poll()},
    }


def _browse() -> Part:
    return _operation(
        "browse",
        "Look at an item",
        {
            "200": _reply("The item.", bodies.ItemReply),
            "404": _problem("No such item (`unknown_item`)."),
        },
        parameters=[_in_path("sku")],
    )


def _fill_cart() -> Part:
    return _operation(
        "fill_cart",
        "Lock units by putting them into a cart",
        {
            "201": _reply("The units are locked.", bodies.CartReply),
            "400": _problem("No usable key (`idempotency_key_missing`)."),
            "404": _problem("No such item (`unknown_item`)."),
            "409": _problem("The limit of the account is used up (`limit_reached`), or not enough "
                            "units are available (`sold_out`). Carts lock nothing in this shop "
                            "(`no_carts`)."),
            "413": _problem("The body is too large (`too_large`)."),
            "422": _problem("The body is wrong (`malformed`), or the key belongs to another wish "
                            "(`idempotency_key_reused`)."),
            "425": _problem("The sale has not opened yet (`not_open`)."),
        },
        parameters=[_KEY],
        requestBody=_body(bodies.CartRequest),
    )  # fmt: skip


def _order_cart() -> Part:
    return _operation(
        "order_cart",
        "Make an order of a cart; its lock goes on",
        {
            "200": _reply("It is ordered, now or before.", bodies.ReservationReply),
            "404": _problem("No such cart (`unknown_reservation`)."),
            "410": _problem("Its time is over (`reservation_expired`)."),
        },
        parameters=[_in_path("cart_id")],
    )


def _reserve() -> Part:
    return _operation(
        "reserve",
        "Lock units for a buyer",
        {
            "201": _reply("The units are locked.", bodies.ReservationReply),
            "400": _problem("No usable key (`idempotency_key_missing`)."),
            "404": _problem("No such item (`unknown_item`)."),
            "409": _problem("The limit of the account is used up (`limit_reached`), or not enough "
                            "units are available (`sold_out`). This shop makes orders of carts "
                            "(`needs_cart`)."),
            "413": _problem("The body is too large (`too_large`)."),
            "422": _problem("The body is wrong (`malformed`), or the key belongs to another wish "
                            "(`idempotency_key_reused`)."),
            "425": _problem("The sale has not opened yet (`not_open`)."),
        },
        parameters=[_KEY],
        requestBody=_body(bodies.ReservationRequest),
    )  # fmt: skip


def _withdraw() -> Part:
    return _operation(
        "withdraw",
        "Cancel a reservation that is not paid",
        {
            "200": _reply("It is cancelled, now or before.", bodies.WithdrawalReply),
            "404": _problem("No such reservation (`unknown_reservation`)."),
            "409": _problem("A payment is in flight (`payment_in_progress`) or has succeeded "
                            "(`already_paid`)."),
            "410": _problem("Its time is over (`reservation_expired`)."),
        },
        parameters=[_in_path("reservation_id")],
    )  # fmt: skip


def _refund() -> Part:
    return _operation(
        "refund",
        "Give a paid order back",
        {
            "200": _reply("It is granted, now or before; the money follows.", bodies.RefundReply),
            "404": _problem("No such reservation (`unknown_reservation`)."),
            "409": _problem("It is not paid (`not_paid`), or this shop gives no money back "
                            "(`no_refunds`)."),
            "410": _problem("The order is gone (`reservation_expired`)."),
        },
        parameters=[_in_path("reservation_id")],
    )  # fmt: skip


def _pay() -> Part:
    return _operation(
        "pay",
        "Pay a reservation",
        {
            "200": _reply("Paid.", bodies.PaymentReply),
            "202": _reply("The provider has not answered yet: poll.", bodies.PaymentReply),
            "400": _problem("No usable key (`idempotency_key_missing`)."),
            "402": _problem("The provider declined (`declined`); the order stays, and so does its "
                            "lock, unless only payments lock."),
            "404": _problem("No such reservation (`unknown_reservation`)."),
            "409": _problem("Another payment is in flight (`payment_in_progress`) or has "
                            "succeeded (`already_paid`). Where only payments lock units: too few "
                            "are left (`sold_out`), and the order is gone. It is a cart "
                            "(`not_ordered`)."),
            "410": _problem("The time to pay is over (`reservation_expired`)."),
            "413": _problem("The body is too large (`too_large`)."),
            "422": _problem("The body is wrong (`malformed`, `unknown_channel`), or the key "
                            "belongs to another payment (`idempotency_key_reused`)."),
        },
        parameters=[_in_path("reservation_id"), _KEY],
        requestBody=_body(bodies.PaymentRequest),
    )  # fmt: skip


def _poll() -> Part:
    return _operation(
        "poll",
        "Ask what became of a payment",
        {
            "200": _reply("Where it stands.", bodies.PaymentReply),
            "404": _problem("No such payment (`unknown_payment`)."),
        },
        parameters=[_in_path("payment_id")],
    )


def _admin(operation_id: str, summary: str, reply: Part, **others: Any) -> Part:
    responses = {"200": reply, "401": _problem("No or a wrong admin token (`unauthorized`).")}
    responses |= others.pop("responses", {})
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": [{"admin": []}],
        **others,
        "responses": responses,
    }


def _admin_paths() -> Part:
    reset_refusals = {
        "409": _problem("Payments are in flight (`payments_in_flight`); wait, or force it."),
        "413": _problem("The body is too large (`too_large`)."),
        "422": _problem("The body is wrong (`malformed`)."),
        "502": _problem("The payment provider cannot be reached (`provider_unavailable`)."),
    }
    cancel_refusals = {"404": _problem("No such reservation (`unknown_reservation`).")}
    stock = _reply("Stock of all items.", bodies.StockListReply)
    account = _reply("The whole account.", Audit)
    orders = _reply("All orders.", bodies.OrderListReply)
    shipments = _reply("All shipments.", bodies.ShipmentListReply)
    charges = _reply("All charges.", bodies.ChargeListReply)
    silent = {"502": _problem("The payment provider does not answer (`provider_unavailable`).")}
    new_sale = _reply("The new sale.", bodies.ResetReply)
    cancelled = _reply("What became of it.", bodies.CancelReply)
    return {
        "/admin/stock": {"get": _admin("stock", "Where all units are", stock)},
        "/admin/orders": {"get": _admin("orders", "Every reservation", orders)},
        "/admin/shipments": {
            "get": _admin("shipments", "What every warehouse has sent", shipments)
        },
        "/admin/charges": {
            "get": _admin(
                "charges", "Every charge, as the provider tells", charges, responses=silent
            )
        },
        "/admin/audit": {"get": _admin("audit", "What database and provider say", account)},
        "/admin/reset": {
            "post": _admin(
                "reset",
                "Begin a new sale: forget all orders, restore the stock",
                new_sale,
                requestBody=_body(bodies.ResetRequest),
                responses=reset_refusals,
            )
        },
        "/admin/reservations/{reservation_id}/cancel": {
            "post": _admin(
                "cancel",
                "Release a lock at once",
                cancelled,
                parameters=[_in_path("reservation_id")],
                responses=cancel_refusals,
            )
        },
    }


def _machine_paths() -> Part:
    metrics = {
        "description": "Prometheus text.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    document = {
        "description": "This document.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    healthy = _reply("It does.", bodies.HealthReply)
    return {
        "/webhooks/provider": {"post": _webhook()},
        "/healthz": {"get": _machine("health", "Whether the shop answers", healthy)},
        "/metrics": {"get": _machine("metrics", "Metrics for Prometheus", metrics)},
        "/openapi.json": {"get": _machine("openapi", "This document", document)},
    }


def _webhook() -> Part:
    signed = {
        "name": HEADER,
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "The provider's signature and its time (docs/provider.md).",
    }
    return {
        "operationId": "notify",
        "summary": "The payment provider tells what became of a charge",
        "parameters": [signed],
        "requestBody": _body(Notification),
        "responses": {
            "200": _reply("It is in the database; a copy changes nothing.", bodies.NoticeReply),
            "401": _problem("The signature is wrong or too old (`bad_signature`)."),
            "404": _problem("This shop takes no notifications (`not_found`)."),
            "413": _problem("The body is too large (`too_large`)."),
            "422": _problem("The body is wrong (`malformed`)."),
        },
    }


def _machine(operation_id: str, summary: str, reply: Part) -> Part:
    return {"operationId": operation_id, "summary": summary, "responses": {"200": reply}}
