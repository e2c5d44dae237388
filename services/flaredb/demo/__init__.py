"""The demonstration: a cluster under load is harmed and changed, and keeps every promise."""
