"""Merging two neighbours in the state machine: the target absorbs the source, or leaves it alone.

The source is frozen by an entry of its own log, which names the target's epoch; the target absorbs
it by an entry of its log, as long as it has that epoch. So the two logs need no common order: a
target that has moved on can absorb nothing any more, and then, and only then, the source may go on.
Whether a replica of the source has applied entries behind that one makes no difference, because
they change nothing that is absorbed.
"""

from itertools import starmap
from typing import Final

from msgspec.structs import replace

from flaredb.kv.split import part_of
from flaredb_schemas.commands import AbortMerge, CommitMerge, PrepareMerge
from flaredb_schemas.events import (
    MergeAborted,
    MergePrepared,
    MergeRolledBack,
    RegionMerged,
    entry_event_id,
)
from flaredb_schemas.failures import Busy, EpochMismatch, InvalidRequest
from flaredb_schemas.ids import RegionId
from flaredb_schemas.keys import KeyRange, show_key
from flaredb_schemas.regions import MOST_ABSORBED, Absorption, Epoch, Region, Route
from flaredb_schemas.sessions import AppliedState, Merging

MERGING_RETRY_MS: Final = 50


def merging_refusal(state: AppliedState) -> Busy | None:
    """Why a region in this state takes and gives nothing, if so."""
    if state.merging is None:
        return None
    text = f"the region is being merged into region {state.merging.target}"
    return Busy(text, MERGING_RETRY_MS)


def epoch_refusal(
    region: Region, command: PrepareMerge | CommitMerge | AbortMerge, state: AppliedState
) -> EpochMismatch | Busy | None:
    """Why a step of a merge is not for the region as it is now, if so."""
    if region.epoch != Epoch(command.conf_ver, command.version):
        return EpochMismatch((Route(region, time=state.time),))
    return merging_refusal(state)


def prepared(state: AppliedState, command: PrepareMerge) -> AppliedState:
    """The state of a region that is to become a part of another."""
    merging = Merging(
        command.target,
        command.target_conf_ver,
        command.target_version,
        state.index,
        state.term,
        command.trigger,
        command.triggered,
    )
    return replace(state, merging=merging)


def pair_fault(target: Region, source: Region) -> str | None:
    """Why these two cannot become one, whatever else happens to them; None if they can."""
    if target.id == source.id:
        return "a region cannot be merged with itself"
    if sorted(target.stores) != sorted(source.stores):
        return f"regions {target.id} and {source.id} are not on the same stores"
    if _united_range(target.keys, source.keys) is None:
        return f"regions {target.id} and {source.id} are not neighbours"
    if len(_absorptions(target, source)) > MOST_ABSORBED:
        return f"region {target.id} has absorbed so many that it names no more"
    return None


def has_moved_on(target: Region, source: Region, merging: Merging) -> bool:
    """Whether `target` is past the epoch that was named; one that is behind it may get there.

    Then it has not absorbed `source`, which would not be here any more.
    """
    epoch = target.epoch
    moved_on = epoch.version > merging.version or epoch.conf_ver > merging.conf_ver
    assert not moved_on or source.id not in target.absorbed, f"{source.id} is a part of {target.id}"
    return moved_on


def absorb_refusal(
    target: Region, source: Region, merging: Merging | None, command: CommitMerge
) -> InvalidRequest | None:
    """Why `target`, whose epoch is the one that is named, does not absorb `source` as it is."""
    named = (target.id, target.epoch.conf_ver, target.epoch.version, command.index)
    if merging is None or named != (
        merging.target,
        merging.conf_ver,
        merging.version,
        merging.index,
    ):
        return InvalidRequest(f"a merge: region {source.id} did not agree to it")
    fault = pair_fault(target, source)
    return None if fault is None else InvalidRequest(f"a merge: {fault}")


