"""The simulated shop and the reference shop's store, driven by the same events.

Chance composes a small sale: who comes when, how long everybody waits, how the provider answers.
An engine plays it. Then every request that the simulated visitors sent is put to the SQLite store
at the moment at which it was decided, with the provider's answers and the sweeps in between. Every
answer, every moment at which it arrives, every stock reading and the whole audit must be the same:
repeats, lapses, late and lost payments included.
"""

from __future__ import annotations

import asyncio
import heapq
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.shop_stores import Kept

from doorbuster.behaviour import behaviour_of
from doorbuster.compiling import plain
from doorbuster.plan import Plan, Timetable
from doorbuster.plan.casting import POOL_BASE
from doorbuster.provider import CHARGED_AGAIN, provider_answer, provider_of
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import Constant
from doorbuster.scenario.refunds import PAYOUTS
from doorbuster.scenario.shop import LATE_PAYMENTS, LOCK_POINTS, UNANSWERED_CHARGES
from doorbuster.visitor import brings_coupon
from doorbuster_shop.endpoints.payments import status_of
from doorbuster_shop.store.opening import open_store
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.store.strategies import buckets, optimistic
from doorbuster_shop.terms import terms_of
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.lock_time import lock_span_ns
from doorbuster_sim.strategies import buckets as simulated_buckets
from doorbuster_sim.strategies import optimistic as simulated_optimistic

Build = Callable[..., Scenario]
Record = dict[str, Any]
MS = 1_000_000
READING_NS = 500 * MS

# What happens first of what happens at once, as docs/simulated-world.md has it.
SWEEP, PROVIDER_ANSWER, PAYMENT_TIMEOUT, DECISION, READING, PAYOUT, DISPATCH = range(7)

SERVICE_MS = {"browse": 7, "reserve": 10, "pay": 20, "poll": 5, "cancel": 3, "refund": 6, "cart": 9}
HALF_NETWORK_NS = 2 * MS

SHORT = st.sampled_from(["10ms", "20ms", "50ms", "100ms", "200ms"])
FRACTIONS = st.sampled_from([0.0, 0.5, 1.0])
PERSONAS = st.fixed_dictionaries(
    {
        "share": st.just(1),
        "think_time": SHORT,
        "refresh_gap": SHORT,
        "refresh_limit": st.integers(0, 3),
        "restock_refresh_limit": st.integers(0, 5),
        "request_timeout": st.sampled_from(["14ms", "24ms", "30ms", "100ms", "1s", "1s"]),
        "retry_limit": st.integers(0, 4),
        "retry_wait": SHORT,
        "payment_time": SHORT,
        "unpaid_fraction": st.sampled_from([0.0, 0.0, 0.5]),
        "cancel_fraction": st.sampled_from([0.0, 0.5, 1.0]),
        "retry_same_fraction": st.sampled_from([0.5, 1.0]),
        "retry_other_fraction": st.just(0.0),
        "poll_gap": SHORT,
        "poll_limit": st.integers(0, 3),
        "coupon_fraction": FRACTIONS,
        "refund_fraction": FRACTIONS,
        "refund_after": SHORT,
        "cart_time": SHORT,
        "abandon_fraction": st.sampled_from([0.0, 0.0, 0.3]),
    }
)
VISITORS = st.tuples(
    st.integers(-10, 150),  # arrival in 10 ms
    st.integers(0, 1),  # persona
    st.integers(0, 2),  # item; the third is a bundle, or the first where there is none
    st.integers(1, 2),  # quantity
    st.sampled_from([None, None, 0, 1]),  # shared account
)
CHANCES = st.fixed_dictionaries(
    {
        "visitors": st.lists(VISITORS, min_size=1, max_size=14),
        "personas": st.tuples(PERSONAS, PERSONAS),
        "stock": st.tuples(st.integers(0, 8), st.integers(1, 4)),
        "in_the_east": st.none() | st.integers(0, 4),  # of each item, where it lies in warehouses
        "bundle": st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(1, 2), min_size=1),
        "limit": st.integers(2, 3),
        "lock_time": st.sampled_from(["42ms", "100ms", "300ms", "300ms", "5s"]),
        "release_sweep": st.sampled_from(["30ms", "70ms", "200ms", "1s"]),
        "latency": st.sampled_from(["10ms", "40ms", "100ms", "400ms"]),
        "decline_fraction": FRACTIONS,
        "late_fraction": st.sampled_from([0.0, 0.3]),
        "payment_timeout": st.sampled_from(["10ms", "10ms", "40ms", "100ms", "1s"]),
        "drain": st.sampled_from([0, "100ms", "3s"]),
        "late_payment": st.sampled_from(("hold", "hold", *LATE_PAYMENTS)),
        "lock_point": st.sampled_from(LOCK_POINTS),
        "unanswered_charge": st.sampled_from(UNANSWERED_CHARGES),
        "release_jitter": st.sampled_from([0, 0, "50ms", "300ms"]),
        "coupon": st.none()
        | st.fixed_dictionaries(
            {
                "limit": st.integers(0, 4),
                "off": st.sampled_from([0.01, 3.00]),
                "per_account": st.integers(1, 2),
            }
        ),
        "refund": st.none()
        | st.fixed_dictionaries(
            {
                "delay": st.sampled_from(["0s", "30ms", "200ms", "1s", "1h"]),
                "returns_stock": st.booleans(),
                "payout": st.sampled_from(["retry", "retry", *PAYOUTS]),
            }
        ),
    }
)


