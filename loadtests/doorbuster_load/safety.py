"""Whom a load test may reach: loopback, and what the person who runs it has allowed by name.

A name that is not allowed is refused before it is looked up. An allowed name is looked up once;
all its addresses are checked, and connections go to those addresses for the whole run, so that
no later answer of a name server can lead the traffic elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from doorbuster.exit_codes import USAGE

_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = ("localhost",)
_LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")


class RefusedHostError(Exception):
    """A host that may not be reached; says which, and how to allow it."""

    exit_code = USAGE


class Endpoint(NamedTuple):
    """Where a URL leads: scheme, host as written, port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class AllowedHost(NamedTuple):
    """One entry of the allow-list; without a port it stands for all of them."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> AllowedHost:
        """`HOST` or `HOST:PORT`; IPv6 addresses in brackets. Raises: RefusedHostError."""
        problem = f"--allow-host: is no host (got {text!r}); allowed: HOST or HOST:PORT"
        if "//" in text or "/" in text or "@" in text:
            raise RefusedHostError(f"{problem}; leave out scheme and path")
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise RefusedHostError(problem) from None
        if not host or "*" in host:
            raise RefusedHostError(f"{problem}; patterns are not allowed")
        return cls(host.rstrip("."), port)


@dataclass
class Guard:
    """Decides about every URL of a run, and knows the addresses behind the allowed names."""

    allowed: list[AllowedHost] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    """Looked up by `resolve`; names that are not in here are never connected to."""

    @classmethod
    def of(cls, allow_hosts: Iterable[str]) -> Self:
        """A guard from the entries of an allow-list. Raises: RefusedHostError."""
        return cls([AllowedHost.parse(text) for text in allow_hosts])

    def check(self, url: str) -> Endpoint:
        """Where a URL leads, if that is allowed; sends nothing. Raises: RefusedHostError."""
        endpoint = endpoint_of(url)
        if is_loopback(endpoint.host) or self._is_listed(endpoint):
            return endpoint
        message = (
            f"{endpoint} is not an allowed host (from {url!r}); allowed: loopback"
            f"{''.join(f', {entry.host}' for entry in self.allowed)}; if you may load it, add "
            f"--allow-host {endpoint}"
        )
        raise RefusedHostError(message)

    def is_local(self, url: str) -> bool:
        """Whether a URL stays on this machine."""
        return is_loopback(endpoint_of(url).host)

    def resolve(self) -> None:
        """Look up every allowed name once. Raises: RefusedHostError, OSError."""
        for entry in self.allowed:
            if entry.host not in self.addresses:
                self.addresses[entry.host] = _looked_up(entry.host)

    def addresses_of(self, endpoint: Endpoint) -> list[str]:
        """The checked addresses of an allowed endpoint. Raises: RefusedHostError."""
        host = endpoint.host
        if host in LOOPBACK_NAMES:
            return list(_LOOPBACK_ADDRESSES)
        if is_loopback(host):
            return [host]
        if self._is_listed(endpoint) and host in self.addresses:
            return self.addresses[host]
        message = f"{endpoint} has no checked address; add --allow-host {endpoint}"
        raise RefusedHostError(message)

    def to_json(self) -> dict[str, Any]:
        """For a worker process, which must not look anything up itself."""
        return {"allowed": [list(entry) for entry in self.allowed], "addresses": self.addresses}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The guard of the process that started this one."""
        allowed = [AllowedHost(host, port) for host, port in content["allowed"]]
        return cls(allowed, dict(content["addresses"]))

    def _is_listed(self, endpoint: Endpoint) -> bool:
        return any(
            entry.host == endpoint.host and entry.port in (None, endpoint.port)
            for entry in self.allowed
        )


def endpoint_of(url: str) -> Endpoint:
    """Scheme, host and port of an absolute URL. Raises: RefusedHostError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        message = f"is no URL (got {url!r}: {error})"
        raise RefusedHostError(message) from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        message = f"is no URL of a host (got {url!r}); write for example http://127.0.0.1:8000"
        raise RefusedHostError(message)
    return Endpoint(parts.scheme, host.rstrip("."), port or _DEFAULT_PORTS[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very writing, without looking anything up."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _looked_up(host: str) -> list[str]:
    try:
        addresses = [str(ip_address(host))]
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        _refuse_special(host, ip_address(address.partition("%")[0]))
    return addresses


def _refuse_special(host: str, address: IPv4Address | IPv6Address) -> None:
    """No name may lead to an address that is never a shop: the metadata service of a cloud."""
    kinds = {
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "unspecified": address.is_unspecified,
        "reserved": address.is_reserved,
    }
    for kind, is_it in kinds.items():
        if is_it:
            message = f"{host}: leads to {address}, a {kind} address; no load goes there"
            raise RefusedHostError(message)
