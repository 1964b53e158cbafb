"""Fixtures that several test files share."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from doorbuster.scenario import Scenario

# No test judges a time: the machine may be busy, and the first example may compile. The same
# examples in every run, so that a failure speaks of the change; `make agree` draws new ones.
settings.register_profile("doorbuster", deadline=None, derandomize=True)
settings.load_profile("doorbuster")


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that measure come last, in one process, so that each fixture is made once."""
    alone = [item for item in items if item.get_closest_marker("alone")]
    for item in alone:
        item.add_marker(pytest.mark.xdist_group("alone"))
    items[:] = [item for item in items if not item.get_closest_marker("alone")] + alone


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that measures has the machine to itself: with `-n` it waits for the others.

    A load generator that competes with another test for the processor measures that test.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    is_alone = item.get_closest_marker("alone") is not None
    with Path(__file__).open() as lock:  # Any file that all of them can open.
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        return (yield)


Change = dict[str, Any]

SMALL: Change = {
    "version": 1,
    "name": "small",
    "shop": {"lock_time": "5s", "items": [{"sku": "console", "stock": 20, "price": 499}]},
    "crowd": {
        "normal_load_per_s": 5,
        "load_factor": 2,
        "phases": [
            {
                "name": "sale",
                "start": 0,
                "duration": "20s",
                "shape": {"kind": "constant", "level": 1},
            }
        ],
        "personas": {"fan": {"share": 1}},
        "drain": "10s",
    },
    "payments": {"channels": [{"name": "card", "share": 1}]},
    "service": {
        "network": "1ms",
        "stations": [{"name": "web", "servers": 2}],
        "browse": [{"station": "web", "time": "2ms"}],
        "reserve": [{"station": "web", "time": "3ms"}],
        "pay": [{"station": "web", "time": "2ms"}],
    },
}


def merged(base: Change, change: Change) -> Change:
    """The base with a change laid over it: mappings merged, personas and the rest replaced."""
    result = deepcopy(base)
    for key, value in change.items():
        both_mappings = isinstance(value, dict) and isinstance(result.get(key), dict)
        if both_mappings and key != "personas":
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@pytest.fixture(scope="session")
def small_scenario() -> Callable[..., Scenario]:
    """Builds the small sale with changes: `small_scenario(crowd={"load_factor": 5})`."""

    def build(**change: Any) -> Scenario:
        return Scenario.model_validate(merged(SMALL, change))

    return build


@pytest.fixture
def written_scenario() -> Change:
    """The small sale as it stands in a file; the test may change it."""
    return deepcopy(SMALL)


@pytest.fixture
def bare_profile(tmp_path: Path) -> Path:
    """The file of a profile with the three steps that every one has, and nothing else."""
    steps = "\n".join(
        f"  {step}: [{{url: /{step}, outcome: [{{status: 200, reply: ok}}]}}]"
        for step in ("browse", "reserve", "pay")
    )
    path = tmp_path / "mine.yaml"
    path.write_text(f"version: 1\nname: mine\nsteps:\n{steps}\n", "utf-8")
    return path


CHROMIUM_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def _missing_browser() -> str:
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        return "no chromium on this machine"
    return "" if shutil.which("chromedriver") else "no chromedriver on this machine"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window, one a test file; skipped with the reason where there is none."""
    reason = _missing_browser()
    if reason:
        if os.environ.get("DOORBUSTER_REQUIRE_BROWSER") == "1":
            pytest.fail(f"the browser tests are required, but {reason}")
        sys.stderr.write(f"\nbrowser tests skipped: {reason}\n")
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (
        *CHROMIUM_FLAGS,
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "--lang=en",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def _throwaway(start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a server of its own; skipped with the reason where it is not installed."""
    from doorbuster_shop.throwaway import MissingServerError

    try:
        with start() as address:
            yield address
    except MissingServerError as error:
        if os.environ.get("DOORBUSTER_REQUIRE_STORES") == "1":
            pytest.fail(f"the tests of all stores are required, but {error}")
        sys.stderr.write(f"\nstore tests skipped: {error}\n")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgresql_address() -> Iterator[str]:
    from doorbuster_shop.throwaway import throwaway_postgresql

    yield from _throwaway(throwaway_postgresql)


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    from doorbuster_shop.throwaway import throwaway_redis

    yield from _throwaway(throwaway_redis)
