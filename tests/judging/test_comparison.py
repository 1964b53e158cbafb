"""Comparing two runs: what is refused, what is flagged, and what is said about the cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from tests.judging.test_verdict_failures import with_books

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.comparison import Comparison, ComparisonError, compare
from doorbuster.comparison.estimates import difference_interval, estimate

Builder = Callable[..., Any]


def _pair(hand_made: Builder, spoil: Callable[[Any], None] = lambda _sale: None) -> tuple[Any, Any]:
    """Three simulated sales and a live one of the same plan; the test may spoil the live one."""
    simulated, live = hand_made(world="sim", replications=3), hand_made()
    spoil(live)
    return simulated.write("20260101T000000Z-sim-7"), live.write("20260101T000100Z-live-7")


def _row(comparison: Comparison, row_id: str) -> Any:
    return next(row for row in (*comparison.shares, *comparison.measures) if row.id == row_id)


def _keys(comparison: Comparison) -> list[str]:
    return [finding.template for finding in comparison.findings]


def test_equal_runs_agree(hand_made: Builder) -> None:
    comparison = compare(*_pair(hand_made))
    assert not comparison.flagged
    assert comparison.agreement is not None
    assert comparison.agreement.share == 1
    assert _keys(comparison) == ["compare.agree", "compare.cause.none"]
    assert _row(comparison, "sold_units").difference == 0


def _bots_expire(sale: Any) -> None:
    """In the live sale, 40 visitors of the opening find their lock lapsed: 10 points of 400."""
    for row in sale.visits[:40]:
        row.update(outcome="expired", paid_s=None, price_paid_cents=0)


def test_a_difference_is_flagged_and_placed(hand_made: Builder) -> None:
    """40 of 50 sales lost, all in the opening, three of four by fans; nothing was slow."""
    comparison = compare(*_pair(hand_made, _bots_expire))
    assert {row.id for row in comparison.flagged} == {"sold", "expired"}
    row = _row(comparison, "expired")
    assert (row.twin_a, row.b.value) == (0, 0.1)
    assert row.difference == pytest.approx(0.1)
    assert comparison.agreement is not None
    assert comparison.agreement.share == 0.9
    assert comparison.agreement.changes == [("sold", "expired", 40)]
    places = [f.facts for f in comparison.findings if f.template == "compare.differs"]
    assert {(fact["persona"], fact["phase"]) for fact in places} == {("fan", "opening")}
    assert _keys(comparison)[-1] == "compare.cause.behaviour"


def test_the_flag_has_a_limit(hand_made: Builder) -> None:
    """Simulated sales vary between 0 and 10 points, so only the limit flags five points."""
    simulated, live = hand_made(world="sim", replications=3), hand_made()
    for row in simulated.visits:
        if row["visitor"] < 20 * row["replication"]:
            row.update(outcome="expired", paid_s=None, price_paid_cents=0)
    _bots_expire(live)
    folders = simulated.write("sim"), live.write("live")
    assert compare(*folders, beyond=0.06).flagged == ()
    assert len(compare(*folders, beyond=0.04).flagged) == 2


def _few_expire(sale: Any) -> None:
    for row in sale.visits[:8]:
        row.update(outcome="expired", paid_s=None, price_paid_cents=0)


def test_a_small_outcome_is_flagged_relatively(hand_made: Builder) -> None:
    """2 % against none is within 3 points, but no replication has it: 8 of 400 visitors."""
    comparison = compare(*_pair(hand_made, _few_expire))
    assert [row.id for row in comparison.flagged] == ["expired"]


def test_the_sale_s_measures_must_agree_too(hand_made: Builder) -> None:
    """Eight of 50 units less: also units, orders and goodput, and no last unit paid."""
    comparison = compare(*_pair(hand_made, _few_expire))
    apart = {row.id for row in comparison.measures_apart}
    assert apart == {"sold_units", "gmv", "sell_out", "goodput"}
    said = " ".join(f.sentence() for f in comparison.findings if f.template == "compare.measure")
    assert "units sold: simulated 50, live 42" in said
    assert comparison.to_json()["measures_apart"]


def _slow_tail(sale: Any) -> None:
    for row in sale.requests[::8]:
        row["done_s"] += 0.05


def test_other_response_times_ask_for_an_explanation(hand_made: Builder) -> None:
    """Outcomes and medians agree, but the p95 of six times as much does not."""
    comparison = compare(*_pair(hand_made, _slow_tail))
    assert not comparison.flagged
    assert "compare.response" in _keys(comparison)
    assert _keys(comparison)[-1] == "compare.cause.times"


def test_a_borrowed_spread_is_marked(hand_made: Builder) -> None:
    """One live sale has no spread of its own, and none at all for when it was sold out."""
    simulated, live = hand_made(world="sim", replications=3), hand_made()
    for row in simulated.visits:
        if row["visitor"] == 49:
            row["paid_s"] += row["replication"]
        if row["visitor"] > 399 - row["replication"]:
            row["outcome"] = "gave_up"
    folders = simulated.write("20260101T000000Z-sim-7"), live.write("20260101T000100Z-live-7")
    comparison = compare(*folders)
    row = _row(comparison, "sell_out")
    assert row.a.interval is not None
    assert row.b.interval is None
    words = ["compare", *(str(folder.path) for folder in folders)]
    out = CliRunner().invoke(main, words, env={"COLUMNS": "200"}).stdout
    line = next(line for line in out.splitlines() if "sold_out" in line)
    assert line.count("±") == 2
    assert line.count(" *") == 1
    assert "* one sale only" in out
    assert next(line for line in out.splitlines() if "sell_out" in line).count("±") == 1


def _slower(sale: Any) -> None:
    for row in sale.requests:
        row["done_s"] += 0.03


def test_other_service_times_ask_for_calibration(hand_made: Builder) -> None:
    comparison = compare(*_pair(hand_made, _slower))
    assert "compare.slower" in _keys(comparison)
    assert _keys(comparison)[-1] == "compare.cause.times"
    assert _row(comparison, "service_p50.browse").ratio == pytest.approx(4)


def _saturated(sale: Any) -> None:
    """One server that needs 50 ms for each of 40 requests a second answers ever later."""
    free_s = 0.0
    for row in sorted(sale.requests, key=lambda row: row["sent_s"]):
        free_s = max(free_s, row["sent_s"]) + 0.05
        row["done_s"] = free_s


def test_a_pile_up_is_told_from_a_wrong_model(hand_made: Builder) -> None:
    comparison = compare(*_pair(hand_made, _saturated))
    assert [side.saturated for side in comparison.saturation] == [False, True]
    # 60 requests a second, 20 of them payments, meet 20 answers a second: two thirds stay.
    assert comparison.saturation[1].share == pytest.approx(2 / 3, abs=0.05)
    assert "compare.piled_up" in _keys(comparison)
    assert _keys(comparison)[-1] == "compare.cause.b_saturated"


def test_other_plans_are_refused_unless_allowed(hand_made: Builder) -> None:
    simulated, live = _pair(hand_made, lambda sale: sale.run.update(plan_hash="b" * 64, seed=8))
    with pytest.raises(ComparisonError, match="plan_hash differs") as error:
        compare(simulated, live)
    assert "seed differs (got 8, and 7" in str(error.value)
    assert "--allow-different" in str(error.value)
    comparison = compare(simulated, live, allow_different=True)
    assert comparison.agreement is None


def test_an_incomplete_run_is_said_to_be_one(hand_made: Builder) -> None:
    comparison = compare(*_pair(hand_made, lambda sale: sale.run.update(status="interrupted")))
    assert _keys(comparison)[0] == "compare.incomplete"


def test_an_empty_run_cannot_be_compared(hand_made: Builder) -> None:
    def empty(sale: Any) -> None:
        sale.visits.clear()

    with pytest.raises(ComparisonError, match="holds no visits"):
        compare(*_pair(hand_made, empty))


def test_refunds_are_compared(hand_made: Builder) -> None:
    """Ten buyers wait 1 to 10 s for their money; live they wait twice as long."""
    waits = {visitor: visitor + 1.0 for visitor in range(10)}
    simulated = with_books(hand_made(world="sim", replications=3), "sim", refunds_s=waits)
    live = with_books(hand_made(), "live", refunds_s={v: 2 * s for v, s in waits.items()})
    comparison = compare(simulated, live)
    found = {row.id: row for row in comparison.measures if row.id.startswith("refund")}
    assert {name: (row.a.value, row.b.value) for name, row in found.items()} == {
        "refunds": (10, 10),
        "refund_p50": (5.0, 10.0),
        "refund_p95": (10.0, 20.0),
    }
    assert [row.id for row in comparison.measures_apart] == ["refund_p50"]
    without = compare(*_pair(hand_made))
    assert not [row.id for row in without.measures if row.id.startswith("refund")]


def test_difference_intervals() -> None:
    """Welch's t where both sides were repeated; one sale against many is a prediction."""
    a, b = estimate(np.array([1.0, 2, 3, 4])), estimate(np.array([3.0, 5, 4, 6, 2]))
    both = difference_interval(a, b)
    assert both is not None
    expected = stats.ttest_ind(b.values, a.values, equal_var=False).confidence_interval()
    assert (both.low, both.high) == pytest.approx((expected.low, expected.high))
    single = difference_interval(a, estimate(np.array([9.0])))
    assert single is not None
    assert (single.low + single.high) / 2 == pytest.approx(6.5)
    assert difference_interval(estimate(np.array([1.0])), estimate(np.array([2.0]))) is None