def united_region(target: Region, source: Region) -> Region:
    """The region after the merge: its version is above those of both."""
    keys = _united_range(target.keys, source.keys)
    assert keys is not None, "only neighbours are merged"
    version = max(target.epoch.version, source.epoch.version) + 1
    absorptions = _absorptions(target, source)
    return replace(
        target,
        keys=keys,
        epoch=Epoch(target.epoch.conf_ver, version),
        absorbed=tuple(one.region for one in absorptions),
        absorbers=tuple(one.into for one in absorptions),
    )


def _absorptions(target: Region, source: Region) -> tuple[Absorption, ...]:
    """What the two have absorbed once they are one; the source stands behind what it had.

    Each stands there once: how many there are must not depend on how much is known of them.
    """
    into: dict[RegionId, RegionId] = {}
    both = (*target.absorptions, *source.absorptions, Absorption(source.id, target.id))
    for one in both:
        into[one.region] = into.get(one.region) or one.into
    return tuple(starmap(Absorption, into.items()))


def _united_range(one: KeyRange, other: KeyRange) -> KeyRange | None:
    """The range of two neighbours; None if there is something between them."""
    if one.end and one.end == other.start:
        return KeyRange(one.start, other.end)
    if other.end and other.end == one.start:
        return KeyRange(other.start, one.end)
    return None


def united_state(state: AppliedState, source: AppliedState, forgotten: int) -> AppliedState:
    """The target's state after the merge: the later of the times, the sums of the sizes.

    `forgotten` is the newest opening of the lanes that were dropped for it.
    """
    forgotten = max(state.forgotten, source.forgotten, forgotten)
    return replace(
        state,
        time=max(state.time, source.time, forgotten + 1),
        forgotten=forgotten,
        bytes=state.bytes + source.bytes,
        keys=state.keys + source.keys,
        estimated=state.estimated or source.estimated,
    )


def aborted_region(region: Region) -> Region:
    """The region that absorbs nothing that names its version until now."""
    epoch = region.epoch
    return replace(region, epoch=Epoch(epoch.conf_ver, epoch.version + 1))


# What is told of it.


def prepared_event(region: Region, state: AppliedState, command: PrepareMerge) -> MergePrepared:
    """The event of a merge that begins, after which `state` is the source's."""
    return MergePrepared(
        id=entry_event_id(region.id, state.term, state.index, "merge_prepared", 0),
        at=command.time,
        region=region.id,
        term=state.term,
        index=state.index,
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        target=command.target,
        trigger=command.trigger,
        triggered=command.triggered,
    )


def merged_event(
    region: Region,
    state: AppliedState,
    before: list[tuple[Region, AppliedState]],
    command: CommitMerge,
) -> RegionMerged:
    """The event of a merge, after which `region` and `state` are the target's."""
    parts = sorted(before, key=lambda one: one[0].keys.start)
    return RegionMerged(
        id=entry_event_id(region.id, state.term, state.index, "merged", 0),
        at=command.time,
        region=region.id,
        term=state.term,
        index=state.index,
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        source=command.source,
        trigger=command.trigger,
        triggered=command.triggered,
        start=region.keys.start,
        end=region.keys.end,
        start_text=show_key(region.keys.start),
        end_text=show_key(region.keys.end),
        keys=state.size.keys,
        bytes=state.size.bytes,
        before=tuple(part_of(one, its.size) for one, its in parts),
    )


def aborted_event(region: Region, state: AppliedState, command: AbortMerge) -> MergeAborted:
    """The event of a merge that its target gave up."""
    return MergeAborted(
        id=entry_event_id(region.id, state.term, state.index, "merge_aborted", 0),
        at=command.time,
        region=region.id,
        term=state.term,
        index=state.index,
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        source=command.source,
        reason=command.reason,
    )


def rolled_back_event(
    region: Region, state: AppliedState, merging: Merging, at: int
) -> MergeRolledBack:
    """The event of a source that goes on as it was."""
    return MergeRolledBack(
        id=entry_event_id(region.id, state.term, state.index, "merge_rolled_back", 0),
        at=at,
        region=region.id,
        term=state.term,
        index=state.index,
        target=merging.target,
    )
