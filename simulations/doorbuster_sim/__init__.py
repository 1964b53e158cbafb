"""The simulated world: the sale as a discrete-event model."""

from doorbuster_sim.replications import simulate_run
from doorbuster_sim.sale import SimulatedSale, simulate_sale

__all__ = ["SimulatedSale", "simulate_run", "simulate_sale"]
