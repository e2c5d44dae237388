"""The state machine: stories, and properties against a dumb twin."""
