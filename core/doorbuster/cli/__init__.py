"""The command line: `doorbuster VERB`, one module a verb, loaded only when it is called."""

from doorbuster.cli.main import main

__all__ = ["main"]
