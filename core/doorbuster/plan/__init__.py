"""The exogenous half of the randomness: who comes, when, and as whom."""

from doorbuster.plan.fault_spans import FaultSpan, fault_spans
from doorbuster.plan.plan import (
    EmptyPlanError,
    HashedBlocks,
    Plan,
    PlanSizeError,
    build_plan,
    plan_blocks,
)
from doorbuster.plan.timetable import Timetable, WindowError

__all__ = [
    "EmptyPlanError",
    "FaultSpan",
    "HashedBlocks",
    "Plan",
    "PlanSizeError",
    "Timetable",
    "WindowError",
    "build_plan",
    "fault_spans",
    "plan_blocks",
]
