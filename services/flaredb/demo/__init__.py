"""The demonstration: a cluster under load loses a store and keeps every promise, in figures."""
