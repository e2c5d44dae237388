"""Tests of the Raft core: stories, the paper, properties, and what a host is promised."""
