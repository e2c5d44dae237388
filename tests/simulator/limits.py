"""Small limits while a run lasts, so that what large clusters do in hours happens in a minute.

Production's constants that are no settings: sizes of pieces, slices and blocks, bounds of session
tables and of range deletions. All replicas of a world have the same ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from flaredb.disk import row_files
from flaredb.kv import sessions, writes
from flaredb.raft.config import Config
from flaredb.store import (
    applying,
    births,
    cleaning,
    cutting,
    fates,
    installing,
    log,
    peer_orders,
    snapshots_in,
    snapshots_out,
)
from tests.simulator.options import Options

SMALL = (
    (applying, "MAX_APPLY_BYTES", 300),
    (log, "KEPT_ENTRIES", 4),
    (row_files, "BLOCK_BYTES", 1_000),
    (installing, "SLICE_BYTES", 1_500),
    (cleaning, "SLICE_ROWS", 3),
    (fates, "LOOK_SECONDS", 2.0),
    (fates, "PATIENCE_SECONDS", 10.0),
    (peer_orders, "MOST_BEHIND", 8),
    (snapshots_out, "CHUNK_BYTES", 700),
    (snapshots_out, "SILENCE_SECONDS", 4.0),
    (snapshots_in, "SILENCE_SECONDS", 4.0),
    (writes, "MAX_DELETED_PER_ENTRY", 3),
)


@contextmanager
def small_limits(options: Options) -> Iterator[None]:
    """The limits are small while the context lasts."""
    table = partial(sessions.Limits, lanes=8, open_batches=6, idle_ms=15_000)
    config = partial(Config, max_append_bytes=options.append_bytes)
    cut = (cutting, "CUT_AT_LEAST", options.cut_at_least)
    changes = (*SMALL, cut, (sessions, "Limits", table), (births, "Config", config))
    patches = [patch.object(module, name, value) for module, name, value in changes]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
