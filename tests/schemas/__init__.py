"""What is said, on disk and on the wire: its bytes, and what happens to bytes that are not it."""
