"""What a machine must have to generate load and to simulate; each check with its remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

MIN_PYTHON = (3, 11)
MIN_CORES = 2
MIN_OPEN_FILES = 1_024
GOOD_OPEN_FILES = 10_000
MIN_MEMORY_BYTES = 500_000_000
GOOD_MEMORY_BYTES = 2_000_000_000
MIN_DISK_BYTES = 200_000_000
GOOD_DISK_BYTES = 2_000_000_000
MAX_CLOCK_STEP_S = 1e-4
MIN_PORTS = 10_000
IMPORT_TIMEOUT_S = 120.0
GOOD_CLOCK_SOURCES = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page")
LIBRARIES = ("locust", "gevent", "numba")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

Status = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One line of the doctor: what was looked at, what was found, what to do about it."""

    subject: str
    status: Status
    found: str
    remedy: str = ""


def examine(results: Path) -> list[Finding]:
    """Every finding about this machine; `results` is where records would be written."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        _processors,
        _open_files,
        _memory,
        lambda: _disk(results),
        _clock_step,
        _clock_source,
        _ports,
    )
    return [*(check() for check in checks), *map(library, LIBRARIES), _browser()]


def graded(value: float, minimum: float, good: float) -> Status:
    """Whether a quantity of which more is better is enough."""
    return "fail" if value < minimum else "warn" if value < good else "ok"


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        return Finding("Python", "fail", found, "install Python 3.11 or later")
    return Finding("Python", "ok", found)


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    if count < MIN_CORES:
        remedy = "shop and load share one core: run the shop on another machine"
        return Finding("processors", "warn", "1 core", remedy)
    return Finding("processors", "ok", f"{count} cores")


def _open_files() -> Finding:
    try:
        import resource  # noqa: PLC0415 - Windows has none.
    except ImportError:
        return Finding("open files", "ok", "no limit known on this system")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("open files", "ok", "unlimited")
    status = graded(soft, MIN_OPEN_FILES, GOOD_OPEN_FILES)
    remedy = "" if status == "ok" else f"each visitor needs one: ulimit -n {GOOD_OPEN_FILES}"
    return Finding("open files", status, f"{soft:,} a process", remedy)


def _memory() -> Finding:
    available = _available_memory_bytes()
    if available is None:
        return Finding("memory", "ok", "not known on this system")
    status = graded(available, MIN_MEMORY_BYTES, GOOD_MEMORY_BYTES)
    remedy = "" if status == "ok" else "close other programs or rehearse a smaller crowd"
    return Finding("memory", status, f"{available / 1e9:.1f} GB available", remedy)


def _available_memory_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _disk(results: Path) -> Finding:
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        remedy = "records cannot be written: name another folder with --results"
        return Finding("disk", "fail", f"{folder} may not be written", remedy)
    free = shutil.disk_usage(folder).free
    status = graded(free, MIN_DISK_BYTES, GOOD_DISK_BYTES)
    remedy = "" if status == "ok" else "free some, or name another folder with --results"
    return Finding("disk", status, f"{free / 1e9:.1f} GB free for {results}", remedy)


def _clock_step() -> Finding:
    """The smallest step between two readings; a coarse clock cannot time milliseconds."""
    readings = [time.perf_counter() for _ in range(1000)]
    steps = [b - a for a, b in pairwise(readings) if b > a]
    step = min(steps, default=1.0)
    if step > MAX_CLOCK_STEP_S:
        return Finding("clock", "fail", f"steps of {step * 1e6:,.0f} us", "use another machine")
    return Finding("clock", "ok", f"steps of {step * 1e9:,.0f} ns")


def _clock_source() -> Finding:
    path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    try:
        name = path.read_text("utf-8").strip()
    except OSError:
        return Finding("clock source", "ok", "not told by this system")
    if name not in GOOD_CLOCK_SOURCES:
        remedy = "reading it is slow and adds lateness; tsc is better (a setting of the kernel)"
        return Finding("clock source", "warn", name, remedy)
    return Finding("clock source", "ok", name)


def _ports() -> Finding:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("utf-8")
        low, high = map(int, text.split())
    except (OSError, ValueError):
        return Finding("ports", "ok", "range not told by this system")
    count = high - low + 1
    if count < MIN_PORTS:
        remedy = "connections may run out: sysctl -w net.ipv4.ip_local_port_range='15000 65000'"
        return Finding("ports", "warn", f"{count:,} for outgoing connections", remedy)
    return Finding("ports", "ok", f"{count:,} for outgoing connections")


def library(name: str) -> Finding:
    """Whether a library can be imported, tried in a process of its own.

    Importing Locust changes the whole process, so it must never happen in this one.
    """
    command = [sys.executable, "-c", f"import {name}; print({name}.__version__)"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, "fail", f"cannot be tried ({error})", "install Doorbuster again")
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding(name, "fail", reason, "install Doorbuster again: make clean demo")
    return Finding(name, "ok", done.stdout.strip().splitlines()[-1])


def _browser() -> Finding:
    """Only the tests of the report need one, so its absence is no fault."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return Finding("browser", "ok", f"{path} (only for testing the report)")
    return Finding("browser", "ok", "none (only for testing the report)")


__all__ = ["Finding", "examine", "graded", "library"]
