"""Runners that take a folder of peers' cases and say how far this project agrees with them."""
