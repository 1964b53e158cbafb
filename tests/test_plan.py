"""The plan: arrivals follow the timetable, everything is reproducible, identities are shared."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from doorbuster.plan import Plan, Timetable, WindowError, build_plan, plan_blocks
from doorbuster.plan.plan import COLUMNS
from doorbuster.scenario import Scenario
from doorbuster.scenario.reading import read_scenario

Build = Callable[..., Scenario]

GOLDEN_COUNT = 200826
GOLDEN_HASH = "24eeb5e073603de78b4cff94006220f322f1ed85a4de624bc363c397de1a7520"

SHAPES: dict[str, dict[str, object]] = {
    "constant": {"kind": "constant", "level": 2},
    "ramp": {"kind": "ramp", "from": 0.2, "to": 3},
    "zero_hour": {"kind": "zero_hour", "peak": 10, "hold": "2s", "half_life": "3s", "floor": 0.5},
    "pulse": {"kind": "pulse", "base": 1, "peak": 8, "at": "5s", "rise": "1s", "fall": "4s"},
    "end_of_offer": {"kind": "end_of_offer", "base": 1, "peak": 9},
    "series": {"kind": "series", "bin": "5s", "values": [1, 0, 6, 2]},
}


def with_shape(build: Build, shape: dict[str, object], **crowd: object) -> Scenario:
    phase = {"name": "sale", "start": "-4s", "duration": "20s", "shape": shape}
    return build(crowd={"phases": [phase], "normal_load_per_s": 50, **crowd})


@pytest.mark.parametrize("kind", list(SHAPES))
def test_the_timetable_integrates_its_rate(small_scenario: Build, kind: str) -> None:
    timetable = Timetable.of(with_shape(small_scenario, SHAPES[kind]), load_factor=1)
    for start, end in [(-4.0, 16.0), (-1.5, 3.25), (0.9, 1.0)]:
        breaks = [t for t in timetable.knot_s if start < t < end]
        pieces = np.unique([start, *breaks, end])
        numeric = sum(
            integrate.quad(lambda t: float(timetable.rate_per_s(np.array([t]))[0]), a, b)[0]
            for a, b in itertools.pairwise(pieces)
        )
        assert timetable.expected_arrivals(start, end) == pytest.approx(numeric, rel=1e-9)


@pytest.mark.parametrize("kind", list(SHAPES))
def test_the_inverse_undoes_the_integral(small_scenario: Build, kind: str) -> None:
    timetable = Timetable.of(with_shape(small_scenario, SHAPES[kind]))
    areas = np.linspace(0, timetable.expected_visitors, 1001)[:-1]
    assert timetable.area(timetable.time_of_area(areas)) == pytest.approx(areas, abs=1e-9)


@pytest.mark.parametrize("kind", list(SHAPES))
def test_arrivals_are_a_poisson_process_with_the_timetables_rate(
    small_scenario: Build, kind: str
) -> None:
    # In operational time the gaps are exponential: Kolmogorov-Smirnov, fixed seed.
    timetable = Timetable.of(with_shape(small_scenario, SHAPES[kind]), load_factor=20)
    plan = build_plan(with_shape(small_scenario, SHAPES[kind]), 5, timetable)
    gaps = np.diff(timetable.area(plan.arrival_s))
    assert plan.visitor_count > 15_000
    assert stats.kstest(gaps, "expon").pvalue > 1e-3
    spread = abs(plan.visitor_count - timetable.expected_visitors)
    assert spread < 4 * np.sqrt(timetable.expected_visitors)


def test_counts_of_cells_are_poisson_over_many_seeds(small_scenario: Build) -> None:
    # Mean and variance of the size of 400 plans; the z bounds are 4 standard errors.
    scenario = small_scenario()
    timetable = Timetable.of(scenario)
    counts = [build_plan(scenario, seed, timetable).visitor_count for seed in range(400)]
    mean = timetable.expected_visitors
    assert abs(np.mean(counts) - mean) < 4 * np.sqrt(mean / 400)
    assert abs(np.var(counts) / mean - 1) < 4 * np.sqrt(2 / 400)


def test_a_step_is_a_step(small_scenario: Build) -> None:
    scenario = with_shape(small_scenario, SHAPES["zero_hour"])
    timetable = Timetable.of(scenario, load_factor=2)
    before, after = timetable.rate_per_s(np.array([-4.000001, -4.0]))
    assert (before, after) == (0.0, 50 * 2 * 10)


def test_the_load_factor_scales_and_the_absolute_peak_replaces_it(small_scenario: Build) -> None:
    scenario = with_shape(small_scenario, SHAPES["zero_hour"], absolute_peak_per_s=3000)
    timetable = Timetable.of(scenario)
    assert timetable.peak_rate_per_s == pytest.approx(3000)
    assert timetable.load_factor == pytest.approx(3000 / (50 * 10))
    assert Timetable.of(scenario, load_factor=3).peak_rate_per_s == pytest.approx(1500)


def test_a_window_keeps_the_rate_and_drops_the_rest(small_scenario: Build) -> None:
    scenario = with_shape(small_scenario, SHAPES["zero_hour"])
    whole, window = Timetable.of(scenario), Timetable.of(scenario, window=(-1.0, 2.5))
    assert window.expected_visitors == pytest.approx(whole.expected_arrivals(-1.0, 2.5))
    times = np.linspace(-1, 2.499, 50)
    assert window.rate_per_s(times) == pytest.approx(whole.rate_per_s(times))
    assert (window.start_s, window.last_arrival_s) == (-1.0, 2.5)
    with pytest.raises(WindowError, match="arrivals from -4s to 16s"):
        Timetable.of(scenario, window=(20.0, 30.0))


def test_compression_keeps_rates_and_thins_the_crowd(small_scenario: Build) -> None:
    scenario = with_shape(small_scenario, SHAPES["ramp"])
    whole, fast = Timetable.of(scenario), Timetable.of(scenario, compress=4)
    assert fast.peak_rate_per_s == pytest.approx(whole.peak_rate_per_s)
    assert fast.expected_visitors == pytest.approx(whole.expected_visitors / 4)
    assert fast.end_s == pytest.approx(16 / 4 + 10)


PROGRAM = """
import sys
from pathlib import Path
from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario.reading import read_scenario
scenario = read_scenario(Path(sys.argv[1])).scenario
print(build_plan(scenario, 9, Timetable.of(scenario)).hash)
"""
DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"


def test_two_processes_in_two_folders_agree_on_the_hash(tmp_path: Path) -> None:
    hashes = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(DEMO)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(run.stdout.strip())
    scenario = read_scenario(DEMO).scenario
    assert hashes == {build_plan(scenario, 9, Timetable.of(scenario)).hash}


def test_the_plan_of_a_seed_stays_what_it_is(small_scenario: Build) -> None:
    """Golden: whoever changes it changes every result, and says so in the CHANGELOG [RESULTS]."""
    scenario = small_scenario(crowd={"normal_load_per_s": 5000})
    plan = build_plan(scenario, 9, Timetable.of(scenario))
    assert plan.visitor_count == GOLDEN_COUNT
    assert plan.hash == GOLDEN_HASH


def test_the_hash_depends_on_seed_and_load(small_scenario: Build) -> None:
    scenario = small_scenario()
    one, two = Timetable.of(scenario), Timetable.of(scenario, load_factor=3)
    hashes = {build_plan(scenario, seed, t).hash for seed in (1, 2) for t in (one, two)}
    assert len(hashes) == 4


def test_blocks_join_to_the_plan(small_scenario: Build) -> None:
    scenario = small_scenario(crowd={"normal_load_per_s": 5000})
    timetable = Timetable.of(scenario)
    plan, blocks = build_plan(scenario, 3, timetable), list(plan_blocks(scenario, 3, timetable))
    assert len(blocks) > 2
    for name in COLUMNS:
        joined = np.concatenate([getattr(block, name) for block in blocks])
        assert (joined == getattr(plan, name)).all()
    assert [block.first_visitor for block in blocks[1:]] == list(
        np.cumsum([block.visitor_count for block in blocks])[:-1]
    )
    assert (np.diff(plan.arrival_ns) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_personas_come_in_their_shares(shares: list[float], seed: int) -> None:
    # Binomial bound of five standard errors on each share.
    from doorbuster.draws import draw_array
    from doorbuster.plan.casting import cumulative_shares, pick

    picked = pick(cumulative_shares(shares), draw_array(seed, np.arange(20_000), 3, 0))
    for index, share in enumerate(np.array(shares) / sum(shares)):
        error = np.sqrt(share * (1 - share) / 20_000)
        assert abs((picked == index).mean() - share) <= 5 * error + 1e-12


def test_identities_are_unique_or_shared_from_a_pool(small_scenario: Build) -> None:
    scenario = small_scenario(
        crowd={
            "normal_load_per_s": 100,
            "personas": {
                "fan": {"share": 1},
                "bot": {"share": 1, "identities": {"accounts": 7, "ips": 3}},
            },
        }
    )
    plan = build_plan(scenario, 1, Timetable.of(scenario))
    fan, bot = plan.persona == 0, plan.persona == 1
    assert len(np.unique(plan.account[fan])) == fan.sum()
    assert len(np.unique(plan.account[bot])) == 7
    assert len(np.unique(plan.ip[bot])) == 3
    assert len(np.unique(plan.card[bot])) == bot.sum()
    assert not set(plan.account[fan]) & set(plan.account[bot])


def test_a_phase_mix_replaces_the_shares(small_scenario: Build) -> None:
    constant = {"kind": "constant", "level": 1}
    scenario = small_scenario(
        crowd={
            "normal_load_per_s": 200,
            "phases": [
                {"name": "before", "start": "-5s", "duration": "5s", "shape": constant},
                {
                    "name": "after",
                    "start": 0,
                    "duration": "5s",
                    "shape": constant,
                    "mix": {"bot": 1},
                },
            ],
            "personas": {"fan": {"share": 1}, "bot": {"share": 0}},
        }
    )
    plan: Plan = build_plan(scenario, 1, Timetable.of(scenario))
    assert set(plan.persona[plan.phase == 0]) == {0}
    assert set(plan.persona[plan.phase == 1]) == {1}
    assert (plan.arrival_s[plan.phase == 1] >= 0).all()
