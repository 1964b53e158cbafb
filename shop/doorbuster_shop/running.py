"""A running shop and its provider: two child processes, started, watched and stopped."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from doorbuster_shop.child import Child, ShopStartError
from doorbuster_shop.limits import QUEUE_MAX
from doorbuster_shop.provider.running import Mail, provider_child, provider_settings
from doorbuster_shop.terms import terms_of, terms_to_json
from doorbuster_shop.throwaway import (
    MissingServerError,
    throwaway_postgresql,
    throwaway_redis,
)

__all__ = ["MissingServerError", "RunningShop", "ShopStartError", "running_shop"]

SQLITE, POSTGRESQL, REDIS = "sqlite", "postgresql", "redis"
"""Words for stores without an address."""

PROVIDER_ANSWER_S = 5.0
"""How long a provider that runs already may take to say that it does."""


class RunningShop:
    """A shop that answers at `url`, and its provider at `provider_url`.

    `provider` is None when the provider is somebody else's process.
    """

    def __init__(
        self, shop: Child, provider: Child | None, provider_url: str, admin_token: str
    ) -> None:
        self._shop = shop
        self._provider = provider
        self.url = shop.url
        self.provider_url = provider_url
        self.admin_token = admin_token

    @property
    def shop_pid(self) -> int:
        """Process id of the shop."""
        return self._shop.pid

    @property
    def provider_pid(self) -> int:
        """Process id of the provider, which must be ours."""
        assert self._provider is not None
        return self._provider.pid

    def restart_shop(self) -> None:
        """Start a shop that has died again: same port, same database. Raises: ShopStartError."""
        self._shop.restart()

    def restart_provider(self) -> None:
        """Start a provider that has died again: same port, same journal."""
        assert self._provider is not None
        self._provider.restart()

    def dead(self) -> str | None:
        """The name and exit code of a process that has ended by itself, or None."""
        for child in (self._shop, self._provider):
            code = None if child is None else child.exit_code()
            if child is not None and code is not None:
                return f"the {child.name} ended with code {code}"
        return None


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
    Raises: MissingServerError, ShopStartError; ScenarioError for a scenario with mistakes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database_path = (database_path or folder / "shop.db").resolve()
    stem = (folder / database_path.stem).resolve()
    provider = None if provider_url else provider_child(Path(f"{stem}-provider.log"))
    shop = Child("shop", "doorbuster_shop.shop_process", Path(f"{stem}.log"))
    token = admin_token or secrets.token_urlsafe(16)
    secret = notify_secret or secrets.token_urlsafe(16)
    opens_at_s = time.time() if opens_at_s is None else opens_at_s
    with ExitStack() as stack:
        if store == POSTGRESQL:
            store = stack.enter_context(throwaway_postgresql())
        if redis == REDIS:
            redis = stack.enter_context(throwaway_redis())
        for child, wanted_port in ((provider, provider_port), (shop, port)):
            if child is not None:
                child.start(wanted_port)
                stack.callback(child.stop)
        # Read while the children load their modules: this import takes as long as theirs.
        from doorbuster.scenario.reading import read_scenario  # noqa: PLC0415

        terms = terms_of(read_scenario(scenario_path).scenario)
        if provider is not None:
            provider.configure(
                provider_settings(
                    scenario_path,
                    seed=seed,
                    opens_at_s=opens_at_s,
                    journal_path=Path(f"{stem}-provider.jsonl"),
                    mail=Mail(f"{shop.url}/webhooks/provider", secret, notify_time_scale),
                )
            )
            provider_url = provider.url
        assert provider_url is not None
        if provider is None:
            _check_provider(provider_url)
        shop.configure(
            {
                "terms": terms_to_json(terms),
                "store": str(database_path) if store == SQLITE else store,
                "redis": redis,
                "provider_url": provider_url,
                "admin_token": token,
                "queue_max": queue_max,
                "opens_at_s": opens_at_s,
                "webhook_secret": secret,
            }
        )
        if provider is not None:
            provider.wait()
        shop.wait()
        yield RunningShop(shop, provider, provider_url, token)


def _check_provider(url: str) -> None:
    """See whether somebody's provider answers. Raises: ShopStartError."""
    try:
        with urlopen(f"{url}/healthz", timeout=PROVIDER_ANSWER_S) as reply:
            reply.read()
    except (OSError, ValueError) as error:
        message = f"payment provider {url}: does not answer ({error}); start it first"
        raise ShopStartError(message) from None
