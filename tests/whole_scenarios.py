"""Whole scenarios from Hypothesis: every corner of the model, at a size that runs in some 20 ms.

All times of one scenario are multiples of one tick, out of a short list. Constant times then meet
in one nanosecond all the time, and with a tick of a nanosecond so do drawn ones. A phase of a few
nanoseconds brings its whole crowd at once. The load factor is computed from the wanted crowd, so
no shape or window can make an example large.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from hypothesis import strategies as st
from ruamel.yaml import YAML

from doorbuster.plan import EmptyPlanError, Plan, Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster.scenario.bundles import WITHOUT_BUNDLES
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.refunds import PAYOUTS
from doorbuster.scenario.shop import (
    BROKEN_LATE_PAYMENTS,
    BROKEN_REDEEMS,
    BROKEN_STRATEGIES,
    BROKEN_UNANSWERED_CHARGES,
    LATE_PAYMENTS,
    LOCKING_AT_PAYMENT,
    MAX_WAREHOUSES,
    REDEEMS,
    STRATEGIES,
    UNANSWERED_CHARGES,
    Strategy,
)
from doorbuster.scenario.warehouses import WITHOUT_WAREHOUSES
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.engines import Engine

Mapping = dict[str, Any]

CROWD = (5, 1, 2, 20, 20, 40, 40, 80, 120)
"""Visitors expected in one run."""
NORMAL_LOAD_PER_S = 1000.0
MAX_LOAD_FACTOR = 10_000


class Ns(float):
    """A time in nanoseconds, fractions allowed, before it is written with a unit."""

    def written(self, scale: float) -> str:
        """The text in a scenario file that is exactly this time."""
        digits = f"{float(self) * scale / 1000:.7f}".rstrip("0").rstrip(".")
        return f"{digits}us"


def written(draft: Any, scale: float = 1.0) -> Any:
    """A draft as it stands in a file, all its times multiplied by a factor."""
    if isinstance(draft, Ns):
        return draft.written(scale)
    if isinstance(draft, dict):
        return {key: written(value, scale) for key, value in draft.items()}
    if isinstance(draft, list):
        return [written(value, scale) for value in draft]
    return draft


@dataclass(frozen=True, repr=False)
class Whole:
    """One generated scenario with the settings of its run."""

    file: Mapping
    """The scenario as in its file."""
    seed: int
    system_seed: int | None = None
    load_factor: float | None = None
    window: tuple[float, float] | None = None

    @cached_property
    def scenario(self) -> Scenario:
        """The validated model."""
        return Scenario.model_validate(self.file)

    @cached_property
    def timetable(self) -> Timetable:
        """When how many come in this run."""
        return Timetable.of(self.scenario, load_factor=self.load_factor, window=self.window)

    @cached_property
    def plan(self) -> Plan:
        """Who comes in this run."""
        return build_plan(self.scenario, self.seed, self.timetable)

    def sale(self, engine: Engine = "simpy") -> SimulatedSale:
        """The simulated sale."""
        return simulate_sale(
            self.scenario,
            self.plan,
            self.timetable,
            seed=self.seed,
            system_seed=self.system_seed,
            engine=engine,
        )

    def __repr__(self) -> str:
        """Scenario and settings as text to copy."""
        text, yaml = io.StringIO(), YAML()
        yaml.width = 100
        yaml.dump(self.file, text)
        return (
            f"# seed={self.seed} system_seed={self.system_seed} "
            f"load_factor={self.load_factor!r} window={self.window}\n{text.getvalue()}"
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Hypothesis prints a failing example by this."""
        printer.text(f"\n{self!r}")


class Style(NamedTuple):
    """What kind of times one scenario has."""

    tick_ns: int
    multiples: Sequence[float]
    families: Sequence[str]
    """Kinds of distributions, each as often as it stands here."""


WHOLE_MULTIPLES = (1, 2, 3, 5, 8, 1, 2)
ODD_MULTIPLES = (0.4, 0.05, 1.37, 2.9, 0.731)
TICKS_NS = (
    *(1, 1, 4, 1_000, 1_000_000, 7_300_001),
    *(12_500_000, 250_000_000, 500_000_000, 500_000_000),
)
"""The last four are parts of the interval between two stock readings."""
YEARS_NS = 1e17
"""As the scale of a wild distribution: from milliseconds to beyond the longest of all times."""
FAMILIES = ("constant", "uniform", "exponential", "lognormal", "weibull", "empirical")
MOSTLY_CONSTANT = ("constant",) * 10 + ("uniform", "empirical")
STYLES = (
    *(Style(tick_ns, WHOLE_MULTIPLES, MOSTLY_CONSTANT) for tick_ns in TICKS_NS),
    *(Style(tick_ns, WHOLE_MULTIPLES + ODD_MULTIPLES, FAMILIES) for tick_ns in TICKS_NS),
    # In step with the stock readings as well.
    *(Style(tick_ns, WHOLE_MULTIPLES, ("constant",)) for tick_ns in TICKS_NS[-3:] * 3),
)
LOCKSTEP = Style(tick_ns=15_625_000, multiples=WHOLE_MULTIPLES, families=("constant",))
"""Only constant times, in whole multiples of 2**-6 s: doubling them doubles every nanosecond."""

