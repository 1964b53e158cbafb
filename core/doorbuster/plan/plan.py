"""The plan: one row a visitor, drawn once, sorted by arrival, hashed.

Arrivals are a Poisson process in operational time (one expected arrival a unit), mapped to the
clock by the inverse of the integrated rate. Operational time is cut into cells of 16 expected
arrivals. Each cell draws its count (Poisson) and the places in it (uniform, sorted), which
together are exactly a Poisson process. Cells know nothing of each other, so a plan larger than
memory comes in blocks of cells.

Source: J. F. C. Kingman, "Poisson Processes" (1993), sections 2.4 (conditioning on the number)
and 2.3 (mapping).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doorbuster.draws.elementary import exp
from doorbuster.draws.philox import draw_array
from doorbuster.draws.purposes import Purpose
from doorbuster.plan.casting import Casting
from doorbuster.plan.timetable import Floats, Timetable
from doorbuster.scenario.model import Scenario

CELL_ARRIVALS = 16.0
BLOCK_CELLS = 4096
"""A block holds about 65,000 visitors. Part of the hash: never change it within a format."""
MAX_COUNT = 200
"""Bound of the count of one cell; a mean of 16 exceeds 59 with less than 2**-52."""
MAX_VISITORS = 50_000_000
"""A plan in memory takes 88 bytes a visitor: 4.4 GB."""
FORMAT = "doorbuster-plan-1"

Column = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Columns of equal length, one row a visitor, sorted by arrival.

    arrival_ns: nanoseconds from the opening. persona, item, channel, phase: indices into the
    scenario's names and the timetable's phases. account, device, ip, address, card: identities;
    equal numbers are the same one.
    """

    arrival_ns: Column
    persona: Column
    item: Column
    quantity: Column
    channel: Column
    phase: Column
    account: Column
    device: Column
    ip: Column
    address: Column
    card: Column
    hash: str = ""
    first_visitor: int = 0
    """Number of the visitor in row 0: not 0 in a block of a larger plan."""

    @property
    def visitor_count(self) -> int:
        """Rows of the plan."""
        return len(self.arrival_ns)

    @property
    def arrival_s(self) -> Floats:
        """Planned arrivals in seconds from the opening."""
        return self.arrival_ns / 1e9


COLUMNS = tuple(field.name for field in fields(Plan) if field.type == "Column")


class PlanSizeError(ValueError):
    """A plan that nobody can run; says what to change."""


class EmptyPlanError(PlanSizeError):
    """A plan without visitors."""


def build_plan(scenario: Scenario, seed: int, timetable: Timetable) -> Plan:
    """The whole plan, with its hash: the same on every machine for the same arguments.

    Raises: EmptyPlanError; PlanSizeError above MAX_VISITORS.
    """
    if timetable.expected_visitors > MAX_VISITORS:
        message = (
            f"the plan is too large: {timetable.expected_visitors:,.0f} visitors are expected; "
            f"allowed: {MAX_VISITORS:,}; take a lower load factor, a window or --compress, "
            "or simulate it with --records none"
        )
        raise PlanSizeError(message)
    hashed = HashedBlocks(scenario, seed, timetable)
    blocks = list(hashed)
    if not hashed.visitor_count:
        message = (
            f"the plan is empty: {timetable.expected_visitors:.2g} visitors are expected and seed "
            f"{seed} draws none; take a higher load factor or a longer window"
        )
        raise EmptyPlanError(message)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(block, name) for block in blocks]) for name in COLUMNS
    }
    return Plan(**columns, hash=hashed.hash)


class HashedBlocks:
    """`plan_blocks`, once; then the hash and size of the whole plan are known."""

    def __init__(self, scenario: Scenario, seed: int, timetable: Timetable) -> None:
        self._digest = sha256(_header(scenario, seed, timetable))
        self._blocks = plan_blocks(scenario, seed, timetable)
        self.visitor_count = 0

    def __iter__(self) -> Iterator[Plan]:
        for block in self._blocks:
            for name in COLUMNS:
                self._digest.update(getattr(block, name).astype("<i8").data)
            self.visitor_count += block.visitor_count
            yield block

    @property
    def hash(self) -> str:
        """SHA-256 of what was taken so far: of the plan, once all blocks were."""
        return self._digest.hexdigest()


def plan_blocks(scenario: Scenario, seed: int, timetable: Timetable) -> Iterator[Plan]:
    """The plan in blocks of about 65,000 visitors, in the order of arrival."""
    casting = Casting(scenario, seed, timetable)
    cell_count = int(np.ceil(timetable.expected_visitors / CELL_ARRIVALS))
    last_cell_arrivals = timetable.expected_visitors - (cell_count - 1) * CELL_ARRIVALS
    first_visitor = 0
    for first_cell in range(0, cell_count, BLOCK_CELLS):
        cells = np.arange(first_cell, min(first_cell + BLOCK_CELLS, cell_count), dtype=np.int64)
        sizes = np.full(len(cells), CELL_ARRIVALS)
        if cells[-1] == cell_count - 1:
            sizes[-1] = last_cell_arrivals
        counts = _counts(seed, cells, sizes)
        visitors = first_visitor + np.arange(int(counts.sum()), dtype=np.int64)
        arrival_ns = _arrivals(
            seed, timetable, visitors, np.repeat(cells, counts), np.repeat(sizes, counts)
        )
        columns: dict[str, Any] = casting.cast(visitors, arrival_ns)
        yield Plan(arrival_ns, **columns, first_visitor=first_visitor)
        first_visitor += len(visitors)


def _header(scenario: Scenario, seed: int, timetable: Timetable) -> bytes:
    names = {
        "format": FORMAT,
        "seed": seed,
        "personas": scenario.persona_names,
        "skus": scenario.skus,
        "channels": scenario.channel_names,
        "phases": [name for name, _, _ in timetable.phases],
    }
    return json.dumps(names, sort_keys=True).encode()


def _counts(seed: int, cells: Column, sizes: Floats) -> Column:
    """Poisson counts by inversion. Shapes (n,), (n,) to (n,)."""
    uniforms = draw_array(seed, cells, int(Purpose.ARRIVAL_COUNT), 0)
    counts = np.searchsorted(_poisson_cdf(CELL_ARRIVALS), uniforms, side="right")
    for odd in np.flatnonzero(sizes != CELL_ARRIVALS):
        cdf = _poisson_cdf(float(sizes[odd]))
        counts[odd] = np.searchsorted(cdf, uniforms[odd], side="right")
    return counts.astype(np.int64)


def _poisson_cdf(mean: float) -> Floats:
    """P(N <= k) for k = 0, 1, ... until it stops growing, by p(k) = p(k-1) mean / k."""
    probability = exp(-mean)
    total = probability
    cdf = [total]
    for k in range(1, MAX_COUNT + 1):
        probability *= mean / k
        if total + probability == total:
            break
        total += probability
        cdf.append(total)
    # Rounding leaves the sum a hair below 1; no uniform may fall beyond the table.
    cdf[-1] = 1.0
    return np.array(cdf)


def _arrivals(
    seed: int, timetable: Timetable, visitors: Column, cells: Column, sizes: Floats
) -> Column:
    """Sorted arrival times in nanoseconds. Shapes (n,) to (n,)."""
    places = draw_array(seed, visitors, int(Purpose.ARRIVAL_PLACE), 0)
    areas = np.sort(cells * CELL_ARRIVALS + places * sizes)
    return np.rint(timetable.time_of_area(areas) * 1e9).astype(np.int64)
