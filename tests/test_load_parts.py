"""The small parts of the live world: shares of workers, histograms, clocks, credentials."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from doorbuster_load.clock import WallClock
from doorbuster_load.delays import DelayHistogram
from doorbuster_load.notes import MAX_NOTES, Notes
from doorbuster_load.profile.credentials import CredentialsError, rows_of_visitors
from doorbuster_load.profile.model import Credentials
from doorbuster_load.spec import share_of, unique_id


@pytest.mark.parametrize("worker_count", [1, 2, 3, 7])
def test_shares_cut_the_plan_without_cutting_an_account(worker_count: int) -> None:
    """Every visitor belongs to exactly one worker, and all visits of an account to the same."""
    account = np.concatenate([np.arange(5000), (1 << 40) + np.arange(5000) % 40])
    shares = [share_of(account, index, worker_count) for index in range(worker_count)]
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(10_000))
    owners = [set(account[share].tolist()) for share in shares]
    assert sum(map(len, owners)) == len(set(account.tolist()))


def test_shares_are_about_equal() -> None:
    """Consecutive account numbers are spread: within 5 standard deviations of an even split."""
    account = np.arange(40_000)
    sizes = [len(share_of(account, index, 4)) for index in range(4)]
    assert max(abs(size - 10_000) for size in sizes) < 5 * (40_000 * 0.25 * 0.75) ** 0.5


def test_delay_histograms_add_up() -> None:
    """Quantiles are known to 2.4 %, and merging loses nothing."""
    delays_s = np.random.default_rng(1).lognormal(-6, 1, 20_000)
    whole, left, right = DelayHistogram(), DelayHistogram(), DelayHistogram()
    whole.add(delays_s)
    left.add(delays_s[:7000])
    right.add(delays_s[7000:])
    merged = DelayHistogram.from_json(left.to_json()).merged(right)
    for fraction in (0.5, 0.9, 0.99, 1.0):
        exact = np.quantile(delays_s, fraction)
        assert exact <= merged.quantile_s(fraction) * 1.001
        assert merged.quantile_s(fraction) <= exact * 1.024
        assert merged.quantile_s(fraction) == whole.quantile_s(fraction)
    assert DelayHistogram().quantile_s(0.99) == 0


def test_delays_out_of_range_are_kept() -> None:
    histogram = DelayHistogram()
    histogram.add(np.array([0.0, 1e-9, 5000.0]))
    assert histogram.quantile_s(0.5) <= 1e-6
    assert histogram.quantile_s(1.0) == pytest.approx(100)


def test_the_wall_clock_is_known_to_a_millisecond() -> None:
    clock = WallClock.measured()
    assert 0 <= clock.bound_s < 1e-3
    assert clock.epoch_s(time.monotonic_ns()) == pytest.approx(time.time(), abs=0.05)


def test_credentials_go_by_visitor_or_account() -> None:
    """One row each, or a clear refusal; `reuse` starts again at the top."""
    account = np.array([7, 9, 7, 1 << 40])
    by_account = Credentials(file="f.csv", by="account")
    assert rows_of_visitors(by_account, 3, account).tolist() == [0, 1, 0, 2]
    by_visitor = Credentials(file="f.csv")
    assert rows_of_visitors(by_visitor, 4, account).tolist() == [0, 1, 2, 3]
    with pytest.raises(CredentialsError, match=r"got 3, the plan has 4 visitors"):
        rows_of_visitors(by_visitor, 3, account)
    reused = Credentials(file="f.csv", reuse=True)
    assert rows_of_visitors(reused, 3, account).tolist() == [0, 1, 2, 0]


def test_notes_are_counted_and_limited() -> None:
    notes = Notes()
    for number in range(MAX_NOTES + 10):
        notes.add(f"note {number}")
        notes.add("again")
    assert notes.to_json()["again"] == MAX_NOTES + 10
    assert len(notes.to_json()) == MAX_NOTES


def test_ids_are_uuids_and_repeat_for_the_same_parts() -> None:
    from uuid import UUID

    assert unique_id(1, "pay", 0) == unique_id(1, "pay", 0) != unique_id(1, "pay", 1)
    assert UUID(unique_id(1)).version == 4


def test_launching_imports_no_locust() -> None:
    """A process that starts a live run is not patched: `rehearse` goes on as it was."""
    code = (
        "import sys, socket; before = socket.socket; import doorbuster_load.launch;"
        "import doorbuster_load.profile.reading, doorbuster_load.hooks;"
        "print('locust' in sys.modules, 'gevent' in sys.modules, before is socket.socket)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


def test_the_locustfile_only_points_the_way() -> None:
    """It holds imports and nothing else, so that Locust may ship it to workers."""
    import ast

    root = Path(__file__).resolve().parents[1]
    tree = ast.parse((root / "loadtests" / "locustfile.py").read_text("utf-8"))
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    assert {type(node) for node in rest} == {ast.ImportFrom, ast.Assign}
