"""One sale on the compiled engine: arrays in, calls of the event loop, records out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from doorbuster.compiling import plain
from doorbuster.plan import Plan, Timetable
from doorbuster.records.audit import Audit, ItemAudit
from doorbuster.rules.lines import Lines
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.shop import EXTENDING
from doorbuster_sim import clock
from doorbuster_sim.compiled_engine.accounts import COUPONS, NO_KEY, item_of_key
from doorbuster_sim.compiled_engine.calendar import bucket_bits_for
from doorbuster_sim.compiled_engine.growth import Memory
from doorbuster_sim.compiled_engine.layout import PLANNED, Record, Records
from doorbuster_sim.compiled_engine.loop import Pause, close, read_stock, run, sweep_after
from doorbuster_sim.compiled_engine.model import (
    ModelMemory,
    buckets_of,
    items_of,
    order_lines_of,
    pool_range,
    pools_of,
    timeouts_of,
)
from doorbuster_sim.compiled_engine.striking import (
    kill_shop,
    lose_servers,
    regain_servers,
    restart_station,
    restore_shop,
    resume_station,
)
from doorbuster_sim.compiled_engine.sweeping import count_overdue
from doorbuster_sim.faults import Change, Faults
from doorbuster_sim.strategies import LEAKS, code_of
from doorbuster_sim.tables import StockColumns

_to_ns = plain(clock.to_ns)
_EVENTS_A_VISITOR = 14
"""In the calendar, a guess: only the width of its buckets depends on it."""


class Sink(Protocol):
    """Takes the rows of a sale as they come."""

    def requests(self, rows: Records) -> None:
        """Requests in the order of their ends; at the end of the sale those without one."""

    def visits(self, rows: Records) -> None:
        """Visits in the order in which they end. Rows are only lent."""

    def orders(self, rows: Records) -> None:
        """Orders in the order in which the shop forgets them."""

    def charges(self, rows: Records) -> None:
        """Charges, likewise."""


class CompiledSale:
    """A sale under way. `run` once, then read its accounts.

    Raises: ValueError for a scenario with a behaviour of the user's own.
    """

    def __init__(
        self, scenario: Scenario, timetable: Timetable, seed: int, system_seed: int, sink: Sink
    ) -> None:
        if scenario.crowd.behaviour is not None:
            message = "a behaviour of the user's own needs the SimPy engine; see choose_engine"
            raise ValueError(message)
        self._scenario = scenario
        self._sink = sink
        self._lines = Lines.of(scenario.shop.items)
        faults = Faults.of(scenario, timetable)
        self._changes = faults.changes[::-1]
        self._model = ModelMemory(scenario, faults, seed, system_seed)
        self._memory = Memory(
            items_of(scenario, self._lines),
            order_lines_of(self._lines),
            buckets_of(scenario),
            pools_of(scenario),
            timeouts_of(scenario),
        )
        self._world["is_guarded"] = code_of(scenario.shop.strategy) not in LEAKS
        self._world["closes_charges"] = scenario.shop.late_payment == "query_before_cancel"
        self._world["are_locks_extended"] = scenario.shop.late_payment in EXTENDING
        start_ns, end_ns = _to_ns(timetable.start_s), _to_ns(timetable.end_s)
        self._span_ns = end_ns - start_ns
        events_per_s = timetable.peak_rate_per_s * _EVENTS_A_VISITOR
        self._memory.set_clock(start_ns, end_ns, bucket_bits_for(events_per_s, self._span_ns))
        self._world["next_sweep_ns"] = sweep_after(self._model.record, start_ns - 1)
        self._set_stop()

    @property
    def _world(self) -> Record:
        return self._memory.record

    def run(self, blocks: Iterable[Plan], progress: Callable[[float], None] | None = None) -> None:
        """From the first arrival to the end of the sale."""
        world, following = self._world, _with_last(blocks)
        is_last = self._take_block(following)
        while (pause := run(self._model.record, world, is_last)) != Pause.END or self._changes:
            if pause == Pause.END:
                self._change()
            elif pause == Pause.CROWD:
                is_last = self._take_block(following)
            elif pause == Pause.ROOM:
                self._hand_on()
                self._memory.make_room()
            if progress is not None:
                progress(int(world["now_ns"]) / clock.NANOSECONDS)
            self._check()
        self._close()

    def _set_stop(self) -> None:
        """To the next moment at which a fault strikes or is over, or to the end."""
        at_ns = self._changes[-1].at_ns if self._changes else self._world["end_ns"]
        self._world["stop_ns"] = min(at_ns, self._world["end_ns"])

    def _change(self) -> None:
        """The next fault strikes or is over: before anything else of its moment."""
        change, world = self._changes.pop(), self._world
        if change.at_ns < world["end_ns"]:
            world["now_ns"] = change.at_ns
            causes_at_most = int(world["requests_live"]) + int(world["pools_room"])
            self._memory.make_room_for_events(causes_at_most)
            self._carry_out(change)
        self._set_stop()

    def _carry_out(self, change: Change) -> None:
        model, world = self._model.record, self._world
        first, end = pool_range(self._scenario, change.station)
        match change.kind, change.begins:
            case "kill_shop", True:
                kill_shop(model, world)
            case "kill_shop", False:
                restore_shop(world)
            case "kill_worker", True:
                lose_servers(model, world, first, end)
            case "kill_worker", False:
                regain_servers(model, world, first, end)
            case "restart_database", True:
                restart_station(model, world, first, end)
            case "restart_database", False:
                resume_station(world, first, end)

    def _take_block(self, blocks: Iterator[tuple[Plan, bool]]) -> bool:
        """Put the next visitors in place; returns whether they are the last ones."""
        plan, is_last = next(blocks)
        planned = np.empty(plan.visitor_count, PLANNED)
        for name in PLANNED.names or ():
            planned[name] = getattr(plan, name)
        self._memory.set_planned(plan.first_visitor, planned)
        return is_last

    def _close(self) -> None:
        world = self._world
        world["now_ns"] = world["end_ns"]
        self._hand_on()
        self._memory.make_room()
        read_stock(world)
        overdue_ns = min(world["end_ns"] - self._model.record["sweep_ns"], world["swept_ns"]) - 1
        count_overdue(world, int(overdue_ns))
        while close(world) != Pause.END:
            self._hand_on()
        self._hand_on()
        self._check()

    def _hand_on(self) -> None:
        self._sink.requests(self._memory.rows("request_rows"))
        self._sink.visits(self._memory.rows("visit_rows"))
        self._sink.orders(self._memory.rows("order_rows"))
        self._sink.charges(self._memory.rows("charge_rows"))
        for name in ("request", "visit", "order", "charge"):
            self._world[f"{name}_row_count"] = 0

    def _check(self) -> None:
        assert not self._world["is_broken"], "the stock does not add up"

    @property
    def event_count(self) -> int:
        """Events that were handled."""
        return int(self._world["event_count"])

    @property
    def stock_columns(self) -> StockColumns:
        """All stock readings, ordered by time."""
        rows = self._memory.rows("stock_rows")
        return StockColumns(**{field.name: rows[field.name] for field in fields(StockColumns)})

    def audit(self) -> Audit:
        """The shop's own account of the sale, as a live target would give it."""
        world, items = self._world, self._memory.array("items")
        held = items["max_own_units"].copy()
        accounts = self._memory.array("accounts")
        accounts = accounts[accounts["key"] != NO_KEY]
        accounts = accounts[plain(item_of_key)(accounts["key"]) != COUPONS]
        if len(accounts):
            np.maximum.at(held, plain(item_of_key)(accounts["key"]), accounts["units"])
        coupon = self._scenario.shop.coupon
        ordered = self._lines.ordered(items["sold"] - items["unreturned"], items["sets_sold"])
        list_cents = int((ordered * items["price_cents"]).sum())
        refund = self._scenario.shop.refund
        return Audit(
            items=[
                ItemAudit(
                    sku=sku,
                    initial_units=item["initial"],
                    available_units=item["available"],
                    locked_units=item["locked"],
                    sold_units=item["sold"],
                    orders_paid=item["orders"],
                    sets_sold=item["sets_sold"],
                    max_units_per_account=most,
                    lapsed_locks=item["unpaid_locks"],
                    orders_refunded=item["refunds"],
                    unreturned_units=item["unreturned"],
                )
                for sku, item, most in zip(self._scenario.skus, items, held.tolist(), strict=True)
            ],
            payments_captured=world["captured_count"],
            captured_cents=world["captured_cents"],
            orders_captured_twice=world["captured_twice_count"],
            payments_without_order=world["captured_late_count"],
            paid_cents=list_cents - world["discount_cents"],
            refunds_open=None if refund is None else world["refunds_open"],
            refunds_open_cents=None if refund is None else world["refunds_open_cents"],
            coupon_limit=None if coupon is None else coupon.limit,
            coupon_redemptions=None if coupon is None else world["coupons_held"],
            discount_cents=None if coupon is None else world["discount_cents"],
        )

    def station_uses(self) -> list[dict[str, Any]]:
        """How busy each station was, for run.json."""
        pools = iter(self._memory.array("pools"))
        uses = []
        for station in self._scenario.service.stations:
            for sku in self._scenario.skus if station.per_item else [None]:
                pool = next(pools)
                available_ns = max(1, self._span_ns * station.servers)
                uses.append(
                    {
                        "station": station.name,
                        "item": sku,
                        "utilisation": int(pool["busy_ns"]) / available_ns,
                        "max_queue": int(pool["max_queue"]),
                        "refused": int(pool["refused"]),
                    }
                )
        return uses


def _with_last(blocks: Iterable[Plan]) -> Iterator[tuple[Plan, bool]]:
    """Each block, and whether it is the last one."""
    blocks = iter(blocks)
    block = next(blocks)
    for following in blocks:
        yield block, False
        block = following
    yield block, True
