"""The client against stores and a PD that are pretended, on the memory bus."""
