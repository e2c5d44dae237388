"""What is said, on disk and on the wire: every message, event, command and record."""
