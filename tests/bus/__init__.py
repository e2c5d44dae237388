"""The bus: one suite for all adapters, and what only a real server does."""