def test_command_prints_one_json_object(hand_made: Builder) -> None:
    simulated, live = _pair(hand_made, _bots_expire)
    result = CliRunner().invoke(main, ["compare", str(simulated.path), str(live.path), "--json"])
    assert result.exit_code == exit_codes.PASS, result.output
    content = json.loads(result.stdout)
    assert content["schema"] == "doorbuster.comparison/1"
    assert content["agree"] is False
    assert content["visitors"]["matrix"]["sold"] == {"sold": 10, "expired": 40}


def test_command_finds_runs_by_word(hand_made: Builder) -> None:
    results = _pair(hand_made)[0].path.parents[1]
    words = ["compare", "latest-sim", "latest-live", "--results", str(results)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == exit_codes.PASS, result.output
    assert "100 % of 400 visitors met the same end" in result.stdout


@pytest.mark.parametrize("name", ["nowhere", "latest"])
def test_command_says_what_is_allowed(tmp_path: Any, name: str) -> None:
    result = CliRunner().invoke(main, ["compare", name, name, "--results", str(tmp_path)])
    assert result.exit_code == exit_codes.USAGE
    assert "Traceback" not in result.output
    assert "latest" in result.stderr


def test_a_slow_shop_that_keeps_up_is_not_saturated(hand_made: Builder) -> None:
    """Every answer takes 2 s: much is under way, but nothing piles up."""

    def slow(sale: Any) -> None:
        for row in sale.requests:
            row["done_s"] = row["sent_s"] + 2.0

    comparison = compare(*_pair(hand_made, slow))
    assert comparison.saturation[1].piled_up > 30
    assert not comparison.saturation[1].saturated
    assert _keys(comparison)[-1] == "compare.cause.times"
