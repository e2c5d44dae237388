"""The placement driver: decides where replicas live, and journals every decision."""
