"""The simulated world: the sale as a discrete-event model."""

from doorbuster_sim.engines import Engine, EngineOption, choose_engine
from doorbuster_sim.replications import simulate_run
from doorbuster_sim.sale import SimulatedSale, simulate_sale

__all__ = [
    "Engine",
    "EngineOption",
    "SimulatedSale",
    "choose_engine",
    "simulate_run",
    "simulate_sale",
]
