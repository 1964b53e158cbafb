"""The facts about a run that both worlds write into run.json in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doorbuster.deciding import behaviour_hash
from doorbuster.plan import Plan, Timetable, fault_spans
from doorbuster.records.run_folder import World, machine_facts, text_hash
from doorbuster.scenario.reading import ScenarioFile


@dataclass(frozen=True)
class RunSettings:
    """How a scenario is to be run: what the command line may say on top of the file."""

    seed: int = 1
    load_factor: float | None = None
    """Instead of the scenario's own."""
    window: tuple[float, float] | None = None
    """Only visitors who arrive in [start, end), seconds from the opening."""
    compress: float = 1.0
    """Divides the timetable's times; rates stay, so the crowd shrinks with the time."""

    def timetable(self, file: ScenarioFile) -> Timetable:
        """The timetable under these settings. Raises: WindowError for an empty window."""
        return Timetable.of(
            file.scenario,
            load_factor=self.load_factor,
            window=self.window,
            compress=self.compress,
        )


def run_facts(
    file: ScenarioFile, settings: RunSettings, timetable: Timetable, plan: Plan | None, world: World
) -> dict[str, Any]:
    """What run.json says about every run, simulated or live.

    plan: None where it is made while it runs; its hash and size are then told at the end. Live,
    the faults are told by who made them happen, as measured.
    """
    spans = fault_spans(file.scenario, timetable) if world == "sim" else []
    return {
        "status": "running",
        "world": world,
        "scenario_name": file.scenario.name,
        "scenario_path": str(file.path),
        "scenario_text": file.text,
        "scenario_hash": text_hash(file.text),
        "behaviour_hash": behaviour_hash(file.scenario),
        "plan_hash": plan.hash if plan else None,
        "plan_count": plan.visitor_count if plan else None,
        "seed": settings.seed,
        "load_factor": timetable.load_factor,
        "window": settings.window,
        "compress": settings.compress,
        "timetable": {
            "start_s": timetable.start_s,
            "last_arrival_s": timetable.last_arrival_s,
            "end_s": timetable.end_s,
            "phases": timetable.phases,
        },
        "faults": [span.to_json() for span in spans],
        "replications": 1,
        **machine_facts(),
    }
