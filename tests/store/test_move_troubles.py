"""Peers that leave beside replicas that are damaged, merged, split off, or handed over."""

from msgspec.structs import replace

from flaredb.disk.layout import applied_key, data_rows, region_key
from flaredb.store.records import ReplicaState
from flaredb_schemas.frames import Removed
from flaredb_schemas.ids import PeerId
from flaredb_schemas.placement import TransferLeader
from flaredb_schemas.regions import Epoch, Peer, PeerRole
from tests.store.merging import want_merge
from tests.store.moving import LEARNER, drop, join, led, move, order_peers, replace_peer
from tests.store.splitting import PARENT, check_agreement, filled, ids
from tests.store.test_merge import halves
from tests.store.test_moves import NEW, follower, forgets, is_live, spare
from tests.store.test_moves_amid_changes import absent, agreed
from tests.store.test_replaced import restart_damaged


def test_what_was_split_off_a_damaged_replica_stays_when_that_is_cleaned() -> None:
    """The damaged one blocks nothing, so its child has come by snapshot, into its old range."""
    group = filled(spare=1)
    old, new = follower(group), spare(group)
    peer = restart_damaged(group, old, applied_key(PARENT))
    _, child = group.split(PARENT, b"k10")

    def is_whole() -> bool:
        found = old.store.registry.get(child.id)
        return found is not None and found.state is ReplicaState.LIVE

    group.until(lambda: is_whole() and old.store.is_settled)
    before = list(old.disk.view.scan(*data_rows(child.keys)))
    assert len(before) == 10
    join(group, PARENT, new, NEW)
    replace_peer(group, PARENT, PeerId(NEW), peer)
    drop(group, PARENT, peer)
    forgets(group)
    group.until(lambda: not old.store.registry.cleaning and old.store.is_settled)
    assert list(old.disk.view.scan(*data_rows(child.keys))) == before
    assert not list(old.disk.view.scan(*data_rows(led(group, PARENT).keys)))


def test_late_word_of_an_old_peer_of_the_target_leaves_the_source_to_the_new_one() -> None:
    group, left, right = halves(spare=1)
    late, new = absent(group, left.id), spare(group)
    old_peer = late.replica(left.id).peer
    for source, target, peer in ((late, new, NEW), (new, late, NEW + 1)):
        move(group, left.id, source, target, peer)
        group.until(lambda: not led(group, left.id).removed)
        group.until(lambda: not late.store.registry.cleaning)
    check_agreement(group, list(group.members.values())[:3])
    group.loses = lambda to, region, _: to == late.id and region == left.id
    wish = want_merge(group, right.id, left.id)
    group.until(lambda: wish in group.merges)
    assert not group.merges[wish]
    group.until(lambda: agreed(late, right.id))
    leader = group.wait_for_leader(left.id)
    replica = leader.replica(left.id)
    word = Removed(left.id, old_peer, replica.peer, replica.region)
    late.store._parts.removing.told(leader.id, word)
    group.loses = lambda *frame: False
    group.until(lambda: ids(late) == [left.id])
    assert late.replica(left.id).state is ReplicaState.LIVE


def test_word_of_an_older_peer_leaves_a_member_that_cannot_be_read_damaged() -> None:
    """Else it would be born anew under its name, without its vote and what it acknowledged."""
    group = filled()
    old = follower(group)
    peer = restart_damaged(group, old, region_key(PARENT))
    leader = group.wait_for_leader(PARENT)
    record = replace(led(group, PARENT), epoch=Epoch(4, 1))
    assert record.peer(peer) is not None
    word = Removed(PARENT, PeerId(50), leader.replica(PARENT).peer, record)
    old.store._parts.removing.told(leader.id, word)
    for _ in range(100):
        group.step()
    assert PARENT in old.store.registry.damaged


def test_a_joint_state_is_left_after_a_transfer_that_fails() -> None:
    """While the leadership was to go, nothing could be proposed; then nothing else was."""
    group = filled(spare=1, sleep_after_ms=2_000)
    leader, new = group.wait_for_leader(PARENT), spare(group)
    join(group, PARENT, new, NEW)
    group.until(lambda: is_live(new))
    going = follower(group)
    target = follower(group, going)
    replica = leader.replica(PARENT)
    roles = {PeerId(NEW): PeerRole.VOTER, going.replica(PARENT).peer: LEARNER}
    peers = [Peer(one.id, one.store, roles.get(one.id, one.role)) for one in replica.region.peers]
    group.until(
        lambda: replica.node.status().progress[PeerId(NEW)].match == replica.node.last_index
    )
    target.cut_off = True
    order_peers(group, PARENT, peers)
    body = TransferLeader(PARENT, replica.region.epoch, replica.peer, target.replica(PARENT).peer)
    group.order(leader, body)
    group.until(lambda: set(led(group, PARENT).peers) == set(peers))