PAGE_BYTES = 16


class _Pen:
    """Draws the pieces of one scenario in its style.

    Every choice is a byte. Hypothesis draws them by the page: that is some ten times faster than
    a draw for each, spreads the choices evenly, and still shrinks each byte to 0, which stands for
    the first and simplest value. A piece of the scenario begins on a new page.
    """

    def __init__(self, draw: st.DrawFn, style: Style | None) -> None:
        self._draw = draw
        self._page = b""
        self.style: Style = self.pick(STYLES) if style is None else style

    def new_page(self) -> None:
        """Leave what was drawn and not used."""
        self._page = b""

    def pick(self, values: Sequence[Any]) -> Any:
        """One of some values; the first is the simplest."""
        if not self._page:
            self._page = self._draw(st.binary(min_size=PAGE_BYTES, max_size=PAGE_BYTES))
        choice, self._page = self._page[0], self._page[1:]
        return values[choice % len(values)]

    def seed(self) -> int:
        """Of 63 bits.

        Not `st.integers`, which also picks numbers that stand in whatever modules were imported
        before: the examples would depend on the tests that ran before.
        """
        return int.from_bytes(self.pick(range(256)) for _ in range(8)) >> 1

    def ticks(self, *multiples: float) -> Ns:
        """One of some multiples of the tick."""
        return Ns(self.pick(multiples) * self.style.tick_ns)

    def time(self, *more: float) -> Ns:
        """A time above zero in the style of the scenario, or one of some more multiples."""
        return self.ticks(*self.style.multiples, *more)

    def times(self, *more: float) -> Any:
        """A distribution of times; each of its parameters is a time or one of some more."""
        kind = self.pick(self.style.families)
        if kind == "constant":
            return self.time(*more)
        if kind == "uniform":
            low = self.time(*more)
            return {"kind": kind, "low": low, "high": Ns(low + self.time(0))}
        if kind == "exponential":
            return {"kind": kind, "mean": self.time()}
        if kind == "lognormal":
            return {"kind": kind, "median": self.time(), "sigma": self.pick((0.3, 1.0, 5.0))}
        if kind == "weibull":
            if self.pick((True, False)):
                return {"kind": kind, "scale": self.time(), "shape": self.pick((0.7, 3.0, 20.0))}
            return {"kind": kind, "scale": Ns(self.pick((1e7, YEARS_NS))), "shape": 0.1}
        low, middle = self.time(*more), self.time(0)
        end = [1.0, Ns(low + middle + self.time(0))]
        knots = [[0.25, Ns(low + middle)], [0.75, Ns(low + middle)]]
        return {"kind": "empirical", "quantiles": [[0.0, low], *knots, end]}

    def weights(self, names: Sequence[str]) -> Mapping:
        """Nothing, or weights of some of the names, the first never 0."""
        if self.pick((True, True, False)):
            return {}
        return {name: self.pick((1, 2) if name == names[0] else (1, 0, 3)) for name in names}


def _shop(pen: _Pen, skus: Sequence[str]) -> Mapping:
    pen.new_page()
    return {
        "lock_time": pen.time(13, 40) if pen.pick((False, True)) else pen.ticks(1000),
        # At least a nanosecond: at less the clock of whole nanoseconds would stand still.
        "release_sweep": Ns(max(1.0, pen.ticks(1, 2, 3, 5, 0.5, 1.37, 7.77, 50))),
        "items": [
            {
                "sku": sku,
                "stock": pen.pick((2, 0, 1, 3, 8, 20, 1000)),
                "price": pen.pick((1, 0, 499.99)),
                "per_account_limit": pen.pick((1, 2, 3)),
            }
            for sku in skus
        ],
    }


