"""For people who look for a locustfile: the user class that `doorbuster load` replays plans with.

A plan cannot be replayed by Locust's own command line, which starts users in a loop; see
docs/live-world.md.
"""

from doorbuster_load.agent import ReplayAgent

__all__ = ["ReplayAgent"]
