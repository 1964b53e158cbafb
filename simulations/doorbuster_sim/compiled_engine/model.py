"""Turns a scenario into the records that the compiled engine reads."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doorbuster.behaviour import behaviour_of
from doorbuster.compiling import plain
from doorbuster.provider import provider_of
from doorbuster.rules.lines import Lines
from doorbuster.scenario.distributions import Constant, DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.refunds import PAYOUTS, Refund
from doorbuster.scenario.shop import BROKEN_REDEEMS, LATE_PAYMENTS, REDEEMS, Coupon
from doorbuster.vocabulary import Action
from doorbuster_sim import clock
from doorbuster_sim.compiled_engine.layout import (
    ITEM,
    LOCKING_STEPS,
    MODEL,
    NOBODY,
    ORDER_LINE,
    PASSAGE,
    POOL,
    STEP,
    STRETCHES,
    Record,
    Records,
)
from doorbuster_sim.coupon import NO_COUPON
from doorbuster_sim.faults import Faults
from doorbuster_sim.refund import NO_REFUND
from doorbuster_sim.strategies import LOOKS_BEFORE, code_of
from doorbuster_sim.strategies.buckets import BUCKET_COUNT, share

_to_ns = plain(clock.to_ns)


class ModelMemory:
    """Owns the tables of a scenario; `record` holds their addresses, for compiled functions."""

    def __init__(self, scenario: Scenario, faults: Faults, seed: int, system_seed: int) -> None:
        self._record = np.zeros(1, MODEL)
        self._arrays: list[NDArray[Any]] = []
        record, service = self.record, scenario.service
        book = DistributionBook()
        record["seed"], record["system_seed"] = seed, system_seed
        record["channel_count"] = len(scenario.payments.channels)
        record["network_row"] = book.add(service.network)
        record["is_network_constant"] = isinstance(service.network, Constant)
        record["rollback_ns"] = _to_ns(service.rollback)
        record["lock_ns"] = _to_ns(scenario.shop.lock_time)
        record["jitter_ns"] = _to_ns(scenario.shop.release_jitter)
        record["strategy"] = code_of(scenario.shop.strategy)
        record["late_payment"] = LATE_PAYMENTS.index(scenario.shop.late_payment)
        record["charges_again"] = scenario.shop.unanswered_charge == "charge_again"
        record["locking_step"] = LOCKING_STEPS[scenario.shop.lock_point]
        record["looks_before"] = _looks_before(scenario)
        _put_coupon(record, scenario.shop.coupon)
        _put_refund(record, scenario.shop.refund, book)
        record["sweep_ns"] = _to_ns(scenario.shop.release_sweep)
        record["payment_timeout_ns"] = _to_ns(scenario.payments.timeout)
        record["bends_time"] = len(faults.frozen) > 1 or len(faults.slow) > 1
        steps, passages = _steps_and_passages(scenario, book)
        times, behaviour = book.tables(), behaviour_of(scenario, seed)
        provider = provider_of(scenario.payments, seed)
        self._put(
            steps=steps,
            passages=passages,
            time_rows=times.rows,
            time_knots=times.knots,
            personas=behaviour.personas,
            behaviour_rows=behaviour.distributions.rows,
            behaviour_knots=behaviour.distributions.knots,
            channels=provider.channels,
            provider_rows=provider.distributions.rows,
            provider_knots=provider.distributions.knots,
            **{name: np.array(getattr(faults, name), np.int64) for name in STRETCHES},
        )

    @property
    def record(self) -> Record:
        """The model as compiled functions take it."""
        record: Record = self._record[0]
        return record

    def _put(self, **arrays: NDArray[Any]) -> None:
        for name, array in arrays.items():
            self._arrays.append(array)
            self._record[name] = array.ctypes.data


def _put_coupon(record: Record, coupon: Coupon | None) -> None:
    record["coupon"] = NO_COUPON
    if coupon is not None:
        record["coupon"] = REDEEMS.index(coupon.redeem)
        record["coupon_limit"], record["coupons_per_account"] = coupon.limit, coupon.per_account
        record["coupon_off_cents"] = coupon.off_cents


def _put_refund(record: Record, refund: Refund | None, book: DistributionBook) -> None:
    record["refund"] = NO_REFUND
    if refund is not None:
        record["refund"] = PAYOUTS.index(refund.payout)
        record["refund_returns"] = refund.returns_stock
        record["refund_row"] = book.add(refund.delay)


def _steps_and_passages(scenario: Scenario, book: DistributionBook) -> tuple[Records, Records]:
    """Every action's place in the list of all passages, and that list."""
    service, item_count = scenario.service, len(scenario.skus)
    by_action = {Action[step.upper()]: passages for step, passages in service.by_step.items()}
    pool_counts = [item_count if station.per_item else 1 for station in service.stations]
    first_pools = [0, *accumulate(pool_counts)]
    names = [station.name for station in service.stations]
    steps = np.zeros(len(Action), STEP)
    rows: list[tuple[int, bool, int, int]] = []
    for action, passages in by_action.items():
        steps[action] = len(rows), len(passages), NOBODY
        for passage in passages:
            station = names.index(passage.station)
            per_item = service.stations[station].per_item
            rows.append((first_pools[station], per_item, book.add(passage.time), station))
    coupon = scenario.shop.coupon
    looks_at_coupon = coupon is not None and coupon.redeem in BROKEN_REDEEMS
    if looks_at_coupon or _looks_before(scenario):
        step = Action.CART if scenario.shop.lock_point == "cart" else Action.RESERVE
        steps[step]["look_passage"] = len(by_action[step]) - 1
    return steps, np.array(rows, PASSAGE)


