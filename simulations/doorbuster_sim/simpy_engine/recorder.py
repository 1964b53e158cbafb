"""Collects what happens in one simulated sale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np

from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim.tables import ABSENT_NS, RequestColumns, StockColumns, VisitColumns


@dataclass
class Visit:
    """What is noted about one visitor on the way; moments in nanoseconds from the opening."""

    outcome: Outcome = Outcome.CUT_OFF
    started_ns: int = ABSENT_NS
    reserved_ns: int = ABSENT_NS
    paid_ns: int = ABSENT_NS
    left_ns: int = ABSENT_NS
    price_paid_cents: int = 0
    request_count: int = 0
    failure_count: int = 0
    decline_count: int = 0


class Recorder:
    """One row a request, one row a stock reading."""

    def __init__(self) -> None:
        self._requests: list[tuple[int, ...]] = []
        self._stock: list[tuple[int, ...]] = []

    def request(
        self,
        visitor: int,
        step: Action,
        attempt: int,
        sent_ns: int,
        done_ns: int,
        reply: Reply,
    ) -> None:
        """A request; in simulation it leaves when intended.

        done_ns: ABSENT_NS when the sale ended before the answer; the reply is then TIMEOUT.
        """
        self._requests.append((visitor, int(step), attempt, sent_ns, done_ns, int(reply)))

    def stock(self, at_ns: int, item: int, available: int, locked: int, sold: int) -> None:
        """A reading of one item's stock."""
        self._stock.append((at_ns, item, available, locked, sold))

    def request_columns(self) -> RequestColumns:
        """All requests, ordered by the moment of their answer."""
        return RequestColumns(*columns_of(self._requests, len(fields(RequestColumns))))

    def stock_columns(self) -> StockColumns:
        """All stock readings, ordered by time."""
        return StockColumns(*columns_of(self._stock, len(fields(StockColumns))))


def visit_columns(visits: list[Visit]) -> VisitColumns:
    """All visits, ordered by number."""
    rows = [tuple(int(value) for value in astuple(visit)) for visit in visits]
    return VisitColumns(*columns_of(rows, len(fields(VisitColumns))))


def columns_of(rows: Sequence[tuple[int, ...]], width: int) -> Any:
    """Rows of whole numbers as columns."""
    return np.array(rows, dtype=np.int64).reshape(-1, width).T
