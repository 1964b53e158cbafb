"""Orders that are split by warehouse in the reference shop: on every store, and when it dies."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from tests.shop_stores import CORRECT, LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on
from tests.test_provider_shop import Buyer, shop_with, until
from tests.test_shop_store import REFUSED, on_file

from doorbuster.rules.shipments import split
from doorbuster_shop.running import RunningShop
from doorbuster_shop.store import shipments
from doorbuster_shop.store.reservations import Reservation, Wish
from doorbuster_shop.store.session import DatabaseError
from doorbuster_shop.terms import ItemTerms, RefundTerms, terms_from_json, terms_to_json

Variant = tuple[str, str]
A = ItemTerms("a", 700, 9, 5, (), (("east", 2), ("west", 3)))
B = ItemTerms("b", 500, 9, 5, (), (("west", 4), ("east", 1)))
SET = ItemTerms("set", 1_500, 9, 0, (("a", 1), ("b", 2)))
SALE = replace(TERMS, items=(A,))
SETS = replace(TERMS, items=(SET, A, B))
BACK_S = OPENS_S + 50


def sold(shop: Kept, key: str, *, sku: str = "a", quantity: int = 1, at_s: float) -> Reservation:
    """A paid order."""
    order = shop.reserve(Wish(key, sku, key, quantity), at_s, LOCK_S)
    assert isinstance(order, Reservation), order
    shop.settle_captured(shop.begun(order, key=f"p {key}", at_s=at_s).id, f"ch {key}", at_s)
    return order


def dispatch(shop: Kept, at_s: float = OPENS_S + 10) -> int:
    count: int = shop.dispatch_all(lambda: at_s)
    return count


def sent(shop: Kept) -> list[tuple[Any, ...]]:
    """Order's key, item, warehouse, units, and seconds of sending and return."""
    keys = {order.order_id: order.account for order in shop.read_orders()}
    return [(keys[row.order_id], *row[1:]) for row in shop.read_shipments()]


def left(shop: Kept) -> dict[tuple[str, str], int]:
    return {(level.sku, level.warehouse): level.available for level in shop.read_warehouses()}


def assert_it_adds_up(shop: Kept) -> None:
    """What is away from a warehouse is what it has sent, and every order's parts are its lines."""
    away: Counter[tuple[str, str]] = Counter()
    parts: Counter[tuple[str, str]] = Counter()
    for row in shop.read_shipments():
        parts[row.order_id, row.sku] += row.units
        away[row.sku, row.warehouse] += row.units * (row.returned_s is None)
    for level in shop.read_warehouses():
        assert level.available == level.initial - away[level.sku, level.warehouse] >= 0
    lines = {item.sku: dict(item.lines) or {item.sku: 1} for item in (SET, A, B)}
    orders = {order.order_id: order for order in shop.read_orders()}
    whole = {
        (name, sku): units * orders[name].quantity
        for name in {order for order, _ in parts}
        for sku, units in lines[orders[name].sku].items()
    }
    assert parts == whole


