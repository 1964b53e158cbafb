"""Laws that every simulated sale obeys, whatever its scenario: read from its records alone.

A law that a broken strategy breaks on purpose is asked of all others.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow.compute as pc
from tests.shipment_laws import shipment_laws
from tests.whole_scenarios import Whole

from doorbuster.compiling import plain
from doorbuster.draws import Purpose, draw, sample
from doorbuster.plan import fault_spans
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.refunds import Refund
from doorbuster.scenario.shop import Strategy
from doorbuster_sim import SimulatedSale
from doorbuster_sim.clock import to_ns

LEAKING: tuple[Strategy, ...] = ("check_then_write", "unguarded_release", "stale_expiry")
"""Units may get lost or be invented."""
RELEASING_PAID: tuple[Strategy, ...] = ("unguarded_release", "stale_expiry")
"""The sweep may release what is paid or being paid."""


def ns(seconds: float | None) -> int | None:
    """A moment of the records as it was on the clock."""
    return None if seconds is None else round(seconds * 1e9)


def broken_laws(whole: Whole, sale: SimulatedSale) -> list[str]:
    """What a sale breaks, as sentences; empty for every sale that can be."""
    return [
        *_flow(whole, sale),
        *_times(whole, sale),
        *_stock(whole, sale),
        *_money(whole, sale),
        *_books(whole, sale),
        *_books_and_audit(whole, sale),
        *_coupon(whole, sale),
        *_too_late_to_pay(whole, sale),
        *_carts(whole, sale),
        *_refunds(whole, sale),
        *shipment_laws(whole, sale),
        *_stations(whole, sale),
    ]


def _flow(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Who was planned is there once, with one outcome, and with the requests that it counts."""
    visits = sale.visits.to_pylist()
    if [visit["visitor"] for visit in visits] != list(range(whole.plan.visitor_count)):
        yield "not everybody who was planned is there, once"
    sent = Counter(sale.requests["visitor"].to_pylist())
    unanswered = {r["visitor"] for r in sale.requests.to_pylist() if r["done_s"] is None}
    for visit in visits:
        visitor, outcome = visit["visitor"], visit["outcome"]
        if visit["request_count"] != sent[visitor]:
            yield f"visitor {visitor} counts {visit['request_count']} of {sent[visitor]} requests"
        if visit["left_s"] is None and outcome == "sold":
            # The end came before it had asked for its money, or had an answer to that.
            traits = whole.scenario.crowd.personas[visit["persona"]]
            if not traits.refund_fraction or visit["paid_s"] is None:
                yield f"visitor {visitor} has bought and never left"
            continue
        if (visit["left_s"] is None) != (outcome == "cut_off"):
            yield f"visitor {visitor} left at {visit['left_s']} as {outcome}"
        if visitor in unanswered and outcome != "cut_off":
            yield f"visitor {visitor} had no answer and is {outcome}"
        has_bought = outcome in {"sold", "refunded"}
        if (visit["paid_s"] is not None) != has_bought and outcome != "cut_off":
            yield f"visitor {visitor} paid at {visit['paid_s']} and is {outcome}"


