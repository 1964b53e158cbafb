"""Faults on the sale's clock, computed by hand and held against both engines, and their laws."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tests.fifo_oracle import Queue
from tests.test_engines_agree import differences as unlike
from tests.test_sale_by_hand import HOLDER, LOOKER, ROBOT, by_hand
from tests.test_sim_oracle import differences, queues
from tests.whole_scenarios import Whole, whole_scenarios

from doorbuster.plan import Timetable, build_plan, fault_spans
from doorbuster.records.run_facts import RunSettings, run_facts
from doorbuster.scenario import Scenario
from doorbuster.scenario.faults import Freeze
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.engines import Engine

Build = Callable[..., Scenario]
ends, of_visitor, story = by_hand.ends, by_hand.of_visitor, by_hand.story
PATIENT = {**ROBOT, "retry_limit": 3}


@pytest.fixture(params=["simpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "compiled" and os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled in this process")
    chosen: Engine = request.param
    return chosen


def fault(kind: str, from_ms: float, until_ms: float, **more: Any) -> dict[str, Any]:
    """A fault in [from, until) milliseconds after the opening."""
    length_us = round((until_ms - from_ms) * 1000, 3)
    return {"kind": kind, "start": f"{from_ms}ms", "duration": f"{length_us}us", **more}


@pytest.fixture
def hold(small_scenario: Build, engine: Engine) -> Callable[..., SimulatedSale]:
    """A sale by hand with faults."""

    def held(
        faults: list[dict[str, Any]],
        arrivals_ms: list[float],
        *personas: dict[str, Any],
        **more: Any,
    ) -> SimulatedSale:
        scenario = by_hand.scenario_by_hand(small_scenario, *personas, faults=faults, **more)
        sale: SimulatedSale = by_hand.hold(scenario, engine, arrivals_ms)
        return sale

    return held


Hold = Callable[..., SimulatedSale]


def test_a_shop_that_is_killed_breaks_who_is_inside_and_refuses_who_comes(hold: Hold) -> None:
    """Dead in [15, 35): served at 11, in service, waiting, coming at 21, 34.999999 and 35."""
    arrivals = [0, 2, 4, 20, 33.999999, 34]
    sale = hold([fault("kill_shop", 15, 35)], arrivals, LOOKER)
    assert story(sale) == [
        "0 browse 0-12 ok",
        "1 browse 2-16 error",
        "2 browse 4-16 error",
        "3 browse 20-22 error",
        "4 browse 33.999999-35.999999 error",
        "5 browse 34-46 ok",
    ]
    assert by_hand.busy_ms(sale) == 10 + 4 + 10


def test_a_second_kill_begins_on_a_shop_that_is_back(hold: Hold) -> None:
    """The first is over before the second begins: dead in [6, 20) and in [20, 40)."""
    faults = [fault("kill_shop", 6, 20), fault("kill_shop", 20, 40)]
    sale = hold(faults, [18, 19, 25, 39], LOOKER)
    assert ends(sale) == ["failed", "failed", "failed", "browsed"]


def test_a_payment_outlives_the_shop_that_asked_for_it(hold: Hold) -> None:
    """At the till at 65, answered by the provider at 105, heard by the shop at 200; the buyer is
    told at 81 that the connection broke, and asks again at 131, 183 and 235.
    """
    sale = hold([fault("kill_shop", 80, 200)], [0], PATIENT)
    assert of_visitor(sale, 0)[2:] == [
        "pay 54-81 error",
        "pay 131-133 error",
        "pay 183-185 error",
        "pay 235-247 ok",
    ]
    assert sale.orders.to_pylist()[0]["sold_s"] == 0.2
    charges = sale.charges.to_pylist()
    assert [(row["asked_s"], row["captured_s"]) for row in charges] == [(0.065, 0.2)]


@pytest.mark.parametrize(("from_ms", "answer"), [(95, "error"), (95.000001, "pending")])
def test_a_fault_comes_before_the_shop_stops_waiting(
    hold: Hold, from_ms: float, answer: str
) -> None:
    """The shop would stop waiting for the provider at 95."""
    sale = hold([fault("kill_shop", from_ms, 2000)], [0], payment_timeout="30ms")
    assert of_visitor(sale, 0)[2] == f"pay 54-96 {answer}"


@pytest.mark.parametrize(("from_ms", "answer"), [(105, "error"), (105.000001, "ok")])
def test_a_fault_comes_before_the_providers_answer(hold: Hold, from_ms: float, answer: str) -> None:
    """It is due at 105, and heard by a shop that is back at 200."""
    sale = hold([fault("kill_shop", from_ms, 200)], [0])
    assert of_visitor(sale, 0)[2] == f"pay 54-106 {answer}"
    assert sale.orders.to_pylist()[0]["sold_s"] == (0.2 if answer == "error" else 0.105)


def test_a_cancellation_that_was_broken_off_is_repeated(hold: Hold) -> None:
    """In service from 55 to 65, broken at 60, sent again at 111."""
    canceller = {**HOLDER, "cancel_fraction": 1.0, "retry_limit": 3}
    sale = hold([fault("kill_shop", 60, 70)], [0], canceller)
    assert of_visitor(sale, 0)[2:] == ["cancel 54-61 error", "cancel 111-123 ok"]
    [order] = sale.orders.to_pylist()
    assert (order["state"], order["released_s"]) == ("cancelled", 0.122)


@pytest.mark.parametrize(
    ("kill", "released_s"),
    [((120, 170), 0.17), ((120, 149), 0.149), ((120, 131), 0.15), ((140, 400), 0.4)],
)
def test_a_dead_shop_sweeps_when_it_is_back(
    hold: Hold, kill: tuple[float, float], released_s: float
) -> None:
    """Locked at 33, lapsed at 133; sweeps at 150, 200, ... and at the end of the kill."""
    shop = {"lock_time": "100ms", "release_sweep": "50ms"}
    sale = hold([fault("kill_shop", *kill)], [0], HOLDER, shop=shop)
    assert sale.orders.to_pylist()[0]["released_s"] == released_s


def test_a_frozen_shop_sweeps_when_it_goes_on(hold: Hold) -> None:
    """Once, at 170, and then in the usual rhythm: the second lock lapses at 171."""
    shop = {"lock_time": "100ms", "release_sweep": "50ms"}
    sale = hold([fault("freeze", 140, 170)], [0, 38], HOLDER, shop=shop)
    assert [row["released_s"] for row in sale.orders.to_pylist()] == [0.17, 0.2]


def test_a_frozen_shop_goes_on_where_it_was(hold: Hold) -> None:
    """Frozen in [5, 25): of the first service 6 ms are left, who comes at 21 is third in line."""
    sale = hold([fault("freeze", 5, 25)], [0, 2, 20], LOOKER, queue_limit=2)
    assert story(sale) == ["0 browse 0-32 ok", "1 browse 2-42 ok", "2 browse 20-52 ok"]
    sale = hold([fault("freeze", 5, 25)], [0, 2, 20], LOOKER, queue_limit=1)
    assert story(sale) == ["2 browse 20-26 overloaded", "0 browse 0-32 ok", "1 browse 2-42 ok"]


@pytest.mark.parametrize(("from_ms", "done_ms"), [(11, 22), (11.000001, 12)])
def test_a_service_that_ends_as_the_freeze_begins_ends_after_it(
    hold: Hold, from_ms: float, done_ms: int
) -> None:
    sale = hold([fault("freeze", from_ms, 21)], [0], LOOKER)
    assert story(sale) == [f"0 browse 0-{done_ms} ok"]


def test_a_frozen_shop_stops_waiting_for_the_provider_when_it_goes_on(hold: Hold) -> None:
    """It would have said `pending` at 95."""
    more = {"payment_timeout": "30ms", "channel": {"latency": "400ms"}}
    sale = hold([fault("freeze", 90, 120)], [0], **more)
    assert of_visitor(sale, 0)[2] == "pay 54-121 pending"


def test_the_request_that_was_begun_last_dies_with_its_worker(hold: Hold) -> None:
    """Two busy servers, one waits: from 6 on one server is left, which takes it at 11."""
    sale = hold([fault("kill_worker", 6, 50)], [0, 2, 4], LOOKER, servers=2)
    assert story(sale) == ["1 browse 2-7 error", "0 browse 0-12 ok", "2 browse 4-22 ok"]
    assert by_hand.busy_ms(sale, servers=2) == 10 + 3 + 10
    sale = hold([fault("kill_worker", 6, 50)], [0], LOOKER, servers=2)
    assert story(sale) == ["0 browse 0-12 ok"]


def test_without_a_worker_all_wait(hold: Hold) -> None:
    """The only one is away in [6, 50), and again in [50, 70), with whom it had just begun."""
    sale = hold([fault("kill_worker", 6, 50)], [0, 10], LOOKER)
    assert story(sale) == ["0 browse 0-7 error", "1 browse 10-61 ok"]
    faults = [fault("kill_worker", 6, 50), fault("kill_worker", 50, 70)]
    sale = hold(faults, [0, 10, 12], LOOKER)
    assert story(sale) == ["0 browse 0-7 error", "1 browse 10-51 error", "2 browse 12-81 ok"]


def test_a_database_that_restarts_is_overloaded(hold: Hold) -> None:
    """In [6, 50), for who is served, waits or comes."""
    sale = hold([fault("restart_database", 6, 50)], [0, 2, 20, 49], LOOKER)
    assert story(sale) == [
        "0 browse 0-7 overloaded",
        "1 browse 2-7 overloaded",
        "2 browse 20-22 overloaded",
        "3 browse 49-61 ok",
    ]


def test_a_slow_database_is_slow_for_what_begins_meanwhile(hold: Hold) -> None:
    """5 ms more in [2, 12): services begin at 1, 11 and 26."""
    sale = hold([fault("slow_database", 2, 12, extra="5ms")], [0, 2, 4], LOOKER)
    assert story(sale) == ["0 browse 0-12 ok", "1 browse 2-27 ok", "2 browse 4-37 ok"]


@pytest.mark.parametrize("row", [{}, {"station": "row"}])
def test_a_slow_database_leaves_other_stations_alone(hold: Hold, row: dict[str, str]) -> None:
    """The last station of a reservation is 5 ms slower, a page and the till are not."""
    page = {"station": "page", "time": "10ms"}
    service = {
        "stations": [{"name": "page", "servers": 1}, {"name": "row", "servers": 1}],
        "browse": [page],
        "reserve": [page, {"station": "row", "time": "10ms"}],
        "pay": [page],
    }
    sale = hold([fault("slow_database", -1000, 2000, extra="5ms", **row)], [0], service=service)
    # At the row from 33 to 48.
    assert story(sale) == [
        "0 browse 0-12 ok",
        "0 reserve 22-49 ok",
        "0 pay 69-121 ok",
    ]


@pytest.mark.parametrize("answer", ["refuse", "hang"])
@pytest.mark.parametrize("lock_ms", [268, 267, 200])
def test_after_an_outage_a_charge_is_asked_for_again_while_its_lock_lives(
    hold: Hold, answer: str, lock_ms: int
) -> None:
    """At the till at 65, out until 300; locked at 33 until 301, 300 or 233."""
    faults = [fault("provider_outage", 60, 300, answer=answer)]
    sale = hold(faults, [0], shop={"lock_time": f"{lock_ms}ms"})
    if lock_ms == 268:
        assert of_visitor(sale, 0)[2] == "pay 54-341 ok"
        assert [row["asked_s"] for row in sale.charges.to_pylist()] == [0.3]
    else:
        assert of_visitor(sale, 0)[2] == "pay 54-301 expired"
        assert sale.charges.num_rows == sale.audit.items[0].sold_units == 0


@pytest.mark.parametrize(
    ("kind", "from_ms", "told_ms"),
    [
        ("kill_provider", 80, 201),  # asked for, and answered when it is back
        ("kill_provider", 60, 241),  # asked for again when it is back
        ("freeze", 80, 201),
        ("freeze", 60, 241),  # heard when it goes on
        ("provider_outage", 80, 106),  # already asked for
    ],
)
def test_what_befalls_the_provider(hold: Hold, kind: str, from_ms: float, told_ms: int) -> None:
    """At the till at 65, answered after 40 ms; until 200 something is wrong."""
    more = {"of": "provider"} if kind == "freeze" else {}
    sale = hold([fault(kind, from_ms, 200, **more)], [0])
    assert of_visitor(sale, 0)[2] == f"pay 54-{told_ms} ok"


def test_units_counted_off_by_a_killed_request_come_back_with_the_next_sweep(hold: Hold) -> None:
    """`prededuct`, one unit: counted off at 23, never decided, counted anew by the sweep at 50."""
    shop = {"strategy": "prededuct", "release_sweep": "50ms"}
    sale = hold([fault("kill_worker", 25, 26)], [0, 26, 40], shop=shop, stock=1)
    assert of_visitor(sale, 0)[1] == "reserve 22-26 error"
    assert of_visitor(sale, 1)[1] == "reserve 48-50 sold_out"
    assert of_visitor(sale, 2)[1] == "reserve 62-74 ok"


# --- recursions with vacations ---


@dataclass
class FrozenQueue(Queue):
    """The queue of the oracle on a clock that stands still in a freeze.

    U(t) is the time that has passed unfrozen by t. A service takes its time of U; whoever is ready
    as a freeze begins leaves at its end.
    """

    freezes: tuple[tuple[int, int], ...] = field(default=(), kw_only=True)

    def moving_ns(self, at_ns: int) -> int:
        """U, which need not count from the opening."""
        return at_ns - sum(max(0, min(at_ns, end) - begin) for begin, end in self.freezes)

    def end_ns(self, arrival_ns: int, visitor: int, service_ns: int) -> int | None:
        """As in the oracle, but for the clock."""
        leaves_after = (arrival_ns, 2**63 if self.is_first else visitor)
        waiting = sum(end > leaves_after for end in self.ends) - self.servers
        if waiting >= 0 and waiting == self.queue_limit:
            self.refused += 1
            return None
        self.max_queue = max(self.max_queue, waiting + 1)
        begin_ns = max(arrival_ns, heapq.heappop(self.free_ns))
        due_ns = self.moving_ns(begin_ns) + service_ns
        end_ns = due_ns
        # The last moment of which U is this one: the end of a freeze, if it lies before one.
        for begin, end in self.freezes:
            if end_ns >= begin:
                end_ns += end - begin
        heapq.heappush(self.free_ns, end_ns)
        self.ends.append((end_ns, visitor))
        self.busy_ns += end_ns - begin_ns
        return end_ns


@st.composite
def frozen_queues(draw: st.DrawFn) -> tuple[Scenario, int, tuple[tuple[int, int], ...]]:
    """Queues with up to four freezes, which may adjoin."""
    scenario, seed = draw(queues())
    phase = scenario.crowd.phases[0]
    unit_ns = max(1, round(phase.duration * 1e9 / 8))
    at_ns, freezes = 0, []
    for _ in range(draw(st.integers(1, 4))):
        at_ns += draw(st.integers(0, 3)) * unit_ns
        length_ns = draw(st.integers(1, 4)) * unit_ns
        freezes.append((at_ns, at_ns + length_ns))
        at_ns += length_ns
    faults = [
        Freeze.model_validate(
            {"kind": "freeze", "start": f"{a / 1000:.3f}us", "duration": f"{(b - a) / 1000:.3f}us"}
        )
        for a, b in freezes
    ]
    return scenario.model_copy(update={"faults": faults}), seed, tuple(freezes)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_a_frozen_queue_is_lindleys_on_a_clock_that_stands_still(engine: Engine) -> None:
    """Kiefer and Wolfowitz's recursion in unfrozen time, request by request.

    With no refusals: what a frozen shop refuses it tells later, which the recursions do not know.
    """
    checked = 0

    @settings(
        max_examples=250,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=frozen_queues())
    def run(case: tuple[Scenario, int, tuple[tuple[int, int], ...]]) -> None:
        nonlocal checked
        scenario, seed, freezes = case
        assume(all(station.queue_limit > 100 for station in scenario.service.stations))

        def queue(servers: int, limit: int, is_first: bool) -> Queue:
            return FrozenQueue(servers, limit, is_first, freezes=freezes)

        assert differences(engine, scenario, seed, queue) == [], scenario.model_dump_json()
        checked += 1

    run()
    assert checked >= 60


# --- laws ---


def of_generated(count: int, check: Callable[[Whole], None]) -> None:
    """Check generated sales, the same ones in every run."""

    @settings(max_examples=count, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(whole=whole_scenarios())
    def run(whole: Whole) -> None:
        check(whole)

    run()


def with_faults(whole: Whole, faults: list[dict[str, Any]]) -> Whole:
    """The same run with other faults."""
    return replace(whole, file={**whole.file, "faults": faults})


def test_a_fault_outside_the_sale_changes_nothing() -> None:
    """Of every kind, after its end."""
    kinds = ("kill_shop", "kill_worker", "restart_database", "slow_database", "freeze")

    def check(whole: Whole) -> None:
        end_s = whole.timetable.end_s
        late = [
            {"kind": kind, "start": f"{end_s:.9f}s", "duration": "1s"}
            for kind in (*kinds, "provider_outage", "kill_provider")
        ]
        one, other = with_faults(whole, []), with_faults(whole, late)
        assert unlike(one.sale("compiled"), other.sale("compiled")) == []

    of_generated(100, check)


def test_a_database_that_is_hardly_slower_is_not_slower() -> None:
    """Less than half a nanosecond is nothing."""

    def check(whole: Whole) -> None:
        start_s, end_s = whole.timetable.start_s, whole.timetable.end_s
        slow = {"kind": "slow_database", "extra": "0.0004us"}
        slow |= {"start": f"{start_s:.9f}s", "duration": f"{end_s - start_s + 1:.9f}s"}
        one, other = with_faults(whole, []), with_faults(whole, [slow])
        assert unlike(one.sale("compiled"), other.sale("compiled")) == []

    of_generated(100, check)


@pytest.mark.parametrize("who", ["shop", "provider"])
def test_two_freezes_that_adjoin_are_one(who: str) -> None:
    """Cut anywhere, at a moment of an event as well."""
    changed = 0

    def check(whole: Whole) -> None:
        nonlocal changed
        start_ns = round(whole.timetable.start_s * 1e9)
        span_ns = round(whole.timetable.end_s * 1e9) - start_ns
        moments = [start_ns + span_ns * part // 40 for part in (1, 5, 17)]

        def freezes(*bounds_ns: int) -> Whole:
            faults = [
                {
                    "kind": "freeze",
                    "of": who,
                    "start": f"{a / 1000:.3f}us",
                    "duration": f"{(b - a) / 1000:.3f}us",
                }
                for a, b in pairwise(bounds_ns)
                if b > a
            ]
            return with_faults(whole, faults)

        one = freezes(moments[0], moments[2]).sale("compiled")
        assert unlike(one, freezes(*moments).sale("compiled")) == []
        changed += bool(unlike(one, freezes().sale("compiled")))

    of_generated(60, check)
    assert changed > 5


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_shop_says_nothing_but_broken(
    small_scenario: Build, engine: Engine, seed: int
) -> None:
    """Of answers that leave within the outage all are broken connections, and no others are."""
    scenario = small_scenario(
        crowd={"load_factor": 100},
        service={"stations": [{"name": "web", "servers": 1, "queue_limit": 200}]},
        faults=[{"kind": "kill_shop", "start": "5s", "duration": "3s"}],
    )
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, seed, timetable)
    sale = simulate_sale(scenario, plan, timetable, seed=seed, engine=engine)
    reply = np.array(sale.requests["reply"].to_pylist())
    leaves_s = sale.requests["done_s"].to_numpy(zero_copy_only=False) - 0.0005
    heard = (reply != "timeout") & np.isfinite(leaves_s)
    within = (leaves_s >= 5 - 1e-9) & (leaves_s < 8 - 1e-9)
    assert ((reply == "error") == (within & heard)).all()
    broken_at_once = (np.abs(leaves_s - 5) < 1e-9) & (reply == "error")
    assert broken_at_once.sum() > 20
    item = sale.audit.items[0]
    total = item.available_units + item.locked_units + item.sold_units
    assert total == item.initial_units


def test_run_json_tells_when_each_fault_was(small_scenario: Build) -> None:
    """Clipped to the run, and compressed with its timetable; live, somebody measures them."""
    scenario = small_scenario(
        faults=[
            {"kind": "freeze", "start": "10s", "duration": "1h"},
            {"kind": "kill_shop", "start": "4s", "duration": "2s"},
            {"kind": "kill_provider", "start": "2h", "duration": "1s"},
        ]
    )
    file = ScenarioFile(Path("faults.yaml"), "", scenario)
    timetable = Timetable.of(scenario, compress=2.0)
    facts = run_facts(file, RunSettings(compress=2.0), timetable, None, "sim")
    assert facts["faults"] == [
        {"kind": "kill_shop", "begun_s": 2.0, "ended_s": 3.0},
        {"kind": "freeze", "begun_s": 5.0, "ended_s": timetable.end_s},
    ]
    assert run_facts(file, RunSettings(), timetable, None, "live")["faults"] == []
    assert [span.number for span in fault_spans(scenario, timetable)] == [1, 0]
