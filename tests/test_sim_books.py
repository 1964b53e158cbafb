"""The books of a simulated sale, orders and charges: by hand, and read from a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.sales_by_hand import HOLDER, ROBOT, hold, scenario_by_hand

from doorbuster.cli import main
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario import Scenario
from doorbuster_sim import SimulatedSale
from doorbuster_sim.engines import Engine

Build = Callable[..., Scenario]
DEMO = str(Path(__file__).resolve().parents[1] / "scenarios" / "demo.yaml")


@pytest.fixture(params=["simpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def told(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some fields of each row."""
    return [tuple(row[name] for name in names) for row in rows]


def orders(sale: SimulatedSale, *names: str) -> list[tuple[Any, ...]]:
    return told(sale.orders.to_pylist(), *names)


def charges(sale: SimulatedSale, *names: str) -> list[tuple[Any, ...]]:
    return told(sale.charges.to_pylist(), *names)


def test_one_purchase_is_one_order_and_one_charge(small_scenario: Build, engine: Engine) -> None:
    """Reserved at 33 ms, asked at 65, captured at 105: every field of both books."""
    scenario = scenario_by_hand(small_scenario, limit=2)
    sale = hold(scenario, engine, [0], quantity=[2], account=[77])
    assert sale.orders.to_pylist() == [
        {
            "replication": 0,
            "order_id": "0-0",
            "account": "77",
            "sku": "console",
            "quantity": 2,
            "amount_cents": 1400,
            "discount_cents": 0,
            "state": "sold",
            "reserved_s": 0.033,
            "expires_s": 3600.033,
            "released_s": None,
            "sold_s": 0.105,
            "refund_asked_s": None,
            "returned_s": None,
        }
    ]
    assert sale.charges.to_pylist() == [
        {
            "replication": 0,
            "charge_id": "0-0",
            "order_id": "0-0",
            "channel": "card",
            "amount_cents": 1400,
            "state": "captured",
            "asked_s": 0.065,
            "decided_s": 0.105,
            "captured_s": 0.105,
            "refunded_s": None,
        }
    ]


def test_every_declined_charge_is_in_the_book(small_scenario: Build, engine: Engine) -> None:
    """Three attempts at one order, each a charge of its own; the order stays locked."""
    scenario = scenario_by_hand(small_scenario, channel={"decline_fraction": 1.0})
    sale = hold(scenario, engine, [0])
    assert charges(sale, "charge_id", "order_id", "state", "asked_s", "captured_s") == [
        ("0-0", "0-0", "declined", 0.065, None),
        ("0-1", "0-0", "declined", 0.167, None),
        ("0-2", "0-0", "declined", 0.269, None),
    ]
    assert orders(sale, "state", "sold_s", "released_s") == [("locked", None, None)]


def test_a_lapsed_lock_is_a_released_order(small_scenario: Build, engine: Engine) -> None:
    """Locked at 33 and 53 ms for 60 ms, swept every 70 ms: both are back at 140."""
    shop = {"lock_time": "60ms", "release_sweep": "70ms"}
    scenario = scenario_by_hand(small_scenario, HOLDER, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 20])
    assert orders(sale, "order_id", "state", "reserved_s", "expires_s", "released_s") == [
        ("0-0", "released", 0.033, 0.093, 0.14),
        ("1-0", "released", 0.053, 0.113, 0.14),
    ]
    assert charges(sale) == []


def test_a_second_order_of_a_visitor_has_another_name(
    small_scenario: Build, engine: Engine
) -> None:
    """Refused at 44 ms, back at 144 for the unit that was released at 100: attempt 1 makes it."""
    shop = {"lock_time": "60ms", "release_sweep": "100ms"}
    hopeful = {**ROBOT, "restock_refresh_limit": 3}
    scenario = scenario_by_hand(small_scenario, HOLDER, hopeful, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 11], persona=[0, 1])
    found = orders(sale, "order_id", "state")
    assert found[0] == ("0-0", "released")
    assert [name for name, _ in found[1:]] == ["1-1"]
    assert charges(sale, "charge_id", "order_id") == [("1-0", "1-1")]


def test_what_the_end_cuts_off_is_processing(small_scenario: Build, engine: Engine) -> None:
    """Asked for at 1,965 ms, to be answered at 2,005; the sale ends at 2,000."""
    sale = hold(scenario_by_hand(small_scenario), engine, [1900])
    assert charges(sale, "state", "asked_s", "captured_s") == [("processing", 1.965, None)]
    assert orders(sale, "state") == [("locked",)]


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_a_run_folder_holds_the_books(tmp_path: Path, engine: Engine) -> None:
    """As many paid orders and captures as the audits count, one sale after the other."""
    words = ["simulate", DEMO, "--replications", "3", "--load-factor", "1", "--engine", engine]
    CliRunner().invoke(main, [*words, "--results", str(tmp_path)], catch_exceptions=False)
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert (folder.path / "orders.parquet").is_file()
    assert not (folder.path / "spool").exists()
    books = folder.table("orders").to_pylist(), folder.table("charges").to_pylist()
    for number, audit in enumerate(folder.audits):
        paid, captured = (
            sum(row["replication"] == number and row["state"] == state for row in rows)
            for rows, state in zip(books, ("sold", "captured"), strict=True)
        )
        assert paid == sum(item.orders_paid for item in audit.items) > 0
        assert captured == audit.payments_captured
    assert len(folder.audits) == 3


def test_where_only_counts_are_kept_there_are_no_books(tmp_path: Path) -> None:
    words = ["simulate", DEMO, "--replications", "1", "--load-factor", "1", "--records", "none"]
    CliRunner().invoke(main, [*words, "--results", str(tmp_path)], catch_exceptions=False)
    folder = (tmp_path / "demo" / "latest").resolve()
    assert (folder / "tally.json").is_file()
    assert not list(folder.glob("orders*"))
    assert not list(folder.glob("charges*"))
