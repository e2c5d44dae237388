"""Which store is the best for one more replica of a region, and which replica is needed least."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from msgspec import Struct

from flaredb_pd.availability import IsUp
from flaredb_pd.heard import Heard
from flaredb_pd.ledger import Filters, Weighed, weigh
from flaredb_pd.locations import Locations
from flaredb_pd.standings import FULL, NEARLY_FULL, fullness
from flaredb_pd.state import State
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import NO_STORE, PeerId, StoreId
from flaredb_schemas.placement import StoreReport
from flaredb_schemas.regions import Peer, PeerRole, Region

GIB = 2**30

NO_OTHER_STORE: Final = "no other store is without a replica of it: one more store is needed"
NO_ROOM: Final = "no store without a replica of it has room for one"
NONE_UP: Final = "no store without a replica of it is up"

HAS_ONE: Final = "a store that has a replica of it"
HAD_ONE: Final = "a store that may still have a former replica of it"
IS_DRAINED: Final = "a store that is being drained"
IS_SILENT: Final = "a store that has not told of itself"
IS_AWAY: Final = "a store that is not up"
IS_FULL: Final = "a store without room for it"
IS_NEARLY_FULL: Final = "a store whose disk is nearly full"
NO_VOTER: Final = "a replica that does not vote"


class Stores(Struct, frozen=True):
    """What is known of all stores; `coming` counts the replicas that are on their way to each."""

    state: State
    heard: Heard
    is_up: IsUp
    coming: Mapping[StoreId, int]
    places: Locations


def able_stores(
    region: Region, size: int, stores: Stores, filters: Filters
) -> Iterator[tuple[StoreId, StoreReport]]:
    """Which stores could take one more replica of `size` bytes, by id.

    None is that is not up, has or may still have a replica of the region, would be too full with it
    and what is on its way, is being drained, or has not told of itself.
    """
    held, former = set(region.stores), {peer.store for peer in region.removed}
    for store in sorted(stores.state.stores):
        told = stores.heard.stores.get(store)
        if store in held:
            filters.out(HAS_ONE, store=store)
        elif store in former:
            filters.out(HAD_ONE, store=store)
        elif not stores.state.serves(store):
            filters.out(IS_DRAINED, store=store)
        elif told is None:
            filters.out(IS_SILENT, store=store)
        elif not stores.is_up(store):
            filters.out(IS_AWAY, store=store)
        elif told.report.free <= size or _used(store, told.report, size, stores) >= FULL:
            filters.out(IS_FULL, store=store)
        else:
            yield store, told.report


def roomy_stores(
    region: Region, size: int, stores: Stores, filters: Filters
) -> Iterator[tuple[StoreId, StoreReport]]:
    """Which of the able ones could take it without need: none that is nearly full with it."""
    for store, report in able_stores(region, size, stores, filters):
        if _used(store, report, size, stores) >= NEARLY_FULL:
            filters.out(IS_NEARLY_FULL, store=store)
        else:
            yield store, report


def weigh_stores(region: Region, without: Peer | None, size: int, stores: Stores) -> Weighed:
    """Where one more replica of `size` bytes would stand best, `without` one that goes.

    Standing apart from the others counts first, then that it will not be nearly full, then what is
    on its way there already, then free space in whole GiB, then how few replicas there are.
    """
    stay = [peer.store for peer in region.peers if peer != without]
    source, filters = without.store if without is not None else NO_STORE, Filters()
    return weigh(
        [
            Candidate(
                region=region.id,
                source=source,
                target=store,
                terms={
                    "shared_labels": stores.places.shared(store, stay),
                    "nearly_full": int(_used(store, report, size, stores) >= NEARLY_FULL),
                    **wear(store, report, stores),
                },
            )
            for store, report in able_stores(region, size, stores, filters)
        ],
        filters,
    )


def _used(store: StoreId, report: StoreReport, size: int, stores: Stores) -> float:
    """Which share of its room the store will have used, with what is on its way there as well."""
    return fullness(report, (stores.coming.get(store, 0) + 1) * size)


def wear(store: StoreId, report: StoreReport, stores: Stores) -> dict[str, int]:
    """What speaks against giving a store one more replica, wherever it stands."""
    return {
        "coming": stores.coming.get(store, 0),
        "free_gib": -(report.free // GIB),
        "replicas": report.regions,
    }


def why_nowhere(region: Region, stores: Stores) -> str:
    """Why `weigh_stores` finds none, as a person can change it."""
    taken = {peer.store for peer in (*region.peers, *region.removed)}
    others = [one for one in stores.state.stores if one not in taken and stores.state.serves(one)]
    if not others:
        return NO_OTHER_STORE
    told = any(stores.is_up(one) and one in stores.heard.stores for one in others)
    return NO_ROOM if told else NONE_UP


def weigh_peers(region: Region, leader: PeerId, bad: Collection[Peer], stores: Stores) -> Weighed:
    """Which of the voters is missed least: one that is `bad`, then on a store that is emptied, then
    not who leads, then what stands closest to the others, then where most replicas are."""

    def terms(peer: Peer) -> dict[str, int]:
        told = stores.heard.stores.get(peer.store)
        return {
            "bad": -(peer in bad),
            "drained": -stores.state.leaves(peer.store),
            "leads": int(peer.id == leader),
            "shared_labels": -stores.places.shared(peer.store, region.stores),
            "replicas": -told.report.regions if told is not None else 0,
            "peer": -peer.id,
        }

    filters, voters = Filters(), list[Peer]()
    for peer in region.peers:
        if peer.role is PeerRole.VOTER:
            voters.append(peer)
        else:
            filters.out(NO_VOTER, region.id, peer.store)
    return weigh(
        [Candidate(region=region.id, source=one.store, terms=terms(one)) for one in voters],
        filters,
    )