ORDER_LIFE = ("lock_time", "release_sweep", "late_payment", "release_jitter", "coupon", "refund")


def lying(stock: int, in_the_east: int | None) -> Record:
    """A stock, or three warehouses that make it."""
    if in_the_east is None:
        return {"stock": stock}
    east, north = min(in_the_east, stock), min(1, max(stock - in_the_east, 0))
    return {"warehouses": {"east": east, "west": stock - east - north, "north": north}}


def scenario_of(build: Build, chance: Record) -> Scenario:
    """Plenty of servers: no request waits for another, so its decision comes when it must."""
    items = [
        {"sku": sku, "price": price, "per_account_limit": chance["limit"]}
        | lying(stock, chance["in_the_east"])
        for sku, stock, price in zip(("a", "b"), chance["stock"], (3, 50), strict=True)
    ]
    lock_point = chance["lock_point"]
    if lock_point == "payment" and chance["late_payment"] != "hold":
        lock_point = "order"
    if chance["bundle"]:
        # Not at the end: neither its place nor the order of its parts may matter.
        bundle = {"sku": "ab", "bundle": chance["bundle"], "price": 51, "per_account_limit": 2}
        items.insert(0, bundle)
    channel = {"name": "card", "share": 1, "late_by": "150ms"}
    channel |= {k: chance[k] for k in ("latency", "decline_fraction", "late_fraction")}
    phase = {"start": "-100ms", "duration": "2s", "shape": {"kind": "constant", "level": 1}}
    return build(
        shop={
            "items": items,
            **{k: chance[k] for k in ORDER_LIFE},
            "lock_point": lock_point,
            # No coupon is redeemed by a cart.
            "coupon": chance["coupon"] if lock_point != "cart" else None,
            # Allowed beside `hold` alone, without refunds, and not where payments lock.
            "unanswered_charge": chance["unanswered_charge"]
            if chance["late_payment"] == "hold"
            and chance["refund"] is None
            and lock_point != "payment"
            else "wait",
        },
        crowd={
            "phases": [{"name": "all", **phase}],
            "personas": dict(zip(("one", "two"), chance["personas"], strict=True)),
            "drain": chance["drain"],
        },
        payments={"timeout": chance["payment_timeout"], "channels": [channel]},
        service={
            "network": "4ms",
            "stations": [{"name": "web", "servers": 100}],
            **{s: [{"station": "web", "time": f"{t}ms"}] for s, t in SERVICE_MS.items()},
        },
    )


