"""The exogenous half of the randomness: who comes, when, and as whom."""

from doorbuster.plan.plan import Plan, build_plan, plan_blocks
from doorbuster.plan.timetable import Timetable

__all__ = ["Plan", "Timetable", "build_plan", "plan_blocks"]
