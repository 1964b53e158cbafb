"""Detectors of what real shops get wrong: one module a failure mode, over the books of a sale."""
