"""Counting while the sale runs against counting its records afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.whole_scenarios import Whole, whole_scenarios

from doorbuster import exit_codes
from doorbuster.cli import main
from doorbuster.compiling import plain
from doorbuster.measures.columns import requests_of, visits_of
from doorbuster.measures.histogram import Histogram, bucket_of, pooled, upper_edge_s
from doorbuster.measures.objective_values import tally_plan_of
from doorbuster.measures.outcomes import outcome_counts_by_persona, reply_counts
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.sale_values import Sale, SaleMeasure, measure_named
from doorbuster.measures.tally import SaleTally, slices
from doorbuster.scenario import Scenario
from doorbuster_sim.compiled_engine.layout import ARRAYS
from doorbuster_sim.compiled_engine.sale import CompiledSale
from doorbuster_sim.counted import count_sale
from doorbuster_sim.engines import Engine

DEMO = str(Path(__file__).resolve().parents[1] / "scenarios" / "demo.yaml")


def every_measure(scenario: Scenario, middle_s: float) -> list[SaleMeasure]:
    """Every kind of value, of all and of one, of the whole sale and of both its halves."""
    persona, sku = scenario.persona_names[-1], scenario.skus[-1]
    names = [
        "units-sold", f"units-sold:{sku}", "gmv", "conversion", f"conversion:{persona}",
        f"stock-share:{persona}", "sell-out", f"sell-out:{sku}", "failed-requests",
        "failed-requests:reserve", "response-p50", "response-p95:browse", "response-p99:pay",
    ]  # fmt: skip
    whole = [measure_named(name, scenario) for name in names]
    parts = [measure for measure in whole if measure.kind != "sell-out"]
    return [
        *whole,
        *(measure.within(-math.inf, middle_s) for measure in parts),
        *(measure.within(middle_s, math.inf) for measure in parts),
    ]


def counted(whole: Whole, measures: list[SaleMeasure], engine: Engine = "compiled") -> SaleTally:
    timetable = whole.timetable
    plan = tally_plan_of(whole.scenario, timetable.phases, 1.0, measures)
    system_seed = whole.seed if whole.system_seed is None else whole.system_seed
    found = count_sale(
        whole.scenario, timetable, plan, seed=whole.seed, system_seed=system_seed, engine=engine
    )
    assert found.plan_hash == whole.plan.hash
    assert found.plan_count == whole.plan.visitor_count
    assert found.sale.tally is not None
    return found.sale.tally


def recorded(whole: Whole) -> Sale:
    sale, scenario = whole.sale("compiled"), whole.scenario
    phases = [name for name, _, _ in whole.timetable.phases]
    visits = visits_of(
        sale.visits, personas=scenario.persona_names, phases=phases, skus=scenario.skus
    )
    return Sale(scenario, visits, requests_of(sale.requests))


@settings(max_examples=150)
@given(whole=whole_scenarios())
def test_a_tally_says_what_the_records_say(whole: Whole) -> None:
    scenario, sale = whole.scenario, recorded(whole)
    middle_s = float(np.median(sale.visits.arrival_s))
    measures = every_measure(scenario, middle_s)
    tally = counted(whole, measures)
    personas = len(scenario.persona_names)
    assert tally.outcomes.tolist() == outcome_counts_by_persona(sale.visits, personas).tolist()
    assert tally.replies.tolist() == reply_counts(sale.requests).tolist()
    assert tally.requests_found == len(sale.requests.visitor) == tally.requests_told
    for measure in measures:
        expected, found = measure.value(sale), tally.value(measure, scenario)
        if measure.kind == "response" and expected > 0:
            # A nanosecond is lost where seconds are subtracted.
            assert expected - 1e-9 <= found <= expected * (1 + 1 / 1024) + 1e-9, measure
        else:
            assert found == pytest.approx(expected, abs=1e-9, nan_ok=True), measure


@settings(max_examples=40)
@given(whole=whole_scenarios())
def test_both_engines_have_one_tally(whole: Whole) -> None:
    measures = every_measure(whole.scenario, 0.0)
    by_compiled, by_simpy = (counted(whole, measures, name) for name in ("compiled", "simpy"))
    assert by_compiled.to_json() == by_simpy.to_json()
    again = SaleTally.from_json(json.loads(json.dumps(by_compiled.to_json())))
    assert again.to_json() == by_compiled.to_json()
    assert again.plan == by_compiled.plan


@given(time_ns=st.integers(0, 2**62 - 1))
def test_a_bucket_is_a_thousandth_wide(time_ns: int) -> None:
    bucket = plain(bucket_of)(time_ns)
    edge_ns = upper_edge_s(bucket) * 1e9
    rounding = 2 * math.ulp(max(edge_ns, 1.0))
    assert time_ns <= edge_ns + rounding
    assert edge_ns <= time_ns * (1 + 1 / 1024) + rounding
    assert plain(bucket_of)(time_ns + 1) >= bucket


@given(times_ns=st.lists(st.integers(0, 10**9), min_size=1), fraction=st.floats(0.01, 1))
def test_quantiles_of_pooled_histograms(times_ns: list[int], fraction: float) -> None:
    def histogram(times: list[int]) -> Histogram:
        counts = np.zeros(64 * 1024, dtype=np.int64)
        for time_ns in times:
            counts[plain(bucket_of)(time_ns)] += 1
        return Histogram.of(counts, 0)

    half = len(times_ns) // 2
    found = pooled([histogram(times_ns[:half]), histogram(times_ns[half:])])
    expected = quantile(np.array(times_ns, dtype=np.float64) / 1e9, fraction)
    assert expected - 1e-9 <= found.quantile_s(fraction) <= expected * (1 + 1 / 1024) + 1e-9


def test_what_never_ends_is_the_longest() -> None:
    histogram = Histogram(np.array([5000]), np.array([94]), never=6)
    assert math.isfinite(histogram.quantile_s(0.94))
    assert histogram.quantile_s(0.95) == math.inf


@given(trials=st.lists(st.integers(0, 9), min_size=12, max_size=300))
def test_slices_are_equally_full_to_a_bin(trials: list[int]) -> None:
    bins = np.array([trials, [number // 2 for number in trials]])
    found = slices(bins, 12)
    assert found.sum(axis=1).tolist() == bins.sum(axis=1).tolist()
    assert np.abs(found[0] - sum(trials) / 12).max() <= max(trials)


def test_memory_does_not_grow_with_the_crowd(
    small_scenario: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sale ten times as long, with as many visitors at once, takes the same arrays.

    But for the readings of the stock, one a second, and the calendar's index of later stretches.
    """
    sizes: list[dict[str, int]] = []
    close = CompiledSale._close

    def measured(sale: CompiledSale) -> None:
        memory = sale._memory
        rooms = {name: len(memory.array(name)) for name in ARRAYS}
        sizes.append(
            {k: n for k, n in rooms.items() if k not in ("planned", "coarse", "stock_rows")}
        )
        close(sale)

    monkeypatch.setattr(CompiledSale, "_close", measured)
    shape = {"kind": "constant", "level": 1}
    for duration_s in (40, 400):
        phase = {"name": "sale", "start": 0, "duration": f"{duration_s}s", "shape": shape}
        scenario = small_scenario(crowd={"load_factor": 300, "phases": [phase]})
        whole = Whole(scenario.model_dump(), 1)
        whole.__dict__["scenario"] = scenario
        tally = counted(whole, [])
        assert tally.planned > 1400 * duration_s
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == len(ARRAYS) - 3


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_a_counted_run_has_the_verdict_of_a_recorded_one(tmp_path: Path) -> None:
    verdicts = {}
    for records in ("all", "none"):
        folder = tmp_path / records
        code, out, _ = run(
            "simulate", DEMO, "--records", records, "--replications", "3", "--json",
            "--results", str(folder),
        )  # fmt: skip
        verdicts[records] = json.loads(out)
        assert code == verdicts[records]["exit_code"]
    kept, only_counted = verdicts["all"], verdicts["none"]
    assert only_counted["report"] is None
    for one, other in zip(kept["checks"], only_counted["checks"], strict=True):
        if one["id"].startswith("failure."):
            # Detectors read the books, which only a recorded run keeps.
            assert (other["id"], other["status"]) == (one["id"], "not_applicable")
            continue
        assert (one["id"], one["status"]) == (other["id"], other["status"])
        expected = one["value"] and pytest.approx(one["value"], rel=1e-12)
        assert other["value"] == expected
    for one, other in zip(kept["measures"], only_counted["measures"], strict=True):
        assert other["mean"] == pytest.approx(one["mean"], rel=1e-3)


def test_nothing_can_be_drawn_of_a_counted_run(tmp_path: Path) -> None:
    code, _, told = run("simulate", DEMO, "--records", "none", "--results", str(tmp_path))
    assert code == exit_codes.PASS
    assert "Counts: " in told
    folder = str((tmp_path / "demo" / "latest").resolve())
    code, out, told = run("report", folder)
    assert code == exit_codes.USAGE
    assert "--records none" in out + told
