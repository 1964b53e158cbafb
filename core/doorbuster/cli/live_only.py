"""Says what a scenario asks for and the simulated world does not do."""

from __future__ import annotations

from doorbuster.cli.console import say
from doorbuster.scenario.payments import Payments


def say_live_only(payments: Payments) -> None:
    """One sentence, or none."""
    paths = payments.live_only()
    if paths:
        say(f"Live only, not simulated: {', '.join(paths)}.")
