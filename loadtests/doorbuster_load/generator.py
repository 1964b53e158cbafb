"""The generator process: Locust's runner, the workers, and the conversation with the starter.

    starter ── JSON lines on stdin: spec, go, stop ──> generator ── Locust messages ──> workers
    starter <── JSON lines on stdout: ready, progress, done ── generator <── Locust messages ──

The pipes are life-lines as well: when the starter goes away, its end of stdin closes, and the
generator stops; when the generator goes away, so do its workers.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import gevent
import locust
from gevent.event import Event
from gevent.fileobject import FileObject
from locust.env import Environment
from locust.runners import Runner

from doorbuster import exit_codes
from doorbuster_load import messages
from doorbuster_load.agent import ReplayAgent
from doorbuster_load.delays import DelayHistogram
from doorbuster_load.node import Node
from doorbuster_load.spec import Spec
from doorbuster_load.tally import Tally, WorkerState

WATCH_INTERVAL_S = 0.2
BEAT_LIMIT_S = 5.0
"""A worker without a sign of life for so long counts as lost."""
STOP_LIMIT_S = 20.0
"""Time for workers to end after a stop."""
NICENESS = -10
_SPARE_DESCRIPTORS = 256


def run_generator() -> None:
    """The main program of the generator process."""
    logging.basicConfig(level=logging.WARNING)
    lines = FileObject(sys.stdin.fileno(), "r", close=False)
    spec = _fitting_limits(Spec.from_json(json.loads(lines.readline())))
    _be_punctual()
    environment = _environment(spec)
    runner: Runner
    if spec.worker_count == 1:
        runner = environment.create_local_runner()
        generator = Generator(spec, runner)
        gevent.spawn(Node(spec, environment, runner).prepare)
    else:
        runner = environment.create_master_runner("127.0.0.1", 0)
        generator = Generator(spec, runner)
        generator.start_workers(runner.server.port)
    gevent.spawn(generator.listen, lines)
    generator.watch()
    runner.quit()
    generator.end_workers()


def run_worker() -> None:
    """The main program of a worker process."""
    logging.basicConfig(level=logging.WARNING)
    lines = FileObject(sys.stdin.fileno(), "r", close=False)
    spec = Spec.from_json(json.loads(lines.readline()))
    _fitting_limits(spec)
    environment = _environment(spec)
    runner = environment.create_worker_runner("127.0.0.1", spec.master_port)
    node = Node(spec, environment, runner)
    closed = Event()

    def wait_for_the_end() -> None:
        while lines.readline():
            pass
        closed.set()

    gevent.spawn(wait_for_the_end)
    node.prepare()
    gevent.wait([node.is_finished, closed], count=1)
    if not node.is_finished.is_set():
        node.abandon()
    closed.wait(STOP_LIMIT_S)


class Generator:
    """Starts and watches the workers and tells the starter how things stand."""

    def __init__(self, spec: Spec, runner: Runner) -> None:
        self._spec = spec
        self._runner = runner
        self._workers = [WorkerState(index) for index in range(spec.worker_count)]
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._stop_by_s = float("inf")
        self._is_failed = False
        self._is_started = False
        for kind, listener in (
            (messages.READY, self._on_ready),
            (messages.BEAT, self._on_beat),
            (messages.DONE, self._on_done),
            (messages.FAILED, self._on_failed),
        ):
            runner.register_message(kind, listener)

    def start_workers(self, master_port: int) -> None:
        """One process a worker; its stdin stays open as long as this process lives."""
        for worker in self._workers:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "doorbuster_load", "worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            self._processes[worker.index] = process
            assert process.stdin is not None
            spec = self._spec.for_worker(worker.index, master_port)
            messages.write_line(process.stdin, **spec.to_json())

    def end_workers(self) -> None:
        """Close the life-lines and wait."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(timeout=3.0)
            except subprocess.TimeoutExpired:
                process.kill()

    def listen(self, lines: Any) -> None:
        """Do what the starter says; its silence means stop."""
        for line in lines:
            order = json.loads(line)
            if order["order"] == "go":
                self._is_started = True
                self._broadcast(messages.GO, order)
            else:
                self._stop()
        self._stop()

    def watch(self) -> None:
        """Until every worker is done or lost; then tell the facts."""
        next_progress_s = 0.0
        while not self._is_over():
            gevent.sleep(WATCH_INTERVAL_S)
            self._find_losses()
            if self._is_started and time.monotonic() >= next_progress_s:
                next_progress_s = time.monotonic() + messages.BEAT_INTERVAL_S
                messages.say(event="progress", **self._progress())
        notes: dict[str, int] = {}
        for worker in self._workers:
            for sentence, count in worker.notes.items():
                notes[sentence] = notes.get(sentence, 0) + count
        if self._is_started and not self._is_failed:
            messages.say(
                event="done",
                workers=[worker.facts() for worker in self._workers],
                generator=self._facts(),
                lost={worker.index: worker.lost for worker in self._workers if worker.lost},
                notes=notes,
            )

    # -- what workers say --------------------------------------------------------------------

    def _on_ready(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment
        worker = self._heard(msg)
        worker.pid, worker.planned = msg.data["pid"], msg.data["planned"]
        worker.plan_hash, worker.is_ready = msg.data["plan_hash"], True
        if all(worker.is_ready for worker in self._workers):
            messages.say(
                event="ready",
                planned=sum(worker.planned for worker in self._workers),
                plan_hashes=sorted({worker.plan_hash for worker in self._workers}),
                workers=[worker.facts() for worker in self._workers],
            )

    def _on_beat(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment
        worker = self._heard(msg)
        worker.tally = Tally(**msg.data["tally"])
        worker.delays = DelayHistogram.from_json(msg.data["delays"])

    def _on_done(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._on_beat(environment, msg)
        worker = self._workers[msg.data["index"]]
        worker.notes, worker.is_done = msg.data["notes"], True

    def _on_failed(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment
        if not self._is_failed:
            self._is_failed = True
            messages.say(event="failed", code=msg.data["code"], sentence=msg.data["sentence"])
        self._stop()

    def _heard(self, msg: Any) -> WorkerState:
        worker: WorkerState = self._workers[msg.data["index"]]
        worker.last_beat_s = time.monotonic()
        return worker

    # -- what becomes of them ----------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._is_failed or time.monotonic() > self._stop_by_s:
            return True
        if not self._is_started and self._stop_by_s < float("inf"):
            return True
        return all(worker.is_done or worker.lost for worker in self._workers)

    def _find_losses(self) -> None:
        for worker in self._workers:
            if worker.is_done or worker.lost:
                continue
            process = self._processes.get(worker.index)
            code = None if process is None else process.poll()
            silent_s = time.monotonic() - worker.last_beat_s if worker.last_beat_s else 0.0
            if code is not None:
                worker.lost = f"its process ended with code {code}"
            elif self._is_started and process is not None and silent_s > BEAT_LIMIT_S:
                worker.lost = f"no sign of life for {silent_s:.1f} s"
                process.kill()
            if worker.lost and not worker.is_ready:
                sentence = f"worker {worker.index} did not start: {worker.lost}"
                self._is_failed = True
                messages.say(event="failed", code=exit_codes.INVALID, sentence=sentence)
            elif worker.lost:
                self._stop()

    def _stop(self) -> None:
        if self._stop_by_s == float("inf"):
            self._stop_by_s = time.monotonic() + STOP_LIMIT_S
            self._broadcast(messages.STOP, {})

    def _broadcast(self, kind: str, data: dict[str, Any]) -> None:
        self._runner.send_message(kind, data)

    # -- facts -------------------------------------------------------------------------------

    def _progress(self) -> dict[str, Any]:
        tallies = [worker.tally for worker in self._workers]
        return {
            "planned": sum(worker.planned for worker in self._workers),
            "offered": sum(tally.offered for tally in tallies),
            "sent": sum(tally.sent for tally in tallies),
            "in_flight": sum(tally.in_flight for tally in tallies),
            "sold": sum(tally.sold for tally in tallies),
            "failed": sum(tally.failed for tally in tallies),
            "dropped": sum(tally.dropped for tally in tallies),
            "cpu_fraction": max(tally.cpu_fraction for tally in tallies),
            "dispatch_delay_p99_s": self._delays().quantile_s(0.99),
        }

    def _facts(self) -> dict[str, Any]:
        tallies = [worker.tally for worker in self._workers]
        return {
            "worker_count": len(self._workers),
            "lost_workers": [worker.index for worker in self._workers if worker.lost],
            "dropped": sum(tally.dropped for tally in tallies),
            "in_flight_max": sum(tally.in_flight_max for tally in tallies),
            "in_flight_limit": self._spec.in_flight_limit * len(self._workers),
            "cpu_fraction_max": max(tally.cpu_fraction_max for tally in tallies),
            "dispatch_delay_p99_s": self._delays().quantile_s(0.99),
        }

    def _delays(self) -> DelayHistogram:
        total = DelayHistogram()
        for worker in self._workers:
            total = total.merged(worker.delays)
        return total


def _be_punctual() -> None:
    """Run before other processes where the system allows it: a late generator measures itself."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


def _environment(spec: Spec) -> Environment:
    ReplayAgent.host = spec.target
    # Locust's own events, so that a user's module beside the profile can listen to them.
    return Environment(user_classes=[ReplayAgent], events=locust.events, host=spec.target)


def _fitting_limits(spec: Spec) -> Spec:
    """Allow as many open files as the system lets us, and no more visitors than that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return spec
    limit = max(1, min(spec.in_flight_limit, hard - _SPARE_DESCRIPTORS))
    return Spec.from_json({**spec.to_json(), "in_flight_limit": limit})
