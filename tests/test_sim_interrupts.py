"""Ctrl-C in the middle of a sale of the SimPy engine."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from typing import Any

import pytest

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim.interrupts import SignalsHeld
from doorbuster_sim.sale import simulate_sale


@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.08, 0.11, 0.14])
def test_ctrl_c_raises_between_two_events(written_scenario: dict[str, Any], delay_s: float) -> None:
    """And not inside `next_step`, where Numba ends the process or makes a SystemError of it."""
    scenario = Scenario.model_validate(written_scenario)
    timetable = Timetable.of(scenario, load_factor=200)
    plan = build_plan(scenario, 1, timetable)
    calm = Timetable.of(scenario)
    simulate_sale(scenario, build_plan(scenario, 1, calm), calm, seed=1)  # Compiles what it needs.
    ctrl_c = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        simulate_sale(scenario, plan, timetable, seed=1)
    ctrl_c.join()
    raised_in = traceback.extract_tb(caught.tb)[-2:]
    assert [frame.name for frame in raised_in] == ["<lambda>", "take"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_of_the_last_moment_is_not_lost() -> None:
    """No event follows when it comes: it raises at the end."""
    with pytest.raises(KeyboardInterrupt), SignalsHeld() as signals:  # noqa: PT012
        signals.take_by(lambda _call: None)
        signal.raise_signal(signal.SIGINT)


def test_a_signal_before_the_first_moment_is_taken_at_it() -> None:
    """The sale is still being built when it comes."""
    with pytest.raises(KeyboardInterrupt), SignalsHeld() as signals:  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signals.take_by(lambda call: call())
        pytest.fail("it was not taken")
