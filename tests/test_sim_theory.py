"""Stations on the compiled engine against queueing theory, as tests of equivalence.

Every anchor passes only when its whole interval lies within 1 % of the theory, 3 % for tails
(`tests/equivalence.py`): a model off by so much passes with probability 1e-4, and a right model
fails with probability 1e-4. The seeds are fixed; `make theory` draws others.

A sale starts with empty stations, theory speaks of stations that have always run. The influence of
the start fades as e^(-t / tau); everybody who comes in the first 20 tau is left out, which leaves
some 2e-9 of it. Erlang's and Cohen's tau for M/M/c is also taken for the other service times, where
after 20 of them it is beyond what a run could see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.equivalence import PILOT_RUNS, TAIL, Theory, assert_equivalent, compare
from tests.queue_theory import (
    LOOKER,
    NO_LIMIT,
    birth_death,
    erlang_b,
    erlang_c,
    pollaczek_khinchine,
    relaxation_s,
    run,
    sale,
    waits_s,
)

from doorbuster.vocabulary import Reply

MEAN_S = 0.001
"""Of every service time."""
WARM_UP = 20
CONTROLS = ("more came", "took longer")
"""Of mean 0: arrivals are Poisson, and what a service takes has no say in who is served."""


class Service(NamedTuple):
    """A service time of a mean of 1 ms, and the mean of its square."""

    time: Any
    mean_square_s2: float


WEIBULL_SHAPE = 0.8
WEIBULL_SCALE_S = MEAN_S / math.gamma(1 + 1 / WEIBULL_SHAPE)
EXPONENTIAL = Service({"kind": "exponential", "mean": "1ms"}, 2e-6)
CONSTANT = Service("1ms", 1e-6)
UNIFORM = Service({"kind": "uniform", "low": 0, "high": "2ms"}, 4e-6 / 3)
WEIBULL = Service(
    {"kind": "weibull", "scale": f"{WEIBULL_SCALE_S * 1e6:.6f}us", "shape": WEIBULL_SHAPE},
    WEIBULL_SCALE_S**2 * math.gamma(1 + 2 / WEIBULL_SHAPE),
)
"""More variable than exponential: the square of its variation is 1.6."""


class Station(NamedTuple):
    """A sale that is nothing but one station."""

    load: float
    """In erlangs."""
    servers: int
    service: Service
    queue_limit: int = NO_LIMIT
    customers: float = 1.5e5
    """Expected in one run."""
    late_s: float = MEAN_S
    """A long wait is longer."""

    @property
    def rate(self) -> float:
        """Arrivals a second."""
        return self.load / MEAN_S

    def measured(self, seed: int) -> Mapping[str, float]:
        """What one run shows of everybody who comes after the warm-up."""
        warm_up_s = WARM_UP * relaxation_s(self.rate, MEAN_S, self.servers, self.queue_limit)
        duration_s = warm_up_s + self.customers / self.rate
        station = {"name": "web", "servers": self.servers, "queue_limit": self.queue_limit}
        browse = [{"station": "web", "time": self.service.time}]
        scenario = sale(
            self.rate, duration_s, LOOKER, service={"stations": [station], "browse": browse}
        )
        requests = run(scenario, seed)[0].all_requests()
        requests = requests[requests["sent_ns"] >= warm_up_s * 1e9]
        served = requests[requests["reply"] == Reply.OK]
        waits = waits_s(scenario, seed, served)
        service = (served["done_ns"] - served["sent_ns"]) * 1e-9 - waits
        return {
            "mean wait": float(waits.mean()),
            "waited": float((waits > 0).mean()),
            "waited long": float((waits > self.late_s).mean()),
            "refused": 1 - len(served) / len(requests),
            "more came": len(requests) / self.customers - 1,
            "took longer": float((service - MEAN_S).sum()) / (self.customers * MEAN_S),
        }


@pytest.mark.parametrize(
    "service", [EXPONENTIAL, CONSTANT, WEIBULL], ids=["exponential", "constant", "weibull"]
)
def test_erlang_b_without_a_queue_whatever_the_distribution(service: Service) -> None:
    station = Station(4.0, 5, service, queue_limit=0, customers=5e4)
    theories = {"refused": Theory(erlang_b(4.0, 5))}
    assert_equivalent(station.measured, theories, controls=("more came",))


def test_erlang_c_mean_and_tail_of_the_wait() -> None:
    # Wq = C / (c mu - lambda); P(W > t) = C exp(-(c mu - lambda) t).
    station = Station(1.0, 2, EXPONENTIAL, late_s=2 * MEAN_S)
    waits, surplus = erlang_c(1.0, 2), 1.0 / MEAN_S
    assert_equivalent(
        station.measured,
        {
            "waited": Theory(waits),
            "mean wait": Theory(waits / surplus),
            "waited long": Theory(waits * math.exp(-2.0), TAIL),
        },
        controls=CONTROLS,
    )


@pytest.mark.parametrize("service", [CONSTANT, WEIBULL], ids=["constant", "weibull"])
def test_pollaczek_khinchine_the_mean_wait_with_one_server(service: Service) -> None:
    station = Station(0.5, 1, service)
    wait = pollaczek_khinchine(station.rate, MEAN_S, service.mean_square_s2)
    assert_equivalent(
        station.measured,
        {"waited": Theory(0.5), "mean wait": Theory(wait)},
        controls=CONTROLS if service is not CONSTANT else ("more came",),
    )


@pytest.mark.parametrize(("load", "servers", "limit"), [(1.5, 1, 4), (3.0, 3, 7)])
def test_a_bounded_queue_is_m_m_c_k(load: float, servers: int, limit: int) -> None:
    """How many are refused, and how long the others wait: Little's law on the queue."""
    station = Station(load, servers, EXPONENTIAL, queue_limit=limit, customers=5e4)
    likely = birth_death(load, servers, servers + limit)
    queued = sum((n - servers) * p for n, p in enumerate(likely) if n > servers)
    waited = sum(likely[servers : servers + limit])
    taken = 1 - likely[-1]
    assert_equivalent(
        station.measured,
        {
            "refused": Theory(likely[-1]),
            "waited": Theory(waited / taken),
            "mean wait": Theory(queued / (station.rate * taken)),
        },
        controls=CONTROLS,
    )


