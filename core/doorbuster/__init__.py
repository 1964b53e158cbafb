"""Doorbuster: one scenario, a simulated and a live flash sale, one verdict.

This package is the language that both worlds share: scenario, plan, draws, visitor, records,
measures, verdict, report and the command line. It imports neither world.
"""

__all__ = ["__version__"]
__version__ = "0.1.0"
