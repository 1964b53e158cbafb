"""Each detector on a sale written by hand: the failure, and the nearest thing that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from doorbuster.detectors.failures import DETECTORS
from doorbuster.detectors.sale import Finding, SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, stock_of, visits_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.records.audit import Audit, ItemAudit
from doorbuster.records.tables import CHARGES, ORDERS, REQUESTS, STOCK, VISITS
from doorbuster.scenario import Scenario

Rows = list[dict[str, Any]]


def order(name: str, reserved_s: float, **changed: Any) -> dict[str, Any]:
    """A lock of one console for five seconds."""
    return {
        "replication": 0, "order_id": name, "account": name, "sku": "console", "quantity": 1,
        "amount_cents": 49_900, "discount_cents": 0, "state": "locked", "reserved_s": reserved_s,
        "expires_s": reserved_s + 5, "released_s": None, "sold_s": None, **changed,
    }  # fmt: skip


def paid(name: str, reserved_s: float, **changed: Any) -> dict[str, Any]:
    return order(name, reserved_s, **{"state": "sold", "sold_s": reserved_s + 1, **changed})


def lapsed(name: str, reserved_s: float, **changed: Any) -> dict[str, Any]:
    return order(
        name, reserved_s, **{"state": "released", "released_s": reserved_s + 5.5, **changed}
    )


def with_coupon(
    name: str, reserved_s: float, kind: Callable[..., dict[str, Any]] = order, **changed: Any
) -> dict[str, Any]:
    """An order of some kind that costs 30 less."""
    return kind(name, reserved_s, **{"amount_cents": 46_900, "discount_cents": 3_000, **changed})


def charge(name: str, order_id: str, asked_s: float, **changed: Any) -> dict[str, Any]:
    return {
        "replication": 0, "charge_id": name, "order_id": order_id, "channel": "card",
        "amount_cents": 49_900, "state": "captured", "asked_s": asked_s,
        "decided_s": asked_s + 0.1, "captured_s": asked_s + 0.1, "refunded_s": None, **changed,
    }  # fmt: skip


def request(
    visitor: int,
    sent_s: float,
    reply: str = "sold_out",
    step: str = "reserve",
    took_s: float = 0.01,
) -> dict[str, Any]:
    return {
        "replication": 0, "visitor": visitor, "step": step, "attempt": 0, "intended_s": sent_s,
        "sent_s": sent_s, "done_s": sent_s + took_s, "status": 200, "reply": reply,
    }  # fmt: skip


def reading(at_s: float, available: int) -> dict[str, Any]:
    return {
        "replication": 0, "at_s": at_s, "sku": "console", "available": available, "locked": 0,
        "sold": 0,
    }  # fmt: skip


def shelf(available: int, sold_units: int = 0) -> Audit:
    item = ItemAudit(
        sku="console", initial_units=2, available_units=available, locked_units=0,
        sold_units=sold_units, orders_paid=sold_units, max_units_per_account=1,
    )  # fmt: skip
    return Audit(items=[item])


@pytest.fixture
def scenario(written_scenario: dict[str, Any]) -> Scenario:
    """Two consoles, locked for five seconds, swept every second; a coupon for two orders."""
    written = deepcopy(written_scenario)
    written["shop"]["items"] = [{"sku": "console", "stock": 2, "price": 499}]
    written["shop"]["coupon"] = {"limit": 2, "off": 30}
    return Scenario.model_validate(written)


def sale(
    scenario: Scenario,
    orders: Rows = [],  # noqa: B006 - never changed
    charges: Rows = [],  # noqa: B006
    requests: Rows = [],  # noqa: B006
    stock: Rows = [],  # noqa: B006
    audit: Audit | None = None,
    slack_s: float = 0.0,
    faults: tuple[FaultTime, ...] = (),
) -> SaleBooks:
    """A sale of 30 seconds; every visitor wants one console."""
    visitors = sorted({row["visitor"] for row in requests})
    visits = [
        dict.fromkeys(VISITS.names)
        | dict.fromkeys(("replication", "device", "ip", "address", "card", "account"), 0)
        | {"visitor": visitor, "persona": scenario.persona_names[0], "phase": "x", "quantity": 1}
        | {"sku": "console", "arrival_s": 0.0, "channel": "card", "outcome": "sold_out"}
        | {"price_paid_cents": 0, "request_count": 1, "failure_count": 0, "decline_count": 0}
        for visitor in visitors
    ]
    skus = scenario.skus
    return SaleBooks(
        scenario,
        orders_of(pa.Table.from_pylist(orders, ORDERS), skus=skus),
        charges_of(pa.Table.from_pylist(charges, CHARGES)),
        visits_of(
            pa.Table.from_pylist(visits, VISITS),
            personas=scenario.persona_names,
            phases=["x"],
            skus=skus,
        ),
        requests_of(pa.Table.from_pylist(requests, REQUESTS)),
        stock_of(pa.Table.from_pylist(stock, STOCK), skus=skus),
        audit,
        end_s=30.0,
        slack_s=slack_s,
        faults=faults,
    )


def rush(from_s: float, until_s: float, count: int, **changed: Any) -> Rows:
    """Pages asked for at even distances."""
    moments = np.linspace(from_s, until_s, count, endpoint=False)
    return [
        request(number, float(at_s), **{"reply": "ok", "step": "browse", **changed})
        for number, at_s in enumerate(moments)
    ]


def storm(from_s: float, until_s: float, each_s: float) -> Rows:
    """Ten new visitors a second, each asking so often within five seconds, all in vain."""
    moments = np.arange(from_s, until_s, 0.1)
    return [
        request(1000 + number, float(at_s + wait_s), "overloaded", "browse")
        for number, at_s in enumerate(moments)
        for wait_s in np.arange(0, 5, each_s)
    ]


FROZEN = {"faults": (FaultTime("freeze", 7.0, 9.0),)}
PROVIDER_KILLED = {"faults": (FaultTime("kill_provider", 4.5, 6.0),)}

THREE_LAPSED = [lapsed(str(number), 0.0, quantity=2) for number in range(3)]

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any] | None]] = [
    # failure, what the books say, the first piece of evidence (None: it is no failure)
    (
        "oversell",
        "a third order on two units",
        {"orders": [paid("a", 1), paid("b", 2), order("c", 3)]},
        {"order_id": "c", "sku": "console", "at_s": 3.0, "units_below_zero": 1},
    ),
    (
        "oversell",
        "the third order in the moment in which a unit comes back",
        {"orders": [paid("a", 1), lapsed("b", 2), paid("c", 7.5)]},
        None,
    ),
    (
        "oversell",
        "live, a release written down a moment too late",
        {"orders": [paid("a", 1), lapsed("b", 2), paid("c", 7.4)], "slack_s": 0.25},
        None,
    ),
    (
        "oversell",
        "the shelf offers what an order holds",
        {"orders": [paid("a", 1)], "audit": shelf(2)},
        {"sku": "console", "units_on_the_shelf": 2, "units_free": 1},
    ),
    (
        "stock_leak",
        "a unit that is nowhere",
        {"orders": [paid("a", 1)], "audit": shelf(0)},
        {"sku": "console", "units_free": 1, "units_on_the_shelf": 0},
    ),
    (
        "stock_leak",
        "on the shelf to the end, and nobody could have it",
        {"orders": [paid("a", 1)], "audit": shelf(1), "requests": [request(7, 20)]},
        {"sku": "console", "units_unsold": 1, "refused": 1, "visitor": 7, "sent_s": 20.0},
    ),
    (
        "stock_leak",
        "left over because nobody came",
        {"orders": [paid("a", 1)], "audit": shelf(1), "requests": [request(7, 20, "ok")]},
        None,
    ),
    (
        "stock_leak",
        "refused while the last unit was locked, which came back after it",
        {"orders": [paid("a", 1), lapsed("b", 2)], "requests": [request(7, 7.45, took_s=0.1)]},
        None,
    ),
    (
        "fragmentation",
        "refused, and the unit went to the next",
        {"orders": [paid("a", 1), paid("b", 10)], "requests": [request(7, 5)]},
        {"sku": "console", "visitor": 7, "refused_s": 5.01, "order_id": "b", "reserved_s": 10.0},
    ),
    (
        "fragmentation",
        "refused, and the unit that the next one got came back later",
        {"orders": [paid("a", 1), lapsed("b", 2), paid("c", 10)], "requests": [request(7, 5)]},
        None,
    ),
    (
        "zombie_sold_out",
        "sold out, one comes back, all are refused",
        {
            "orders": [paid("a", 1), lapsed("b", 2)],
            "requests": [request(7, 5), request(8, 9), request(9, 12)],
        },
        {
            "sku": "console",
            "sold_out_s": 2.0,
            "units_free": 1,
            "refused": 2,
            "refused_from_s": 9.0,
        },
    ),
    (
        "zombie_sold_out",
        "one comes back and is sold",
        {
            "orders": [paid("a", 1), lapsed("b", 2), paid("c", 12)],
            "requests": [request(7, 5), request(9, 12, "ok"), request(8, 13)],
        },
        None,
    ),
    (
        "paid_but_released",
        "released, then booked as paid",
        {
            "orders": [paid("a", 1, released_s=6.5, sold_s=6.8)],
            "charges": [charge("p", "a", 6)],
        },
        {
            "order_id": "a",
            "sku": "console",
            "expires_s": 6.0,
            "released_s": 6.5,
            "sold_s": 6.8,
            "captured_s": 6.1,
        },
    ),
    (
        "paid_but_released",
        "released, and the late money given back",
        {
            "orders": [lapsed("a", 1)],
            "charges": [charge("p", "a", 6, state="refunded", refunded_s=7.0)],
        },
        None,
    ),
    (
        "paid_and_lost",
        "released, and the late money kept",
        {"orders": [lapsed("a", 1)], "charges": [charge("p", "a", 6)]},
        {
            "charge_id": "p",
            "order_id": "a",
            "amount_cents": 49_900,
            "captured_s": 6.1,
            "released_s": 6.5,
        },
    ),
    (
        "paid_and_lost",
        "captured just before the books were read",
        {"orders": [order("a", 26)], "charges": [charge("p", "a", 29)]},
        None,
    ),
    (
        "double_charge",
        "two charges kept",
        {"orders": [paid("a", 1)], "charges": [charge("p", "a", 1), charge("q", "a", 2)]},
        {
            "order_id": "a",
            "charge_ids": ["p", "q"],
            "captured_s": [1.1, 2.1],
            "amount_cents": 99_800,
        },
    ),
    (
        "double_charge",
        "the second one given back, a third one declined",
        {
            "orders": [paid("a", 1)],
            "charges": [
                charge("p", "a", 1),
                charge("q", "a", 2, state="refunded", refunded_s=3.0),
                charge("r", "a", 2, state="declined", captured_s=None),
            ],
        },
        None,
    ),
    (
        "repeated_callback",
        "expired after it was paid",
        {"orders": [paid("a", 1, state="released", released_s=6.5)]},
        {"order_id": "a", "sku": "console", "sold_s": 2.0, "state": "released"},
    ),
    (
        "repeated_callback",
        "one order, two units taken",
        {"orders": [paid("a", 1)], "audit": shelf(0, sold_units=2)},
        {"sku": "console", "units_sold": 2, "units_in_paid_orders": 1},
    ),
    (
        "repeated_callback",
        "paid and refunded",
        {"orders": [paid("a", 1, state="refunded", released_s=9.0)], "audit": shelf(2)},
        None,
    ),
    (
        "stock_drift",
        "shows a unit that was locked three seconds ago",
        {"orders": [paid("a", 1)], "stock": [reading(0.5, 2), reading(4, 2)]},
        {"sku": "console", "at_s": 4.0, "shown": 2, "units_off": 1},
    ),
    (
        "stock_drift",
        "shows the level of half a second ago",
        {"orders": [paid("a", 1)], "stock": [reading(1.5, 2), reading(4, 1)]},
        None,
    ),
    (
        "limit_bypass",
        "two at once where one is allowed",
        {"orders": [paid("a", 1, account="5"), order("b", 2, account="5")]},
        {
            "account": "5",
            "sku": "console",
            "at_s": 2.0,
            "units": 2,
            "limit": 1,
            "order_ids": ["a", "b"],
        },
    ),
    (
        "limit_bypass",
        "one after the other",
        {"orders": [lapsed("a", 1, account="5"), order("b", 7, account="5")]},
        None,
    ),
    (
        "coupon_overuse",
        "three at once where two may be",
        {"orders": [with_coupon("a", 1), with_coupon("b", 2, paid), with_coupon("c", 3)]},
        {"order_id": "c", "at_s": 3.0, "redemptions": 3, "limit": 2},
    ),
    (
        "coupon_overuse",
        "one of them has lapsed before, and one is without it",
        {
            "orders": [
                with_coupon("a", 1, lapsed),
                with_coupon("b", 2, paid),
                order("c", 3),
                with_coupon("d", 6.5),
            ]
        },
        None,
    ),
    (
        "coupon_overuse",
        "two of one account where one may be",
        {
            "orders": [
                with_coupon("a", 1, paid, account="5"),
                with_coupon("b", 2, account="5"),
            ]
        },
        {
            "account": "5",
            "at_s": 2.0,
            "redemptions": 2,
            "limit": 1,
            "order_ids": ["a", "b"],
        },
    ),
    (
        "coupon_overuse",
        "two of one account, one after the other",
        {
            "orders": [
                with_coupon("a", 1, lapsed, account="5"),
                with_coupon("b", 7, account="5"),
            ]
        },
        None,
    ),
    (
        "late_release",
        "three seconds after its time",
        {"orders": [lapsed("a", 1, released_s=9.0)]},
        {
            "order_id": "a",
            "sku": "console",
            "expires_s": 6.0,
            "released_s": 9.0,
            "late_by_s": 2.0,
        },
    ),
    (
        "late_release",
        "never",
        {"orders": [order("a", 1)]},
        {
            "order_id": "a",
            "sku": "console",
            "expires_s": 6.0,
            "released_s": None,
            "late_by_s": 23.0,
        },
    ),
    (
        "late_release",
        "a payment held it, and was declined",
        {
            "orders": [lapsed("a", 1, released_s=9.0)],
            "charges": [
                charge("p", "a", 5, state="declined", captured_s=None, decided_s=8.5),
            ],
        },
        None,
    ),
    (
        "release_stampede",
        "six units at once, three times the requests, and each takes a second",
        {
            "orders": THREE_LAPSED,
            "requests": rush(0.5, 5.5, 250) + rush(5.5, 7.5, 300, took_s=1.0),
        },
        {
            "sku": "console",
            "released_s": 5.5,
            "units": 6,
            "rate_times": 3.0,
            "p95_before_s": 0.01,
            "p95_after_s": 1.0,
            "failed_share": 0.0,
        },
    ),
    (
        "release_stampede",
        "the same rush, and the shop stays quick",
        {"orders": THREE_LAPSED, "requests": rush(0.5, 5.5, 250) + rush(5.5, 7.5, 300)},
        None,
    ),
    (
        "release_stampede",
        "a shop that freezes in the middle of it",
        {
            "orders": THREE_LAPSED,
            "requests": rush(0.5, 5.5, 250) + rush(5.5, 7.5, 300, took_s=1.0),
            **FROZEN,
        },
        None,
    ),
    (
        "release_stampede",
        "as many a second as before, in a sale that is one second old",
        {
            "orders": THREE_LAPSED,
            "requests": rush(4.5, 5.5, 150) + rush(5.5, 7.5, 300, took_s=1.0),
        },
        None,
    ),
    (
        "hot_row",
        "buyers take two seconds, pages 10 ms",
        {
            "requests": rush(1, 5, 400)
            + rush(1, 5, 300, step="reserve", reply="sold_out", took_s=2.0),
        },
        {
            "sku": "console",
            "from_s": pytest.approx(1.2, abs=0.02),
            "until_s": pytest.approx(4.8, abs=0.02),
            "reserve_p99_s": 2.0,
            "browse_p99_s": 0.01,
            "requests": 300,
        },
    ),
    (
        "hot_row",
        "everything takes two seconds",
        {
            "requests": rush(1, 5, 400, took_s=2.0)
            + rush(1, 5, 300, step="reserve", reply="sold_out", took_s=2.0),
        },
        None,
    ),
    (
        "hot_row",
        "buyers who met a frozen shop take two seconds",
        {
            "requests": rush(1, 5, 400)
            + rush(1, 4, 200, step="reserve", reply="sold_out")
            + rush(7, 7.2, 100, step="reserve", reply="sold_out", took_s=2.0),
            **FROZEN,
        },
        None,
    ),
    (
        "queue_after_sell_out",
        "twelve seconds for a no that was certain",
        {"orders": [paid("a", 1), paid("b", 2)], "requests": [request(7, 3, took_s=12.0)]},
        {"sku": "console", "visitor": 7, "intended_s": 3.0, "waited_s": 12.0},
    ),
    (
        "queue_after_sell_out",
        "twelve seconds, while the last unit went",
        {"orders": [paid("a", 1), paid("b", 4)], "requests": [request(7, 3, took_s=12.0)]},
        None,
    ),
    (
        "late_release",
        "a frozen shop could not sweep",
        {"orders": [lapsed("a", 1, released_s=9.0)], **FROZEN},
        None,
    ),
    (
        "late_release",
        "live, it froze just before somebody said so, and swept a second after it could",
        {"orders": [lapsed("a", 0.9, released_s=9.9)], "slack_s": 0.25, **FROZEN},
        None,
    ),
    (
        "late_release",
        "it froze after the sweep that should have been",
        {"orders": [lapsed("a", 0.9, released_s=9.9)], **FROZEN},
        {
            "order_id": "a",
            "sku": "console",
            "expires_s": 5.9,
            "released_s": 9.9,
            "late_by_s": pytest.approx(3.0),
        },
    ),
    (
        "late_release",
        "live, the provider died before it had heard of a payment, and the shop asks two s later",
        {"orders": [lapsed("a", 1, released_s=9.4)], "slack_s": 0.25, **PROVIDER_KILLED},
        None,
    ),
    (
        "late_release",
        "live, it asks much later",
        {"orders": [lapsed("a", 1, released_s=12.0)], "slack_s": 0.25, **PROVIDER_KILLED},
        {"order_id": "a", "sku": "console", "expires_s": 6.0, "released_s": 12.0, "late_by_s": 2.5},
    ),
    (
        "late_release",
        "live, the order came after the provider was back",
        {"orders": [lapsed("a", 6, released_s=14.0)], "slack_s": 0.25, **PROVIDER_KILLED},
        {
            "order_id": "a",
            "sku": "console",
            "expires_s": 11.0,
            "released_s": 14.0,
            "late_by_s": 2.0,
        },
    ),
    (
        "late_release",
        "and not at once when it could",
        {"orders": [lapsed("a", 1, released_s=10.5)], **FROZEN},
        {"order_id": "a", "sku": "console", "expires_s": 6.0, "released_s": 10.5, "late_by_s": 1.5},
    ),
    (
        "retry_storm",
        "each asks five times, all in vain, ten seconds on end",
        {"requests": rush(2, 7, 50) + storm(7, 29, 1.0), **FROZEN},
        {
            "fault": "freeze",
            "ended_s": 9.0,
            "from_s": 14.0,
            "until_s": 24.0,
            "load_times": pytest.approx(5, abs=0.1),
            "answered_before": 1.0,
            "answered_after": 0.0,
        },
    ),
    (
        "retry_storm",
        "for five seconds, then all is well",
        {"requests": rush(2, 7, 50) + storm(7, 14, 1.0) + rush(14, 29, 150), **FROZEN},
        None,
    ),
    (
        "retry_storm",
        "nobody is answered, and nobody asks again",
        {"requests": rush(2, 7, 50) + storm(7, 29, 5.0), **FROZEN},
        None,
    ),
    (
        "retry_storm",
        "five times as many as before the fault",
        {"requests": rush(2, 7, 50) + rush(7, 29, 1100, reply="overloaded"), **FROZEN},
        None,
    ),
]


@pytest.mark.parametrize(
    ("failure", "books", "evidence"),
    [(failure, books, evidence) for failure, _, books, evidence in CASES],
    ids=[f"{failure}: {words}" for failure, words, _, _ in CASES],
)
def test_a_detector_tells_the_failure_from_its_neighbour(
    scenario: Scenario,
    failure: str,
    books: dict[str, Any],
    evidence: Mapping[str, Any] | None,
) -> None:
    found = DETECTORS[failure](sale(scenario, **books))
    if evidence is None:
        assert found.count == 0, found.evidence
    else:
        assert found.evidence, found
        assert dict(found.evidence[0]) == evidence


def test_every_failure_has_a_case_and_a_neighbour() -> None:
    for failure in DETECTORS:
        assert {evidence is None for name, _, _, evidence in CASES if name == failure} == {
            True,
            False,
        }


def test_a_good_sale_has_no_findings(scenario: Scenario) -> None:
    """Sold, lapsed, sold again, refused, declined, given back: everything that may happen."""
    books = sale(
        scenario,
        orders=[paid("a", 1), lapsed("b", 2), paid("c", 8)],
        charges=[
            charge("p", "a", 1.5),
            charge("q", "c", 8.2, state="declined", captured_s=None),
            charge("r", "c", 8.6),
            charge("s", "b", 7, state="refunded", refunded_s=7.6),
        ],
        requests=[request(1, 1, "ok"), request(2, 3), request(3, 8, "ok"), request(4, 9)],
        stock=[reading(0, 2), reading(1.5, 1), reading(5, 0), reading(7.6, 1), reading(9, 0)],
        audit=shelf(0, sold_units=2),
    )
    assert {name: detect(books) for name, detect in DETECTORS.items() if detect(books).count} == {}


def test_many_offences_are_counted_and_the_first_kept(scenario: Scenario) -> None:
    found: Finding = DETECTORS["oversell"](
        sale(scenario, orders=[paid(str(number), number) for number in range(40)])
    )
    assert (found.count, len(found.evidence)) == (38, 20)


def test_free_units_by_brute_force(scenario: Scenario) -> None:
    """Levels within windows against a count of the orders at every moment of a fine grid."""
    random = np.random.default_rng(4)
    rows: Rows = []
    for number in range(60):
        reserved_s = int(random.integers(0, 160)) / 8 + 1 / 16  # Exact, and between the grid's.
        kind = random.integers(3)
        make = (order, paid, lapsed)[kind]
        rows.append(make(str(number), reserved_s, quantity=int(random.integers(1, 4))))
    books = sale(scenario, orders=rows)
    free = FreeUnits.of(books.orders, 0, 100)
    grid = np.arange(0, 240) / 8

    def level(at_s: float) -> int:
        held = 0
        for row in rows:
            began = row["reserved_s"] <= at_s
            ended = row["released_s"] is not None and row["released_s"] <= at_s
            held += row["quantity"] * (began and not ended)
        return 100 - held

    levels = np.array([level(at_s) for at_s in grid])
    for _ in range(200):
        low, high = sorted(random.integers(0, len(grid), 2))
        window = levels[low : high + 1]
        at = (np.array([grid[low]]), np.array([grid[high]]))
        assert free.lowest_within(*at)[0] == window.min()
        assert free.highest_within(*at)[0] == window.max()


# --- late payments ---


def with_policy(scenario: Scenario, policy: str) -> Scenario:
    shop = scenario.shop.model_copy(update={"late_payment": policy})
    return scenario.model_copy(update={"shop": shop})


@pytest.mark.parametrize("policy", ["hold", "recheck_stock"])
@pytest.mark.parametrize("taken", [False, True])
def test_an_order_bought_again(scenario: Scenario, policy: str, taken: bool) -> None:
    """Released at 6.5 s, paid at 8 s: right where the shop rechecks and a unit is free."""
    bought = lapsed("late", 1, state="sold", sold_s=8.0)
    others = [paid("other", 7.0), paid("another", 7.2)] if taken else [paid("other", 7.0)]
    books = sale(with_policy(scenario, policy), [bought, *others])
    count = 0 if policy == "recheck_stock" and not taken else 1
    assert DETECTORS["paid_but_released"](books).count == count
    assert DETECTORS["oversell"](books).count == int(taken)
    assert DETECTORS["repeated_callback"](books).count == 0


def test_an_order_released_after_its_payment_was_not_bought_again(scenario: Scenario) -> None:
    books = sale(with_policy(scenario, "recheck_stock"), [paid("sold", 1, released_s=6.5)])
    assert DETECTORS["paid_but_released"](books).count == 1


@pytest.mark.parametrize(
    ("policy", "count"),
    [("hold", 0), ("query_before_cancel", 0), ("refund", 1), ("recheck_stock", 1)],
)
def test_what_excuses_a_late_release(scenario: Scenario, policy: str, count: int) -> None:
    """Lapsed at 6 s, released at 12, its payment declined at 11.5."""
    order_ = lapsed("late", 1, released_s=12.0)
    asked = charge("c", "late", 5, state="declined", decided_s=11.5, captured_s=None)
    books = sale(with_policy(scenario, policy), [order_], [asked])
    assert DETECTORS["late_release"](books).count == count


# --- where payments lock ---


def locking_late(scenario: Scenario) -> Scenario:
    shop = scenario.shop.model_copy(update={"lock_point": "payment"})
    return scenario.model_copy(update={"shop": shop})


def declined(name: str, order_id: str, asked_s: float, decided_s: float) -> dict[str, Any]:
    return charge(name, order_id, asked_s, state="declined", decided_s=decided_s, captured_s=None)


def found(books: SaleBooks) -> dict[str, int]:
    counts = {name: detect(books).count for name, detect in DETECTORS.items()}
    return {name: count for name, count in counts.items() if count}


def test_open_orders_hold_nothing(scenario: Scenario) -> None:
    """Twenty orders for two consoles: two are paid, two were declined, and one lapses unpaid."""
    orders = [order(str(n), 1 + n / 10, state="open", expires_s=60) for n in range(20)]
    orders[0] |= {"state": "sold", "sold_s": 5.1}
    orders[1] |= {"state": "sold", "sold_s": 7.1}
    orders[4] |= {"state": "released", "expires_s": 6.4, "released_s": 7.0}
    charges = [
        charge("a", "0", 5.0),
        declined("b", "2", 5.0, 6.0),
        declined("c", "3", 6.0, 7.0),
        charge("d", "1", 7.0),
    ]
    good: dict[str, Any] = {
        "stock": [reading(4, 2), reading(5.5, 0), reading(6.5, 0), reading(9, 0)],
        "requests": [request(1, 5.5), request(2, 1.05, "ok"), request(3, 8)],
        "audit": shelf(0, sold_units=2),
    }
    assert found(sale(locking_late(scenario), orders, charges, **good)) == {}
    # The same books of a shop that locks at the order tell of eighteen orders too many, at least.
    assert found(sale(scenario, orders, charges, **good))["oversell"] >= 18


def test_payments_for_units_that_are_not_there(scenario: Scenario) -> None:
    """The third captured charge is one too many; a second one for one order is another matter."""
    late = locking_late(scenario)
    orders = [paid(name, 1, sold_s=5.1 + n, expires_s=60) for n, name in enumerate("abc")]
    charges = [charge(name, name, 5.0 + n) for n, name in enumerate("abc")]
    oversell = DETECTORS["oversell"](sale(late, orders, charges))
    assert [offence.get("order_id") for offence in oversell.evidence] == ["c"]
    twice = [*charges[:2], charge("again", "b", 8.0)]
    assert found(sale(late, orders[:2], twice, audit=shelf(0, sold_units=2))) == {
        "double_charge": 1
    }
    # Without a charge in the provider's book, a sale speaks for itself.
    assert DETECTORS["oversell"](sale(late, orders)).count == 1


def test_what_payments_hold_in_a_fault_is_not_known(scenario: Scenario) -> None:
    """A locked order without a charge: lost units, unless the provider was dead at that time."""
    late, orders = locking_late(scenario), [order("a", 1, expires_s=60)]
    books: dict[str, Any] = {"orders": orders, "stock": [reading(4, 1), reading(20, 1)]}
    books["audit"] = shelf(1)
    assert DETECTORS["stock_drift"](sale(late, **books)).count == 2
    dead = (FaultTime("kill_provider", 3.0, 30.0),)
    assert found(sale(late, **books, faults=dead)) == {}
    assert DETECTORS["stock_leak"](sale(late, **{**books, "audit": shelf(0)})).count == 1


def test_the_shop_may_hear_late_of_a_decline(scenario: Scenario) -> None:
    """Live only: 2.5 seconds long the unit may still be locked."""
    late, orders = locking_late(scenario), [order("a", 1, state="open", expires_s=60)]
    charges = [declined("c", "a", 5.0, 6.0)]
    for at_s, live_count in ((8.0, 0), (10.0, 1)):
        books: dict[str, Any] = {"stock": [reading(at_s, 1)], "audit": shelf(2)}
        drift = DETECTORS["stock_drift"]
        assert drift(sale(late, orders, charges, **books)).count == 1
        assert drift(sale(late, orders, charges, **books, slack_s=0.25)).count == live_count


def test_no_stampede_for_units_that_nobody_held(scenario: Scenario) -> None:
    """Twenty orders lapse at one sweep: of a shop that locks late, no unit comes back."""
    orders = [lapsed(str(n), 1) for n in range(20)]
    rush = [request(n, 6.5 + n / 100, took_s=3.0) for n in range(150)]
    calm = [request(n + 200, 2 + n / 20) for n in range(80)]
    at_order, at_payment = (
        DETECTORS["release_stampede"](sale(kind, orders, requests=[*calm, *rush]))
        for kind in (scenario, locking_late(scenario))
    )
    assert (at_order.count, at_payment.count, at_payment.applies) == (1, 0, False)
