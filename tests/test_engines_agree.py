"""The compiled engine against SimPy: every record of every sale, without tolerance.

2,000 different sales are compared, the same ones in every run, so that a failure speaks of the
change that is being tested. `make agree` looks further: DOORBUSTER_EXAMPLES sets how many are
compared, DOORBUSTER_FRESH=1 draws new ones in every run and shrinks what it finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.whole_scenarios import Whole, whole_scenarios

from doorbuster.compiling import plain
from doorbuster.plan import Timetable, build_plan
from doorbuster.plan.plan import COLUMNS
from doorbuster.scenario import Scenario
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.compiled_engine.layout import Records
from doorbuster_sim.compiled_engine.sale import CompiledSale
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.simpy_engine import environment

Build = Callable[..., Scenario]
Run = Callable[[Whole], SimulatedSale]

EXAMPLES = int(os.environ.get("DOORBUSTER_EXAMPLES", "2000"))
FRESH = os.environ.get("DOORBUSTER_FRESH", "0") != "0"
TABLES = ("visits", "requests", "stock", "orders", "charges", "shipments")


def by_simpy(whole: Whole) -> SimulatedSale:
    return whole.sale("simpy")


def by_compiled(whole: Whole) -> SimulatedSale:
    return whole.sale("compiled")


def first_difference(one: pa.Table, other: pa.Table) -> str:
    """The first row in which two tables differ, and in which fields; empty if they are equal."""
    if one.equals(other):
        return ""
    if one.schema != other.schema:
        return f"schema {one.schema} and {other.schema}"
    rows, others = one.to_pylist(), other.to_pylist()
    for number, (row, its) in enumerate(zip(rows, others, strict=False)):
        if row != its:
            fields = [f"{key}={row[key]!r}|{its[key]!r}" for key in row if row[key] != its[key]]
            who = {
                key: row[key]
                for key in ("visitor", "step", "attempt", "sku", "order_id")
                if key in row
            }
            return f"row {number} {who}: {', '.join(fields)}"
    if len(rows) == len(others):
        return "equal rows in another form"
    longer = max(rows, others, key=len)
    return f"{len(rows)} and {len(others)} rows; the next is {longer[min(len(rows), len(others))]}"


def differences(one: SimulatedSale, other: SimulatedSale) -> list[str]:
    """What two sales do not have in common, a line for each record; empty if they are equal."""
    found = {name: first_difference(getattr(one, name), getattr(other, name)) for name in TABLES}
    lines = [f"{name}: {what}" for name, what in found.items() if what]
    if one.audit != other.audit:
        lines.append(f"audit: {one.audit}\n   and: {other.audit}")
    if one.stations != other.stations:
        pairs = zip(one.stations, other.stations, strict=False)
        lines.append(f"stations: {[(a, b) for a, b in pairs if a != b]}")
    return lines


def compare(one: Run, other: Run, *, count: int, search: bool = False) -> int:
    """Compare two engines on generated sales up to the first difference.

    search: new sales in every run, and the simplest with a difference; else always the same sales.
    Returns the number of different sales compared: nothing that was generated is left out, and
    what was generated before does not count. Raises: AssertionError with the difference and the
    scenario.
    """
    compared: set[str] = set()

    @settings(
        # Some of the sales have been there before.
        max_examples=count + count // 5 + 10,
        deadline=None,
        derandomize=not search,
        database=None,
        phases=(Phase.generate, Phase.shrink) if search else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(whole=whole_scenarios())
    def agree(whole: Whole) -> None:
        lines = differences(one(whole), other(whole))
        assert not lines, "\n".join([*lines, repr(whole)])
        compared.add(repr((whole.file, whole.seed, whole.load_factor)))

    agree()
    return len(compared)


@pytest.mark.slow
def test_both_engines_leave_the_same_records(
    record_property: Callable[[str, object], None],
) -> None:
    compared = compare(by_simpy, by_compiled, count=EXAMPLES, search=FRESH)
    record_property("sales_compared", compared)
    assert compared >= EXAMPLES


@contextmanager
def another_order(order: Callable[[int, int, int], int]) -> Iterator[None]:
    """SimPy with another order of simultaneous events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "_order", order)
        yield


