"""Addresses that a server of ours may call by itself: this machine, and what the user allows."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import click


def checked_url(url: str, allow_hosts: Sequence[str], option: str) -> str:
    """The address without its last slash.

    Raises: click.BadParameter for anything but http(s) to this machine or an allowed HOST[:PORT].
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        message = f"{url!r} is no address; write for example http://127.0.0.1:8000/hook"
        raise click.BadParameter(message, param_hint=option)
    if not is_this_machine(host) and not {host, f"{host}:{port}"} & set(allow_hosts):
        message = (
            f"{host} is another machine; if it is yours and may be called, add --allow-host {host}"
        )
        raise click.BadParameter(message, param_hint=option)
    return url.rstrip("/")


def is_this_machine(host: str) -> bool:
    """Whether a name or address means the loopback interface, whatever a name server says."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