def plan_of(chance: Record) -> Plan:
    """The visitors in the order of their coming."""
    arrivals, persona, item, quantity, shared = zip(
        *sorted(chance["visitors"], key=str), strict=True
    )
    order = np.argsort(np.array(arrivals), kind="stable")
    numbers = np.arange(len(order))
    accounts = [n if pool is None else POOL_BASE + pool for n, pool in enumerate(shared)]

    def column(values: Any) -> Any:
        return np.array(values, np.int64)[order]

    return Plan(
        arrival_ns=column(arrivals) * 10 * MS,
        persona=column(persona),
        item=column([n if chance["bundle"] else n % 2 for n in item]),
        quantity=column(quantity),
        channel=np.zeros_like(numbers),
        phase=np.zeros_like(numbers),
        account=column(accounts),
        device=numbers,
        ip=numbers,
        address=numbers,
        card=numbers,
    )


class Sent(NamedTuple):
    """A request as the simulated visitor sent it. `attempt`: of its idempotency key."""

    visitor: int
    number: int
    step: str
    sent_ns: int
    reserving_attempt: int
    paying_attempt: int


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def sent_requests(sale: SimulatedSale) -> list[tuple[Sent, Record]]:
    """Every request with its record. A repeat has the key of the request before it.

    A new key begins after a wish was refused as sold out, reserving or paying, and after a declined
    payment.
    """
    found: list[tuple[Sent, Record]] = []
    last: dict[int, Sent] = {}
    for row in sorted(sale.requests.to_pylist(), key=lambda row: (row["visitor"], row["sent_s"])):
        sent_ns, before = nanoseconds(row["sent_s"]), last.get(row["visitor"])
        if before is None:
            sent = Sent(row["visitor"], 0, row["step"], sent_ns, 0, 0)
        else:
            told = found[-1][1]["reply"]
            sent = Sent(
                row["visitor"],
                before.number + 1,
                row["step"],
                sent_ns,
                before.reserving_attempt
                + (before.step in {"cart", "reserve", "pay"} and told == "sold_out"),
                before.paying_attempt + (told == "declined"),
            )
        last[row["visitor"]] = sent
        found.append((sent, row))
    return found


REFUSALS = {
    Refusal.NOT_OPEN: "not_open",
    Refusal.LIMIT_REACHED: "limited",
    Refusal.SOLD_OUT: "sold_out",
    Refusal.RESERVATION_EXPIRED: "expired",
    Refusal.PAYMENT_IN_PROGRESS: "error",
    Refusal.ALREADY_PAID: "error",
    Refusal.NOT_PAID: "error",
    Refusal.NO_REFUNDS: "error",
    Refusal.NOT_ORDERED: "error",
    None: "ok",
}
STATES = {"pending": "pending", "paid": "ok", "declined": "declined", "expired": "expired"}


