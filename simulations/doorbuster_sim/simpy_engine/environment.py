"""SimPy's environment with a nanosecond clock and our own order of simultaneous events."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import simpy
from simpy.events import EventPriority

from doorbuster.compiling import plain
from doorbuster_sim import clock
from doorbuster_sim.event_order import Rank, event_order

# Called from Python, the plain forms are far faster, and equal.
to_ns, to_s, _order = plain(clock.to_ns), plain(clock.to_s), plain(event_order)


class Environment(simpy.Environment):
    """A clock of whole nanoseconds from the opening."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds from the opening."""
        return int(self.now)

    @property
    def current(self) -> simpy.Process:
        """The process that runs."""
        assert self.active_process is not None
        return self.active_process

    def moment(self, delay_ns: int, rank: Rank, visitor: int = 0, number: int = 0) -> simpy.Event:
        """A timeout that takes its place among simultaneous events by `event_order`."""
        return _Moment(self, delay_ns, _order(int(rank), visitor, number))

    def soon(self, call: Callable[[], None]) -> None:
        """Call something before the next event; what it raises ends `run`."""
        event = simpy.Event(self)
        event._ok, event._value = True, None
        event.callbacks.append(lambda _event: call())
        self.schedule(event, simpy.events.URGENT)


class _Moment(simpy.Event):
    """SimPy sorts its queue by (time, priority, number of scheduling).

    Its own events have priority 0 or 1 and only happen without delay, as consequences of the
    event before them; ours are above, and different from each other.
    """

    def __init__(self, env: simpy.Environment, delay_ns: int, order: int) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, cast("EventPriority", order), delay_ns)
