"""Finds the records of a sale: `visit_at(world, 7)` is the record of visit 7, to read and write."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core.cgutils import voidptr_t
from numba.extending import intrinsic
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from doorbuster.compiling import inlined
from doorbuster.draws import DISTRIBUTION_DTYPE, DistributionTables
from doorbuster.provider import CHANNEL_DTYPE, Provider
from doorbuster.visitor import PERSONA_DTYPE, Behaviour
from doorbuster.vocabulary import Action
from doorbuster_sim.compiled_engine.layout import (
    ACCOUNT,
    CHARGE_ROW,
    EVENT,
    ITEM,
    LANE,
    ORDER_LINE,
    ORDER_ROW,
    PASSAGE,
    PAYMENT,
    PERSONA_LINE,
    PLANNED,
    POOL,
    REQUEST,
    REQUEST_ROW,
    RESERVATION,
    STEP,
    STOCK_ROW,
    VISIT,
    VISIT_ROW,
    Record,
    Records,
)
from doorbuster_sim.strategies.buckets import BUCKET_COUNT

_LONG = 1 << 40
"""Length of a view: nothing checks it, the room of each array is kept in WORLD."""
_ACTION_COUNT = len(Action)


def _make_pointer(typing_context: Any, address: Any) -> Any:
    """The memory at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], voidptr_t)

    return types.voidptr(address), generate


_pointer: Any = intrinsic(_make_pointer)


@inlined
def visit_at(world: Record, visit: int) -> Record:
    """A visit."""
    return carray(_pointer(world["visits"]), (_LONG,), VISIT)[visit]


@inlined
def request_at(world: Record, request: int) -> Record:
    """A request."""
    return carray(_pointer(world["requests"]), (_LONG,), REQUEST)[request]


@inlined
def reservation_at(world: Record, reservation: int) -> Record:
    """A reservation."""
    return carray(_pointer(world["reservations"]), (_LONG,), RESERVATION)[reservation]


@inlined
def payment_at(world: Record, payment: int) -> Record:
    """A payment."""
    return carray(_pointer(world["payments"]), (_LONG,), PAYMENT)[payment]


@inlined
def pool_at(world: Record, pool: int) -> Record:
    """A pool of servers."""
    return carray(_pointer(world["pools"]), (_LONG,), POOL)[pool]


@inlined
def item_at(world: Record, item: int) -> Record:
    """An item."""
    return carray(_pointer(world["items"]), (_LONG,), ITEM)[item]


@inlined
def order_line_at(world: Record, line: int) -> Record:
    """A line of a bundle."""
    return carray(_pointer(world["order_lines"]), (_LONG,), ORDER_LINE)[line]


@inlined
def event_at(world: Record, event: int) -> Record:
    """An event of the calendar."""
    return carray(_pointer(world["events"]), (_LONG,), EVENT)[event]


@inlined
def lane_at(world: Record, lane: int) -> Record:
    """The ends of a lane."""
    return carray(_pointer(world["lanes"]), (_LONG,), LANE)[lane]


@inlined
def line_at(world: Record, persona: int) -> Record:
    """The line of those who wait, by persona."""
    return carray(_pointer(world["lines"]), (_LONG,), PERSONA_LINE)[persona]


@inlined
def planned_at(world: Record, row: int) -> Record:
    """A visitor of the current block of the plan."""
    return carray(_pointer(world["planned"]), (_LONG,), PLANNED)[row]


@inlined
def request_row_at(world: Record, row: int) -> Record:
    """A row of the output."""
    return carray(_pointer(world["request_rows"]), (_LONG,), REQUEST_ROW)[row]


@inlined
def visit_row_at(world: Record, row: int) -> Record:
    """A row of the output."""
    return carray(_pointer(world["visit_rows"]), (_LONG,), VISIT_ROW)[row]


@inlined
def stock_row_at(world: Record, row: int) -> Record:
    """A row of the output."""
    return carray(_pointer(world["stock_rows"]), (_LONG,), STOCK_ROW)[row]


