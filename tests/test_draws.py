"""Draws: published answers, portability, and agreement of their plain and compiled forms."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from doorbuster.draws import (
    DISTRIBUTION_DTYPE,
    DistributionKind,
    DistributionTables,
    Purpose,
    draw,
    draw_array,
    elementary,
    philox4x32,
    sample,
    sample_array,
)
from doorbuster.provider import CHARGED_AGAIN
from doorbuster.scenario.crowd import Persona
from doorbuster.scenario.distributions import Distribution, DistributionBook, late_fraction
from doorbuster_sim.event_order import MAX_REQUESTS

ONES = 0xFFFFFFFF

TABLES = DistributionTables(
    np.array(
        [
            (DistributionKind.CONSTANT, 1.5, 0, 0, 0),
            (DistributionKind.UNIFORM, 1.0, 3.0, 0, 0),
            (DistributionKind.EXPONENTIAL, 2.0, 0, 0, 0),
            (DistributionKind.LOGNORMAL, 2.0, 0.7, 0, 0),
            (DistributionKind.WEIBULL, 2.0, 1.5, 0, 0),
            (DistributionKind.EMPIRICAL, 0, 0, 0, 3),
        ],
        dtype=DISTRIBUTION_DTYPE,
    ),
    np.array([[0.0, 1.0], [0.5, 2.0], [1.0, 10.0]]),
)
REFERENCES: dict[int, Callable[[float], float]] = {
    DistributionKind.UNIFORM: stats.uniform(1, 2).cdf,
    DistributionKind.EXPONENTIAL: stats.expon(scale=2).cdf,
    DistributionKind.LOGNORMAL: stats.lognorm(0.7, scale=2).cdf,
    DistributionKind.WEIBULL: stats.weibull_min(1.5, scale=2).cdf,
}


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(
    counter: tuple[int, int, int, int],
    key: tuple[int, int],
    answer: tuple[int, int, int, int],
) -> None:
    # The known-answer vectors of philox4x32 with 10 rounds in Random123's kat_vectors.
    assert philox4x32(*counter, *key) == answer


# No deadline: the first example may have to compile.
@settings(deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    visitor=st.integers(0, 2**63 - 1),
    purpose=st.integers(0, 2**32 - 1),
    attempt=st.integers(0, 2**32 - 1),
)
def test_the_array_form_of_draw_agrees_bit_for_bit(
    seed: int, visitor: int, purpose: int, attempt: int
) -> None:
    visitors = np.array([visitor, visitor // 2], dtype=np.int64)
    expected = [draw(seed, int(v), purpose, attempt) for v in visitors]
    assert draw_array(seed, visitors, purpose, attempt).tolist() == expected
    assert 0 <= expected[0] < 1


PLAIN = """
import json, sys
import numpy as np
from doorbuster.draws import draw, sample, DistributionTables, DISTRIBUTION_DTYPE
rows, knots = json.load(sys.stdin)
tables = DistributionTables(
    np.array([tuple(row) for row in rows], dtype=DISTRIBUTION_DTYPE), np.array(knots))
uniforms = [draw(7, visitor, 3, 1) for visitor in range(400)]
print(json.dumps([uniforms] + [
    [sample(tables, row, u).hex() for u in uniforms] for row in range(len(rows))]))
