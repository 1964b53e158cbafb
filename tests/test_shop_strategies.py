"""Locking strategies under a rush: the correct ones hold, the broken ones fail as they should.

Every test runs on a real database, with more requests in flight than there are connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.shop_stores import CORRECT, LOCK_S, OPENS_S, Kept, at_once, kept_store, on, word

from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster_shop.endpoints.refusals import refuse
from doorbuster_shop.store import strategies
from doorbuster_shop.store.opening import COUNTING, PLAIN, open_store
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.session import DatabaseError
from doorbuster_shop.store.strategies import optimistic
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate
from doorbuster_shop.terms import ItemTerms, Terms

UNITS, RUSH = 25, 20
RUSH_TERMS = Terms(
    (ItemTerms("console", 100, 2, UNITS),), LOCK_S, 1.0, 2.0, ("card", "wallet"), "CNY"
)
Variant = tuple[str, str]


def test_each_strategy_has_its_file() -> None:
    """The words of the scenario, the files and the classes are the same."""
    built: dict[str, type[ConditionalUpdate]] = {**PLAIN, **COUNTING}
    assert sorted(built) == sorted(STRATEGIES)
    [folder] = strategies.__path__
    assert {path.stem for path in Path(folder).glob("[a-z]*.py")} == set(STRATEGIES)
    # What oversells must be able to: only these do without the checks of the tables.
    unguarded = {name for name in built if not built[name].is_guarded}
    assert unguarded == {"check_then_write", "unguarded_release", "stale_expiry"}
    assert unguarded < BROKEN_STRATEGIES


def assert_conserved(shop: Kept, at_s: float = OPENS_S) -> None:
    """Stock rows and reservations tell the same, and nothing is oversold."""
    for line, level in zip(shop.audit(at_s, 1.0, []).items, shop.read_levels(), strict=True):
        assert (line.locked_units, line.sold_units) == (level.locked, level.sold)
        assert line.available_units == level.available >= 0
        assert line.available_units + line.locked_units + line.sold_units == line.initial_units


@pytest.mark.requirement("A061")
@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_rush_of_twenty_times_the_stock(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Nothing is oversold, nothing is left, everybody else hears why."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        wishes = [Wish(f"k{n}", "console", f"a{n}", 1) for n in range(RUSH * UNITS)]
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in wishes])
        words = Counter(map(word, told))
        while words["overloaded"]:
            # Who loses eight races in a row (optimistic) is told so, and comes again.
            assert kept == ("postgresql", "optimistic")
            assert words["Reservation"] <= UNITS
            told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in wishes])
            words = Counter(map(word, told))
        assert words == {"Reservation": UNITS, "sold_out": (RUSH - 1) * UNITS}
        assert_conserved(shop)
        level = shop.read_levels()[0]
        assert (level.available, level.locked) == (0, UNITS)


@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_whole_sale_at_once(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Reserving, paying, sweeping and cancelling all at the same time conserve the stock."""

    async def visit(shop: Kept, number: int) -> str:
        # Three visitors share an account and want more than it may have.
        wish = Wish(f"k{number}", "console", f"a{number // 3}", 1)
        got = await shop.store.reserve(wish, OPENS_S, LOCK_S)
        if isinstance(got, Refusal):
            return got.value
        if number % 5 == 0:
            return "lets it lapse"
        if number % 5 == 1:
            await shop.store.cancel(got.id, OPENS_S)
            return "cancelled"
        payment = await shop.store.begin_payment(Offer(f"p{number}", got.id, "card", "m"), OPENS_S)
        if isinstance(payment, Refusal):
            return f"not paid: {payment.value}"
        if number % 5 == 2:
            await shop.store.settle_declined(payment.id, None, OPENS_S)
            return "declined"
        settled = await shop.store.settle_captured(payment.id, "ch", OPENS_S)
        assert settled is not None
        return settled.state

    async def sweep(shop: Kept) -> str:
        for _ in range(10):
            await shop.store.release_lapsed(OPENS_S + LOCK_S, 3)
            await asyncio.sleep(0.005)
        return "swept"

    with kept_store(*kept, request, RUSH_TERMS) as shop:
        told = at_once(shop, [sweep(shop), *(visit(shop, number) for number in range(400))])
        assert {"paid", "limit_reached", "cancelled"} <= set(told)
        assert_conserved(shop)
        line = shop.audit(OPENS_S, 1.0, []).items[0]
        assert line.sold_units == told.count("paid")
        assert line.max_units_per_account <= 2
        # Nothing is in flight any more: all that is not sold can be sold.
        while shop.release_lapsed(OPENS_S + 2 * LOCK_S):
            pass
        shop.end_sweep(OPENS_S + 2 * LOCK_S)
        left = UNITS - line.sold_units
        wishes = [Wish(f"late {n}", "console", f"late {n}", 1) for n in range(UNITS)]
        got = [shop.reserve(wish, OPENS_S + 2 * LOCK_S, LOCK_S) for wish in wishes]
        assert Counter(map(word, got))["Reservation"] == left


