"""Compares two runs of one scenario: simulated or live, in any combination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doorbuster.comparison.agreement import Agreement, agreement_of
from doorbuster.comparison.diagnosis import Finding, diagnose
from doorbuster.comparison.rows import Row, measure_rows, share_rows
from doorbuster.comparison.saturation import Saturation, saturation_of
from doorbuster.measures.run_records import RunRecords, read_records, require_records
from doorbuster.records.run_folder import RunFolder

SCHEMA = "doorbuster.comparison/1"
BEYOND = 0.03
"""Outcome shares further apart than 3 percentage points are flagged."""


class ComparisonError(Exception):
    """Two runs that cannot be compared; says why and how to compare them all the same."""


@dataclass(frozen=True)
class Comparison:
    """A against B; every difference is B minus A."""

    a: RunRecords
    b: RunRecords
    same_plan: bool
    beyond: float
    shares: tuple[Row, ...]
    measures: tuple[Row, ...]
    agreement: Agreement | None
    saturation: tuple[Saturation, Saturation]
    findings: tuple[Finding, ...]

    @property
    def flagged(self) -> tuple[Row, ...]:
        """Outcome shares that are too far apart."""
        return tuple(row for row in self.shares if row.flagged)

    @property
    def measures_apart(self) -> tuple[Row, ...]:
        """Measures of the sale and of its requests that are too far apart."""
        return tuple(row for row in self.measures if row.flagged)

    def to_json(self) -> dict[str, Any]:
        """The object that `compare --json` prints."""
        return {
            "schema": SCHEMA,
            "scenario": self.a.scenario.name,
            "a": _side(self.a),
            "b": _side(self.b),
            "same_plan": self.same_plan,
            "beyond": self.beyond,
            "agree": not self.flagged,
            "measures_apart": [row.id for row in self.measures_apart],
            "outcome_shares": [row.to_json() for row in self.shares],
            "measures": [row.to_json() for row in self.measures],
            "visitors": self.agreement and self.agreement.to_json(),
            "saturated": {side: s.saturated for side, s in zip("ab", self.saturation, strict=True)},
            "diagnosis": [finding.sentence() for finding in self.findings],
        }


def compare(
    a: RunFolder, b: RunFolder, *, allow_different: bool = False, beyond: float = BEYOND
) -> Comparison:
    """Compare two run folders.

    Raises: ComparisonError when they ran different scenarios or plans (unless allowed) or hold
    nothing; RunFolderError when one cannot be read.
    """
    return compare_records(
        read_records(a), read_records(b), allow_different=allow_different, beyond=beyond
    )


def compare_records(
    a: RunRecords, b: RunRecords, *, allow_different: bool = False, beyond: float = BEYOND
) -> Comparison:
    """Compare two runs that were read already. Raises: as `compare` does."""
    for records in (a, b):
        require_records(records)
    problems = differences(a.folder, b.folder)
    if problems and not allow_different:
        message = "\n".join([*problems, "to compare them all the same, give --allow-different"])
        raise ComparisonError(message)
    _check_comparable(a, b)
    same_plan = a.run.get("plan_hash") == b.run.get("plan_hash")
    shares, measures = share_rows(a, b, beyond=beyond), measure_rows(a, b)
    saturation = (_saturation(a), _saturation(b))
    findings = [
        Finding("compare.incomplete", {"run": side.folder.path.name})
        for side in (a, b)
        if not side.folder.is_complete
    ]
    findings += diagnose(a, b, shares, measures, saturation, beyond=beyond)
    agreement = agreement_of(a, b) if same_plan else None
    return Comparison(
        a, b, same_plan, beyond, shares, measures, agreement, saturation, tuple(findings)
    )


def differences(a: RunFolder, b: RunFolder) -> list[str]:
    """One sentence for each fact that makes the two runs different experiments."""
    hashes = ("scenario_hash", "plan_hash", "behaviour_hash")
    if all(a.run.get(name) == b.run.get(name) for name in hashes):
        return []
    names = (*hashes, "seed", "load_factor", "window", "compress")
    pairs = [(name, a.run.get(name), b.run.get(name)) for name in names]
    return [
        f"{b.path}: {name} differs (got {_short(in_b)}, and {_short(in_a)} in {a.path})"
        for name, in_a, in_b in pairs
        if in_a != in_b
    ]


def _short(value: object) -> str:
    hash_length = 64
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == hash_length else repr(value)


def _check_comparable(a: RunRecords, b: RunRecords) -> None:
    names_a = (a.scenario.persona_names, a.scenario.skus, [phase.name for phase in a.phases])
    names_b = (b.scenario.persona_names, b.scenario.skus, [phase.name for phase in b.phases])
    if names_a != names_b:
        message = (
            f"{b.folder.path}: other personas, items or phases than {a.folder.path}; runs of "
            "different sales have nothing to compare"
        )
        raise ComparisonError(message)
    for side in (a, b):
        if not len(side.visits_in(0).visitor):
            message = f"{side.folder.path}: holds no visits of replication 0; run it again"
            raise ComparisonError(message)


def _saturation(records: RunRecords) -> Saturation:
    return saturation_of(records.requests_in(0), records.start_s, records.end_s)


def _side(records: RunRecords) -> dict[str, Any]:
    return {
        "run": str(records.folder.path),
        "world": records.world,
        "seed": records.run.get("seed"),
        "replications": len(records.replications),
        "complete": records.folder.is_complete,
        "plan_hash": records.run.get("plan_hash"),
    }
