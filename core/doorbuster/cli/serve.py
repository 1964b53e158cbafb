"""`doorbuster serve`: the reference shop and its payment provider, until Ctrl-C."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.addresses import checked_url
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.running import PORT, opening, watch
from doorbuster.cli.shop_options import WORKERS, check_store


@click.command(epilog="Example:  doorbuster serve scenarios/demo.yaml --port 8080 --opens-in 30s")
@scenario_argument
@click.option("--port", type=PORT, default=0, help="Port of the shop; 0 takes any free one.")
@click.option("--provider-port", type=PORT, default=0, help="Port of the payment provider.")
@click.option(
    "--provider",
    "provider_url",
    metavar="URL",
    help="Use this payment provider, see `doorbuster provider`. Default: one of the shop's own.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="A host besides this machine that --provider may name.",
)
@click.option(
    "--notify-secret",
    envvar="DOORBUSTER_NOTIFY_SECRET",
    show_envvar=True,
    help="Secret that the provider signs its notifications with. Default: a new one.",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor on the intervals of repeated notifications of the shop's own provider.",
)
@click.option(
    "--database",
    "database_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the sale in this SQLite file, or go on with the one in it. Default: forget it.",
)
@click.option(
    "--store",
    default="sqlite",
    show_default=True,
    metavar="sqlite|postgresql[://...]",
    help="Where the shop keeps its sale. postgresql without an address starts a server of its own"
    " and throws it away at the end.",
)
@click.option(
    "--redis",
    is_flag=False,
    flag_value="redis",
    metavar="[redis://...]",
    help="Redis for the strategy prededuct; without an address a server of its own, likewise.",
)
@click.option(
    "--workers",
    type=WORKERS,
    default=1,
    show_default=True,
    help="Processes of the shop; they share its port and its database.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True,
    help="Decides which payments the provider declines and how long it takes.",
)  # fmt: skip
@click.option("--opens-in", default="0s", show_default=True, help="When the sale opens: 30s, 5m.")
@click.option(
    "--admin-token",
    envvar="DOORBUSTER_ADMIN_TOKEN",
    show_envvar=True,
    help="Token for /admin/. Default: a new one, printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@handles_user_errors
def command(
    scenario_path: Path,
    port: int,
    provider_port: int,
    provider_url: str | None,
    allow_hosts: tuple[str, ...],
    notify_secret: str | None,
    time_scale: float,
    database_path: Path | None,
    store: str,
    redis: str | None,
    workers: int,
    seed: int,
    opens_in: str,
    admin_token: str | None,
    as_json: bool,
) -> None:
    """Start the reference shop and its payment provider on this machine; Ctrl-C ends them."""
    from doorbuster_shop.running import (
        ImpossibleError,
        MissingServerError,
        ShopStartError,
        running_shop,
    )

    check_store(store, redis)
    _check_database(database_path, store)
    opens_at_s = opening(opens_in)
    if provider_url is not None:
        provider_url = checked_url(provider_url, allow_hosts, "--provider")
    news = [_database_news(store, database_path), *([_redis_news(redis)] if redis else [])]
    with ExitStack() as stack:
        folder = (
            database_path.resolve().parent
            if database_path
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorbuster-")))
        )
        try:
            running = stack.enter_context(
                running_shop(
                    scenario_path,
                    seed=seed,
                    folder=folder,
                    port=port,
                    provider_port=provider_port,
                    database_path=database_path,
                    store=store,
                    redis=redis,
                    admin_token=admin_token,
                    opens_at_s=opens_at_s,
                    provider_url=provider_url,
                    notify_secret=notify_secret,
                    notify_time_scale=time_scale,
                    worker_count=workers,
                )
            )
        except (ImpossibleError, MissingServerError) as error:
            stop(exit_codes.USAGE, str(error))
        except ShopStartError as error:
            stop(exit_codes.TARGET_FAILED, str(error))

        def tell() -> None:
            _tell(running.url, running.provider_url, running.admin_token, as_json=as_json)
            for sentence in news:
                say(sentence)
            if running.fault_count:
                say(f"Faults: {running.fault_count} planned; `load` has them carried out in time.")
            say(_next_step(running.url, running.admin_token, scenario_path))
            say("Ctrl-C ends the sale.")

        watch(running.dead, tell)


def _check_database(database_path: Path | None, store: str) -> None:
    if database_path is None:
        return
    if store != "sqlite":
        stop(exit_codes.USAGE, "--database: a file is for --store sqlite; leave one of them out")
    folder = database_path.resolve().parent
    if not folder.is_dir():
        stop(exit_codes.USAGE, f"--database: {folder}: no such folder; make it first")


def _next_step(shop: str, admin_token: str, scenario_path: Path) -> str:
    token, scenario = shlex.quote(admin_token), shlex.quote(str(scenario_path))
    return f"Next: DOORBUSTER_ADMIN_TOKEN={token} doorbuster load {scenario} --target {shop}"


def _database_news(store: str, database_path: Path | None) -> str:
    """Whether a sale begins or goes on; to be asked before the shop opens its database."""
    if store == "postgresql":
        return "Database: a PostgreSQL server of its own, thrown away at the end."
    if store != "sqlite":
        return f"Database: PostgreSQL at {store.rpartition('@')[2].removeprefix('postgresql://')}."
    if database_path is None:
        return "Database: in a temporary folder, forgotten at the end."
    if database_path.is_file() and database_path.stat().st_size:
        return f"Database: {database_path}, continued; its sale goes on."
    return f"Database: {database_path}, new."


def _redis_news(redis: str) -> str:
    if redis == "redis":
        return "Redis: a server of its own, thrown away at the end."
    return f"Redis: at {redis.rpartition('@')[2].removeprefix('redis://')}."


def _tell(shop: str, provider: str, admin_token: str, *, as_json: bool) -> None:
    facts = {
        "shop": shop,
        "openapi": f"{shop}/openapi.json",
        "provider": provider,
        "admin_token": admin_token,
    }
    if as_json:
        print_json({"format": 1, **facts})
    else:
        for name, value in facts.items():
            click.echo(f"{name:12} {value}")
