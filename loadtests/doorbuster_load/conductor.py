"""Leads one live run from the generator's readiness to merged records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from doorbuster import exit_codes
from doorbuster.plan import fault_spans
from doorbuster.records.audit import Audit
from doorbuster.records.run_facts import run_facts
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_load.books import write_books
from doorbuster_load.child import ChildProcess, GeneratorError
from doorbuster_load.clock import WallClock
from doorbuster_load.fault_clock import FaultClock
from doorbuster_load.hooks import HookError, NoAnswerError, Target
from doorbuster_load.recorder import unrun_rows, visit_columns
from doorbuster_load.spec import Sale
from doorbuster_load.stock_watch import StockWatch

START_LIMIT_S = 180.0
"""For the generator to start and build its plan."""
LEAD_S = 1.5
"""Least time between the order to go and the first arrival."""
SHARED_LEAD_S = 1.0
"""More of it when the workers have requests to send before."""
FIRST_RESET_S = 0.25
"""What a reset is expected to take; a slower one is repeated with more time ahead."""
RESET_TRIES = 3
GRACE_S = 30.0
"""After the end of the sale, or after a stop, for the generator to finish."""
AUDIT_INTERVAL_S = 0.5
AUDIT_TRIES = 20
STOP_FILE = "STOP"

_NO_WORKER: dict[str, Any] = {}


class Progress(NamedTuple):
    """How a run stands."""

    at_s: float
    left_s: float
    planned: int
    offered: int
    sent: int
    in_flight: int
    sold: int
    failed: int
    dropped: int
    cpu_fraction: float
    dispatch_delay_p99_s: float


@dataclass
class Ending:
    """How the replay has ended, and the facts of the generator."""

    exit_code: int = exit_codes.PASS
    sentences: list[str] = field(default_factory=list)
    status: str = "complete"
    workers: list[dict[str, Any]] = field(default_factory=list)
    generator: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    def cut_short(self, exit_code: int, status: str, sentence: str) -> None:
        """Note why the run is not whole; the first reason decides."""
        if self.status == "complete":
            self.exit_code, self.status = exit_code, status
        self.sentences.append(sentence)


class Conductor:
    """One live run: one sale, one target, one run folder."""

    def __init__(
        self,
        sale: Sale,
        scenario_file: ScenarioFile,
        target: Target,
        results: Path,
        note: Callable[[str], None],
        on_progress: Callable[[Progress], None],
        *,
        without_faults: bool = False,
    ) -> None:
        self._sale = sale
        self._without_faults = without_faults
        self._scenario_file = scenario_file
        self._target = target
        self._results = results
        self._note = note
        self._on_progress = on_progress
        self._clock = WallClock.measured()
        self._ready_workers: list[dict[str, Any]] = []
        self.folder: RunFolder | None = None

    def conduct(self, child: ChildProcess, stop_file: Path | None) -> Ending:
        """The whole run. Raises: HookError, GeneratorError, KeyboardInterrupt before the start."""
        self._await_ready(child)
        t0_ns = self._t0_ns = self._reset()
        t0_epoch_s = self._clock.epoch_s(t0_ns)
        folder = self._create_folder(t0_epoch_s)
        child.go(folder=str(folder.path.resolve()), t0_mono_ns=t0_ns, t0_epoch_s=t0_epoch_s)
        stop_files = [folder.path / STOP_FILE, *([stop_file] if stop_file else [])]
        timetable = self._sale.timetable
        planned = [] if self._without_faults else fault_spans(self._sale.scenario, timetable)
        with (
            FaultClock(self._target, planned, t0_ns) as faults,
            StockWatch(
                self._target, folder, timetable, t0_ns, lambda: faults.is_troubling
            ) as stock,
        ):
            ending = self._follow(child, t0_ns, stop_files)
            if ending.status == "complete":
                self._wait_out(faults, ending)
        self._tell_faults(faults, folder, ending)
        audit = self._audit(ending, folder, stock.last_reading_s)
        if stock.problem is not None:
            self._note(f"{stock.problem} ({stock.missed_count} stock readings missed)")
            if ending.status != "failed":  # Else that reason says it all.
                ending.sentences.append(stock.problem)
        child.end()
        self._finish(folder, ending, audit, child.log)
        return ending

    # -- before the sale ---------------------------------------------------------------------

    def _await_ready(self, child: ChildProcess) -> None:
        by_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < by_s:
            event = child.next_event(1.0)
            if event is None:
                continue
            if event["event"] == "failed":
                raise GeneratorError(event["sentence"], event["code"])
            if event["event"] == "ready":
                self._check_shares(event)
                self._ready_workers = event["workers"]
                return
        message = f"the generator was not ready within {START_LIMIT_S:g} s"
        raise GeneratorError(message)

    def _check_shares(self, event: dict[str, Any]) -> None:
        """Every worker must have built this plan, and their shares must add up to it."""
        plan = self._sale.plan
        if event["plan_hashes"] != [plan.hash] or event["planned"] != plan.visitor_count:
            message = (
                f"the workers' plans do not add up (got {event['planned']} visitors of plans "
                f"{event['plan_hashes']}); wanted {plan.visitor_count} of {plan.hash}"
            )
            raise GeneratorError(message)

    def _reset(self) -> int:
        """Reset the target for an opening that is far enough ahead; gives T0. Raises: HookError."""
        timetable = self._sale.timetable
        lead_s = LEAD_S + (SHARED_LEAD_S if self._sale.profile_file.profile.shared else 0.0)
        reset_s = FIRST_RESET_S if self._sale.profile_file.profile.hooks.reset else 0.0
        for _ in range(RESET_TRIES):
            asked_ns = time.monotonic_ns()
            t0_ns = asked_ns + int((lead_s + 2 * reset_s - timetable.start_s) * 1e9)
            self._target.reset(self._clock.epoch_s(t0_ns))
            reset_s = (time.monotonic_ns() - asked_ns) / 1e9
            if t0_ns + int(timetable.start_s * 1e9) - time.monotonic_ns() >= int(lead_s * 1e9):
                return t0_ns
        message = (
            f"reset hook: takes longer from time to time (last {reset_s:.1f} s); make it quick"
        )
        raise HookError(message)

    def _create_folder(self, t0_epoch_s: float) -> RunFolder:
        sale, spec = self._sale, self._sale.spec
        self.folder = folder = RunFolder.create(
            self._results, scenario_name=sale.scenario.name, world="live", seed=spec.settings.seed
        )
        profile_file = sale.profile_file
        folder.write_run(
            {
                **run_facts(self._scenario_file, spec.settings, sale.timetable, sale.plan, "live"),
                "target": spec.target,
                "profile_name": profile_file.profile.name,
                "profile_hash": profile_file.hash,
                "profile_text": profile_file.text,
                "without_faults": self._without_faults,
                "audit_supported": self._target.tells_audit,
                "t0_utc": datetime.fromtimestamp(t0_epoch_s, UTC).isoformat(),
                "workers": self._ready_workers,
                "generator": {"worker_count": spec.worker_count},
                "reasons": [],
            }
        )
        return folder

    # -- during the sale ---------------------------------------------------------------------

    def _follow(self, child: ChildProcess, t0_ns: int, stop_files: list[Path]) -> Ending:
        """Pass on progress until the generator is done."""
        ending = Ending(workers=self._ready_workers)
        end_ns = t0_ns + int(self._sale.timetable.end_s * 1e9)
        limit_s = max(end_ns / 1e9, time.monotonic()) + GRACE_S
        is_stopped = False
        while True:
            try:
                stop = next((path for path in stop_files if path.exists()), None)
                if stop is not None and not is_stopped:
                    is_stopped = self._stop(child, ending, f"stopped by the file {stop}")
                    limit_s = time.monotonic() + GRACE_S
                event = child.next_event(0.2)
            except KeyboardInterrupt:
                if is_stopped:
                    child.end()
                is_stopped = self._stop(child, ending, "interrupted by the user")
                limit_s = time.monotonic() + GRACE_S
                continue
            except GeneratorError as error:
                self._lose_all(ending, str(error))
                return ending
            if event is None:
                if time.monotonic() > limit_s:
                    self._lose_all(ending, f"the generator did not end within {GRACE_S:g} s")
                    return ending
            elif event["event"] == "progress":
                self._on_progress(_progress(event, t0_ns, end_ns))
            elif event["event"] == "failed":
                is_target = event["code"] == exit_codes.TARGET_FAILED
                status = "failed" if is_target else "interrupted"
                ending.cut_short(event["code"], status, event["sentence"])
                return ending
            elif event["event"] == "done":
                self._take_facts(ending, event)
                return ending

    def _stop(self, child: ChildProcess, ending: Ending, reason: str) -> bool:
        ending.cut_short(exit_codes.INTERRUPTED, "interrupted", f"The run was {reason}.")
        child.stop()
        return True

    def _lose_all(self, ending: Ending, reason: str) -> None:
        ending.workers = [{**worker, "lost": True} for worker in ending.workers]
        lost = [worker["index"] for worker in ending.workers]
        ending.generator = {"worker_count": len(lost), "lost_workers": lost}
        ending.cut_short(exit_codes.INVALID, "interrupted", f"The measurement is void: {reason}.")

    def _take_facts(self, ending: Ending, event: dict[str, Any]) -> None:
        ending.workers, ending.generator = event["workers"], event["generator"]
        ending.notes = event["notes"]
        for index, reason in event["lost"].items():
            sentence = f"The measurement is void: worker {index} was lost ({reason})."
            ending.cut_short(exit_codes.INVALID, "interrupted", sentence)
        if ending.generator["dropped"]:
            dropped, limit = ending.generator["dropped"], ending.generator["in_flight_limit"]
            sentence = (
                f"The measurement is void: {dropped} visitors were dropped at the limit of {limit} "
                "under way; use more workers or a lower load factor."
            )
            ending.cut_short(exit_codes.INVALID, "complete", sentence)

    def _wait_out(self, faults: FaultClock, ending: Ending) -> None:
        """Nobody is left, but what was broken is only well again at its time."""
        try:
            faults.wait_out()
        except KeyboardInterrupt:
            sentence = "The run was interrupted by the user."
            ending.cut_short(exit_codes.INTERRUPTED, "interrupted", sentence)

    # -- after the sale ----------------------------------------------------------------------

    def _audit(
        self, ending: Ending, folder: RunFolder, last_reading_s: float | None
    ) -> Audit | None:
        """The target's account, once two readings of what was paid agree, and its books.

        Both speak of one moment: no unit moved between the reading before the books and the one
        after them, unless the target does not come to rest. A target that gives none, or is not
        there any more, has failed, and the run with it.
        """
        before: Audit | None = None
        try:
            if not self._target.tells_audit:
                self._target.check_reachable()
                return None
            books: dict[str, list[dict[str, Any]]] = {}
            for _ in range(AUDIT_TRIES):
                audit = self._target.audit()
                if before is not None and _paid(audit) == _paid(before):
                    books = self._target.books()
                    read_s = (time.monotonic_ns() - self._t0_ns) / 1e9
                    before, audit = audit, self._target.audit()
                    if _units(audit) == _units(before):
                        break
                before = audit
                time.sleep(AUDIT_INTERVAL_S)
            if books:
                write_books(folder, books)
                folder.update_run(books=sorted(books), books_read_s=read_s)
        except NoAnswerError as error:
            sentence = _silence(_last_answer_s(folder, last_reading_s), error)
            ending.cut_short(exit_codes.TARGET_FAILED, "failed", sentence)
        except HookError as error:
            ending.cut_short(exit_codes.TARGET_FAILED, "failed", str(error))
        except KeyboardInterrupt:
            ending.cut_short(
                exit_codes.INTERRUPTED, "interrupted", "The run was interrupted by the user."
            )
        return before

    def _tell_faults(self, faults: FaultClock, folder: RunFolder, ending: Ending) -> None:
        for problem in faults.problems:
            self._note(problem)
            ending.sentences.append(problem)
        folder.update_run(faults=faults.happened)

    def _finish(
        self, folder: RunFolder, ending: Ending, audit: Audit | None, log: list[str]
    ) -> None:
        if audit is not None:
            folder.write_audits([audit])
        if log:
            (folder.path / "generator.log").write_text("\n".join(log) + "\n", "utf-8")
        self._account_for_all(folder)
        folder.merge_spools()
        drift_s = abs(WallClock.measured().offset_s - self._clock.offset_s)
        generator = {
            "worker_count": self._sale.spec.worker_count,
            "lost_workers": [],
            "dropped": 0,
            "in_flight_max": 0,
            "in_flight_limit": self._sale.spec.in_flight_limit * self._sale.spec.worker_count,
            "cpu_fraction_max": 0.0,
            **ending.generator,
            "clock_bound_s": max(self._clock.bound_s, drift_s),
        }
        folder.update_run(
            status=ending.status,
            workers=ending.workers,
            generator=generator,
            reasons=ending.sentences,
            notes=ending.notes,
        )

    def _account_for_all(self, folder: RunFolder) -> None:
        """Visitors of whom nobody has a record, such as a lost worker's, have not run."""
        seen = folder.table("visits").column("visitor").to_numpy()
        missing = np.setdiff1d(np.arange(self._sale.plan.visitor_count), seen)
        if len(missing):
            columns = visit_columns(self._sale.plan, self._sale.names, unrun_rows(missing))
            with folder.spool("visits", "conductor") as spool:
                spool.append(columns)