class Replay:
    """Puts requests to the store in the order of their decisions. Its clock counts nanoseconds."""

    def __init__(self, shop: Kept, scenario: Scenario, plan: Plan, seed: int) -> None:
        self.shop, self.scenario, self.plan = shop, scenario, plan
        self.lock_ns = nanoseconds(scenario.shop.lock_time)
        self.jitter_ns, self.seed = nanoseconds(scenario.shop.release_jitter), seed
        self.timeout_ns = nanoseconds(scenario.payments.timeout)
        self.provider = provider_of(scenario.payments, seed)
        self.behaviour = behaviour_of(scenario, seed)
        self.replies: dict[tuple[int, int], tuple[int, str]] = {}
        """By visitor and number: when the shop answered, and what."""
        self.captures: list[tuple[str, int]] = []
        self.levels: list[tuple[int, str, int, int, int]] = []
        self.reservation_ids: dict[tuple[int, int], str] = {}
        self.payment_ids: dict[tuple[int, int], str] = {}
        self.waiting: dict[str, list[Sent]] = {}
        self.open_charges: Counter[str] = Counter()
        """By payment."""
        self.closed: set[str] = set()
        """Payments whose charges the provider was told to close."""
        self.events: list[tuple[int, int, int, int, Any]] = []
        shop.begin_sale(terms_of(scenario), 0.0)

    def at(self, time_ns: int, rank: int, visitor: int, number: int, what: Any) -> None:
        heapq.heappush(self.events, (time_ns, rank, visitor, number, what))

    def run(self, requests: list[Sent], start_ns: int, end_ns: int) -> None:
        for sent in requests:
            reached_ns = sent.sent_ns + HALF_NETWORK_NS + SERVICE_MS[sent.step] * MS
            self.at(reached_ns, DECISION, sent.visitor, sent.number, sent)
        sweep_ns = nanoseconds(self.scenario.shop.release_sweep)
        for time_ns in range(0, end_ns, sweep_ns):
            self.at(time_ns, SWEEP, 0, 0, None)
        for time_ns in range(start_ns, end_ns, READING_NS):
            self.at(time_ns, READING, 0, 0, None)
        while self.events and self.events[0][0] < end_ns:
            now_ns, rank, _, _, what = heapq.heappop(self.events)
            if rank == SWEEP:
                self.sweep(now_ns)
            elif rank == PROVIDER_ANSWER:
                self.provider_answers(now_ns, *what)
            elif rank == PAYMENT_TIMEOUT:
                self.stop_waiting(now_ns, *what)
            elif rank == DISPATCH:
                self.shop.dispatch_all(lambda now_ns=now_ns: now_ns)
            elif rank == PAYOUT:
                self.pay_out(what)
            elif rank == DECISION:
                self.decide(what, now_ns)
            else:
                self.read_stock(now_ns)
        self.read_stock(end_ns)

    def decide(self, sent: Sent, now_ns: int) -> None:
        reply = getattr(self, sent.step)(sent, now_ns)
        if reply is not None:
            self.replies[sent.visitor, sent.number] = now_ns, reply

    def browse(self, sent: Sent, now_ns: int) -> str:
        item = self.shop.read_item(self.sku(sent))
        assert item is not None
        if now_ns < item.opens_at_s:
            return "not_open"
        return "ok" if item.available_units else "sold_out"

    def cart(self, sent: Sent, now_ns: int) -> str:
        return self.take_units(sent, now_ns, self.shop.fill_cart)

    def reserve(self, sent: Sent, now_ns: int) -> str:
        if self.scenario.shop.lock_point != "cart":
            persona = int(self.plan.persona[sent.visitor])
            is_brought = plain(brings_coupon)(self.behaviour, sent.visitor, persona)
            take = partial(self.shop.reserve, brings_coupon=is_brought)
            return self.take_units(sent, now_ns, take)
        cart = self.reservation_ids[sent.visitor, sent.reserving_attempt]
        got = self.shop.order_cart(cart, now_ns)
        return REFUSALS[got] if isinstance(got, Refusal) else "ok"

    def take_units(self, sent: Sent, now_ns: int, take: Callable[..., Any]) -> str:
        key = f"{sent.visitor} reserves, {sent.reserving_attempt}"
        account = str(self.plan.account[sent.visitor])
        units = int(self.plan.quantity[sent.visitor])
        # The simulation draws the jitter that the shop takes from a hash.
        span_ns = plain(lock_span_ns)(
            self.lock_ns, self.jitter_ns, self.seed, sent.visitor, sent.reserving_attempt
        )
        got = take(Wish(key, self.sku(sent), account, units), now_ns, span_ns)
        if isinstance(got, Refusal):
            return REFUSALS[got]
        self.reservation_ids[sent.visitor, sent.reserving_attempt] = got.id
        return "ok"

    def pay(self, sent: Sent, now_ns: int) -> str | None:
        reservation = self.reservation_ids[sent.visitor, sent.reserving_attempt]
        key = f"{sent.visitor} pays, {sent.paying_attempt}"
        got = self.shop.begin_payment(Offer(key, reservation, "card", "m"), now_ns)
        if isinstance(got, Refusal):
            return REFUSALS[got]
        if (sent.visitor, sent.paying_attempt) not in self.payment_ids:
            self.payment_ids[sent.visitor, sent.paying_attempt] = got.id
            self.charge(sent, got, now_ns)
        if got.state != "pending":
            return STATES[status_of(got)]
        self.waiting.setdefault(got.id, []).append(sent)
        due_ns = now_ns + self.timeout_ns
        self.at(due_ns, PAYMENT_TIMEOUT, sent.visitor, sent.number, (got.id, sent))
        return None

    def charge(self, sent: Sent, payment: Payment, now_ns: int) -> None:
        due_ns = self.ask_provider(sent, payment, now_ns, sent.paying_attempt)
        again_ns = now_ns + self.timeout_ns
        if self.scenario.shop.unanswered_charge == "charge_again" and due_ns > again_ns:
            self.ask_provider(sent, payment, again_ns, sent.paying_attempt + CHARGED_AGAIN)

    def ask_provider(self, sent: Sent, payment: Payment, asked_ns: int, number: int) -> int:
        answer_s, approves = plain(provider_answer)(self.provider, sent.visitor, 0, number)
        due_ns = asked_ns + nanoseconds(answer_s)
        self.open_charges[payment.id] += 1
        told = payment, bool(approves)
        self.at(due_ns, PROVIDER_ANSWER, sent.visitor, number, told)
        return due_ns

    def sweep(self, now_ns: int) -> None:
        if self.scenario.shop.late_payment == "query_before_cancel":
            # The provider decides no sooner than it answers, so each of these can be closed.
            for payment in self.shop.late_payments(now_ns):
                self.closed.add(payment.id)
                self.tell(now_ns, self.shop.settle_expired(payment.id, now_ns))
        self.shop.release_lapsed(now_ns)

    def provider_answers(self, now_ns: int, payment: Payment, approves: bool) -> None:
        if payment.id in self.closed:
            return
        self.open_charges[payment.id] -= 1
        if approves:
            settled = self.shop.settle_captured(payment.id, f"ch {payment.id}", now_ns)
        elif self.open_charges[payment.id]:
            return
        else:
            settled = self.shop.settle_declined(payment.id, None, now_ns)
        policy = self.scenario.shop.late_payment
        gone = "expired" if policy == "forget" else "refunding"
        assert settled.state in ({"paid", gone} if approves else {"declined", "paid"})
        if settled.state == "paid" and self.scenario.shop.has_warehouses:
            self.at(now_ns, DISPATCH, 0, 0, None)
        if approves and settled.state != "refunding":
            self.captures.append((payment.reservation_id, payment.amount_cents))
        elif settled.state == "refunding":
            assert policy in {"refund", "recheck_stock"}
            self.shop.settle_refunded(payment.id)
        self.tell(now_ns, settled)

    def tell(self, now_ns: int, settled: Payment) -> None:
        for sent in self.waiting.pop(settled.id, []):
            self.replies[sent.visitor, sent.number] = now_ns, STATES[status_of(settled)]

    def stop_waiting(self, now_ns: int, payment_id: str, sent: Sent) -> None:
        waiting = self.waiting.get(payment_id, [])
        if sent in waiting:
            waiting.remove(sent)
            self.replies[sent.visitor, sent.number] = now_ns, "pending"

    def poll(self, sent: Sent, now_ns: int) -> str:
        payment = self.shop.read_payment(self.payment_ids[sent.visitor, sent.paying_attempt])
        assert payment is not None
        return STATES[status_of(payment)]

    def cancel(self, sent: Sent, now_ns: int) -> str:
        reservation = self.reservation_ids[sent.visitor, sent.reserving_attempt]
        return REFUSALS[self.shop.withdraw(reservation, now_ns)]

    def refund(self, sent: Sent, now_ns: int) -> str:
        reservation = self.reservation_ids[sent.visitor, sent.reserving_attempt]
        got = self.shop.refund(reservation, now_ns)
        if isinstance(got, Refusal):
            return REFUSALS[got]
        if got.payment is not None:
            refund = self.scenario.shop.refund
            assert refund is not None
            assert isinstance(refund.delay, Constant)
            due_ns = now_ns + nanoseconds(refund.delay.value)
            self.at(due_ns, PAYOUT, sent.visitor, sent.number, got.payment)
        return "ok"

    def pay_out(self, payment: Payment) -> None:
        self.captures.remove((payment.reservation_id, payment.amount_cents))
        self.shop.settle_refunded(payment.id)

    def read_stock(self, now_ns: int) -> None:
        self.levels += [(now_ns, *level) for level in self.shop.read_levels()]

    def sku(self, sent: Sent) -> str:
        return self.scenario.skus[int(self.plan.item[sent.visitor])]

    def record(self, sent: Sent, end_ns: int) -> tuple[int | None, str]:
        """When the visitor knows what, by its own deadline and the end of the sale."""
        personas = list(self.scenario.crowd.personas.values())
        patience_s = personas[int(self.plan.persona[sent.visitor])].request_timeout
        deadline_ns = sent.sent_ns + nanoseconds(patience_s)
        answered_ns, reply = self.replies.get((sent.visitor, sent.number), (end_ns, "timeout"))
        heard_ns = answered_ns + HALF_NETWORK_NS
        if heard_ns > deadline_ns:
            heard_ns, reply = deadline_ns, "timeout"
        return (heard_ns, reply) if heard_ns < end_ns else (None, "timeout")


