"""A provider to try things on: its scenario, its process, its callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
from tests.conftest import SMALL

from doorbuster_shop.child import Child
from doorbuster_shop.provider.running import Mail, running_provider

CARD: dict[str, Any] = {
    "name": "card", "share": 1, "latency": "0s", "decline_fraction": 0, "late_fraction": 0,
}  # fmt: skip
BODY = {"channel": "card", "means": "4111", "amount_cents": 4_900, "reference": "order-1"}


def scenario_file(
    folder: Path, *channels: dict[str, Any], payment_timeout: str = "10s", **shop: Any
) -> Path:
    """The small sale with these channels, each laid over CARD."""
    content = deepcopy(SMALL)
    content["payments"] = {
        "timeout": payment_timeout,
        "channels": [CARD | channel for channel in channels],
    }
    content["shop"] |= shop
    path = folder / "sale.yaml"
    path.write_text(json.dumps(content), "utf-8")
    return path


@contextmanager
def provider_at(
    folder: Path, *channels: dict[str, Any], mail: Mail | None = None, **options: Any
) -> Iterator[tuple[Child, httpx.Client]]:
    """A running provider with a journal, and a client of it."""
    path = scenario_file(folder, *channels)
    with (
        running_provider(
            path,
            seed=5,
            log_path=folder / "provider.log",
            journal_path=folder / "journal.jsonl",
            mail=mail,
            **options,
        ) as child,
        httpx.Client(base_url=child.url, timeout=10) as http,
    ):
        yield child, http


def charge(http: httpx.Client, key: str, **changes: Any) -> httpx.Response:
    """POST /charges."""
    return http.post("/charges", json=BODY | changes, headers={"Idempotency-Key": key})


def close(http: httpx.Client, key: str) -> httpx.Response:
    """POST /charges/close."""
    return http.post("/charges/close", json={"idempotency_key": key})


def found(http: httpx.Client, key: str) -> dict[str, Any]:
    """GET /charges by key."""
    reply: dict[str, Any] = http.get("/charges", params={"idempotency_key": key}).json()
    return reply
