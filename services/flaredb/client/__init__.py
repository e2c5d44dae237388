"""The client: batches concurrent calls, finds regions by itself, never guesses an outcome."""