def _persona(pen: _Pen, shop: Mapping, skus: Sequence[str], channels: Sequence[str]) -> Mapping:
    pen.new_page()
    wants = pen.weights(skus)
    limits = [
        item["per_account_limit"] for item in shop["items"] if wants.get(item["sku"], not wants)
    ]
    same = pen.pick((0.25, 0.0, 1.0, 0.5))
    return {
        "share": pen.pick((1, 2)),
        "wants": wants,
        "quantity": min(pen.pick((1, 1, 2)), max(limits)),
        "buy_fraction": pen.pick((1.0, 1.0, 1.0, 1.0, 0.5, 0.0)),
        "think_time": pen.times(0),
        "refresh_gap": pen.times(0, 0),
        "refresh_limit": pen.pick((6, 0, 1, 2)),
        "restock_refresh_limit": pen.pick((0, 1, 4)),
        "request_timeout": pen.time(20) if pen.pick((False, False, True)) else pen.ticks(1000),
        "retry_limit": pen.pick((1, 0, 3, 5)),
        "retry_wait": pen.times(0, 0),
        "patience": pen.times(13, 20) if pen.pick((False, False, True)) else pen.ticks(1000),
        "payment_time": pen.times(0),
        "unpaid_fraction": pen.pick((0.0, 0.0, 0.0, 0.3, 1.0)),
        "payment_attempt_limit": pen.pick((3, 1, 2)),
        "retry_same_fraction": same,
        "retry_other_fraction": min(pen.pick((0.34, 0.0, 1.0)), 1.0 - same),
        "poll_gap": pen.times(0),
        "poll_limit": pen.pick((2, 0, 1, 5)),
        "channels": pen.weights(channels),
        "identities": {"accounts": pen.pick((None, None, 1, 2, 5))},
    }


def _phases(pen: _Pen, personas: Sequence[str]) -> list[Mapping]:
    """One to four phases with gaps, from before the opening, across it or after it."""
    pen.new_page()
    start = float(pen.ticks(0, 0, -1, -3, -8, 2, 5)) - pen.pick((0, 0, 0, 0, 2))
    phases = []
    for number in range(pen.pick((1, 2, 3, 4))):
        pen.new_page()
        is_burst = pen.pick((True, False))
        duration = Ns(pen.pick((0.4, 0.4, 0.4, 5, 40))) if is_burst else pen.ticks(1, 3, 8, 20)
        level = pen.pick((1, 2, 5)) / (duration * 1e-9 * NORMAL_LOAD_PER_S)
        phases.append(
            {
                "name": f"phase-{number}",
                "start": Ns(start),
                "duration": duration,
                "shape": _shape(pen, level, duration),
                "mix": pen.weights(personas),
            }
        )
        start += duration + pen.ticks(0, 0, 1, 5)
    return phases


def _shape(pen: _Pen, level: float, duration: Ns) -> Mapping:
    """A shape whose mean level is near the given one."""
    kind = pen.pick(("constant", "constant", "ramp", "pulse", "zero_hour"))
    if kind == "constant":
        return {"kind": kind, "level": level}
    if kind == "ramp":
        return {"kind": kind, "from": 2 * level, "to": 0.0}
    third = Ns(duration / 3)
    if kind == "pulse":
        return {"kind": kind, "base": level, "peak": 2 * level, "at": third, "fall": third}
    return {"kind": kind, "peak": 2 * level, "half_life": third, "floor": level}


def _payments(pen: _Pen, channels: Sequence[str]) -> Mapping:
    pen.new_page()
    return {
        "timeout": pen.time(13, 1000),
        "channels": [
            {
                "name": name,
                "share": pen.pick((1, 3)),
                "latency": pen.times(0, 13),
                "decline_fraction": pen.pick((0.0, 0.0, 0.3, 0.7, 1.0)),
                "late_fraction": pen.pick((0.0, 0.0, 0.3, 1.0)),
                "late_by": pen.times(0, 13),
            }
            for name in channels
        ],
    }


def _service(pen: _Pen) -> Mapping:
    pen.new_page()
    names = ["web", "row", "db"][: pen.pick((1, 2, 3))]
    stations = [
        {
            "name": name,
            "servers": pen.pick((2, 1, 1, 3, 8, 100)),
            "queue_limit": pen.pick((2048, 2048, 2048, 5, 2, 1, 0)),
            "per_item": pen.pick((False, True)),
        }
        for name in names
    ]
    steps: Mapping = {
        step: [
            {"station": pen.pick(names), "time": _service_time(pen)}
            for _ in range(pen.pick((1, 1, 1, 1, 2, 2, 3, 16)))
        ]
        for step in ("browse", "reserve", "pay", "poll")
    }
    if pen.pick((True, False)):
        del steps["poll"]
    return {"network": pen.times(0, 0, 0), "stations": stations, **steps}


def _service_time(pen: _Pen) -> Any:
    """Mostly short, so that somebody gets through to pay; the shortest is no time at all."""
    if pen.pick((False, False, False, True)):
        return pen.times()
    return pen.pick((Ns(0.4), pen.time()))


