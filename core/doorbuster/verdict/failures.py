"""The failure modes of real shops, looked for in the books: one row a mode, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorbuster.detectors.failures import DETECTORS, TOLD_BY_VISITORS, failures_of
from doorbuster.detectors.sale import LIVE_SLACK_S, Finding, SaleBooks
from doorbuster.measures.fault_times import fault_times_of
from doorbuster.measures.run_records import RunRecords
from doorbuster.report.numbers import count
from doorbuster.verdict.checks import Check, Status

REST_ON_VISITORS = frozenset(f"failure.{name}" for name in TOLD_BY_VISITORS)

SHOWN_MAX = 3
"""So many pieces of evidence stand in the sentence; verdict.json has more."""


def failure_checks(records: RunRecords) -> list[Check]:
    """All rows; none applies where the target gave no books."""
    if not len(records.orders.order_id):
        return [_not_told(name) for name in DETECTORS]
    found = [failures_of(books_of(records, replication)) for replication in records.replications]
    return [_row(records, name, [finding[name] for finding in found]) for name in DETECTORS]


def books_of(records: RunRecords, replication: int) -> SaleBooks:
    """One sale as the detectors look at it."""
    audits = records.audits
    return SaleBooks(
        scenario=records.scenario,
        orders=records.orders_in(replication),
        charges=records.charges_in(replication),
        visits=records.visits_in(replication),
        requests=records.requests_in(replication),
        stock=records.stock_in(replication),
        audit=audits[replication] if replication < len(audits) else None,
        end_s=float(records.run.get("books_read_s", records.end_s)),
        slack_s=LIVE_SLACK_S if records.world == "live" else 0.0,
        faults=fault_times_of(records.run),
    )


def _row(records: RunRecords, name: str, findings: list[Finding]) -> Check:
    if not any(finding.applies for finding in findings):
        return Check(
            f"failure.{name}", "failure", "not_applicable", f"check.failure.{name}.not_applicable"
        )
    total = sum(finding.count for finding in findings)
    several = len(findings) > 1
    evidence = [
        {"replication": replication, **offence} if several else dict(offence)
        for replication, finding in zip(records.replications, findings, strict=True)
        for offence in finding.evidence
    ]
    shown = "; ".join(told(offence) for offence in evidence[:SHOWN_MAX])
    more = total - min(len(evidence), SHOWN_MAX)
    facts = {
        "count": count(total),
        "evidence": f"{shown} (+{count(more)})" if more > 0 else shown,
        "sales": count(len(findings)),
    }
    status: Status = "fail" if total else "pass"
    return Check(
        f"failure.{name}",
        "failure",
        status,
        f"check.failure.{name}.{status}",
        facts,
        total,
        0,
        "equal",
        proves_alone=name not in TOLD_BY_VISITORS,
        evidence=tuple(evidence),
    )


def told(offence: Mapping[str, Any]) -> str:
    """One offence in a line: the names of the tables are the same in every language."""
    return ", ".join(
        f"{name} {text_of(value)}" for name, value in offence.items() if value is not None
    )


def text_of(value: Any) -> str:
    """A piece of evidence as text; moments to the millisecond."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "/".join(text_of(part) for part in value)
    return str(value)


def _not_told(name: str) -> Check:
    return Check(f"failure.{name}", "failure", "not_applicable", "check.failure.no_books")
