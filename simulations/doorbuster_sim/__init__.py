"""The simulated world: the sale as a discrete-event model."""
