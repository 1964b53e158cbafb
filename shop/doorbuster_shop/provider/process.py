"""The provider's process: `python -m doorbuster_shop.provider.process`, started by `running`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doorbuster.scenario.reading import read_scenario
from doorbuster_shop.clock import now_s
from doorbuster_shop.provider.app import provider_app
from doorbuster_shop.provider.counter import Terms
from doorbuster_shop.provider.webhooks import Mailbox
from doorbuster_shop.serving import read_settings, serve


def terms_from(settings: dict[str, Any]) -> Terms:
    """The terms that `running.provider_settings` wrote."""
    journal_path, mailbox = settings["journal_path"], settings["mailbox"]
    return Terms(
        seed=settings["seed"],
        opens_at_s=settings["opens_at_s"],
        journal_path=None if journal_path is None else Path(journal_path),
        is_forced=settings["is_forced"],
        mailbox=None if mailbox is None else Mailbox(**mailbox),
        notifies_all=settings["notifies_all"],
    )


def main() -> None:
    """Serve the provider until the parent goes."""
    settings = read_settings()
    payments = read_scenario(Path(settings["scenario_path"])).scenario.payments
    app = provider_app(payments, terms_from(settings), now_s)
    serve(lambda _accepted_count: app, settings["listening_fd"])


if __name__ == "__main__":
    main()
