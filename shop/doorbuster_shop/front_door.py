"""The front door: lets a bounded number of requests in, and counts what comes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

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
        self._leaving = 0
        """Requests that are answered, and that the server counts until its loop comes round."""

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
            is_full = self._queue_length() - self._leaving > self._queue_max
            if is_full and not scope["path"].startswith(ALWAYS_SERVED):
                await self._refuse(scope, receive, noting_send)
            else:
                await self._app(scope, receive, noting_send)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self._metrics.note(endpoint, status, time.perf_counter() - started_s)
            self._leave()

    def _leave(self) -> None:
        """A shop that wakes up to a crowd must not refuse those who come after the refused."""
        task = asyncio.current_task()
        assert task is not None, "a server runs each request in a task of its own"
        self._leaving += 1
        task.add_done_callback(self._left)

    def _left(self, _task: asyncio.Task[Any]) -> None:
        self._leaving -= 1

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"more than {self._queue_max} requests are waiting; come back later"
        refusal = problem(503, "overloaded", message, {"retry-after": str(RETRY_AFTER_S)})
        await refusal(scope, receive, send)
