"""A measured day: the planned arrivals reproduce its table within sampling error."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from doorbuster.cli.main import main
from doorbuster.plan import Timetable, build_plan
from doorbuster.plan.picture import bin_plan
from doorbuster.scenario.reading import read_scenario

MATCH_DAY = Path(__file__).parent.parent / "scenarios" / "match-day.yaml"

# Requests an hour to the 1998 World Cup site on 30 June 1998, in thousands (Arlitt and Jin).
THOUSANDS = [
    1152, 1022, 891, 857, 760, 778, 940, 969, 945, 960, 988, 1095,
    1292, 1565, 3355, 7727, 8099, 5087, 4493, 7306, 9413, 11103, 2851, 1561,
]  # fmt: skip


def test_the_timetable_holds_the_table() -> None:
    timetable = Timetable.of(read_scenario(MATCH_DAY).scenario)
    hours = [timetable.expected_arrivals(h * 3600.0, (h + 1) * 3600.0) for h in range(24)]
    assert hours == pytest.approx([thousand * 1000 for thousand in THOUSANDS])


def test_the_drawn_arrivals_reproduce_the_table_within_sampling_error() -> None:
    # Chi-square over 24 hours and over 1,440 minutes of 750,000 arrivals; fixed seed.
    scenario = read_scenario(MATCH_DAY).scenario
    timetable = Timetable.of(scenario, load_factor=0.01)
    plan = build_plan(scenario, 1, timetable)
    by_hour = bin_plan(timetable, plan, 3600.0)
    assert by_hour.expected == pytest.approx([thousand * 10 for thousand in THOUSANDS])
    for binned in (by_hour, bin_plan(timetable, plan, 60.0)):
        z = binned.z_scores
        assert stats.chi2.sf(float((z**2).sum()), len(z)) > 1e-3
        assert np.abs(z).max() < 5


def test_check_draws_the_plan_as_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    command = ["check", str(MATCH_DAY), "--load-factor", "0.01", "--plot", str(picture)]
    assert CliRunner().invoke(main, command).exit_code == 0
    svg = picture.read_text("utf-8")
    assert svg.count("<circle") == 240
    tops = [float(y) for y in re.findall(r'<circle cx="[^"]+" cy="([^"]+)"', svg)]
    # The evening's peak is the highest dot: between 21 and 22 of 24 hours.
    assert 210 <= tops.index(min(tops)) < 220


def test_check_refuses_to_draw_a_plan_that_is_too_large(tmp_path: Path) -> None:
    command = ["check", str(MATCH_DAY), "--plot", str(tmp_path / "plan.svg")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "too many to draw" in result.stderr
