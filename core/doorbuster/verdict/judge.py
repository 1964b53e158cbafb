"""Judges a run folder: validity, then invariants, then objectives."""

from __future__ import annotations

from doorbuster.measures.run_records import RunRecords, read_records
from doorbuster.records.run_folder import RunFolder
from doorbuster.verdict.invariants import invariant_checks
from doorbuster.verdict.objectives import objective_checks
from doorbuster.verdict.validity import validity_checks
from doorbuster.verdict.verdict import Verdict, write_verdict


def judge(folder: RunFolder) -> Verdict:
    """The verdict on a run, finished or not; leaves verdict.json and junit.xml in its folder.

    Raises: RunFolderError when the run cannot be read or the verdict cannot be written.
    """
    verdict = judge_records(read_records(folder))
    write_verdict(folder, verdict)
    return verdict


def judge_records(records: RunRecords) -> Verdict:
    """The verdict on records that were read already; writes nothing."""
    checks = (
        *validity_checks(records),
        *invariant_checks(records),
        *objective_checks(records),
    )
    return Verdict(
        records.scenario.name,
        records.world,
        len(records.replications),
        checks,
        target_failed=records.run.get("status") == "failed",
    )
