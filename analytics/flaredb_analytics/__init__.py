"""Placement history in DuckDB: queried, replayed, explained."""
