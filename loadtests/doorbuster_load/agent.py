"""The Locust user that plays visits: one after the other, each started at its planned arrival."""

from __future__ import annotations

from collections.abc import Callable

from gevent import sleep
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from doorbuster_load.journey import Journey, Stage
from doorbuster_load.notes import Notes
from doorbuster_load.performing import Performer
from doorbuster_load.transport import CheckedPool, FastHttpTransport


class ReplayAgent(FastHttpUser):
    """Plays one visit for each time it is started; Locust's task loop is not used."""

    insecure = False

    def __init__(
        self, environment: Environment, stage: Stage, shared_pool: CheckedPool, notes: Notes
    ) -> None:
        super().__init__(environment)
        profile = stage.sale.profile_file.profile
        guard = stage.sale.guard
        is_private = profile.connections == "per_visitor"
        pool = (
            CheckedPool(guard, size=1, verify_tls=profile.verify_tls) if is_private else shared_pool
        )
        transport = FastHttpTransport(
            self.client, pool, keeps_cookies=profile.visitor.cookies, is_private=is_private
        )
        self.performer = Performer(transport, guard, notes, stage.cast.headers_of, sleep)
        self.visitor = -1
        self._stage = stage
        self._transport = transport
        self.on_left: Callable[[ReplayAgent], None] = _ignore

    def run(self) -> None:  # type: ignore[misc]  # Locust marks it final and overrides it as well.
        """One visit."""
        try:
            Journey(self._stage, self.performer, self.visitor).play()
        finally:
            self._transport.forget()
            self.on_left(self)


def _ignore(_: ReplayAgent) -> None:
    return None