@pytest.mark.parametrize("kept", on(CORRECT))
def test_twins_at_once_are_one(kept: Variant, request: pytest.FixtureRequest) -> None:
    """The same request twenty times at once has one effect, for reservations and for payments."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        wish = Wish("k", "console", "a", 1)
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for _ in range(20)])
        assert len(set(told)) == 1
        assert isinstance(told[0], Reservation)
        other = [Wish("same", "console", f"b{n}", 1) for n in range(20)]
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in other])
        assert Counter(map(word, told)) == {"Reservation": 1, "idempotency_key_reused": 19}
        reservation = shop.reserved(key="r", account="c")
        offer = Offer("p", reservation.id, "card", "m")
        told = at_once(shop, [shop.store.begin_payment(offer, OPENS_S) for _ in range(20)])
        assert len(set(told)) == 1
        offers = [Offer(f"p{n}", reservation.id, "card", "m") for n in range(20)]
        told = at_once(shop, [shop.store.begin_payment(offer, OPENS_S) for offer in offers])
        assert Counter(map(word, told)) == {"payment_in_progress": 20}
        assert_conserved(shop)


@pytest.mark.parametrize("kept", on(CORRECT))
def test_one_account_at_once_keeps_its_limit(kept: Variant, request: pytest.FixtureRequest) -> None:
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        wishes = [Wish(f"k{n}", "console", "a", 1) for n in range(30)]
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in wishes])
        words = Counter(map(word, told))
        assert words["Reservation"] == 2
        if kept == ("postgresql", "prededuct"):
            # While so many wishes that are about to be refused have taken from the counter, it may
            # run empty for a moment.
            words["limit_reached"] += words.pop("sold_out", 0)
        assert words["limit_reached"] == 28
        # The refused ones hold nothing back.
        wishes = [Wish(f"l{n}", "console", f"l{n}", 1) for n in range(UNITS)]
        told = [shop.reserve(wish, OPENS_S, LOCK_S) for wish in wishes]
        assert Counter(map(word, told)) == {"Reservation": UNITS - 2, "sold_out": 2}


@pytest.mark.parametrize("kept", on(("optimistic",)))
def test_a_payment_that_is_overtaken_too_often_leaves_the_order_open(
    kept: Variant, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where payments lock, they are what is repeated; the buyer may pay a moment later."""
    with kept_store(*kept, request, replace(RUSH_TERMS, lock_point="payment")) as shop:
        order = shop.reserve(Wish("k", "console", "a", 1), OPENS_S, LOCK_S)
        assert isinstance(order, Reservation)
        offer = Offer("p", order.id, "card", "m")
        monkeypatch.setattr(optimistic, "_WRITE", f"{optimistic._WRITE} AND version < 0")
        assert shop.begin_payment(offer, OPENS_S) is Refusal.OVERLOADED
        monkeypatch.undo()
        assert [order.state for order in shop.read_orders()] == ["open"]
        assert isinstance(shop.begin_payment(offer, OPENS_S), Payment)
        assert_conserved(shop)


@pytest.mark.services
def test_who_is_overtaken_lets_go_of_the_row(request: pytest.FixtureRequest) -> None:
    """Of twelve at one row one gets through in each round, as in the simulated shop.

    In PostgreSQL an update that has waited keeps the row also if its condition no longer holds.
    Without rolling that back each would be overtaken once at most, and nobody told so.
    """
    count = 12
    with kept_store("postgresql", "optimistic", request, RUSH_TERMS) as shop:
        shop.store.extra_s = 0.05  # Each order keeps the row so long that all others wait for it.
        wishes = [Wish(f"k{n}", "console", f"a{n}", 1) for n in range(count)]
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in wishes])
        words = Counter(map(word, told))
        assert words.total() == words["Reservation"] + words["overloaded"] == count
        assert words["overloaded"] > 0
        assert words["Reservation"] >= optimistic.ATTEMPTS_MAX
        assert_conserved(shop)


