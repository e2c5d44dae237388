"""Logs are cut as they are applied, so that none grows without bound.

Each replica cuts its own log, behind what is saved as applied. Some entries are kept for peers that
are a little behind; beyond a limit a peer gets a snapshot instead. Looked at only when a region's
applied state has been saved, so idle regions cost nothing.
"""

from typing import Final

from flaredb.raft.progress import ProgressState
from flaredb.store.context import Context
from flaredb.store.records import ReplicaState
from flaredb.store.replica import Replica
from flaredb_schemas.ids import Index

CUT_AT_LEAST: Final = 64
"""A cut is worth it only from so many entries on, ..."""

CUT_AT_LATEST: Final = 2
"""... or when the log is so many times as long as it may be: few entries can be many bytes."""


def cut_log(context: Context, replica: Replica) -> None:
    """Cut the replica's log if it is worth it."""
    floor, log = _floor(context, replica), replica.log
    is_long = log.size >= CUT_AT_LATEST * context.settings.log_max_bytes
    at_least = 1 if is_long else CUT_AT_LEAST
    if replica.state is ReplicaState.LIVE and floor - log.start >= at_least:
        log.cut(context.saver.batch, floor)
        context.counters.logs_cut += 1


def _floor(context: Context, replica: Replica) -> Index:
    """Up to where the log may go: applied and saved, not needed by a snapshot on its way, nor by
    a peer that is not too far behind."""
    settings, log = context.settings, replica.log
    floor = min((replica.saved_applied, *replica.snapshot_floor.values()))
    kept = settings.log_keep_entries
    if log.size > settings.log_max_bytes:
        kept = min(kept, (log.last - log.start) * settings.log_max_bytes // log.size)
    oldest_kept = max(log.start, replica.saved_applied - kept)
    needed = _needed(replica)
    if needed is not None and needed >= oldest_kept:
        return Index(min(floor, needed))
    return Index(min(floor, oldest_kept))


def _needed(replica: Replica) -> Index | None:
    """What the slowest peer that is fed from this log still needs; None where nobody knows."""
    if not replica.leads:
        return None
    progress = replica.node.status().progress.values()
    matches = [item.match for item in progress if item.state is not ProgressState.SNAPSHOT]
    return min(matches, default=None)
