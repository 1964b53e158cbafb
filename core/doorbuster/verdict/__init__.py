"""The verdict on one run: validity first, then invariants, then objectives. See docs/verdict.md."""

from doorbuster.verdict.judge import judge, judge_records
from doorbuster.verdict.verdict import Verdict

__all__ = ["Verdict", "judge", "judge_records"]