def _times(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """One thing after the other, nobody waits longer than he wants to, nothing after the end."""
    personas = whole.scenario.crowd.personas
    patience = [
        to_ns(personas[name].request_timeout) for name in sale.visits["persona"].to_pylist()
    ]
    arrivals = whole.plan.arrival_ns.tolist()
    end_ns = to_ns(whole.timetable.end_s)
    of_visitor: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in sale.requests.to_pylist():
        sent, done, visitor = ns(row["sent_s"]), ns(row["done_s"]), row["visitor"]
        assert sent is not None
        waited = (end_ns if done is None else done) - sent
        if waited < 0 or waited > patience[visitor]:
            yield f"visitor {visitor} waited {waited} ns of {patience[visitor]}"
        if row["reply"] == "timeout" and done is not None and waited != patience[visitor]:
            yield f"visitor {visitor} stopped waiting after {waited} ns"
        of_visitor[visitor].append((sent, end_ns if done is None else done))
    for visitor, spans in of_visitor.items():
        spans.sort()
        if spans[0][0] != arrivals[visitor]:
            yield f"visitor {visitor} begins at {spans[0][0]}, not at {arrivals[visitor]}"
        if any(after[0] < before[1] for before, after in pairwise(spans)):
            yield f"visitor {visitor} does two things at once"
    ends = [end for end in sale.requests["done_s"].to_pylist() if end is not None]
    if ends != sorted(ends):
        yield "the clock goes back"


def _stock(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Every unit is available, locked or sold; what is sold stays sold; limits hold."""
    items = {item.sku: item for item in whole.scenario.shop.items}
    strategy, refund = whole.scenario.shop.strategy, whole.scenario.shop.refund
    sold_may_fall = strategy in RELEASING_PAID or (refund is not None and refund.returns_stock)
    last: dict[str, Any] = {}
    for row in sale.stock.to_pylist():
        counts = row["available"], row["locked"], row["sold"]
        before = last.get(row["sku"], {"sold": 0})
        adds_up = sum(counts) == items[row["sku"]].stock and min(counts) >= 0
        if not adds_up and strategy not in LEAKING:
            yield f"the stock does not add up: {row}"
        if row["sold"] < before["sold"] and not sold_may_fall:
            yield f"units came back after they were sold: {row}"
        last[row["sku"]] = row
    for item in sale.audit.items:
        row = last.get(item.sku, {"available": 0, "locked": 0, "sold": 0})
        if (item.sku in last) != (items[item.sku].bundle is None):
            yield f"a bundle with a stock, or an item without: {item}"
        counts = item.available_units, item.locked_units, item.sold_units
        if counts != (row["available"], row["locked"], row["sold"]):
            yield f"the last reading is not the audit: {item}"
        is_over = item.max_units_per_account > items[item.sku].per_account_limit
        # Money that comes late brings back what no longer counted.
        if is_over and strategy != "unguarded_release":
            yield f"an account holds too much: {item}"
        # A copy may have missed it.
        if item.lapsed_locks and strategy != "stale_expiry":
            yield f"a lock outlived its sweep: {item}"


def _money(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Every capture is one order, and nobody is told of an order that is none."""
    shop = whole.scenario.shop
    if shop.strategy in RELEASING_PAID:
        return
    audit = sale.audit
    twice, without = audit.orders_captured_twice, audit.payments_without_order
    captured, paid = audit.payments_captured, sum(item.orders_paid for item in audit.items)
    assert None not in (twice, without, captured, audit.captured_cents, audit.paid_cents)
    # Two policies take money for nothing on purpose, each in its own way alone.
    is_twice, is_lost = shop.unanswered_charge == "charge_again", shop.late_payment == "forget"
    is_lost |= shop.refund is not None and shop.refund.payout == "mark_only"
    is_open = audit.refunds_open or 0
    if (twice and not is_twice) or (without and not is_lost):
        yield f"money was taken for nothing: {audit}"
    if captured != paid + (twice or 0) + (without or 0) + is_open:
        yield "captures and orders are not one to one"
    owed = (audit.paid_cents or 0) + (audit.refunds_open_cents or 0)
    if audit.captured_cents != owed and not (twice or without):
        yield f"{audit.captured_cents} cents were captured, {audit.paid_cents} are paid"
    told: Counter[str] = Counter()
    for visit in sale.visits.to_pylist():
        if visit["paid_s"] is not None:
            for sku, units in lines_of(whole, visit["sku"]).items():
                told[sku] += visit["quantity"] * units
    came_back: Counter[str] = Counter()
    for order in sale.orders.to_pylist():
        if order["returned_s"] is not None:
            for sku, units in lines_of(whole, order["sku"]).items():
                came_back[sku] += order["quantity"] * units
    for item in audit.items:
        if told[item.sku] > item.sold_units + came_back[item.sku]:
            yield f"{told[item.sku]} units were confirmed, {item.sold_units} sold: {item.sku}"


def _books(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Every order costs what it should, and has the moments of its state and no others."""
    shop = whole.scenario.shop
    strategy = shop.strategy
    prices = {item.sku: item.price_cents for item in whole.scenario.shop.items}
    lock_ns, jitter_ns = to_ns(shop.lock_time), to_ns(shop.release_jitter)
    seed = whole.seed if whole.system_seed is None else whole.system_seed
    for order in sale.orders.to_pylist():
        reserved, expires = ns(order["reserved_s"]), ns(order["expires_s"])
        released, state = ns(order["released_s"]), order["state"]
        assert reserved is not None
        assert expires is not None
        visitor, attempt = map(int, order["order_id"].split("-"))
        share = plain(draw)(seed, visitor, int(Purpose.RELEASE_JITTER), attempt)
        if expires != reserved + lock_ns + int(share * jitter_ns):
            yield f"a lock of another length: {order}"
        list_cents = prices[order["sku"]] * order["quantity"]
        if order["amount_cents"] != list_cents - order["discount_cents"]:
            yield f"another price: {order}"
        # Where payments lock, one that comes too late for units ends its order.
        may_end_early = state == "cancelled" or shop.lock_point == "payment"
        if released is not None and not may_end_early and released < expires:
            yield f"released before its time: {order}"
        marks = released is not None, order["sold_s"] is not None
        needed = {
            "locked": not any(marks),
            "open": not any(marks) and shop.lock_point == "payment",
            "cart": not any(marks) and shop.lock_point == "cart",
            "released": marks[0],
            "sold": marks[1],
            "cancelled": marks == (True, False),
            "refunding": marks[1] and order["refund_asked_s"] is not None,
            "refunded": marks[1] and order["refund_asked_s"] is not None,
        }
        if not needed[state]:
            yield f"a state without its moment: {order}"
        is_paid = state in {"sold", "refunding", "refunded"}
        is_bought_again = shop.late_payment == "recheck_stock" and is_paid
        if all(marks) and not is_bought_again and strategy not in RELEASING_PAID:
            yield f"released and sold: {order}"
        if all(marks) and state == "sold" and strategy == "stale_expiry":
            yield f"sold after its release: {order}"
        if is_bought_again and all(marks) and order["released_s"] > order["sold_s"]:
            yield f"bought again before its release: {order}"


def _too_late_to_pay(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Where payments lock, an order ends before its time only if others hold what it wants.

    Counted from the charges alone. A fault makes the provider hear of them later than they lock.
    """
    shop = whole.scenario.shop
    if shop.lock_point != "payment" or whole.scenario.faults:
        return
    orders = {order["order_id"]: order for order in sale.orders.to_pylist()}
    stock = {item.sku: item.stock for item in shop.items}
    held: list[tuple[int, float, str, int]] = []
    for charge in sale.charges.to_pylist():
        order = orders[charge["order_id"]]
        is_paid = charge["captured_s"] is not None
        asked_ns = ns(charge["asked_s"])
        ended_ns = ns(order["returned_s"]) if is_paid else ns(charge["decided_s"])
        assert asked_ns is not None
        held += [
            (asked_ns, math.inf if ended_ns is None else ended_ns, sku, units * order["quantity"])
            for sku, units in lines_of(whole, order["sku"]).items()
        ]
    for order in orders.values():
        at_ns, expires_ns = ns(order["released_s"]), ns(order["expires_s"])
        assert expires_ns is not None
        if order["state"] != "released" or at_ns is None or at_ns >= expires_ns:
            continue
        free = stock | {
            part: stock[part]
            - sum(u for since, until, sku, u in held if sku == part and since <= at_ns <= until)
            for part in lines_of(whole, order["sku"])
        }
        wanted = lines_of(whole, order["sku"]).items()
        if all(free[part] >= units * order["quantity"] for part, units in wanted):
            yield f"refused at the till though the units were there: {order}"


def _carts(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """A cart is ordered while its lock lives, and whoever has ordered or paid had one."""
    requests, visits = sale.requests.to_pylist(), sale.visits.to_pylist()
    if whole.scenario.shop.lock_point != "cart":
        if any(row["step"] == "cart" for row in requests):
            yield "a cart where nothing is put into one"
        return
    carts: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for order in sale.orders.to_pylist():
        carts[int(order["order_id"].split("-")[0])].append(order)
    charged = {charge["order_id"] for charge in sale.charges.to_pylist()}
    for order in (order for own in carts.values() for order in own):
        visit = visits[int(order["order_id"].split("-")[0])]
        if order["state"] == "cart" and (order["order_id"] in charged or visit["reserved_s"]):
            yield f"charged or confirmed, and still a cart: {order} {visit}"
        if visit["outcome"] == "abandoned" and order["state"] not in {"cart", "released"}:
            yield f"abandoned and ordered all the same: {order}"
    for row in requests:
        own, step, reply = carts[row["visitor"]], row["step"], row["reply"]
        if (step, reply) in {("cart", "ok"), ("reserve", "ok")} and not own:
            yield f"confirmed without a cart: {row}"
        if step != "reserve":
            continue
        if reply in {"sold_out", "limited", "not_open"}:
            yield f"an order asked for units: {row}"
        sent_ns, done_ns = ns(row["sent_s"]), ns(row["done_s"])
        lapse_ns = [ns(order["expires_s"]) or 0 for order in own]
        assert sent_ns is not None
        if reply == "ok" and not row["attempt"] and not any(sent_ns < at for at in lapse_ns):
            yield f"ordered after its lock had lapsed: {row} {own}"
        if reply == "expired" and not any(at <= (done_ns or 0) for at in lapse_ns):
            yield f"refused while its lock lived: {row} {own}"


def lines_of(whole: Whole, sku: str) -> dict[str, int]:
    """What one unit of an item takes from the shelf, as the file says it."""
    [item] = [item for item in whole.file["shop"]["items"] if item["sku"] == sku]
    lines: dict[str, int] = item.get("bundle") or {sku: 1}
    return lines


def _books_and_audit(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Both books tell what the audit counts, and fit each other."""
    orders = {row["order_id"]: row for row in sale.orders.to_pylist()}
    charges = sale.charges.to_pylist()
    if len(orders) != len(sale.orders) or len({c["charge_id"] for c in charges}) != len(charges):
        yield "a name stands twice in a book"
    captured: Counter[str] = Counter()
    for charge in charges:
        order = orders[charge["order_id"]]
        if charge["amount_cents"] != order["amount_cents"]:
            yield f"not what the order costs: {charge} {order}"
        captured["count"] += charge["state"] == "captured"
        captured["cents"] += charge["amount_cents"] * (charge["state"] == "captured")
        is_owed = order["state"] in {"sold", "refunding"}
        captured["late"] += charge["state"] == "captured" and not is_owed
        captured["open"] += charge["state"] == "captured" and order["state"] == "refunding"
    audit = sale.audit
    told = audit.payments_captured, audit.captured_cents, audit.payments_without_order
    if told != (captured["count"], captured["cents"], captured["late"]):
        yield f"the provider's book says {captured}, the audit {told}"
    if (audit.refunds_open or 0) != captured["open"]:
        yield f"{captured['open']} refunds are open, the audit says {audit.refunds_open}"
    held: Counter[tuple[str, str]] = Counter()
    sets: Counter[str] = Counter()
    for order in orders.values():
        lines = lines_of(whole, order["sku"])
        is_away = order["refund_asked_s"] is not None and order["returned_s"] is None
        for sku, units in lines.items():
            held[sku, order["state"]] += order["quantity"] * units
            held[sku, "away"] += order["quantity"] * units * is_away
        is_bundle = order["sku"] not in lines
        sets[order["sku"]] += order["quantity"] * (is_bundle and order["state"] == "sold")
    for item in audit.items:
        if item.sets_sold != sets[item.sku]:
            yield f"{sets[item.sku]} sets are sold, the audit says {item}"
        away = held[item.sku, "away"]
        locked = held[item.sku, "locked"] + held[item.sku, "cart"]
        counts = locked, held[item.sku, "sold"] + away
        if (item.locked_units, item.sold_units) != counts or item.unreturned_units != away:
            yield f"the orders hold {counts}, the audit says {item}"


def _coupon(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """The coupon is for who brings it, for so many orders at once, and for nobody less."""
    coupon = whole.scenario.shop.coupon
    orders, audit = sale.orders.to_pylist(), sale.audit
    told = audit.coupon_limit, audit.coupon_redemptions, audit.discount_cents
    if coupon is None:
        if told != (None, None, None) or any(order["discount_cents"] for order in orders):
            yield f"a coupon that the shop does not have: {told}"
        return
    personas = list(whole.scenario.crowd.personas.values())
    carrying = [order for order in orders if order["discount_cents"]]
    held = sum(order["state"] not in {"released", "cancelled"} for order in carrying)
    cents = sum(order["discount_cents"] for order in carrying if order["state"] == "sold")
    if told != (coupon.limit, held, cents):
        yield f"the audit says {told} of the coupon, the orders {(coupon.limit, held, cents)}"
    for order in orders:
        visitor = int(order["order_id"].split("-")[0])
        fraction = personas[int(whole.plan.persona[visitor])].coupon_fraction
        brings = plain(draw)(whole.seed, visitor, int(Purpose.COUPON), 0) < fraction
        if order["discount_cents"] not in ({0, coupon.off_cents} if brings else {0}):
            yield f"another discount: {order}"
        if coupon.redeem == "check_then_write":
            continue
        others = [other for other in carrying if other is not order]
        own = [other for other in others if other["account"] == order["account"]]
        for bought_ns in {ns(order["reserved_s"]), ns(order["sold_s"])} - {None}:
            assert bought_ns is not None
            least = [sum(_carries_at(o, bought_ns) for o in some) for some in (others, own)]
            if order["discount_cents"] and (
                least[0] >= coupon.limit or least[1] >= coupon.per_account
            ):
                yield f"a coupon too many: {order}"
            most = [
                sum(_carries_at(o, bought_ns, is_closed=True) for o in some)
                for some in (others, own)
            ]
            is_left = most[0] < coupon.limit and most[1] < coupon.per_account
            is_new = bought_ns == ns(order["reserved_s"])
            if brings and is_new and not order["discount_cents"] and is_left:
                yield f"a coupon that nobody carries was refused: {order}"


def _refunds(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Who has asked and was granted it has the money once, when it is due, and no earlier."""
    refund = whole.scenario.shop.refund
    orders, charges = sale.orders.to_pylist(), sale.charges.to_pylist()
    asking = {order["order_id"]: order for order in orders if order["refund_asked_s"] is not None}
    if refund is None:
        if asking or sale.audit.refunds_open is not None:
            yield f"refunds that the shop does not grant: {asking}"
        return
    granted = Counter(o["sku"] for o in asking.values())
    for item in sale.audit.items:
        if item.orders_refunded != granted[item.sku]:
            yield f"{granted[item.sku]} refunds were granted, the audit says {item}"
    told = sale.visits.filter(pc.equal(sale.visits["outcome"], "refunded")).num_rows
    if told > len(asking):
        yield f"{told} visitors were granted what {len(asking)} orders were"
    for order in asking.values():
        yield from _refund(whole, refund, order, charges)


def _refund(
    whole: Whole, refund: Refund, order: dict[str, Any], charges: list[dict[str, Any]]
) -> Iterator[str]:
    """One that was granted: after the sale, with or without its units, and paid out when due."""
    if not order["sold_s"] <= order["refund_asked_s"]:
        yield f"refunded before it was paid: {order}"
    if order["returned_s"] != (order["refund_asked_s"] if refund.returns_stock else None):
        yield f"units that did not come back with the yes, or did: {order}"
    name, sold_s = order["order_id"], order["sold_s"]
    bought = [c for c in charges if c["order_id"] == name and c["captured_s"] == sold_s]
    if len(bought) != 1:
        yield f"not one charge bought it: {order} {bought}"
        return
    back_ns = ns(bought[0]["refunded_s"])
    if refund.payout == "mark_only":
        if back_ns is not None or order["state"] != "refunded":
            yield f"paid out, or not marked: {order} {bought}"
        return
    due_ns = _back_ns(whole, refund, order)
    if back_ns != (due_ns if due_ns < to_ns(whole.timetable.end_s) else None):
        yield f"the money was due at {due_ns} and is back at {back_ns}: {order}"
    if (order["state"] == "refunded") != (back_ns is not None):
        yield f"the state is not where the money is: {order} {bought}"


def _back_ns(whole: Whole, refund: Refund, order: dict[str, Any]) -> int:
    """When a refund is due: after its delay, or once no fault keeps shop and provider apart."""
    visitor, attempt = map(int, order["order_id"].split("-"))
    asked_ns = ns(order["refund_asked_s"])
    assert asked_ns is not None
    seed = whole.seed if whole.system_seed is None else whole.system_seed
    share = plain(draw)(seed, visitor, int(Purpose.REFUND_DELAY), attempt)
    book = DistributionBook()
    row = book.add(refund.delay)
    at_ns = asked_ns + to_ns(sample(book.tables(), row, share))
    kinds = ("kill_shop", "freeze", "provider_outage", "kill_provider")
    apart = [
        (round(span.begun_s * 1e9), round(span.ended_s * 1e9))
        for span in fault_spans(whole.scenario, whole.timetable)
        if span.fault.kind in kinds
    ]
    while any(begun <= at_ns < ended for begun, ended in apart):
        at_ns = max(ended for begun, ended in apart if begun <= at_ns < ended)
    return at_ns


def _carries_at(order: dict[str, Any], at_ns: int, *, is_closed: bool = False) -> bool:
    """Whether an order with a coupon carries it at a moment; is_closed: at both its ends, too."""
    reserved, released, sold = (ns(order[f"{what}_s"]) for what in ("reserved", "released", "sold"))
    assert reserved is not None
    spans = [(reserved, released)]
    if released is not None and sold is not None:
        spans.append((sold, None))  # Bought again.
    if is_closed:
        return any(a <= at_ns and (b is None or at_ns <= b) for a, b in spans)
    return any(a < at_ns and (b is None or at_ns < b) for a, b in spans)


def _stations(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """No server works longer than it is there, no queue is longer than it may be."""
    stations = {station.name: station for station in whole.scenario.service.stations}
    overloaded = sale.requests["reply"].to_pylist().count("overloaded")
    # A restart tells those, too, who are in a queue that is not full.
    restarts = any(fault.kind == "restart_database" for fault in whole.scenario.faults)
    is_full_only = whole.scenario.shop.strategy != "optimistic" and not restarts
    if is_full_only and overloaded > sum(use["refused"] for use in sale.stations):
        yield "somebody was told of a full queue that was not"
    for use in sale.stations:
        limit = stations[use["station"]].queue_limit
        if not 0 <= use["utilisation"] <= 1:
            yield f"a server worked longer than it was there: {use}"
        refused = use["refused"] and not restarts
        if use["max_queue"] > limit or (refused and use["max_queue"] != limit):
            yield f"a queue for {limit}: {use}"
