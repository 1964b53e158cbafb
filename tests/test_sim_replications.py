"""Replications: seeds, order, crews, and what a run keeps however it ends."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from doorbuster.comparison.estimates import estimate
from doorbuster.draws import Purpose
from doorbuster.measures import read_records
from doorbuster.measures.latency import finished, response_s
from doorbuster.measures.objective_values import objective_measures
from doorbuster.measures.outcomes import conversion, failed_share
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.sale_values import measure_named
from doorbuster.measures.sales import gmv_cents, sold_units, stock_shares, whole_sell_out_s
from doorbuster.measures.stopping import Goal, Precision
from doorbuster.plan import Plan, build_plan
from doorbuster.records.row_groups import ROW_GROUP_ROWS, TableWriter
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import BOOKS, STOCK, TABLES
from doorbuster.scenario.reading import ScenarioFile, read_scenario
from doorbuster_sim import replication, replications, simulate_run
from doorbuster_sim.crews import Crew, OwnProcess, WorkersLostError
from doorbuster_sim.in_order import run_in_order
from doorbuster_sim.process_crew import process_pool
from doorbuster_sim.seeds import replication_seed

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"


def small_run(results: Path, crew: Crew | None = None, **arguments: Any) -> RunFolder:
    folder = RunFolder.create(results, scenario_name="demo", world="sim", seed=3)
    settings = RunSettings(seed=3, load_factor=1)
    simulate_run(folder, read_scenario(DEMO), settings, crew=crew, **arguments)
    return folder


def digests(folder: RunFolder) -> dict[str, str]:
    files = sorted(folder.path.glob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# --- seeds ---


def test_replication_0_is_the_live_runs_twin() -> None:
    for seed in (0, 1, 2**32, 2**63 - 1):
        assert replication_seed(seed, 0) == seed


def test_neighbouring_seeds_share_no_sale() -> None:
    # Counting upwards, seeds 0..49 with 40 replications would have had only 89 different sales.
    found = {replication_seed(seed, number) for seed in range(50) for number in range(40)}
    assert len(found) == 50 * 40
    assert all(0 <= seed < 2**63 for seed in found)


def test_the_bits_of_derived_seeds_are_fair() -> None:
    # 63 bits of 4,000 seeds: the count of ones is binomial. False alarms: 63 x 2 x 1e-6 = 1e-4.
    seeds = np.array([replication_seed(1, number) for number in range(1, 4001)])
    ones = np.array([((seeds >> bit) & 1).sum() for bit in range(63)])
    assert (np.abs(ones - 2000) < 4.75 * np.sqrt(1000)).all()


def test_derived_seeds_stay_what_they_are() -> None:
    # A change moves the results of every run with more than one replication.
    assert replication_seed(1, 1) == 5095120692087359774
    assert replication_seed(2**63 - 1, 9_999) == 5172416050573178361


def test_no_draw_has_the_name_of_a_seed() -> None:
    assert 0xFFFFFFFF not in [int(purpose) for purpose in Purpose]


# --- the order, whoever works ---


class Late(Executor):
    """Finishes each piece of work only when it is told to."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        return future


class Fragile(Crew):
    losses = (BrokenProcessPool,)
    advice = "try again"


def numbers_kept(crew: Crew, count: int, *, enough: int | None = None) -> list[int]:
    kept: list[int] = []

    def keep(number: int) -> bool:
        kept.append(number)
        return len(kept) == enough

    run_in_order(crew, int, count, keep, lambda _: None)
    return kept


def test_results_come_in_order_and_a_bounded_number_is_in_flight() -> None:
    executor = Late()
    kept: list[int] = []
    seen: list[int] = []
    crew = Crew(executor, worker_count=2)

    def keep(number: int) -> bool:
        kept.append(number)
        return False

    def work() -> None:
        run_in_order(crew, int, 100, keep, seen.append)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        # The latest first: whatever is in flight finishes in the opposite order.
        futures = list(executor.futures)
        assert len(futures) - len(kept) <= crew.in_flight_max + 1
        for number in reversed(range(len(futures))):
            if not futures[number].done():
                futures[number].set_result(number)
    assert kept == list(range(100))
    assert seen[-1] == 100


