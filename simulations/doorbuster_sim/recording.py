"""Collects the records of one simulated sale in columns."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from doorbuster.plan import Plan, Timetable
from doorbuster.records.tables import REQUESTS, STOCK, VISITS
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim.clock import to_s


@dataclass
class Visit:
    """What is noted about one visitor on the way."""

    outcome: Outcome = Outcome.CUT_OFF
    started_ns: int | None = None
    reserved_ns: int | None = None
    paid_ns: int | None = None
    left_ns: int | None = None
    price_paid_cents: int = 0
    request_count: int = 0
    failure_count: int = 0
    decline_count: int = 0


class Recorder:
    """One visit a planned visitor, one row a request, one row a stock reading."""

    def __init__(self, replication: int) -> None:
        self._replication = replication
        self._requests: defaultdict[str, list[Any]] = defaultdict(list)
        self._stock: defaultdict[str, list[Any]] = defaultdict(list)

    def request(
        self,
        visitor: int,
        step: Action,
        attempt: int,
        sent_ns: int,
        done_ns: int | None,
        reply: Reply,
    ) -> None:
        """A request; in simulation it leaves when intended.

        done_ns: None when the sale ended before the answer; the reply is then TIMEOUT.
        """
        columns = self._requests
        columns["visitor"].append(visitor)
        columns["step"].append(int(step))
        columns["attempt"].append(attempt)
        columns["sent_ns"].append(sent_ns)
        columns["done_ns"].append(done_ns)
        columns["reply"].append(int(reply))

    def stock(self, at_ns: int, sku: str, available: int, locked: int, sold: int) -> None:
        """A reading of one item's stock."""
        columns = self._stock
        columns["at_s"].append(to_s(at_ns))
        columns["sku"].append(sku)
        columns["available"].append(available)
        columns["locked"].append(locked)
        columns["sold"].append(sold)

    def requests_table(self) -> pa.Table:
        """All requests, ordered by the moment of their answer."""
        columns = self._requests
        count = len(columns["visitor"])
        sent_s = np.array(columns["sent_ns"], dtype=np.int64) / 1e9
        return _table(
            REQUESTS,
            {
                "replication": np.full(count, self._replication, dtype=np.int16),
                "visitor": columns["visitor"],
                "step": _words(columns["step"], [a.name.lower() for a in Action]),
                "attempt": columns["attempt"],
                "intended_s": sent_s,
                "sent_s": sent_s,
                "done_s": [_seconds(done_ns) for done_ns in columns["done_ns"]],
                "status": np.zeros(count, dtype=np.int16),
                "reply": _words(columns["reply"], [r.name.lower() for r in Reply]),
            },
        )

    def stock_table(self) -> pa.Table:
        """All stock readings, ordered by time."""
        count = len(self._stock["at_s"])
        replication = np.full(count, self._replication, dtype=np.int16)
        return _table(STOCK, {"replication": replication, **self._stock})

    def visits_table(
        self, scenario: Scenario, timetable: Timetable, plan: Plan, visits: list[Visit]
    ) -> pa.Table:
        """One row a planned visitor, ordered by number."""
        phases = [name for name, _, _ in timetable.phases]
        return _table(
            VISITS,
            {
                "replication": np.full(len(visits), self._replication, dtype=np.int16),
                "visitor": np.arange(len(visits)),
                "persona": _words(plan.persona, scenario.persona_names),
                "phase": _words(plan.phase, phases),
                "sku": _words(plan.item, scenario.skus),
                "quantity": plan.quantity,
                "account": plan.account,
                "device": plan.device,
                "ip": plan.ip,
                "address": plan.address,
                "card": plan.card,
                "channel": _words(plan.channel, scenario.channel_names),
                "arrival_s": plan.arrival_s,
                "started_s": [_seconds(v.started_ns) for v in visits],
                "reserved_s": [_seconds(v.reserved_ns) for v in visits],
                "paid_s": [_seconds(v.paid_ns) for v in visits],
                "left_s": [_seconds(v.left_ns) for v in visits],
                "outcome": _words(
                    [int(v.outcome) for v in visits], [o.name.lower() for o in Outcome]
                ),
                "price_paid_cents": [v.price_paid_cents for v in visits],
                "request_count": [v.request_count for v in visits],
                "failure_count": [v.failure_count for v in visits],
                "decline_count": [v.decline_count for v in visits],
            },
        )


def _seconds(moment_ns: int | None) -> float | None:
    return None if moment_ns is None else to_s(moment_ns)


def _words(codes: Any, names: list[str]) -> pa.Array:
    indices = pa.array(np.asarray(codes, dtype=np.int16))
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def _table(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    arrays = []
    for field in schema:
        values = columns.get(field.name, [])
        array = values if isinstance(values, pa.Array) else pa.array(values)
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
