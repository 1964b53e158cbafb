"""What a generator process must know to replay its part of a plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from doorbuster.plan import Plan, Timetable, build_plan
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import text_hash
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.profile.reading import ProfileFile, read_profile
from doorbuster_load.safety import Guard

IN_FLIGHT_LIMIT = 20_000
"""Visitors under way in one worker at one time; the next one is dropped and voids the run."""


class ChangedFileError(Exception):
    """A scenario or profile that is not the one the run was started with."""


@dataclass(frozen=True)
class Spec:
    """One live run, as handed to its processes; holds no secret and nothing but plain data."""

    scenario_path: str
    scenario_hash: str
    profile_path: str
    profile_hash: str
    target: str
    settings: RunSettings
    worker_count: int
    guard: dict[str, Any]
    in_flight_limit: int = IN_FLIGHT_LIMIT
    worker_index: int = 0
    master_port: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The spec that another process has sent."""
        settings = dict(content["settings"])
        if settings["window"] is not None:
            settings["window"] = tuple(settings["window"])
        return cls(**{**content, "settings": RunSettings(**settings)})

    def for_worker(self, index: int, master_port: int) -> Spec:
        """The same run, seen by one of several workers."""
        return replace(self, worker_index=index, master_port=master_port)


@dataclass(frozen=True)
class Names:
    """The names behind the numbers in a plan."""

    personas: list[str]
    skus: list[str]
    channels: list[str]
    phases: list[str]


@dataclass(frozen=True)
class Sale:
    """Everything that a spec names, read and built."""

    spec: Spec
    scenario: Scenario
    timetable: Timetable
    plan: Plan
    profile_file: ProfileFile
    guard: Guard
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        """Collect the names."""
        phases = [name for name, _, _ in self.timetable.phases]
        scenario = self.scenario
        names = Names(scenario.persona_names, scenario.skus, scenario.channel_names, phases)
        object.__setattr__(self, "names", names)

    @classmethod
    def of(cls, spec: Spec) -> Self:
        """Read the files of a spec and build its plan. Raises: ChangedFileError, DocumentError."""
        scenario_file = read_scenario(Path(spec.scenario_path))
        profile_file = read_profile(Path(spec.profile_path))
        for what, now, then in (
            (spec.scenario_path, text_hash(scenario_file.text), spec.scenario_hash),
            (spec.profile_path, profile_file.hash, spec.profile_hash),
        ):
            if now != then:
                message = f"{what}: has changed since the run was started; start again"
                raise ChangedFileError(message)
        timetable = spec.settings.timetable(scenario_file)
        plan = build_plan(scenario_file.scenario, spec.settings.seed, timetable)
        guard = Guard.from_json(spec.guard)
        return cls(spec, scenario_file.scenario, timetable, plan, profile_file, guard)


def share_of(account: NDArray[np.int64], worker_index: int, worker_count: int) -> NDArray[np.int64]:
    """Numbers of the visitors that one worker plays; all visits of an account share a worker.

    The account number is scrambled first, since accounts in a pool are consecutive. Source of the
    mixing: the finaliser of SplitMix64 (G. L. Steele et al., OOPSLA 2014).
    """
    bits = account.astype(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return np.flatnonzero(bits % np.uint64(worker_count) == worker_index).astype(np.int64)


def unique_id(*parts: object) -> str:
    """A UUID text that is the same for the same parts."""
    digits = sha256(":".join(map(str, parts)).encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
