"""How visitors' requests leave: the client of Locust's FastHttpUser, to checked addresses only."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from http.cookiejar import CookieJar
from http.cookies import CookieError, SimpleCookie
from typing import Any

import gevent
import gevent.socket
import gevent.ssl
from gevent.pool import Pool
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.url import URL
from locust.contrib.fasthttp import FastHttpSession, LocustUserAgent

from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.safety import Endpoint, Guard

CONNECTIONS_AT_ONCE = 10
CONNECT_TIMEOUT_S = 60.0
"""Never reached before the visitor's own timeout, which covers connecting."""


class CheckedPool(HTTPClientPool):
    """Connections to allowed hosts only, each to an address that was checked before the run."""

    def __init__(self, guard: Guard, *, size: int, verify_tls: bool) -> None:
        super().__init__()
        self._guard = guard
        self._size = size
        self._verify_tls = verify_tls
        self._clients: dict[tuple[str, str, int | None], HTTPClient] = {}

    def get_client(self, url: str | URL) -> HTTPClient:
        """The client of a host. Raises: RefusedHostError."""
        url = url if isinstance(url, URL) else URL(url)
        key = (url.scheme, url.host, url.port)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._connected(self._guard.check(str(url)))
        return client

    def open_connections(self, url: str, count: int) -> None:
        """See that `count` connections are open, and keep them for the visitors to come."""
        pool = self.get_client(url)._connection_pool
        # A few at a time: opening many at once would delay the visitors under way.
        opening = Pool(CONNECTIONS_AT_ONCE)
        sockets: list[Any] = []

        def open_one(_: int) -> None:
            with suppress(OSError):
                sockets.append(pool.get_socket())

        opening.map(open_one, range(min(count, self._size)))
        for sock in sockets:
            pool.return_socket(sock)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _connected(self, endpoint: Endpoint) -> HTTPClient:
        client = HTTPClient(endpoint.host, endpoint.port, concurrency=self._size)
        client.ssl = endpoint.scheme == "https"
        options: dict[str, Any] = {
            "connection_host": endpoint.host,
            "connection_port": endpoint.port,
            "request_host": endpoint.host,
            "request_port": endpoint.port,
            "size": self._size,
            "connection_timeout": CONNECT_TIMEOUT_S,
            # A visitor's own timeout, which covers the whole exchange, ends a read.
            "network_timeout": None,
        }
        pool: _Pinned
        if client.ssl:
            context = _tls_context if self._verify_tls else _lax_tls_context
            pool = _PinnedTlsPool(
                insecure=not self._verify_tls, ssl_context_factory=context, **options
            )
        else:
            pool = _PinnedPool(**options)
        pool.addresses = self._guard.addresses_of(endpoint)
        client._connection_pool = pool
        return client


class _Pinned(ConnectionPool):
    """Connects to given addresses instead of looking the host up."""

    addresses: list[str]

    def _resolve(self) -> list[Any]:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, self._connection_port),
            )
            for address in self.addresses
        ]

    def after_connect(self, sock: gevent.socket.socket) -> None:
        """Small requests leave at once."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _PinnedPool(_Pinned):
    def _is_socket_alive(self, sock: gevent.socket.socket | None) -> bool:
        # A peek instead of select(), which knows no descriptors from 1024 on.
        if sock is None or sock.fileno() < 0:
            return False
        try:
            sock._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class _PinnedTlsPool(_Pinned, SSLConnectionPool):
    pass


def _tls_context(cafile: str | None = None) -> Any:
    return gevent.ssl.create_default_context(cafile=cafile)


def _lax_tls_context(cafile: str | None = None) -> Any:
    del cafile
    return gevent.ssl._create_unverified_context()


class _AnswerAgent(LocustUserAgent):
    """Takes every status as an answer; redirects are followed by the steps, hop by hop."""

    valid_response_codes = frozenset(range(100, 600))
    redirect_response_codes = frozenset()


class FastHttpTransport:
    """Sends with the session of a FastHttpUser, so that Locust's own events and table see it."""

    def __init__(
        self, session: FastHttpSession, pool: CheckedPool, *, keeps_cookies: bool, is_private: bool
    ) -> None:
        self._session = session
        self._pool = pool
        self._is_private = is_private
        self._jar = CookieJar() if keeps_cookies else None
        session.client = _AnswerAgent(cookiejar=self._jar, client_pool=pool, max_retries=0)

    def send(self, request: Outgoing, timeout_s: float, label: str) -> Received:
        """See exchange.Transport."""
        timeout = gevent.Timeout(timeout_s)
        sent_ns = time.monotonic_ns()
        timeout.start()
        try:
            return self._exchange(request, timeout, sent_ns, label)
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            return _unanswered(request, sent_ns, "timed out", timed_out=True)
        except Exception as error:  # noqa: BLE001 - whatever the client makes of a broken answer
            return _unanswered(request, sent_ns, _described(error))
        finally:
            timeout.close()

    def forget(self) -> None:
        """See exchange.Transport."""
        if self._jar is not None:
            self._jar.clear()
        if self._is_private:
            self._pool.close()

    def _exchange(
        self, request: Outgoing, timeout: gevent.Timeout, sent_ns: int, label: str
    ) -> Received:
        with self._session.request(
            request.method,
            request.url,
            name=label,
            data=request.body,  # type: ignore[arg-type]  # It takes bytes as well.
            headers=request.headers,
            catch_response=True,
        ) as response:
            done_ns = time.monotonic_ns()
            error = response.request_meta["exception"]
            if error is not None:
                timed_out = not timeout.pending
                response.failure("timed out" if timed_out else _described(error))
                return _unanswered(request, sent_ns, _described(error), timed_out=timed_out)
            headers = response.headers.getlist
            return Received(
                response.status_code,
                headers,
                response.content or b"",
                request.url,
                sent_ns,
                done_ns,
                self._cookies(headers("set-cookie")),
            )

    def _cookies(self, lines: list[str]) -> Mapping[str, str]:
        if self._jar is not None:
            return {cookie.name: cookie.value or "" for cookie in self._jar}
        found: dict[str, str] = {}
        for line in lines:
            try:
                cookies = SimpleCookie(line)
            except CookieError:
                continue
            found.update((name, morsel.value) for name, morsel in cookies.items())
        return found


def _unanswered(
    request: Outgoing, sent_ns: int, failure: str, *, timed_out: bool = False
) -> Received:
    return Received(
        status=0,
        headers=_no_header,
        body=b"",
        url=request.url,
        sent_ns=sent_ns,
        done_ns=time.monotonic_ns(),
        failure=failure,
        timed_out=timed_out,
    )


def _no_header(_: str) -> list[str]:
    return []


def _described(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