def _let_everybody_pay(pen: _Pen, draft: Mapping) -> None:
    """Take away what stands between the crowd and the payment, where much can happen."""
    for item in shelf_of(draft["shop"]):
        item.update(stock=1000, per_account_limit=3)
    for persona in draft["crowd"]["personas"].values():
        persona.update(buy_fraction=1.0, unpaid_fraction=0.0, refresh_limit=6, retry_limit=5)
        persona.update(patience=pen.ticks(1000), poll_limit=5)
        persona["request_timeout"] = pen.ticks(1000, 1000, 1, 3, 13)
    at_once = [{"station": "web", "time": Ns(0.4)}]
    draft["service"].update(browse=at_once, reserve=at_once)
    if pen.pick((True, False)):
        # All payments are pending, so that polls are what may fail.
        draft["payments"]["timeout"] = pen.ticks(1)
        for channel in draft["payments"]["channels"]:
            channel["latency"] = pen.ticks(2, 5, 13)
        draft["service"]["pay"] = at_once
        draft["service"]["poll"] = [{"station": "row", "time": pen.times()}]
        row = {"name": "row", "servers": 1, "queue_limit": pen.pick((2048, 1))}
        draft["service"]["stations"][1:2] = [row]
    else:
        # Locks lapse during payments that are declined.
        draft["shop"].update(lock_time=pen.ticks(3, 1, 2), release_sweep=pen.ticks(1, 2, 5))
        for channel in draft["payments"]["channels"]:
            channel.update(decline_fraction=0.7, latency=pen.ticks(3, 2, 5, 8))


def _fight_for_stock(pen: _Pen, draft: Mapping) -> None:
    """Scarce stock, many at once at its row, locks that lapse while they are paid: it is here that
    strategies differ.
    """
    for item in shelf_of(draft["shop"]):
        item.update(stock=pen.pick((3, 1, 2, 8, 9, 20)), per_account_limit=pen.pick((2, 3)))
    draft["shop"].update(lock_time=pen.ticks(3, 1, 2, 5, 8), release_sweep=pen.ticks(2, 1, 3, 5))
    pen.new_page()
    for persona in draft["crowd"]["personas"].values():
        persona.update(buy_fraction=1.0, unpaid_fraction=pen.pick((0.3, 0.0, 0.0, 1.0)))
        persona.update(refresh_limit=6, restock_refresh_limit=pen.pick((4, 1, 0)), retry_limit=3)
        persona.update(request_timeout=pen.ticks(1000, 1000, 5))
        persona.update(think_time=pen.ticks(0, 0, 1), payment_time=pen.ticks(1, 0, 2))
        persona.update(refresh_gap=pen.ticks(1, 2, 3), poll_gap=pen.ticks(1, 2))
    pen.new_page()
    at_once = [{"station": "web", "time": Ns(0.4)}]
    row = {"station": "row", "time": pen.ticks(1, 2, 1, 3)}
    draft["service"].update(
        network=pen.ticks(0, 0, 1),
        stations=[
            {"name": "web", "servers": 100},
            {
                "name": "row",
                "servers": pen.pick((8, 2, 100, 1)),
                "queue_limit": pen.pick((2048, 5, 1)),
                "per_item": pen.pick((False, True)),
            },
        ],
        browse=at_once,
        reserve=[*at_once, row] if pen.pick((True, False)) else [row],
        pay=at_once,
        poll=at_once,
        rollback=pen.ticks(0, 1),
    )
    draft["payments"]["timeout"] = pen.ticks(13, 1, 2)
    for channel in draft["payments"]["channels"]:
        channel.update(latency=pen.ticks(1, 2, 3, 5), late_by=pen.ticks(1, 2, 5))
        channel.update(decline_fraction=pen.pick((0.0, 0.0, 0.3)))


def _late_payments(pen: _Pen, draft: Mapping, *, fights: bool) -> None:
    """What becomes of money that comes late, mostly where it does."""
    shop = draft["shop"]
    shop["late_payment"] = pen.pick((LATE_PAYMENTS[0], LATE_PAYMENTS[0], *LATE_PAYMENTS))
    if shop["late_payment"] == LATE_PAYMENTS[0]:
        shop["unanswered_charge"] = pen.pick(UNANSWERED_CHARGES)
        if shop["unanswered_charge"] != UNANSWERED_CHARGES[0]:
            _answer_late(pen, draft, fights=fights)
        return
    if not pen.pick((True, True, False)):
        return
    if not fights:
        _fight_for_stock(pen, draft)
    # The lock is gone before the money comes.
    shop.update(lock_time=pen.ticks(2, 3, 1), release_sweep=pen.ticks(1, 2, 3))
    for channel in draft["payments"]["channels"]:
        channel.update(latency=pen.ticks(3, 2, 5, 8))
    if shop["late_payment"] == "recheck_stock" and pen.pick((True, False)):
        # Others wait for the units that come back.
        for item in shelf_of(shop):
            item["stock"] = pen.pick((1, 2))
        for persona in draft["crowd"]["personas"].values():
            persona.update(unpaid_fraction=0.0, restock_refresh_limit=4, refresh_gap=pen.ticks(1))


def shelf_of(shop: Mapping) -> list[Mapping]:
    """The items that have a stock."""
    return [item for item in shop["items"] if "stock" in item]


