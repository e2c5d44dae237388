"""The exit codes of processes that others watch over."""

from typing import Final

PD_REFUSES: Final = 3
"""A store that PD does not have in the cluster: it was removed, or its data folder is a copy or
belongs to another cluster. Whoever restarts processes had better leave this one alone."""
