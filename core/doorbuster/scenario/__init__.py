"""The scenario file: its model, its checks, its reading."""

from doorbuster.scenario.model import Scenario

__all__ = ["Scenario"]
