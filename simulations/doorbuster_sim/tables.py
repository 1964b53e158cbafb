"""The records of a simulated sale: plain arrays of either engine in, tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from doorbuster.plan import Plan, Timetable
from doorbuster.records.tables import REQUESTS, STOCK, VISITS
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim.clock import NANOSECONDS

ABSENT_NS = -(1 << 63)
"""Stands for a moment that never came; no sale begins 292 years before its opening."""

Column = NDArray[Any]


@dataclass(frozen=True)
class RequestColumns:
    """One entry a request in the order of their ends; those without an end last, as sent.

    Moments in nanoseconds from the opening; done_ns may be ABSENT_NS, the reply is then TIMEOUT.
    """

    visitor: Column
    step: Column
    attempt: Column
    sent_ns: Column
    done_ns: Column
    reply: Column


@dataclass(frozen=True)
class VisitColumns:
    """One entry a planned visitor, ordered by number. Any moment may be ABSENT_NS."""

    outcome: Column
    started_ns: Column
    reserved_ns: Column
    paid_ns: Column
    left_ns: Column
    price_paid_cents: Column
    request_count: Column
    failure_count: Column
    decline_count: Column


@dataclass(frozen=True)
class StockColumns:
    """One entry a reading of one item, ordered by time."""

    at_ns: Column
    item: Column
    available: Column
    locked: Column
    sold: Column


def requests_table(columns: RequestColumns, replication: int) -> pa.Table:
    """The table of requests; in simulation a request leaves when intended."""
    count = len(columns.visitor)
    sent_s = pa.array(columns.sent_ns / NANOSECONDS)
    return filled(
        REQUESTS,
        {
            "replication": np.full(count, replication, dtype=np.int16),
            "visitor": columns.visitor,
            "step": words(columns.step, _names(Action)),
            "attempt": columns.attempt,
            "intended_s": sent_s,
            "sent_s": sent_s,
            "done_s": moments(columns.done_ns),
            "status": np.zeros(count, dtype=np.int16),
            "reply": words(columns.reply, _names(Reply)),
        },
    )


def stock_table(columns: StockColumns, skus: list[str], replication: int) -> pa.Table:
    """The table of stock readings."""
    return filled(
        STOCK,
        {
            "replication": np.full(len(columns.at_ns), replication, dtype=np.int16),
            "at_s": columns.at_ns / NANOSECONDS,
            "sku": words(columns.item, skus),
            "available": columns.available,
            "locked": columns.locked,
            "sold": columns.sold,
        },
    )


def visits_table(
    columns: VisitColumns, scenario: Scenario, timetable: Timetable, plan: Plan, replication: int
) -> pa.Table:
    """The table of visits: who was planned, and what became of them."""
    count = plan.visitor_count
    return filled(
        VISITS,
        {
            "replication": np.full(count, replication, dtype=np.int16),
            "visitor": np.arange(count),
            "persona": words(plan.persona, scenario.persona_names),
            "phase": words(plan.phase, [name for name, _, _ in timetable.phases]),
            "sku": words(plan.item, scenario.skus),
            "quantity": plan.quantity,
            "account": plan.account,
            "device": plan.device,
            "ip": plan.ip,
            "address": plan.address,
            "card": plan.card,
            "channel": words(plan.channel, scenario.channel_names),
            "arrival_s": plan.arrival_s,
            "started_s": moments(columns.started_ns),
            "reserved_s": moments(columns.reserved_ns),
            "paid_s": moments(columns.paid_ns),
            "left_s": moments(columns.left_ns),
            "outcome": words(columns.outcome, _names(Outcome)),
            "price_paid_cents": columns.price_paid_cents,
            "request_count": columns.request_count,
            "failure_count": columns.failure_count,
            "decline_count": columns.decline_count,
        },
    )


@cache
def _names(codes: type[Action | Reply | Outcome]) -> tuple[str, ...]:
    return tuple(code.name.lower() for code in codes)


def moments(moments_ns: Column) -> pa.Array:
    """Seconds; null where a moment never came."""
    return pa.array(moments_ns / NANOSECONDS, mask=moments_ns == ABSENT_NS)


def words(codes: Column, names: Sequence[str]) -> pa.Array:
    """The names that codes stand for."""
    indices = pa.array(codes.astype(np.int16, copy=False))
    return pa.DictionaryArray.from_arrays(indices, _dictionary(tuple(names)))


@lru_cache(maxsize=64)
def _dictionary(names: tuple[str, ...]) -> pa.Array:
    return pa.array(names, pa.string())


def filled(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    """A table of a schema; fields that a simulation knows nothing of stay empty."""
    count = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        array = pa.nulls(count, field.type) if values is None else values
        array = array if isinstance(array, pa.Array) else pa.array(array)
        # For a small sale the casts would be the most of it.
        arrays.append(array if array.type == field.type else array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
