"""Options of every verb that sends load: `load` and `rehearse` name them alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

P = ParamSpec("P")

ADMIN_TOKEN_ENV = "DOORBUSTER_ADMIN_TOKEN"

_OPTIONS = (
    click.option(
        "--profile",
        default="reference",
        show_default=True,
        metavar="NAME|PATH",
        help="How to speak to the target: a built-in profile or a YAML file.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help="Processes that generate load; one keeps up with some 600 requests a second.",
    ),
    click.option(
        "--allow-host",
        "allow_hosts",
        multiple=True,
        metavar="HOST[:PORT]",
        help="A host besides this machine that you may load; repeat it for several.",
    ),
    click.option(
        "--rate-ceiling",
        "rate_ceiling_per_s",
        type=click.FloatRange(0, min_open=True),
        default=2000.0,
        show_default=True,
        help="Refuse to plan more arrivals a second for other hosts than this.",
    ),
    click.option(
        "--admin-token-env",
        metavar="VAR",
        default=ADMIN_TOKEN_ENV,
        show_default=True,
        help="Environment variable with the token for reset, stock and audit.",
    ),
    click.option(
        "--without-faults",
        is_flag=True,
        help="Leave out what the scenario breaks during the sale.",
    ),
    click.option(
        "--stop-file",
        type=click.Path(path_type=Path),
        help="End the run as soon as this file exists; so does STOP in the run folder.",
    ),
)


def live_options(function: Callable[P, None]) -> Callable[P, None]:
    """Adds all of them, under the names that LiveOptions has for them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
