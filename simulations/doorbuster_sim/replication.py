"""One replication: what a worker is told, does, and hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from doorbuster.compiling import can_keep_code, code_is_kept
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, visits_of
from doorbuster.measures.sale_values import OF_BOOKS, Sale, SaleMeasure
from doorbuster.measures.shipments import shipments_of
from doorbuster.measures.tally import TallyPlan
from doorbuster.plan import Timetable, build_plan, plan_blocks
from doorbuster.plan.plan import COLUMNS
from doorbuster.records.run_facts import RunSettings
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_sim.counted import count_sale
from doorbuster_sim.engines import Engine
from doorbuster_sim.sale import SimulatedSale, simulate_sale
from doorbuster_sim.seeds import replication_seed

Vary = Literal["crowd", "system"]
"""What differs between replications: everything, or only network and service times. The second
repeats one crowd, the same that a live run with this seed meets."""


@dataclass(frozen=True)
class Task:
    """All that a worker needs, on whatever machine it is."""

    file: ScenarioFile
    settings: RunSettings
    vary: Vary
    engine: Engine
    measures: tuple[SaleMeasure, ...]
    tally: TallyPlan | None = None
    """What to count instead of keeping records."""


@dataclass(frozen=True)
class Replication:
    """One finished sale with its number, seed and plan; values: of the task's measures."""

    number: int
    seed: int
    sale: SimulatedSale
    values: tuple[float, ...]
    plan_hash: str
    plan_count: int


def simulate_replication(
    task: Task, number: int, progress: Callable[[float], None] | None = None
) -> Replication:
    """Replication `number` under its own seed; number 0 is a live run's twin.

    progress: as in `simulate_sale`.
    """
    settings, scenario = task.settings, task.file.scenario
    system_seed = replication_seed(settings.seed, number)
    if task.vary == "crowd":
        settings = replace(settings, seed=system_seed)
    timetable = settings.timetable(task.file)
    if task.tally is not None:
        counted = count_sale(
            scenario,
            timetable,
            task.tally,
            seed=settings.seed,
            system_seed=system_seed,
            replication=number,
            engine=task.engine,
            progress=progress,
        )
        tally = counted.sale.tally
        assert tally is not None
        values = tuple(tally.value(measure, scenario) for measure in task.measures)
        return Replication(number, system_seed, counted.sale, values, *counted[1:])
    plan = build_plan(scenario, settings.seed, timetable)
    sale = simulate_sale(
        scenario,
        plan,
        timetable,
        seed=settings.seed,
        system_seed=system_seed,
        replication=number,
        engine=task.engine,
        progress=progress,
    )
    values = _values(task.measures, scenario, timetable, sale)
    return Replication(number, system_seed, sale, values, plan.hash, plan.visitor_count)


def compile_ahead(task: Task, timetable: Timetable) -> None:
    """Compile the engine, where its code is not kept, by a sale with the first visitor of the plan.

    Processes that start together would else compile it all at once, each for itself.
    """
    from doorbuster_sim.compiled_engine.loop import run  # noqa: PLC0415 - loads Numba

    if code_is_kept(run) or not can_keep_code(run):
        return
    seed = task.settings.seed
    block = next(plan_blocks(task.file.scenario, seed, timetable))
    first = replace(block, **{name: getattr(block, name)[:1] for name in COLUMNS})
    simulate_sale(task.file.scenario, first, timetable, seed=seed, engine="compiled")


def _values(
    measures: tuple[SaleMeasure, ...],
    scenario: Scenario,
    timetable: Timetable,
    sale: SimulatedSale,
) -> tuple[float, ...]:
    visits = visits_of(
        sale.visits,
        personas=scenario.persona_names,
        phases=[name for name, _, _ in timetable.phases],
        skus=scenario.skus,
    )
    records = Sale(scenario, visits, requests_of(sale.requests))
    if any(measure.kind in OF_BOOKS for measure in measures):
        orders = orders_of(sale.orders, skus=scenario.skus)
        shipments = shipments_of(sale.shipments, skus=scenario.skus)
        charges = charges_of(sale.charges)
        records = records._replace(orders=orders, charges=charges, shipments=shipments)
    return tuple(measure.value(records) for measure in measures)
