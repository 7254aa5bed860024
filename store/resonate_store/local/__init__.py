"""Stores in this process: in memory and in a SQLite file. Internal."""
