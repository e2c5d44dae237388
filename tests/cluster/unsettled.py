"""Tests that failed once without a known cause: not part of every run until it is found."""

import os

import pytest

UNSETTLED = pytest.mark.skipif(
    "FLAREDB_UNSETTLED" not in os.environ,
    reason="failed once on a busy machine, cause not found yet: FLAREDB_UNSETTLED=1 runs it",
)
