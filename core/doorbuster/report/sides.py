"""The runs that a report shows: one, or two beside each other, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass

from doorbuster.measures.run_records import RunRecords, read_records, require_records
from doorbuster.records.run_folder import RunFolder
from doorbuster.verdict.judge import judge_records
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


def sides_of(primary: RunFolder, other: RunFolder | None) -> list[Side]:
    """The live run first, then the simulated one; two of one world in the order given.

    Raises: RunFolderError for a run without records.
    """
    runs = [read_records(folder) for folder in (primary, other) if folder is not None]
    for records in runs:
        require_records(records)
    worlds = {records.world for records in runs}
    if len(runs) > len(worlds):
        labels = [(runs[0], "side.a", "live"), (runs[1], "side.b", "sim")]
    else:
        runs.sort(key=lambda records: records.world)
        labels = [(r, f"side.{r.world}", "live" if r.world == "live" else "sim") for r in runs]
    return [Side(r, judge_records(r), label, role) for r, label, role in labels]
