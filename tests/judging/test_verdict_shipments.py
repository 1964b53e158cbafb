"""Shipments beside orders: every way in which they can be wrong, and the nearest that is right."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from tests.sales_by_hand import ROBOT, books_of, hold, scenario_by_hand

from doorbuster import exit_codes
from doorbuster.cli import main
from doorbuster.comparison import compare
from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.fault_times import FaultTime
from doorbuster.measures.run_records import read_records
from doorbuster.measures.shipments import parcel_counts, shipments_of, split_share
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import SHIPMENTS
from doorbuster.report import write_report
from doorbuster.report.sides import sides_of
from doorbuster.report.warehouses import parcel_rows, warehouse_rows
from doorbuster.scenario import Scenario
from doorbuster.verdict.checks import Check
from doorbuster.verdict.judge import read_and_judge
from doorbuster.verdict.shipments import offences_of
from doorbuster.verdict.verdict import Verdict
from doorbuster_sim import SimulatedSale

Build = Callable[..., Scenario]
Row = dict[str, Any]
Change = Callable[[list[Row]], None]
END_S = 2.0
A, SET = 0, 2
TWO_WAREHOUSES = Path(__file__).parents[2] / "scenarios" / "two-warehouses.yaml"


@pytest.fixture
def scenario(small_scenario: Build) -> Scenario:
    """Two items in two warehouses each, and a set of one a and two b."""
    items = [
        {"sku": "a", "price": 7, "warehouses": {"east": 2, "west": 2}, "per_account_limit": 2},
        {"sku": "b", "price": 5, "warehouses": {"east": 2, "west": 1}},
        {"sku": "set", "price": 15, "bundle": {"a": 1, "b": 2}},
    ]
    regrets = {**ROBOT, "refund_fraction": 1.0, "refund_after": "30ms"}
    holder = {**ROBOT, "unpaid_fraction": 1.0}
    shop = {"items": items, "refund": {"delay": "0s"}}
    return scenario_by_hand(small_scenario, ROBOT, regrets, holder, servers=9, shop=shop)


@pytest.fixture
def sale(scenario: Scenario) -> SimulatedSale:
    """An a from the east, back at 147 ms; a set from there; two a from the west; one unpaid."""
    plan = {"persona": [1, 0, 0, 2], "item": [A, SET, A, A], "quantity": [1, 1, 2, 1]}
    return hold(scenario, "simpy", [0, 200, 400, 600], **plan)


def books(sale: SimulatedSale, scenario: Scenario, **changes: Any) -> SaleBooks:
    return replace(books_of(sale, scenario, END_S), **changes)


def found(
    sale: SimulatedSale,
    scenario: Scenario,
    rows: Sequence[Row],
    *,
    within_s: float = 0.0,
    **changes: Any,
) -> list[Row]:
    """The offences of other shipments of this sale."""
    table = pa.Table.from_pylist(list(rows), SHIPMENTS)
    shipments = shipments_of(table, skus=scenario.skus)
    told = offences_of(books(sale, scenario, **changes), shipments, within_s=within_s)
    return [dict(offence) for offence in told]


def test_the_sale_as_it_was_is_right(sale: SimulatedSale, scenario: Scenario) -> None:
    rows = sale.shipments.to_pylist()
    names = ("order_id", "sku", "warehouse", "units", "sent_s", "returned_s")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("0-0", "a", "east", 1, 0.105, 0.147),
        ("1-0", "a", "east", 1, 0.305, None),
        ("1-0", "b", "east", 2, 0.305, None),
        ("2-0", "a", "west", 2, 0.505, None),
    ]
    assert found(sale, scenario, rows) == []


def _without(order_id: str, sku: str = "") -> Change:
    """Without the shipments of an order, or of one of its lines."""

    def change(rows: list[Row]) -> None:
        rows[:] = [r for r in rows if r["order_id"] != order_id or sku not in {"", r["sku"]}]

    return change


def _moved(place: int, **fields: Any) -> Change:
    return lambda rows: rows[place].update(fields)


def _more(**fields: Any) -> Change:
    row = {"replication": 0, "units": 1, "sent_s": 1.0, "returned_s": None}
    return lambda rows: rows.append({**row, **fields})


def _in_two(rows: list[Row]) -> None:
    rows[3]["units"] = 1
    rows.append({**rows[3], "warehouse": "east"})


RIGHT: dict[str, Change] = {
    "split otherwise": _in_two,
    "sent later": _moved(3, sent_s=1.5),
    "from the other warehouse": _moved(0, warehouse="west"),
    "told in another order": lambda rows: rows.reverse(),
    "never split, as it came back before": _without("0-0"),
}

WRONG: dict[str, tuple[Change, list[Row]]] = {
    "never sent": (
        _without("2-0"),
        [{"order_id": "2-0", "sku": "a", "ordered_units": 2, "sent_units": 0, "sold_s": 0.505}],
    ),
    "a line that is missing": (
        _without("1-0", "b"),
        [{"order_id": "1-0", "sku": "b", "ordered_units": 2, "sent_units": 0, "sold_s": 0.305}],
    ),
    "a part that is missing": (
        _moved(3, units=1),
        [{"order_id": "2-0", "sku": "a", "ordered_units": 2, "sent_units": 1, "sold_s": 0.505}],
    ),
    "sent twice": (
        _more(order_id="0-0", sku="a", warehouse="east", sent_s=0.11, returned_s=0.147),
        [{"order_id": "0-0", "sku": "a", "ordered_units": 1, "sent_units": 2, "sold_s": 0.105}],
    ),
    "a line that was not ordered": (
        _more(order_id="2-0", sku="b", warehouse="west"),
        [{"order_id": "2-0", "sku": "b", "ordered_units": 0, "sent_units": 1}],
    ),
    "more than there was": (
        _moved(3, warehouse="east"),
        [
            {
                "order_id": "2-0",
                "sku": "a",
                "warehouse": "east",
                "at_s": 0.505,
                "units_below_zero": 1,
            }
        ],
    ),
    "from a warehouse that there is not": (
        _moved(3, warehouse="north"),
        [
            {
                "order_id": "2-0",
                "sku": "a",
                "warehouse": "north",
                "at_s": 0.505,
                "units_below_zero": 2,
            }
        ],
    ),
    "for an order that was never paid": (
        _more(order_id="3-0", sku="a", warehouse="east"),
        [
            {
                "order_id": "3-0",
                "sku": "a",
                "warehouse": "east",
                "units": 1,
                "sent_s": 1.0,
                "state": "never paid",
            }
        ],
    ),
    "for an order that there is not": (
        _more(order_id="9-9", sku="b", warehouse="west"),
        [
            {
                "order_id": "9-9",
                "sku": "b",
                "warehouse": "west",
                "units": 1,
                "sent_s": 1.0,
                "state": "never paid",
            }
        ],
    ),
    "before it was paid for": (
        _moved(3, sent_s=0.504),
        [
            {
                "order_id": "2-0",
                "sku": "a",
                "warehouse": "west",
                "units": 2,
                "sent_s": 0.504,
                "sold_s": 0.505,
            }
        ],
    ),
    "units that never came back": (
        _moved(0, returned_s=None),
        [
            {
                "order_id": "0-0",
                "sku": "a",
                "warehouse": "east",
                "units": 1,
                "sent_s": 0.105,
                "order_returned_s": 0.147,
                "returned_s": None,
            }
        ],
    ),
    "units that came back without a refund": (
        _moved(3, returned_s=1.0),
        [
            {
                "order_id": "2-0",
                "sku": "a",
                "warehouse": "west",
                "units": 2,
                "sent_s": 0.505,
                "order_returned_s": None,
                "returned_s": 1.0,
            }
        ],
    ),
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_what_may_be_is_no_offence(sale: SimulatedSale, scenario: Scenario, change: Change) -> None:
    rows = sale.shipments.to_pylist()
    change(rows)
    assert found(sale, scenario, rows) == []


@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_each_way_to_be_wrong_is_told(
    sale: SimulatedSale, scenario: Scenario, change: Change, expected: list[Row]
) -> None:
    rows = sale.shipments.to_pylist()
    change(rows)
    assert found(sale, scenario, rows) == expected


def test_live_an_order_may_wait_for_its_split(sale: SimulatedSale, scenario: Scenario) -> None:
    """Paid at 505 ms and not split: named once `within_s` is over, and the time of a dead shop."""
    rows = sale.shipments.to_pylist()
    _without("2-0")(rows)
    for within_s, end_s, faults, is_found in (
        (0.4, 0.905, (), False),
        (0.4, 0.906, (), True),
        (0.4, 0.956, (FaultTime("kill_shop", 0.6, 0.7),), False),
        (0.4, 1.006, (FaultTime("kill_shop", 0.6, 0.7),), True),
        (0.4, 0.956, (FaultTime("slow_database", 0.6, 0.7),), False),
        (0.4, 0.956, (FaultTime("provider_outage", 0.6, 0.7),), True),
    ):
        offences = found(sale, scenario, rows, within_s=within_s, end_s=end_s, faults=faults)
        assert bool(offences) == is_found, (within_s, end_s, faults)


def test_who_was_sold_what_was_not_there_is_named(small_scenario: Build) -> None:
    """A shop that oversells: two pay for one unit, and the second gets no parcel."""
    item = {"sku": "a", "price": 7, "warehouses": {"east": 1}}
    shop = {"items": [item], "strategy": "check_then_write"}
    oversold = scenario_by_hand(small_scenario, servers=9, shop=shop)
    sale = hold(oversold, "simpy", [0, 0])
    second = {"order_id": "1-0", "sku": "a", "ordered_units": 1, "sent_units": 0, "sold_s": 0.105}
    assert found(sale, oversold, sale.shipments.to_pylist()) == [second]


def test_live_clocks_may_differ_a_little(sale: SimulatedSale, scenario: Scenario) -> None:
    """Sent a little before it was paid, or back a little after: within the slack it is nothing."""
    rows = sale.shipments.to_pylist()
    rows[3]["sent_s"] -= 0.2
    rows[0]["returned_s"] += 0.1
    assert len(found(sale, scenario, rows)) == 2
    assert found(sale, scenario, rows, slack_s=0.25) == []


# --- a whole run ---


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two simulated sales of the scenario that shows it."""
    results = tmp_path_factory.mktemp("results")
    words = ["simulate", str(TWO_WAREHOUSES), "--results", str(results), "--engine", "simpy"]
    told = CliRunner().invoke(main, [*words, "--replications", "2"], catch_exceptions=False)
    assert told.exit_code == exit_codes.PASS, told.output
    assert "split-orders" in told.stdout
    return RunFolder.open((results / "two-warehouses" / "latest").resolve())


