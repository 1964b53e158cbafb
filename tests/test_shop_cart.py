"""Units that are locked by putting them into a cart, in the reference shop, on every store."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.shop_stores import CORRECT, LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on
from tests.test_provider_shop import Buyer, shop_with, until

from doorbuster import exit_codes
from doorbuster.plan import build_plan
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.bundles import WITHOUT_BUNDLES
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.launch import LiveOptions, run_live
from doorbuster_shop.running import running_shop
from doorbuster_shop.store.payments import Offer
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.terms import ItemTerms, RefundTerms, terms_from_json, terms_to_json
from doorbuster_sim import simulate_sale

Variant = tuple[str, str]
SALE = Path(__file__).parents[1] / "scenarios" / "cart-hoarding.yaml"
CART = replace(TERMS, lock_point="cart")
UNITS = 40
RUSH = replace(CART, items=(ItemTerms("console", 700, 2, UNITS),))
CAN_BUNDLE = tuple(name for name in CORRECT if name not in WITHOUT_BUNDLES)


def levels(shop: Kept) -> tuple[int, int, int]:
    """Available, locked and sold units of the console, as its row and its orders both have it."""
    level = next(level for level in shop.read_levels() if level.sku == "console")
    line = next(line for line in shop.audit(OPENS_S, 1.0, []).items if line.sku == "console")
    found = (level.available, level.locked, level.sold)
    assert (line.available_units, line.locked_units, line.sold_units) == found
    return found


def cart_of(shop: Kept, key: str = "k", account: str = "a", at_s: float = OPENS_S) -> Reservation:
    cart = shop.fill_cart(Wish(key, "console", account, 1), at_s, LOCK_S)
    assert isinstance(cart, Reservation), cart
    return cart


def pay(shop: Kept, order: str, key: str = "p", at_s: float = OPENS_S) -> Any:
    return shop.begin_payment(Offer(key, order, "card", "m"), at_s)


@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_cart_becomes_an_order(kept: Variant, request: pytest.FixtureRequest) -> None:
    """The cart takes the units; the order moves none and keeps the end of the lock."""
    with kept_store(*kept, request, CART) as shop:
        cart = cart_of(shop)
        assert (cart.state, levels(shop)) == ("cart", (4, 1, 0))
        assert cart_of(shop) == cart
        assert pay(shop, cart.id) is Refusal.NOT_ORDERED
        assert shop.refund(cart.id, OPENS_S) is Refusal.NO_REFUNDS
        order = shop.order_cart(cart.id, OPENS_S + 3)
        assert order == cart._replace(state="locked")
        assert shop.order_cart(cart.id, OPENS_S + LOCK_S + 1) == order
        assert levels(shop) == (4, 1, 0)
        payment = shop.begun(order)
        shop.settle_captured(payment.id, "ch", OPENS_S + 5)
        assert levels(shop) == (4, 0, 1)
        assert shop.order_cart(cart.id, OPENS_S + 6).state == "sold"


@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_cart_lapses(kept: Variant, request: pytest.FixtureRequest) -> None:
    """From its time on it cannot be ordered; the sweep gives its units back, and once."""
    with kept_store(*kept, request, CART) as shop:
        left, ordered = cart_of(shop), cart_of(shop, "k1", "b")
        shop.order_cart(ordered.id, OPENS_S + 9.9)
        assert shop.order_cart(left.id, OPENS_S + LOCK_S) is Refusal.RESERVATION_EXPIRED
        assert shop.release_lapsed(OPENS_S + LOCK_S - 0.1) == 0
        assert levels(shop) == (3, 2, 0)
        lapsed = [line.lapsed_locks for line in shop.audit(OPENS_S + LOCK_S + 2, 1.0, []).items]
        assert lapsed == [2, 0]
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 2
        shop.end_sweep(OPENS_S + LOCK_S)
        assert levels(shop) == (5, 0, 0)
        for cart in (left, ordered):
            assert shop.order_cart(cart.id, OPENS_S + LOCK_S) is Refusal.RESERVATION_EXPIRED
        assert [o.state for o in shop.read_orders()] == ["released", "released"]
        # The shelf is as it was: each of five accounts can have one.
        for number in range(5):
            cart_of(shop, f"again {number}", f"c{number}", OPENS_S + LOCK_S)
        gone = shop.fill_cart(Wish("k9", "console", "d", 1), OPENS_S + LOCK_S, LOCK_S)
        assert gone is Refusal.SOLD_OUT


@pytest.mark.parametrize("kept", on(CORRECT))
def test_carts_count_for_the_limit(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Two units an account; an emptied cart no longer counts, and cannot be ordered."""
    with kept_store(*kept, request, CART) as shop:
        first, _second = cart_of(shop), cart_of(shop, "k1")
        over = shop.fill_cart(Wish("k2", "console", "a", 1), OPENS_S, LOCK_S)
        assert over is Refusal.LIMIT_REACHED
        assert shop.audit(OPENS_S, 1.0, []).items[0].max_units_per_account == 2
        assert shop.withdraw(first.id, OPENS_S) is None
        assert shop.order_cart(first.id, OPENS_S) is Refusal.RESERVATION_EXPIRED
        assert levels(shop) == (4, 1, 0)
        cart_of(shop, "k3")
        assert shop.fill_cart(Wish("k", "console", "a", 2), OPENS_S, LOCK_S) is Refusal.KEY_REUSED
        assert shop.fill_cart(Wish("x", "none", "a", 1), OPENS_S, LOCK_S) is Refusal.UNKNOWN_ITEM
        early = shop.fill_cart(Wish("e", "console", "e", 1), OPENS_S - 1, LOCK_S)
        assert early is Refusal.NOT_OPEN
        assert shop.order_cart("nobody's", OPENS_S) is Refusal.UNKNOWN_RESERVATION


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_shop_has_carts_or_none(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Where carts lock, nobody reserves past them; elsewhere nothing is put into one."""
    wish = Wish("k", "console", "a", 1)
    with kept_store(*kept, request, CART) as shop:
        assert shop.reserve(wish, OPENS_S, LOCK_S) is Refusal.NEEDS_CART
    for point in ("order", "payment"):
        with kept_store(*kept, request, replace(TERMS, lock_point=point)) as shop:
            assert shop.fill_cart(wish, OPENS_S, LOCK_S) is Refusal.NO_CARTS
            assert levels(shop) == (5, 0, 0)


@pytest.mark.parametrize("kept", on(("conditional_update", "buckets")))
def test_an_ordered_cart_is_refunded(kept: Variant, request: pytest.FixtureRequest) -> None:
    """As any order: its units come back to the row that they came from."""
    terms = replace(CART, refund=RefundTerms((0.0,)))
    with kept_store(*kept, request, terms) as shop:
        cart = cart_of(shop)
        assert shop.refund(cart.id, OPENS_S) is Refusal.NOT_PAID
        shop.order_cart(cart.id, OPENS_S)
        shop.settle_captured(pay(shop, cart.id).id, "ch", OPENS_S)
        granted = shop.refund(cart.id, OPENS_S + 1)
        shop.settle_refunded(granted.payment.id)
        assert (levels(shop), shop.read_reservation(cart.id).state) == ((5, 0, 0), "refunded")


@pytest.mark.parametrize("kept", on(CAN_BUNDLE))
def test_a_bundle_in_a_cart(kept: Variant, request: pytest.FixtureRequest) -> None:
    """All of its lines or none, until the sweep gives all of them back."""
    lines = (("console", 1), ("game", 2))
    items = (
        ItemTerms("console", 700, 2, 5),
        ItemTerms("game", 60, 2, 3),
        ItemTerms("set", 800, 2, 0, lines),
    )
    with kept_store(*kept, request, replace(CART, items=items)) as shop:
        cart = shop.fill_cart(Wish("k", "set", "a", 1), OPENS_S, LOCK_S)
        assert isinstance(cart, Reservation)
        second = shop.fill_cart(Wish("k1", "set", "b", 1), OPENS_S, LOCK_S)
        assert second is Refusal.SOLD_OUT
        assert [(x.available, x.locked) for x in shop.read_levels()] == [(4, 1), (1, 2)]
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 1
        assert [(x.available, x.locked) for x in shop.read_levels()] == [(5, 0), (3, 0)]


@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_rush_on_the_carts(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Twice as many as there are units, all at once: each unit is in one cart, none in two."""
    with kept_store(*kept, request, RUSH) as shop:
        wishes = [Wish(f"k{n}", "console", f"a{n}", 1) for n in range(2 * UNITS)]
        told = at_once(shop, [shop.store.fill_cart(w, OPENS_S, LOCK_S) for w in wishes])
        carts = [got for got in told if isinstance(got, Reservation)]
        counts = Counter(got for got in told if isinstance(got, Refusal))
        assert set(counts) <= {Refusal.SOLD_OUT, Refusal.OVERLOADED}
        assert levels(shop) == (UNITS - len(carts), len(carts), 0)
        if kept[1] != "optimistic":
            assert len(carts) == UNITS
        # The order and the sweep meet: each cart is ordered or released, never both.
        end_s = OPENS_S + LOCK_S
        orders = [shop.store.order_cart(cart.id, end_s - 0.1) for cart in carts]
        at_once(shop, [*orders, shop.store.release_lapsed(end_s)])
        states = Counter(order.state for order in shop.read_orders())
        assert "cart" not in states
        assert sum(states.values()) == len(carts)
        assert levels(shop) == (UNITS - states["locked"], states["locked"], 0)


def test_terms_travel() -> None:
    """The lock point reaches the workers of a shop."""
    assert terms_from_json(terms_to_json(CART)) == CART


# --- over HTTP, and through the profile


def tell(reply: Any) -> tuple[int, str]:
    content = reply.json()
    return reply.status_code, content.get("status") or content.get("code") or "ok"


def put(buyer: Buyer, account: int, key: str = "") -> Any:
    wish = {"sku": "console", "quantity": 1, "account": account}
    return buyer.http.post(
        "/carts", json=wish, headers={"Idempotency-Key": key or f"c{account}"}
    )  # fmt: skip


@pytest.mark.live
def test_a_cart_over_http(tmp_path: Path) -> None:
    """Filled, ordered and paid under one id; each refusal has its status."""
    terms = {
        "lock_point": "cart",
        "lock_time": "1200ms",
        "release_sweep": "100ms",
        "items": [{"sku": "console", "stock": 2, "price": 499}],
    }
    with shop_with(tmp_path, {}, terms=terms) as (_, buyer):
        filled = put(buyer, 1)
        assert filled.status_code == 201
        cart = filled.json()["cart_id"]
        assert put(buyer, 1).json()["cart_id"] == cart
        assert tell(put(buyer, 1, "other")) == (409, "limit_reached")
        assert tell(buyer.pay(cart)) == (409, "not_ordered")
        assert tell(buyer.http.post("/carts/none/order")) == (404, "unknown_reservation")
        assert buyer.stock["locked"] == 1
        ordered = [buyer.http.post(f"/carts/{cart}/order") for _ in range(2)]
        assert [reply.status_code for reply in ordered] == [200, 200]
        assert ordered[0].json()["reservation_id"] == cart
        assert 0 < ordered[1].json()["expires_in_s"] < filled.json()["expires_in_s"]
        assert tell(buyer.pay(cart)) == (200, "paid")
        left = put(buyer, 2).json()["cart_id"]
        assert tell(put(buyer, 3)) == (409, "sold_out")
        wish = {"sku": "console", "quantity": 1, "account": 4}
        past = buyer.http.post("/reservations", json=wish, headers={"Idempotency-Key": "r"})
        assert tell(past) == (409, "needs_cart")
        until(lambda: buyer.stock["available"] == 1, "the sweep of the cart")
        assert tell(buyer.http.post(f"/carts/{left}/order")) == (410, "reservation_expired")
        states = {o["order_id"]: o["state"] for o in buyer.ask("/admin/orders")["orders"]}
        assert states == {cart: "sold", left: "released"}


@pytest.mark.live
def test_a_sale_with_carts_is_played_live(tmp_path: Path) -> None:
    """Who abandons its cart is the same live as simulated, and the books add up."""
    text = SALE.read_text("utf-8").replace("stock: 150", "stock: 5000")
    path = tmp_path / SALE.name
    path.write_text(text, "utf-8")
    window = (0.0, 4.0)
    file, settings = read_scenario(path), RunSettings(seed=3, window=window)
    with running_shop(path, seed=3, folder=tmp_path / "shop") as shop:
        options = LiveOptions(target=shop.url, admin_token=shop.admin_token)
        run = run_live(file, settings, options, tmp_path / "results")
    assert run.folder is not None, run.sentences
    live = RunFolder.open(run.folder)
    timetable = settings.timetable(file)
    plan = build_plan(file.scenario, 3, timetable)
    simulated = simulate_sale(file.scenario, plan, timetable, seed=3, engine="simpy")
    ends = {
        world: {row["visitor"]: row["outcome"] for row in visits.to_pylist()}
        for world, visits in (("live", live.table("visits")), ("simulated", simulated.visits))
    }
    abandoned = [{v for v, end in told.items() if end == "abandoned"} for told in ends.values()]
    assert abandoned[0] == abandoned[1]
    assert len(abandoned[0]) > 20
    steps = Counter(row["step"] for row in live.table("requests").to_pylist())
    assert steps["cart"] > steps["reserve"] >= steps["pay"] > 0
    states = Counter(row["state"] for row in live.table("orders").to_pylist())
    assert states["sold"] == Counter(ends["live"].values())["sold"]


def test_a_profile_without_a_cart_is_told(tmp_path: Path, bare_profile: Path) -> None:
    """Before a packet is sent: nobody listens there."""
    options = LiveOptions(target="http://127.0.0.1:9", profile=str(bare_profile))
    run = run_live(read_scenario(SALE), RunSettings(), options, tmp_path)
    assert run.exit_code == exit_codes.USAGE
    assert "add steps.cart to the profile" in run.sentences[0]
