"""What `serve` and `rehearse` let you choose of the reference shop."""

from __future__ import annotations

import click

from doorbuster import exit_codes
from doorbuster.cli.console import stop

WORKERS = click.IntRange(1, 64)
"""Processes of the shop."""

_POSTGRESQL = ("postgresql://", "postgres://")
_REDIS = ("redis://", "rediss://", "unix://")


def check_store(store: str, redis: str | None) -> None:
    """A mistyped word must not become a file of that name."""
    if store not in ("sqlite", "postgresql") and not store.startswith(_POSTGRESQL):
        stop(
            exit_codes.USAGE,
            f"--store: unknown store (got {store!r}); allowed: sqlite, postgresql, postgresql://...",
        )
    if redis not in (None, "redis") and not str(redis).startswith(_REDIS):
        stop(
            exit_codes.USAGE,
            f"--redis: no address (got {redis!r}); allowed: none, or redis://...",
        )
