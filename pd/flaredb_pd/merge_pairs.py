"""Which two regions a wish for a merge is about, and why they cannot be brought together."""

from collections.abc import Mapping

from flaredb_pd.heard import Heard
from flaredb_pd.placing import lacks_room
from flaredb_pd.proposals import unknown_region
from flaredb_pd.region_map import RegionMap, Sighting, are_alike, would_name_too_many
from flaredb_pd.standings import size_of
from flaredb_schemas.ids import StoreId
from flaredb_schemas.pd_answers import MergeQuery, PdFailure
from flaredb_schemas.regions import MOST_ABSORBED, PeerRole, Region


def find_pair(query: MergeQuery, regions: RegionMap) -> tuple[Sighting, Sighting] | PdFailure:
    """The region and the neighbour that absorbs it.

    Unless one is named it is one on the same stores, else one that is near to that; of two the
    smaller one.
    """
    source = regions.get(query.region)
    if source is None:
        return unknown_region(query.region)
    if query.into is not None and regions.get(query.into) is None:
        return unknown_region(query.into)
    neighbours = regions.neighbours(query.region)
    if query.into is not None:
        neighbours = [one for one in neighbours if one.region.id == query.into]
    if not neighbours:
        whom = f"region {query.into}" if query.into is not None else "any other region"
        text = f"region {query.region} is no neighbour of {whom}"
        return PdFailure("not_neighbours", text, "see `flaredb region list`")

    def cost(one: Sighting) -> tuple[bool, int, int]:
        there, here = one.region, source.region
        missing = len(set(there.stores) - set(here.stores))
        return not are_alike(there, here), missing, size_of(one)

    return source, min(neighbours, key=cost)


def find_obstacle(
    source: Sighting, target: Sighting, heard: Heard, coming: Mapping[StoreId, int]
) -> PdFailure | None:
    """Why nothing of the source may be brought to where the target is; `coming` replicas are on
    their way to each store."""
    for region in (source.region, target.region):
        if not all(peer.role is PeerRole.VOTER for peer in region.peers):
            text = f"the peers of region {region.id} are just being changed"
            return PdFailure("busy", text, "try again in a few seconds")
    if would_name_too_many(source, target):
        text = f"regions {source.region.id} and {target.region.id} came of too many others"
        hint = f"leave them two: a region names {MOST_ABSORBED} that it has absorbed at most"
        return PdFailure("refused", text, hint)
    if len(source.region.peers) != len(target.region.peers):
        counts = [f"region {one.id} has {len(one.peers)}" for one in (source.region, target.region)]
        text = f"the two have different numbers of replicas: {', '.join(counts)}"
        return PdFailure("refused", text, "try again when PD has repaired that: `flaredb status`")
    return _find_lack_of_room(source, target.region, heard, coming)


def _find_lack_of_room(
    source: Sighting, target: Region, heard: Heard, coming: Mapping[StoreId, int]
) -> PdFailure | None:
    for store in target.stores:
        told = heard.stores.get(store)
        if source.region.peer_on(store) is not None:
            continue
        if told is None:
            text = f"store {store}, where region {target.id} is, has not told of itself yet"
            return PdFailure("store_away", text, "see `flaredb store list`, and try again")
        if lacks_room(told.report, size_of(source), coming.get(store, 0)):
            text = f"the disk of store {store} has no room for region {source.region.id}"
            other = f"flaredb region merge {target.id} --into {source.region.id}"
            hint = f"free some there, or have the other one moved: `{other}`"
            return PdFailure("full", text, hint)
    return None


def less_apart(source: Sighting, target: Sighting) -> PdFailure:
    """The refusal of moves each of which would have replicas stand less far apart."""
    one, other = source.region.id, target.region.id
    text = f"next to region {other} the replicas of region {one} would stand less far apart"
    hint = f"have the other one moved: `flaredb region merge {other} --into {one}`"
    return PdFailure("less_apart", text, f"{hint}; see the labels in `flaredb store list -o json`")
