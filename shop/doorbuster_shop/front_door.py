"""The front door: lets a bounded number of requests in, and counts what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doorbuster_shop.answers import problem
from doorbuster_shop.limits import RETRY_AFTER_S
from doorbuster_shop.metrics import Metrics

ALWAYS_SERVED = ("/admin/", "/healthz", "/metrics")
"""The operator gets in when nobody else does."""


class FrontDoor:
    """ASGI middleware around the whole shop."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, queue_length: Callable[[], int], queue_max: int
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._queue_length = queue_length
        self._queue_max = queue_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status = 500

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            is_full = self._queue_length() > self._queue_max
            if is_full and not scope["path"].startswith(ALWAYS_SERVED):
                await self._refuse(scope, receive, noting_send)
            else:
                await self._app(scope, receive, noting_send)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self._metrics.note(endpoint, status, time.perf_counter() - started_s)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"more than {self._queue_max} requests are waiting; come back later"
        refusal = problem(503, "overloaded", message, {"retry-after": str(RETRY_AFTER_S)})
        await refusal(scope, receive, send)
