"""How visits ended and requests were answered: counts and shares."""

from __future__ import annotations

from typing import cast

import numpy as np

from doorbuster.measures.columns import OUTCOMES, REPLIES, STEPS, Floats, Integers, Requests, Visits
from doorbuster.measures.latency import failed, finished
from doorbuster.vocabulary import Action, Outcome, Reply


def outcome_counts(visits: Visits) -> Integers:
    """Visitors by outcome code."""
    return np.bincount(visits.outcome, minlength=len(OUTCOMES)).astype(np.int64)


def outcome_counts_by_persona(visits: Visits, persona_count: int) -> Integers:
    """Visitors as a table of persona x outcome."""
    return crossed(visits.persona, visits.outcome, persona_count, len(OUTCOMES))


def outcome_shares(visits: Visits) -> Floats:
    """Share of all visitors by outcome code; NaN without visitors."""
    counts = outcome_counts(visits)
    return counts / len(visits.visitor) if len(visits.visitor) else np.full(len(counts), np.nan)


def conversion(visits: Visits, persona: int | None = None) -> float:
    """Share of visitors that leave with a paid order, of all or of one persona; NaN of none."""
    sold = visits.outcome == Outcome.SOLD
    chosen = sold if persona is None else sold[visits.persona == persona]
    return float(chosen.mean()) if len(chosen) else float("nan")


def reply_counts(requests: Requests) -> Integers:
    """Requests as a table of step x reply; those that the end of the sale overtook are left out."""
    ended = finished(requests)
    return crossed(requests.step[ended], requests.reply[ended], len(STEPS), len(REPLIES))


def failed_share(requests: Requests) -> float:
    """Share of the finished requests that failed; NaN of none."""
    ended = finished(requests)
    return float(failed(requests)[ended].mean()) if ended.any() else float("nan")


def declined_share(requests: Requests) -> float:
    """Share of the decided payments (paid or declined) that the provider declined; NaN of none."""
    replies = reply_counts(requests)[[Action.PAY - 1, Action.POLL - 1]].sum(axis=0)
    decided = int(replies[Reply.OK] + replies[Reply.DECLINED])
    return float(replies[Reply.DECLINED] / decided) if decided else float("nan")


def crossed(rows: Integers, columns: Integers, row_count: int, column_count: int) -> Integers:
    """How often each pair of codes occurs."""
    flat = np.bincount(rows * column_count + columns, minlength=row_count * column_count)
    return cast("Integers", flat.reshape(row_count, column_count).astype(np.int64))
