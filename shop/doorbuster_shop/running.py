"""A running shop and its provider: two child processes, started, watched and stopped."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from doorbuster_shop.child import Child, ShopStartError
from doorbuster_shop.fault_desk import FaultDesk
from doorbuster_shop.faults import Faults, Surroundings
from doorbuster_shop.limits import QUEUE_MAX
from doorbuster_shop.possible import POSTGRESQL, REDIS, SQLITE, ImpossibleError, check_possible
from doorbuster_shop.provider.running import Mail, provider_child, provider_settings
from doorbuster_shop.terms import terms_of, terms_to_json
from doorbuster_shop.throwaway import (
    MissingServerError,
    Postgresql,
    restartable_postgresql,
    throwaway_redis,
)
from doorbuster_shop.workers import Workers

__all__ = [
    "ImpossibleError",
    "MissingServerError",
    "RunningShop",
    "ShopStartError",
    "running_shop",
]

PROVIDER_ANSWER_S = 5.0
"""How long a provider that runs already may take to say that it does."""


class RunningShop:
    """A shop that answers at `url`, and its provider at `provider_url`.

    `provider` is None when the provider is somebody else's process.
    """

    def __init__(
        self,
        workers: Workers,
        provider: Child | None,
        provider_url: str,
        admin_token: str,
        fault_count: int,
    ) -> None:
        self._workers = workers
        self._provider = provider
        self.url = workers.url
        self.provider_url = provider_url
        self.admin_token = admin_token
        self.fault_count = fault_count
        """Faults that the scenario plans."""

    @property
    def shop_pid(self) -> int:
        """Process id of the shop, or of its first worker."""
        return self.shop_pids[0]

    @property
    def shop_pids(self) -> list[int]:
        """Process ids of the shop's workers."""
        return self._workers.pids

    @property
    def provider_pid(self) -> int:
        """Process id of the provider, which must be ours."""
        assert self._provider is not None
        return self._provider.pid

    def restart_shop(self) -> None:
        """Start a shop that has died again: same port, same database. Raises: ShopStartError."""
        self._workers.kill_all()
        self._workers.bring_back_all()

    def restart_provider(self) -> None:
        """Start a provider that has died again: same port, same journal."""
        assert self._provider is not None
        self._provider.restart()

    def dead(self) -> str | None:
        """The name and exit code of a process that has ended by itself, or None."""
        ended = self._workers.dead()
        provider = self._provider
        if ended is None and provider is not None and provider.is_wanted:
            ended = None if provider.exit_code() is None else provider
        return None if ended is None else f"the {ended.name} ended with code {ended.exit_code()}"


