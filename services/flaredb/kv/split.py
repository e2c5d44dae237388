"""Splitting a region in the state machine: one becomes several, at an entry's place in the log.

Nothing is copied but the session table, because a retry may come to any of the parts. Of two splits
proposed for the same epoch the first that is applied raises the version, and the second changes
nothing; the ids that it brought are used for nothing else.
"""

from itertools import pairwise

from msgspec.structs import replace

from flaredb_schemas.commands import NewRegion, Recount, Size, Split
from flaredb_schemas.events import RegionSplit, SplitPart, entry_event_id
from flaredb_schemas.failures import EpochMismatch, InvalidRequest
from flaredb_schemas.keys import KeyRange, show_key
from flaredb_schemas.regions import Epoch, Peer, Region, Route
from flaredb_schemas.reported import report_peers
from flaredb_schemas.sessions import AppliedState


def split_refusal(
    region: Region, command: Split, time: int
) -> EpochMismatch | InvalidRequest | None:
    """Why `region`, whose time it is, cannot be cut so."""
    if region.epoch != Epoch(command.conf_ver, command.version):
        return EpochMismatch((Route(region, time=time),))
    fault = _fault(region, command)
    return None if fault is None else InvalidRequest(f"a split: {fault}")


def _fault(region: Region, command: Split) -> str | None:
    children = command.children
    starts = [region.keys.start, *(child.start for child in children)]
    if not children:
        return "it makes no region"
    if not all(left < right for left, right in pairwise(starts)):
        return "its keys do not rise"
    if not region.keys.contains(starts[-1]):
        return f"{show_key(starts[-1])!r} is not in the region"
    if any(len(child.peers) != len(region.peers) for child in children):
        return "a new region has other peers than this one"
    ids = [child.id for child in children], [peer for child in children for peer in child.peers]
    if any(len(set(some)) != len(some) for some in ids) or region.id in ids[0]:
        return "an id stands there twice"
    return None if len(command.sizes) == len(starts) else "a size is missing"


def split_regions(region: Region, command: Split) -> list[Region]:
    """The regions after a split, in key order, the first of which is `region` itself.

    All have one version, above that of every region which they come from.
    """
    children = command.children
    ends = [*(child.start for child in children), region.keys.end]
    epoch = Epoch(region.epoch.conf_ver, region.epoch.version + len(children))
    kept = replace(region, keys=KeyRange(region.keys.start, ends[0]), epoch=epoch)
    made = [
        Region(
            child.id,
            KeyRange(child.start, end),
            epoch,
            _peers(region, child),
            absorbed=region.absorbed,
            absorbers=region.absorbers,
        )
        for child, end in zip(children, ends[1:], strict=True)
    ]
    return [kept, *made]


def _peers(region: Region, child: NewRegion) -> tuple[Peer, ...]:
    pairs = zip(region.peers, child.peers, strict=True)
    return tuple(Peer(peer_id, peer.store, peer.role) for peer, peer_id in pairs)


def split_states(state: AppliedState, command: Split) -> list[AppliedState]:
    """The applied states after a split, in the order of `split_regions`; `state` is the region's.

    To which parts belongs what was written since they were counted is not known before they are
    counted again.
    """
    sizes = command.sizes
    kept = replace(state, keys=sizes[0].keys, bytes=sizes[0].bytes, estimated=True)
    made = [
        AppliedState(
            time=state.time,
            forgotten=state.forgotten,
            bytes=size.bytes,
            keys=size.keys,
            estimated=True,
        )
        for size in sizes[1:]
    ]
    return [kept, *made]


def recounted(region: Region, state: AppliedState, command: Recount) -> AppliedState:
    """The state of `region` after its rows were counted; `state` where that comes too late."""
    late = command.version != region.epoch.version or state.merging is not None
    if late or not state.estimated:
        return state
    missing = command.missing
    return replace(
        state,
        keys=state.keys + missing.keys,
        bytes=state.bytes + missing.bytes,
        estimated=False,
    )


def split_event(regions: list[Region], state: AppliedState, command: Split) -> RegionSplit:
    """The event of a split, after which `state` is the region's."""
    region = regions[0]
    return RegionSplit(
        id=entry_event_id(region.id, state.term, state.index, "split", 0),
        at=command.time,
        region=region.id,
        term=state.term,
        index=state.index,
        version=region.epoch.version,
        conf_ver=region.epoch.conf_ver,
        trigger=command.trigger,
        triggered=command.triggered,
        parts=tuple(map(part_of, regions, command.sizes)),
    )


def part_of(region: Region, size: Size) -> SplitPart:
    """A region as the event of a split or a merge names it."""
    return SplitPart(
        id=region.id,
        start=region.keys.start,
        end=region.keys.end,
        start_text=show_key(region.keys.start),
        end_text=show_key(region.keys.end),
        peers=report_peers(region.peers),
        keys=size.keys,
        bytes=size.bytes,
    )