def _looks_before(scenario: Scenario) -> bool:
    """Whether who asks for units looks at the stock before the last station."""
    shop = scenario.shop
    return shop.lock_point != "payment" and code_of(shop.strategy) in LOOKS_BEFORE


def pool_range(scenario: Scenario, station: int) -> tuple[int, int]:
    """The first pool of the station at a place in the scenario, and the one after its last."""
    item_count = len(scenario.skus)
    counts = [item_count if entry.per_item else 1 for entry in scenario.service.stations]
    return sum(counts[:station]), sum(counts[: station + 1])


def pools_of(scenario: Scenario) -> Records:
    """All pools of servers, by station and, where it is per item, by item."""
    rows = [
        (station.servers, station.queue_limit)
        for station in scenario.service.stations
        for _ in range(len(scenario.skus) if station.per_item else 1)
    ]
    pools = np.zeros(len(rows), POOL)
    pools["servers"], pools["queue_limit"] = np.array(rows, np.int64).T
    pools["first_waiting"] = pools["last_waiting"] = NOBODY
    return pools


def items_of(scenario: Scenario, lines: Lines) -> Records:
    """All items with their stock available."""
    items = np.zeros(len(scenario.shop.items), ITEM)
    for number, item in enumerate(scenario.shop.items):
        record = items[number]
        record["initial"] = record["available"] = record["counter"] = item.stock
        record["limit"], record["price_cents"] = item.per_account_limit, item.price_cents
        if item.bundle is not None:
            record["first_line"], record["line_count"] = lines.first[number], len(item.bundle)
    return items


def order_lines_of(lines: Lines) -> Records:
    """The lines of all items, as `Lines` has them."""
    rows = np.zeros(len(lines.item), ORDER_LINE)
    rows["item"], rows["units"] = lines.item, lines.units
    return rows


def buckets_of(scenario: Scenario) -> NDArray[np.int64]:
    """How the units of every item are spread over its buckets."""
    stocks = [item.stock for item in scenario.shop.items]
    shares = [[plain(share)(stock, bucket) for bucket in range(BUCKET_COUNT)] for stock in stocks]
    return np.array(shares, np.int64).reshape(-1)


def timeouts_of(scenario: Scenario) -> list[int]:
    """How long each persona waits for an answer, in nanoseconds."""
    return [_to_ns(persona.request_timeout) for persona in scenario.crowd.personas.values()]
