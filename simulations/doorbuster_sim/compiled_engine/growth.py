"""The memory of a sale: how much room its arrays have at first, and how they grow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable
from doorbuster.vocabulary import Action
from doorbuster_sim.compiled_engine.accounts import NO_KEY, add_units
from doorbuster_sim.compiled_engine.calendar import FINE_BITS, FINE_BUCKETS, LANE_COUNT, NEVER_NS
from doorbuster_sim.compiled_engine.layout import ARRAYS, NOBODY, WORLD, Record, Records

Array = NDArray[Any]

RECORDS_AT_FIRST = 1 << 10
"""Room for visits, requests, reservations, payments and accounts. Always a power of two."""
EVENTS_AT_FIRST = 1 << 12
REQUEST_ROWS, VISIT_ROWS, STOCK_ROWS, BOOK_ROWS = 1 << 17, 1 << 15, 1 << 12, 1 << 14
"""Rows of the output that are collected before they are handed on."""
_ROOMY_FRACTION = 0.25
"""An array with less free room than this grows when one of them is full."""


class Memory:
    """Owns the arrays of a sale; `record` holds their addresses, for compiled functions."""

    def __init__(
        self,
        items: Records,
        order_lines: Records,
        buckets: Array,
        pools: Records,
        timeouts_ns: list[int],
    ) -> None:
        self._record = np.zeros(1, WORLD)
        self._arrays: dict[str, Array] = {}
        lines = np.zeros(len(timeouts_ns), ARRAYS["lines"])
        lines["timeout_ns"] = timeouts_ns
        lines["first_deadline"] = lines["last_deadline"] = NOBODY
        for name in ("visits", "requests", "reservations", "payments", "locks", "held_locks"):
            self._put(name, np.zeros(RECORDS_AT_FIRST, ARRAYS[name]))
        self._put("attempts", np.zeros(RECORDS_AT_FIRST * len(Action), ARRAYS["attempts"]))
        self._put("items", items)
        self._put("order_lines", order_lines)
        self._put("buckets", buckets)
        self._put("pools", pools)
        self._put("lines", lines)
        for name in ("events", "near"):
            self._put(name, np.zeros(EVENTS_AT_FIRST, ARRAYS[name]))
        self._put("fine", np.full(FINE_BUCKETS, NOBODY, ARRAYS["fine"]))
        self._put("lanes", np.zeros(LANE_COUNT, ARRAYS["lanes"]))
        self._put("lane_events", np.zeros(LANE_COUNT * RECORDS_AT_FIRST, ARRAYS["lane_events"]))
        self._put("accounts", _no_accounts(RECORDS_AT_FIRST))
        self._put("request_rows", np.zeros(REQUEST_ROWS, ARRAYS["request_rows"]))
        self._put("visit_rows", np.zeros(VISIT_ROWS, ARRAYS["visit_rows"]))
        self._put("stock_rows", np.zeros(max(STOCK_ROWS, 4 * len(items)), ARRAYS["stock_rows"]))
        for name in ("order_rows", "charge_rows"):
            self._put(name, np.zeros(BOOK_ROWS, ARRAYS[name]))
        for name in ("visits", "requests", "reservations", "payments", "events"):
            self._record[f"{name}_free"] = NOBODY

    def set_clock(self, start_ns: int, end_ns: int, bucket_bits: int) -> None:
        """The clock stands at the start; bucket_bits of `calendar.bucket_bits_for`."""
        record = self._record
        record["start_ns"] = record["now_ns"] = record["next_reading_ns"] = start_ns
        record["end_ns"], record["bucket_bits"] = end_ns, bucket_bits
        record["deadline_bound_ns"] = record["swept_ns"] = NEVER_NS
        stretches = ((end_ns - start_ns) >> (bucket_bits + FINE_BITS)) + 1
        self._put("coarse", np.full(stretches, NOBODY, ARRAYS["coarse"]))

    def set_planned(self, first_visitor: int, planned: Records) -> None:
        """The next block of visitors."""
        self._put("planned", planned)
        self._record["first_visitor"], self._record["next_arrival"] = first_visitor, 0

    @property
    def record(self) -> Record:
        """The world as compiled functions take it."""
        record: Record = self._record[0]
        return record

    def array(self, name: str) -> Array:
        """One array of ARRAYS."""
        return self._arrays[name]

    def rows(self, name: str) -> Records:
        """The rows of an output array that are written."""
        return self._arrays[name][: self.record[f"{name[:-1]}_count"]]

    @property
    def byte_count(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def make_room(self) -> None:
        """Grow every array with little room left; output rows must have been handed on."""
        record = self.record
        if self._is_tight("visits", record["visits_live"]):
            self._double("visits", record["visits_used"])
            self._double("attempts", record["visits_used"] * len(Action))
        if self._is_tight("requests", record["requests_live"]):
            self._double("requests", record["requests_used"])
            self._double_lanes()
        if self._is_tight("reservations", record["reservations_live"]):
            self._double("reservations", record["reservations_used"])
            self._double("held_locks", record["held_lock_count"])
            self._double_locks()
        if self._is_tight("payments", record["payments_live"]):
            self._double("payments", record["payments_used"])
        pending = record["fine_count"] + record["later_count"] + record["near_count"]
        pending += record["requests_live"] * record["closes_charges"]
        if self._is_tight("events", pending):
            self._double("events", record["events_used"])
            self._double("near", record["near_count"])
        if self._is_tight("stock_rows", record["stock_row_count"]):
            self._double("stock_rows", record["stock_row_count"])
        for name, live in (("order_rows", "reservations_live"), ("charge_rows", "payments_live")):
            if self._is_tight(name, record[live]):
                self._double(name, 0)
        if record["account_count"] > len(self._arrays["accounts"]) // 2:
            self._double_accounts()

    def make_room_for_events(self, count: int) -> None:
        """Grow the calendar until so many more events fit in."""
        record = self.record
        pending = record["fine_count"] + record["later_count"] + record["near_count"]
        while len(self._arrays["events"]) - pending < count:
            self._double("events", record["events_used"])
            self._double("near", record["near_count"])

    def _put(self, name: str, array: Array) -> None:
        self._arrays[name] = array
        self._record[name], self._record[f"{name}_room"] = array.ctypes.data, len(array)

    def _is_tight(self, name: str, used: int) -> bool:
        room = len(self._arrays[name])
        return room - int(used) < _ROOMY_FRACTION * room

    def _double(self, name: str, used: int) -> None:
        """Keep the first `used` entries; memory that is not touched costs nothing."""
        array = self._arrays[name]
        grown = np.zeros(2 * len(array), array.dtype)
        grown[:used] = array[:used]
        self._put(name, grown)

    def _double_lanes(self) -> None:
        rings = self._arrays["lane_events"].reshape(LANE_COUNT, -1)
        grown = np.zeros((LANE_COUNT, 2 * rings.shape[1]), rings.dtype)
        for lane, ends in enumerate(self._arrays["lanes"]):
            grown[lane, : ends["count"]] = _unrolled(rings[lane], ends["first"], ends["count"])
            ends["first"] = 0
        self._put("lane_events", grown.reshape(-1))

    def _double_locks(self) -> None:
        ring, record = self._arrays["locks"], self.record
        grown = np.zeros(2 * len(ring), ring.dtype)
        count = record["lock_count"]
        grown[:count] = _unrolled(ring, record["first_lock"], count)
        record["first_lock"] = 0
        self._put("locks", grown)

    def _double_accounts(self) -> None:
        old = self._arrays["accounts"]
        self._put("accounts", _no_accounts(2 * len(old)))
        self.record["account_count"] = 0
        _enter_again(self.record, old)


def _unrolled(ring: Array, first: int, count: int) -> Array:
    return ring[np.arange(first, first + count) & (len(ring) - 1)]


def _no_accounts(count: int) -> Records:
    accounts = np.zeros(count, ARRAYS["accounts"])
    accounts["key"] = NO_KEY
    return accounts


@compilable
def _enter_again(world: Record, accounts: Records) -> None:
    for place in range(len(accounts)):
        if accounts[place]["key"] != NO_KEY:
            add_units(world, accounts[place]["key"], accounts[place]["units"])
