"""Is this command still meant for this region, by its epoch and by its range?

Who checks what of the epoch, when it is applied:

- `Write`, and every read: the version. By equality: a replica that is behind the client must refuse
  as well as one that is ahead of it.
- `LeaderStarted`: nothing. Who leads is a fact about the group, whatever its range is by now.
- `Split`: both counters, by equality, so that of two splits for one epoch only the first counts.
- `Recount`: the version. What was counted of a range says nothing of another.
- `PrepareMerge`, `CommitMerge`, `AbortMerge`: both counters, by equality.
- `RollBackMerge`: nothing. It names the entry that it takes back.
- `CheckReplicas`: nothing. Replicas compare hashes of one index, hence of one epoch.

What is checked when a request arrives is checked again when it is applied, because the region may
have changed between the two.
"""

from flaredb_schemas.failures import EpochMismatch, KeyNotInRegion
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.regions import Region, Route


def version_refusal(region: Region, version: int, time: int) -> EpochMismatch | None:
    """Why a request that names `version` is not for this region, if so.

    `time` is the region's time. The route names no leader: the host knows it, the region does not.
    """
    if region.epoch.version == version:
        return None
    return EpochMismatch((Route(region, time=time),))


def range_refusal(region: Region, asked: KeyRange, time: int) -> KeyNotInRegion | None:
    """Why the range `asked` is not the region's to read or remove, if so (FR-003)."""
    if region.keys.covers(asked):
        return None
    outside = asked.start if not region.keys.contains(asked.start) else region.keys.end
    return KeyNotInRegion(outside, Route(region, time=time))
