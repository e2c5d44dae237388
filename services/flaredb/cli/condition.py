"""How well a cluster is: whether it serves every key, and what it lacks while it does."""

from collections.abc import Iterable, Sequence

from flaredb_schemas.ids import NO_STORE
from flaredb_schemas.pd_answers import PdStatus, RegionRow, StoreRow

SHOWN = 5
"""How many of many are named."""

NEARLY_FULL = 20
"""A store with less than one in so many of its bytes left is told of."""


def find_trouble(pd: PdStatus) -> str:
    """Why the cluster does not serve every key, or nothing."""
    if pd.doing:
        return pd.doing
    down = pd.stores - pd.stores_up
    if pd.regions_unavailable:
        return (
            f"{pd.regions_unavailable} of {pd.regions} regions have no majority of their stores: "
            f"{down} of {pd.stores} stores are not up"
        )
    if pd.leaders < pd.regions:
        return f"{pd.regions - pd.leaders} of {pd.regions} regions have no leader yet"
    return ""


def find_lacks(stores: Sequence[StoreRow], regions: Sequence[RegionRow]) -> list[str]:
    """What the cluster lacks to be whole, each in words: it stands less than it should."""
    lacks = [f"store {row.id} is {row.health}" for row in stores if row.health != "up"]
    lacks += [
        f"store {row.id} has {row.damaged} damaged replica{'s' * (row.damaged > 1)}"
        for row in stores
        if row.damaged
    ]
    lacks += [
        f"store {row.id} is nearly full ({row.free / 2**20:.0f} MiB left), and refuses puts once "
        "it is full"
        for row in stores
        if row.last_seen_ms is not None and row.free * NEARLY_FULL < row.capacity
    ]
    without_majority = [row.id for row in regions if row.state == "unavailable"]
    if without_majority:
        lacks.append(_regions(without_majority, "without a majority of stores"))
    leaderless = [
        row.id for row in regions if row.state != "unavailable" and row.leader_store == NO_STORE
    ]
    if leaderless:
        lacks.append(_regions(leaderless, "without a leader"))
    short = [row.id for row in regions if row.state != "unavailable" and is_short(row)]
    if short:
        lacks.append(_regions(short, "with a replica that is away"))
    return lacks


def is_short(row: RegionRow) -> bool:
    """Whether one of a region's replicas is on a store that is away, or is not heard itself."""
    return row.state != "available" or bool(row.down_peers)


def why_without_majority(row: RegionRow, stores: Iterable[StoreRow]) -> str:
    """Which stores a region that has lost its majority lacks."""
    health = {store.id: store.health for store in stores}
    away = [
        f"store {peer.store} is {health.get(peer.store, 'unknown')}"
        for peer in sorted(row.peers, key=lambda peer: peer.store)
        if health.get(peer.store) != "up"
    ]
    return f"region {row.id} has no majority of its {len(row.peers)} stores: {', '.join(away)}"


def _regions(ids: Sequence[int], what: str) -> str:
    named = ", ".join(map(str, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
    return f"{len(ids)} region{'s' * (len(ids) > 1)} {what} ({named})"
