"""Whole clusters of real processes, harmed while clients write, and what the clients saw of it."""
