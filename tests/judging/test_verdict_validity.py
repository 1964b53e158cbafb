"""A measurement that did not happen as planned is INVALID, exit 3, never a pass or a fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from doorbuster import exit_codes
from doorbuster.verdict import Verdict, judge

Builder = Callable[..., Any]
Spoil = Callable[[Any], None]


def check_of(verdict: Verdict, check_id: str) -> Any:
    return next(check for check in verdict.checks if check.id == check_id)


def test_a_good_run_passes(hand_made: Builder) -> None:
    verdict = judge(hand_made().write())
    assert (verdict.status, verdict.exit_code) == ("pass", exit_codes.PASS)
    assert not [c for c in verdict.checks if c.status not in ("pass", "not_applicable")]


def _drop_visitor(sale: Any) -> None:
    gone = sale.visits.pop()["visitor"]
    sale.requests = [row for row in sale.requests if row["visitor"] != gone]


def _double_visitor(sale: Any) -> None:
    sale.visits[7]["visitor"] = sale.visits[8]["visitor"]


def _set_outcome(outcome: str) -> Spoil:
    return lambda sale: sale.visits[-1].update(outcome=outcome)


def _set_generator(**facts: Any) -> Spoil:
    return lambda sale: sale.run["generator"].update(facts)


def _late_generator(sale: Any) -> None:
    for row in sale.requests[::50]:
        row["sent_s"] += 0.02
        row["done_s"] += 0.02


SPOILS: list[tuple[str, Spoil]] = [
    ("validity.complete", lambda sale: sale.run.update(status="interrupted", reasons=["stopped"])),
    ("validity.complete", lambda sale: sale.run.update(status="running")),
    ("validity.accounting", _drop_visitor),
    ("validity.accounting", _double_visitor),
    ("validity.accounting", _set_outcome("undecided")),
    ("validity.accounting", _set_outcome("dropped")),
    ("validity.accounting", _set_outcome("not_run")),
    ("validity.accounting", lambda sale: sale.run.update(plan_count=401)),
    ("validity.requests", lambda sale: sale.requests.pop()),
    ("validity.stock", lambda sale: sale.scenario["shop"]["items"][0].update(stock=51)),
    ("validity.dispatch_delay", _late_generator),
    ("validity.workers", lambda sale: sale.run["workers"][0].update(lost=True)),
    ("validity.workers", _set_generator(lost_workers=[0])),
    ("validity.workers", lambda sale: sale.run.update(workers=[])),
    ("validity.drops", _set_generator(dropped=1)),
    ("validity.drops", _set_generator(dropped=None)),
    ("validity.generator_cpu", _set_generator(cpu_fraction_max=0.9)),
    ("validity.generator_cpu", _set_generator(cpu_fraction_max=None)),
    ("validity.clock", _set_generator(clock_bound_s=0.05)),
    ("validity.clock", _set_generator(clock_bound_s=None)),
]


@pytest.mark.parametrize(
    ("check_id", "spoil"), SPOILS, ids=[f"{check}-{n}" for n, (check, _) in enumerate(SPOILS)]
)
def test_what_makes_a_measurement_void(hand_made: Builder, check_id: str, spoil: Spoil) -> None:
    """Each defect is found by its own row and nothing else fails the run."""
    sale = hand_made()
    spoil(sale)
    verdict = judge(sale.write())
    assert check_of(verdict, check_id).status == "invalid"
    assert (verdict.status, verdict.exit_code) == ("invalid", exit_codes.INVALID)


def test_an_empty_run_is_no_pass(hand_made: Builder) -> None:
    """No data is 3, never 0."""
    sale = hand_made()
    sale.visits, sale.requests, sale.stock = [], [], []
    verdict = judge(sale.write())
    assert verdict.exit_code == exit_codes.INVALID


def _target_dies(sale: Any) -> None:
    sale.run.update(status="failed", reasons=["the target does not answer any more"])
    sale.audits = []


def test_a_failed_target_is_4(hand_made: Builder) -> None:
    """The reason is in the last line; nobody claims that the dead target was not asked."""
    sale = hand_made()
    _target_dies(sale)
    folder = sale.write()
    verdict = judge(folder)
    content = json.loads((folder.path / "verdict.json").read_text("utf-8"))
    assert (content["status"], content["exit_code"]) == ("target_failed", exit_codes.TARGET_FAILED)
    assert check_of(verdict, "validity.complete").status == "invalid"
    assert "could not be asked any more" in check_of(verdict, "invariant.oversell").sentence()
    assert verdict.lines()[-1].startswith("TARGET FAILED: ")
    assert "the target does not answer any more" in verdict.lines()[-1]


def test_a_lost_worker_is_3(hand_made: Builder) -> None:
    sale = hand_made()
    sale.run.update(status="interrupted", reasons=["worker 0 was lost"])
    sale.run["generator"]["lost_workers"] = [0]
    assert judge(sale.write()).exit_code == exit_codes.INVALID


def test_failures_of_a_failed_target_are_judged(hand_made: Builder) -> None:
    """The dying target was measured as planned: its failures are shown, the exit code stays 4."""
    sale = hand_made(objectives=[{"name": "it", "kind": "failed_requests", "at_most": 0.01}])
    _target_dies(sale)
    for row in sale.requests[-90:]:
        row["reply"] = "error"
    verdict = judge(sale.write())
    assert check_of(verdict, "objective.it").status == "fail"
    assert verdict.exit_code == exit_codes.TARGET_FAILED


def test_a_late_generator_voids_the_run_whatever_the_objectives(hand_made: Builder) -> None:
    """20 ms late at p99 is void (limit 10 ms), also for an objective of 2 s."""
    for at_most in ("200ms", "2s"):
        objective = {"name": "fast", "kind": "response_time", "at_most": at_most}
        sale = hand_made(objectives=[objective])
        _late_generator(sale)
        verdict = judge(sale.write(at_most))
        assert check_of(verdict, "validity.dispatch_delay").status == "invalid"
        assert verdict.exit_code == exit_codes.INVALID


def test_a_request_that_was_sent_and_not_recorded_voids_the_run(hand_made: Builder) -> None:
    """Also one that the end of the sale cut off: it is recorded without an answer."""
    sale = hand_made()
    sale.visits[-1].update(outcome="cut_off", left_s=None)
    sale.requests[-1].update(done_s=None, reply="timeout")
    assert check_of(judge(sale.write("all")), "validity.requests").status == "pass"
    sale.requests.pop()
    assert check_of(judge(sale.write("one")), "validity.requests").status == "invalid"


def test_a_simulation_needs_no_generator(hand_made: Builder) -> None:
    verdict = judge(hand_made(world="sim", replications=3).write())
    assert verdict.status == "pass"
    assert not [c for c in verdict.checks if c.id == "validity.workers"]


def test_a_lost_replication_is_noticed(hand_made: Builder) -> None:
    sale = hand_made(world="sim", replications=2)
    sale.run["replications"] = 3
    assert judge(sale.write()).status == "invalid"


FAULTS = [
    {"kind": "kill_shop", "start": "2s", "duration": "3s"},
    {"kind": "kill_shop", "start": "10s", "duration": "1s"},
    {"kind": "freeze", "start": "4s", "duration": "500ms"},
    {"kind": "kill_worker", "start": "29s", "duration": "1s"},
]
HAPPENED = [
    {"kind": "kill_shop", "begun_s": 2.01, "ended_s": 5.2},
    {"kind": "freeze", "begun_s": 4.0, "ended_s": 4.5},
    {"kind": "kill_shop", "begun_s": 10.0, "ended_s": 11.24},
]
"""After the last answer, at 23 s, nobody is left to see the last one planned."""


def _with_faults(hand_made: Builder, happened: list[dict[str, Any]], **facts: Any) -> Verdict:
    sale = hand_made()
    sale.scenario["faults"] = FAULTS
    sale.run.update(faults=happened, **facts)
    return judge(sale.write())


def test_faults_in_time_are_part_of_a_good_run(hand_made: Builder) -> None:
    verdict = _with_faults(hand_made, HAPPENED)
    assert (verdict.status, verdict.exit_code) == ("pass", exit_codes.PASS)
    check = check_of(verdict, "validity.faults")
    assert (check.status, check.facts["planned"]) == ("pass", "3")


@pytest.mark.parametrize("missing", range(3))
@pytest.mark.parametrize(
    "late", [None, {"begun_s": 0.26}, {"ended_s": 0.26}, {"begun_s": -0.26}, {"ended_s": None}]
)
def test_a_fault_that_did_not_happen_as_planned_voids_the_run(
    hand_made: Builder, missing: int, late: dict[str, Any] | None
) -> None:
    """Left out, begun or ended more than 250 ms away from the plan, or never ended."""
    happened = [dict(fault) for fault in HAPPENED]
    planned = {"begun_s": (2.0, 4.0, 10.0), "ended_s": (5.0, 4.5, 11.0)}
    if late is None:
        del happened[missing]
    else:
        ((name, by_s),) = late.items()
        happened[missing][name] = None if by_s is None else planned[name][missing] + by_s
    verdict = _with_faults(hand_made, happened)
    assert verdict.exit_code == exit_codes.INVALID
    assert check_of(verdict, "validity.faults").value == 1


def test_faults_left_out_on_purpose_are_not_missed(hand_made: Builder) -> None:
    verdict = _with_faults(hand_made, [], without_faults=True)
    assert verdict.exit_code == exit_codes.PASS
    assert check_of(verdict, "validity.faults").status == "not_applicable"
