"""The provider's process: `python -m doorbuster_shop.provider.process`, started by `running`."""

from __future__ import annotations

from pathlib import Path

from doorbuster.scenario.reading import read_scenario
from doorbuster_shop.clock import now_s
from doorbuster_shop.provider.app import provider_app
from doorbuster_shop.serving import read_settings, serve


def main() -> None:
    """Serve the provider until the parent goes."""
    settings = read_settings()
    payments = read_scenario(Path(settings["scenario_path"])).scenario.payments
    app = provider_app(payments, settings["seed"], Path(settings["journal_path"]), now_s)
    serve(lambda _accepted_count: app, settings["listening_fd"])


if __name__ == "__main__":
    main()
