"""The shop's truth: an SQLite database, and functions of (connection, time) over it."""
