"""The shop's HTTP endpoints, one subject a module."""
