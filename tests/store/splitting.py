"""What tests about splits look at: which regions stand on a store, and whether stores agree."""

from collections.abc import Iterable
from typing import Final

from flaredb.disk.layout import DATA, SESSION, data_rows, kind_rows, region_rows
from flaredb.runtime.settings import StoreSettings
from flaredb.store.applying import propose_command
from flaredb.store.records import ReplicaState
from flaredb_schemas.commands import NewRegion, Size, Split
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.keys import find_fault
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

PARENT: Final = RegionId(1)
KEYS: Final = tuple(b"k%02d" % number for number in range(20))


def filled(stores: int = 3, spare: int = 0, **settings: int) -> Group:
    """One region over all keys, with some rows; and `spare` stores without any."""
    limits = {"applied_delay_ms": 1, "sleep_after_ms": 60_000} | settings
    regions = (region(1, b"", b"", stores),)
    group = Group(StoreSettings(**limits), regions, spare)  # type: ignore[arg-type]
    for key in KEYS:
        group.put(PARENT, key, b"of " + key)
    return group


def propose_split(group: Group, first_id: int, start: bytes) -> None:
    """Have the leader propose a cut, without the ceremony that comes before."""
    leader = group.wait_for_leader(PARENT)
    peers = tuple(PeerId(first_id + number) for number in range(1, 4))
    child = NewRegion(RegionId(first_id), start, peers)
    nothing = Size(0, 0)
    version = leader.replica(PARENT).region.epoch.version
    command = Split(1, 1, version, (child,), "manual", 1, (nothing, nothing))
    assert propose_command(leader.replica(PARENT), command) is None
    leader.store._context.touch(PARENT)


def ids(member: Member) -> list[RegionId]:
    """The regions on a store, in key order."""
    return [replica.id for replica in member.store.registry]


def is_quiet(group: Group, members: Iterable[Member] | None = None) -> bool:
    """Whether all of `members` (None: all) hold the same regions, alive and equally far."""
    chosen = list(group.members.values() if members is None else members)
    told = [
        [(one.region, one.machine.state, one.state, one.node.commit) for one in item.store.registry]
        for item in chosen
    ]
    alive = all(one[2] is ReplicaState.LIVE for item in told for one in item)
    settled = all(item.store.is_settled for item in chosen)
    return alive and settled and all(item == told[0] for item in told)


def check_agreement(group: Group, members: Iterable[Member] | None = None) -> None:
    """Wait until all is quiet: then ranges cover the key space once, and disks hold the same."""
    chosen = list(group.members.values() if members is None else members)
    group.until(lambda: is_quiet(group, chosen))
    disks = [contents(member) for member in chosen]
    assert all(disk == disks[0] for disk in disks)
    check_ranges(chosen[0])


def contents(member: Member) -> list[tuple[object, ...]]:
    """All that each replica of a store has in common with its peers."""
    view = member.disk.view
    found: list[tuple[object, ...]] = []
    for replica in member.store.registry:
        rows = tuple(view.scan(*data_rows(replica.region.keys)))
        lanes = tuple(view.scan(*region_rows(SESSION, replica.id)))
        found.append((replica.region, replica.machine.state, rows, lanes))
    return found


def check_ranges(member: Member) -> None:
    """The store's replicas cover the key space once, and no row lies outside them."""
    registry = member.store.registry
    assert find_fault(replica.region.keys for replica in registry) is None
    for key, _ in member.disk.view.scan(*kind_rows(DATA)):
        assert registry.find(key[1:]) is not None, f"{key!r} lies in no region"


def check_rows(group: Group) -> None:
    """Every row is where it belongs, through the door."""
    for key in KEYS:
        holder = next(one for one in group.regions.values() if one.keys.contains(key))
        assert group.get(holder.id, key) == b"of " + key
