"""One store process: it hosts any number of regions, and everything they do passes its turn."""
