"""The words between the generator's processes: Locust messages, and JSON lines on pipes."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

# Locust messages from worker to master ...
READY = "db_ready"
BEAT = "db_beat"
DONE = "db_done"
FAILED = "db_failed"
# ... and from master to workers.
GO = "db_go"
STOP = "db_stop"

BEAT_INTERVAL_S = 1.0


def say(**content: Any) -> None:
    """A JSON line to the process that started this one."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def write_line(pipe: IO[str], **content: Any) -> None:
    """A JSON line to a process that this one started."""
    pipe.write(json.dumps(content) + "\n")
    pipe.flush()