def order_moments(orders: list[Any]) -> list[tuple[Any, ...]]:
    """What became of each order and when, in nanoseconds; the store's clock counts them."""
    rows = [order if isinstance(order, dict) else order._asdict() for order in orders]
    scale = 1e9 if orders and isinstance(orders[0], dict) else 1
    names = ("reserved_s", "expires_s", "released_s", "sold_s", "refund_asked_s", "returned_s")
    moments = (
        (
            *(None if row[name] is None else round(row[name] * scale) for name in names),
            *(row[name] for name in ("account", "sku", "quantity", "state")),
            *(row[name] for name in ("amount_cents", "discount_cents")),
        )
        for row in rows
    )
    return sorted(moments, key=repr)


def shipments_of_shop(shop: Kept) -> list[tuple[Any, ...]]:
    """What was sent, with the order as who has reserved what and when, in nanoseconds."""
    orders = {order.order_id: order for order in shop.read_orders()}
    rows = (
        (
            *(getattr(orders[row.order_id], name) for name in ("account", "reserved_s", "sku")),
            *(row.sku, row.warehouse, row.units, row.sent_s, row.returned_s),
        )
        for row in shop.read_shipments()
    )
    return sorted(rows, key=repr)


def shipments_of_simulation(sale: SimulatedSale) -> list[tuple[Any, ...]]:
    """The same of a simulated sale."""
    orders = {order["order_id"]: order for order in sale.orders.to_pylist()}
    rows = (
        (
            orders[row["order_id"]]["account"],
            nanoseconds(orders[row["order_id"]]["reserved_s"]),
            orders[row["order_id"]]["sku"],
            *(row[name] for name in ("sku", "warehouse", "units")),
            nanoseconds(row["sent_s"]),
            None if row["returned_s"] is None else nanoseconds(row["returned_s"]),
        )
        for row in sale.shipments.to_pylist()
    )
    return sorted(rows, key=repr)


