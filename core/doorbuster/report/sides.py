"""The runs that a report shows: one, or two beside each other, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass

from doorbuster.measures.run_records import RunRecords, require_records
from doorbuster.records.run_folder import RunFolder
from doorbuster.verdict.judge import JudgedRun, read_and_judge
from doorbuster.verdict.verdict import Verdict


@dataclass(frozen=True)
class Side:
    """One run with its verdict. label: key of the catalogues; role: colour of its lines."""

    records: RunRecords
    verdict: Verdict
    label: str
    role: str

    @property
    def repeated(self) -> bool:
        """Whether it is several simulated sales and not one."""
        return len(self.records.replications) > 1

    @property
    def facts(self) -> list[str]:
        """Start and seed, for the head of the page."""
        run = self.records.run
        started = str(run.get("started_utc") or "")[:16].replace("T", " ")
        return [*([f"{started} UTC"] if started else []), f"seed {run.get('seed')}"]


def sides_of(
    primary: RunFolder | JudgedRun, other: RunFolder | JudgedRun | None = None
) -> list[Side]:
    """The live run first, then the simulated one; two of one world in the order given.

    Raises: RunFolderError for a run without records.
    """
    runs = [_judged(run) for run in (primary, other) if run is not None]
    runs.sort(key=lambda run: run.records.world)
    worlds = [run.records.world for run in runs]
    if len(set(worlds)) < len(runs):
        labels = [("side.a", "live"), ("side.b", "sim")]
    else:
        labels = [(f"side.{world}", "live" if world == "live" else "sim") for world in worlds]
    return [Side(r.records, r.verdict, *words) for r, words in zip(runs, labels, strict=True)]


def _judged(run: RunFolder | JudgedRun) -> JudgedRun:
    judged = run if isinstance(run, JudgedRun) else read_and_judge(run)
    require_records(judged.records)
    return judged
