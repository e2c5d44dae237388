"""A record that is not what was written costs one replica, and travels to none."""

import pytest

from flaredb.disk.disk import Batch
from flaredb.disk.layout import (
    LOG,
    SESSION,
    applied_key,
    data_key,
    hard_state_key,
    log_start_key,
    region_key,
    region_rows,
)
from flaredb.disk.memory_disk import SortedRows
from flaredb.runtime.settings import StoreSettings
from flaredb.store.records import ReplicaState
from flaredb_schemas.events import ReplicaLost
from flaredb_schemas.failures import NotReady
from flaredb_schemas.ids import NO_PEER, PeerId, RegionId, StoreId
from flaredb_schemas.requests import (
    CheckRequest,
    HashAnswer,
    HashRequest,
    Refused,
    StoreStatusAnswer,
    StoreStatusRequest,
    WriteAnswer,
)
from tests.store.group import Group
from tests.store.member import Member
from tests.store.regions import region

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


def remove(rows: SortedRows, key: bytes) -> None:
    """Take a record away."""
    batch = Batch()
    batch.delete(key)
    rows.apply(batch)


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


ROWS = {
    "its record": region_key(LEFT),
    "its vote": hard_state_key(LEFT),
    "its applied state": applied_key(LEFT),
    "the start of its log": log_start_key(LEFT),
}
"""What is read of a replica when its store starts, beside sessions, events and its log's end."""


def stopped(group: Group) -> Member:
    """A store that was stopped, where both regions had taken a write."""
    for each, key in ((LEFT, b"a"), (RIGHT, b"z")):
        group.put(each, key, b"value")
    member = group.members[StoreId(2)]
    group.until(lambda: data_key(b"z") in member.disk.view.values and member.store.is_settled)
    member.stop()
    member.events.clear()
    return member


def serves_all_but_left(group: Group, member: Member, peer: PeerId) -> None:
    """The store has lost its replica of one region, says so, and takes part in the other."""
    group.until(lambda: bool(lost(member)) and bool(member.heartbeats))
    assert lost(member) == [(LEFT, peer)]
    assert member.heartbeats[-1].store.damaged == 1
    answer = group.ask(member, StoreStatusRequest)
    assert isinstance(answer, StoreStatusAnswer)
    assert [(one.route.region.id, one.state) for one in answer.replicas] == [
        (LEFT, "damaged"),
        (RIGHT, "live"),
    ]
    group.put(LEFT, b"a", b"by the others")
    away = next(one for one in group.members.values() if one is not member)
    away.cut_off = True
    group.put(RIGHT, b"z", b"with this store")
    held = group.put_once(LEFT, b"a", b"by one replica alone")
    assert not isinstance(held, WriteAnswer)
    away.cut_off = False


def peer_of(group: Group, member: Member) -> PeerId:
    peer = group.regions[LEFT].peer_on(member.id)
    assert peer is not None
    return peer.id


@pytest.mark.parametrize("what", ROWS)
def test_at_start_a_damaged_record_costs_one_replica(group: Group, what: str) -> None:
    member = stopped(group)
    damage(member.contents.rows, ROWS[what])
    member.start()
    known = what != "its record"
    serves_all_but_left(group, member, peer_of(group, member) if known else NO_PEER)


@pytest.mark.parametrize("kind", [SESSION, LOG])
def test_at_start_a_damaged_row_of_many_costs_one_replica(group: Group, kind: bytes) -> None:
    """A session, or the end of the log."""
    member = stopped(group)
    rows = member.contents.rows
    *_, (last, _) = rows.scan(*region_rows(kind, LEFT))
    damage(rows, last)
    member.start()
    serves_all_but_left(group, member, peer_of(group, member))


@pytest.mark.parametrize("what", ROWS)
def test_at_start_a_lost_record_costs_one_replica(group: Group, what: str) -> None:
    """Who is gone but for its vote is not born anew, to vote once more."""
    member = stopped(group)
    remove(member.contents.rows, ROWS[what])
    member.start()
    known = what != "its record"
    serves_all_but_left(group, member, peer_of(group, member) if known else NO_PEER)


def test_at_start_a_log_that_has_lost_its_end_costs_one_replica(group: Group) -> None:
    member = stopped(group)
    rows = member.contents.rows
    *_, (last, _) = rows.scan(*region_rows(LOG, LEFT))
    remove(rows, last)
    member.start()
    serves_all_but_left(group, member, peer_of(group, member))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_entry_that_is_read_before_an_election_costs_one_replica(number: int) -> None:
    """After a start of all somebody has to stand, and looks through what is not applied first."""
    group = Group(
        StoreSettings(applied_delay_ms=1000), (region(1, b"", b"m"), region(2, b"m", b""))
    )
    group.wait_for_leader(LEFT)
    group.until(lambda: group.now > 3)
    for key in range(12):
        group.put(LEFT, b"a%02d" % key, b"value")
    for member in group.members.values():
        member.stop()
    worn = group.members[StoreId(number)]
    rows = worn.contents.rows
    *_, (committed, _), _, _ = rows.scan(*region_rows(LOG, LEFT))
    damage(rows, committed)
    for member in group.members.values():
        member.start()
    group.until(lambda: lost(worn) == [(LEFT, peer_of(group, worn))])
    group.put(LEFT, b"a", b"goes on")
    assert group.leader(LEFT) is not worn
    group.put(RIGHT, b"z", b"goes on")
    assert state_of(worn, RIGHT) is ReplicaState.LIVE


def test_damaged_once_is_damaged_for_good(group: Group) -> None:
    """Even if the row were to be read well at the next start."""
    member = stopped(group)
    key = hard_state_key(LEFT)
    sound = member.contents.rows.values[key]
    damage(member.contents.rows, key)
    member.start()
    group.until(lambda: bool(lost(member)) and member.store.is_settled)
    member.stop()
    member.events.clear()
    member.contents.rows.values[key] = sound
    member.start()
    serves_all_but_left(group, member, peer_of(group, member))
