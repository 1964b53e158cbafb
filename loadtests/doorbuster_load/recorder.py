"""Writes the records of one worker: columns in memory, flushed to its spool once a second."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from doorbuster.plan import Plan
from doorbuster.records.run_folder import RunFolder
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_load.delays import DelayHistogram
from doorbuster_load.spec import Names

_ABSENT = float("nan")
_IDENTITIES = ("quantity", "account", "device", "ip", "address", "card")


class VisitRow(NamedTuple):
    """What is known of one visitor at the end of its visit; absent times are NaN."""

    visitor: int
    started_s: float = _ABSENT
    reserved_s: float = _ABSENT
    paid_s: float = _ABSENT
    left_s: float = _ABSENT
    outcome: int = int(Outcome.NOT_RUN)
    price_paid_cents: int = 0
    request_count: int = 0
    failure_count: int = 0
    decline_count: int = 0


_VISIT_CODES = "qddddhqiii"
_REQUEST_FIELDS = (
    ("visitor", "q"),
    ("step", "h"),
    ("attempt", "i"),
    ("intended_s", "d"),
    ("sent_s", "d"),
    ("done_s", "d"),
    ("status", "h"),
    ("reply", "h"),
)


class Recorder:
    """The spool of one worker. Appending costs no conversion; flushing does it for all rows."""

    def __init__(self, folder: RunFolder, writer: str, plan: Plan, names: Names) -> None:
        self._plan = plan
        self._names = names
        self._visit_spool = folder.spool("visits", writer)
        self._request_spool = folder.spool("requests", writer)
        self._clear()
        self.dispatch_delays = DelayHistogram()
        # The first conversion to Arrow takes 50 ms: it must not fall into the sale.
        self._write()

    def request(
        self,
        visitor: int,
        step: int,
        attempt: int,
        times_s: tuple[float, float, float],
        status: int,
        reply: int,
    ) -> None:
        """A request; times_s: intended, sent, done, the last one NaN where no answer came."""
        columns = self._requests
        for column, value in zip(
            columns, (visitor, step, attempt, *times_s, status, reply), strict=True
        ):
            column.append(value)

    def visit(self, row: VisitRow) -> None:
        """The end of a visit."""
        for column, value in zip(self._visits, row, strict=True):
            column.append(value)

    def flush(self) -> None:
        """Hand all rows to the operating system."""
        if len(self._requests[0]) or len(self._visits[0]):
            self._write()

    def close(self) -> None:
        """Flush and end the spool."""
        self.flush()
        self._request_spool.close()
        self._visit_spool.close()

    def _write(self) -> None:
        requests, visits = self._requests, self._visits
        self._clear()
        self._request_spool.append(self._request_columns(requests))
        rows = {name: _values(c) for name, c in zip(VisitRow._fields, visits, strict=True)}
        self._visit_spool.append(visit_columns(self._plan, self._names, rows))

    def _clear(self) -> None:
        self._requests: list[array[Any]] = [array(code) for _, code in _REQUEST_FIELDS]
        self._visits: list[array[Any]] = [array(code) for code in _VISIT_CODES]

    def _request_columns(self, columns: Sequence[array[Any]]) -> dict[str, Any]:
        named = {
            name: _values(column)
            for (name, _), column in zip(_REQUEST_FIELDS, columns, strict=True)
        }
        self.dispatch_delays.add(named["sent_s"] - named["intended_s"])
        return {
            **named,
            "done_s": _nullable(named["done_s"]),
            "replication": np.zeros(len(columns[0]), dtype=np.int16),
            "step": _words(named["step"], [action.name.lower() for action in Action]),
            "reply": _words(named["reply"], [reply.name.lower() for reply in Reply]),
        }


def visit_columns(plan: Plan, names: Names, rows: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Columns of the visits table: what was seen, joined to what was planned."""
    visitors = rows["visitor"]
    planned = {name: getattr(plan, name)[visitors] for name in _IDENTITIES}
    seen = {name: _nullable(rows[name]) for name in ("started_s", "reserved_s", "paid_s", "left_s")}
    counts = ("price_paid_cents", "request_count", "failure_count", "decline_count")
    return {
        "replication": np.zeros(len(visitors), dtype=np.int16),
        "visitor": visitors,
        "persona": _words(plan.persona[visitors], names.personas),
        "phase": _words(plan.phase[visitors], names.phases),
        "sku": _words(plan.item[visitors], names.skus),
        "channel": _words(plan.channel[visitors], names.channels),
        "arrival_s": plan.arrival_s[visitors],
        "outcome": _words(rows["outcome"], [outcome.name.lower() for outcome in Outcome]),
        **planned,
        **seen,
        **{name: rows[name] for name in counts},
    }


def unrun_rows(visitors: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Rows of visitors of whom nothing was seen: not run."""
    blank = VisitRow(0)
    return {
        name: visitors if name == "visitor" else np.full(len(visitors), value)
        for name, value in blank._asdict().items()
    }


def _values(column: array[Any]) -> NDArray[Any]:
    return np.frombuffer(column, dtype=column.typecode)


def _nullable(values: NDArray[Any]) -> pa.Array:
    return pa.array(values, type=pa.float64(), mask=np.isnan(values))


def _words(codes: NDArray[Any], names: Sequence[str]) -> pa.Array:
    indices = pa.array(np.asarray(codes, dtype=np.int16))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))
