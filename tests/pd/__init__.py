"""PD: its decisions as stories and cases, its map against a dumb twin, its process on real NATS."""