def _bundle(pen: _Pen, draft: Mapping, skus: Sequence[str]) -> None:
    """A set of the items in half of the sales that can sell one, for who wants anything."""
    pen.new_page()
    shop = draft["shop"]
    is_scarce = shop.get("lock_point") == "payment"
    if shop["strategy"] in WITHOUT_BUNDLES:
        return
    if pen.pick((False, True, False) if is_scarce else (True, False)):
        return
    parts = {
        sku: pen.pick((1, 2, 1, 3)) for sku in reversed(skus) if pen.pick((True, True, True, False))
    }
    for item in shelf_of(shop):
        stock = item["stock"]
        item["stock"] = pen.pick((3, 8, stock, 2, 20) if is_scarce else (8, 20, stock, 3, 1000))
    shop["items"].append(
        {
            "sku": "set",
            "bundle": parts or {skus[0]: 2},
            "price": max(item["price"] for item in shop["items"]),
            "per_account_limit": pen.pick((2, 1, 3)),
        }
    )
    for persona in draft["crowd"]["personas"].values():
        wants = persona["wants"] or dict.fromkeys(skus, 1)
        persona["wants"] = {**wants, "set": pen.pick((9, 3, 9, 0) if is_scarce else (3, 9, 0, 3))}


def _cancels(pen: _Pen, draft: Mapping) -> None:
    """Buyers who would not pay cancel, in half of the sales."""
    cancels = pen.pick((False, True))
    for persona in draft["crowd"]["personas"].values():
        persona["cancel_fraction"] = pen.pick((1.0, 0.5, 0.0)) if cancels else 0.0
        if cancels and not persona["unpaid_fraction"]:
            persona["unpaid_fraction"] = pen.pick((0.3, 0.0, 1.0))
    if cancels and pen.pick((False, True)):
        station = draft["service"]["stations"][-1]["name"]
        draft["service"]["cancel"] = [{"station": station, "time": pen.time()}]


def _coupon(pen: _Pen, draft: Mapping) -> None:
    """A coupon in most sales; counted wrongly only where nothing else is broken."""
    pen.new_page()
    shop = draft["shop"]
    if not pen.pick((False, True, True)):
        return
    is_broken = (
        shop.get("late_payment") in BROKEN_LATE_PAYMENTS
        or shop.get("unanswered_charge") in BROKEN_UNANSWERED_CHARGES
    )
    redeem = REDEEMS[0] if is_broken else pen.pick((REDEEMS[0], REDEEMS[0], *REDEEMS))
    is_raced = redeem in BROKEN_REDEEMS
    if is_raced:
        _fight_for_stock(pen, draft)
    pen.new_page()
    for item in shop["items"]:
        item["price"] = item["price"] or 3
    shop["coupon"] = {
        "limit": pen.pick((2, 1) if is_raced else (2, 1, 3, 0, 8, 1000)),
        "off": pen.pick((0.01, 0.99, min(item["price"] for item in shop["items"]))),
        "per_account": pen.pick((1, 2)),
        "redeem": redeem,
    }
    for persona in draft["crowd"]["personas"].values():
        persona["coupon_fraction"] = pen.pick((1.0, 0.5) if is_raced else (1.0, 0.5, 1.0, 0.0))


LONG_NS = 3600e9
"""A promise that no generated sale can break."""


def _refunds(pen: _Pen, draft: Mapping, *, fights: bool) -> None:
    """Buyers who want their money back, in most sales of shops that take no money twice."""
    pen.new_page()
    shop = draft["shop"]
    if shop.get("unanswered_charge") in BROKEN_UNANSWERED_CHARGES or not pen.pick((True, False)):
        return
    is_broken = (
        shop.get("late_payment") in BROKEN_LATE_PAYMENTS
        or shop.get("coupon", {}).get("redeem") in BROKEN_REDEEMS
    )
    shop["refund"] = {
        "delay": pen.ticks(1000) if pen.pick((False, False, True)) else pen.times(0, 5, 13),
        "within": pen.pick((Ns(LONG_NS), Ns(LONG_NS), Ns(max(1.0, pen.ticks(13, 1))))),
        "returns_stock": pen.pick((True, True, False)),
        "payout": PAYOUTS[0] if is_broken else pen.pick((PAYOUTS[0], *PAYOUTS)),
    }
    for persona in draft["crowd"]["personas"].values():
        persona["refund_fraction"] = pen.pick((1.0, 0.5, 0.0))
        persona["refund_after"] = pen.times(0, 1)
    pen.new_page()
    if pen.pick((True, True, False)):
        # Everybody pays, and others wait for the units that come back.
        if not fights and shop.get("late_payment") == LATE_PAYMENTS[0]:
            _let_everybody_pay(pen, draft)
            pen.new_page()
        for item in shelf_of(shop):
            item["stock"] = pen.pick((3, 8, 1, 3, 1, 1000))
        for persona in draft["crowd"]["personas"].values():
            persona.update(buy_fraction=1.0, unpaid_fraction=0.0, restock_refresh_limit=4)
            persona["refresh_gap"] = pen.ticks(1, 2, 3)
            if pen.pick((True, False)):
                persona["refund_after"] = pen.ticks(0, 1, 5, 40)
            persona["refund_fraction"] = pen.pick((1.0, 0.5))
            persona["request_timeout"] = pen.ticks(1000, 13, 20, 5)
        for channel in draft["payments"]["channels"]:
            channel["decline_fraction"] = pen.pick((0.0, 0.3))
    if pen.pick((False, True)):
        desk = {"name": "desk", "servers": 1, "queue_limit": pen.pick((2048, 0, 1))}
        draft["service"]["stations"].append(desk)
        draft["service"]["refund"] = [{"station": "desk", "time": pen.ticks(1, 13, 5, 40)}]


