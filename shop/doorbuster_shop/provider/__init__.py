"""The payment provider emulator: its own process, its own HTTP API, also for your own shop."""
