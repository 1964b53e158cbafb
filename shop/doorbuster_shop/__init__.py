"""The reference shop: a real checkout API, and a payment provider emulator."""