@contextmanager
def running_shop(
    scenario_path: Path,
    *,
    seed: int,
    folder: Path,
    port: int = 0,
    provider_port: int = 0,
    database_path: Path | None = None,
    store: str = SQLITE,
    redis: str | None = None,
    admin_token: str | None = None,
    opens_at_s: float | None = None,
    queue_max: int = QUEUE_MAX,
    provider_url: str | None = None,
    notify_secret: str | None = None,
    notify_time_scale: float = 1.0,
    worker_count: int = 1,
) -> Iterator[RunningShop]:
    """Start provider and shop, and stop both at the end; they also end when this process dies.

    `folder` takes the logs, the provider's journal and, unless database_path is given, the
    database; their names begin like the database's.
    store is `sqlite`, an address postgresql://..., or `postgresql` for a server of its own that is
    thrown away at the end; redis is an address redis://... or `redis` likewise.
    opens_at_s is in seconds since the epoch, by default now; /admin/reset changes it. Above
    queue_max waiting requests the shop refuses. With provider_url the shop uses that provider,
    which must run already, and no other is started. notify_secret is shared by shop and provider
    (default: a new one); notify_time_scale stretches the provider's schedules of notifications.
    worker_count processes share the port, where the strategy allows it. What the scenario breaks
    during the sale can be asked for at an address that the answer to /admin/reset names.
    Raises: MissingServerError, ShopStartError, ImpossibleError; ScenarioError for a scenario with
    mistakes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database_path = (database_path or folder / "shop.db").resolve()
    stem = (folder / database_path.stem).resolve()
    provider = None if provider_url else provider_child(Path(f"{stem}-provider.log"))
    token = admin_token or secrets.token_urlsafe(16)
    secret = notify_secret or secrets.token_urlsafe(16)
    opens_at_s = time.time() if opens_at_s is None else opens_at_s
    workers = Workers(Path(f"{stem}.log"), worker_count, loads_postgresql=store != SQLITE)
    with ExitStack() as servers, ExitStack() as stack:
        for child, wanted_port in ((provider, provider_port), (workers, port)):
            if child is not None:
                child.start(wanted_port)
                stack.callback(child.stop)
        # Read while the children load their modules: this import takes as long as theirs.
        from doorbuster.scenario.reading import read_scenario  # noqa: PLC0415

        scenario = read_scenario(scenario_path).scenario
        kinds = {fault.kind for fault in scenario.faults}
        has_redis, has_provider = redis is not None, provider is not None
        check_possible(scenario, worker_count, store, has_redis, has_provider)
        workers.keeps_port |= "kill_worker" in kinds
        stores = servers.enter_context(_stores(store, redis, database_path, kinds))
        if provider is not None:
            provider.configure(
                provider_settings(
                    scenario_path,
                    seed=seed,
                    opens_at_s=opens_at_s,
                    journal_path=Path(f"{stem}-provider.jsonl"),
                    mail=Mail(f"{workers.url}/webhooks/provider", secret, notify_time_scale),
                )
            )
        provider_url = _address_of(provider, provider_url)
        desk = stack.enter_context(FaultDesk(token))
        workers.configure(
            {
                "terms": terms_to_json(terms_of(scenario)),
                "store": stores.address,
                "redis": stores.redis,
                "provider_url": provider_url,
                "admin_token": token,
                "queue_max": queue_max,
                "opens_at_s": opens_at_s,
                "webhook_secret": secret,
                "faults_port": desk.port,
            }
        )
        if provider is not None:
            provider.wait()
        workers.wait()
        _open_desk(desk, Surroundings(workers, provider, stores.database), kinds)
        yield RunningShop(workers, provider, provider_url, token, len(scenario.faults))


class _Stores(NamedTuple):
    """Where the shop finds its sale, and the server that may be stopped, if there is one."""

    address: str
    redis: str | None
    database: Postgresql | None


@contextmanager
def _stores(
    store: str, redis: str | None, database_path: Path, kinds: Collection[str]
) -> Iterator[_Stores]:
    """Servers of the shop's own, where the words ask for them."""
    database = None
    address = str(database_path) if store == SQLITE else store
    with ExitStack() as stack:
        if store == POSTGRESQL:
            survives_stop = "restart_database" in kinds
            server = stack.enter_context(restartable_postgresql(survives_stop=survives_stop))
            address, database = server.address, server if survives_stop else None
        if redis == REDIS:
            redis = stack.enter_context(throwaway_redis())
        yield _Stores(address, redis, database)


def _open_desk(desk: FaultDesk, around: Surroundings, kinds: Collection[str]) -> None:
    """Take orders for faults; for those that are planned be ready."""
    around.workers.prepare(kinds)
    if around.provider is not None and "kill_provider" in kinds:
        around.provider.prepare_for_kill()
    desk.open(Faults(around))


def _address_of(provider: Child | None, url: str | None) -> str:
    """Where the payment provider is; somebody else's must answer. Raises: ShopStartError."""
    if provider is not None:
        return provider.url
    assert url is not None
    try:
        with urlopen(f"{url}/healthz", timeout=PROVIDER_ANSWER_S) as reply:
            reply.read()
    except (OSError, ValueError) as error:
        message = f"payment provider {url}: does not answer ({error}); start it first"
        raise ShopStartError(message) from None
    return url
