"""The exogenous half of the randomness: who comes, when, and as whom."""

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
    "HashedBlocks",
    "Plan",
    "PlanSizeError",
    "Timetable",
    "WindowError",
    "build_plan",
    "plan_blocks",
]
