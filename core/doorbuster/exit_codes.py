"""What the exit code of every command means."""

PASS = 0
"""Everything that was asked holds."""
FAILED = 1
"""A criterion failed: an invariant, an objective, a regression."""
USAGE = 2
"""The command line, the scenario or the profile is invalid; nothing was run."""
INVALID = 3
"""The measurement is void or inconclusive; the system under test is not to blame."""
TARGET_FAILED = 4
"""The target or the environment failed: not reachable, reset refused, disk full."""
INTERRUPTED = 130
"""Interrupted by the user; what was measured is kept."""
