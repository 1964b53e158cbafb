"""What a plain Locust test reports: 40 users in a loop, five requests a second each.

Run it as a script with a URL and seconds: it prints `started`, then one JSON object.
"""

from __future__ import annotations

import json
import sys

import gevent
from locust import FastHttpUser, constant_throughput, task
from locust.env import Environment

USERS = 40
RATE_PER_USER_S = 5


class ClosedUser(FastHttpUser):
    """Waits for each answer before it sends the next request."""

    wait_time = constant_throughput(RATE_PER_USER_S)

    @task
    def browse(self) -> None:
        """One request."""
        self.client.get("/plain")


def main() -> None:
    """Run for the given time and print the number of requests and their quantiles."""
    url, seconds = sys.argv[1], float(sys.argv[2])
    environment = Environment(user_classes=[ClosedUser], host=url)
    runner = environment.create_local_runner()
    times_ms: list[float] = []
    environment.events.request.add_listener(  # type: ignore[no-untyped-call]
        lambda response_time, **_: times_ms.append(response_time)
    )
    runner.start(USERS, spawn_rate=100)
    gevent.sleep(0.5)
    times_ms.clear()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    gevent.sleep(seconds)
    found = sorted(times_ms)
    runner.quit()
    quantiles = {f"p{q}_s": found[len(found) * q // 100] / 1e3 for q in (50, 90, 95, 99)}
    sys.stdout.write(json.dumps({"count": len(found), **quantiles}) + "\n")


if __name__ == "__main__":
    main()
