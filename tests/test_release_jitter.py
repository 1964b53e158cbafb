"""Locks made in one rush do not all lapse at one moment: `shop.release_jitter` in both worlds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats
from tests.sales_by_hand import HOLDER, hold, scenario_by_hand
from tests.shop_stores import LOCK_S, TERMS
from tests.test_provider_shop import shop_with

from doorbuster.scenario import Scenario
from doorbuster_shop.terms import lock_time_s
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
LOCK_MS, JITTER_MS, SWEEP_MS = 300, 800, 50
COUNT = 600


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def rush(build: Build, engine: Engine, jitter_ms: int) -> SimulatedSale:
    """600 locks in 0.1 s, none paid."""
    shop = {
        "lock_time": f"{LOCK_MS}ms",
        "release_sweep": f"{SWEEP_MS}ms",
        "release_jitter": f"{jitter_ms}ms" if jitter_ms else 0,
    }
    scenario = scenario_by_hand(build, HOLDER, stock=COUNT, servers=COUNT, shop=shop)
    return hold(scenario, engine, [number / 6 for number in range(COUNT)])


def test_every_lock_has_its_share(small_scenario: Build, engine: Engine) -> None:
    """Uniform between nothing and all of it; each is released by the first sweep after its end.

    The draws are always the same, so that the statistical part never alarms by chance.
    """
    sale = rush(small_scenario, engine, JITTER_MS)
    orders = sale.orders.to_pydict()
    lasts_ms = (np.array(orders["expires_s"]) - np.array(orders["reserved_s"])) * 1e3
    shares = (lasts_ms - LOCK_MS) / JITTER_MS
    assert stats.kstest(shares, "uniform").pvalue > 0.01
    due_ms = np.ceil(np.round(np.array(orders["expires_s"]) * 1e3, 6) / SWEEP_MS) * SWEEP_MS
    released_ms = np.array(orders["released_s"], dtype=float) * 1e3
    # The sale ends after 2 s, later than the last lock.
    assert np.allclose(released_ms, due_ms)
    assert len(shares) == COUNT


def test_a_mass_of_locks_comes_back_a_few_at_a_time(small_scenario: Build, engine: Engine) -> None:
    """0.1 s of locks lapse within three sweeps without jitter, and 0.8 s of jitter are 16."""

    def most_at_once(jitter_ms: int) -> int:
        released = rush(small_scenario, engine, jitter_ms).orders["released_s"].to_pylist()
        return max(Counter(released).values())

    assert most_at_once(0) >= COUNT // 3
    assert most_at_once(JITTER_MS) <= 2 * COUNT * SWEEP_MS // JITTER_MS


def test_the_shop_takes_the_share_from_the_key() -> None:
    """The same key lasts equally long in every process; keys in a row are spread uniformly."""
    terms = replace(TERMS, release_jitter_s=4.0)
    lasts_s = [lock_time_s(terms, f"1-{number}-reserve-0") for number in range(5_000)]
    # The published SHA-256 of "a" begins with ca978112ca1b.
    assert lock_time_s(terms, "a") == pytest.approx(LOCK_S + 4 * 0xCA978112CA1B / 2**48)
    shares = (np.array(lasts_s) - LOCK_S) / 4.0
    assert stats.kstest(shares, "uniform").pvalue > 0.01
    assert {lock_time_s(TERMS, f"{number}") for number in range(9)} == {LOCK_S}


@pytest.mark.live
def test_the_shop_tells_the_buyer_how_long(tmp_path: Path) -> None:
    """`expires_in_s` and the book of orders know the share; a repeat is told of the same end."""
    terms: dict[str, Any] = {"lock_time": "2s", "release_sweep": "100ms", "release_jitter": "3s"}
    with shop_with(tmp_path, {}, terms=terms) as (_, buyer):
        told: dict[str, list[float]] = {}
        for key in ("a", "b", "c", "a"):
            reply = buyer.http.post(
                "/reservations",
                json={"sku": "console", "quantity": 1, "account": f"of {key}"},
                headers={"Idempotency-Key": key},
            ).json()
            told.setdefault(key, []).append(reply["expires_in_s"])
        assert 0 < told["a"][0] - told["a"][1] < 1
        orders = buyer.ask("/admin/orders")["orders"]
        lasts_s = [o["expires_s"] - o["reserved_s"] for o in orders]
        assert all(2 <= span_s < 5 for span_s in lasts_s)
        assert len({round(span_s, 3) for span_s in lasts_s}) == 3
        # The buyer is told what is left when the answer leaves.
        left_s = [told[key][0] for key in "abc"]
        assert all(
            -1e-3 < of_all - left < 0.5 for of_all, left in zip(lasts_s, left_s, strict=True)
        )