@pytest.mark.requirement("A069")
@pytest.mark.parametrize("kept", on(CORRECT))
def test_paid_orders_are_split_oldest_first(kept: Variant, request: pytest.FixtureRequest) -> None:
    """2 units in the east, 3 in the west, as in the simulated sale by hand; once is once."""
    with kept_store(*kept, request, SALE) as shop:
        for second, quantity in enumerate((1, 2, 2)):
            sold(shop, f"k{second}", quantity=quantity, at_s=OPENS_S + second)
        assert shop.read_shipments() == []
        assert dispatch(shop) == 3
        assert sorted(sent(shop), key=str) == [
            ("k0", "a", "east", 1, 10.0, None),
            ("k1", "a", "west", 2, 10.0, None),
            ("k2", "a", "east", 1, 10.0, None),
            ("k2", "a", "west", 1, 10.0, None),
        ]
        assert left(shop) == {("a", "east"): 0, ("a", "west"): 0}
        assert dispatch(shop, OPENS_S + 20) == 0
        assert len(sent(shop)) == 4
        assert_it_adds_up(shop)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_what_is_not_paid_is_not_sent(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Locked, cancelled, released and declined orders stand in no line."""
    with kept_store(*kept, request, SALE) as shop:
        locked = shop.reserved(key="locked", account="a", sku="a")
        gone = shop.reserved(key="gone", account="b", sku="a")
        shop.cancel(gone.id, OPENS_S)
        declined = shop.begun(shop.reserved(key="declined", account="c", sku="a"), key="pd")
        shop.settle_declined(declined.id, "ch", OPENS_S)
        assert dispatch(shop) == 0
        assert shop.read_shipments() == []
        shop.settle_captured(shop.begun(locked).id, "ch", OPENS_S)
        assert dispatch(shop) == 1


REFUND = RefundTerms((5.0,))


@pytest.mark.parametrize("kept", on(CORRECT))
def test_units_go_back_to_where_they_were_taken_from(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """A set from both warehouses comes back to both; one that was not split leaves the line."""
    terms = replace(SETS if kept[1] != "buckets" else replace(TERMS, items=(A, B)), refund=REFUND)
    with kept_store(*kept, request, terms) as shop:
        sku = "set" if kept[1] != "buckets" else "a"
        orders = [sold(shop, f"k{n}", sku=sku, at_s=OPENS_S + n) for n in range(2)]
        before = left(shop)
        assert dispatch(shop) == 2
        later = sold(shop, "later", sku="a", at_s=OPENS_S + 20)
        for order in (*orders, later):
            shop.refund(order.id, BACK_S)
        assert left(shop) == before
        assert {row[-1] for row in sent(shop)} == {BACK_S - OPENS_S}
        assert {row[0] for row in sent(shop)} == {"k0", "k1"}
        assert dispatch(shop, BACK_S + 1) == 0
        assert_it_adds_up(shop)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_goods_that_were_sent_do_not_come_back(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """With `returns_stock: false` an order is sent, too, that was refunded a moment before."""
    terms = replace(SALE, refund=replace(REFUND, returns_stock=False))
    with kept_store(*kept, request, terms) as shop:
        order = sold(shop, "k", at_s=OPENS_S)
        shop.refund(order.id, OPENS_S + 1)
        assert dispatch(shop) == 1
        assert sent(shop) == [("k", "a", "east", 1, 10.0, None)]


@pytest.mark.parametrize("kept", on(("conditional_update", "row_lock", "optimistic")))
def test_a_set_is_sent_whole_if_a_warehouse_has_it_whole(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """One a and two b: the west has two of these sets, then both warehouses are needed."""
    with kept_store(*kept, request, SETS) as shop:
        for number in range(2):
            sold(shop, f"k{number}", sku="set", at_s=OPENS_S + number)
        dispatch(shop)
        sold(shop, "a", sku="a", quantity=3, at_s=OPENS_S + 20)
        dispatch(shop, OPENS_S + 30)
        assert Counter(row[:4] for row in sent(shop)) == Counter(
            [
                *(("k0", "a", "west", 1), ("k0", "b", "west", 2)),
                *(("k1", "a", "west", 1), ("k1", "b", "west", 2)),
                *(("a", "a", "east", 2), ("a", "a", "west", 1)),
            ]
        )
        assert_it_adds_up(shop)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_many_dispatchers_split_each_order_once(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Eight at once and refunds in between, in transactions that last: no deadlock.

    Every order is split once or given back, and every unit is somewhere.
    """
    many = [
        replace(item, initial_units=60, warehouses=(("east", 25), ("west", 35))) for item in (A, B)
    ]
    terms = replace(SETS, items=(SET, *many), refund=REFUND)
    with kept_store(*kept, request, terms) as shop:
        orders = [
            sold(shop, f"k{n}", sku=("set", "a", "b")[n % 3], at_s=OPENS_S + n) for n in range(42)
        ]
        shop.store.extra_s = 0.005 if kept[0] == "postgresql" else 0.0
        calls: list[Coroutine[Any, Any, Any]] = [
            shop.store.dispatch_all(lambda: OPENS_S + 99) for _ in range(8)
        ]
        calls += [shop.store.refund(order.id, OPENS_S + 99) for order in orders[::4]]
        told = at_once(shop, calls)
        dispatch(shop, OPENS_S + 99)
        assert_it_adds_up(shop)
        split = {row[0] for row in sent(shop)}
        kept_orders = {f"k{n}" for n in range(42) if n % 4}
        assert kept_orders <= split
        assert sum(answer for answer in told if isinstance(answer, int)) >= len(kept_orders) - 9
        back = {row[0] for row in sent(shop) if row[-1] is not None}
        assert back == split - kept_orders
        levels = {level.sku: level.available for level in shop.read_levels()}
        for sku in ("a", "b"):
            assert levels[sku] == sum(
                units for (item, _), units in left(shop).items() if item == sku
            )


@pytest.mark.parametrize("kept", on(("check_then_write",)))
def test_an_order_that_nobody_can_fill_waits_and_lets_others_pass(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Oversold: three units are paid for of two. The pair came first and gets one parcel."""
    one = replace(A, initial_units=9, warehouses=(("east", 1), ("west", 1)))
    with kept_store(*kept, request, replace(SALE, items=(one,))) as shop:
        sold(shop, "k0", quantity=2, at_s=OPENS_S)
        sold(shop, "k1", quantity=3, at_s=OPENS_S + 1)
        assert dispatch(shop) == 1
        assert {row[0] for row in sent(shop)} == {"k0"}
        assert dispatch(shop, OPENS_S + 20) == 0
        assert_it_adds_up(shop)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_the_line_is_longer_than_a_batch(
    kept: Variant, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of two; what cannot be sent at the head of the line keeps nobody back."""
    monkeypatch.setattr(shipments, "DISPATCH_BATCH_MAX", 2)
    few = replace(A, initial_units=20, warehouses=(("east", 3),))
    with kept_store(*kept, request, replace(SALE, items=(few,))) as shop:
        for number, quantity in enumerate((4, 4, 1, 1, 1)):
            sold(shop, f"k{number}", quantity=quantity, at_s=OPENS_S + number)
        assert dispatch(shop) == 3
        assert [row[0] for row in sorted(sent(shop))] == ["k2", "k3", "k4"]


@pytest.mark.requirement("A069")
@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_the_database_refuses_a_negative_warehouse(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Whatever the code does; nor does it write two shipments of one line from one warehouse."""
    with kept_store(*kept, request, SALE) as shop:
        for change in ("available_units - 4", "available_units + 1"):
            with pytest.raises(REFUSED, match=r"(?i)check"):
                shop.sql(f"UPDATE warehouses SET available_units = {change}")
        order = sold(shop, "k", at_s=OPENS_S)
        dispatch(shop)
        row = (order.id, "a", "east", 1, OPENS_S, None)
        with pytest.raises(REFUSED, match=r"(?i)unique"):
            shop.sql("INSERT INTO shipments VALUES (?, ?, ?, ?, ?, ?)", row)
        shop.sql("INSERT INTO unsent VALUES (?, 0, 0)", (order.id,))
        with pytest.raises(REFUSED, match=r"(?i)unique"):
            shop.sql("INSERT INTO unsent VALUES (?, 0, 0)", (order.id,))


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_an_order_is_split_with_its_row_or_not_at_all(
    kept: Variant, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispatcher that breaks off between two parcels has sent nothing; the next sends all."""
    with kept_store(*kept, request, SALE) as shop:
        sold(shop, "k", quantity=5, at_s=OPENS_S)

        class BrokenOffError(Exception):
            pass

        def break_off(*about: Any) -> Any:
            for part in split(*about) or ():
                yield part
                raise BrokenOffError

        with monkeypatch.context() as patch:
            patch.setattr(shipments, "split", break_off)
            with pytest.raises(BrokenOffError):
                dispatch(shop)
        assert sent(shop) == []
        assert left(shop) == {("a", "east"): 2, ("a", "west"): 3}
        assert dispatch(shop) == 1
        assert_it_adds_up(shop)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_new_sale_has_full_warehouses(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Sent and unsent orders of the last one are forgotten."""
    with kept_store(*kept, request, SALE) as shop:
        sold(shop, "k0", at_s=OPENS_S)
        dispatch(shop)
        sold(shop, "k1", at_s=OPENS_S)
        shop.begin_sale(SALE, OPENS_S)
        assert left(shop) == {("a", "east"): 2, ("a", "west"): 3}
        assert (sent(shop), dispatch(shop)) == ([], 0)


def test_the_warehouses_reach_the_shop_and_its_file(tmp_path: Path) -> None:
    """As JSON to its process; a file is resumed, and one with others is another sale."""
    assert terms_from_json(terms_to_json(SETS)) == SETS
    path = tmp_path / "shop.db"
    on_file(path, SALE)
    on_file(path, SALE)
    for other in ((("west", 3), ("east", 2)), (("east", 1), ("west", 4)), ()):
        with pytest.raises(DatabaseError, match="other warehouses"):
            on_file(path, replace(SALE, items=(replace(A, warehouses=other),)))


# --- over HTTP


WAREHOUSES = {"east": 8, "west": 12}


@pytest.fixture
def terms() -> dict[str, Any]:
    item = {"sku": "console", "price": 499, "per_account_limit": 3, "warehouses": WAREHOUSES}
    return {"items": [item], "refund": {"delay": "0s"}}


def shipments_of(buyer: Buyer) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = buyer.ask("/admin/shipments")["shipments"]
    return rows


def assert_all_is_sent(buyer: Buyer, orders: list[str]) -> None:
    until(lambda: {row["order_id"] for row in shipments_of(buyer)} >= set(orders), "the parcels")
    rows = shipments_of(buyer)
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["order_id"]] += row["units"]
    assert sums == dict.fromkeys(orders, 1)
    away: Counter[str] = Counter()
    for row in rows:
        away[row["warehouse"]] += row["units"]
    for level in buyer.ask("/admin/shipments")["warehouses"]:
        assert level["initial"] == WAREHOUSES[level["warehouse"]]
        assert level["available"] == level["initial"] - away[level["warehouse"]] >= 0


def assert_it_is_documented(buyer: Buyer) -> None:
    """The answer has the shape that the contract promises."""
    document = buyer.http.get("/openapi.json").json()
    replies = document["paths"]["/admin/shipments"]["get"]["responses"]
    schema = replies["200"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole).validate(buyer.ask("/admin/shipments"))


@pytest.mark.live
def test_the_dispatcher_sends_what_is_paid(tmp_path: Path, terms: dict[str, Any]) -> None:
    """Within a second, without being asked; a refund puts the unit back; a reset forgets all."""
    with shop_with(tmp_path, {}, terms=terms) as (running, buyer):
        assert httpx.get(f"{running.url}/admin/shipments").status_code == 401
        orders = [buyer.reserve(account) for account in range(1, 11)]
        for order in orders:
            assert buyer.pay(order).status_code == 200
        paid_s = time.monotonic()
        assert_all_is_sent(buyer, orders)
        assert_it_is_documented(buyer)
        assert time.monotonic() - paid_s < 3
        assert Counter(row["warehouse"] for row in shipments_of(buyer)) == {"east": 8, "west": 2}
        back = next(row for row in shipments_of(buyer) if row["warehouse"] == "east")
        buyer.http.post(f"/reservations/{back['order_id']}/refund")
        [row] = [row for row in shipments_of(buyer) if row["returned_s"] is not None]
        assert row["order_id"] == back["order_id"]
        [order] = [
            order
            for order in buyer.ask("/admin/orders")["orders"]
            if order["order_id"] == back["order_id"]
        ]
        assert row["returned_s"] == order["returned_s"]
        until(lambda: buyer.ask("/admin/audit")["refunds_open"] == 0, "the money")
        buyer.begin()
        assert shipments_of(buyer) == []


def kill(running: RunningShop) -> None:
    os.kill(running.shop_pid, signal.SIGKILL)
    running.restart_shop()


@pytest.mark.live
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.2, 0.26])
def test_a_shop_that_dies_splits_each_order_once(
    tmp_path: Path, terms: dict[str, Any], after_s: float
) -> None:
    """kill -9 while the dispatcher is at work or about to be: what was paid is sent, once."""
    with shop_with(tmp_path, {}, terms=terms) as (running, buyer):
        orders = [buyer.reserve(account) for account in range(1, 13)]
        for order in orders[:6]:
            assert buyer.pay(order).status_code == 200
        time.sleep(after_s)
        kill(running)
        again = Buyer(running)
        with again.http:
            for order in orders[6:]:
                assert again.pay(order).status_code == 200
            assert_all_is_sent(again, orders)


@pytest.mark.live
def test_several_workers_split_each_order_once(tmp_path: Path, terms: dict[str, Any]) -> None:
    """Three processes look through one line."""
    with shop_with(tmp_path, {}, terms=terms, worker_count=3) as (_, buyer):
        orders = [buyer.reserve(account) for account in range(1, 16)]
        for order in orders:
            assert buyer.pay(order).status_code == 200
        assert_all_is_sent(buyer, orders)
        time.sleep(0.6)  # Two rounds more of each.
        assert_all_is_sent(buyer, orders)
