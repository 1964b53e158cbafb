"""The verdict on one run: validity first, then invariants, then objectives. See docs/verdict.md."""

from doorbuster.verdict.judge import JudgedRun, judge, judge_records, judge_run
from doorbuster.verdict.verdict import Verdict

__all__ = ["JudgedRun", "Verdict", "judge", "judge_records", "judge_run"]