def row_of(folder: RunFolder) -> tuple[Verdict, Check]:
    verdict = read_and_judge(folder).verdict
    [row] = [check for check in verdict.checks if check.id == "invariant.shipments"]
    return verdict, row


def copy_of(run: RunFolder, path: Path) -> RunFolder:
    shutil.copytree(run.path, path)
    return RunFolder.open(path)


@pytest.mark.requirement("A069")
def test_a_run_with_warehouses_is_judged(run: RunFolder, tmp_path: Path) -> None:
    """It passes as it was; an order that was never sent breaks it, and is named in both languages.

    Without the table nothing is said, as where a target does not tell it.
    """
    verdict, row = row_of(run)
    assert (verdict.status, row.status) == ("pass", "pass")
    spoilt = copy_of(run, tmp_path / "spoilt")
    rows = spoilt.table("shipments").to_pylist()
    lost = rows[-1]["order_id"]
    kept = [row for row in rows if (row["replication"], row["order_id"]) != (1, lost)]
    spoilt.write_table("shipments", pa.Table.from_pylist(kept, SHIPMENTS))
    verdict, row = row_of(spoilt)
    assert (verdict.exit_code, row.status) == (exit_codes.FAILED, "fail")
    assert {offence["order_id"] for offence in row.evidence} == {lost}
    assert {offence["replication"] for offence in row.evidence} == {1}
    for language in ("en", "zh-CN"):
        assert f"order_id {lost}" in row.sentence(language)
    untold = copy_of(run, tmp_path / "untold")
    (untold.path / "shipments.parquet").unlink()
    verdict, row = row_of(untold)
    assert (verdict.status, row.status) == ("pass", "not_applicable")