def test_two_stations_in_a_row_are_two_queues() -> None:
    """Burke 1956: what leaves M/M/1 is Poisson again, so the times in both add up."""
    rate, fast_s = 500.0, MEAN_S * 0.8
    warm_up_s = WARM_UP * relaxation_s(rate, MEAN_S, 1)
    service = {
        "stations": [
            {"name": name, "servers": 1, "queue_limit": NO_LIMIT} for name in ("web", "row")
        ],
        "browse": [
            {"station": "web", "time": EXPONENTIAL.time},
            {"station": "row", "time": {"kind": "exponential", "mean": "800us"}},
        ],
    }
    scenario = sale(rate, 2 * warm_up_s + 200, LOOKER, service=service)

    def measured(seed: int) -> Mapping[str, float]:
        requests = run(scenario, seed)[0].all_requests()
        requests = requests[requests["sent_ns"] >= 2 * warm_up_s * 1e9]
        times = requests["done_ns"] - requests["sent_ns"]
        return {"mean time": float(times.mean()) * 1e-9, "more came": len(requests) / 1e5 - 1}

    both = 1 / (1 / MEAN_S - rate) + 1 / (1 / fast_s - rate)
    assert_equivalent(measured, {"mean time": Theory(both)}, controls=("more came",))


def test_who_stops_waiting_is_the_tail_of_the_response_time() -> None:
    """The server works on for who has left, so M/M/1 stays as it is: P(T > t) = e^(-(mu-lambda)t).

    An Erlang A queue, in which who leaves frees a place, is not what a shop behind HTTP is.
    """
    rate, patience_s = 500.0, 0.004
    warm_up_s = WARM_UP * relaxation_s(rate, MEAN_S, 1)
    scenario = sale(
        rate,
        warm_up_s + 150,
        {**LOOKER, "request_timeout": "4ms"},
        service={
            "stations": [{"name": "web", "servers": 1, "queue_limit": NO_LIMIT}],
            "browse": [{"station": "web", "time": EXPONENTIAL.time}],
        },
    )

    def measured(seed: int) -> Mapping[str, float]:
        requests = run(scenario, seed)[0].all_requests()
        requests = requests[requests["sent_ns"] >= warm_up_s * 1e9]
        return {"stopped waiting": float((requests["reply"] == Reply.TIMEOUT).mean())}

    tail = math.exp(-(1 / MEAN_S - rate) * patience_s)
    assert_equivalent(measured, {"stopped waiting": Theory(tail, TAIL)})


