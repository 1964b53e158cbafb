"""Answers on their way back from the shop."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.calendar import TO_VISITOR, push, push_lane
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.places import request_at, stretches_at
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.faults import put_off

_REACH_VISITOR, _ERROR = int(Rank.REACH_VISITOR), int(Reply.ERROR)


@inlined
def answer(model: Record, world: Record, request: int, reply: int) -> None:
    """Send a request's reply on its way back.

    A frozen shop answers nobody; a connection breaks all the same.
    """
    entry = request_at(world, request)
    entry["reply"] = reply
    leaves_ns = world["now_ns"]
    if model["bends_time"] and reply != _ERROR:
        leaves_ns = moves_again(model, leaves_ns)
    due_ns = leaves_ns + entry["way_back_ns"]
    order = event_order(_REACH_VISITOR, entry["visitor"], entry["number"])
    if model["is_network_constant"]:
        push_lane(world, TO_VISITOR, due_ns, order, request)
    else:
        push(world, due_ns, order, request)


@compilable
def moves_again(model: Record, at_ns: int) -> int:
    """The first moment from one on at which the shop is not frozen."""
    return put_off(stretches_at(model["frozen"]), at_ns)