def have_one_order(sale: SimulatedSale) -> bool:
    """Whether no two orders were reserved and sold at the same moments: the shop orders by those.

    The simulation goes on by visitors, of whom the shop knows nothing.
    """
    rows = [row for row in sale.orders.to_pylist() if row["sold_s"] is not None]
    return len({(row["sold_s"], row["reserved_s"]) for row in rows}) == len(rows)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chance=CHANCES, seed=st.integers(0, 1000))
def test_the_same_events_have_the_same_answers(
    small_scenario: Build, engine: Any, chance: Record, seed: int
) -> None:
    agree(small_scenario, engine, chance, seed)


def at_the_till(chance: Record) -> Record:
    """The same sale with everybody at the till for the last units at once, where payments lock."""
    eager = {"unpaid_fraction": 0.0, "request_timeout": "1s", "restock_refresh_limit": 5}
    return {
        **chance,
        "lock_point": "payment",
        "late_payment": "hold",
        "lock_time": "5s",
        "visitors": [(arrival % 8, *others) for arrival, *others in chance["visitors"]],
        "personas": [persona | eager for persona in chance["personas"]],
        "stock": [min(units, 2) for units in chance["stock"]],
    }


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chance=CHANCES.map(at_the_till), seed=st.integers(0, 1000))
def test_so_they_do_at_the_till(
    small_scenario: Build, engine: Any, chance: Record, seed: int
) -> None:
    agree(small_scenario, engine, chance, seed)


