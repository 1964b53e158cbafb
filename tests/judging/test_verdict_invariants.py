"""What must hold at any load: each broken invariant fails the run, exit 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from doorbuster import exit_codes
from doorbuster.verdict import Verdict, judge

Builder = Callable[..., Any]
Spoil = Callable[[Any], None]


def check_of(verdict: Verdict, name: str) -> Any:
    return next(check for check in verdict.checks if check.id == f"invariant.{name}")


def _item(**facts: int) -> Spoil:
    return lambda sale: sale.audits[0]["items"][0].update(facts)


def _money(**facts: int) -> Spoil:
    return lambda sale: sale.audits[0].update(facts)


def _other_price(sale: Any) -> None:
    sale.visits[4]["price_paid_cents"] -= 1


def _extra_order_told(sale: Any) -> None:
    sale.visits[60].update(outcome="sold", paid_s=6.0, reserved_s=5.0, price_paid_cents=49_900)


SPOILS: list[tuple[str, Spoil]] = [
    ("oversell", _item(sold_units=51)),
    ("oversell", _item(locked_units=1)),
    ("oversell", _item(available_units=-1, sold_units=50)),
    ("conservation", _item(sold_units=49)),
    ("purchase_limit", _item(max_units_per_account=2)),
    ("lapsed_locks", _item(lapsed_locks=3)),
    ("stock_readings", lambda sale: sale.stock[9].update(available=-1)),
    ("stock_readings", lambda sale: sale.stock[9].update(sold=51)),
    ("orders_told", _item(orders_paid=49)),
    ("orders_told", _item(orders_paid=51)),
    ("orders_told", _extra_order_told),
    ("captured_is_paid", _money(captured_cents=1)),
    ("double_capture", _money(orders_captured_twice=1)),
    ("orphan_payment", _money(payments_without_order=2)),
    ("audited_price", _money(paid_cents=1, captured_cents=1)),
    ("price", _other_price),
]


@pytest.mark.parametrize(
    ("name", "spoil"), SPOILS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SPOILS)]
)
def test_a_broken_invariant_fails(hand_made: Builder, name: str, spoil: Spoil) -> None:
    sale = hand_made()
    spoil(sale)
    verdict = judge(sale.write())
    assert check_of(verdict, name).status == "fail"
    assert (verdict.status, verdict.exit_code) == ("fail", exit_codes.FAILED)


def test_one_bad_replication_of_many_is_found(hand_made: Builder) -> None:
    sale = hand_made(world="sim", replications=3)
    sale.audits[2]["items"][0].update(sold_units=52)
    check = check_of(judge(sale.write()), "oversell")
    assert (check.status, check.value) == ("fail", 2)
    assert "console #2: 2" in check.sentence()


def test_visitors_without_an_answer_explain_orders(hand_made: Builder) -> None:
    """Two buyers were cut off while paying: the shop may have one or two orders more, not three."""
    for orders, status in ((48, "pass"), (49, "pass"), (50, "pass"), (51, "fail"), (47, "fail")):
        sale = hand_made()
        for row in sale.visits[:2]:
            row.update(outcome="cut_off", paid_s=None, price_paid_cents=0)
        sale.audits[0]["items"][0]["orders_paid"] = orders
        check = check_of(judge(sale.write(str(orders))), "orders_told")
        assert check.status == status
        assert check.value == orders - 48


def test_an_oversell_stands_in_an_invalid_measurement(hand_made: Builder) -> None:
    """No late generator makes a shop oversell, so its own account fails the run all the same."""
    sale = hand_made()
    sale.run["generator"]["dropped"] = 5
    sale.audits[0]["items"][0].update(sold_units=51)
    assert judge(sale.write()).exit_code == exit_codes.FAILED


def test_without_the_target_s_account_nothing_is_proved(hand_made: Builder) -> None:
    """Not read is inconclusive; a target that has none is judged by what is left."""
    sale = hand_made()
    sale.audits = []
    verdict = judge(sale.write("unread"))
    assert check_of(verdict, "oversell").status == "inconclusive"
    assert verdict.exit_code == exit_codes.INVALID
    sale.run["audit_supported"] = False
    verdict = judge(sale.write("unsupported"))
    assert check_of(verdict, "oversell").status == "not_applicable"
    assert verdict.exit_code == exit_codes.PASS


def test_oversell_shows_in_what_visitors_were_told(hand_made: Builder) -> None:
    """Even without any account: 51 visitors were told that they have one of 50 units."""
    sale = hand_made()
    sale.audits = []
    sale.run["audit_supported"] = False
    _extra_order_told(sale)
    assert judge(sale.write()).exit_code == exit_codes.FAILED


def test_numbers_that_a_target_does_not_tell(hand_made: Builder) -> None:
    sale = hand_made()
    sale.audits[0].update(captured_cents=None, orders_captured_twice=None)
    verdict = judge(sale.write())
    assert check_of(verdict, "captured_is_paid").status == "not_applicable"
    assert check_of(verdict, "double_capture").status == "not_applicable"
    assert verdict.exit_code == exit_codes.PASS