def with_swapped(one: Rank, other: Rank) -> Run:
    """SimPy that takes two kinds of simultaneous events the other way round."""
    swapped = {int(one): int(other), int(other): int(one)}

    def run(whole: Whole) -> SimulatedSale:
        with another_order(lambda rank, *name: _order(swapped.get(rank, rank), *name)):
            return whole.sale("simpy")

    return run


def later_visitors_first(whole: Whole) -> SimulatedSale:
    """SimPy that takes simultaneous events of one kind from the last visitor to the first."""
    with another_order(lambda rank, visitor, number: _order(rank, 2**30 - visitor, number)):
        return whole.sale("simpy")


_order = plain(event_order)
# Nobody can tell a deadline of the shop from the end of a service in the same nanosecond, nor a
# fault that begins from a sweep: neither reads what the other changes.
ALIKE = {(Rank.PAYMENT_TIMEOUT, Rank.SERVED), (Rank.FAULT_BEGINS, Rank.SWEEP)}
SWAPS = [pair for pair in pairwise(Rank) if pair not in ALIKE]


@pytest.mark.slow
@pytest.mark.parametrize(
    "altered",
    [*(with_swapped(*pair) for pair in SWAPS), later_visitors_first],
    ids=[*(f"{one.name}-{other.name}" for one, other in SWAPS), "visitors"],
)
def test_another_order_of_simultaneous_events_is_seen(altered: Run) -> None:
    """The comparison can fail, and the generated sales let no rule of the order go untested."""
    with pytest.raises(
        AssertionError, match=r"(visits|requests|stock|orders|charges|audit|stations): "
    ):
        compare(by_simpy, altered, count=2000)


def test_a_time_of_ten_thousand_years_is_after_the_sale(small_scenario: Build) -> None:
    """Heavy tails reach beyond 64 bits of nanoseconds; such an answer never comes."""
    tail = {"kind": "lognormal", "median": "3650d", "sigma": 5}
    scenario = small_scenario(service={"network": tail})
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 1, timetable)
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=1, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert differences(one, other) == []


def test_arrays_that_grow_change_nothing(small_scenario: Build) -> None:
    """Some 5,000 visitors at once, in a shop that cannot keep up: every array grows."""
    item = {"sku": "console", "stock": 3000, "price": 1}
    bots = {"share": 1, "identities": {"accounts": 4000}}
    scenario = small_scenario(
        shop={"lock_time": "2s", "items": [item]},
        crowd={"load_factor": 100, "personas": {"fan": {"share": 1}, "bot": bots}},
        service={"stations": [{"name": "web", "servers": 2, "queue_limit": 100_000}]},
    )
    timetable = Timetable.of(scenario, window=(0, 10))
    plan = build_plan(scenario, 7, timetable)
    assert plan.visitor_count > 4_000
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=7, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert differences(one, other) == []


def test_a_plan_in_blocks_leaves_the_same_rows(small_scenario: Build) -> None:
    """The visitors come in pieces; a piece may be one visitor, or end between two of a moment."""
    scenario = small_scenario(crowd={"load_factor": 6})
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 3, timetable)
    count = plan.visitor_count
    cuts = [0, 1, count // 3, count // 3 + 1, count]
    blocks = [
        replace(
            plan,
            **{name: getattr(plan, name)[start:end] for name in COLUMNS},
            first_visitor=start,
        )
        for start, end in pairwise(cuts)
    ]
    found = []
    for pieces in ([plan], blocks):
        rows = Rows()
        sale = CompiledSale(scenario, timetable, 3, 3, rows)
        sale.run(pieces)
        accounts = (
            [column.tobytes() for column in astuple(sale.stock_columns)],
            sale.audit(),
            sale.station_uses(),
        )
        found.append((rows.request_rows, rows.visit_rows, rows.book_rows, accounts))
    assert len(found[0][0]) > count == len(found[0][1])
    assert found[0][2]
    assert found[0] == found[1]


class Rows:
    """Keeps all rows as they came."""

    def __init__(self) -> None:
        self.request_rows: list[bytes] = []
        self.visit_rows: list[bytes] = []
        self.book_rows: list[bytes] = []

    def requests(self, rows: Records) -> None:
        self.request_rows += [row.tobytes() for row in rows]

    def visits(self, rows: Records) -> None:
        self.visit_rows += [row.tobytes() for row in rows]

    def orders(self, rows: Records) -> None:
        self.book_rows += [row.tobytes() for row in rows]

    def charges(self, rows: Records) -> None:
        self.book_rows += [row.tobytes() for row in rows]
