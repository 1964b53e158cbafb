"""The simulated world compiled by Numba: the same model, event by event, for scale."""

from doorbuster_sim.compiled_engine.whole import run_sale

__all__ = ["run_sale"]
