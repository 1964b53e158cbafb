"""A plain HTTP client as a transport, for the few requests outside the crowd."""

from __future__ import annotations

import time
from urllib.parse import urlsplit, urlunsplit

import httpx

from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.safety import Guard


class HttpxTransport:
    """The transport of the hooks: connects to checked addresses only, follows nothing."""

    def __init__(self, guard: Guard, *, verify_tls: bool) -> None:
        self._guard = guard
        # No proxy from the environment: it would be a host that nobody has allowed.
        # The context honours SSL_CERT_FILE, for targets with a certificate authority of their own.
        verify = httpx.create_ssl_context(trust_env=True) if verify_tls else False
        self._client = httpx.Client(trust_env=False, verify=verify, follow_redirects=False)

    def send(self, request: Outgoing, timeout_s: float, label: str) -> Received:
        """See exchange.Transport."""
        del label
        endpoint = self._guard.check(request.url)
        sent_ns = time.monotonic_ns()
        failures: list[str] = []
        timed_out = False
        for address in self._guard.addresses_of(endpoint):
            host = f"[{address}]" if ":" in address else address
            parts = urlsplit(request.url)._replace(netloc=f"{host}:{endpoint.port}")
            try:
                answer = self._client.request(
                    request.method,
                    urlunsplit(parts),
                    headers={**request.headers, "Host": urlsplit(request.url).netloc},
                    content=request.body,
                    timeout=timeout_s,
                    extensions={"sni_hostname": endpoint.host},
                )
            except httpx.ConnectError as error:
                failures.append(str(error))
                continue
            except httpx.TimeoutException:
                failures, timed_out = [f"no answer within {timeout_s:g} s"], True
                break
            except httpx.HTTPError as error:
                failures = [f"{type(error).__name__}: {error}"]
                break
            return Received(
                answer.status_code,
                answer.headers.get_list,
                answer.content,
                request.url,
                sent_ns,
                time.monotonic_ns(),
                dict(answer.cookies),
            )
        return Received(
            0,
            _no_header,
            b"",
            request.url,
            sent_ns,
            time.monotonic_ns(),
            failure="; ".join(dict.fromkeys(failures)) or "no address",
            timed_out=timed_out,
        )

    def forget(self) -> None:
        """See exchange.Transport."""
        self._client.cookies.clear()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _no_header(_: str) -> list[str]:
    return []
