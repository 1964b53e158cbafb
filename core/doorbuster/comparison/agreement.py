"""Visitor by visitor: did the same visitor meet the same end in both runs?

Both runs sent the same crowd with the same draws, so every disagreement comes from the worlds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from doorbuster.measures.columns import OUTCOMES, Integers
from doorbuster.measures.outcomes import crossed
from doorbuster.measures.run_records import RunRecords

CHANGES_SHOWN_MAX = 8


@dataclass(frozen=True)
class Agreement:
    """counts: table of A's outcome x B's outcome over all visitors of replication 0."""

    counts: Integers

    @property
    def visitors(self) -> int:
        """Visitors in both runs."""
        return int(self.counts.sum())

    @property
    def share(self) -> float:
        """Share of the visitors with the same outcome in both."""
        return float(np.trace(self.counts) / self.visitors) if self.visitors else float("nan")

    @property
    def changes(self) -> list[tuple[str, str, int]]:
        """The most frequent disagreements: outcome in A, outcome in B, visitors."""
        off = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-off, axis=None, kind="stable")[:CHANGES_SHOWN_MAX]
        pairs = [divmod(int(flat), len(OUTCOMES)) for flat in order]
        return [(OUTCOMES[a], OUTCOMES[b], int(off[a, b])) for a, b in pairs if off[a, b]]

    def to_json(self) -> dict[str, Any]:
        """The agreement for `--json`; the matrix names only outcomes that occur."""
        matrix = {
            OUTCOMES[a]: {OUTCOMES[b]: int(n) for b, n in enumerate(row) if n}
            for a, row in enumerate(self.counts)
            if row.any()
        }
        return {"visitors": self.visitors, "share": round(self.share, 6), "matrix": matrix}


def agreement_of(a: RunRecords, b: RunRecords) -> Agreement:
    """Replication 0 of both, joined by visitor number. Both must have the same plan."""
    visits_a, visits_b = a.visits_in(0), b.visits_in(0)
    _, rows_a, rows_b = np.intersect1d(visits_a.visitor, visits_b.visitor, return_indices=True)
    count = len(OUTCOMES)
    return Agreement(crossed(visits_a.outcome[rows_a], visits_b.outcome[rows_b], count, count))
