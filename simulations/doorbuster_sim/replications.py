"""Replications: the same scenario under several seeds, in a pool of processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Literal

import pyarrow as pa

from doorbuster.plan import build_plan
from doorbuster.records.run_facts import RunSettings, run_facts
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import TABLES
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_sim.engines import Engine
from doorbuster_sim.sale import SimulatedSale, simulate_sale

Progress = Callable[[int, int, float], None]
"""Called with finished replications, all replications, and the simulated share of the current one
where it is known (one process), else 0."""

SEED_COUNT = 2**63
"""Seeds are 63-bit numbers; the one after the last is 0."""

Vary = Literal["crowd", "system"]
"""What differs between replications: everything, or only network and service times. The second
repeats one crowd, the same that a live run with this seed meets."""

POOL_FROM_VISITORS = 10_000
"""Below this many visitors in all, starting processes takes longer than the simulation."""


@dataclass(frozen=True)
class Replication:
    """One finished sale with its number and seed; the plan of the first gives the run's hash."""

    number: int
    seed: int
    plan_hash: str
    plan_count: int
    sale: SimulatedSale


def simulate_replication(
    file: ScenarioFile,
    settings: RunSettings,
    vary: Vary,
    engine: Engine,
    number: int,
    progress: Callable[[float], None] | None = None,
) -> Replication:
    """Replication `number` has seed `settings.seed + number`; number 0 is a live run's twin."""
    system_seed = (settings.seed + number) % SEED_COUNT
    if vary == "crowd":
        settings = replace(settings, seed=system_seed)
    timetable = settings.timetable(file)
    plan = build_plan(file.scenario, settings.seed, timetable)
    sale = simulate_sale(
        file.scenario,
        plan,
        timetable,
        seed=settings.seed,
        system_seed=system_seed,
        replication=number,
        engine=engine,
        progress=progress,
    )
    return Replication(number, system_seed, plan.hash, plan.visitor_count, sale)


def simulate_run(
    folder: RunFolder,
    file: ScenarioFile,
    settings: RunSettings,
    *,
    replications: int = 1,
    vary: Vary = "crowd",
    engine: Engine = "simpy",
    job_count: int = 1,
    progress: Progress | None = None,
) -> None:
    """Simulate every replication and fill the run folder.

    Range: replications >= 1, job_count >= 1. engine: as `choose_engine` says.
    An interrupt keeps the finished replications and marks the run as interrupted.
    Raises: KeyboardInterrupt after having kept them.
    """
    started = time.perf_counter()
    timetable = settings.timetable(file)
    plan = build_plan(file.scenario, settings.seed, timetable)
    facts = run_facts(file, settings, timetable, plan, "sim")
    folder.write_run({**facts, "engine": engine, "replications": replications, "vary": vary})
    done: list[Replication] = []
    status = "failed"
    try:
        parallel = job_count > 1 and replications > 1
        if parallel and plan.visitor_count * replications >= POOL_FROM_VISITORS:
            with _pool(min(job_count, replications)) as pool:
                _collect_from_pool(pool, file, settings, vary, engine, replications, done, progress)
        else:
            _collect_here(file, settings, vary, engine, replications, done, progress)
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        _write(folder, done, status=status, wall_s=time.perf_counter() - started)


def _pool(job_count: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a fork would copy the progress display's thread in an unknown state.
    return ProcessPoolExecutor(job_count, mp_context=get_context("spawn"))


def _collect_here(
    file: ScenarioFile,
    settings: RunSettings,
    vary: Vary,
    engine: Engine,
    replications: int,
    done: list[Replication],
    progress: Progress | None,
) -> None:
    timetable = settings.timetable(file)
    length_s = timetable.end_s - timetable.start_s

    def within(now_s: float) -> None:
        if progress is not None:
            progress(len(done), replications, (now_s - timetable.start_s) / length_s)

    for number in range(replications):
        done.append(simulate_replication(file, settings, vary, engine, number, within))
        if progress is not None:
            progress(len(done), replications, 0.0)


def _collect_from_pool(
    pool: Executor,
    file: ScenarioFile,
    settings: RunSettings,
    vary: Vary,
    engine: Engine,
    replications: int,
    done: list[Replication],
    progress: Progress | None,
) -> None:
    # Workers inherit the blocked signal: Ctrl-C is for this process, which keeps what is done.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        futures = [
            pool.submit(simulate_replication, file, settings, vary, engine, number)
            for number in range(replications)
        ]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        for future in as_completed(futures):
            done.append(future.result())
            if progress is not None:
                progress(len(done), replications, 0.0)
    except KeyboardInterrupt:
        for future in futures:
            future.cancel()
        raise


def _write(folder: RunFolder, done: list[Replication], *, status: str, wall_s: float) -> None:
    """Write what there is, in the order of the replications."""
    done.sort(key=lambda replication: replication.number)
    for name in TABLES:
        parts = [getattr(replication.sale, name) for replication in done]
        folder.write_table(name, pa.concat_tables(parts) if parts else TABLES[name].empty_table())
    folder.write_audits([replication.sale.audit for replication in done])
    folder.update_run(
        status=status,
        replication_seeds=[replication.seed for replication in done],
        stations=[
            {"replication": replication.number, **use}
            for replication in done
            for use in replication.sale.stations
        ],
        wall_s=round(wall_s, 3),
    )