def _lock_point(pen: _Pen, draft: Mapping) -> None:
    """Payments that take the units, in most sales where they can: often the last ones."""
    pen.new_page()
    shop = draft["shop"]
    is_possible = (
        shop["strategy"] in LOCKING_AT_PAYMENT
        and shop.get("late_payment", LATE_PAYMENTS[0]) == LATE_PAYMENTS[0]
        and shop.get("unanswered_charge", UNANSWERED_CHARGES[0]) == UNANSWERED_CHARGES[0]
    )
    if not is_possible or not pen.pick((True, True, True, False)):
        return
    shop["lock_point"] = "payment"
    if not pen.pick((True, True, False)):
        return
    for item in shelf_of(shop):
        item["stock"] = pen.pick((3, 1, 2, 8))
    for persona in draft["crowd"]["personas"].values():
        persona.update(buy_fraction=1.0, restock_refresh_limit=pen.pick((4, 0)))
        persona.update(refresh_gap=pen.ticks(1, 2, 5), patience=pen.ticks(1000))
        persona.update(retry_same_fraction=1.0, retry_other_fraction=0.0, payment_attempt_limit=3)
    for channel in draft["payments"]["channels"]:
        channel["decline_fraction"] = pen.pick((0.7, 0.3, 0.0))


def _carts(pen: _Pen, draft: Mapping) -> None:
    """Carts that take the units, in some sales whose orders would, at the cost of some coupons."""
    pen.new_page()
    shop = draft["shop"]
    ways: tuple[bool, ...] = (True, False)
    if shop.get("late_payment") == "recheck_stock":
        ways = (True, True, False)  # The rarest of the policies.
    elif "coupon" in shop:
        ways = (True, False, False, False, False)
    if "lock_point" in shop or not pen.pick(ways):
        return
    shop["lock_point"] = "cart"
    if shop.pop("coupon", None):
        for persona in draft["crowd"]["personas"].values():
            del persona["coupon_fraction"]
    for persona in draft["crowd"]["personas"].values():
        pen.new_page()
        persona["abandon_fraction"] = pen.pick((0.0, 0.3, 0.0, 1.0))
        persona["cart_time"] = pen.times(0, 1)
    pen.new_page()
    way = pen.pick(("buy", "lapse", "as it is", "buy", "as it is", "cancel"))
    for persona in draft["crowd"]["personas"].values():
        if way == "buy":
            persona.update(buy_fraction=1.0, unpaid_fraction=0.0, abandon_fraction=0.0)
        elif way == "cancel":
            persona.update(unpaid_fraction=1.0, cancel_fraction=1.0, abandon_fraction=0.0)
        elif way == "lapse":
            # Some locks before the order, and some between the order and the payment.
            shop["lock_time"] = pen.ticks(3, 2, 5, 8)
            persona["cart_time"] = pen.ticks(1, 3, 2, 5)
    if pen.pick((False, True)):
        station = draft["service"]["stations"][-1]["name"]
        draft["service"]["cart"] = [{"station": station, "time": pen.time()}]


FAULTS = (
    "kill_worker",
    "kill_shop",
    "restart_database",
    "slow_database",
    "freeze",
    "freeze",
    "provider_outage",
    "kill_provider",
)


