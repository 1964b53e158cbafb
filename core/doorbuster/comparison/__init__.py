"""Where two runs of one plan agree, where they differ, and why: `compare(a, b)`."""

from doorbuster.comparison.comparison import Comparison, ComparisonError, compare, compare_records

__all__ = ["Comparison", "ComparisonError", "compare", "compare_records"]