@pytest.mark.parametrize("kept", on(("optimistic",)))
def test_who_is_overtaken_too_often_may_come_again(
    kept: Variant, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries are bounded; the refusal leaves nothing behind and says when to come back."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        wish = Wish("k", "console", "a", 1)
        monkeypatch.setattr(optimistic, "_WRITE", f"{optimistic._WRITE} AND version < 0")
        assert shop.reserve(wish, OPENS_S, LOCK_S) is Refusal.OVERLOADED
        monkeypatch.undo()
        assert isinstance(shop.reserve(wish, OPENS_S, LOCK_S), Reservation)
    told = refuse(Refusal.OVERLOADED)
    assert (told.status_code, told.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("kept", on(("buckets",)))
def test_units_of_several_buckets_make_one_order(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Two single units in different buckets still are two units."""
    terms = Terms((ItemTerms("console", 100, 9, 9),), LOCK_S, 1.0, 2.0, ("card",), "CNY")
    with kept_store(*kept, request, terms) as shop:
        for quantity in (4, 5):
            made = shop.reserve(Wish(f"k{quantity}", "console", "a", quantity), OPENS_S, LOCK_S)
            assert isinstance(made, Reservation)
            assert_conserved(shop)
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 2
        assert_conserved(shop)
        assert isinstance(
            shop.reserve(Wish("k", "console", "b", 9), OPENS_S + LOCK_S, LOCK_S), Reservation
        )


@pytest.mark.parametrize("kept", on(("scattered_buckets",)))
def test_nobody_gathers_what_is_scattered(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Nine units lie in eight buckets: one has two, and a second pair is not to be had."""
    terms = Terms((ItemTerms("console", 100, 99, 9),), LOCK_S, 1.0, 2.0, ("card",), "CNY")
    with kept_store(*kept, request, terms) as shop:

        def told(key: str, quantity: int) -> Reservation | Refusal:
            made: Reservation | Refusal = shop.reserve(
                Wish(key, "console", "a", quantity), OPENS_S, LOCK_S
            )
            return made

        assert told("three", 3) is Refusal.SOLD_OUT
        assert isinstance(told("two", 2), Reservation)
        assert told("two more", 2) is Refusal.SOLD_OUT
        assert_conserved(shop)
        for number in range(7):
            assert isinstance(told(f"one-{number}", 1), Reservation)
        assert told("another", 1) is Refusal.SOLD_OUT
        assert_conserved(shop)


@pytest.mark.services
def test_the_shop_sells_without_its_counter(
    postgresql_address: str, redis_address: str, request: pytest.FixtureRequest
) -> None:
    """Redis forgets all in the middle of a sale: the database goes on alone, then mends it."""
    from redis import Redis

    with kept_store("postgresql", "prededuct", request, RUSH_TERMS) as shop:
        shop.reserved(key="before")
        with Redis.from_url(redis_address) as redis:
            redis.flushall()
            shop.reserved(key="after", account="b")
            [key] = [*redis.keys("doorbuster:prededuct:*")] or [b"lost"]
            assert key == b"lost"
            shop.end_sweep(OPENS_S)
            [key] = redis.keys("doorbuster:prededuct:*")
            assert redis.hgetall(key) == {b"console": b"23"}
    with pytest.raises(DatabaseError, match=r"--redis: cannot be reached"):
        asyncio.run(open_store(postgresql_address, "prededuct", "redis://127.0.0.1:1/0"))
    with pytest.raises(DatabaseError, match="give its address with --redis"):
        asyncio.run(open_store(postgresql_address, "prededuct"))


# --- broken on purpose ---


def oversold(shop: Kept) -> int:
    """Units held or sold beyond the stock."""
    line = shop.audit(OPENS_S, 1.0, []).items[0]
    return int(line.locked_units + line.sold_units - line.initial_units)


@pytest.mark.parametrize("kept", on(("check_then_write",)))
def test_check_then_write_sells_the_last_unit_twice(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Everybody who looked before the first one wrote gets a unit; alone it looks correct."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        for number in range(UNITS - 1):
            shop.reserved(key=f"k{number}", account=f"a{number}")
        assert_conserved(shop)
        wishes = [Wish(f"two {n}", "console", f"two {n}", 1) for n in range(2)]
        told = at_once(shop, [shop.store.reserve(wish, OPENS_S, LOCK_S) for wish in wishes])
        assert [word(one) for one in told] == ["Reservation", "Reservation"]
        assert oversold(shop) == 1


@pytest.mark.parametrize("kept", on(("unguarded_release",)))
def test_unguarded_release_sells_what_is_paid_once_more(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Paid and being paid orders lose their units; late money sells units that are gone."""
    end_s = OPENS_S + LOCK_S
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        shop.sold("paid")
        being_paid = shop.begun(shop.reserved(key="b", account="b"), key="pb")
        assert shop.release_lapsed(end_s) == 2
        assert shop.read_levels()[0].available == UNITS
        settled = shop.settle_captured(being_paid.id, "ch", end_s + 1)
        assert settled.state == "paid"
        # Each order is released once.
        assert shop.release_lapsed(end_s + 9) == 0
        for number in range(UNITS):
            shop.reserved(key=f"k{number}", account=f"k{number}", at_s=end_s)
        assert oversold(shop) == 1
        orders = {order.account: order for order in shop.read_orders()}
        assert (orders["a"].state, orders["a"].sold_s) == ("released", 0)
        assert (orders["b"].state, orders["b"].released_s) == ("sold", LOCK_S)
        captures = [(order.order_id, 100) for order in (orders["a"], orders["b"])]
        assert shop.audit(end_s, 1.0, captures).payments_without_order == 1


@pytest.mark.parametrize("kept", on(("stale_expiry",)))
def test_stale_expiry_releases_what_was_just_paid(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Paid in time, but after the copy was made: the units go back on the shelf all the same."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        reservation = shop.reserved()
        shop.reserved(key="k2", account="unpaid")
        shop.sold("early", account="early")
        last_sweep_s = OPENS_S + LOCK_S - 0.5
        assert shop.release_lapsed(last_sweep_s) == 0
        shop.end_sweep(last_sweep_s)
        in_time_s = OPENS_S + LOCK_S - 0.1
        payment = shop.begun(reservation, at_s=in_time_s)
        assert shop.settle_captured(payment.id, "ch", in_time_s).state == "paid"
        assert shop.release_lapsed(last_sweep_s + 1) == 2
        orders = {order.account: order for order in shop.read_orders()}
        assert (orders["a"].state, orders["a"].sold_s) == ("released", pytest.approx(9.9))
        assert orders["unpaid"].state == "released"
        assert orders["early"].state == "sold"
        assert shop.read_levels()[0].available == UNITS - 1
        assert shop.audit(in_time_s, 1.0, [(reservation.id, 100)]).payments_without_order == 1


@pytest.mark.parametrize("kept", on(("stuck_sold_out",)))
def test_stuck_sold_out_never_sells_what_comes_back(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """The whole stock is on the shelf, and everybody hears that it is sold out."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        for number in range(UNITS):
            shop.reserved(key=f"k{number}", account=f"a{number}")
        assert word(shop.reserve(Wish("x", "console", "x", 1), OPENS_S, LOCK_S)) == "sold_out"
        later_s = OPENS_S + LOCK_S
        assert shop.release_lapsed(later_s) == UNITS
        shop.end_sweep(later_s)
        assert shop.read_levels()[0].available == UNITS
        assert word(shop.reserve(Wish("y", "console", "y", 1), later_s, LOCK_S)) == "sold_out"
        # A repeated request still finds its own order: it is the stock that nobody looks at.
        assert isinstance(
            shop.reserve(Wish("k1", "console", "a1", 1), later_s, LOCK_S), Reservation
        )


@pytest.mark.parametrize("kept", on(("prededuct_without_return",)))
def test_prededuct_without_return_hides_units(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Refusals after the counter and lapsed locks use it up: sold out, with units on the shelf."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        for number in range(2):
            shop.reserved(key=f"k{number}")
        for number in range(5):
            wish = Wish(f"too much {number}", "console", "a", 1)
            assert shop.reserve(wish, OPENS_S, LOCK_S) is Refusal.LIMIT_REACHED
        later_s = OPENS_S + LOCK_S
        assert shop.release_lapsed(later_s) == 2
        shop.end_sweep(later_s)
        wishes = [Wish(f"l{n}", "console", f"l{n}", 1) for n in range(UNITS)]
        told = Counter(word(shop.reserve(wish, later_s, LOCK_S)) for wish in wishes)
        assert told == {"Reservation": UNITS - 7, "sold_out": 7}
        assert shop.read_levels()[0].available == 7


@pytest.mark.parametrize("kept", on(("check_then_write", "unguarded_release", "stale_expiry")))
def test_the_tables_of_a_broken_strategy_let_it_fail(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """No check stands between the fault and its effect."""
    with kept_store(*kept, request, RUSH_TERMS) as shop:
        shop.sql("UPDATE stock SET available_units = -1")
        assert shop.read_levels()[0].available == -1