def agree(small_scenario: Build, engine: Any, chance: Record, seed: int) -> None:
    """Play a sale, put its requests to the store, and compare."""
    if engine == "compiled" and os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled in this process")
    scenario, plan = scenario_of(small_scenario, chance), plan_of(chance)
    timetable = Timetable.of(scenario)
    start_ns, end_ns = nanoseconds(timetable.start_s), nanoseconds(timetable.end_s)
    sale = simulate_sale(scenario, plan, timetable, seed=seed, engine=engine)
    sent = sent_requests(sale)
    with asyncio.Runner() as runner:
        store = runner.run(open_store(":memory:", "conditional_update"))
        replay = Replay(Kept(store, runner), scenario, plan, seed)
        replay.run([one for one, _ in sent], start_ns, end_ns)
        for one, row in sent:
            done_ns = None if row["done_s"] is None else nanoseconds(row["done_s"])
            assert replay.record(one, end_ns) == (done_ns, row["reply"]), (one, row)
            event(f"{one.step} {row['reply']}")
            event(f"{chance['late_payment']}: {one.step} {row['reply']}")
            event(f"locked at the {scenario.shop.lock_point}: {one.step} {row['reply']}")
        event(f"refunds: {sum(item.orders_refunded for item in sale.audit.items)}")
        event(f"open refunds: {sale.audit.refunds_open}")
        event(f"orders with the coupon: {sale.audit.coupon_redemptions}")
        event(f"sets sold: {sum(item.sets_sold for item in sale.audit.items)}")
        event(f"{scenario.shop.unanswered_charge}: {bool(sale.audit.orders_captured_twice)}")
        readings = sale.stock.to_pylist()
        assert replay.levels == [
            (nanoseconds(r["at_s"]), r["sku"], r["available"], r["locked"], r["sold"])
            for r in readings
        ]
        sweep_ns = nanoseconds(scenario.shop.release_sweep)
        assert order_moments(replay.shop.read_orders()) == order_moments(sale.orders.to_pylist())
        assert replay.shop.audit(end_ns, sweep_ns, replay.captures) == sale.audit
        if have_one_order(sale):
            event(f"shipments: {len(sale.shipments)}")
            assert shipments_of_shop(replay.shop) == shipments_of_simulation(sale)
        runner.run(store.close())


def test_the_strategies_have_the_same_numbers() -> None:
    assert optimistic.ATTEMPTS_MAX == 1 + simulated_optimistic.REPEATS_MAX
    assert buckets.BUCKET_COUNT == simulated_buckets.BUCKET_COUNT