def test_enough_discards_what_is_under_way() -> None:
    executor = Late()

    class Eager(Crew):
        def submit(self, function: Any, /, *arguments: Any) -> Future[Any]:
            future = super().submit(function, *arguments)
            if arguments[0] < 4:
                future.set_result(arguments[0])
            return future

    assert numbers_kept(Eager(executor, worker_count=2), 100, enough=3) == [0, 1, 2]
    assert [future.cancelled() for future in executor.futures[4:]] == [True] * 4


def test_a_lost_worker_keeps_the_unbroken_row() -> None:
    executor = Late()
    kept: list[int] = []
    crew = Fragile(executor, worker_count=2)

    def keep(number: int) -> bool:
        if not kept:
            for other in (1, 2, 4):
                executor.futures[other].set_result(other)
            for other in (3, 5):
                executor.futures[other].set_exception(BrokenProcessPool("it died."))
        kept.append(number)
        return False

    threading.Timer(0.05, lambda: executor.futures[0].set_result(0)).start()
    with pytest.raises(WorkersLostError, match=r"lost with its worker \(it died\); try again"):
        run_in_order(crew, int, 6, keep, lambda _: None)
    assert kept == [0, 1, 2]


def test_an_interrupt_keeps_what_is_finished() -> None:
    executor = Late()
    kept: list[int] = []

    class Interrupted(Crew):
        def check(self) -> None:
            for number in (0, 1, 3):
                executor.futures[number].set_result(number)
            raise KeyboardInterrupt

    def keep(number: int) -> bool:
        kept.append(number)
        return False

    with pytest.raises(KeyboardInterrupt):
        run_in_order(Interrupted(executor, worker_count=2), int, 9, keep, lambda _: None)
    assert kept == [0, 1]


# --- one run, many crews ---


@contextmanager
def threads() -> Iterator[Crew]:
    with ThreadPoolExecutor(3) as executor:
        yield Crew(executor, worker_count=3)


def test_every_crew_writes_equal_bytes(tmp_path: Path) -> None:
    # Processes that were spawned, three threads in whatever order, and this process.
    alone = digests(small_run(tmp_path, OwnProcess(), replications=7))
    assert len(alone) == len(TABLES) + len(BOOKS) - 1  # It has no warehouses.
    with process_pool(2) as pool:
        assert digests(small_run(tmp_path, pool, replications=7)) == alone
    with threads() as crew:
        assert digests(small_run(tmp_path, crew, replications=7)) == alone


def test_a_precision_stops_every_crew_at_the_same_sale(tmp_path: Path) -> None:
    scenario = read_scenario(DEMO).scenario
    goal = measure_named("conversion", scenario), Goal(0.05, relative=False)
    alone = small_run(tmp_path, OwnProcess(), replications=60, precision=Precision((goal,)))
    with threads() as crew:
        other = small_run(tmp_path, crew, replications=60, precision=Precision((goal,)))
    counts = [folder.run["replications"] for folder in (alone, other)]
    assert 10 <= counts[0] == counts[1] < 60
    assert digests(alone) == digests(other)
    assert len(other.run["replication_seeds"]) == counts[0]


def test_the_engine_is_noted(tmp_path: Path) -> None:
    for engine in ("simpy", "compiled"):
        assert small_run(tmp_path, engine=engine).run["engine"] == engine


def test_a_pool_is_spared_the_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is not compiled yet is compiled once, here, before any process starts.
    order: list[str] = []

    @contextmanager
    def pool(job_count: int) -> Iterator[Crew]:
        order.append(f"{job_count} processes")
        with process_pool(job_count) as crew:
            yield crew

    def tell(_: Any, plan: Plan, *__: Any, engine: str, **___: Any) -> None:
        order.append(f"{engine}, {plan.visitor_count} visitor")

    monkeypatch.setattr(replications, "process_pool", pool)
    monkeypatch.setattr(replication, "simulate_sale", tell)
    monkeypatch.setattr(replication, "can_keep_code", lambda _: True)
    monkeypatch.setitem(replications.POOL_FROM_VISITORS, "compiled", 0)
    for kept in (False, True):
        monkeypatch.setattr(replication, "code_is_kept", lambda _, kept=kept: kept)
        small_run(tmp_path, engine="compiled", replications=4, job_count=2)
    assert order == ["compiled, 1 visitor", "2 processes", "2 processes"]


