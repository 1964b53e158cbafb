"""One row of a verdict: what was asked, what was found, how sure that is, and one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from doorbuster.measures.intervals import Interval
from doorbuster.report.catalogue import catalogue, say

Kind = Literal["validity", "invariant", "failure", "objective"]
Status = Literal["pass", "fail", "invalid", "inconclusive", "not_applicable"]
Unit = Literal["count", "fraction", "s", "cents"]
Bound = Literal["at_most", "at_least", "below", "equal"]

NOT_JUDGED = "check.not_judged"
_FACTS_OF_THE_LIMIT = ("percentile", "limit")


@dataclass(frozen=True)
class Check:
    """One row.

    value, limit, interval: in `unit`; None where there is none. template and facts: the key in
    the catalogues and what to fill in. proves_alone: a failure stands whatever the load generator
    did, because the target's own account proves it. evidence: single offences with the names and
    times that prove them, as far as they are kept.
    """

    id: str
    kind: Kind
    status: Status
    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    limit: float | None = None
    bound: Bound = "at_most"
    unit: Unit = "count"
    interval: Interval | None = None
    own_name: str | None = None
    proves_alone: bool = False
    evidence: tuple[Mapping[str, Any], ...] = ()

    def name(self, language: str = "en") -> str:
        """The name that the scenario gave it, else the catalogue's."""
        return self.own_name or catalogue(language)[f"check.{self.id}.name"]

    @property
    def is_not_judged(self) -> bool:
        """Whether only the void measurement kept this row from being judged."""
        return self.template == NOT_JUDGED

    def not_judged(self) -> Check:
        """The row without what was found, because a void measurement found nothing."""
        facts = {name: fact for name, fact in self.facts.items() if name in _FACTS_OF_THE_LIMIT}
        return replace(
            self,
            status="not_applicable",
            template=NOT_JUDGED,
            facts=facts,
            value=None,
            interval=None,
            evidence=(),
        )

    def sentence(self, language: str = "en") -> str:
        """What was found, in plain words."""
        return say(self.template, self.facts, language=language)

    def to_json(self) -> dict[str, Any]:
        """The row as it stands in verdict.json; numbers that JSON lacks become null."""
        interval = self.interval and {
            "low": _finite(self.interval.low),
            "high": _finite(self.interval.high),
            "confidence": round(self.interval.confidence, 6),
            "method": self.interval.method,
        }
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name(),
            "status": self.status,
            "value": _finite(self.value),
            "limit": _finite(self.limit),
            "bound": self.bound,
            "unit": self.unit,
            "interval": interval,
            "sentence": self.sentence(),
            **({"evidence": [dict(offence) for offence in self.evidence]} if self.evidence else {}),
        }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
