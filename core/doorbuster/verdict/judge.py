"""Judges a run folder: validity, then invariants, then objectives."""

from __future__ import annotations

from dataclasses import dataclass

from doorbuster.measures.run_records import RunRecords, read_records
from doorbuster.records.run_folder import RunFolder
from doorbuster.verdict.checks import Check
from doorbuster.verdict.failures import REST_ON_VISITORS, failure_checks
from doorbuster.verdict.invariants import TOLD_BY_VISITORS, invariant_checks
from doorbuster.verdict.objectives import objective_checks
from doorbuster.verdict.shipments import shipment_checks
from doorbuster.verdict.validity import validity_checks
from doorbuster.verdict.verdict import Verdict, write_verdict


@dataclass(frozen=True)
class JudgedRun:
    """A run that was read and judged, so that its report needs not do it again."""

    records: RunRecords
    verdict: Verdict


def judge(folder: RunFolder) -> Verdict:
    """The verdict on a run, finished or not; leaves verdict.json and junit.xml in its folder.

    Raises: RunFolderError when the run cannot be read or the verdict cannot be written.
    """
    return judge_run(folder).verdict


def judge_run(folder: RunFolder) -> JudgedRun:
    """As `judge`, with what was read."""
    run = read_and_judge(folder)
    write_verdict(folder, run.verdict)
    return run


def read_and_judge(folder: RunFolder) -> JudgedRun:
    """As `judge_run`, and writes nothing."""
    records = read_records(folder)
    return JudgedRun(records, judge_records(records))


def judge_records(records: RunRecords) -> Verdict:
    """The verdict on records that were read already; writes nothing."""
    target_failed = records.run.get("status") == "failed"
    validity = validity_checks(records)
    judged = [
        *invariant_checks(records),
        *shipment_checks(records),
        *failure_checks(records),
        *objective_checks(records),
    ]
    if _is_void(validity, target_failed=target_failed):
        judged = [_in_a_void_run(check) for check in judged]
    return Verdict(
        records.scenario.name,
        records.world,
        len(records.replications),
        (*validity, *judged),
        target_failed=target_failed,
        reasons=tuple(str(reason) for reason in records.run.get("reasons") or ()),
    )


def _is_void(validity: list[Check], *, target_failed: bool) -> bool:
    """A run that ended because the target failed was still measured as planned until then."""
    forgiven = {"validity.complete"} if target_failed else set()
    return any(check.status == "invalid" and check.id not in forgiven for check in validity)


def _in_a_void_run(check: Check) -> Check:
    """What depends on the measurement is not judged; the target's own account still is."""
    depends = check.kind == "objective" or check.id in (*TOLD_BY_VISITORS, *REST_ON_VISITORS)
    return check.not_judged() if depends and check.status != "not_applicable" else check
