"""The shop's clock."""

from __future__ import annotations

import time

now_s = time.time
"""Seconds since the Unix epoch.

The wall clock and no other: openings and deadlines are written into the database and must mean
the same to the next process, to the provider and to whoever sends the load.
"""
