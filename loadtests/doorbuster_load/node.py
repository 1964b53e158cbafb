"""A worker's side of the conversation: prepares, starts and stops its replay, and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import Runner

from doorbuster import exit_codes
from doorbuster.documents import DocumentError
from doorbuster_load import messages
from doorbuster_load.profile.credentials import CredentialsError
from doorbuster_load.replay import Replay, SharedRequestError
from doorbuster_load.safety import RefusedHostError
from doorbuster_load.spec import ChangedFileError, Sale, Spec
from doorbuster_load.tally import own_pid

ABANDON_LIMIT_S = 3.0
_USER_ERRORS = (ChangedFileError, DocumentError, CredentialsError, RefusedHostError)


class Node:
    """Registers at a runner, local or worker, and replays when the master says so."""

    def __init__(self, spec: Spec, environment: Environment, runner: Runner) -> None:
        self._spec = spec
        self._environment = environment
        self._runner = runner
        self._replay: Replay | None = None
        self.is_finished = gevent.event.Event()
        # Locust calls listeners with keywords; LocalRunner passes no client id.
        runner.register_message(messages.GO, self._on_go)
        runner.register_message(messages.STOP, self._on_stop)

    def prepare(self) -> None:
        """Build the plan and everything else that must not happen during the sale."""
        try:
            sale = Sale.of(self._spec)
            self._replay = Replay(sale, self._environment, self._runner)
        except _USER_ERRORS as error:
            self._fail(exit_codes.USAGE, str(error))
            return
        self._send(
            messages.READY,
            pid=own_pid(),
            planned=len(self._replay.visitors),
            plan_hash=sale.plan.hash,
        )

    def abandon(self) -> None:
        """End without a master: keep what was recorded."""
        if self._replay is not None:
            self._replay.stop()
            self.is_finished.wait(ABANDON_LIMIT_S)

    def _on_go(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment
        gevent.spawn(self._run, msg.data)

    def _on_stop(self, environment: Environment, msg: Any, **_: Any) -> None:
        del environment, msg
        if self._replay is not None:
            self._replay.stop()

    def _run(self, go: dict[str, Any]) -> None:
        replay = self._replay
        assert replay is not None
        try:
            replay.open(Path(go["folder"]), go["t0_mono_ns"], go["t0_epoch_s"])
        except SharedRequestError as error:
            self._fail(exit_codes.TARGET_FAILED, str(error))
            return
        except RefusedHostError as error:
            self._fail(exit_codes.USAGE, str(error))
            return
        self._environment.events.test_start.fire(  # type: ignore[no-untyped-call]
            environment=self._environment
        )
        reporter = gevent.spawn(self._report)
        replay.run()
        reporter.kill()
        replay.close()
        self._environment.events.test_stop.fire(  # type: ignore[no-untyped-call]
            environment=self._environment
        )
        self._send(messages.DONE, **self._state(replay), notes=replay.notes.to_json())
        self.is_finished.set()

    def _report(self) -> None:
        while True:
            gevent.sleep(messages.BEAT_INTERVAL_S)
            assert self._replay is not None
            self._send(messages.BEAT, **self._state(self._replay))

    def _state(self, replay: Replay) -> dict[str, Any]:
        stage = replay.stage
        return {
            "tally": stage.tally.to_json(),
            "delays": stage.recorder.dispatch_delays.to_json(),
        }

    def _fail(self, code: int, sentence: str) -> None:
        self._send(messages.FAILED, code=code, sentence=sentence)
        self.is_finished.set()

    def _send(self, kind: str, **data: Any) -> None:
        self._runner.send_message(kind, {"index": self._spec.worker_index, **data})
