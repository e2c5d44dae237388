"""Which store is the best for one more replica of a region, and which replica is needed least."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from flaredb_pd.availability import IsUp
from flaredb_pd.heard import Heard
from flaredb_pd.ledger import Filters, Weighed, weigh
from flaredb_pd.locations import Locations
from flaredb_pd.standings import FULL, NEARLY_FULL, fullness
from flaredb_pd.state import State
from flaredb_schemas.decisions import Candidate
from flaredb_schemas.ids import NO_STORE, PeerId, StoreId
from flaredb_schemas.placement import StoreReport
from flaredb_schemas.regions import REPLICA_ROOM, Peer, PeerRole, Region

GIB = 2**30

NO_OTHER_STORE: Final = "no other store is without a replica of it: one more store is needed"
NO_ROOM: Final = "no store without a replica of it has room for one"
NONE_UP: Final = "no store without a replica of it is up"
AWAITED: Final = "the store where it would stand best is away, and may be back in a moment"
NOT_CLEAN: Final = "a store that had a replica of it has not cleaned up"

HAS_ONE: Final = "a store that has a replica of it"
HAD_ONE: Final = "a store that may still have a former replica of it"
IS_DRAINED: Final = "a store that is being drained"
IS_SILENT: Final = "a store that has not told of itself"
IS_AWAY: Final = "a store that is not up"
IS_FULL: Final = "a store without room for it"
IS_WORSE: Final = "a store in a worse place than one that is away, and may be back in a moment"
IS_NEARLY_FULL: Final = "a store whose disk is nearly full"
NO_VOTER: Final = "a replica that does not vote"


class Stores(Struct, frozen=True):
    """What is known of all stores; `coming` counts the replicas that are on their way to each.

    Who is neither up nor down is away for a moment: it will be one of the two soon.
    """

    state: State
    heard: Heard
    is_up: IsUp
    is_down: IsUp
    coming: Mapping[StoreId, int]
    places: Locations


Fit = Callable[[Region, int, Stores, Filters], Iterator[tuple[StoreId, StoreReport]]]
"""Which stores may take one more replica of a region, of so many bytes; filters take the others."""


def able_stores(
    region: Region, size: int, stores: Stores, filters: Filters
) -> Iterator[tuple[StoreId, StoreReport]]:
    """Which stores could take one more replica of `size` bytes, by id.

    None is that has or may still have a replica of the region, or that is `unfit`.
    """
    held, former = set(region.stores), {peer.store for peer in region.removed}
    for store in sorted(stores.state.stores):
        rule = HAS_ONE if store in held else HAD_ONE if store in former else ""
        rule = rule or unfit(store, size, stores)
        if rule:
            filters.out(rule, store=store)
        else:
            yield store, stores.heard.stores[store].report


def unfit(store: StoreId, size: int, stores: Stores) -> str:
    """Why a store can take no replica of `size` bytes, of whatever region; empty if it can.

    It is being drained, has not told of itself, is not up, or would be too full with it and what is
    on its way.
    """
    told = stores.heard.stores.get(store)
    if not stores.state.serves(store):
        return IS_DRAINED
    if told is None:
        return IS_SILENT
    if not stores.is_up(store):
        return IS_AWAY
    return IS_FULL if lacks_room(told.report, size, stores.coming.get(store, 0)) else ""


def lacks_room(report: StoreReport, size: int, coming: int) -> bool:
    """Whether a store would be too full with one more replica of `size` bytes, if the `coming`
    ones are as large."""
    is_able = report.free > (REPLICA_ROOM + coming) * size
    return not is_able or fullness(report, (coming + 1) * size) >= FULL


def roomy_stores(
    region: Region, size: int, stores: Stores, filters: Filters
) -> Iterator[tuple[StoreId, StoreReport]]:
    """Which of the able ones could take it without need: none that is nearly full with it."""
    for store, report in able_stores(region, size, stores, filters):
        if _used(store, report, size, stores) >= NEARLY_FULL:
            filters.out(IS_NEARLY_FULL, store=store)
        else:
            yield store, report


def told_stores(
    region: Region, size: int, stores: Stores, filters: Filters
) -> Iterator[tuple[StoreId, StoreReport]]:
    """Every store without a replica of it that has told of itself: where a person wants one, the
    one door says what forbids it."""
    for store, told in sorted(stores.heard.stores.items()):
        if store not in region.stores:
            yield store, told.report


def weigh_stores(region: Region, without: Peer | None, size: int, stores: Stores) -> Weighed:
    """Where one more replica of `size` bytes would stand best, `without` one that goes.

    Standing apart from the others counts first, then that it will not be nearly full, then what is
    on its way there already, then free space in whole GiB, then how few replicas there are. None is
    good enough that stands worse than a store would that is away for a moment.
    """
    stay = [peer.store for peer in region.peers if peer != without]
    source, filters = without.store if without is not None else NO_STORE, Filters()
    away = awaited_stores(region, size, stores)
    most = min((stores.places.shared(store, stay) for store in away), default=None)
    candidates = list[Candidate]()
    for store, report in able_stores(region, size, stores, filters):
        shared = stores.places.shared(store, stay)
        if most is not None and shared > most:
            filters.out(IS_WORSE, store=store)
            continue
        terms = {
            "shared_labels": shared,
            "nearly_full": int(_used(store, report, size, stores) >= NEARLY_FULL),
            **wear(store, report, stores),
        }
        candidates.append(Candidate(region=region.id, source=source, target=store, terms=terms))
    return weigh(candidates, filters)


def awaited_stores(region: Region, size: int, stores: Stores) -> Iterator[StoreId]:
    """Which stores are away for a moment, and could take one more replica of `size` bytes else, as
    far as is known."""
    here = replace(stores, is_up=lambda store: not stores.is_down(store))
    taken = {peer.store for peer in (*region.peers, *region.removed)}
    for store in sorted(stores.state.stores.keys() - taken):
        away = not stores.is_up(store) and not stores.is_down(store)
        if away and unfit(store, size, here) in ("", IS_SILENT):
            yield store


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


def why_nowhere(region: Region, size: int, stores: Stores) -> str:
    """Why `weigh_stores` finds none, as a person can change it."""
    held, former = set(region.stores), {peer.store for peer in region.removed}
    others = [one for one in stores.state.stores if one not in held and stores.state.serves(one)]
    clean = [one for one in others if one not in former]
    if not clean:
        return NOT_CLEAN if any(map(stores.is_up, others)) else NO_OTHER_STORE
    if any(True for _ in able_stores(region, size, stores, Filters())):
        return AWAITED
    told = any(stores.is_up(one) and one in stores.heard.stores for one in clean)
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
