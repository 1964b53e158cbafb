"""Rules of the sale as pure functions, used by the simulated world and by the reference shop."""