def test_overload_is_a_fluid() -> None:
    """Four times as many as can be served: most are refused, or the backlog grows by the surplus.

    From the start on, without a warm-up: the station is full for good after some milliseconds.
    """
    rate, servers, duration_s = 8000.0, 2, 8.0

    def measured(seed: int) -> Mapping[str, float]:
        found = {}
        for name, limit in (("bounded", 10), ("unbounded", NO_LIMIT)):
            station = {"name": "web", "servers": servers, "queue_limit": limit}
            browse = [{"station": "web", "time": EXPONENTIAL.time}]
            service = {"stations": [station], "browse": browse}
            requests = run(sale(rate, duration_s, LOOKER, service=service), seed)[0].all_requests()
            is_done = (requests["done_ns"] < duration_s * 1e9) & (requests["reply"] == Reply.OK)
            refused = float((requests["reply"] == Reply.OVERLOADED).sum())
            found[f"{name}: throughput"] = float(is_done.sum()) / duration_s
            found[f"{name}: refused"] = refused / len(requests)
            found[f"{name}: backlog"] = len(requests) - float(is_done.sum()) - refused
        return found

    throughput = servers / MEAN_S
    backlog = (rate - throughput) * duration_s
    assert_equivalent(
        measured,
        {
            "bounded: throughput": Theory(throughput),
            "bounded: refused": Theory(1 - throughput / rate),
            "unbounded: throughput": Theory(throughput),
            "unbounded: backlog": Theory(backlog),
        },
    )


@pytest.mark.parametrize(
    "altered",
    [
        Station(4.0, 6, EXPONENTIAL, queue_limit=0, customers=2e4),
        Station(4.0, 5, EXPONENTIAL, queue_limit=1, customers=2e4),
        Station(4.12, 5, EXPONENTIAL, queue_limit=0, customers=2e4),
    ],
    ids=["a server more", "a place more", "three per cent more load"],
)
def test_an_altered_station_is_not_erlang_b(altered: Station) -> None:
    """The anchors can fail, for the smallest mistakes that a model can have."""
    theories = {"refused": Theory(erlang_b(4.0, 5))}
    assert compare(altered.measured, theories, most_runs=PILOT_RUNS)["refused"].is_different


def test_an_altered_distribution_is_not_pollaczek_khinchine() -> None:
    theories = {"mean wait": Theory(pollaczek_khinchine(500.0, MEAN_S, EXPONENTIAL.mean_square_s2))}
    station = Station(0.5, 1, UNIFORM, customers=2e4)
    assert compare(station.measured, theories, most_runs=PILOT_RUNS)["mean wait"].is_different


def test_the_warm_up_hides_no_start() -> None:
    """Positive control of the warm-up: the first customers of all wait less."""
    rate = 700.0
    warm_up_s = WARM_UP * relaxation_s(rate, MEAN_S, 1)
    service = {
        "stations": [{"name": "web", "servers": 1, "queue_limit": NO_LIMIT}],
        "browse": [{"station": "web", "time": CONSTANT.time}],
    }
    scenario = sale(rate, 3 * warm_up_s, LOOKER, service=service)
    early, late, later = [], [], []
    for seed in range(100):
        requests = run(scenario, seed)[0].all_requests()
        waits = waits_s(scenario, seed, requests)
        sent_s = requests["sent_ns"] * 1e-9
        early.append(waits[sent_s < 2 * MEAN_S].sum())
        late.append(waits[(sent_s >= warm_up_s) & (sent_s < 2 * warm_up_s)].mean())
        later.append(waits[sent_s >= 2 * warm_up_s].mean())
    theory = pollaczek_khinchine(rate, MEAN_S, CONSTANT.mean_square_s2)
    assert np.mean(early) < 0.5 * theory
    gap = np.array(late) - np.array(later)
    assert abs(gap.mean()) < 4.5 * gap.std(ddof=1) / math.sqrt(len(gap)) < 0.15 * theory