def test_measure_report_and_comparison_count_the_same(run: RunFolder, tmp_path: Path) -> None:
    """Recounted from the rows: what each warehouse sent, and how many orders were split."""
    records = read_records(run)
    rows = run.table("shipments").to_pylist()
    sales = 2
    senders: dict[tuple[int, str], set[str]] = {}
    for row in rows:
        key = row["replication"], row["order_id"]
        senders.setdefault(key, set()).add(row["warehouse"])
    for replication in range(sales):
        mine = [names for (n, _), names in senders.items() if n == replication]
        share = sum(len(names) > 1 for names in mine) / len(mine)
        assert split_share(records.shipments_in(replication)) == share > 0
        assert parcel_counts(records.shipments_in(replication)).sum() == len(mine)
    shares = [split_share(records.shipments_in(replication)) for replication in range(sales)]
    [compared] = [row for row in compare(run, run).measures if row.id == "split_orders"]
    assert compared.a.value == pytest.approx(sum(shares) / sales)
    side = sides_of(run, None)[0]
    for name, initial in (("east", 125), ("west", 145)):
        [told] = [row for row in warehouse_rows([side]) if row["warehouse"] == name]
        sent = sum(row["units"] for row in rows if row["warehouse"] == name) / sales
        back = [row for row in rows if row["warehouse"] == name and row["returned_s"] is not None]
        assert told["stock"] == str(initial)
        assert told["sent"] == f"{round(sent)}"
        left = initial - sent + sum(row["units"] for row in back) / sales
        assert float(told["left"]) == pytest.approx(left, abs=0.05 if left < 10 else 0.5)
    [parcels] = parcel_rows([side])
    ones = sum(len(names) == 1 for names in senders.values()) / sales
    assert parcels["counts"][0] == f"{round(ones)}"
    page = write_report(tmp_path / "report.html", run).read_text("utf-8")
    for heading in ("Warehouses", "仓库", "split orders", "拆分订单占比"):
        assert heading in page
