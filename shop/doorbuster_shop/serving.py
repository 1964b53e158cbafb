"""Serves an ASGI application in a child process that ends when its parent does.

The parent hands over the listening socket as a file descriptor and keeps the child's stdin open.
The first line of stdin is the child's settings as JSON, so that secrets stand in no process list;
each later one is an order, answered by `done` on stdout.
End of file on stdin means that the parent has gone, however it went: the child shuts down.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import uvicorn
import uvloop
from starlette.types import ASGIApp

SHUTDOWN_GRACE_S = 3
KEEP_ALIVE_S = 75
"""Buyers think longer than uvicorn's default of 5 s, and a connection that closes just as the
next request is on its way looks like a failure of the shop."""
BACKLOG = 4_096
"""Connections that may wait to be accepted; the system's own limit may be lower."""
READY_LINE = b"ready\n"
DONE_LINE = b"done\n"
_STARTUP_POLL_S = 0.005


def read_settings() -> dict[str, Any]:
    """The settings that the parent wrote as the first line of stdin; exits if it has gone."""
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    settings = orjson.loads(line)
    assert isinstance(settings, dict)
    return settings


Obey = Callable[[Mapping[str, Any]], None]
"""Carries an order of the parent out."""


def _ignore(_order: Mapping[str, Any]) -> None:
    """For a server that takes no orders."""


def serve(
    make_app: Callable[[Callable[[], int]], ASGIApp], listening_fd: int, obey: Obey = _ignore
) -> None:
    """Serve until the parent goes or a signal comes; say `ready` on stdout once it serves.

    `make_app` gets a function that tells how many requests are read and not yet answered.
    """

    def accepted_count() -> int:
        return len(server.server_state.tasks)

    config = uvicorn.Config(
        make_app(accepted_count),
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    server = uvicorn.Server(config)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    _allow_many_connections()
    listener = socket.socket(fileno=listening_fd)
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server, listener, obey))


async def _serve(server: uvicorn.Server, listener: socket.socket, obey: Obey) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(_STARTUP_POLL_S)
    if server.started:
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: _ParentWatch(server, obey), sys.stdin.buffer)
        # What is alive now stays alive: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        _say(READY_LINE)
    await serving


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class _ParentWatch(asyncio.Protocol):
    """Hears the parent, and sees it go: its end of our stdin closes."""

    def __init__(self, server: uvicorn.Server, obey: Obey) -> None:
        self._server = server
        self._obey = obey
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._obey(orjson.loads(line))
            _say(DONE_LINE)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.should_exit = True


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
