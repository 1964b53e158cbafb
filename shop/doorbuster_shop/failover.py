"""Which channel a payment is sent by: its own, or the next one while its own is out.

A payment changes its channel only while it is certainly not in flight: before it was sent at all,
or after refusals that the provider gives before it writes anything down (429, 503). An attempt
that broke off or was never answered counts as charged until the provider was asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from doorbuster_shop.breaker import Breaker
from doorbuster_shop.provider_client import ProviderClient, ProviderUnavailableError

PROBE_S = 1.0
"""How often the provider is asked about channels whose breaker is not closed."""

_log = logging.getLogger(__name__)


class Failover:
    """A breaker for each channel that has another one to go to."""

    def __init__(self, provider: ProviderClient, next_of: Mapping[str, str]) -> None:
        self._provider = provider
        self._next_of = dict(next_of)
        self._breakers = {name: Breaker() for name in {*next_of, *next_of.values()}}
        self._probing: asyncio.Task[None] | None = None

    @property
    def states(self) -> dict[str, str]:
        """Where every breaker stands."""
        return {name: breaker.state for name, breaker in self._breakers.items()}

    def channel_for(self, wanted: str) -> str:
        """The channel by which a payment that is certainly not in flight is sent now.

        If all in the chain are out, it is the buyer's own.
        """
        channel = wanted
        for _ in range(len(self._next_of) + 1):
            breaker = self._breakers.get(channel)
            if breaker is None or breaker.lets_pass():
                return channel
            if channel not in self._next_of:
                break
            channel = self._next_of[channel]
        return wanted

    def succeeded(self, channel: str) -> None:
        """A charge by this channel was answered."""
        breaker = self._breakers.get(channel)
        if breaker is not None:
            breaker.succeeded()

    def failed(self, channel: str) -> None:
        """The channel was out of order, or did not answer."""
        breaker = self._breakers.get(channel)
        if breaker is not None and breaker.failed():
            _log.warning("channel %s: out, %s", channel, self.states)
            if self._probing is None or self._probing.done():
                self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        """Ask until all breakers are closed."""
        while set(self.states.values()) != {"closed"}:
            await asyncio.sleep(PROBE_S)
            try:
                out = await self._provider.channels_out()
            except ProviderUnavailableError:
                continue
            for name, breaker in self._breakers.items():
                if name not in out:
                    breaker.probed_well()

    async def stop(self) -> None:
        """Stop asking."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