"""


def test_plain_python_agrees_with_compiled_code_bit_for_bit() -> None:
    # The same source runs in a process with compilation switched off.
    tables = json.dumps([[list(row.item()) for row in TABLES.rows], TABLES.knots.tolist()])
    plain = subprocess.run(
        [sys.executable, "-c", PLAIN],
        input=tables,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    uniforms, *values = json.loads(plain.stdout)
    assert draw_array(7, np.arange(400), 3, 1).tolist() == uniforms
    for row, expected in enumerate(values):
        compiled = sample_array(TABLES, row, np.array(uniforms))
        assert [float(value).hex() for value in compiled] == expected
        assert [sample(TABLES, row, u).hex() for u in uniforms] == expected


def test_logarithm_and_exponential_are_within_one_ulp() -> None:
    rng = np.random.default_rng(1)
    for x in rng.uniform(2.0**-53, 1.0, 20_000).tolist():
        assert abs(elementary.log(x) - math.log(x)) <= math.ulp(math.log(x))
    for x in rng.uniform(-30, 30, 20_000).tolist():
        assert abs(elementary.exp(x) - math.exp(x)) <= math.ulp(math.exp(x))


def test_the_normal_quantile_agrees_with_the_standard_library() -> None:
    normal = statistics.NormalDist()
    for p in [2.0**-54, 1e-9, 0.01, 0.07, 0.08, 0.3, 0.5, 0.92, 0.93, 0.999, 1 - 2.0**-53]:
        assert elementary.normal_quantile(p) == pytest.approx(normal.inv_cdf(p), rel=1e-14)


@pytest.mark.parametrize("kind", list(REFERENCES), ids=lambda kind: DistributionKind(kind).name)
def test_samples_follow_their_distribution(kind: int) -> None:
    # Kolmogorov-Smirnov on 100,000 fixed draws; deterministic, so it cannot fail by chance.
    values = sample_array(TABLES, kind, draw_array(11, np.arange(100_000), 5, 0))
    assert stats.kstest(values, REFERENCES[kind]).pvalue > 1e-3


def test_an_empirical_table_is_linear_between_its_knots() -> None:
    row = int(DistributionKind.EMPIRICAL)
    assert sample(TABLES, row, 0.0) == 1.0
    assert sample(TABLES, row, 0.25) == 1.5
    assert sample(TABLES, row, 0.75) == 6.0


@given(low=st.floats(0, 1, exclude_max=True), high=st.floats(0, 1, exclude_max=True))
def test_every_distribution_is_monotone_in_its_uniform(low: float, high: float) -> None:
    # Monotony is what keeps common random numbers common.
    low, high = sorted((low, high))
    for row in range(len(TABLES.rows)):
        assert sample(TABLES, row, low) <= sample(TABLES, row, high) * (1 + 1e-15)


def test_purposes_and_attempts_are_independent_streams() -> None:
    # Correlation of 100,000 pairs; its standard error is 0.0032, the bound is five of them.
    visitors = np.arange(100_000)
    base = draw_array(3, visitors, 20, 0)
    for other in (
        draw_array(3, visitors, 21, 0),
        draw_array(3, visitors, 20, 1),
        draw_array(4, visitors, 20, 0),
        draw_array(3, visitors + 1, 20, 0),
    ):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.016


@pytest.mark.parametrize(
    "words",
    [
        "3s",
        {"kind": "uniform", "low": "1s", "high": "5s"},
        {"kind": "exponential", "mean": "2s"},
        {"kind": "lognormal", "median": "2s", "sigma": 0.6},
        {"kind": "weibull", "scale": "3s", "shape": 0.7},
        {"kind": "empirical", "quantiles": [[0, "1s"], [0.4, "2s"], [1, "9s"]]},
    ],
    ids=str,
)
@pytest.mark.parametrize("limit_s", [0.0, 0.5, 2.0, 4.0, 20.0])
def test_the_late_fraction_is_that_of_the_draws(words: object, limit_s: float) -> None:
    """Of a thousand evenly spaced fractions so many have a quantile above the limit."""
    distribution: Any = TypeAdapter(Distribution).validate_python(words)
    book = DistributionBook()
    row = book.add(distribution)
    values = sample_array(book.tables(), row, (np.arange(1_000) + 0.5) / 1_000)
    assert late_fraction(distribution, limit_s) == pytest.approx(
        (values > limit_s).mean(), abs=1e-3
    )


def test_a_second_charge_has_draws_of_its_own() -> None:
    """No payment of a visitor has its number, and it is no copy of the first; bound as above."""
    most_payments = Persona.model_json_schema()["properties"]["payment_attempt_limit"]["maximum"]
    assert most_payments < CHARGED_AGAIN
    assert CHARGED_AGAIN + most_payments < MAX_REQUESTS, "or its event would be somebody else's"
    assert 4 * (CHARGED_AGAIN + most_payments) + 3 < 2**32, "or its notification would be"
    visitors = np.arange(100_000)
    for purpose in (Purpose.PROVIDER_LATENCY, Purpose.PROVIDER_DECLINE, Purpose.PROVIDER_LATE):
        first = draw_array(3, visitors, int(purpose), 0)
        second = draw_array(3, visitors, int(purpose), CHARGED_AGAIN)
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.016


PURPOSES = """
ARRIVAL_COUNT 1  ARRIVAL_PLACE 2  PERSONA 3  ITEM 4  ACCOUNT 5
DEVICE 6  IP 7  ADDRESS 8  CARD 9  CHANNEL 10
PATIENCE 20  BUY_INTENT 21  THINK 22  REFRESH_GAP 23  RETRY_WAIT 24
PAY_INTENT 25  PAY_TIME 26  PAY_RETRY 27  PAY_OTHER_CHANNEL 28  POLL_GAP 29
CANCEL_INTENT 30  COUPON 31  REFUND_INTENT 32  REFUND_TIME 33  CART_INTENT 34  CART_TIME 35
PROVIDER_LATENCY 40  PROVIDER_DECLINE 41  PROVIDER_LATE 42  PROVIDER_LATE_BY 43
PROVIDER_TIMEOUT 44  PROVIDER_TIMEOUT_CAPTURED 45  WEBHOOK_DUPLICATE 46  WEBHOOK_LATE 47
WEBHOOK_LATE_BY 48  WEBHOOK_REORDER 49  NETWORK 60
SERVICE 61  RELEASE_JITTER 62  REFUND_DELAY 63  LINE_SERVICE 64
"""


def test_purposes_keep_their_numbers() -> None:
    # A renumbered purpose would silently change every result of its kind.
    words = PURPOSES.split()
    expected = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert {purpose.name: int(purpose) for purpose in Purpose} == expected