def test_a_scenario_with_a_table_travels_whole(tmp_path: Path, written_scenario: Any) -> None:
    # A worker on another machine has no CSV file: its numbers are in the scenario that was read.
    (tmp_path / "rates.csv").write_text("rate\n" + "\n".join(str(n % 3) for n in range(20)))
    series = {"kind": "series", "bin": "1s", "csv": {"path": "rates.csv", "column": "rate"}}
    written_scenario["crowd"]["phases"][0]["shape"] = series
    path = tmp_path / "sale.yaml"
    YAML().dump(written_scenario, path)
    file = read_scenario(path)
    (tmp_path / "rates.csv").unlink()
    travelled: ScenarioFile = pickle.loads(pickle.dumps(file))
    settings = RunSettings()
    plans = [build_plan(f.scenario, 1, settings.timetable(f)).hash for f in (file, travelled)]
    assert plans[0] == plans[1]


# --- measures of a run ---


def test_the_means_are_those_of_the_records(tmp_path: Path) -> None:
    folder = small_run(tmp_path, replications=4)
    records = read_records(folder)
    items = len(records.scenario.skus)
    by_hand: dict[str, Callable[[int], float]] = {
        "units-sold": lambda n: float(sold_units(records.visits_in(n), items).sum()),
        "gmv": lambda n: float(gmv_cents(records.visits_in(n))),
        "conversion": lambda n: conversion(records.visits_in(n)),
        "sell-out": lambda n: whole_sell_out_s(
            records.visits_in(n), records.stock_units, records.lines
        ),
        "failed-requests": lambda n: failed_share(records.requests_in(n)),
        "response-p95": lambda n: quantile(
            response_s(records.requests_in(n))[finished(records.requests_in(n))], 0.95
        ),
    }
    rows = {row["name"]: row for row in folder.run["measures"]}
    assert list(rows) == list(by_hand)
    for name, value in by_hand.items():
        expected = estimate(np.array([value(number) for number in records.replications]))
        row = rows[name]
        assert row["sales"] == len(expected.values)
        assert row["missing"] == expected.missing
        if expected.interval is not None:
            assert row["mean"] == pytest.approx(expected.value)
            assert row["low"] == pytest.approx(expected.interval.low)
            assert row["half_width"] == pytest.approx(expected.interval.high - expected.value)


def test_an_objective_has_a_measure_of_its_own_stretch(tmp_path: Path) -> None:
    file = read_scenario(DEMO)
    phases = RunSettings().timetable(file).phases
    found = {m.name: m for m in objective_measures(file.scenario, phases, 1.0)}
    assert list(found) == [objective.name for objective in file.scenario.objectives]
    precision = Precision(((found["bots"].within(0.0, 2.0), Goal(0.5, relative=False)),))
    folder = small_run(tmp_path, replications=2, precision=precision)
    records = read_records(folder)
    early = [
        v._replace(**{k: x[(v.arrival_s >= 0) & (v.arrival_s < 2)] for k, x in v._asdict().items()})
        for v in map(records.visits_in, records.replications)
    ]
    expected = np.mean([stock_shares(v, 3, records.lines)[2] for v in early])
    assert folder.run["measures"][0]["name"] == "bots"
    assert folder.run["measures"][0]["mean"] == pytest.approx(expected)


# --- the tables ---


def readings(count: int, sku: str) -> pa.Table:
    columns = {
        "replication": pa.array(np.zeros(count, np.int16)),
        "at_s": pa.array(np.arange(count, dtype=float)),
        "sku": pa.array([sku] * count).dictionary_encode().cast(STOCK.field("sku").type),
        **{name: pa.array(np.arange(count)) for name in ("available", "locked", "sold")},
    }
    return pa.table(columns, schema=STOCK)


def test_pieces_become_row_groups_of_a_fair_size(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "stock.parquet", STOCK)
    piece_rows = ROW_GROUP_ROWS // 3
    for number in range(7):
        assert not (tmp_path / "stock.parquet").exists()
        writer.append(readings(piece_rows, f"item-{number}"))
    writer.close()
    file = pq.ParquetFile(tmp_path / "stock.parquet")
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [4 * piece_rows, 3 * piece_rows]
    table = file.read()
    assert table["sku"].to_pylist()[::piece_rows] == [f"item-{n}" for n in range(7)]
    assert list(tmp_path.iterdir()) == [tmp_path / "stock.parquet"]
