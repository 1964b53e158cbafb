"""The shop's truth: a `Store` over SQLite or PostgreSQL, with a strategy that keeps its stock."""