def _let_payments_last(pen: _Pen, draft: Mapping) -> None:
    """Providers so slow that faults strike whoever waits for them, or asks for them meanwhile."""
    draft["payments"]["timeout"] = pen.ticks(5, 2, 3, 8)
    draft["crowd"]["drain"] = pen.ticks(100, 400)
    for channel in draft["payments"]["channels"]:
        channel["latency"] = pen.ticks(13, 8, 20, 40)
    for persona in draft["crowd"]["personas"].values():
        persona.update(buy_fraction=1.0, unpaid_fraction=0.0, payment_time=pen.ticks(0, 1, 2))
        persona.update(request_timeout=pen.ticks(1000), poll_gap=pen.ticks(1, 0, 2), poll_limit=5)
        persona.update(think_time=pen.ticks(0, 0, 1), refresh_gap=pen.ticks(1, 2), retry_limit=3)
    pen.new_page()
    for item in shelf_of(draft["shop"]):
        item["stock"] = pen.pick((1000, 20, 8))
    at_once = [{"station": "web", "time": Ns(0.4)}]
    draft["service"].update(
        network=pen.ticks(0, 0, 1), browse=at_once, reserve=at_once, pay=at_once, poll=at_once
    )
    draft["service"]["stations"][0].update(servers=pen.pick((100, 8)), queue_limit=2048)
    pen.new_page()


def _faults(pen: _Pen, draft: Mapping) -> list[Mapping]:
    """None, or one to six, near the beginning; those of one kind never overlap, and may adjoin.

    None where a charge may be sent twice: one thing is broken at a time.
    """
    pen.new_page()
    if draft["shop"].get("unanswered_charge") in BROKEN_UNANSWERED_CHARGES:
        return []
    if pen.pick((True, False, False)):
        return []
    kinds: Sequence[str] = FAULTS
    durations: Sequence[float] = (2, 1, 3, 5, 20, 0.4)
    policy = draft["shop"].get("late_payment")
    if policy == "query_before_cancel" and pen.pick((True, True, False)):
        # Charges whose locks have lapsed, in faults that last longer than a sweep.
        _let_payments_last(pen, draft)
        draft["shop"].update(lock_time=pen.ticks(2, 3, 1), release_sweep=pen.ticks(5, 3, 8))
        for channel in draft["payments"]["channels"]:
            channel.update(latency=pen.ticks(8, 5, 13), late_fraction=0.0)
        kinds, durations = ("kill_shop", "freeze", "kill_shop", *FAULTS[6:]), (5, 8, 10, 13, 20, 3)
    elif pen.pick((False, True, False)):
        _let_payments_last(pen, draft)
        kinds = (*FAULTS[4:], "kill_shop", "kill_shop")
    names = [station["name"] for station in draft["service"]["stations"]]
    first_ns = float(min(phase["start"] for phase in draft["crowd"]["phases"]))
    over_ns: dict[str, float] = {}
    faults = []
    for _ in range(pen.pick((1, 2, 3, 6, 6))):
        kind = pen.pick(kinds)
        # The first may begin before the crowd, and where there is much to pay for, during that.
        waits = (2, 1, 2, 0, 3, 5, 8, 13, 2, 20) + ((0, 0, 0) if kind in over_ns else (-2,))
        if "refund" in draft["shop"]:  # They come after everything else.
            waits += (20, 20, 40, 40, 40, 80)
            durations = (2, 1, 3, 5, 20, 0.4, 20, 40)
        start_ns = over_ns.get(kind, first_ns) + pen.ticks(*waits)
        duration_ns = pen.ticks(*durations)
        over_ns[kind] = start_ns + duration_ns
        fault = {"kind": kind, "start": Ns(start_ns), "duration": Ns(duration_ns)}
        if kind in {"kill_worker", "restart_database", "slow_database"}:
            fault["station"] = pen.pick((None, *names))
        if kind == "slow_database":
            fault["extra"] = pen.ticks(1, 2, 5, 0.4)
        elif kind == "freeze":
            fault["of"] = pen.pick(("shop", "provider"))
        elif kind == "provider_outage":
            fault["answer"] = pen.pick(("refuse", "hang"))
        faults.append(fault)
    return faults


def _answer_late(pen: _Pen, draft: Mapping, *, fights: bool) -> None:
    """Providers that need longer than the shop waits, mostly."""
    if not fights:
        _let_everybody_pay(pen, draft)
    pen.new_page()
    draft["payments"]["timeout"] = pen.ticks(1, 2, 0.4, 3)
    for channel in draft["payments"]["channels"]:
        # From before the timeout to long after it: the second answer often comes first.
        far = Ns(pen.ticks(2, 3, 5, 13))
        channel["latency"] = pen.pick((far, {"kind": "uniform", "low": Ns(0.0), "high": far}))
        channel["decline_fraction"] = pen.pick((0.3, 0.0, 0.7))


def _window(pen: _Pen, phases: Sequence[Mapping]) -> tuple[float, float] | None:
    """No window, or one from the start of a phase to the end or the middle of a later one."""
    pen.new_page()
    if pen.pick((True, True, True, False)):
        return None
    first = pen.pick(range(len(phases)))
    last = pen.pick(range(first, len(phases)))
    length = phases[last]["duration"] * pen.pick((1.0, 0.5))
    start, end = phases[first]["start"], phases[last]["start"] + length
    return start * 1e-9, end * 1e-9