@inlined
def order_row_at(world: Record, row: int) -> Record:
    """A row of the output."""
    return carray(_pointer(world["order_rows"]), (_LONG,), ORDER_ROW)[row]


@inlined
def charge_row_at(world: Record, row: int) -> Record:
    """A row of the output."""
    return carray(_pointer(world["charge_rows"]), (_LONG,), CHARGE_ROW)[row]


@inlined
def buckets_of(world: Record, item: int) -> NDArray[np.int64]:
    """The units in each bucket of an item."""
    levels = carray(_pointer(world["buckets"]), (_LONG,), np.int64)
    return levels[item * BUCKET_COUNT : (item + 1) * BUCKET_COUNT]


@inlined
def near_of(world: Record) -> Records:
    """The heap of the current bucket's events."""
    return carray(_pointer(world["near"]), (_LONG,), EVENT)


@inlined
def fine_of(world: Record) -> NDArray[np.int32]:
    """First event of each bucket of this stretch."""
    return carray(_pointer(world["fine"]), (_LONG,), np.int32)


@inlined
def coarse_of(world: Record) -> NDArray[np.int32]:
    """First event of each later stretch."""
    return carray(_pointer(world["coarse"]), (_LONG,), np.int32)


@inlined
def locks_of(world: Record) -> NDArray[np.int32]:
    """The ring of locks in the order in which they lapse."""
    return carray(_pointer(world["locks"]), (_LONG,), np.int32)


@inlined
def held_locks_of(world: Record) -> NDArray[np.int32]:
    """Locks past their time that a payment holds."""
    return carray(_pointer(world["held_locks"]), (_LONG,), np.int32)


@inlined
def accounts_of(world: Record) -> Records:
    """The hash table of shared accounts."""
    return carray(_pointer(world["accounts"]), (_LONG,), ACCOUNT)


@inlined
def lane_of(world: Record, lane: int) -> Records:
    """The ring of a lane."""
    first = lane * world["requests_room"]
    return carray(_pointer(world["lane_events"]), (_LONG,), EVENT)[first:]


@inlined
def attempts_of(world: Record, visit: int) -> NDArray[np.int32]:
    """How often a visit has sent each action."""
    first = visit * _ACTION_COUNT
    counts = carray(_pointer(world["attempts"]), (_LONG,), np.int32)
    return counts[first : first + _ACTION_COUNT]


@inlined
def step_at(model: Record, action: int) -> Record:
    """The passages of an action."""
    return carray(_pointer(model["steps"]), (_LONG,), STEP)[action]


@inlined
def passage_at(model: Record, passage: int) -> Record:
    """A stay at a station."""
    return carray(_pointer(model["passages"]), (_LONG,), PASSAGE)[passage]


@inlined
def stretches_at(address: int) -> Any:
    """The stretches of a fault, whose address stands in the model."""
    return carray(_pointer(address), (_LONG,), np.int64)


@inlined
def _tables(rows: int, knots: int) -> DistributionTables:
    return DistributionTables(
        carray(_pointer(rows), (_LONG,), DISTRIBUTION_DTYPE),
        carray(_pointer(knots), (_LONG, 2), np.float64),
    )


@inlined
def times_of(model: Record) -> DistributionTables:
    """The distributions of service times and network time."""
    return _tables(model["time_rows"], model["time_knots"])


@inlined
def behaviour_at(model: Record) -> Behaviour:
    """What `next_step` reads."""
    return Behaviour(
        model["seed"],
        carray(_pointer(model["personas"]), (_LONG,), PERSONA_DTYPE),
        _tables(model["behaviour_rows"], model["behaviour_knots"]),
        model["channel_count"],
    )


@inlined
def provider_at(model: Record) -> Provider:
    """What `provider_answer` reads."""
    return Provider(
        model["seed"],
        carray(_pointer(model["channels"]), (_LONG,), CHANNEL_DTYPE),
        _tables(model["provider_rows"], model["provider_knots"]),
    )