def _last_answer_s(folder: RunFolder, last_reading_s: float | None) -> float | None:
    """When the target gave its last answer of any kind, in seconds from the opening."""
    requests = folder.table("requests")
    done_s = requests.column("done_s").to_numpy()[requests.column("status").to_numpy() > 0]
    moments_s = np.append(done_s, np.nan if last_reading_s is None else last_reading_s)
    known_s = moments_s[~np.isnan(moments_s)]
    return float(known_s.max()) if len(known_s) else None


def _silence(last_answer_s: float | None, error: NoAnswerError) -> str:
    if last_answer_s is None:
        return f"the target has not answered once ({error})"
    return f"the target stopped answering at T{last_answer_s:+.0f}s ({error})"


def _units(audit: Audit) -> list[tuple[int, int, int]]:
    return [(item.available_units, item.locked_units, item.sold_units) for item in audit.items]


def _paid(audit: Audit) -> tuple[int | None, int]:
    return audit.payments_captured, sum(item.sold_units for item in audit.items)


def _progress(event: dict[str, Any], t0_ns: int, end_ns: int) -> Progress:
    now_ns = time.monotonic_ns()
    counts = {name: event[name] for name in Progress._fields if name in event}
    return Progress(at_s=(now_ns - t0_ns) / 1e9, left_s=max(0.0, (end_ns - now_ns) / 1e9), **counts)
