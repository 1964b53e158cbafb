"""The positive controls know every way of running a shop; running them tells what they find."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.controls import run
from tests.controls.tried import Kept, Tried, table

from doorbuster.cli import main
from doorbuster.detectors.failures import DETECTORS
from doorbuster.measures.run_records import read_records
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster.scenario.refunds import BROKEN_PAYOUTS, PAYOUTS
from doorbuster.scenario.shop import (
    BROKEN_LATE_PAYMENTS,
    BROKEN_REDEEMS,
    BROKEN_STRATEGIES,
    BROKEN_UNANSWERED_CHARGES,
    LATE_PAYMENTS,
    LOCK_POINTS,
    REDEEMS,
    STRATEGIES,
    UNANSWERED_CHARGES,
    Shop,
)

BROKEN = BROKEN_STRATEGIES | BROKEN_LATE_PAYMENTS | BROKEN_UNANSWERED_CHARGES
BROKEN_PARTS = {
    *(f"redeem_{way}" for way in BROKEN_REDEEMS),
    *(f"payout_{way}" for way in BROKEN_PAYOUTS),
}


def test_every_way_is_tried_once() -> None:
    """The first policies of each kind are those that every strategy is tried with."""
    parts = [*(f"redeem_{way}" for way in REDEEMS), *(f"payout_{way}" for way in PAYOUTS)]
    places = [f"lock_point_{point}" for point in LOCK_POINTS if point != "order"]
    policies = [*LATE_PAYMENTS[1:], *UNANSWERED_CHARGES[1:], *places]
    assert list(run.CONTROLS) == [*STRATEGIES, *policies, *parts]
    broken = {word for word, control in run.CONTROLS.items() if control.is_broken}
    assert broken == BROKEN | BROKEN_PARTS


def test_every_broken_way_has_a_failure_to_show() -> None:
    for control in run.CONTROLS.values():
        assert bool(control.must_be_found) == control.is_broken
        assert control.must_be_found <= DETECTORS.keys()
    assert run.MUST_BE_FOUND.keys() == BROKEN | BROKEN_PARTS


@pytest.mark.parametrize("word", run.CONTROLS)
def test_its_scenario_is_a_good_one(word: str, tmp_path: Path) -> None:
    control = run.CONTROLS[word]
    for store in ("sqlite", "postgresql"):
        for faults in control.faults(store):
            read_scenario(run.written(control, tmp_path, faults))
    scenario = read_scenario(run.written(control, tmp_path, [])).scenario
    assert scenario.name == control.run_name
    shown = words_of(scenario.shop)
    assert word in shown
    assert not shown & (run.CONTROLS.keys() - {word}) - {STRATEGIES[0]}


def words_of(shop: Shop) -> set[str]:
    """The controls that a shop is, by their words."""
    words: set[str] = {shop.strategy, shop.late_payment, shop.unanswered_charge}
    words.add(f"lock_point_{shop.lock_point}")
    if shop.refund is not None:
        words.add(f"payout_{shop.refund.payout}")
    return words if shop.coupon is None else {*words, f"redeem_{shop.coupon.redeem}"}


@pytest.mark.parametrize(
    ("word", "found", "is_good"),
    [
        ("forget", {"paid_and_lost": "a charge"}, True),
        ("forget", {"double_charge": "a charge"}, False),
        ("forget", {}, False),
        ("refund", {}, True),
        ("refund", {"paid_and_lost": "a charge"}, False),
    ],
)
def test_what_counts_as_a_hit(word: str, found: dict[str, str], is_good: bool) -> None:
    """A broken control must show its own failure, a correct one none at all."""
    tried = a_trial(word)
    tried.add(found)
    assert tried.is_good == is_good
    assert ("WRONG" in table([tried])) != is_good


def a_trial(word: str, wanted: int = 1) -> Tried:
    """Of one control, with nothing tried yet."""
    control = run.CONTROLS[word]
    return Tried(word, control.row, control.must_be_found, "live, sqlite", wanted)


def test_what_was_tried_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = a_trial("forget", 3)
    tried.add({"paid_and_lost": "a charge"})
    tried.repeat(["requests sent on time", "clocks agree"])
    Kept(tmp_path).save(tried)
    told = "(1 void, repeated: requests sent on time 1, clocks agree 1)"
    assert told in table([Kept(tmp_path).tried(a_trial("forget", 3))])
    assert Kept(tmp_path).tried(a_trial("forget", 3)) == tried
    # Not of another control, of fewer sales, or of other sources.
    assert Kept(tmp_path).tried(a_trial("charge_again", 3)).runs == 0
    assert Kept(tmp_path).tried(a_trial("forget", 2)).runs == 0
    monkeypatch.setattr("tests.controls.tried.SOURCES", ("core",))
    assert Kept(tmp_path).tried(a_trial("forget", 3)).runs == 0


@pytest.mark.parametrize(
    ("word", "invariants"),
    [
        ("forget", {"captured_is_paid", "orphan_payment"}),
        ("charge_again", {"captured_is_paid", "double_capture"}),
        ("refund", set()),
        ("recheck_stock", set()),
        ("query_before_cancel", set()),
        ("redeem_check_then_write", {"coupon_limit"}),
        ("redeem_conditional_update", set()),
        ("payout_mark_only", {"captured_is_paid", "orphan_payment"}),
        ("payout_retry", set()),
        ("lock_point_cart", set()),
        ("lock_point_payment", set()),
    ],
)
def test_policies_about_money(word: str, invariants: set[str], tmp_path: Path) -> None:
    """One simulated sale of each: its own failure alone, and the rows of money that break."""
    control = run.CONTROLS[word]
    path, results = run.written(control, tmp_path, []), tmp_path / "results"
    words = ["simulate", str(path), "--results", str(results), "--seed", "3"]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == int(control.is_broken), told.output
    records = read_records(RunFolder.open(results / control.run_name / "latest"))
    assert run.found_in(records, 0).keys() == control.must_be_found
    assert run.broken_invariants(records).keys() == {f"invariant.{name}" for name in invariants}
