"""The simulated world on SimPy: the model to read and to extend."""

from doorbuster_sim.simpy_engine.sale import run_sale

__all__ = ["run_sale"]
