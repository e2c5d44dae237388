"""Tests: stories, properties, contract suites, the simulator, real processes."""
