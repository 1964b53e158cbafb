"""Counts of one worker while it runs, for progress and for the facts of the run."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from doorbuster_load.delays import DelayHistogram


@dataclass
class Tally:
    """What a worker has done so far."""

    planned: int = 0
    offered: int = 0
    """Planned arrivals whose time has come."""
    sent: int = 0
    """Visitors who were started."""
    in_flight: int = 0
    in_flight_max: int = 0
    dropped: int = 0
    sold: int = 0
    failed: int = 0
    cpu_fraction: float = 0.0
    cpu_fraction_max: float = 0.0
    dispatch_delay_p99_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def measure_cpu(self, meter: CpuMeter) -> None:
        """Take the share of a core that this process has used since the last call."""
        self.cpu_fraction = meter.fraction()
        self.cpu_fraction_max = max(self.cpu_fraction_max, self.cpu_fraction)


@dataclass
class CpuMeter:
    """Share of one core that this process uses."""

    _wall_s: float = field(default_factory=time.monotonic)
    _used_s: float = field(default_factory=time.process_time)

    def fraction(self) -> float:
        """Used time over wall time since the last call."""
        wall_s, used_s = time.monotonic(), time.process_time()
        share = (used_s - self._used_s) / max(wall_s - self._wall_s, 1e-9)
        self._wall_s, self._used_s = wall_s, used_s
        return share


@dataclass
class WorkerState:
    """What the generator knows of one worker."""

    index: int
    pid: int = 0
    planned: int = 0
    plan_hash: str = ""
    is_ready: bool = False
    is_done: bool = False
    lost: str = ""
    """Why it counts as lost; empty when it does not."""
    tally: Tally = field(default_factory=Tally)
    delays: DelayHistogram = field(default_factory=DelayHistogram)
    notes: dict[str, int] = field(default_factory=dict)
    last_beat_s: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Its entry in run.json."""
        return {
            "index": self.index,
            "pid": self.pid,
            "planned": self.planned,
            "sent": self.tally.sent,
            "cpu_fraction_max": round(self.tally.cpu_fraction_max, 4),
            "dispatch_delay_p99_s": self.delays.quantile_s(0.99),
            "lost": bool(self.lost),
        }


def own_pid() -> int:
    """The number of this process."""
    return os.getpid()
