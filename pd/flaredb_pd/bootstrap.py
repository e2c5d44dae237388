"""The first regions: which ranges, on which stores, under which ids.

Replicas go round: region i's first replica stands on store i, its second on store i+1, and so on,
so first replicas (which start the first elections) and all others are spread evenly. Where stores
say where they stand, only the first goes round; each other stands on the store that shares least
with those before it, and has the fewest replicas. Stores that name themselves (label `name`) get
ids in the order of their names, `store-1` before `store-10`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flaredb_pd.config import Config
from flaredb_pd.fresh_ids import grant
from flaredb_pd.locations import Locations
from flaredb_schemas.ids import PeerId, RegionId, StoreId, StoreUuid
from flaredb_schemas.journal import Bootstrapped, StoreJoined
from flaredb_schemas.keys import KeyRange, find_fault
from flaredb_schemas.placement import Join
from flaredb_schemas.records import JournalFact, initial_region
from flaredb_schemas.regions import Epoch, Peer, Region

FIRST_EPOCH: Final = Epoch(conf_ver=1, version=1)

NOWHERE: Final = Locations({}, ())
"""Where no store says where it stands."""


def place_regions(
    ranges: Sequence[KeyRange],
    stores: Sequence[StoreId],
    replicas: int,
    highest_id: int,
    places: Locations = NOWHERE,
) -> tuple[Region, ...]:
    """The regions of `ranges` in key order, `replicas` peers each; ids follow `highest_id`.

    Regions take the first ids, peers the next, so the last peer's id is the highest granted.
    """
    assert find_fault(ranges) is None, "initial ranges must have been checked at the start"
    assert 0 < replicas <= len(set(stores)), "more replicas than stores"
    ordered = sorted(ranges, key=lambda keys: keys.start)
    region_ids = grant(highest_id, len(ordered))
    peer_ids = iter(grant(region_ids[-1], len(ordered) * replicas))
    stores_of = _stores_of_each(len(ordered), stores, replicas, places)
    return tuple(
        Region(
            RegionId(region_id),
            keys,
            FIRST_EPOCH,
            tuple(Peer(PeerId(next(peer_ids)), store) for store in chosen),
        )
        for region_id, keys, chosen in zip(region_ids, ordered, stores_of, strict=True)
    )


def _stores_of_each(
    regions: int, stores: Sequence[StoreId], replicas: int, places: Locations
) -> Iterator[list[StoreId]]:
    """On which stores each region's replicas stand."""
    around = [store for store, _ in places.apart(stores)]
    held = dict.fromkeys(around, 0)
    for number in range(regions):
        first = number % len(around)
        left = [*around[first:], *around[:first]]
        chosen = left[:replicas]
        if places.are_known:
            chosen = _spread(left, replicas, places, held)
            held.update({store: held[store] + 1 for store in chosen})
        yield chosen


def _spread(
    stores: list[StoreId], count: int, places: Locations, held: Mapping[StoreId, int]
) -> list[StoreId]:
    """The first, and who shares least with those before, and of them who holds the fewest."""
    chosen, left = stores[:1], stores[1:]
    for _ in range(count - 1):
        best = min(left, key=lambda store: (places.shared(store, chosen), held[store]))
        left.remove(best)
        chosen.append(best)
    return chosen


def bootstrap_facts(
    joins: Sequence[Join],
    config: Config,
    highest_id: int,
    known: Mapping[StoreUuid, StoreId],
) -> tuple[JournalFact, ...]:
    """One record per store that takes part, then the one that makes the cluster exist.

    `known` are the stores of a bootstrap that did not get to its end: a folder keeps its id, for
    under a second one nobody would ever stand where its replicas are placed.
    """
    joined: list[StoreJoined] = []
    for join in sorted(joins, key=_place_by_name):
        store = known.get(join.uuid) or StoreId(grant(highest_id, 1)[0])
        highest_id = max(highest_id, store)
        joined.append(joined_fact(join, store, highest_id))
    store_ids = [fact.store for fact in joined]
    places = Locations({fact.store: fact.labels for fact in joined}, config.location_labels)
    regions = place_regions(config.ranges, store_ids, config.replicas, highest_id, places)
    born = Bootstrapped(
        cluster=config.cluster,
        replicas=config.replicas,
        regions=tuple(initial_region(region) for region in regions),
        highest_id=max(peer.id for region in regions for peer in region.peers),
    )
    return (*joined, born)


def _place_by_name(join: Join) -> tuple[bool, int, str]:
    """Named stores first, shorter names before longer ones; the others as they came."""
    name = join.labels.get("name", "")
    return not name, len(name), name


def joined_fact(
    join: Join, store: StoreId, highest_id: int, recovered: bool = False
) -> StoreJoined:
    """The record that accepts `join` under the id `store`."""
    return StoreJoined(
        store=store,
        uuid=join.uuid,
        boot=join.boot,
        nonce=join.nonce,
        labels=join.labels,
        capacity=join.capacity,
        version=join.version,
        highest_id=highest_id,
        recovered=recovered,
        generation=join.generation,
    )
