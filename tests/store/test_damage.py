"""A record that is not what was written costs one replica, and travels to none."""

import pytest

from flaredb.disk.layout import applied_key, data_key, region_key
from flaredb.disk.memory_disk import SortedRows
from flaredb.runtime.settings import StoreSettings
from flaredb.store.records import ReplicaState
from flaredb_schemas.events import ReplicaLost
from flaredb_schemas.failures import NotReady
from flaredb_schemas.ids import PeerId, RegionId
from flaredb_schemas.requests import CheckRequest, HashAnswer, HashRequest, Refused
from tests.store.group import Group, Member, region

LEFT, RIGHT = RegionId(1), RegionId(2)
SETTINGS = StoreSettings(log_keep_entries=1)
"""So that a store that missed some writes needs a snapshot."""

MISSED = 200


@pytest.fixture
def group() -> Group:
    """Three stores with two regions that have leaders."""
    made = Group(SETTINGS, (region(1, b"", b"m"), region(2, b"m", b"")))
    for each in (LEFT, RIGHT):
        made.wait_for_leader(each)
    return made


def damage(rows: SortedRows, key: bytes) -> None:
    """Flip a bit of the record under `key`, as a worn disk does."""
    record = rows.values[key]
    rows.values[key] = record[:-1] + bytes([record[-1] ^ 1])


def lost(member: Member) -> list[tuple[RegionId, PeerId]]:
    """The replicas that a store has said to have lost."""
    return [(one.region, one.peer) for one in member.events if isinstance(one, ReplicaLost)]


def state_of(member: Member, each: RegionId) -> ReplicaState:
    return member.replica(each).state


def leave_behind(group: Group) -> tuple[Member, Member]:
    """Write to the left region until a store that is cut off needs a snapshot; leader, and it."""
    leader = group.wait_for_leader(LEFT)
    late = next(one for one in group.members.values() if one is not leader)
    late.cut_off = True
    for number in range(MISSED):
        group.put(LEFT, b"a%03d" % number, b"value")
    group.until(lambda: leader.replica(LEFT).log.start > late.replica(LEFT).log.last)
    return leader, late


@pytest.mark.parametrize("key", [data_key(b"a100"), applied_key(LEFT), region_key(LEFT)])
def test_a_damaged_row_is_not_copied_to_another_store(group: Group, key: bytes) -> None:
    leader, late = leave_behind(group)
    assert group.leader(LEFT) is leader
    group.until(lambda: leader.store.is_settled)
    damage(leader.disk.view, key)
    late.cut_off = False
    group.until(lambda: state_of(leader, LEFT) is ReplicaState.DAMAGED)
    assert leader.disk.files.names() == []
    group.until(lambda: late.store.counters.snapshots_installed == 1)
    sound = group.wait_for_leader(LEFT)
    assert sound is not leader
    assert group.get(LEFT, b"a100") == b"value"
    assert late.disk.view.values[data_key(b"a100")] == sound.disk.view.values[data_key(b"a100")]
    assert lost(leader) == [(LEFT, leader.replica(LEFT).peer)]
    assert state_of(leader, RIGHT) is ReplicaState.LIVE


def test_a_check_finds_a_damaged_row(group: Group) -> None:
    group.put(LEFT, b"a", b"value")
    leader = group.wait_for_leader(LEFT)
    worn = next(one for one in group.members.values() if one is not leader)
    group.until(lambda: data_key(b"a") in worn.disk.view.values and worn.store.is_settled)
    damage(worn.disk.view, data_key(b"a"))
    group.ask(leader, lambda number: CheckRequest(number, LEFT, 7))
    group.until(lambda: state_of(worn, LEFT) is ReplicaState.DAMAGED)
    assert lost(worn) == [(LEFT, worn.replica(LEFT).peer)]
    answer = group.ask(leader, lambda number: HashRequest(number, LEFT, 7))
    assert isinstance(answer, HashAnswer)
    assert group.ask(worn, lambda number: HashRequest(number, LEFT, 7)) == Refused(
        group.asked, NotReady("the replica is damaged here")
    )
    assert group.leader(LEFT) is leader and state_of(worn, RIGHT) is ReplicaState.LIVE