def draft_of(pen: _Pen, strategies: Sequence[Strategy]) -> Mapping:
    """A scenario before its times are written and its crowd is measured."""
    skus = ["a", "b", "c"][: pen.pick((1, 2, 3))]
    personas = ["fan", "bot", "holder"][: pen.pick((1, 2, 3))]
    channels = ["card", "wallet", "credit"][: pen.pick((1, 2, 3))]
    shop = _shop(pen, skus)
    crowd = {
        "normal_load_per_s": NORMAL_LOAD_PER_S,
        "load_factor": 1.0,
        "phases": _phases(pen, personas),
        "personas": {name: _persona(pen, shop, skus, channels) for name in personas},
        "drain": pen.ticks(100, 0, 20, 100, 400),
    }
    draft = {
        "version": 1,
        "name": "whole",
        "shop": shop,
        "crowd": crowd,
        "payments": _payments(pen, channels),
        "service": _service(pen),
    }
    if pen.pick((False, True, False)):
        _let_everybody_pay(pen, draft)
    pen.new_page()
    shop["strategy"] = pen.pick(strategies)
    fights = shop["strategy"] != STRATEGIES[0] and pen.pick((True, True, False))
    if fights:
        _fight_for_stock(pen, draft)
    if shop["strategy"] not in BROKEN_STRATEGIES:
        _late_payments(pen, draft, fights=fights)
    pen.new_page()
    shop["release_jitter"] = pen.ticks(0, 0, 1, 2, 3.7, 20)
    if shop["strategy"] not in BROKEN_STRATEGIES:
        _coupon(pen, draft)
        _cancels(pen, draft)
        _refunds(pen, draft, fights=fights)
        _lock_point(pen, draft)
        _carts(pen, draft)
        _bundle(pen, draft, skus)
    return draft


MIXED = (*(name for name in STRATEGIES if name not in BROKEN_STRATEGIES), *STRATEGIES)
"""The correct ones twice: only with them can coupons, cancelling and late money be tried."""


@st.composite
def whole_scenarios(
    draw: st.DrawFn, style: Style | None = None, strategies: Sequence[Strategy] = MIXED
) -> Whole:
    """A scenario in which `check` finds nothing, with the settings of one run.

    style: the times of every scenario; default: each has its own. strategies: how its shop may
    keep the stock.
    """
    pen = _Pen(draw, style)
    draft = draft_of(pen, strategies)
    draft["faults"] = _faults(pen, draft)
    window = _window(pen, draft["crowd"]["phases"])
    pen.new_page()
    seed = pen.seed()
    system_seed = pen.seed() if pen.pick((False, True)) else None
    whole = Whole(written(draft), seed, system_seed, load_factor=1.0, window=window)
    load_factor = pen.pick(CROWD) / whole.timetable.expected_visitors
    if load_factor > MAX_LOAD_FACTOR or pen.pick((False, True)):
        whole = replace(whole, load_factor=load_factor)
    else:
        draft["crowd"]["load_factor"] = load_factor
        whole = replace(whole, file=written(draft), load_factor=None)
    whole = in_warehouses(somebody_comes(whole))
    assert cross_check(whole.scenario) == []
    return whole


WAREHOUSES = tuple(f"w{number}" for number in range(MAX_WAREHOUSES))


def in_warehouses(whole: Whole) -> Whole:
    """The same sale out of one to sixteen warehouses, in two of three that can have some.

    Every choice is a digit of the seed: engines know of no warehouse, so that what they do, and
    every other choice, stays as it was.
    """
    digits = whole.seed

    def pick(count: int) -> int:
        nonlocal digits
        digits, chosen = divmod(digits, count)
        return chosen

    if whole.file["shop"]["strategy"] in WITHOUT_WAREHOUSES or not pick(3):
        return whole
    items = []
    for item in whole.file["shop"]["items"]:
        if "bundle" in item:
            items.append(item)
            continue
        rest, first = item["stock"], pick(3)
        count = (MAX_WAREHOUSES, 2, MAX_WAREHOUSES, 1)[pick(4)]
        units: dict[str, int] = {}
        for number in range(count):
            here = rest // (count - number)
            units[WAREHOUSES[(first + number) % MAX_WAREHOUSES]] = here
            rest -= here
        rest_of_it = {key: value for key, value in item.items() if key != "stock"}
        items.append({**rest_of_it, "warehouses": units})
    return replace(whole, file={**whole.file, "shop": {**whole.file["shop"], "items": items}})


def somebody_comes(whole: Whole) -> Whole:
    """The same run under the first seed, from its own on, whose plan is not empty."""
    while True:
        try:
            assert whole.plan.visitor_count
        except EmptyPlanError:
            whole = replace(whole, seed=(whole.seed + 1) % 2**63)
        else:
            return whole
