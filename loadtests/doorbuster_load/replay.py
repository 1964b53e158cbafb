"""Replays one worker's share of the plan: every visitor starts at its planned moment.

Arrivals are never re-timed and never skipped: a late one starts at once, and one that would
exceed the limit of visitors under way is recorded as dropped, which voids the run.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from gevent.event import Event
from locust.env import Environment
from locust.runners import Runner

from doorbuster.records.run_folder import RunFolder
from doorbuster.vocabulary import Outcome, Reply
from doorbuster_load.agent import ReplayAgent
from doorbuster_load.journey import NANOSECONDS, Stage, sleep_until, warm_up
from doorbuster_load.notes import Notes
from doorbuster_load.recorder import Recorder, VisitRow
from doorbuster_load.spec import Sale, share_of
from doorbuster_load.tally import CpuMeter
from doorbuster_load.transport import CheckedPool

SHARED_TIMEOUT_S = 10.0
"""For requests whose values all visitors share."""
SPARE_AGENTS = 1000
"""Agents made before the sale; more are made when they are needed."""
LATE_STARTS_AT_ONCE = 50
"""Late visitors that are started before the ones already started get their turn."""
RARE_COLLECTIONS = 1000
"""Collections of the middle generation between two full ones."""
OPENING_LEAD_NS = NANOSECONDS
MAX_OPENED_CONNECTIONS = 500
"""Connections that are opened before the sale."""


class SharedRequestError(Exception):
    """A request that all visitors depend on has failed; says which."""


class Replay:
    """One worker's part of one sale."""

    def __init__(self, sale: Sale, environment: Environment, runner: Runner) -> None:
        spec = sale.spec
        self.sale = sale
        self.stage = Stage(sale)
        self.notes = Notes()
        self.visitors = share_of(sale.plan.account, spec.worker_index, spec.worker_count)
        self.stage.tally.planned = len(self.visitors)
        self._environment = environment
        self._runner = runner
        self._limit = spec.in_flight_limit
        verify_tls = sale.profile_file.profile.verify_tls
        self._pool = CheckedPool(sale.guard, size=self._limit, verify_tls=verify_tls)
        self._under_way: dict[int, ReplayAgent] = {}
        self._stopped = Event()
        warm_up(self.stage)
        self._free = [self._new_agent() for _ in range(min(SPARE_AGENTS, len(self.visitors)))]

    def open(self, folder: Path, t0_ns: int, t0_epoch_s: float) -> None:
        """Open the spool and set the clock. Raises: SharedRequestError."""
        stage = self.stage
        stage.t0_ns = t0_ns
        stage.cast.t0_epoch_s = t0_epoch_s
        writer = f"worker{self.sale.spec.worker_index}"
        stage.recorder = Recorder(RunFolder(folder), writer, self.sale.plan, self.sale.names)
        self._fetch_shared()
        self._open_connections()

    def run(self) -> None:
        """From the first arrival until everybody has left, the sale ends, or `stop`."""
        plan, stage = self.sale.plan, self.stage
        due_ns = (plan.arrival_ns[self.visitors] + stage.t0_ns).tolist()
        _calm_collector()
        pacer = gevent.spawn(self._pace, self.visitors.tolist(), due_ns)
        opener = gevent.spawn(self._open_connections_for_the_opening)
        meter = CpuMeter()
        end_ns = stage.t0_ns + int(self.sale.timetable.end_s * NANOSECONDS)
        while not self._stopped.is_set():
            left_s = (end_ns - time.monotonic_ns()) / NANOSECONDS
            if left_s <= 0 or (pacer.dead and not self._under_way):
                break
            self._stopped.wait(min(1.0, left_s))
            stage.recorder.flush()
            stage.tally.measure_cpu(meter)
        gevent.killall([pacer, opener])
        self._end(due_ns)

    def stop(self) -> None:
        """End now: visitors under way and those still to come count as not run."""
        self.stage.ending = Outcome.NOT_RUN
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    # -- visitors ----------------------------------------------------------------------------

    def _pace(self, visitors: list[int], due_ns: list[int]) -> None:
        late_count = 0
        for visitor, moment_ns in zip(visitors, due_ns, strict=True):
            if moment_ns > time.monotonic_ns():
                sleep_until(moment_ns)
                late_count = 0
            else:
                late_count += 1
                if late_count % LATE_STARTS_AT_ONCE == 0:
                    gevent.sleep(0)
            self._start(visitor)

    def _start(self, visitor: int) -> None:
        tally = self.stage.tally
        tally.offered += 1
        if len(self._under_way) >= self._limit:
            tally.dropped += 1
            self.stage.recorder.visit(VisitRow(visitor, outcome=int(Outcome.DROPPED)))
            return
        agent = self._free.pop() if self._free else self._new_agent()
        agent.visitor = visitor
        self._under_way[visitor] = agent
        tally.sent += 1
        tally.in_flight = len(self._under_way)
        tally.in_flight_max = max(tally.in_flight_max, tally.in_flight)
        agent.start(self._runner.user_greenlets)

    def _left(self, agent: ReplayAgent) -> None:
        del self._under_way[agent.visitor]
        self.stage.tally.in_flight = len(self._under_way)
        self._free.append(agent)

    def _new_agent(self) -> ReplayAgent:
        agent = ReplayAgent(self._environment, self.stage, self._pool, self.notes)
        agent.on_left = self._left
        return agent

    def _end(self, due_ns: list[int]) -> None:
        """Stop everybody, and account for those who never got to start."""
        self._runner.user_greenlets.kill()
        recorder, ending = self.stage.recorder, int(self.stage.ending)
        for visitor in list(self._under_way):  # Killed before its greenlet had begun.
            recorder.visit(VisitRow(visitor, outcome=ending))
        self._under_way.clear()
        for visitor in self.visitors[self.stage.tally.offered :].tolist():
            recorder.visit(VisitRow(visitor, outcome=ending))
        recorder.close()
        self.stage.tally.in_flight = 0

    # -- before the sale ---------------------------------------------------------------------

    def _fetch_shared(self) -> None:
        stage = self.stage
        if not stage.book.shared:
            return
        variables: dict[str, Any] = stage.cast.common()
        agent = self._new_agent()
        result = agent.performer.perform(stage.book.shared, variables, SHARED_TIMEOUT_S)
        agent.performer.last_sent_ns = 0
        if result.reply is not Reply.OK:
            notes = "; ".join(self.notes.to_json())
            message = f"a shared request has failed ({result.reply.name.lower()}): {notes}"
            raise SharedRequestError(message)
        names = {name for prepared in stage.book.shared for name in prepared.request.extract}
        stage.cast.shared = {name: variables[name] for name in names if name in variables}

    def _open_connections(self) -> None:
        if self.sale.profile_file.profile.connections == "shared":
            self._pool.open_connections(self.sale.spec.target, self._burst_size())

    def _open_connections_for_the_opening(self) -> None:
        """Targets close idle connections; without new ones the rush at T0 would be late."""
        ready_ns = self.stage.t0_ns - OPENING_LEAD_NS
        if time.monotonic_ns() < ready_ns:
            sleep_until(ready_ns)
            self._open_connections()

    def _burst_size(self) -> int:
        """Connections that the densest tenth of a second of this share may need at once."""
        arrival_s = self.sale.plan.arrival_s[self.visitors]
        if not len(arrival_s):
            return 0
        until = np.searchsorted(arrival_s, arrival_s + 0.1, side="right")
        densest = int((until - np.arange(len(arrival_s))).max())
        return min(densest, MAX_OPENED_CONNECTIONS)


def _calm_collector() -> None:
    """Keep the garbage collector from stopping the sale.

    It skips all that exists by now, and full collections, which take milliseconds with many
    visitors under way, become rare.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, RARE_COLLECTIONS)
