"""Arrival shapes: one file per kind; the file's stem is the value of `kind` in the scenario.

A shape turns its parameters and the phase's duration into knots (time, level) of a polyline.
Level 1.0 is the normal load. Two knots at the same time are a step. The polyline *is* the plan's
rate, so its integral and the inverse of it are exact.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from doorbuster.scenario.shapes.constant import Constant
from doorbuster.scenario.shapes.end_of_offer import EndOfOffer
from doorbuster.scenario.shapes.pulse import Pulse
from doorbuster.scenario.shapes.ramp import Ramp
from doorbuster.scenario.shapes.series import Series
from doorbuster.scenario.shapes.zero_hour import ZeroHour

__all__ = ["Constant", "EndOfOffer", "Pulse", "Ramp", "Series", "Shape", "ZeroHour"]

Shape = Annotated[
    Constant | Ramp | ZeroHour | Pulse | EndOfOffer | Series, Field(discriminator="kind")
]
