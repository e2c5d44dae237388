"""After healing: replicas are equal, ranges cover the key space once, and nothing lies outside."""

from collections.abc import Sequence

from flaredb.disk.layout import DATA, SESSION, data_rows, kind_rows, region_rows, user_bytes
from flaredb.disk.memory_disk import MemoryDisk
from flaredb.store.replica import Replica
from flaredb.store.store import Store
from flaredb_schemas.commands import Size
from flaredb_schemas.keys import find_fault


def check_equal(stores: Sequence[tuple[Store, MemoryDisk]]) -> None:
    """All replicas of a region have applied the same and hold the same rows and sessions."""
    seen: dict[int, tuple[object, ...]] = {}
    for store, disk in stores:
        disk.renew()
        for replica in store.registry:
            state = _state(replica, disk)
            known = seen.setdefault(replica.id, state)
            for one, other in zip(known, state, strict=True):
                assert one == other, f"region {replica.id} differs: {one!r} and {other!r}"


def check_sizes(stores: Sequence[tuple[Store, MemoryDisk]]) -> None:
    """Every region knows to the byte what it holds, if it says so; at rest all of them do."""
    for store, disk in stores:
        for replica in store.registry:
            state, found = replica.machine.state, size_of(replica, disk)
            assert not state.estimated, f"region {replica.id} is not counted"
            assert state.size == found, f"region {replica.id} holds {found}, not {state.size}"


def size_of(replica: Replica, disk: MemoryDisk) -> Size:
    """Counted the slow way, on the store's disk."""
    rows = list(disk.view.scan(*data_rows(replica.region.keys)))
    row_bytes = sum(len(key) + len(value) for key, value in rows)
    return Size(len(rows), user_bytes(len(rows), row_bytes))


def check_ranges(stores: Sequence[tuple[Store, MemoryDisk]]) -> None:
    """Together the replicas cover every key, and no store holds a row outside its regions."""
    regions = {item.id: item.region.keys for store, _ in stores for item in store.registry}
    fault = find_fault(regions.values())
    assert fault is None, f"ranges do not cover the key space once: {fault}"
    for store, disk in stores:
        for key, _ in disk.view.scan(*kind_rows(DATA)):
            assert store.registry.find(key[1:]) is not None, f"{key!r} lies in no region here"


def _state(replica: Replica, disk: MemoryDisk) -> tuple[object, ...]:
    rows = tuple(disk.view.scan(*data_rows(replica.region.keys)))
    sessions = tuple(disk.view.scan(*region_rows(SESSION, replica.id)))
    return (replica.machine.state, replica.region, rows, sessions)
