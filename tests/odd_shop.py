"""A small shop that speaks differently from ours: a target for tests of profiles.

Cookies from a log-in form, CSRF tokens in HTML, an order behind a redirect that is queued first,
payment by GraphQL, sold out as a 200 with a text. Run it as a script: it prints its port.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import time
from collections import Counter
from html import escape
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

STOCK = 6


class Shop:
    """Its state, kept in one process."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.log: list[dict[str, Any]] = []
        self.tokens_given = 0
        self.opens_at_s = 0.0
        self.clear()

    def clear(self) -> None:
        """Empty the orders and fill the stock."""
        self.log = []
        self.left, self.held, self.paid = STOCK, 0, 0
        self.sessions: dict[str, str] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.overloads: Counter[str] = Counter()
        self.order_of_key: dict[str, str] = {}


SHOP = Shop()


async def noted(request: Request) -> str:
    """The body, after the request has been written into the log."""
    body = (await request.body()).decode()
    wanted = ("user-agent", "x-doorbuster-test", "x-session", "authorization", "idempotency-key")
    headers = {name: request.headers[name] for name in wanted if name in request.headers}
    entry = {"method": request.method, "path": request.url.path, "headers": headers, "body": body}
    SHOP.log.append({**entry, "cookie": request.cookies.get("sid")})
    return body


async def token(request: Request) -> Response:
    await noted(request)
    SHOP.tokens_given += 1
    return JSONResponse({"token": "shared-token", "count": SHOP.tokens_given})


async def login(request: Request) -> Response:
    form = {name: values[0] for name, values in parse_qs(await noted(request)).items()}
    if form.get("password") != f"pw-{form.get('login')}":
        return Response("who are you?", 401)
    sid = f"s{next(SHOP.numbers)}"
    SHOP.sessions[sid] = form["login"]
    answer = RedirectResponse("/home", 303)
    answer.set_cookie("sid", sid, httponly=True)
    return answer


async def home(request: Request) -> Response:
    await noted(request)
    return HTMLResponse(f"<h1>Welcome {escape(user_of(request))}</h1>")


def user_of(request: Request) -> str:
    return SHOP.sessions.get(request.cookies.get("sid", ""), "")


async def goods(request: Request) -> Response:
    await noted(request)
    if not user_of(request):
        return Response("log in first", 403)
    if time.time() < SHOP.opens_at_s:
        return HTMLResponse("<p>The sale has not started yet</p>")
    word = "Buy now" if SHOP.left else "Sold out"
    return HTMLResponse(f"<form><input type=hidden name=csrf value='c-{user_of(request)}'>{word}")


async def cart(request: Request) -> Response:
    form = {name: values[0] for name, values in parse_qs(await noted(request)).items()}
    user, key = user_of(request), request.headers["idempotency-key"]
    if form.get("csrf") != f"c-{user}":
        return Response("bad token", 400)
    if not SHOP.overloads[user]:
        SHOP.overloads[user] += 1  # Everybody's first click is refused for load.
        return Response("busy", 503, headers={"Retry-After": "0.4"})
    if key not in SHOP.order_of_key:
        if SHOP.left < int(form["n"]):
            return JSONResponse({"error": {"code": "NO_STOCK"}}, 400)
        SHOP.left -= 1
        SHOP.held += 1
        SHOP.order_of_key[key] = f"o{next(SHOP.numbers)}"
        SHOP.orders[SHOP.order_of_key[key]] = {"user": user, "looks": 0, "paid": False}
    return RedirectResponse(f"/orders/{SHOP.order_of_key[key]}", 302)


async def order(request: Request) -> Response:
    await noted(request)
    entry = SHOP.orders[request.path_params["order_id"]]
    entry["looks"] += 1
    if entry["looks"] < 3:
        return JSONResponse({"state": "queued"})
    return JSONResponse({"state": "held", "total": 1990})


async def graphql(request: Request) -> Response:
    operation = json.loads(await noted(request))
    variables = operation["variables"]
    entry = SHOP.orders[variables["order"]]
    if variables["attempt"] == 0 and not isinstance(variables["quantity"], int):
        return JSONResponse({"errors": [{"message": "quantity must be a number"}]})
    if not entry["paid"]:
        entry["paid"] = True
        SHOP.held -= 1
        SHOP.paid += 1
    return JSONResponse({"data": {"pay": {"status": "CAPTURED"}}})


async def reset(request: Request) -> Response:
    body = json.loads(await request.body())
    if request.headers.get("x-admin") != "let me in":
        return Response("no", 403)
    SHOP.clear()
    SHOP.opens_at_s = body["opens"]
    return Response(status_code=204)


async def stock(_: Request) -> Response:
    return JSONResponse({"left": SHOP.left, "hold": SHOP.held})


async def account(_: Request) -> Response:
    per_user = Counter(entry["user"] for entry in SHOP.orders.values() if entry["paid"])
    goods_account = {
        "id": "tv",
        "start": STOCK,
        "left": SHOP.left,
        "hold": SHOP.held,
        "paid": SHOP.paid,
        "orders": SHOP.paid,
        "most": max(per_user.values(), default=0),
    }
    return JSONResponse({"goods": [goods_account], "money": {"captures": SHOP.paid}})


async def log(_: Request) -> Response:
    return JSONResponse(SHOP.log)


async def plain(_: Request) -> Response:
    return JSONResponse({"ok": True})


async def hang(_: Request) -> Response:
    await asyncio.sleep(30)
    return JSONResponse({"ok": True})


async def away(_: Request) -> Response:
    return RedirectResponse("http://shop.invalid/", 302)


ROUTES = [
    Route("/", plain),
    Route("/token", token),
    Route("/login", login, methods=["POST"]),
    Route("/home", home),
    Route("/goods/{sku}", goods),
    Route("/cart", cart, methods=["POST"]),
    Route("/orders/{order_id}", order),
    Route("/graphql", graphql, methods=["POST"]),
    Route("/admin/reset", reset, methods=["POST"]),
    Route("/admin/stock/{sku}", stock),
    Route("/admin/account", account),
    Route("/log", log),
    Route("/plain", plain, methods=["GET", "POST"]),
    Route("/hang", hang),
    Route("/away", away),
]


def main() -> None:
    """Serve on a free port until stdin closes or the process is killed."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(Starlette(routes=ROUTES), log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
