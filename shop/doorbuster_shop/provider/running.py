"""A running provider: a child process, started, watched and stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from doorbuster_shop.child import Child, ShopStartError

__all__ = ["Mail", "ShopStartError", "provider_child", "provider_settings", "running_provider"]


@dataclass(frozen=True)
class Mail:
    """Where a provider sends its notifications."""

    url: str
    secret: str
    time_scale: float = 1.0
    """Factor on the intervals of the schedules: below 1, a rehearsal sees all of them."""


def provider_child(log_path: Path) -> Child:
    """The provider's process, not started yet."""
    return Child("payment provider", "doorbuster_shop.provider.process", log_path)


def provider_settings(
    scenario_path: Path,
    *,
    seed: int,
    opens_at_s: float,
    journal_path: Path | None = None,
    is_forced: bool = False,
    mail: Mail | None = None,
    notifies_all: bool = False,
) -> dict[str, Any]:
    """What the process is told; see `counter.Terms`."""
    return {
        "scenario_path": str(scenario_path.resolve()),
        "seed": seed,
        "opens_at_s": opens_at_s,
        "journal_path": None if journal_path is None else str(journal_path.resolve()),
        "is_forced": is_forced,
        "mailbox": None if mail is None else asdict(mail),
        "notifies_all": notifies_all,
    }


@contextmanager
def running_provider(
    scenario_path: Path,
    *,
    seed: int,
    log_path: Path,
    port: int = 0,
    opens_at_s: float | None = None,
    journal_path: Path | None = None,
    is_forced: bool = False,
    mail: Mail | None = None,
) -> Iterator[Child]:
    """Start a provider alone and stop it at the end; it also ends when this process dies.

    opens_at_s is in seconds since the epoch, by default now; outages count from it. With `mail`
    every channel notifies, those without `webhooks` by the defaults.
    Raises: ShopStartError; ScenarioError for a scenario with mistakes.
    """
    child = provider_child(log_path)
    child.start(port)
    try:
        # Read while the child loads its modules; a mistake must show here and not in its log.
        from doorbuster.scenario.reading import read_scenario  # noqa: PLC0415

        read_scenario(scenario_path)
        child.configure(
            provider_settings(
                scenario_path,
                seed=seed,
                opens_at_s=time.time() if opens_at_s is None else opens_at_s,
                journal_path=journal_path,
                is_forced=is_forced,
                mail=mail,
                notifies_all=mail is not None,
            )
        )
        child.wait()
        yield child
    finally:
        child.stop()
