"""Capacity: at which load does which objective break, because of what, and what would help?

Pure logic over a simulation that is handed in; this package knows no engine.
"""
