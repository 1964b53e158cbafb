"""Measures of a sale whose answers are known by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from doorbuster.measures import RunRecords, read_records
from doorbuster.measures.columns import OUTCOMES, STEPS, rows_by_replication
from doorbuster.measures.latency import (
    backlog,
    dispatch_delay_s,
    latency_rows,
    response_s,
    service_s,
    too_late,
)
from doorbuster.measures.outcomes import (
    conversion,
    declined_share,
    failed_share,
    outcome_counts_by_persona,
    outcome_shares,
    reply_counts,
)
from doorbuster.measures.sales import (
    first_gone_s,
    gmv_cents,
    goodput_per_s,
    sell_out_s,
    sold_units,
    stock_shares,
    whole_sell_out_s,
)
from doorbuster.measures.series import (
    arrivals_per_s,
    bins_over,
    orders_per_s,
    outcomes_per_s,
    replies_per_s,
    response_quantiles_s,
    stock_level,
)
from doorbuster.records.run_folder import RunFolderError

Builder = Callable[..., Any]


@pytest.fixture
def records(hand_made: Builder) -> RunRecords:
    return read_records(hand_made().write())


@pytest.mark.parametrize("numbers", [[], [0, 0], [0, 1, 1, 3], [1, 0, 3, 1]])
def test_a_replication_has_its_rows_wherever_they_lie(numbers: list[int]) -> None:
    column = np.array(numbers, dtype=np.int64)
    rows_of = rows_by_replication(column)
    for number in range(5):
        expected = [place for place, own in enumerate(numbers) if own == number]
        assert np.arange(len(column))[rows_of(number)].tolist() == expected


def test_outcomes_and_conversion(records: RunRecords) -> None:
    """50 of 400 buy; every fourth visitor is a bot, so 12 of the first 50."""
    visits = records.visits
    shares = dict(zip(OUTCOMES, outcome_shares(visits), strict=True))
    assert (shares["sold"], shares["sold_out"]) == (0.125, 0.875)
    assert conversion(visits) == 0.125
    assert conversion(visits, persona=1) == 12 / 100
    table = outcome_counts_by_persona(visits, 2)
    assert table.sum() == 400
    assert list(table[:, OUTCOMES.index("sold")]) == [38, 12]


def test_who_got_the_stock_and_when(records: RunRecords) -> None:
    """The 50th buyer arrives at 2.45 s, pays 2 s later and is answered within 11 ms."""
    visits, lines = records.visits, records.lines
    assert list(sold_units(visits, 1)) == [50]
    assert list(stock_shares(visits, 2, lines)) == [0.76, 0.24]
    assert gmv_cents(visits) == 50 * 49_900
    assert sell_out_s(visits, 0, 50, lines) == pytest.approx(4.461)
    assert sell_out_s(visits, 0, 40, lines) == pytest.approx(3.961)
    assert np.isnan(sell_out_s(visits, 0, 51, lines))
    assert whole_sell_out_s(visits, (50,), lines) == pytest.approx(4.461)
    assert goodput_per_s(visits, 30.0) == pytest.approx(50 / 4.461)
    assert goodput_per_s(visits, 30.0, start_s=-6.0) == pytest.approx(50 / 4.461)
    assert goodput_per_s(visits, 30.0, start_s=2.461) == pytest.approx(50 / 2.0)
    # The last reservation is confirmed at 3.461 s, the next reading is at 4 s.
    assert first_gone_s(records.stock, 0) == 4.0


def test_nothing_sold_has_no_times(hand_made: Builder) -> None:
    sale = hand_made()
    for row in sale.visits:
        row.update(outcome="gave_up", paid_s=None, reserved_s=None, price_paid_cents=0)
    records = read_records(sale.write())
    visits, lines = records.visits, records.lines
    assert np.isnan(sell_out_s(visits, 0, 50, lines))
    assert np.isnan(stock_shares(visits, 2, lines)).all()
    assert goodput_per_s(visits, 30.0) == 0


def test_three_latencies_are_kept_apart(hand_made: Builder) -> None:
    """One millisecond late, ten milliseconds of service, eleven of waiting; slow pay shows."""
    slow = hand_made(service_s=lambda _v, step: 0.5 if step == "pay" else 0.010)
    requests = read_records(slow.write()).requests
    np.testing.assert_allclose(
        dispatch_delay_s(requests) + service_s(requests), response_s(requests)
    )
    rows = {(row.step, row.latency): row for row in latency_rows([requests])}
    assert rows["browse", "response"].p95_s == pytest.approx(0.011)
    assert rows["pay", "service"].p50_s == pytest.approx(0.5)
    assert rows["all", "dispatch_delay"].p99_s == pytest.approx(0.001)
    assert rows["all", "response"].count == 850
    assert ("poll", "response") not in rows


def test_too_late(hand_made: Builder) -> None:
    """Slow, failed and long unanswered requests are late; one that the end overtook is neither."""
    sale = hand_made()
    slow, failed, silent, overtaken, fine = sale.requests[:5]
    slow["done_s"] = slow["intended_s"] + 0.6
    failed["reply"] = "overloaded"
    silent.update(done_s=None, reply="timeout")
    overtaken.update(intended_s=29.9, sent_s=29.9, done_s=None, reply="timeout")
    requests = read_records(sale.write()).requests
    counts, late = too_late(requests, 0.5, 30.0)
    assert list(counts[:5]) == [True, True, True, False, True]
    assert list(late[:5]) == [True, True, True, False, False]
    assert (int(counts.sum()), int(late.sum())) == (849, 3)
    # The two without an answer have no reply to count.
    assert failed_share(requests) == 1 / 848
    assert fine["reply"] == "ok"


def test_replies_and_declines(hand_made: Builder) -> None:
    sale = hand_made()
    payments = [row for row in sale.requests if row["step"] == "pay"]
    for row in payments[:5]:
        row["reply"] = "declined"
    for row in payments[5:10]:
        row["reply"] = "pending"
    requests = read_records(sale.write()).requests
    assert declined_share(requests) == 5 / 45
    assert list(reply_counts(requests).sum(axis=1)) == [400, 400, 50, 0, 0, 0, 0]
    assert STEPS == ("browse", "reserve", "pay", "poll", "cancel", "refund", "cart")


def test_backlog_counts_what_is_open(hand_made: Builder) -> None:
    sale = hand_made(service_s=lambda _v, _s: 1.0)
    requests = read_records(sale.write()).requests
    moments = np.array([-1.0, 0.5, 30.0])
    open_now = [sum(row["sent_s"] <= at < row["done_s"] for row in sale.requests) for at in moments]
    assert list(backlog(requests, moments)) == open_now
    assert open_now == [0, 10, 0]


def test_curves_add_up_to_counts(records: RunRecords) -> None:
    """The area under a rate is the number of its events, whatever the bins."""
    bins = bins_over(records.start_s, records.end_s)
    assert bins.edges_s[0] == 0
    assert arrivals_per_s(records.visits, bins).sum() * bins.width_s == pytest.approx(400)
    assert orders_per_s(records.visits, bins).sum() * bins.width_s == pytest.approx(50)
    assert outcomes_per_s(records.visits, bins).sum() * bins.width_s == pytest.approx(400)
    assert replies_per_s(records.requests, bins).sum() * bins.width_s == pytest.approx(850)
    (p95,) = response_quantiles_s(records.requests, bins, [0.95])
    assert np.nanmax(p95) == pytest.approx(0.011)


@pytest.mark.parametrize(
    ("start_s", "end_s", "width_s"),
    [(-6, 27, 0.5), (0, 2, 0.1), (-60, 300, 1.0), (0, 7200, 15.0), (0, 86_400, 300.0)],
)
def test_bins_fit_the_sale(start_s: float, end_s: float, width_s: float) -> None:
    bins = bins_over(start_s, end_s)
    assert bins.width_s == width_s
    assert bins.bin_count <= 600
    assert bins.edges_s[0] <= start_s
    assert bins.edges_s[-1] >= end_s - 1e-9
    # The opening is an edge.
    assert np.abs(bins.edges_s).min() < 1e-9 or start_s > 0


def test_stock_level_follows_the_readings(records: RunRecords) -> None:
    """Conservation at every moment, and straight lines between readings."""
    moments = np.linspace(-2, 40, 200)
    levels = [
        stock_level(records.stock, c, 0, moments, 50) for c in ("available", "locked", "sold")
    ]
    np.testing.assert_allclose(np.sum(levels, axis=0), 50)
    assert (levels[0][0], levels[2][-1]) == (50, 50)


def test_an_unknown_word_is_named(hand_made: Builder) -> None:
    sale = hand_made()
    sale.visits[3]["persona"] = "ghost"
    with pytest.raises(RunFolderError, match=r"column persona: unknown word \(got 'ghost'\)"):
        read_records(sale.write())


def test_a_folder_without_timetable_is_refused(hand_made: Builder) -> None:
    sale = hand_made()
    del sale.run["timetable"]
    with pytest.raises(RunFolderError, match=r"run\.json"):
        read_records(sale.write())


def test_a_moved_rate_table_does_not_matter(hand_made: Builder) -> None:
    """A run is judged without the CSV file that its crowd came from."""
    sale = hand_made()
    csv = {"path": "gone.csv", "column": "rate"}
    sale.scenario["crowd"]["phases"][0]["shape"] = {"kind": "series", "bin": "10s", "csv": csv}
    assert read_records(sale.write()).visits.visitor.size == 400
